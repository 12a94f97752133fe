// Sticks that lie to the till: completions that nobody asked for, that come twice, too late or with
// other data than they may have, and descriptors that cannot be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/till_two_sticks.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::IsEmpty;
using usb::TransferStatus;
namespace function = pdu::urb_function;
namespace status = pdu::usbd_status;

constexpr TransferStatus every_status[]{TransferStatus::success,   TransferStatus::stall,
                                        TransferStatus::cancelled, TransferStatus::short_read,
                                        TransferStatus::overflow,  TransferStatus::timeout,
                                        TransferStatus::error,     TransferStatus::device_gone,
                                        TransferStatus::refused,   TransferStatus::no_resources};

struct Asked {
  const char* name;
  std::uint16_t function;
  bool in;
};
constexpr Asked every_kind[]{{"bulk in", function::bulk_or_interrupt_transfer, true},
                             {"bulk out", function::bulk_or_interrupt_transfer, false},
                             {"control in", function::control_transfer, true},
                             {"control out", function::control_transfer_ex, false},
                             {"descriptor", function::get_descriptor_from_device, true},
                             {"status", function::get_status_from_device, true},
                             {"configuration", function::get_configuration, true},
                             {"feature", function::clear_feature_to_endpoint, true},
                             {"vendor", function::vendor_device, false},
                             {"os descriptor", function::get_ms_feature_descriptor, true},
                             {"clear stall", function::sync_clear_stall, true},
                             {"select configuration", function::select_configuration, true},
                             {"select interface", function::select_interface, true}};

// Whatever the stick says of a transfer, the request ends in one completion, and the server gets no
// more than it asked for.
TEST(TillLyingStick, EveryStatusWithEveryLengthEndsInOneCompletion) {
  TwoSticks sticks;
  for (const Asked& asked : every_kind) {
    for (const TransferStatus how : every_status) {
      for (const std::size_t size : {0U, 3U, 4U, 5U, 18U, 5000U}) {
        for (const std::uint32_t claimed : {0U, 5U, 0xFFFFFFFFU}) {
          SCOPED_TRACE(std::string(asked.name) + ' ' + std::string(name(how)) + ' ' +
                       std::to_string(size) + ' ' + std::to_string(claimed));
          sticks->outstanding[9] = {false, asked.function, 4};
          sticks->forget();
          sticks->say(2, transfer_message(asked.function, asked.in, 9));
          // Several steps may be needed; the stick lies in each.
          for (int step = 0; step < 5 && !sticks->submitted.empty(); ++step) {
            const auto submit = sticks->next_submit();
            usb::Completion completion;
            completion.id = submit.transfer.id;
            completion.status = how;
            completion.actual_length = claimed;
            completion.data.resize(size);
            completion.packets.resize(3, {0xFFFFFFFFU, 0xFFFFFFFFU, 0xFFFFFFFFU, -1});
            sticks->complete(1, completion);
            sticks->complete(1, completion);  // and says it again
          }
          ASSERT_EQ(sticks->sent[2].size(), 1U);
          const Ended ended = sticks->next_ended();
          EXPECT_EQ(ended.request, 9U);
          EXPECT_LE(ended.size, 4U);
          EXPECT_LE(ended.data.size(), 4U);
          EXPECT_EQ(status::failed(ended.status), pdu::hresult::failed(ended.hresult));
          sticks.expect_other_untouched();
          if (HasFailure()) return;
          if (asked.function <= function::select_interface ||
              asked.function == function::get_ms_feature_descriptor ||
              how == TransferStatus::stall) {
            sticks.start();  // other handles, a halted pipe, a remembered vendor code
          }
        }
      }
    }
  }
  sticks.expect_other_alive();
}

