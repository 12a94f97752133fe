// What a hostile importer, and what a lying device or till behind the exporter, cannot do.
#include "channel/bytes/limits.hpp"
#include "tests/unit/usbip/support.hpp"

namespace tillbridge::usbip {
namespace {

using namespace test;
using usb::TransferStatus;

/// The only answer to one CMD_SUBMIT; nothing was submitted and the conversation goes on.
RetSubmit refusal_of(Exporter& exporter, const Bytes& bytes) {
  exporter.receive(bytes);
  auto said = drain(exporter);
  EXPECT_TRUE(said.submitted.empty());
  EXPECT_TRUE(said.closes.empty());
  const auto answer = next_answer(said.bytes, false);
  EXPECT_TRUE(said.bytes.empty()) << "an error carries no data";
  return answer.submit.value_or(RetSubmit{});
}

ErrorCode closed_with(Exporter& exporter, const Bytes& bytes) {
  exporter.receive(bytes);
  const auto said = drain(exporter);
  EXPECT_TRUE(said.submitted.empty());
  if (said.closes.size() != 1 || !said.closes[0].error) {
    ADD_FAILURE() << "not closed";
    return ErrorCode::io;
  }
  exporter.receive(encode(bulk_in(77, 8)));
  EXPECT_FALSE(exporter.poll()) << "nothing follows a Close";
  return said.closes[0].error->code;
}

// --- before the import
// -----------------------------------------------------------------------------------------

TEST(ExporterHostile, EveryTruncationWaitsForMore) {
  const Bytes request = encode_import_request("1-1.4");
  for (std::size_t size = 0; size < request.size(); ++size) {
    Exporter exporter(Exporter::Start::await_request);
    exporter.receive(ByteView(request).first(size));
    EXPECT_FALSE(exporter.poll()) << size;
    exporter.receive(ByteView(request).subspan(size));
    EXPECT_EQ(drain(exporter).import_wanted.size(), 1U) << size;
  }
  const Bytes command = encode(bulk_out(1, 5)) + pattern(5);
  for (std::size_t size = 0; size < command.size(); ++size) {
    Exporter exporter = attached_exporter();
    exporter.receive(ByteView(command).first(size));
    EXPECT_FALSE(exporter.poll()) << size;
    exporter.receive(ByteView(command).subspan(size));
    EXPECT_EQ(drain(exporter).submitted.at(0).data, pattern(5)) << size;
  }
}

TEST(ExporterHostile, WhatIsNotUsbipIsClosed) {
  for (const char* request : {"00 00 80 05 00 00 00 00",     // version 0
                              "01 10 80 05 00 00 00 00",     // 1.1.0
                              "01 11 00 05 00 00 00 00",     // a reply
                              "01 11 80 07 00 00 00 00",     // OP_REQ_EXPORT
                              "47 45 54 20 2f 20 48 54"}) {  // GET / HT
    Exporter exporter(Exporter::Start::await_request);
    EXPECT_EQ(closed_with(exporter, hex(request)), ErrorCode::protocol) << request;
  }
  Exporter exporter(Exporter::Start::await_request);
  EXPECT_EQ(closed_with(exporter, hex("01 11 80 03 00 00 00 00") + Bytes(32, 'x')),
            ErrorCode::malformed);
}

TEST(ExporterHostile, MoreBeforeTheAnswerIsClosed) {
  Exporter list(Exporter::Start::await_request);
  EXPECT_EQ(closed_with(list, encode_device_list_request() + Bytes(1)), ErrorCode::protocol);
  Exporter import(Exporter::Start::await_request);
  import.receive(encode_import_request("1-1"));
  drain(import);
  EXPECT_EQ(closed_with(import, Bytes(1)), ErrorCode::protocol);
  import.import_granted(stick());
  EXPECT_FALSE(import.poll()) << "too late";
}

// --- commands
// --------------------------------------------------------------------------------------------------

TEST(ExporterHostile, UnknownCommandsAndRepliesAreClosed) {
  for (const Bytes& bytes :
       {encode(RetSubmit{}), encode(RetUnlink{}), Bytes(command_size), Bytes(command_size, 0xFF)}) {
    Exporter exporter = attached_exporter();
    closed_with(exporter, bytes);
  }
}

TEST(ExporterHostile, ARunningSequenceNumberUsedAgainIsClosed) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(5, 8)));
  const auto id = drain(exporter).submitted.at(0).id;
  EXPECT_EQ(closed_with(exporter, encode(bulk_in(5, 8))), ErrorCode::protocol);
  EXPECT_EQ(exporter.running(), std::vector<usb::TransferId>{id})
      << "the owner still has to cancel it";
  exporter.complete(ended(id, TransferStatus::cancelled));
  EXPECT_TRUE(exporter.running().empty());
  EXPECT_FALSE(exporter.poll());
}

