#include "channel/usbip/exporter.hpp"

#include "channel/bytes/limits.hpp"
#include "tests/unit/usbip/support.hpp"

namespace tillbridge::usbip {
namespace {

using namespace test;
using usb::TransferStatus;

// --- operations
// ------------------------------------------------------------------------------------------------

TEST(Exporter, AnswersADeviceListAndCloses) {
  Exporter exporter(Exporter::Start::await_request);
  exporter.receive(encode_device_list_request());
  EXPECT_EQ(drain(exporter).list_wanted, 1);
  exporter.devices({stick()});
  const auto said = drain(exporter);
  EXPECT_EQ(said.bytes, encode_device_list({stick()}));
  ASSERT_EQ(said.closes.size(), 1U);
  EXPECT_FALSE(said.closes[0].error.has_value());
}

TEST(Exporter, GrantsAnImportAndGoesOnWithCommands) {
  Exporter exporter(Exporter::Start::await_request);
  exporter.receive(encode_import_request("1-1.4"));
  EXPECT_EQ(drain(exporter).import_wanted, std::vector<std::string>{"1-1.4"});
  exporter.import_granted(stick());
  EXPECT_EQ(drain(exporter).bytes, encode_import_granted(stick()));
  exporter.receive(encode(bulk_in(1, 13)));
  EXPECT_EQ(drain(exporter).submitted.size(), 1U);
}

TEST(Exporter, RefusesAnImportAndCloses) {
  Exporter exporter(Exporter::Start::await_request);
  exporter.receive(encode_import_request("9-9"));
  drain(exporter);
  exporter.import_refused(OperationStatus::busy);
  const auto said = drain(exporter);
  EXPECT_EQ(said.bytes, hex("01 11 00 03 00 00 00 02"));
  ASSERT_EQ(said.closes.size(), 1U);
  EXPECT_FALSE(said.closes[0].error.has_value());
  exporter.import_granted(stick());
  exporter.receive(encode(bulk_in(1, 13)));
  EXPECT_TRUE(drain(exporter).submitted.empty()) << "a refused import cannot be granted later";
}

TEST(Exporter, AnswersThatNobodyAskedForHaveNoEffect) {
  Exporter exporter(Exporter::Start::await_request);
  exporter.devices({stick()});
  exporter.import_granted(stick());
  exporter.import_refused();
  EXPECT_FALSE(exporter.poll());
}

// --- transfers
// -------------------------------------------------------------------------------------------------

TEST(Exporter, BulkInFromCommandToAnswer) {
  Exporter exporter = attached_exporter();
  CmdSubmit command = bulk_in(7, 512);
  command.flags = transfer_flag::direction_in;
  exporter.receive(encode(command));
  auto said = drain(exporter);
  ASSERT_EQ(said.submitted.size(), 1U);
  const usb::Transfer transfer = said.submitted[0];
  EXPECT_NE(transfer.id, 0U);
  EXPECT_EQ(transfer.type, usb::TransferType::bulk);
  EXPECT_EQ(transfer.endpoint, 0x81);
  EXPECT_EQ(transfer.length, 512U);
  EXPECT_FALSE(transfer.short_not_ok);
  EXPECT_TRUE(transfer.data.empty());
  EXPECT_EQ(exporter.running(), std::vector<usb::TransferId>{transfer.id});

  exporter.complete(done(transfer.id, pattern(500)));
  said = drain(exporter);
  EXPECT_EQ(said.bytes, encode(RetSubmit{7, 0, 500, 0, 0, 0}) + pattern(500));
  EXPECT_TRUE(exporter.running().empty());
  EXPECT_FALSE(exporter.poll_notice());
}

TEST(Exporter, BulkOutCarriesItsDataToTheDevice) {
  Exporter exporter = attached_exporter();
  CmdSubmit command = bulk_out(8, 31);
  command.flags = transfer_flag::zero_packet;
  command.packet_count = no_packets;
  exporter.receive(encode(command) + pattern(31));
  auto said = drain(exporter);
  ASSERT_EQ(said.submitted.size(), 1U);
  EXPECT_EQ(said.submitted[0].endpoint, 0x02);
  EXPECT_EQ(said.submitted[0].data, pattern(31));
  EXPECT_TRUE(said.submitted[0].zero_packet);
  exporter.complete(done_out(said.submitted[0].id, 31));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{8, 0, 31, 0, no_packets, 0}))
      << "either way of saying \"no packets\" is given back";
}

