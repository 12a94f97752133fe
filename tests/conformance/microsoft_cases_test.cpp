// Microsoft's client test suite for MS-RDPEUSB, and what it lacks, in front of a TillRole with a
// simulated device behind it.
#include <algorithm>
#include <ostream>
#include <set>

#include <gtest/gtest.h>

#include "channel/massstorage/command_block.hpp"
#include "channel/massstorage/scsi.hpp"
#include "server/simulator/factory.hpp"
#include "server/simulator/osr_fx2.hpp"
#include "server/terminal/conformance/case.hpp"
#include "server/terminal/conformance/requests.hpp"
#include "tests/conformance/till_client.hpp"

namespace tillbridge::terminal::conformance {

void PrintTo(const Case& tested, std::ostream* out) {
  *out << tested.name;
}

namespace testing {
namespace {

using namespace std::chrono_literals;

using Maker = std::unique_ptr<simulator::Device> (*)();

std::unique_ptr<simulator::Device> make_stick() {
  auto stick = simulator::make_device({});
  EXPECT_TRUE(stick.ok());
  return std::move(stick).value();
}

std::unique_ptr<simulator::Device> make_board() {
  return simulator::make_osr_fx2({});
}

std::string text(const Verdict& verdict) {
  std::string text;
  for (const std::string& finding : verdict.findings) text += "\n  " + finding;
  return text;
}

/// A case passes, and leaves nothing behind that it could not see itself.
void expect_passed(const Case& tested, TillClient& till, const Settings& settings) {
  const Verdict verdict = tested.run(till, settings);
  EXPECT_EQ(verdict.kind, Verdict::Kind::passed) << tested.name << text(verdict);
  EXPECT_TRUE(till.open_channels().empty()) << tested.name << " left a channel open";
  EXPECT_FALSE(till.in_session()) << tested.name;
  EXPECT_EQ(till.running(), 0U) << tested.name << ": the device is not released";
  EXPECT_EQ(till.faults(), std::vector<std::string>()) << tested.name;
}

Settings settings_of(Releases releases) {
  Settings settings;
  settings.releases = releases;
  return settings;
}

// --- each case by its name -----------------------------------------------------------------------

class OfTill : public ::testing::TestWithParam<Case> {};

/// With the board of Microsoft's suite, and as the suite: the server releases nothing.
TEST_P(OfTill, Passes) {
  TillClient till(make_board());
  expect_passed(GetParam(), till, settings_of(Releases::none));
}

/// With a stick, as a Windows server does it. What needs the board must say so and touch nothing.
TEST_P(OfTill, PassesWithAStick) {
  TillClient till(make_stick());
  if (GetParam().device == Device::any) {
    expect_passed(GetParam(), till, settings_of(Releases::windows));
    return;
  }
  const Verdict verdict = GetParam().run(till, settings_of(Releases::windows));
  EXPECT_EQ(verdict.kind, Verdict::Kind::inconclusive) << text(verdict);
  EXPECT_EQ(till.submitted(), 0U);
  EXPECT_TRUE(till.open_channels().empty());
}

std::vector<Case> cases(bool microsoft) {
  std::vector<Case> wanted;
  for (const Case& one : all_cases()) {
    if (one.microsoft == microsoft) wanted.push_back(one);
  }
  return wanted;
}

std::string name_of(const ::testing::TestParamInfo<Case>& tested) {
  return std::string(tested.param.name);
}

INSTANTIATE_TEST_SUITE_P(MicrosoftCases, OfTill, ::testing::ValuesIn(cases(true)), name_of);
INSTANTIATE_TEST_SUITE_P(OwnCases, OfTill, ::testing::ValuesIn(cases(false)), name_of);

TEST(AllCases, AreThoseOfMicrosoftsSuiteAndOurs) {
  EXPECT_EQ(cases(true).size(), 29U);
  std::set<std::string_view> names;
  for (const Case& one : all_cases()) {
    EXPECT_TRUE(names.insert(one.name).second) << one.name;
    EXPECT_EQ(one.microsoft, one.name.rfind("TB_", 0) != 0) << one.name;
  }
}

// --- what one case alone cannot show -------------------------------------------------------------

const Case& case_of(std::string_view name) {
  for (const Case& one : all_cases()) {
    if (one.name == name) return one;
  }
  ADD_FAILURE() << "no case " << name;
  return all_cases().front();
}

/// Completions with this UsbdStatus.
std::size_t count_completions(const TillClient& till, std::uint32_t usbd_status) {
  return static_cast<std::size_t>(
      std::count_if(till.sent().begin(), till.sent().end(), [&](const Client::Message& message) {
        ByteReader reader(message.bytes);
        const pdu::Header header = pdu::decode_request_header(reader);
        reader.skip(4 /* RequestId */ + 4 /* CbTsUrbResult */ + 4 /* Size, padding */);
        const std::uint32_t status = reader.u32le();
        return reader.ok() && header.function == pdu::function_id::urb_completion_no_data &&
               status == usbd_status;
      }));
}

std::unique_ptr<simulator::Device> make_slow_stick() {
  simulator::DeviceOptions options;
  options.delay_us = 60'000'000;
  auto stick = simulator::make_device(options);
  EXPECT_TRUE(stick.ok());
  return std::move(stick).value();
}

/// Two interfaces, and a bulk pipe that keeps quiet while nobody asserts DTR.
std::unique_ptr<simulator::Device> make_serial() {
  simulator::DeviceOptions options;
  options.kind = "serial-echo";
  options.speed = "full";
  auto serial = simulator::make_device(options);
  EXPECT_TRUE(serial.ok());
  return std::move(serial).value();
}

/// One till, one device, all cases three times, each time with a server that releases otherwise:
/// nothing of one case may reach the next.
TEST(AllCases, FollowEachOtherOnOneTill) {
  for (const Maker make : {make_board, make_stick, make_serial}) {
    TillClient till(make());
    for (const Releases releases : {Releases::windows, Releases::none, Releases::notification}) {
      for (const Case& one : all_cases()) {
        if (one.device == Device::osr_fx2 && make != make_board) continue;
        expect_passed(one, till, settings_of(releases));
      }
    }
  }
}

/// A transfer may take a minute (a TSE that signs, a PIN being typed in); nothing of ours cuts it
/// off.
TEST(AllCases, PassWithADeviceThatTakesAMinuteForEverything) {
  TillClient till(make_slow_stick());
  Settings settings;
  settings.patience = 2h;
  settings.silence = 90s;
  for (const Case& one : all_cases()) {
    if (one.device == Device::any) expect_passed(one, till, settings);
  }
}

/// What RESET_PORT and CYCLE_PORT do to the device is the owner's choice; what the server sees of
/// its handles is not.
TEST(AllCases, PassUnderEveryResetPolicy) {
  using rdpeusb::ResetPolicy;
  for (const ResetPolicy policy : {ResetPolicy::soften, ResetPolicy::pass, ResetPolicy::refuse}) {
    for (const Maker make : {make_board, make_stick, make_serial}) {
      TillClient till(make(), policy);
      for (const char* name : {"S3_EUSB_OperateIo_ResetPort", "S3_EUSB_OperateIo_CyclePort",
                               "TB_ResetPortKeepsHandles"}) {
        expect_passed(case_of(name), till, {});
      }
      const bool reset = till.device().bench().witness.bus_resets() != 0;
      EXPECT_EQ(reset, policy == ResetPolicy::pass);
    }
  }
}

/// Case 5 with a device that holds the request until it is cancelled.
TEST(AllCases, ACancelledTransferThatTheDeviceHasIsCancelled) {
  TillClient till(make_slow_stick());
  Settings settings;
  settings.patience = 1h;
  expect_passed(case_of("BVT_EUSB_CancelRequest_TransferInRequest"), till, settings);
  // The descriptor's, and two reads of the silent pipe.
  EXPECT_EQ(count_completions(till, pdu::usbd_status::canceled), 3U);
  EXPECT_EQ(till.cancelled(), 3U);
}

/// Each OUT once; and no read of a halted pipe but the one that found it halted.
TEST(AllCases, WhatIsWrittenReachesTheDeviceOnce) {
  TillClient till(make_board());
  expect_passed(case_of("S3_EUSB_OperateIo_OSRFX2_BulkWriteRead"), till, {});
  EXPECT_EQ(till.submitted_to(0x06), 4U);
  EXPECT_EQ(till.submitted_to(0x88), 5U);
}

TEST(AllCases, PendingTransfersAreTakenFromTheDeviceWhenTheServerCloses) {
  TillClient till(make_stick());
  expect_passed(case_of("TB_ServerClosesWithRequestsPending"), till, {});
  EXPECT_EQ(till.submitted_to(0x81), 201U);
  EXPECT_EQ(till.cancelled(), 201U);
}

/// Case 28 with a hand at the switches.
TEST(AllCases, ASwitchThatIsMovedEndsTheInterruptTransfer) {
  simulator::OsrFx2Options options;
  options.flip_every = 100ms;
  TillClient till(simulator::make_osr_fx2(options));
  expect_passed(case_of("S3_EUSB_OperateIo_OSRFX2_InterruptIn"), till, {});
  EXPECT_EQ(till.submitted_to(0x81), 2U);
  EXPECT_EQ(till.cancelled(), 0U);
}

// --- conversations that need a certain device ----------------------------------------------------

/// A card reader, a keyboard: nothing for hours, then a byte.
TEST(Conversation, AnInterruptTransferWaitsForHours) {
  TillClient till(make_board());
  Server server(till, {});
  server.bring_up();
  const auto pipe = configure(server).find(0x81);
  ASSERT_TRUE(pipe.has_value());
  const std::uint32_t request = start_read(server, *pipe, 64);
  EXPECT_FALSE(server.completion_within(request, 8h).has_value());
  simulator::switch_pack(till.device())->set_switches(0x20, till.now());
  const Ended ended = server.completion_of(request);
  EXPECT_EQ(ended.kind, Ended::Kind::urb);
  EXPECT_EQ(ended.data, Bytes{0x20});
  server.retract();
  EXPECT_EQ(server.finish().findings, std::vector<std::string>());
}

/// The conversation of Windows' usbstor with a stick.
class Storage : public ::testing::Test {
 protected:
  using Cdb = massstorage::Cdb;