TEST(ExporterHostile, EndpointsThatAreNotThereAreRefused) {
  Exporter exporter = attached_exporter();
  EXPECT_EQ(refusal_of(exporter, encode(bulk_in(1, 8, 2))), (RetSubmit{1, -22, 0, 0, 0, 0}))
      << "wrong direction";
  EXPECT_EQ(refusal_of(exporter, encode(bulk_out(2, 8, 1)) + pattern(8)).status, -22)
      << "wrong direction";
  EXPECT_EQ(refusal_of(exporter, encode(bulk_in(3, 8, 15))).status, -22);
  ASSERT_TRUE(exporter.poll_notice());
  EXPECT_FALSE(exporter.poll_notice()) << "one line, however often";
}

TEST(ExporterHostile, Cve_2017_16912_EndpointNumbersAbove15) {
  for (const std::uint32_t endpoint :
       {16U, 17U, 0x81U, 255U, 256U, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFFFU}) {
    Exporter exporter = attached_exporter();
    EXPECT_EQ(refusal_of(exporter, encode(bulk_in(1, 8, endpoint))).status, -22) << endpoint;
    EXPECT_EQ(refusal_of(exporter, encode(bulk_out(2, 8, endpoint)) + pattern(8)).status, -22)
        << endpoint;
  }
}

TEST(ExporterHostile, Cve_2017_16913_LengthsAboveTheLimit) {
  Exporter exporter = attached_exporter();
  EXPECT_EQ(refusal_of(exporter, encode(bulk_in(1, limits::transfer_bytes + 1))).status, -12);
  EXPECT_EQ(refusal_of(exporter, encode(bulk_in(2, 0x7FFFFFFF))).status, -12);
  exporter.receive(encode(bulk_in(3, limits::transfer_bytes)));
  EXPECT_EQ(drain(exporter).submitted.size(), 1U) << "the limit itself is allowed";
}

TEST(ExporterHostile, Cve_2017_16913_NegativeLengthsAreClosed) {
  for (const std::uint32_t length : {0x80000000U, 0xFFFFFFFFU}) {
    for (const auto& command : {bulk_in(1, length), bulk_out(1, length)}) {
      Exporter exporter = attached_exporter();
      EXPECT_EQ(closed_with(exporter, encode(command)), ErrorCode::malformed);
    }
  }
}

TEST(ExporterHostile, TheDataOfARefusedOutAreSteppedOver) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_out(1, limits::transfer_bytes + 1)));
  const Bytes piece(65536);
  for (std::size_t sent = 0; sent < limits::transfer_bytes; sent += piece.size()) {
    exporter.receive(piece);
    ASSERT_FALSE(exporter.poll()) << "answered only when it is complete";
  }
  EXPECT_EQ(refusal_of(exporter, Bytes(1)).status, -12);
  exporter.receive(encode(bulk_in(2, 8)));
  EXPECT_EQ(drain(exporter).submitted.size(), 1U) << "still in step";
}

