// Defects that others had, in what TerminalRole, Exporter and Importer do: one test or more for
// each id of cves.tsv with the side "terminal".
#include "channel/bytes/limits.hpp"
#include "tests/unit/rdpeusb/terminal_conversation.hpp"
#include "tests/unit/usbip/support.hpp"

namespace tillbridge {
namespace {

using rdpeusb::testing::from_hex;
using rdpeusb::testing::TerminalConversation;
using usb::TransferStatus;
using usbip::CmdSubmit;
using usbip::Exporter;
using usbip::Importer;
using usbip::RetSubmit;
using usbip::test::attached_exporter;
using usbip::test::attached_importer;
using usbip::test::bulk_in;
using usbip::test::bulk_out;
using usbip::test::bulk_transfer;
using usbip::test::done;
using usbip::test::drain;
using usbip::test::ended;
using usbip::test::pattern;
using usbip::test::operator+;
namespace pdu = rdpeusb::pdu;

/// What stands between a till and the kernel of a terminal server: the role, and in front of
/// vhci-hcd an exporter.
class Chain {
 public:
  TerminalConversation till;
  Bytes kernel;  ///< what it was sent

  Chain() {
    till.bring_up_configured();
    usb::DeviceDescription device;
    device.path = "1-1";
    device.active_configuration = 1;
    auto parsed = usb::parse_configuration(rdpeusb::testing::storage_configuration());
    EXPECT_TRUE(parsed.ok());
    device.configurations.push_back(*std::move(parsed));
    exporter_.emplace(Exporter::Start::attached, std::move(device));
  }
  /// The kernel submits; answers the RequestId that the till sees.
  std::uint32_t submit(const CmdSubmit& command, const Bytes& data = {}) {
    exporter_->receive(usbip::encode(command) + data);
    pump();
    return till.last_request();
  }
  void pump() {
    while (auto output = exporter_->poll()) {
      if (auto* submit = std::get_if<Exporter::Submit>(&*output))
        till.submit(std::move(submit->transfer));
      if (auto* send = std::get_if<Exporter::Send>(&*output)) kernel = kernel + send->bytes;
      EXPECT_FALSE(std::holds_alternative<Exporter::Close>(*output));
    }
    while (!till.completed.empty()) {
      exporter_->complete(till.next_completed());
      pump();
    }
  }

