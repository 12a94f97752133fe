#include "channel/usbip/importer.hpp"

#include <algorithm>

#include "channel/bytes/limits.hpp"
#include "tests/unit/usbip/support.hpp"

namespace tillbridge::usbip {
namespace {

using namespace test;
using usb::TransferStatus;

CmdSubmit sent_submit(const Bytes& bytes) {
  const auto command = decode_command(ByteView(bytes).first(command_size));
  EXPECT_TRUE(command.ok());
  return std::get<CmdSubmit>(*command);
}

TEST(Importer, ImportsADevice) {
  Importer importer("1-1.4");
  EXPECT_FALSE(importer.poll());
  importer.start();
  EXPECT_EQ(drain(importer).bytes, encode_import_request("1-1.4"));
  importer.receive(encode_import_granted(stick()));
  const auto said = drain(importer);
  ASSERT_EQ(said.imported.size(), 1U);
  EXPECT_EQ(said.imported[0].busid, "1-1.4");
  EXPECT_EQ(said.imported[0].device.speed, usb::Speed::high);
  EXPECT_EQ(said.imported[0].device.device.vendor_id, 0x1209);
  EXPECT_EQ(said.imported[0].device.path, "1-1.4");
}

TEST(Importer, EveryTruncationOfTheReplyWaitsForMore) {
  const Bytes reply = encode_import_granted(stick());
  for (std::size_t size = 0; size < reply.size(); ++size) {
    Importer importer("1-1.4");
    importer.start();
    drain(importer);
    importer.receive(ByteView(reply).first(size));
    ASSERT_FALSE(importer.poll()) << size;
    importer.receive(ByteView(reply).subspan(size));
    ASSERT_EQ(drain(importer).imported.size(), 1U) << size;
  }
}

TEST(Importer, ARefusalSaysWhatToDo) {
  const auto refused = [](OperationStatus status) {
    Importer importer("1-1.4");
    importer.start();
    importer.receive(encode_import_refused(status));
    const auto said = drain(importer);
    EXPECT_EQ(said.failed.size(), 1U);
    EXPECT_EQ(said.failed.at(0).code, ErrorCode::refused);
    EXPECT_NE(said.failed[0].message.find("1-1.4"), std::string::npos);
    return said.failed[0].message;
  };
  EXPECT_NE(refused(OperationStatus::busy).find("in use by another client"), std::string::npos);
  EXPECT_NE(refused(OperationStatus::no_such_device).find("does not export"), std::string::npos);
  EXPECT_NE(refused(OperationStatus::error).find("status 5"), std::string::npos);
}

TEST(Importer, ABusidThatCannotBeIsRefusedHere) {
  for (const std::string& busid : {std::string(), std::string(32, '1')}) {
    Importer importer(busid);
    importer.start();
    const auto said = drain(importer);
    EXPECT_TRUE(said.bytes.empty());
    ASSERT_EQ(said.failed.size(), 1U);
    EXPECT_EQ(said.failed[0].code, ErrorCode::refused);
  }
}

// --- transfers
// -------------------------------------------------------------------------------------------------

TEST(Importer, BulkIn) {
  Importer importer = attached_importer();
  auto transfer = bulk_transfer(70, 0x81, 512);
  transfer.short_not_ok = true;
  importer.submit(transfer);
  CmdSubmit expected = bulk_in(1, 512);
  expected.device_id = 0x00010001;
  expected.flags = transfer_flag::direction_in | transfer_flag::short_not_ok;
  EXPECT_EQ(drain(importer).bytes, encode(expected));
  importer.receive(encode(RetSubmit{1, 0, 512, 0, 0, 0}) + pattern(512));
  const auto said = drain(importer);
  ASSERT_EQ(said.completed.size(), 1U);
  EXPECT_EQ(said.completed[0], done(70, pattern(512)));
}

TEST(Importer, BulkOut) {
  Importer importer = attached_importer();
  auto transfer = bulk_transfer(70, 0x02, 31);
  transfer.zero_packet = true;
  importer.submit(transfer);
  CmdSubmit expected = bulk_out(1, 31);
  expected.device_id = 0x00010001;
  expected.flags = transfer_flag::zero_packet;
  EXPECT_EQ(drain(importer).bytes, encode(expected) + pattern(31, 70));
  importer.receive(encode(RetSubmit{1, 0, 31, 0, no_packets, 0}));
  EXPECT_EQ(drain(importer).completed.at(0), done_out(70, 31));
}

TEST(Importer, ControlTransfers) {
  Importer importer = attached_importer();
  importer.submit(usb::control_transfer(1, usb::get_descriptor(1, 0, 0, 18)));
  CmdSubmit command = sent_submit(drain(importer).bytes);
  EXPECT_TRUE(command.in);
  EXPECT_EQ(command.endpoint, 0U);
  EXPECT_EQ(command.length, 18U);
  EXPECT_EQ(command.setup, usb::get_descriptor(1, 0, 0, 18));

  importer.submit(usb::control_transfer(2, usb::get_descriptor(1, 0, 0, 0)));
  command = sent_submit(drain(importer).bytes);
  EXPECT_FALSE(command.in) << "Linux wants a transfer without data stage to go OUT";
  EXPECT_EQ(command.flags, 0U);

  importer.submit(usb::control_transfer(3, {0x21, 0x20, 0, 0, 0}, pattern(7)));
  const Bytes bytes = drain(importer).bytes;
  EXPECT_EQ(sent_submit(bytes).setup.length, 7);
  EXPECT_EQ(Bytes(bytes.begin() + command_size, bytes.end()), pattern(7));
}

TEST(Importer, IntervalsAreInLinuxUnits) {
  const auto sent = [](usb::Speed speed, usb::TransferType type, std::uint32_t interval) {
    auto device = stick();
    device.speed = speed;
    Importer importer("1-1.4");
    importer.start();
    importer.receive(encode_import_granted(device));
    drain(importer);
    auto transfer = bulk_transfer(1, 0x83, 8);
    transfer.type = type;
    transfer.interval = interval;
    importer.submit(transfer);
    return sent_submit(drain(importer).bytes).interval;
  };
  using usb::TransferType;
  EXPECT_EQ(sent(usb::Speed::full, TransferType::interrupt, 10), 10U) << "frames";
  EXPECT_EQ(sent(usb::Speed::high, TransferType::interrupt, 4), 8U) << "2^(4-1) microframes";
  EXPECT_EQ(sent(usb::Speed::full, TransferType::isochronous, 3), 4U);
  EXPECT_EQ(sent(usb::Speed::full, TransferType::interrupt, 0), 1U) << "Linux refuses 0";
  EXPECT_EQ(sent(usb::Speed::super, TransferType::interrupt, 0), 1U);
  EXPECT_EQ(sent(usb::Speed::super, TransferType::interrupt, 0xFFFFFFFF), 32768U);
  EXPECT_EQ(sent(usb::Speed::high, TransferType::bulk, 7), 0U);
}

TEST(Importer, FailuresArriveAsWhatTheyAre) {
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(9, 0x81, 512));
  importer.submit(bulk_transfer(10, 0x81, 512));
  importer.receive(encode(RetSubmit{1, -32, 0, 0, 0, 0}));
  importer.receive(encode(RetSubmit{2, -75, 512, 0, 0, 0}) + pattern(512));
  const auto said = drain(importer);
  EXPECT_EQ(said.completed.at(0), ended(9, TransferStatus::stall));
  EXPECT_EQ(said.completed.at(1).status, TransferStatus::overflow);
  EXPECT_EQ(said.completed.at(1).data, pattern(512));
}

TEST(Importer, ShortReadsAreErrorsWhereTheyWereAskedToBe) {
  Importer importer = attached_importer();
  auto transfer = bulk_transfer(9, 0x81, 512);
  transfer.short_not_ok = true;
  importer.submit(transfer);
  importer.receive(encode(RetSubmit{1, 0, 100, 0, 0, 0}) + pattern(100));
  const auto completion = drain(importer).completed.at(0);
  EXPECT_EQ(completion.status, TransferStatus::short_read);
  EXPECT_EQ(completion.data, pattern(100));
}

TEST(Importer, AnswersMayComeInAnyOrder) {
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(9, 0x81, 8));
  importer.submit(bulk_transfer(10, 0x81, 8));
  importer.receive(encode(RetSubmit{2, 0, 1, 0, 0, 0}) + Bytes{2} +
                   encode(RetSubmit{1, 0, 1, 0, 0, 0}) + Bytes{1});
  const auto said = drain(importer);
  EXPECT_EQ(said.completed.at(0), done(10, {2}));
  EXPECT_EQ(said.completed.at(1), done(9, {1}));
}