TEST(ExporterHostile, Cve_2017_16913_PacketCountsAboveTheLimit) {
  Exporter exporter = attached_exporter({.isochronous = true});
  exporter.receive(encode(control(1, usb::set_interface(0, 2))));
  exporter.complete(ended(drain(exporter).submitted.at(0).id, TransferStatus::success));
  drain(exporter);
  CmdSubmit command = bulk_in(2, 100, 6);
  command.packet_count = limits::isochronous_packets + 1;
  exporter.receive(encode(command));
  EXPECT_FALSE(exporter.poll());
  EXPECT_EQ(refusal_of(exporter, Bytes(command.packet_count * packet_size)),
            (RetSubmit{2, -12, 0, 0, 0, 0}));
  command.packet_count = 0;  // CVE-2022-39318 is the same in another protocol
  EXPECT_EQ(refusal_of(exporter, encode(command)).status, -22);
  command.packet_count = 0xFFFFFFFF;
  EXPECT_EQ(closed_with(exporter, encode(command)), ErrorCode::malformed);
}

TEST(ExporterHostile, PacketsForAnEndpointThatIsNotThereKeepTheStreamInStep) {
  Exporter exporter =
      attached_exporter();  // isochronous endpoints are in another alternate setting
  CmdSubmit command = bulk_in(1, 100, 6);
  command.packet_count = 1;
  exporter.receive(encode(command) + encode_packets({{0, 100, 7, 0}}));
  EXPECT_EQ(drain(exporter).bytes,
            encode(RetSubmit{1, -22, 0, 0, 1, 1}) + encode_packets({{0, 100, 0, -22}}));
  exporter.receive(encode(bulk_in(2, 8)));
  EXPECT_EQ(drain(exporter).submitted.size(), 1U);
}

TEST(ExporterHostile, ControlTransfersThatContradictThemselvesAreRefused) {
  Exporter exporter = attached_exporter();
  CmdSubmit against = control(1, usb::get_descriptor(1, 0, 0, 18));
  against.in = false;
  EXPECT_EQ(refusal_of(exporter, encode(against) + Bytes(18)).status, -22);
  CmdSubmit more = control(2, {0x21, 0x20, 0, 0, 7});
  more.length = 8;
  EXPECT_EQ(refusal_of(exporter, encode(more) + Bytes(8)).status, -22);
  more.length = 0;
  EXPECT_EQ(refusal_of(exporter, encode(more)).status, -22);
  CmdSubmit data = control(3, usb::set_configuration(1));
  data.setup.length = 4;
  data.length = 4;
  EXPECT_EQ(refusal_of(exporter, encode(data) + Bytes(4)).status, -32)
      << "SET_CONFIGURATION has no data stage";
}

TEST(ExporterHostile, WhatHarmsTheDeviceIsRefused) {
  Exporter exporter = attached_exporter();
  EXPECT_EQ(
      refusal_of(exporter, encode(control(1, {0x00, usb::request::set_address, 5, 0, 0}))).status,
      -1);
  EXPECT_EQ(
      refusal_of(exporter, encode(control(2, {0x00, usb::request::set_feature, 2, 0x0100, 0})))
          .status,
      -1)
      << "test mode";
}

TEST(ExporterHostile, TransfersInFlightAreBounded) {
  Exporter exporter = attached_exporter();
  for (std::uint32_t i = 0; i < limits::transfers_in_flight_per_device; ++i)
    exporter.receive(encode(bulk_in(i, 8)));
  const auto said = drain(exporter);
  EXPECT_EQ(said.submitted.size(), limits::transfers_in_flight_per_device);
  EXPECT_EQ(refusal_of(exporter, encode(bulk_in(5000, 8))).status, -12);
  exporter.complete(done(said.submitted[0].id, {}));
  drain(exporter);
  exporter.receive(encode(bulk_in(5000, 8)));
  EXPECT_EQ(drain(exporter).submitted.size(), 1U) << "room again";
}

TEST(ExporterHostile, BytesInFlightAreBounded) {
  Exporter exporter = attached_exporter();
  const std::uint32_t fitting =
      limits::transfer_bytes_in_flight_per_device / limits::transfer_bytes;
  for (std::uint32_t i = 0; i < fitting; ++i)
    exporter.receive(encode(bulk_in(i, limits::transfer_bytes)));
  const auto said = drain(exporter);
  ASSERT_EQ(said.submitted.size(), fitting);
  EXPECT_EQ(refusal_of(exporter, encode(bulk_in(100, 1))).status, -12);
  EXPECT_EQ(refusal_of(exporter, encode(bulk_out(101, 1)) + Bytes(1)).status, -12);
  exporter.complete(done(said.submitted[0].id, {}));
  drain(exporter);
  exporter.receive(encode(bulk_in(102, limits::transfer_bytes)));
  EXPECT_EQ(drain(exporter).submitted.size(), 1U);
}

