// The defects of others that a hostile terminal server could use against a till (cves.tsv, side
// till). What each was about is done to TillRole here, in the channel of one of two sticks; the
// systematic rest is in till_hostile_test.cpp and till_storms_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/till_two_sticks.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using usb::TransferStatus;
namespace function = pdu::urb_function;
namespace status = pdu::usbd_status;

/// The message with 32 bits of it replaced.
Bytes with(Bytes message, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) message[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
  return message;
}

Bytes io_control_with_input() {
  return from_hex("04000040 00000000 02010000 13002200 03000000 aabbcc 04000000 09000000");
}

/// Values that a length of `size` bytes turns into a small one, or into 0.
std::vector<std::uint32_t> extremes(std::size_t size) {
  const auto wrap = static_cast<std::uint32_t>(0U - size);
  return {0,        1,        0x15555555U, 0x15555556U, 0x7FFFFFFFU, 0x80000000U, wrap,
          wrap + 1, wrap - 1, 0xFFFFFFE0U, 0xFFFFFFF4U, 0xFFFFFFFEU, 0xFFFFFFFFU};
}

// A sum of lengths that wraps was smaller than what there was, and memory near and far was read and
// written. Here: every length of a message, at 0, 1, max-1, max and where sums and products wrap.
TEST(Cve, CVE_2020_11039_sums_of_lengths_that_wrap) {
  struct Length {
    const char* name;
    Bytes message;
    std::size_t at;
  };
  const Bytes bulk_out = transfer_message(function::bulk_or_interrupt_transfer, false, 9);
  const Bytes select = transfer_message(function::select_configuration, true, 9);
  const Bytes select_interface = transfer_message(function::select_interface, true, 9);
  const Bytes isochronous = transfer_message(function::isochronous_transfer, true, 9);
  const std::vector<Length> lengths{
      {"InputBufferSize", io_control_with_input(), 16},
      {"CbTsUrb", bulk_out, 12},
      {"CbTsUrb", select, 12},
      {"OutputBufferSize", bulk_out, bulk_out.size() - 8},
      {"OutputBufferSize", isochronous, isochronous.size() - 4},
      {"NumInterfaces", select, 28},
      {"NumberOfPipes", select, 40},
      {"NumberOfPipes", select_interface, 36},
      {"NumberOfPackets", isochronous, 36},
  };
  TwoSticks sticks;
  for (const auto& [name, message, at] : lengths) {
    ByteReader good(message);
    good.skip(at);
    const std::uint32_t right = good.u32le();
    for (const std::uint32_t value : extremes(message.size())) {
      if (value == right) continue;
      sticks.hear(with(message, at, value));
      ASSERT_FALSE(::testing::Test::HasFailure()) << name << " = " << value;
    }
  }
  // Nothing of it reaches the stick, and whoever can be answered is.
  for (const std::uint32_t value : {0xFFFFFFF0U, 0xFFFFFFFFU}) {
    for (const auto& [name, message, at] : lengths) {
      sticks->forget();
      sticks->say(2, with(message, at, value));
      EXPECT_THAT(sticks->submitted, IsEmpty()) << name;
      if (!sticks->closed.empty()) sticks.start();
    }
  }
  sticks.expect_other_alive();
}

TEST(Cve, CVE_2022_39318_isochronous_count_of_zero) {
  TwoSticks sticks;
  for (const bool in : {true, false}) {
    for (const std::uint32_t size : {0U, 1U, 512U}) {
      const Bytes data(in ? 0 : size);
      sticks->transfer(in, 1, function::isochronous_transfer,
                       pdu::IsochronousTransfer{sticks->isochronous_pipe, in ? 5U : 4U, 0, 0, {}},
                       size, data);
      const Ended ended = sticks->next_ended();
      EXPECT_EQ(ended.status, status::invalid_parameter);
      EXPECT_EQ(ended.hresult, pdu::hresult::invalid_argument);
    }
  }
  EXPECT_THAT(sticks->submitted, IsEmpty());
  sticks.expect_other_alive();
}

