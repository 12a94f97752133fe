// What a hostile exporter cannot do: every lie ends the conversation, and no transfer sees it.
#include "channel/bytes/limits.hpp"
#include "tests/unit/usbip/support.hpp"

namespace tillbridge::usbip {
namespace {

using namespace test;
using usb::TransferStatus;

/// Transfers 9 (512 bytes IN, sequence 1) and 8 (31 bytes OUT, sequence 2) run when `bytes` come.
void expect_failed(const Bytes& bytes, bool cancel_first = false) {
  SCOPED_TRACE(::testing::PrintToString(bytes));
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(9, 0x81, 512));
  importer.submit(bulk_transfer(8, 0x02, 31));
  if (cancel_first) importer.cancel(9);  // sequence 3
  drain(importer);
  importer.receive(bytes);
  const auto said = drain(importer);
  ASSERT_EQ(said.failed.size(), 1U);
  EXPECT_FALSE(said.failed[0].message.empty());
  ASSERT_EQ(said.completed.size(), 2U) << "each transfer still completes, once";
  EXPECT_NE(said.completed[0].id, said.completed[1].id);
  for (const auto& completion : said.completed) {
    EXPECT_EQ(completion.status, TransferStatus::device_gone);
    EXPECT_TRUE(completion.data.empty());
  }
  importer.receive(bytes);
  importer.lost();
  EXPECT_FALSE(importer.poll()) << "nothing follows a Failed";
}

TEST(ImporterHostile, Cve_2016_3955_LongerThanAsked) {
  expect_failed(encode(RetSubmit{1, 0, 513, 0, 0, 0}) + pattern(513));
  expect_failed(encode(RetSubmit{1, 0, 0x7FFFFFFF, 0, 0, 0}));
  expect_failed(encode(RetSubmit{1, 0, 0xFFFFFFFF, 0, 0, 0}));
  expect_failed(encode(RetSubmit{1, -32, 513, 0, 0, 0}));
  expect_failed(encode(RetSubmit{2, 0, 32, 0, 0, 0}));  // OUT: more than was sent
}

TEST(ImporterHostile, Cve_2026_31607_PacketsForATransferWithout) {
  expect_failed(encode(RetSubmit{1, 0, 0, 0, 1, 0}) + Bytes(packet_size));
  expect_failed(encode(RetSubmit{1, 0, 0, 0, 0x7FFFFFFF, 0}));
}

TEST(ImporterHostile, UnknownSequenceNumbers) {
  expect_failed(encode(RetSubmit{3, 0, 0, 0, 0, 0}));
  expect_failed(encode(RetSubmit{0, 0, 0, 0, 0, 0}));
  expect_failed(encode(RetUnlink{1, -104}));
  expect_failed(encode(RetUnlink{99, 0}));
  expect_failed(encode(RetSubmit{3, 0, 0, 0, 0, 0}), true);  // that is the unlink's
}

TEST(ImporterHostile, UnknownCommandsAndRequests) {
  expect_failed(Bytes(command_size));
  expect_failed(Bytes(command_size, 0xFF));
  expect_failed(encode(bulk_in(1, 8)));
  expect_failed(encode(CmdUnlink{1, 0, 1}));
}

TEST(ImporterHostile, AnAnswerTwiceIsUnknownTheSecondTime) {
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(9, 0x81, 512));
  importer.receive(encode(RetSubmit{1, 0, 0, 0, 0, 0}) + encode(RetSubmit{1, 0, 0, 0, 0, 0}));
  const auto said = drain(importer);
  EXPECT_EQ(said.completed.size(), 1U);
  EXPECT_EQ(said.failed.size(), 1U);
}

TEST(ImporterHostile, ALateAnswerIsLetPassOnceAndOnlyIfItFits) {
  for (const std::uint32_t length : {512U, 513U}) {
    Importer importer = attached_importer();
    importer.submit(bulk_transfer(9, 0x81, 512));
    importer.cancel(9);
    drain(importer);
    importer.receive(encode(RetUnlink{2, 0}) + encode(RetSubmit{1, 0, length, 0, 0, 0}) +
                     pattern(length));
    auto said = drain(importer);
    EXPECT_EQ(said.completed.size(), 1U);
    EXPECT_EQ(said.failed.size(), length == 512 ? 0U : 1U);
    importer.receive(encode(RetSubmit{1, 0, 0, 0, 0, 0}));
    said = drain(importer);
    EXPECT_TRUE(said.completed.empty());
    EXPECT_EQ(said.failed.size(), length == 512 ? 1U : 0U);
  }
}