TEST(ExporterHostile, UnlinksThatWaitAreBounded) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 8)));
  for (std::uint32_t i = 0; i < limits::transfers_in_flight_per_device; ++i)
    exporter.receive(encode(CmdUnlink{i + 2, 0, 1}));
  EXPECT_TRUE(drain(exporter).closes.empty());
  EXPECT_EQ(closed_with(exporter, encode(CmdUnlink{9999, 0, 1})), ErrorCode::limit);
}

// --- completions that lie
// --------------------------------------------------------------------------------------

TEST(ExporterHostile, Cve_2016_3955_NoAnswerIsLongerThanItsRequest) {
  for (const std::uint32_t length : {0U, 8U, 512U}) {
    Exporter exporter = attached_exporter();
    exporter.receive(encode(bulk_in(1, length)));
    exporter.complete(done(drain(exporter).submitted.at(0).id, pattern(length + 1)));
    EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, -71, 0, 0, 0, 0}));
    EXPECT_TRUE(exporter.poll_notice());
  }
}

TEST(ExporterHostile, Cve_2017_16914_LengthWithoutData) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 512)));
  exporter.complete(
      done_out(drain(exporter).submitted.at(0).id, 512));  // says 512, carries nothing
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, -71, 0, 0, 0, 0}));
  exporter.receive(encode(bulk_in(2, 0)));
  exporter.complete(done_out(drain(exporter).submitted.at(0).id, 1));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{2, -71, 0, 0, 0, 0}));
}

TEST(ExporterHostile, OutAnswersCarryNoDataAndNoMoreThanWasSent) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_out(1, 8)) + pattern(8));
  auto completion = done(drain(exporter).submitted.at(0).id, pattern(8));
  exporter.complete(completion);
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, 0, 8, 0, 0, 0}));
  exporter.receive(encode(bulk_out(2, 8)) + pattern(8));
  exporter.complete(done_out(drain(exporter).submitted.at(0).id, 9));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{2, -71, 0, 0, 0, 0}));
}

TEST(ExporterHostile, Cve_2026_31607_NoAnswerHasMorePacketsThanItsRequest) {
  const std::vector<usb::IsochronousPacket> asked{{0, 100, 0, 0}, {100, 100, 0, 0}};
  const std::vector<std::vector<usb::IsochronousPacket>> lies{
      {},                                                // fewer
      {{0, 100, 0, 0}},                                  // fewer
      {{0, 100, 0, 0}, {100, 100, 0, 0}, {0, 0, 0, 0}},  // more
      {{0, 100, 101, 0}, {100, 100, 0, 0}},              // a packet longer than asked
      {{0, 100, 0xFFFFFFFF, 0}, {100, 100, 1, 0}},       // a sum that wraps
  };
  for (const auto& packets : lies) {
    Exporter exporter = attached_exporter({.isochronous = true});
    exporter.receive(encode(control(1, usb::set_interface(0, 2))));
    exporter.complete(ended(drain(exporter).submitted.at(0).id, TransferStatus::success));
    drain(exporter);
    CmdSubmit command = bulk_in(2, 200, 6);
    command.packet_count = 2;
    exporter.receive(encode(command) + encode_packets(asked));
    auto completion = done(drain(exporter).submitted.at(0).id, pattern(200));
    completion.packets = packets;
    exporter.complete(completion);
    EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{2, -71, 0, 0, 2, 2}) +
                                         encode_packets({{0, 100, 0, -71}, {100, 100, 0, -71}}));
  }
  // For a bulk transfer there are none at all.
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 8)));
  auto completion = done(drain(exporter).submitted.at(0).id, pattern(8));
  completion.packets = asked;
  exporter.complete(completion);
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, 0, 8, 0, 0, 0}) + pattern(8));
}