// What was not in the message was read all the same, and sent back to the server.
TEST(Cve, CVE_2022_39319_nothing_behind_the_message_is_read_or_echoed) {
  TwoSticks sticks;
  for (const Named& named : every_shape()) {
    for (std::size_t size = 0; size < named.message.size(); ++size) {
      // A buffer of exactly this size: AddressSanitizer sees what is read behind it.
      sticks.hear(
          Bytes(named.message.begin(), named.message.begin() + static_cast<std::ptrdiff_t>(size)));
      ASSERT_FALSE(::testing::Test::HasFailure()) << named.name << " cut to " << size;
    }
  }
  // An OUT that announces more than it brings: no byte of it goes anywhere.
  const Bytes out = transfer_message(function::bulk_or_interrupt_transfer, false, 9);
  for (const std::uint32_t more : {1U, 4096U, 0xFFFFFFFBU}) {
    sticks->forget();
    sticks->outstanding[9] = {false, 9, 4 + more};
    sticks->say(2, with(out, out.size() - 8, 4 + more));
    const Ended ended = sticks->next_ended();
    EXPECT_EQ(ended.status, status::invalid_parameter);
    EXPECT_FALSE(ended.with_data);
    EXPECT_THAT(sticks->submitted, IsEmpty());
  }
  sticks.expect_other_alive();
}

// OutputBufferSize and the size of the answer's header were added up in 32 bits.
TEST(Cve, CVE_2022_39320_output_buffer_size_near_the_end) {
  TwoSticks sticks;
  for (const std::uint32_t size : {0xFFFFFFFFU, 0xFFFFFFE4U, 0xFFFFFFE0U, 0x80000000U, 0x7FFFFFFFU,
                                   limits::transfer_bytes + 1}) {
    sticks->bulk_in(1, sticks->in_pipe, size);
    EXPECT_EQ(sticks->next_ended().status, status::insufficient_resources) << size;
    for (const auto urb : {function::get_descriptor_from_device, function::class_interface,
                           function::get_ms_feature_descriptor, function::get_configuration,
                           function::isochronous_transfer}) {
      sticks->transfer_in(2, urb, body_for(urb, true), size);
      EXPECT_EQ(sticks->next_ended().status, status::insufficient_resources) << urb << ' ' << size;
    }
    sticks->io_control(3, pdu::io_control_code::get_port_status, size);
    const Ended ended = sticks->next_ended();
    EXPECT_EQ(ended.hresult, pdu::hresult::out_of_memory);
    EXPECT_THAT(ended.data, IsEmpty());
    EXPECT_THAT(sticks->submitted, IsEmpty());
    EXPECT_THAT(sticks->closed, IsEmpty());
  }
  // What a control transfer cannot carry is refused above 16 bits already.
  sticks->transfer_in(4, function::get_descriptor_from_device, pdu::DescriptorRequest{0, 1, 0},
                      limits::control_transfer_bytes + 1);
  EXPECT_EQ(sticks->next_ended().status, status::insufficient_resources);
  sticks.expect_other_alive();
}

// An array index came from NumInterfaces and from the server's descriptor.
TEST(Cve, CVE_2026_22859_more_interfaces_than_the_stick_has) {
  TwoSticks sticks;
  for (const std::size_t count : std::initializer_list<std::size_t>{3, 32, 33, 255, 256, 257}) {
    std::vector<pdu::InterfaceInformation> interfaces;
    for (std::size_t i = 0; i < count; ++i) {
      interfaces.push_back(Conversation::interface(static_cast<std::uint8_t>(i)));
    }
    sticks->select_configuration(1, gadget_configuration(1), interfaces);
    EXPECT_THAT(sticks->submitted, IsEmpty());
    EXPECT_TRUE(status::failed(sticks->next_ended().status)) << count;
  }
  // A descriptor that claims interfaces and endpoints of its own: only its value counts.
  Bytes lying = storage_configuration();
  sticks->select_configuration(2, lying, {Conversation::interface(0, 1, 30)});
  sticks->complete_next();
  sticks->complete_next();
  const Ended ended = sticks->next_ended();
  const auto& result = std::get<pdu::SelectConfigurationResult>(ended.body);
  ASSERT_EQ(result.interfaces.size(), 1U);
  EXPECT_EQ(result.interfaces[0].interface_class, 0xFF) << "the stick's own descriptor";
  EXPECT_EQ(result.interfaces[0].pipes.size(), 3U);
  // And a value that the stick does not have selects nothing.
  lying[5] = 77;
  sticks->select_configuration(3, lying, {});
  EXPECT_EQ(sticks->next_ended().status, status::invalid_configuration_descriptor);
  sticks.expect_other_alive();
}