TEST(Exporter, InterruptTransfersHaveTheDescriptorsInterval) {
  Exporter exporter = attached_exporter();
  CmdSubmit command = bulk_in(1, 8, 3);
  command.interval = 99;
  exporter.receive(encode(command));
  const auto said = drain(exporter);
  ASSERT_EQ(said.submitted.size(), 1U);
  EXPECT_EQ(said.submitted[0].type, usb::TransferType::interrupt);
  EXPECT_EQ(said.submitted[0].interval, 4U);
}

TEST(Exporter, ControlTransfers) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(control(1, usb::get_descriptor(1, 0, 0, 18))));
  exporter.receive(encode(control(2, {0x21, 0x20, 0, 0, 7})) + pattern(7));
  exporter.receive(encode(control(3, usb::bulk_only_reset(0))));
  const auto said = drain(exporter);
  ASSERT_EQ(said.submitted.size(), 3U);
  EXPECT_EQ(said.submitted[0].endpoint, 0x80);
  EXPECT_EQ(said.submitted[0].setup, usb::get_descriptor(1, 0, 0, 18));
  EXPECT_EQ(said.submitted[0].length, 18U);
  EXPECT_EQ(said.submitted[1].endpoint, 0x00);
  EXPECT_EQ(said.submitted[1].data, pattern(7));
  EXPECT_EQ(said.submitted[2].setup, usb::bulk_only_reset(0));
  EXPECT_EQ(said.submitted[2].length, 0U);
}

TEST(Exporter, AControlTransferWithoutDataMayGoEitherDirection) {
  Exporter exporter = attached_exporter();
  CmdSubmit command = control(1, usb::get_descriptor(1, 0, 0, 0));
  command.in = false;  // as Linux since 5.14
  exporter.receive(encode(command));
  command = control(2, usb::bulk_only_reset(0));
  command.in = true;
  exporter.receive(encode(command));
  const auto said = drain(exporter);
  ASSERT_EQ(said.submitted.size(), 2U);
  EXPECT_EQ(said.submitted[0].endpoint, 0x80);
  EXPECT_EQ(said.submitted[1].endpoint, 0x00);
}

TEST(Exporter, ControlInReadsNoMoreThanBufferAndSetupAllow) {
  Exporter exporter = attached_exporter();
  CmdSubmit longer = control(1, usb::get_descriptor(2, 0, 0, 9));
  longer.length = 255;
  CmdSubmit shorter = control(2, usb::get_descriptor(2, 0, 0, 255));
  shorter.length = 9;
  exporter.receive(encode(longer) + encode(shorter));
  const auto said = drain(exporter);
  ASSERT_EQ(said.submitted.size(), 2U);
  for (const auto& transfer : said.submitted) {
    EXPECT_EQ(transfer.length, 9U);
    EXPECT_EQ(transfer.setup.length, 9U);
  }
}

TEST(Exporter, ShortReadsAreErrorsWhereTheyWereAskedToBe) {
  Exporter exporter = attached_exporter();
  CmdSubmit command = bulk_in(1, 512);
  command.flags = transfer_flag::short_not_ok;
  exporter.receive(encode(command));
  const auto said = drain(exporter);
  EXPECT_TRUE(said.submitted.at(0).short_not_ok);
  exporter.complete(done(said.submitted[0].id, pattern(100)));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, -121, 100, 0, 0, 0}) + pattern(100));
}

TEST(Exporter, FailuresReachThePeerAsWhatTheyAre) {
  for (const auto& [status, wire] :
       std::vector<std::pair<TransferStatus, std::int32_t>>{{TransferStatus::stall, -32},
                                                            {TransferStatus::device_gone, -108},
                                                            {TransferStatus::error, -71}}) {
    Exporter exporter = attached_exporter();
    exporter.receive(encode(bulk_in(1, 512)));
    const auto id = drain(exporter).submitted.at(0).id;
    exporter.complete(ended(id, status));
    EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, wire, 0, 0, 0, 0}));
  }
}

TEST(Exporter, DataOfAFailedReadAreNotLost) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 512)));
  auto completion = done(drain(exporter).submitted.at(0).id, pattern(64));
  completion.status = TransferStatus::overflow;
  exporter.complete(completion);
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, -75, 64, 0, 0, 0}) + pattern(64));
}