TEST(Importer, IdsMayBeUsedAgainWhenCompleted) {
  Importer importer = attached_importer();
  for (std::uint32_t sequence = 1; sequence < 5; ++sequence) {
    importer.submit(bulk_transfer(9, 0x81, 8));
    EXPECT_EQ(sent_submit(drain(importer).bytes).sequence, sequence);
    importer.receive(encode(RetSubmit{sequence, 0, 0, 0, 0, 0}));
    EXPECT_EQ(drain(importer).completed.at(0), done(9, {}));
  }
}

TEST(Importer, LargePayloadsAreMovedNotCopied) {
  Importer importer = attached_importer();
  auto out = bulk_transfer(1, 0x02, limits::transfer_bytes);
  const auto* address = out.data.data();
  importer.submit(std::move(out));
  EXPECT_EQ(std::get<Importer::Send>(*importer.poll()).bytes.size(), command_size);
  EXPECT_EQ(std::get<Importer::Send>(*importer.poll()).bytes.data(), address);

  importer.submit(bulk_transfer(2, 0x81, limits::transfer_bytes));
  drain(importer);
  const Bytes answer =
      encode(RetSubmit{2, 0, limits::transfer_bytes, 0, 0, 0}) + pattern(limits::transfer_bytes);
  for (std::size_t at = 0; at < answer.size(); at += 65536) {
    importer.receive(
        ByteView(answer).subspan(at, std::min<std::size_t>(65536, answer.size() - at)));
  }
  const auto completion = drain(importer).completed.at(0);
  EXPECT_EQ(completion.data, pattern(limits::transfer_bytes));
  EXPECT_EQ(completion.data.capacity(), limits::transfer_bytes) << "one allocation";
}