// The configuration was freed when a select failed, and used by the next request.
TEST(Cve, CVE_2026_24675_use_after_a_select_that_failed) {
  TwoSticks sticks;
  const std::uint32_t pipe = sticks->in_pipe;
  sticks->select_interface(1, sticks->configuration, 0, 0);
  sticks->complete_next(TransferStatus::stall);
  const Ended ended = sticks->next_ended();
  EXPECT_EQ(ended.status, status::interface_not_found);
  EXPECT_EQ(ended.hresult, pdu::hresult::general_failure);
  EXPECT_EQ(ended.body, pdu::TsUrbResult::Body(pdu::SelectInterfaceResult{}));
  sticks->bulk_in(2, pipe, 64);
  EXPECT_EQ(sticks->next_ended().status, status::invalid_pipe_handle);
  for (const auto reset : {function::abort_pipe, function::sync_reset_pipe,
                           function::sync_reset_pipe_and_clear_stall}) {
    sticks->pipe_request(3, reset, pipe);
    EXPECT_EQ(sticks->next_ended().status, status::invalid_pipe_handle);
  }
  sticks->select_interface(4, sticks->configuration, 0, 1);
  sticks->complete_next();
  EXPECT_EQ(sticks->next_ended().status, 0U) << "the configuration itself is still there";
  // After a configuration that could not be selected nothing of the old one is.
  for (const auto how :
       {TransferStatus::error, TransferStatus::stall, TransferStatus::device_gone}) {
    sticks->select_configuration(5, gadget_configuration(1), {Conversation::interface(0, 1)});
    sticks->complete_next(how);
    EXPECT_TRUE(status::failed(sticks->next_ended().status));
    sticks->select_interface(6, sticks->configuration, 0, 1);
    EXPECT_EQ(sticks->next_ended().status, status::invalid_parameter);
    sticks->bulk_in(7, sticks->interrupt_pipe, 8);
    EXPECT_EQ(sticks->next_ended().status, status::invalid_pipe_handle);
  }
  EXPECT_THAT(sticks->submitted, IsEmpty());
  sticks.expect_other_alive();
}

// InterfaceNumber from the wire was an index.
TEST(Cve, CVE_2026_24679_interface_number_out_of_range) {
  TwoSticks sticks;
  for (const auto& [number, alternate] : {std::pair{255, 0}, {2, 0}, {0, 255}, {0, 2}, {1, 1}}) {
    sticks->select_interface(1, sticks->configuration, static_cast<std::uint8_t>(number),
                             static_cast<std::uint8_t>(alternate));
    const Ended ended = sticks->next_ended();
    EXPECT_EQ(ended.status, status::interface_not_found);
    EXPECT_EQ(ended.hresult, pdu::hresult::invalid_argument);
    sticks->select_configuration(2, gadget_configuration(1),
                                 {Conversation::interface(static_cast<std::uint8_t>(number),
                                                          static_cast<std::uint8_t>(alternate))});
    EXPECT_EQ(sticks->next_ended().status, status::interface_not_found);
  }
  EXPECT_THAT(sticks->submitted, IsEmpty());
  // What was refused changed nothing.
  sticks->bulk_in(3, sticks->in_pipe, 8);
  EXPECT_EQ(sticks->submitted.size(), 1U);
  sticks.expect_other_untouched();
}