TEST(Exporter, ALargePayloadIsOnePieceWithoutCopies) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, limits::transfer_bytes)));
  const auto id = drain(exporter).submitted.at(0).id;
  auto completion = done(id, pattern(limits::transfer_bytes));
  const auto* address = completion.data.data();
  exporter.complete(std::move(completion));
  ASSERT_EQ(std::get<Exporter::Send>(*exporter.poll()).bytes.size(), command_size);
  const auto payload = std::get<Exporter::Send>(*exporter.poll());
  EXPECT_EQ(payload.bytes.data(), address);
  EXPECT_EQ(payload.bytes.size(), limits::transfer_bytes);
  EXPECT_FALSE(exporter.poll());
}

TEST(Exporter, SmallAnswersAreJoined) {
  Exporter exporter = attached_exporter();
  for (std::uint32_t i = 1; i <= 10; ++i) exporter.receive(encode(bulk_in(i, 13)));
  for (const auto& transfer : drain(exporter).submitted)
    exporter.complete(done(transfer.id, pattern(13)));
  ASSERT_TRUE(exporter.poll());
  EXPECT_FALSE(exporter.poll());
}

TEST(Exporter, CompletionsMayComeInAnyOrder) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(10, 8)) + encode(bulk_in(11, 8)));
  const auto said = drain(exporter);
  exporter.complete(done(said.submitted.at(1).id, {2}));
  exporter.complete(done(said.submitted.at(0).id, {1}));
  Bytes bytes = drain(exporter).bytes;
  EXPECT_EQ(next_answer(bytes, true).submit->sequence, 11U);
  EXPECT_EQ(next_answer(bytes, true).submit->sequence, 10U);
}

TEST(Exporter, ASequenceNumberMayBeUsedAgainAfterItsAnswer) {
  Exporter exporter = attached_exporter();
  for (int round = 0; round < 3; ++round) {
    exporter.receive(encode(bulk_in(5, 8)));
    const auto said = drain(exporter);
    ASSERT_EQ(said.submitted.size(), 1U);
    exporter.complete(done(said.submitted[0].id, {1}));
    EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{5, 0, 1, 0, 0, 0}) + Bytes{1});
  }
}

// --- unlinking
// -------------------------------------------------------------------------------------------------

TEST(ExporterUnlink, ThatWinsIsAnsweredAlone) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 512)));
  const auto id = drain(exporter).submitted.at(0).id;
  exporter.receive(encode(CmdUnlink{2, 0, 1}));
  auto said = drain(exporter);
  EXPECT_EQ(said.cancelled, std::vector<usb::TransferId>{id});
  EXPECT_TRUE(said.bytes.empty()) << "the answer waits for the transfer's end";
  exporter.complete(ended(id, TransferStatus::cancelled));
  EXPECT_EQ(drain(exporter).bytes, encode(RetUnlink{2, -104}));
}

TEST(ExporterUnlink, ThatLosesComesAfterTheResult) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 512)));
  const auto id = drain(exporter).submitted.at(0).id;
  exporter.receive(encode(CmdUnlink{2, 0, 1}));
  drain(exporter);
  exporter.complete(done(id, pattern(512)));
  EXPECT_EQ(drain(exporter).bytes,
            encode(RetSubmit{1, 0, 512, 0, 0, 0}) + pattern(512) + encode(RetUnlink{2, 0}));
}

TEST(ExporterUnlink, BytesThatTheDeviceGaveBeforeTheCancelAreKept) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 512)));
  auto completion = done(drain(exporter).submitted.at(0).id, pattern(64));
  completion.status = TransferStatus::cancelled;
  exporter.receive(encode(CmdUnlink{2, 0, 1}));
  drain(exporter);
  exporter.complete(completion);
  EXPECT_EQ(drain(exporter).bytes,
            encode(RetSubmit{1, -104, 64, 0, 0, 0}) + pattern(64) + encode(RetUnlink{2, 0}));
}

TEST(ExporterUnlink, OfAFinishedOrUnknownTransferIsAnsweredAtOnce) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 512)));
  exporter.complete(done(drain(exporter).submitted.at(0).id, {}));
  drain(exporter);
  exporter.receive(encode(CmdUnlink{2, 0, 1}) + encode(CmdUnlink{3, 0, 77}));
  const auto said = drain(exporter);
  EXPECT_TRUE(said.cancelled.empty());
  EXPECT_EQ(said.bytes, encode(RetUnlink{2, 0}) + encode(RetUnlink{3, 0}));
}