TEST(Importer, AboveALimitCompletesWithNoResources) {
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(1, 0x81, limits::transfer_bytes + 1));
  EXPECT_EQ(drain(importer).completed.at(0), ended(1, TransferStatus::no_resources));

  const std::uint32_t fitting =
      limits::transfer_bytes_in_flight_per_device / limits::transfer_bytes;
  for (std::uint32_t i = 0; i < fitting; ++i)
    importer.submit(bulk_transfer(10 + i, 0x81, limits::transfer_bytes));
  EXPECT_TRUE(drain(importer).completed.empty());
  importer.submit(bulk_transfer(50, 0x81, 1));
  EXPECT_EQ(drain(importer).completed.at(0), ended(50, TransferStatus::no_resources));

  Importer other = attached_importer();
  for (std::uint32_t i = 1; i <= limits::transfers_in_flight_per_device; ++i)
    other.submit(bulk_transfer(i, 0x81, 8));
  EXPECT_TRUE(drain(other).completed.empty());
  other.submit(bulk_transfer(5000, 0x81, 8));
  EXPECT_EQ(drain(other).completed.at(0), ended(5000, TransferStatus::no_resources));
}

TEST(Importer, WithoutADeviceTransfersCompleteAtOnce) {
  Importer importer("1-1.4");
  importer.submit(bulk_transfer(1, 0x81, 8));
  importer.start();
  importer.submit(bulk_transfer(2, 0x81, 8));
  const auto said = drain(importer);
  ASSERT_EQ(said.completed.size(), 2U);
  EXPECT_EQ(said.completed[1], ended(2, TransferStatus::device_gone));
}

