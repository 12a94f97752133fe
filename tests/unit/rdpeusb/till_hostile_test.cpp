// Messages that lie: truncated, with every length at its extremes, with counts that wrap. Each CVE
// of FreeRDP's client that is about the contents of one message is here under its name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/till_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::IsEmpty;
namespace status = pdu::usbd_status;

/// One message of each kind to a gadget whose handles are those of select_gadget() in a fresh
/// conversation: 1 configuration, 3 to 5 pipes of interface 0, 7 isochronous.
std::vector<std::pair<const char*, Bytes>> messages() {
  const std::string configuration = to_hex(gadget_configuration(1));
  return {
      {"register", from_hex("04000040 00000000 01010000 01000000 07000000")},
      {"cancel", from_hex("04000040 00000000 00010000 09000000")},
      {"io control", from_hex("04000040 00000000 02010000 13002200 03000000 aabbcc 04000000"
                              "09000000")},
      {"text", from_hex("04000040 00000000 04010000 00000000 09040000")},
      {"select configuration",
       from_hex("04000040 00000000 05010000 80000000 8000 0000 09000000 01 000000 02000000"
                "1800 0100 00 01 0000 01000000 0000 0000 ffffffff 00000000"
                "1800 0100 01 00 0000 01000000 0000 0000 ffffffff 00000000" +
                configuration + "00000000")},
      {"select interface", from_hex("04000040 00000000 05010000 24000000 2400 0100 09000000"
                                    "01000000 1800 0100 00 01 0000 01000000"
                                    "0000 0000 ffffffff 00000000 00000000")},
      {"abort", from_hex("04000040 00000000 05010000 0c000000 0c00 0200 09000000 03000000"
                         "00000000")},
      {"bulk in", from_hex("04000040 00000000 05010000 10000000 1000 0900 09000000 03000000"
                           "03000000 40000000")},
      {"bulk out", from_hex("04000040 00000000 06010000 10000000 1000 0900 09000000 04000000"
                            "00000000 04000000 01020304")},
      {"isochronous", from_hex("04000040 00000000 05010000 34000000 3400 0a00 09000000 07000000"
                               "05000000 00000000 02000000 00000000"
                               "00000000 00000000 00000000 40000000 00000000 00000000 80000000")},
      {"control", from_hex("04000040 00000000 05010000 18000000 1800 0800 09000000 00000000"
                           "0b000000 a1fe000000000100 01000000")},
      {"control ex", from_hex("04000040 00000000 05010000 1c000000 1c00 3200 09000000 00000000"
                              "0b000000 e8030000 a1fe000000000100 01000000")},
      {"descriptor", from_hex("04000040 00000000 05010000 0c000000 0c00 0b00 09000000 00010000"
                              "12000000")},
      {"vendor", from_hex("04000040 00000000 06010000 14000000 1400 1700 09000000 00000000"
                          "00 d8 0000 0000 0000 01000000 01")},
      {"os descriptor", from_hex("04000040 00000000 05010000 10000000 1000 2a00 09000000"
                                 "00 00 00 0400 000000 10000000")},
  };
}

/// Whatever was said: at most one submit, which the descriptors allow, or at most one completion,
/// or the channel closed. Nothing owed may be forgotten, as far as the request id can be read.
void expect_harmless(Conversation& talk, const std::string& what) {
  SCOPED_TRACE(what);
  EXPECT_LE(talk.submitted.size(), 1U);
  for (const auto& submit : talk.submitted) {
    const auto& transfer = submit.transfer;
    EXPECT_LE(transfer.length, limits::transfer_bytes);
    EXPECT_EQ(transfer.data.size(), transfer.in() ? 0U : transfer.length);
    const bool known = transfer.endpoint_number() == 0 || transfer.endpoint == 0x81 ||
                       transfer.endpoint == 0x02 || transfer.endpoint == 0x83;
    EXPECT_TRUE(known);
  }
  EXPECT_LE(talk.sent[2].size(), 1U);
  EXPECT_LE(talk.closed.size(), 1U);
  EXPECT_LE(talk.submitted.size() + talk.sent[2].size() + talk.closed.size(), 1U);
  for (const auto& close : talk.closed) EXPECT_EQ(close.channel, 2U) << "its own channel at most";
}

TEST(TillHostile, TheMessagesThemselvesAreGood) {
  for (const auto& [name, message] : messages()) {
    Conversation talk;
    talk.bring_up(gadget());
    talk.select_gadget();
    ASSERT_EQ(talk.configuration, 1U);
    ASSERT_EQ(talk.in_pipe, 3U);
    ASSERT_EQ(talk.isochronous_pipe, 7U);
    talk.say(2, message);
    expect_harmless(talk, name);
    EXPECT_THAT(talk.closed, IsEmpty()) << name;
    const bool transfer = message[8] == 5 || message[8] == 6;
    if (!transfer) continue;
    if (!talk.submitted.empty()) continue;
    talk.outstanding[9] = {false, message[18], 0x1000};
    const std::uint32_t expected = message[18] == 2 ? status::success : status::not_supported;
    EXPECT_EQ(talk.next_ended().status, expected) << name;
  }
}

// Missing length checks: memory past the message was read and echoed to the server.
TEST(TillHostile, CVE_2022_39319_TruncatedAtEveryByte) {
  for (const auto& [name, message] : messages()) {
    for (std::size_t size = 0; size < message.size(); ++size) {
      Conversation talk;
      talk.bring_up(gadget());
      talk.select_gadget();
      talk.say(2, Bytes(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size)));
      expect_harmless(talk, std::string(name) + " cut to " + std::to_string(size));
      EXPECT_THAT(talk.submitted, IsEmpty()) << name << ' ' << size;
    }
  }
}