TEST(ExporterUnlink, TwiceIsCancelledOnceAndAnsweredTwice) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 512)) + encode(CmdUnlink{2, 0, 1}) +
                   encode(CmdUnlink{3, 0, 1}));
  const auto said = drain(exporter);
  ASSERT_EQ(said.cancelled.size(), 1U);
  exporter.complete(ended(said.cancelled[0], TransferStatus::cancelled));
  EXPECT_EQ(drain(exporter).bytes, encode(RetUnlink{2, -104}) + encode(RetUnlink{3, 0}));
}

TEST(ExporterUnlink, ACancelThatNobodyUnlinkedIsAnOrdinaryResult) {
  Exporter exporter = attached_exporter();
  exporter.receive(encode(bulk_in(1, 512)));
  exporter.complete(ended(drain(exporter).submitted.at(0).id, TransferStatus::cancelled));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, -104, 0, 0, 0, 0}));
}

// --- the device's current settings
// -----------------------------------------------------------------------------

/// Sends one control request and lets it succeed.
void set(Exporter& exporter, const usb::SetupPacket& setup,
         TransferStatus status = TransferStatus::success) {
  exporter.receive(encode(control(900, setup)));
  const auto said = drain(exporter);
  ASSERT_EQ(said.submitted.size(), 1U);
  exporter.complete(ended(said.submitted[0].id, status));
  drain(exporter);
}

bool can_read(Exporter& exporter, std::uint32_t endpoint) {
  exporter.receive(encode(bulk_in(901, 8, endpoint)));
  const auto said = drain(exporter);
  if (said.submitted.empty()) return false;
  exporter.complete(done(said.submitted[0].id, {}));
  drain(exporter);
  return true;
}

TEST(ExporterSettings, FollowSetInterface) {
  Exporter exporter = attached_exporter();
  EXPECT_TRUE(can_read(exporter, 1));
  EXPECT_FALSE(can_read(exporter, 5)) << "only in alternate setting 1";
  set(exporter, usb::set_interface(0, 1));
  EXPECT_FALSE(can_read(exporter, 1));
  EXPECT_TRUE(can_read(exporter, 5));
  set(exporter, usb::set_interface(0, 0));
  EXPECT_TRUE(can_read(exporter, 1));
}

TEST(ExporterSettings, FollowSetConfiguration) {
  Exporter exporter = attached_exporter();
  set(exporter, usb::set_interface(0, 1));
  set(exporter, usb::set_configuration(5));
  EXPECT_TRUE(can_read(exporter, 8));
  EXPECT_FALSE(can_read(exporter, 5));
  set(exporter, usb::set_configuration(1));
  EXPECT_TRUE(can_read(exporter, 1)) << "a new configuration begins with alternate settings 0";
  set(exporter, usb::set_configuration(0));
  EXPECT_FALSE(can_read(exporter, 1)) << "unconfigured";
  exporter.receive(encode(control(1, usb::get_descriptor(1, 0, 0, 18))));
  EXPECT_EQ(drain(exporter).submitted.size(), 1U) << "endpoint 0 always works";
}

TEST(ExporterSettings, StayWhenTheDeviceRefuses) {
  Exporter exporter = attached_exporter();
  set(exporter, usb::set_interface(0, 1), TransferStatus::stall);
  EXPECT_TRUE(can_read(exporter, 1));
  set(exporter, usb::set_configuration(5), TransferStatus::cancelled);
  EXPECT_TRUE(can_read(exporter, 1));
}

TEST(ExporterSettings, HostRequestsStayControlTransfers) {
  Exporter exporter = attached_exporter();
  for (const auto& setup : {usb::set_configuration(5), usb::set_interface(0, 2),
                            usb::clear_halt(0x81), usb::clear_halt(0), usb::port_reset()}) {
    exporter.receive(encode(control(1, setup)));
    const auto said = drain(exporter);
    ASSERT_EQ(said.submitted.size(), 1U);
    EXPECT_TRUE(usb::as_host_request(said.submitted[0].setup));
    exporter.complete(ended(said.submitted[0].id, TransferStatus::stall));
    drain(exporter);
  }
}

TEST(ExporterSettings, WhatTheDescriptorsDoNotHaveIsAnsweredWithAStall) {
  Exporter exporter = attached_exporter();
  for (const auto& setup :
       {usb::set_configuration(2), usb::set_interface(0, 3), usb::set_interface(1, 0),
        usb::clear_halt(0x82), usb::clear_halt(0x91)}) {
    exporter.receive(encode(control(1, setup)));
    const auto said = drain(exporter);
    EXPECT_TRUE(said.submitted.empty());
    EXPECT_EQ(said.bytes, encode(RetSubmit{1, -32, 0, 0, 0, 0}));
  }
}