// A transfer that ended after its channel was closed ran into freed memory.
TEST(Cve, CVE_2026_24681_completions_after_the_channel_is_closed) {
  enum class Ends { by_server, by_us, unplugged, with_control_channel };
  for (const Ends ends :
       {Ends::by_server, Ends::by_us, Ends::unplugged, Ends::with_control_channel}) {
    TwoSticks sticks;
    for (std::uint32_t i = 0; i < 100; ++i) sticks->bulk_in(i, sticks->in_pipe, 512);
    sticks->select_interface(100, sticks->configuration, 1, 0);
    sticks->transfer_in(101, function::get_descriptor_from_device, pdu::DescriptorRequest{0, 1, 0},
                        18);
    const auto submitted = sticks->submitted;
    ASSERT_EQ(submitted.size(), 101U) << "the last one waits for the select before it";
    sticks->forget();
    if (ends == Ends::by_server) sticks->server_closes(2);
    if (ends == Ends::by_us) sticks->retract();
    if (ends == Ends::unplugged) sticks->remove(1);
    if (ends == Ends::with_control_channel) sticks->server_closes(1);
    EXPECT_EQ(sticks->cancelled.size(), ends == Ends::with_control_channel ? 102U : 101U);
    EXPECT_EQ(sticks->closed.size(), ends == Ends::by_server              ? 0U
                                     : ends == Ends::with_control_channel ? 2U
                                                                          : 1U);
    if (ends != Ends::with_control_channel) sticks.expect_other_untouched();
    sticks->order.clear();
    for (std::size_t i = 0; i < submitted.size(); ++i) {
      sticks->end(submitted[i], i % 2 == 0 ? TransferStatus::cancelled : TransferStatus::success,
                  submitted[i].transfer.in() ? Bytes(i % 2 * 512) : Bytes());
      sticks->end(submitted[i], TransferStatus::success, Bytes());  // and again
    }
    EXPECT_THAT(sticks->order, IsEmpty()) << "swallowed";
    if (ends != Ends::with_control_channel) sticks.expect_other_alive();
  }
}

// An assertion on a signed copy of the server's number ended the whole client.
TEST(Cve, CVE_2026_109240_isochronous_numbers_that_would_be_negative) {
  TwoSticks sticks;
  for (const std::uint32_t value : {0x80000000U, 0xFFFFFFFFU, 0x7FFFFFFFU}) {
    const std::uint32_t pipe = sticks->isochronous_pipe;
    const std::vector<pdu::IsochronousTransfer> transfers{
        {pipe, 1, value, 0, {{0, 0, 0}}},
        {pipe, 1, 0, value, {{0, 0, 0}}},
        {pipe, 1, 0, 0, {{value, 0, 0}}},
        {pipe, 1, 0, 0, {{0, value, value}}},
        {pipe, 1, 0, 0, {{0, 0, 0}, {value, 0, 0}}},
        {value, 1, 0, 0, {{0, 0, 0}}},
        {pipe, value, 0, 0, {{0, 0, 0}}},
    };
    for (const auto& transfer : transfers) {
      sticks->transfer_in(1, function::isochronous_transfer, transfer, 64);
      EXPECT_TRUE(status::failed(sticks->next_ended().status));
    }
    // NumberOfPackets and OutputBufferSize, which only bytes can say.
    const Bytes message = transfer_message(function::isochronous_transfer, true, 9);
    sticks.hear(with(message, 36, value));
    sticks.hear(with(message, message.size() - 4, value));
    sticks.hear(with(with(message, 36, value), message.size() - 4, value));
    EXPECT_THAT(sticks->closed, IsEmpty());
    sticks->forget();
  }
  EXPECT_THAT(sticks->submitted, IsEmpty());
  sticks.expect_other_alive();
}

// A second channel of one name took the place of the first one's callback.
TEST(Cve, CVE_2026_121953_channels_opened_twice_and_in_odd_order) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.open(2);  // nobody asked
  talk.open(3);
  EXPECT_THAT(talk.order, ElementsAre("close 2", "close 3"));
  talk.handshake(1);
  talk.open(4);
  talk.open(5);  // twice for one request
  EXPECT_EQ(talk.closed.size(), 3U);
  EXPECT_EQ(talk.closed.back().channel, 5U);
  talk.handshake(4);
  talk.register_callback();
  talk.forget();
  for (ChannelId channel = 100; channel < 1100; ++channel) talk.open(channel);
  EXPECT_EQ(talk.closed.size(), 1000U);
  EXPECT_THAT(talk.left, IsEmpty());
  talk.forget();
  talk.open(4);  // an owner that names a channel twice means a new one
  EXPECT_THAT(talk.order, ElementsAre("left session 1", "close 4"));
}

