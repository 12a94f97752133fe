// The POS against simulated sticks: what one family alone does.
#include "server/simulator/mass_storage_stick.hpp"
#include "server/simulator/tse/cryptovision_stick.hpp"
#include "tests/unit/pos/stick_till.hpp"

namespace tillbridge::pos {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Cryptovision, EveryOpenStyleSigns) {
  for (const OpenStyle style : {OpenStyle::direct, OpenStyle::direct_zeroed, OpenStyle::recreated,
                                OpenStyle::each_time, OpenStyle::cached}) {
    Till till(Family::cryptovision, {}, style);
    const Deed set_up = till.set_up();
    ASSERT_TRUE(set_up.ok()) << name_of(style) << ": " << set_up.failure().message;
    const Outcome<evidence::Receipt> receipt = till.sign();
    ASSERT_TRUE(receipt.ok()) << name_of(style) << ": " << receipt.failure().message;
    EXPECT_TRUE(evidence::check_receipt(*receipt).ok());
    expect_good(till.audit());
  }
}

/// What fiskaltrust's client has workarounds for.
std::unique_ptr<simulator::Device> old_firmware() {
  namespace st = simulator::tse;
  st::CryptovisionOptions options;
  options.long_public_key = options.wrong_mapping_length =
      options.miscounts_four_open_transactions = true;
  options.silent_export = 64s;
  auto core = st::TseCore::open(st::cryptovision_core_options(), st::make_memory_store());
  EXPECT_TRUE(core.ok());
  auto bench = std::make_shared<simulator::Bench>();
  auto medium =
      st::make_cryptovision_medium(std::make_unique<simulator::MemoryMedium>(32768), {},
                                   std::move(*core), st::cryptovision_timing(), options, bench);
  EXPECT_TRUE(medium.ok());
  return std::make_unique<simulator::MassStorageStick>(std::move(*medium),
                                                       simulator::StickOptions{}, bench);
}

TEST(Cryptovision, OldFirmwaresPeculiaritiesAreBorne) {
  Till till(Family::cryptovision, old_firmware());
  for (const char* client :
       {"KASSE-01", "A-SECOND-CLIENT-WITH-30-LETTER", "A-THIRD-CLIENT-WITH-30-LETTERS"}) {
    till.client = client;
    const Deed set_up = till.set_up();
    ASSERT_TRUE(set_up.ok()) << set_up.failure().message;
  }
  till.client = "KASSE-01";
  ASSERT_TRUE(till.sign().ok());
  for (std::uint64_t count = 1; count <= 5; ++count) {
    const Outcome<Signature> started = till.tse->start(till.client, {}, "");
    ASSERT_TRUE(started.ok()) << started.failure().message;
    const Outcome<TseStatus> status = till.tse->status();
    ASSERT_TRUE(status.ok()) << count << ": " << status.failure().message;
    EXPECT_EQ(status->open_transactions.size(), count);
    ASSERT_TRUE(status->clients.has_value());
    EXPECT_EQ(status->clients->size(), 3U);
  }
  // Silent for 64 s: given up after 40, left alone until 65, then fetched in steps.
  const evidence::ArchiveReport report = till.audit();
  expect_good(report);
  EXPECT_EQ(report.finished_transactions, 1U);
  EXPECT_EQ(report.transactions, 6U);
}

TEST(Cryptovision, ABusyStickIsGivenUpAfterAWhile) {
  Till till(Family::cryptovision);
  ASSERT_TRUE(till.set_up().ok());
  till.stick->fault("after-command busy-for-ever code=0x0a");
  const Instant before = till.clock.now();
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_TRUE(receipt.ok()) << receipt.failure().message;
  EXPECT_GE(till.clock.now() - before, Duration(40s));
  expect_good(till.audit());
}

TEST(Cryptovision, AStickThatKeepsSleepingIsSaidToSleep) {
  Till till(Family::cryptovision);
  till.stick->fault("answer zero-answer times=0");
  auto fresh = make_cryptovision_tse(till.stick->volume(), OpenStyle::direct, till.clock);
  const Instant before = till.clock.now();
  const Deed connected = fresh->connect();
  ASSERT_FALSE(connected.ok());
  EXPECT_EQ(connected.failure().what, Trouble::asleep);
  EXPECT_THAT(connected.failure().message, HasSubstr("fell asleep"));
  EXPECT_GE(till.clock.now() - before, Duration(60s)) << "it may wake up for so long";
}