// --- isochronous
// -----------------------------------------------------------------------------------------------

CmdSubmit isochronous(std::uint32_t sequence, bool in, std::uint32_t length,
                      std::uint32_t packets) {
  CmdSubmit command = in ? bulk_in(sequence, length, 6) : bulk_out(sequence, length, 7);
  command.packet_count = packets;
  return command;
}

TEST(ExporterIsochronous, IsRefusedWithWellFormedDescriptors) {
  Exporter exporter = attached_exporter();
  set(exporter, usb::set_interface(0, 2));
  const std::vector<usb::IsochronousPacket> packets{{0, 100, 0, 0}, {100, 100, 0, 0}};
  const std::vector<usb::IsochronousPacket> refused{{0, 100, 0, -38}, {100, 100, 0, -38}};
  exporter.receive(encode(isochronous(1, true, 200, 2)) + encode_packets(packets));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, -38, 0, 0, 2, 2}) + encode_packets(refused));
  exporter.receive(encode(isochronous(2, false, 200, 2)) + pattern(200) + encode_packets(packets));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{2, -38, 0, 0, 2, 2}) + encode_packets(refused));
  exporter.receive(encode(isochronous(3, true, 0, 0)));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{3, -38, 0, 0, 0, 0}));
  EXPECT_NE(exporter.poll_notice()->find("isochronous"), std::string::npos);
}

TEST(ExporterIsochronous, IsSubmittedWhereAllowedAndPackedOnTheWayBack) {
  Exporter exporter = attached_exporter({.isochronous = true});
  set(exporter, usb::set_interface(0, 2));
  exporter.receive(encode(isochronous(1, true, 200, 2)) +
                   encode_packets({{0, 100, 0, 0}, {100, 100, 0, 0}}));
  const auto said = drain(exporter);
  ASSERT_EQ(said.submitted.size(), 1U);
  EXPECT_EQ(said.submitted[0].packets.size(), 2U);
  usb::Completion completion = done(said.submitted[0].id, pattern(200));
  completion.actual_length = 50;
  completion.packets = {{0, 100, 30, 0}, {100, 100, 20, -18}};
  exporter.complete(completion);
  const Bytes data = pattern(200);
  const Bytes packed =
      Bytes(data.begin(), data.begin() + 30) + Bytes(data.begin() + 100, data.begin() + 120);
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, 0, 50, 0, 2, 1}) + packed +
                                       encode_packets({{0, 100, 30, 0}, {100, 100, 20, -18}}));
}

TEST(ExporterIsochronous, OneThatFailedNeedsNoData) {
  Exporter exporter = attached_exporter({.isochronous = true});
  set(exporter, usb::set_interface(0, 2));
  exporter.receive(encode(isochronous(1, true, 200, 2)) +
                   encode_packets({{0, 100, 0, 0}, {100, 100, 0, 0}}));
  exporter.complete(ended(drain(exporter).submitted.at(0).id, TransferStatus::device_gone));
  EXPECT_EQ(drain(exporter).bytes, encode(RetSubmit{1, -108, 0, 0, 2, 2}) +
                                       encode_packets({{0, 100, 0, -108}, {100, 100, 0, -108}}));
}

TEST(ExporterIsochronous, PacketsOutsideTheBufferAreRefused) {
  const std::vector<std::vector<usb::IsochronousPacket>> bad{{{101, 100, 0, 0}},
                                                             {{0xFFFFFFFF, 100, 0, 0}},
                                                             {{0, 201, 0, 0}},
                                                             {{0, 150, 0, 0}, {0, 150, 0, 0}}};
  for (const auto& packets : bad) {
    Exporter exporter = attached_exporter({.isochronous = true});
    set(exporter, usb::set_interface(0, 2));
    exporter.receive(encode(isochronous(1, true, 200, static_cast<std::uint32_t>(packets.size()))) +
                     encode_packets(packets));
    auto said = drain(exporter);
    EXPECT_TRUE(said.submitted.empty());
    EXPECT_EQ(next_answer(said.bytes, true).submit->status, -22);
  }
}

}  // namespace
}  // namespace tillbridge::usbip