// --- cancelling
// ------------------------------------------------------------------------------------------------

TEST(ImporterCancel, ThatWins) {
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(9, 0x81, 512));
  drain(importer);
  importer.cancel(9);
  importer.cancel(9);
  EXPECT_EQ(drain(importer).bytes, encode(CmdUnlink{2, 0x00010001, 1})) << "once";
  importer.receive(encode(RetUnlink{2, -104}));
  EXPECT_EQ(drain(importer).completed.at(0), ended(9, TransferStatus::cancelled));
}

TEST(ImporterCancel, ThatLosesHandsOnTheTrueResult) {
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(9, 0x81, 512));
  importer.cancel(9);
  drain(importer);
  importer.receive(encode(RetSubmit{1, 0, 512, 0, 0, 0}) + pattern(512) + encode(RetUnlink{2, 0}));
  const auto said = drain(importer);
  ASSERT_EQ(said.completed.size(), 1U);
  EXPECT_EQ(said.completed[0], done(9, pattern(512)));
  EXPECT_TRUE(said.failed.empty());
}

TEST(ImporterCancel, OfUnknownOrFinishedTransfersIsIgnored) {
  Importer importer = attached_importer();
  importer.cancel(1);
  importer.submit(bulk_transfer(9, 0x81, 512));
  importer.receive(encode(RetSubmit{1, 0, 0, 0, 0, 0}));
  drain(importer);
  importer.cancel(9);
  EXPECT_FALSE(importer.poll());
}

TEST(ImporterCancel, OfATransferWhoseAnswerIsArrivingIsTooLate) {
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(9, 0x81, 512));
  drain(importer);
  importer.receive(encode(RetSubmit{1, 0, 512, 0, 0, 0}) + pattern(100));
  importer.cancel(9);
  EXPECT_FALSE(importer.poll());
  const Bytes data = pattern(512);
  importer.receive(ByteView(data).subspan(100));
  EXPECT_EQ(drain(importer).completed.at(0), done(9, pattern(512)));
}

TEST(ImporterCancel, StockServersMayAnswerInTheWrongOrder) {
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(9, 0x81, 512));
  importer.cancel(9);
  drain(importer);
  importer.receive(encode(RetUnlink{2, 0}));
  EXPECT_EQ(drain(importer).completed.at(0), ended(9, TransferStatus::cancelled));
  importer.submit(bulk_transfer(9, 0x81, 8));  // the id is free again
  drain(importer);
  importer.receive(encode(RetSubmit{1, 0, 512, 0, 0, 0}) + pattern(512));
  EXPECT_FALSE(importer.poll()) << "a late answer reaches no transfer";
  importer.receive(encode(RetSubmit{3, 0, 1, 0, 0, 0}) + Bytes{7});
  EXPECT_EQ(drain(importer).completed.at(0), done(9, {7})) << "and leaves the stream in step";
}

// --- the end
// ---------------------------------------------------------------------------------------------------