TEST(Swissbit, OpenStylesThatWouldOverwriteItsFilesAreRefused) {
  for (const OpenStyle style : {OpenStyle::each_time, OpenStyle::cached}) {
    Till till(Family::swissbit, {}, style);
    ASSERT_TRUE(till.set_up().ok()) << name_of(style);
    const Outcome<evidence::Receipt> receipt = till.sign();
    ASSERT_TRUE(receipt.ok()) << name_of(style) << ": " << receipt.failure().message;
    expect_good(till.audit());
  }
  Till till(Family::swissbit);
  for (const OpenStyle style : {OpenStyle::direct_zeroed, OpenStyle::recreated}) {
    const Deed connected = make_swissbit_tse(till.stick->volume(), style, till.clock)->connect();
    ASSERT_FALSE(connected.ok());
    EXPECT_EQ(connected.failure().what, Trouble::usage);
  }
}

TEST(Swissbit, AStickThatLostPowerBetweenTheTwoStepsSignedNothing) {
  Till till(Family::swissbit);
  ASSERT_TRUE(till.set_up().ok());
  till.stick->fault("between-steps power-cycle code=0x90");
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_FALSE(receipt.ok());
  EXPECT_EQ(receipt.failure().what, Trouble::signature_not_made) << receipt.failure().message;
  const Outcome<evidence::Receipt> next = till.sign();
  ASSERT_TRUE(next.ok()) << next.failure().message;
  EXPECT_EQ(next->transaction, 1U);
}

TEST(Swissbit, AnotherSellersSeedIsAsked) {
  Till till(Family::swissbit);
  auto tse = make_swissbit_tse(till.stick->volume(), OpenStyle::direct, till.clock, "NotTheSeed");
  ASSERT_TRUE(tse->connect().ok());
  for (const Trouble expected :
       {Trouble::wrong_pin, Trouble::wrong_pin, Trouble::last_pin_try, Trouble::last_pin_try}) {
    Access access = till.access();
    const Deed set_up = tse->set_up(till.client, access, till.told());
    ASSERT_FALSE(set_up.ok());
    EXPECT_EQ(set_up.failure().what, expected) << set_up.failure().message;
    EXPECT_THAT(set_up.failure().message, HasSubstr("--seed"));
  }
  till.last_try = true;
  EXPECT_TRUE(till.set_up().ok()) << "the usual seed's last try is still there";
}

TEST(Diebold, ALineThatIsNoTseIsSaidToBeNone) {
  TestClock clock;
  simulator::DeviceOptions options;
  options.kind = "serial-echo";
  SimulatedStick stick(options, clock);
  const Deed connected = make_diebold_tse(stick.line(), "/dev/ttyACM0", clock)->connect();
  ASSERT_FALSE(connected.ok());
  EXPECT_EQ(connected.failure().what, Trouble::asleep);
  EXPECT_THAT(connected.failure().message, HasSubstr("/dev/ttyACM0 does not answer"));
}

TEST(Diebold, InUseByItsOwnPastItIsWaitedFor) {
  TestClock clock;
  simulator::DeviceOptions options;
  options.kind = "diebold";
  SimulatedStick stick(options, clock);
  int refusals = 1;
  const OpenLine open = [&refusals, line = stick.line()]() -> Result<std::unique_ptr<SerialLine>> {
    if (refusals == 0) return line();
    --refusals;
    return fail(ErrorCode::refused, "in use by another client");
  };
  const auto tse = make_diebold_tse(open, "simulated", clock);
  const Deed stranger = tse->connect();
  ASSERT_FALSE(stranger.ok()) << "another program's stick is not waited for";
  EXPECT_EQ(stranger.failure().what, Trouble::busy);
  ASSERT_TRUE(tse->connect().ok());
  refusals = 3;
  const Deed again = tse->connect();
  EXPECT_TRUE(again.ok()) << again.failure().message;
  EXPECT_EQ(refusals, 0);
}

TEST(Diebold, TransportPinsMayStayAsTheyAre) {
  Till till(Family::diebold);
  till.pins = {{Secret::admin_pin, "12345"}, {Secret::time_pin, "12345"}};
  const Deed set_up = till.set_up();
  ASSERT_TRUE(set_up.ok()) << set_up.failure().message;
  EXPECT_TRUE(till.sign().ok());
}

}  // namespace
}  // namespace tillbridge::pos