  void SetUp() override {
    server_.bring_up();
    const Selection selection = configure(server_);
    ASSERT_TRUE(selection.first(true) && selection.first(false));
    in_ = *selection.first(true);
    out_ = *selection.first(false);
  }
  void TearDown() override {
    server_.retract();
    EXPECT_EQ(server_.finish().findings, std::vector<std::string>());
  }

  Ended write(const Bytes& data) {
    return ask_out(server_, urb_function::bulk_or_interrupt_transfer,
                   pdu::BulkOrInterruptTransfer{out_.handle, 0}, data);
  }
  Ended read(std::uint32_t size) { return server_.completion_of(start_read(server_, in_, size)); }
  /// The 31 bytes are completed as 31 accepted ones, without data (FreeRDP's issue 13112).
  void send_command(const Cdb& cdb, std::uint32_t length, bool in) {
    command_ = {++tag_, length, in ? massstorage::CommandBlock::flag_in : std::uint8_t{0}, 0, cdb};
    expect_done(server_, write(massstorage::encode(command_)), "CBW",
                massstorage::CommandBlock::size);
  }
  void expect_status(massstorage::CommandStatus status) {
    const auto block =
        massstorage::parse_status_block(read(massstorage::StatusBlock::size).data, command_);
    ASSERT_TRUE(block.ok());
    EXPECT_EQ(block.value().status, status);
  }
  void reset_pipe(const Pipe& pipe) {
    expect_done(server_,
                ask_pipe(server_, urb_function::sync_reset_pipe_and_clear_stall, pipe.handle),
                "SYNC_RESET_PIPE_AND_CLEAR_STALL");
  }