TEST(TillLyingStick, CompletionsThatNobodyWaitsFor) {
  TwoSticks sticks;
  sticks->bulk_in(1, sticks->in_pipe, 4);
  const auto submit = sticks->next_submit();
  sticks->forget();
  for (const usb::TransferId id : {0U, submit.transfer.id + 1, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    for (const DeviceId device : {0U, 1U, 3U, 0xFFFFFFFFU}) {
      sticks->complete(device, usb::Completion{id, TransferStatus::success, 4, {}, Bytes(4)});
    }
  }
  EXPECT_THAT(sticks->order, IsEmpty());
  // Right id, wrong stick: ids are each stick's own.
  sticks->complete(3,
                   usb::Completion{submit.transfer.id, TransferStatus::success, 4, {}, Bytes(4)});
  EXPECT_THAT(sticks->order, IsEmpty());
  sticks->end(submit, TransferStatus::success, Bytes(4));
  EXPECT_EQ(sticks->next_ended().data, Bytes(4));
  sticks.expect_other_alive();
}

TEST(TillLyingStick, WhatEndsAfterItWasCancelledMayWinAndEndsOnce) {
  for (const TransferStatus how : every_status) {
    TwoSticks sticks;
    sticks->bulk_in(1, sticks->in_pipe, 4);
    const auto submit = sticks->next_submit();
    sticks->cancel(1);
    sticks->cancel(1);
    EXPECT_EQ(sticks->cancelled.size(), 1U);
    for (int i = 0; i < 3; ++i) sticks->end(submit, how, Bytes(4));
    ASSERT_EQ(sticks->sent[2].size(), 1U);
    const Ended ended = sticks->next_ended();
    EXPECT_EQ(status::failed(ended.status), how != TransferStatus::success);
    // The id may be used again, and the old transfer has no part in it.
    sticks->bulk_in(1, sticks->out_pipe, 4);
    EXPECT_EQ(sticks->next_ended().status, status::invalid_parameter) << "an OUT pipe";
    sticks->io_control(1, pdu::io_control_code::get_hub_count, 4);
    sticks->end(submit, how, Bytes(4));
    EXPECT_EQ(sticks->sent[2].size(), 1U);
  }
}

// A transfer of an earlier registration that ends under an id which is in use again.
TEST(TillLyingStick, AnOldTransfersEndIsNotTakenForANewOnes) {
  TwoSticks sticks;
  sticks->bulk_in(1, sticks->in_pipe, 4);
  const auto old = sticks->next_submit();
  sticks->register_callback(0);
  sticks->register_callback(1);
  sticks->bulk_in(1, sticks->in_pipe, 4);
  const auto fresh = sticks->next_submit();
  EXPECT_NE(old.transfer.id, fresh.transfer.id);
  sticks->forget();
  sticks->end(old, TransferStatus::success, from_hex("01010101"));
  EXPECT_THAT(sticks->order, IsEmpty());
  sticks->end(fresh, TransferStatus::success, from_hex("02020202"));
  EXPECT_EQ(to_hex(sticks->next_ended().data), "02020202");
}

// --- descriptors ---------------------------------------------------------------------------------

/// The configuration that a stick would have to have for its result to be as large as can be: 32
/// interfaces with 30 endpoints each.
Bytes largest_configuration() {
  Bytes raw = from_hex("0902000020010080 32");
  for (int interface = 0; interface < 32; ++interface) {
    const Bytes header{9, 4, static_cast<std::uint8_t>(interface), 0, 30, 0xFF, 0, 0, 0};
    raw.insert(raw.end(), header.begin(), header.end());
    for (int endpoint = 0; endpoint < 30; ++endpoint) {
      const auto address =
          static_cast<std::uint8_t>(endpoint < 15 ? endpoint + 1 : 0x80 + endpoint - 14);
      const Bytes descriptor{7, 5, address, 2, 0xFF, 0xFF, 0xFF};
      raw.insert(raw.end(), descriptor.begin(), descriptor.end());
    }
  }
  raw[2] = static_cast<std::uint8_t>(raw.size() & 0xFFU);
  raw[3] = static_cast<std::uint8_t>(raw.size() >> 8U);
  return raw;
}

TEST(TillLyingStick, TheLargestResultFitsAndALargerOneIsRefused) {
  const Bytes raw = largest_configuration();
  auto stick = storage_stick();
  stick.configurations = {parse(raw)};
  Conversation talk;
  talk.bring_up(stick);
  std::vector<pdu::InterfaceInformation> list;
  for (std::uint8_t i = 0; i < 32; ++i) list.push_back(Conversation::interface(i));
  talk.select_configuration(1, raw, list);
  talk.complete_next();
  Ended ended = talk.next_ended();
  EXPECT_EQ(std::get<pdu::SelectConfigurationResult>(ended.body).interfaces.size(), 32U);
  // Each listed four times, as a server may: more than TS_URB_RESULT_HEADER.Size can say.
  for (int i = 0; i < 96; ++i) list.push_back(list[static_cast<std::size_t>(i)]);
  talk.select_configuration(2, raw, list);
  ended = talk.next_ended();
  EXPECT_EQ(ended.status, status::insufficient_resources);
  EXPECT_THAT(talk.submitted, IsEmpty());
}

TEST(TillLyingStick, DescriptorsThatCannotBeStillMakeADeviceThatCanBeRefused) {
  const std::string long_text(100'000, 'x');
  std::vector<usb::DeviceDescription> sticks;
  sticks.push_back(storage_stick());  // nothing active
  sticks.back().active_configuration = 0;
  sticks.push_back(storage_stick());  // active, but not there
  sticks.back().active_configuration = 77;
  sticks.push_back(storage_stick());  // no configuration at all
  sticks.back().configurations.clear();
  sticks.push_back(storage_stick());  // no interface
  sticks.back().configurations = {parse(from_hex("0902090000010080 32"))};
  sticks.push_back(storage_stick());  // counts that are not true
  sticks.back().configurations.front().interface_count = 255;
  sticks.back().device.configuration_count = 255;
  sticks.push_back(storage_stick(long_text));  // texts
  sticks.back().product = long_text;
  sticks.push_back(storage_stick(std::string("a\0b\nc\r\x7f", 7)));
  sticks.back().product = std::string("\0\xFF\xC0\x80\xED\xA0\x80", 7);
  sticks.push_back(storage_stick(""));
  sticks.back().path = "99999999999999999999-\n4.";
  for (auto& stick : sticks) {
    stick.device.usb_version = 0xFFFF;
    stick.speed = static_cast<usb::Speed>(200);
    Conversation talk;
    talk.add(1, stick);
    talk.open(1);
    talk.handshake(1);
    talk.open(2);
    talk.handshake(2);
    ASSERT_EQ(talk.sent[2].size(), 3U);
    const auto announced = pdu::decode_from_till(talk.sent[2].back(), {});
    ASSERT_TRUE(announced.ok());
    const auto& add = std::get<pdu::AddDevice>(announced.value());
    EXPECT_EQ(add.instance_id.size(), 36U);
    EXPECT_EQ(add.container_id.size(), 38U);
    EXPECT_EQ(add.capabilities.usb_version, 0x200U);
    talk.register_callback();
    for (const auto& event : talk.events) {
      EXPECT_EQ(event.text.find_first_of("\n\r\x7f"), std::string::npos) << event.text;
    }
    talk.forget();
    for (const std::uint32_t type : {0U, 1U, 2U, 0xFFFFFFFFU}) {
      talk.say(2, pdu::encode(pdu::QueryDeviceText{{4, 0}, type, 0xFFFFFFFFU}));
      pdu::TerminalContext context;
      context.text_query = pdu::Address{4, 0};
      const auto text = pdu::decode_from_till(talk.next_sent(2), context);
      ASSERT_TRUE(text.ok());
      const auto& response = std::get<pdu::QueryDeviceTextResponse>(text.value());
      EXPECT_EQ(pdu::hresult::failed(response.result), type > 1);
      EXPECT_LE(response.text.size(), limits::usb_string_bytes);
    }
    talk.select_configuration(1, storage_configuration(), {Conversation::interface(0)});
    if (!talk.submitted.empty()) talk.complete_next();
    (void)talk.next_ended();
    for (std::uint32_t handle = 0; handle < 10; ++handle) talk.bulk_in(2 + handle, handle, 4);
    for (const auto& submit : talk.submitted) EXPECT_EQ(submit.transfer.endpoint, 0x81);
    talk.io_control(100, pdu::io_control_code::reset_port, 0);
    talk.remove(1);
    EXPECT_EQ(talk.closed.size(), 1U);
  }
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