 private:
  std::optional<Exporter> exporter_;
};

/// Importer: the transfer runs, the answer comes; nothing of it reaches the transfer.
void expect_refused(usb::Transfer transfer, const Bytes& answer) {
  Importer importer = attached_importer();
  importer.submit(std::move(transfer));
  drain(importer);
  importer.receive(answer);
  const auto said = drain(importer);
  ASSERT_EQ(said.failed.size(), 1U);
  ASSERT_EQ(said.completed.size(), 1U);
  EXPECT_EQ(said.completed[0].status, TransferStatus::device_gone);
  EXPECT_TRUE(said.completed[0].data.empty());
}

usb::Transfer isochronous_in(std::vector<usb::IsochronousPacket> packets) {
  usb::Transfer transfer = bulk_transfer(9, 0x86, 200);
  transfer.type = usb::TransferType::isochronous;
  transfer.packets = std::move(packets);
  return transfer;
}

/// An exporter whose isochronous endpoints (86, 07) are in use.
Exporter isochronous_exporter() {
  Exporter exporter = attached_exporter({.isochronous = true});
  exporter.receive(usbip::encode(usbip::test::control(1, usb::set_interface(0, 2))));
  exporter.complete(ended(drain(exporter).submitted.at(0).id, TransferStatus::success));
  drain(exporter);
  return exporter;
}

// --- MS-RDPEUSB
// -------------------------------------------------------------------------------------------------

TEST(Cve, CVE_2020_11039_sizes_of_completions_that_wrap) {
  // CbTsUrbResult and OutputBufferSize, whose 32-bit sum is what is really there.
  struct Sizes {
    std::uint32_t result, output;
  };
  for (const Sizes& sizes : {Sizes{0xFFFFFFFF, 21}, Sizes{0xFFFFFFF8, 28}, Sizes{8, 0xFFFFFFFF},
                             Sizes{0x80000008, 0x8000000C}, Sizes{28, 0}, Sizes{0, 20},
                             Sizes{21, 0xFFFFFFFF}, Sizes{0xFFFFFFFC, 0}}) {
    for (const char function : {'1', '2'}) {
      TerminalConversation till;
      till.bring_up_configured();
      till.submit(TerminalConversation::bulk_in(8, 64));
      Bytes message = from_hex("04000040 00000000 0" + std::string(1, function) +
                               "010000 04000000 00000000 08000900 00000000 00000000 00000000"
                               "41414141 41414141 41414141");
      for (std::size_t i = 0; i < 4; ++i) {
        message[16 + i] = static_cast<std::uint8_t>(sizes.result >> (8 * i));
        message[32 + i] = static_cast<std::uint8_t>(sizes.output >> (8 * i));
      }
      till.say(11, message);
      ASSERT_EQ(till.closed.size(), 1U) << sizes.result << ' ' << sizes.output;
      ASSERT_EQ(till.completed.size(), 1U);
      EXPECT_EQ(till.completed[0].status, TransferStatus::device_gone);
      EXPECT_TRUE(till.completed[0].data.empty());
    }
  }
}

TEST(Cve, CVE_2020_11039_counts_of_announced_strings_that_wrap) {
  for (const std::uint32_t count : {0x80000000U, 0x80000001U, 0x80000002U, 0xFFFFFFFFU, 0U}) {
    for (const bool instance : {true, false}) {
      TerminalConversation till;
      till.bring_up_control();
      till.say(10, "01000040 00000000 00010000");
      till.open(11);
      till.handshake(11);
      // NumUsbDevice, UsbDevice, cchDeviceInstanceId "1", no hardware ids, ...
      Bytes message = from_hex(
          "01000040 00000000 01010000 01000000 05000000 02000000 31000000"
          "00000000 00000000 01000000 0000 1c000000 02000000 00060000"
          "00020000 00000000 00000000 00000000");
      const std::size_t at = instance ? 20 : 36;  // cchDeviceInstanceId, cchContainerId
      for (std::size_t i = 0; i < 4; ++i)
        message[at + i] = static_cast<std::uint8_t>(count >> (8 * i));
      till.say(11, message);
      EXPECT_EQ(till.closed.size(), 1U) << count;
      till.pass(std::chrono::minutes(2));
      EXPECT_TRUE(till.arrived.empty());
    }
  }
}

TEST(Cve, CVE_2022_39319_answers_hold_nothing_but_what_was_said) {
  // Whatever a cut message makes the role say, it is the 8 bytes of "not supported": interface and
  // message id of the peer's own header.
  const Bytes messages[] = {
      from_hex("04000040 d00dfeed 02000000 000102030405060708090a0b0c0d0e0f"),  // query interface
      from_hex("04000040 d00dfeed ff010000 4141414141414141"),                  // unknown function
      pdu::encode(pdu::UrbCompletion{TerminalConversation::completion_address, 4, {}, 0, Bytes(9)}),
      TerminalConversation::add_device()};
  for (const Bytes& message : messages) {
    for (std::size_t size = 0; size <= message.size(); ++size) {
      TerminalConversation till;
      till.bring_up_configured();
      till.submit(TerminalConversation::bulk_in(8, 64));
      till.sent.clear();
      // A buffer of this size exactly, so that a sanitizer sees every byte read past it.
      Bytes cut(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size));
      cut.shrink_to_fit();
      till.say(11, cut);
      for (const Bytes& said : till.sent[11])
        EXPECT_EQ(rdpeusb::testing::to_hex(said), "04000080d00dfeed");
      till.role.channel_closed(11, till.now);
      till.drain();
      EXPECT_EQ(till.completed.size(), 1U);
    }
  }
}

TEST(Cve, CVE_2026_24681_completions_after_the_channels_end) {
  TerminalConversation till;
  till.bring_up_configured();
  for (usb::TransferId id = 1; id <= 200; ++id) {
    if (id % 2 == 0) {
      till.submit(TerminalConversation::bulk_in(id, 512));
    } else {
      till.submit(TerminalConversation::bulk_out(id, Bytes(512)));
    }
  }
  till.role.channel_closed(11, till.now);
  till.drain();
  EXPECT_EQ(till.completed.size(), 200U);
  EXPECT_EQ(till.gone.size(), 1U);
  for (std::uint32_t request = 4; request < 204; ++request) till.complete_no_data(request, 0);
  till.cancel(1);
  till.pass(std::chrono::minutes(1));
  EXPECT_EQ(till.completed.size(), 200U);
  EXPECT_EQ(till.gone.size(), 1U);
}

TEST(Cve, CVE_2026_121953_channels_twice_and_in_odd_order) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_in(8, 64));
  // A channel nobody asked for, twice, with a handshake on it; its end, twice.
  for (int i = 0; i < 2; ++i) {
    till.role.channel_opened(4711, 30, till.now);
    till.drain();
    till.say(30, "00000000 00000000 01000000 00000000");
    till.say(30, TerminalConversation::add_device());
    till.role.channel_closed(30, till.now);
    till.drain();
  }
  EXPECT_TRUE(till.sent[30].empty());
  EXPECT_EQ(till.arrived.size(), 1U);
  // Two device channels asked for, opened the second one first.
  till.say(10, "01000040 00000000 00010000");
  till.say(10, "01000040 00000000 00010000");
  ASSERT_EQ(till.tickets.size(), 2U);
  std::swap(till.tickets[0], till.tickets[1]);
  for (const rdpeusb::ChannelId channel : {41U, 40U}) {
    till.open(channel);
    till.handshake(channel);
    till.say(channel, TerminalConversation::add_device());
    till.say(channel, TerminalConversation::text_answer);
  }
  EXPECT_EQ(till.arrived.size(), 3U);
  till.complete_in(4, Bytes(64));
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
}