TEST(ImporterLost, CompletesAllThatRuns) {
  Importer importer = attached_importer();
  for (const usb::TransferId id : {9U, 8U, 7U}) importer.submit(bulk_transfer(id, 0x81, 512));
  importer.cancel(8);
  drain(importer);
  importer.receive(encode(RetSubmit{3, 0, 512, 0, 0, 0}) + pattern(100));  // 7 is half here
  importer.lost();
  const auto said = drain(importer);
  std::vector<usb::TransferId> ids;
  for (const auto& completion : said.completed) {
    EXPECT_EQ(completion.status, TransferStatus::device_gone);
    EXPECT_TRUE(completion.data.empty());
    ids.push_back(completion.id);
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_EQ(ids, (std::vector<usb::TransferId>{7, 8, 9}));
  EXPECT_TRUE(said.failed.empty());

  importer.lost();
  importer.receive(pattern(412));
  importer.cancel(9);
  EXPECT_FALSE(importer.poll());
  importer.submit(bulk_transfer(1, 0x81, 8));
  EXPECT_EQ(drain(importer).completed.at(0), ended(1, TransferStatus::device_gone));
}

// --- isochronous
// -----------------------------------------------------------------------------------------------

usb::Transfer isochronous(usb::TransferId id, std::uint8_t endpoint) {
  auto transfer = bulk_transfer(id, endpoint, 200);
  transfer.type = usb::TransferType::isochronous;
  transfer.interval = 1;
  transfer.packets = {{0, 100, 0, 0}, {100, 100, 0, 0}};
  return transfer;
}

TEST(ImporterIsochronous, InDataAreUnpackedIntoTheirPlaces) {
  Importer importer = attached_importer();
  importer.submit(isochronous(9, 0x86));
  const Bytes sent = drain(importer).bytes;
  EXPECT_EQ(sent_submit(sent).packet_count, 2U);
  EXPECT_EQ(Bytes(sent.begin() + command_size, sent.end()),
            encode_packets({{0, 100, 0, 0}, {100, 100, 0, 0}}));
  importer.receive(encode(RetSubmit{1, 0, 5, 0, 2, 1}) + Bytes{1, 2, 3, 4, 5} +
                   encode_packets({{0, 100, 2, -18}, {100, 100, 3, 0}}));
  const auto completion = drain(importer).completed.at(0);
  Bytes expected(200);
  expected[0] = 1;
  expected[1] = 2;
  expected[100] = 3;
  expected[101] = 4;
  expected[102] = 5;
  EXPECT_EQ(completion.data, expected);
  EXPECT_EQ(completion.actual_length, 5U);
  EXPECT_EQ(completion.packets,
            (std::vector<usb::IsochronousPacket>{{0, 100, 2, -18}, {100, 100, 3, 0}}));
}

TEST(ImporterIsochronous, OutCarriesDataThenPackets) {
  Importer importer = attached_importer();
  importer.submit(isochronous(9, 0x07));
  const Bytes sent = drain(importer).bytes;
  EXPECT_EQ(sent.size(), command_size + 200 + 2 * packet_size);
  importer.receive(encode(RetSubmit{1, 0, 200, 0, 2, 0}) +
                   encode_packets({{0, 100, 100, 0}, {100, 100, 100, 0}}));
  EXPECT_EQ(drain(importer).completed.at(0).actual_length, 200U);
}

TEST(ImporterIsochronous, PacketsOutsideTheBufferAreNotSent) {
  Importer importer = attached_importer();
  auto transfer = isochronous(9, 0x86);
  transfer.packets[1].offset = 101;
  importer.submit(transfer);
  transfer.packets = {{0, 150, 0, 0}, {0, 150, 0, 0}};
  importer.submit(transfer);
  const auto said = drain(importer);
  EXPECT_TRUE(said.bytes.empty());
  ASSERT_EQ(said.completed.size(), 2U);
  EXPECT_EQ(said.completed[0], ended(9, TransferStatus::refused));
}

TEST(ImporterIsochronous, ARefusalWithoutDescriptorsIsUnderstood) {
  Importer importer = attached_importer();
  importer.submit(isochronous(9, 0x86));
  importer.receive(encode(RetSubmit{1, -38, 0, 0, 0, 0}));
  const auto completion = drain(importer).completed.at(0);
  EXPECT_EQ(completion.status, TransferStatus::refused);
  EXPECT_EQ(completion.packets.at(1), (usb::IsochronousPacket{100, 100, 0, -38}));
}

}  // namespace
}  // namespace tillbridge::usbip