TEST(ExporterHostile, Cve_2017_16911_NothingOfOurMemoryIsInUnusedFields) {
  // That one put kernel addresses where nobody looks. Here every field without a meaning is zero.
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 8)) + encode(CmdUnlink{2, 0xDEADBEEF, 1}));
  exporter.complete(ended(drain(exporter).submitted.at(0).id, TransferStatus::cancelled));
  Bytes unlink = drain(exporter).bytes;
  ASSERT_EQ(unlink.size(), command_size);
  for (std::size_t i = 8; i < 20; ++i) EXPECT_EQ(unlink[i], 0) << i;
  for (std::size_t i = 24; i < unlink.size(); ++i) EXPECT_EQ(unlink[i], 0) << i;
  const Bytes granted = encode_import_granted(stick());
  for (std::size_t i = 8 + 5; i < 8 + 256; ++i) EXPECT_EQ(granted[i], 0) << i;
}

TEST(ExporterHostile, DescriptorsAreThoseItWasLetThroughWith) {
  // Let through as a disk, then shown to the peer's kernel as a keyboard.
  const auto answer_of = [](const usb::SetupPacket& setup, const Bytes& data) {
    Exporter exporter = attached_exporter();
    exporter.receive(encode(control(1, setup)));
    exporter.complete(done(drain(exporter).submitted.at(0).id, data));
    return drain(exporter).bytes;
  };
  const usb::DeviceDescription described = stick();
  const Bytes device = usb::encode(described.device);
  const auto honest = [](const Bytes& data) {
    return encode(RetSubmit{1, 0, static_cast<std::uint32_t>(data.size()), 0, 0, 0}) + data;
  };
  const Bytes refused = encode(RetSubmit{1, -71, 0, 0, 0, 0});
  EXPECT_EQ(answer_of(usb::get_descriptor(1, 0, 0, 18), device), honest(device));
  EXPECT_EQ(answer_of(usb::get_descriptor(1, 0, 0, 8), Bytes(device.begin(), device.begin() + 8)),
            honest(Bytes(device.begin(), device.begin() + 8)));
  for (std::size_t at = 0; at < device.size(); ++at) {
    Bytes other = device;
    other[at] ^= 1U;
    EXPECT_EQ(answer_of(usb::get_descriptor(1, 0, 0, 18), other), refused) << at;
  }
  for (std::uint8_t index = 0; index < 2; ++index) {
    const Bytes& raw = described.configurations[index].raw;
    EXPECT_EQ(answer_of(usb::get_descriptor(2, index, 0, 255), raw), honest(raw));
    Bytes keyboard = raw;
    keyboard[14] = 3;
    EXPECT_EQ(answer_of(usb::get_descriptor(2, index, 0, 255), keyboard), refused);
    EXPECT_EQ(answer_of(usb::get_descriptor(2, index, 0, 255), raw + Bytes{9, 4}), refused);
    EXPECT_EQ(answer_of(usb::get_descriptor(2, 2, 0, 255), raw), refused) << "one it did not have";
  }
  // Strings, and a refusal of the device's own, pass as they are.
  EXPECT_EQ(answer_of(usb::get_descriptor(3, 1, 0x409, 255), pattern(20)), honest(pattern(20)));
  Exporter exporter = attached_exporter();
  exporter.receive(encode(control(1, usb::get_descriptor(2, 7, 0, 9))));
  exporter.complete(ended(drain(exporter).submitted.at(0).id, TransferStatus::stall));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, -32, 0, 0, 0, 0}));
  EXPECT_FALSE(exporter.poll_notice());
}

TEST(ExporterHostile, ACompletionForNothingIsNotedAndNotSent) {
  Exporter exporter = attached_exporter();
  exporter.complete(done(42, pattern(8)));
  EXPECT_FALSE(exporter.poll());
  EXPECT_TRUE(exporter.poll_notice());
  exporter.receive(encode(bulk_in(1, 8)));
  const auto id = drain(exporter).submitted.at(0).id;
  exporter.complete(done(id, pattern(8)));
  drain(exporter);
  exporter.complete(done(id, pattern(8)));
  EXPECT_FALSE(exporter.poll()) << "the second completion of the same transfer";
}

}  // namespace
}  // namespace tillbridge::usbip