// --- USB/IP
// -----------------------------------------------------------------------------------------------------

TEST(Cve, CVE_2016_3955_answer_longer_than_the_buffer) {
  // A lying USB server...
  for (const std::uint32_t length : {513U, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFFFU}) {
    expect_refused(bulk_transfer(9, 0x81, 512),
                   usbip::encode(RetSubmit{1, 0, length, 0, 0, 0}) + pattern(1024));
    expect_refused(bulk_transfer(9, 0x02, 512),
                   usbip::encode(RetSubmit{1, 0, length, 0, 0, 0}) + pattern(1024));
  }
  // ...and a lying till in front of a kernel: no answer rather than a long one.
  for (const std::uint32_t length : {65U, 4096U, 1U << 20U}) {
    Chain chain;
    chain.till.complete_in(chain.submit(bulk_in(7, 64)), Bytes(length));
    EXPECT_EQ(chain.till.closed.size(), 1U);
    chain.pump();
    EXPECT_EQ(chain.kernel, usbip::encode(RetSubmit{7, -108, 0, 0, 0, 0})) << "ESHUTDOWN, no data";
  }
  // The exporter believes nobody by itself, either.
  Exporter exporter = attached_exporter();
  exporter.receive(usbip::encode(bulk_in(1, 8)));
  exporter.complete(done(drain(exporter).submitted.at(0).id, pattern(9)));
  EXPECT_EQ(drain(exporter).bytes, usbip::encode(RetSubmit{1, -71, 0, 0, 0, 0}));
}