// Sums of lengths that wrap: every 16- and 32-bit field at its extremes.
TEST(TillHostile, CVE_2020_11039_EveryFieldAtItsExtremes) {
  for (const auto& [name, message] : messages()) {
    for (const std::size_t width : {2U, 4U}) {
      for (std::size_t at = 12; at + width <= message.size(); ++at) {
        for (const std::uint32_t value :
             {0U, 1U, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFF0U, 0xFFFFFFFEU, 0xFFFFFFFFU}) {
          Bytes changed = message;
          for (std::size_t i = 0; i < width; ++i) {
            changed[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
          }
          Conversation talk;
          talk.bring_up(gadget());
          talk.select_gadget();
          talk.say(2, changed);
          expect_harmless(talk, std::string(name) + " at " + std::to_string(at) + " = " +
                                    std::to_string(value));
        }
      }
    }
  }
}

// Packets of zero, and a division by their number.
TEST(TillHostile, CVE_2022_39318_IsochronousWithoutPackets) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_gadget();
  talk.transfer_in(1, pdu::urb_function::isochronous_transfer,
                   pdu::IsochronousTransfer{talk.isochronous_pipe, 5, 0, 0, {}}, 512);
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, status::invalid_parameter);
  EXPECT_EQ(ended.hresult, pdu::hresult::invalid_argument);
}

// A buffer size was added up in too narrow a type.
TEST(TillHostile, CVE_2022_39320_OutputBufferSizeNearTheEnd) {
  for (const std::uint32_t size : {0xFFFFFFFFU, 0xFFFFFFE0U, 0x80000000U, 0x7FFFFFFFU}) {
    Conversation talk;
    talk.bring_up(gadget());
    talk.select_gadget();
    talk.bulk_in(1, talk.in_pipe, size);
    EXPECT_EQ(talk.next_ended().status, status::insufficient_resources) << size;
    talk.transfer_in(2, pdu::urb_function::get_descriptor_from_device,
                     pdu::DescriptorRequest{0, 1, 0}, size);
    EXPECT_EQ(talk.next_ended().status, status::insufficient_resources) << size;
    talk.transfer_in(3, pdu::urb_function::isochronous_transfer,
                     pdu::IsochronousTransfer{talk.isochronous_pipe, 5, 0, 0, {{0, 0, 0}}}, size);
    EXPECT_TRUE(pdu::usbd_status::failed(talk.next_ended().status)) << size;
    // An OUT that claims more data than the message holds.
    ByteWriter out;
    out.bytes(from_hex("04000040 00000000 06010000 10000000 1000 0900 04000000"));
    out.u32le(talk.out_pipe);
    out.u32le(0);
    out.u32le(size);
    out.bytes(Bytes(8));
    talk.outstanding[4] = {false, 9, size};
    talk.say(2, out.finish());
    EXPECT_EQ(talk.next_ended().status, status::invalid_parameter) << size;
    EXPECT_THAT(talk.submitted, IsEmpty());
    EXPECT_THAT(talk.closed, IsEmpty());
  }
}

// An assertion on a signed copy of the server's value ended the whole client.
TEST(TillHostile, CVE_2026_109240_IsochronousValuesThatWouldBeNegative) {
  for (const std::uint32_t value : {0x80000000U, 0xFFFFFFFFU}) {
    Conversation talk;
    talk.bring_up(gadget());
    talk.select_gadget();
    const std::vector<pdu::IsochronousTransfer> transfers{
        {talk.isochronous_pipe, 1, value, 0, {{0, 0, 0}}},
        {talk.isochronous_pipe, 1, 0, value, {{0, 0, 0}}},
        {talk.isochronous_pipe, 1, 0, 0, {{value, 0, 0}}},
        {talk.isochronous_pipe, 1, 0, 0, {{0, value, value}}},
        {value, 1, 0, 0, {{0, 0, 0}}},
        {talk.isochronous_pipe, value, 0, 0, {{0, 0, 0}}},
    };
    for (const auto& transfer : transfers) {
      talk.transfer_in(1, pdu::urb_function::isochronous_transfer, transfer, 64);
      EXPECT_TRUE(pdu::usbd_status::failed(talk.next_ended().status));
    }
    // NumberOfPackets, which only bytes can say.
    ByteWriter count;
    count.bytes(
        from_hex("04000040 00000000 05010000 1c000000 1c00 0a00 01000000 07000000"
                 "05000000 00000000"));
    count.u32le(value);
    count.bytes(from_hex("00000000 40000000"));
    talk.say(2, count.finish());
    EXPECT_TRUE(pdu::usbd_status::failed(talk.next_ended().status));
    EXPECT_THAT(talk.submitted, IsEmpty());
    EXPECT_THAT(talk.closed, IsEmpty());
  }
}

TEST(TillHostile, WithoutARequestIdOnlyClosingIsLeft) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.say(2, "04000040 00000000 05010000 10000000 10000900 0000");
  EXPECT_THAT(talk.order, ::testing::ElementsAre("close 2", "left session 1"));
  EXPECT_TRUE(talk.logged("closed"));
  // The control channel and what else there is live on.
  talk.add(2, storage_stick("B"));
  EXPECT_FALSE(talk.quiet(1));
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