// Descriptors inside messages were read by their own lengths instead of by what had come.
TEST(Cve, FreeRDP_7ed06c7bc_descriptor_lengths_past_the_message) {
  TwoSticks sticks;
  const Bytes& good = gadget_configuration(1);
  // wTotalLength above and below what is there, and a header alone.
  for (const unsigned total : {0U, 1U, 8U, 9U, 63U, 65U, 0xFFFEU, 0xFFFFU}) {
    Bytes lying = good;
    lying[2] = static_cast<std::uint8_t>(total & 0xFFU);
    lying[3] = static_cast<std::uint8_t>(total >> 8U);
    sticks->select_configuration(1, lying, {Conversation::interface(0, 1)});
    EXPECT_EQ(sticks->next_ended().status, status::invalid_parameter) << total;
  }
  for (const std::size_t size : {1U, 2U, 5U, 8U, 9U, 63U}) {
    const Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
    sticks->select_configuration(2, cut, {Conversation::interface(0, 1)});
    EXPECT_EQ(sticks->next_ended().status, status::invalid_parameter) << size;
  }
  EXPECT_THAT(sticks->submitted, IsEmpty());
  // bLength of each descriptor inside: nothing goes by it, the stick's own descriptors count.
  for (const std::size_t at : {0U, 9U, 18U, 27U, 34U, 41U, 48U, 57U}) {
    for (const unsigned length : {0U, 1U, 2U, 0xFEU, 0xFFU}) {
      Bytes lying = good;
      lying[at] = static_cast<std::uint8_t>(length);
      sticks->select_configuration(3, lying, {Conversation::interface(0, 1, 3)});
      EXPECT_EQ(sticks->next_submit().transfer.setup, usb::set_configuration(1));
      sticks.start();
    }
  }
  // The other direction: a stick's OS string descriptor that is no such thing.
  for (const char* descriptor :
       {"", "12", "1203", "ff03 4d005300460054003100300030 00 5e00",
        "0003 4d00530046005400310030003000 5e00", "1203 4d00530046005400310030003000 5e",
        "1203 4d00530046005400310030003000 5e0000"}) {
    sticks.start();
    sticks->transfer_in(4, function::get_ms_feature_descriptor,
                        pdu::OsFeatureDescriptorRequest{0, 0, 0, 0, 4, {}}, 16);
    sticks->complete_next(TransferStatus::success, from_hex(descriptor));
    EXPECT_EQ(sticks->next_ended().status, status::not_supported) << descriptor;
    EXPECT_THAT(sticks->submitted, IsEmpty());
  }
  sticks.expect_other_alive();
}

// A stream whose transfers have one packet slipped through the bounds check.
TEST(Cve, CVE_2026_92382_isochronous_stream_of_one_packet) {
  TwoSticks sticks;
  for (const bool in : {true, false}) {
    for (const std::uint32_t size : {0U, 1U, 64U}) {
      for (const std::uint32_t offset : {0U, 1U, 63U, 64U, 65U, 0x80000000U, 0xFFFFFFFFU}) {
        const Bytes data(in ? 0 : size);
        const pdu::IsochronousTransfer one{
            sticks->isochronous_pipe, in ? 5U : 4U, 0, 0, {{offset, 0xFFFFFFFFU, 0}}};
        for (std::uint32_t i = 0; i < 3; ++i) {
          sticks->transfer(in, i, function::isochronous_transfer, one, size, data);
          EXPECT_EQ(sticks->next_ended().status,
                    offset > size ? status::invalid_parameter : status::not_supported);
        }
        if (in) continue;
        sticks->forget();
        sticks->transfer(false, 9, function::isochronous_transfer, one, size, data, true);
        EXPECT_THAT(sticks->order, IsEmpty()) << "NoAck: not even an answer";
      }
    }
  }
  EXPECT_THAT(sticks->submitted, IsEmpty());
  sticks.expect_other_alive();
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