  TillClient till_{make_stick()};
  Server server_{till_, {}};
  Pipe in_, out_;
  massstorage::CommandBlock command_;
  std::uint32_t tag_ = 0;
};

TEST_F(Storage, CommandsDataAndStatusInOrder) {
  namespace scsi = massstorage::scsi;
  pdu::VendorOrClassRequest max_lun;
  max_lun.flags = pdu::transfer_flag::direction_in | pdu::transfer_flag::short_transfer_ok;
  max_lun.request = massstorage::request_get_max_lun;
  const Ended luns = ask_in(server_, urb_function::class_interface, max_lun, 1);
  EXPECT_EQ(luns.data, Bytes{0});

  send_command(scsi::test_unit_ready(), 0, false);
  expect_status(massstorage::CommandStatus::failed);  // 06/29/00: it was just plugged in
  send_command(scsi::request_sense(), scsi::Sense::size, true);
  EXPECT_EQ(read(scsi::Sense::size).data.size(), scsi::Sense::size);
  expect_status(massstorage::CommandStatus::passed);

  // 64 KiB and more, in one transfer each way: many dynamic-channel PDUs.
  constexpr std::uint32_t block = 2000, blocks = 256, bytes = blocks * 512;
  Bytes data(bytes);
  for (auto& byte : data) byte = static_cast<std::uint8_t>(server_.noise());
  send_command(scsi::write_10(block, blocks), bytes, false);
  expect_done(server_, write(data), "the data of WRITE", bytes);
  expect_status(massstorage::CommandStatus::passed);
  send_command(scsi::read_10(block, blocks), bytes, true);
  EXPECT_EQ(read(bytes).data, data);
  expect_status(massstorage::CommandStatus::passed);
}

/// Less data than the host asked for: a short packet, then a stall where the status should be.
TEST_F(Storage, AStallIsResetAndTheStatusFollows) {
  namespace scsi = massstorage::scsi;
  send_command(scsi::inquiry(36), 512, true);
  EXPECT_EQ(read(512).data.size(), 36U);
  const Ended stalled = read(massstorage::StatusBlock::size);
  expect_failed(server_, stalled, "CSW");
  EXPECT_EQ(stalled.usbd_status, pdu::usbd_status::stall_pid);
  reset_pipe(in_);
  expect_status(massstorage::CommandStatus::passed);
}

/// Bulk-Only Transport 5.3.4, after a command block that is none.
TEST_F(Storage, ResetRecovery) {
  Bytes garbage(massstorage::CommandBlock::size, 0xFF);
  static_cast<void>(write(garbage));
  expect_failed(server_, read(massstorage::StatusBlock::size), "CSW");
  pdu::VendorOrClassRequest reset;
  reset.request = massstorage::request_bulk_only_reset;
  expect_done(server_, ask_out(server_, urb_function::class_interface, reset, {}),
              "Bulk-Only Mass Storage Reset");
  reset_pipe(in_);
  reset_pipe(out_);
  send_command(massstorage::scsi::inquiry(36), 36, true);
  EXPECT_EQ(read(36).data.size(), 36U);
  expect_status(massstorage::CommandStatus::passed);
  EXPECT_EQ(till_.device().bench().witness.class_resets(), 1U);
  EXPECT_EQ(till_.device().bench().witness.bus_resets(), 0U);
}

}  // namespace
}  // namespace testing
}  // namespace tillbridge::terminal::conformance