TEST(Cve, CVE_2017_16912_endpoint_and_packet_count_out_of_range) {
  for (const std::uint32_t endpoint : {16U, 0x81U, 255U, 0x10001U, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    for (const bool in : {true, false}) {
      Exporter exporter = attached_exporter();
      CmdSubmit command = bulk_in(1, 8, endpoint);
      command.in = in;
      exporter.receive(usbip::encode(command) + (in ? Bytes() : Bytes(8)));
      auto said = drain(exporter);
      EXPECT_TRUE(said.submitted.empty());
      EXPECT_EQ(said.bytes, usbip::encode(RetSubmit{1, -22, 0, 0, 0, 0})) << endpoint;
    }
  }
}

TEST(Cve, CVE_2017_16913_memory_without_bound) {
  // Claimed lengths and packet counts cost nothing before they are there.
  for (const std::uint32_t length : {limits::transfer_bytes + 1, 0x7FFFFFFFU}) {
    Exporter exporter = attached_exporter();
    exporter.receive(usbip::encode(bulk_in(1, length)));
    EXPECT_EQ(drain(exporter).bytes, usbip::encode(RetSubmit{1, -12, 0, 0, 0, 0}));
    exporter.receive(usbip::encode(bulk_out(2, length)));
    for (int i = 0; i < 100; ++i) exporter.receive(Bytes(4096));  // thrown away as it comes
    const auto said = drain(exporter);
    EXPECT_TRUE(said.submitted.empty());
    EXPECT_TRUE(said.bytes.empty()) << "not before its data have passed";
  }
  for (const std::uint32_t count :
       {limits::isochronous_packets + 1, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFFFU}) {
    Exporter exporter = isochronous_exporter();
    CmdSubmit command = bulk_in(2, 200, 6);
    command.packet_count = count;
    exporter.receive(usbip::encode(command) + Bytes(4096));
    EXPECT_TRUE(drain(exporter).submitted.empty()) << count;
  }
}

TEST(Cve, CVE_2017_16914_length_without_buffer) {
  Exporter exporter = attached_exporter();
  exporter.receive(usbip::encode(bulk_in(1, 512)));
  usb::Completion completion = ended(drain(exporter).submitted.at(0).id, TransferStatus::success);
  completion.actual_length = 512;  // and carries nothing
  exporter.complete(completion);
  EXPECT_EQ(drain(exporter).bytes, usbip::encode(RetSubmit{1, -71, 0, 0, 0, 0}));
  // The same from a till: 64 bytes claimed, none there.
  Chain chain;
  chain.till.complete_no_data(chain.submit(bulk_in(7, 64)), 64);
  chain.pump();
  EXPECT_EQ(chain.kernel, usbip::encode(RetSubmit{7, -108, 0, 0, 0, 0}));
}

TEST(Cve, CVE_2026_31607_more_isochronous_packets_than_submitted) {
  const std::vector<usb::IsochronousPacket> asked{{0, 100, 0, 0}, {100, 100, 0, 0}};
  // A lying server, towards what would be a kernel's buffer.
  for (const std::uint32_t count : {0U, 1U, 3U, 1024U, 1025U, 0x7FFFFFFFU, 0xFFFFFFFFU}) {
    expect_refused(isochronous_in(asked),
                   usbip::encode(RetSubmit{1, 0, 0, 0, count, 0}) + Bytes(1024));
  }
  expect_refused(bulk_transfer(9, 0x81, 512),
                 usbip::encode(RetSubmit{1, 0, 0, 0, 1, 0}) + Bytes(16));
  // A lying device or till, in front of a kernel: as many descriptors as it submitted, all failed.
  for (const std::size_t count : {0U, 1U, 3U, 2000U}) {
    Exporter exporter = isochronous_exporter();
    CmdSubmit command = bulk_in(2, 200, 6);
    command.packet_count = 2;
    exporter.receive(usbip::encode(command) + usbip::encode_packets(asked));
    usb::Completion completion = done(drain(exporter).submitted.at(0).id, pattern(200));
    completion.packets.resize(count, {0, 1, 1, 0});
    exporter.complete(completion);
    EXPECT_EQ(drain(exporter).bytes,
              usbip::encode(RetSubmit{2, -71, 0, 0, 2, 2}) +
                  usbip::encode_packets({{0, 100, 0, -71}, {100, 100, 0, -71}}));
  }
}

TEST(Cve, CVE_2022_39318_isochronous_transfer_of_no_packets) {
  Exporter exporter = isochronous_exporter();
  CmdSubmit command = bulk_in(2, 200, 6);
  command.packet_count = 0;
  exporter.receive(usbip::encode(command));
  EXPECT_EQ(drain(exporter).bytes, usbip::encode(RetSubmit{2, -22, 0, 0, 0, 0}));
  expect_refused(isochronous_in({}), usbip::encode(RetSubmit{1, 0, 200, 0, 0, 0}) + pattern(200));
}

TEST(Cve, CVE_2026_92382_isochronous_transfer_of_one_packet) {
  // The bounds of a single packet are those of the transfer, not of the packet before it.
  for (const usb::IsochronousPacket& packet :
       {usb::IsochronousPacket{0, 201, 0, 0}, usb::IsochronousPacket{1, 200, 0, 0},
        usb::IsochronousPacket{0xFFFFFFFF, 2, 0, 0}, usb::IsochronousPacket{200, 1, 0, 0}}) {
    Exporter exporter = isochronous_exporter();
    CmdSubmit command = bulk_in(2, 200, 6);
    command.packet_count = 1;
    exporter.receive(usbip::encode(command) + usbip::encode_packets({packet}));
    const auto said = drain(exporter);
    EXPECT_TRUE(said.submitted.empty());
    EXPECT_EQ(said.bytes.size(), usbip::command_size + usbip::packet_size);
  }
  for (const std::uint32_t actual : {201U, 0xFFFFFFFFU}) {
    expect_refused(isochronous_in({{0, 200, 0, 0}}),
                   usbip::encode(RetSubmit{1, 0, 200, 0, 1, 0}) + pattern(200) +
                       usbip::encode_packets({{0, 200, actual, 0}}));
  }
}

}  // namespace
}  // namespace tillbridge