TEST(ImporterHostile, AfterAnUnlinkThatWonNoAnswerMayFollow) {
  Importer importer = attached_importer();
  importer.submit(bulk_transfer(9, 0x81, 512));
  importer.cancel(9);
  importer.receive(encode(RetUnlink{2, -104}) + encode(RetSubmit{1, 0, 0, 0, 0, 0}));
  const auto said = drain(importer);
  EXPECT_EQ(said.completed.size(), 1U);
  EXPECT_EQ(said.failed.size(), 1U);
}

TEST(ImporterHostile, Cve_2026_31607_IsochronousCounts) {
  const auto answer = [](std::uint32_t actual_length,
                         const std::vector<usb::IsochronousPacket>& packets, std::size_t data) {
    Importer importer = attached_importer();
    auto transfer = bulk_transfer(9, 0x86, 200);
    transfer.type = usb::TransferType::isochronous;
    transfer.packets = {{0, 100, 0, 0}, {100, 100, 0, 0}};
    importer.submit(transfer);
    drain(importer);
    importer.receive(
        encode(RetSubmit{1, 0, actual_length, 0, static_cast<std::uint32_t>(packets.size()), 0}) +
        pattern(data) + encode_packets(packets));
    const auto said = drain(importer);
    EXPECT_EQ(said.completed.size(), 1U);
    return said.failed.empty();
  };
  EXPECT_TRUE(answer(5, {{0, 100, 2, 0}, {100, 100, 3, 0}}, 5)) << "the honest one";
  EXPECT_FALSE(answer(0, {{0, 100, 0, 0}}, 0)) << "fewer";
  EXPECT_FALSE(answer(0, {}, 0)) << "none, and yet success";
  EXPECT_FALSE(answer(0, {{0, 100, 0, 0}, {100, 100, 0, 0}, {0, 0, 0, 0}}, 0)) << "more";
  EXPECT_FALSE(answer(101, {{0, 100, 101, 0}, {100, 100, 0, 0}}, 101))
      << "a packet longer than asked";
  EXPECT_FALSE(answer(5, {{0, 100, 2, 0}, {100, 100, 2, 0}}, 5)) << "a sum that is not the length";
  EXPECT_FALSE(answer(4, {{0, 100, 0xFFFFFFFF, 0}, {100, 100, 5, 0}}, 4)) << "a sum that wraps";
}

TEST(ImporterHostile, OffsetsOfTheAnswerAreNotBelieved) {
  Importer importer = attached_importer();
  auto transfer = bulk_transfer(9, 0x86, 200);
  transfer.type = usb::TransferType::isochronous;
  transfer.packets = {{0, 100, 0, 0}, {100, 100, 0, 0}};
  importer.submit(transfer);
  drain(importer);
  importer.receive(encode(RetSubmit{1, 0, 1, 0, 2, 0}) + Bytes{7} +
                   encode_packets({{0xFFFFFFF0, 9999, 0, 0}, {0xFFFFFFFF, 9999, 1, 0}}));
  const auto completion = drain(importer).completed.at(0);
  EXPECT_EQ(completion.packets,
            (std::vector<usb::IsochronousPacket>{{0, 100, 0, 0}, {100, 100, 1, 0}}));
  EXPECT_EQ(completion.data.at(100), 7);
}

TEST(ImporterHostile, UnlinksThatAreNeverAnsweredAreBounded) {
  Importer importer = attached_importer();
  std::uint32_t sequence = 0;
  std::size_t rounds = 0;
  for (; rounds < 3 * limits::transfers_in_flight_per_device; ++rounds) {
    importer.submit(bulk_transfer(9, 0x81, 8));
    const std::uint32_t submitted = ++sequence;
    importer.cancel(9);
    ++sequence;
    importer.receive(encode(RetSubmit{submitted, 0, 0, 0, 0, 0}));  // never a RET_UNLINK
    const auto said = drain(importer);
    ASSERT_EQ(said.completed.size(), 1U);
    if (!said.failed.empty()) break;
  }
  EXPECT_EQ(rounds, 2 * limits::transfers_in_flight_per_device);
}

// --- the import
// ------------------------------------------------------------------------------------------------

TEST(ImporterHostile, RepliesThatAreNoneFail) {
  Bytes other_busid = encode_import_granted(stick());
  other_busid[8 + 256] = '2';
  for (const Bytes& reply :
       {hex("01 11 00 05 00 00 00 00"), hex("01 00 00 03 00 00 00 00"),
        hex("48 54 54 50 2f 31 2e 31"),
        hex("01 11 00 03 00 00 00 00") + Bytes(DeviceRecord::size, 0x41), other_busid}) {
    Importer importer("1-1.4");
    importer.start();
    drain(importer);
    importer.receive(reply);
    const auto said = drain(importer);
    EXPECT_TRUE(said.imported.empty());
    EXPECT_EQ(said.failed.size(), 1U);
  }
}

}  // namespace
}  // namespace tillbridge::usbip
