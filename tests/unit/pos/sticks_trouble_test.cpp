// The POS against simulated sticks of all three families: what goes wrong, from a wrong PIN to a
// stick that is pulled out while it signs.
#include "tests/unit/pos/stick_till.hpp"

namespace tillbridge::pos {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// Each run of the program is one login at most; the memory carries over from run to run.
TEST_P(EveryFamily, AWrongPinStopsBeforeTheLastTry) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  const auto run = [&] {
    till.stick->replug();
    till.start_program();
    return till.sign();
  };
  const std::string right = till.pins[Secret::time_pin];
  till.pins[Secret::time_pin] = till.wrong_pin();
  for (const char* left : {"left: 2", "left: 1"}) {
    const Outcome<evidence::Receipt> receipt = run();
    ASSERT_FALSE(receipt.ok());
    EXPECT_EQ(receipt.failure().what, Trouble::wrong_pin) << receipt.failure().message;
    EXPECT_THAT(receipt.failure().message, HasSubstr(left));
    EXPECT_THAT(receipt.failure().message, testing::Not(HasSubstr(till.wrong_pin())));
  }
  for (int i = 0; i < 3; ++i) {
    const Outcome<evidence::Receipt> receipt = run();
    ASSERT_FALSE(receipt.ok());
    EXPECT_EQ(receipt.failure().what, Trouble::last_pin_try) << receipt.failure().message;
  }
  // The stick was spared: the right PIN still works, if one dares.
  till.pins[Secret::time_pin] = right;
  till.last_try = true;
  const Outcome<evidence::Receipt> receipt = run();
  ASSERT_TRUE(receipt.ok()) << receipt.failure().message;
  till.last_try = false;
  EXPECT_TRUE(run().ok()) << "a good login makes the tries whole again";
}

TEST_P(EveryFamily, ABlockedPinIsSaid) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  till.pins[Secret::time_pin] = till.wrong_pin();
  till.last_try = true;
  Trouble last{};
  for (int i = 0; i < 4; ++i) {
    till.stick->replug();
    till.start_program();
    const Outcome<evidence::Receipt> receipt = till.sign();
    ASSERT_FALSE(receipt.ok());
    last = receipt.failure().what;
  }
  EXPECT_EQ(last, Trouble::pin_blocked);
}

TEST_P(EveryFamily, AnExpiredCertificateIsSaid) {
  simulator::DeviceOptions options;
  options.tse.certificate_end_s = static_cast<std::int64_t>(TestClock::epoch_s) + 86400;
  Till till(GetParam(), options);
  ASSERT_TRUE(till.set_up().ok());
  ASSERT_TRUE(till.sign().ok());
  till.clock.wait(std::chrono::hours(48));
  till.stick->replug();
  till.start_program();
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_FALSE(receipt.ok());
  EXPECT_EQ(receipt.failure().what, Trouble::certificate_expired) << receipt.failure().message;
  // Its data can still be exported.
  const evidence::ArchiveReport report = till.audit();
  EXPECT_EQ(report.finished_transactions, 1U);
}

TEST_P(EveryFamily, UsedUpSignaturesAreSaid) {
  simulator::DeviceOptions options;
  options.tse.most_signatures = 40;
  Till till(GetParam(), options);
  ASSERT_TRUE(till.set_up().ok());
  Access access = till.access();
  Cashier cashier(*till.tse, access, till.told());
  ASSERT_TRUE(cashier.open(till.client).ok());
  Outcome<evidence::Receipt> receipt = cashier.sign(till.order);
  for (int i = 0; i < 40 && receipt; ++i) receipt = cashier.sign(till.order);
  ASSERT_FALSE(receipt.ok());
  // The cryptovision protocol has no word for it.
  EXPECT_EQ(receipt.failure().what,
            GetParam() == Family::cryptovision ? Trouble::failed : Trouble::used_up);
  EXPECT_THAT(receipt.failure().message, HasSubstr("signatures"));
}

/// The command that signs a finish: where the witness and the faults know it by.
std::string finish_code(Family family) {
  switch (family) {
    case Family::cryptovision:
      return "0x0c";
    case Family::swissbit:
      return "0x95";
    case Family::diebold:
      return "205";
  }
  return {};
}

/// Skips the start, where both steps end with the same command.
std::string finish_fault(Family family, const std::string& point_and_action,
                         const std::string& rest = "") {
  return point_and_action + " code=" + finish_code(family) +
         (family == Family::swissbit ? " skip=1" : "") + rest;
}

TEST_P(EveryFamily, AnAnswerLostAfterSigningIsFoundInTheLogAndNothingIsSignedTwice) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  ASSERT_TRUE(till.sign().ok());
  const std::uint64_t before = till.witness().signatures();
  till.stick->fault(finish_fault(GetParam(), "after-command lose-answer"));
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_TRUE(receipt.ok()) << receipt.failure().message;
  const Status good = evidence::check_receipt(*receipt);
  EXPECT_TRUE(good.ok()) << good.error().message;
  EXPECT_THAT(till.said, testing::Contains(HasSubstr("was signed: transaction 2")));
  const evidence::ArchiveReport report = till.audit();
  expect_good(report);
  EXPECT_EQ(report.finished_transactions, 2U);
  EXPECT_EQ(report.transaction_logs, 4U);
  EXPECT_GE(till.witness().signatures(), before + 2);
  EXPECT_EQ(till.witness().counter_gaps(), 0U);
  EXPECT_EQ(till.witness().repeated_frames(), 0U);
}

TEST_P(EveryFamily, PulledOutAfterSigningAndBackTheReceiptIsWhole) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  till.stick->fault(finish_fault(GetParam(), "after-command unplug", " ms=3000"));
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_TRUE(receipt.ok()) << receipt.failure().message;
  EXPECT_TRUE(evidence::check_receipt(*receipt).ok());
  const Outcome<evidence::Receipt> next = till.sign();
  ASSERT_TRUE(next.ok()) << next.failure().message;
  EXPECT_EQ(next->transaction, 2U);
  const evidence::ArchiveReport report = till.audit();
  expect_good(report);
  EXPECT_EQ(report.transaction_logs, 4U);
}

TEST_P(EveryFamily, PulledOutBeforeSigningIsSaidToHaveSignedNothing) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  till.stick->fault(finish_fault(GetParam(), "before-command unplug", " ms=3000"));
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_FALSE(receipt.ok());
  EXPECT_EQ(receipt.failure().what, Trouble::signature_not_made) << receipt.failure().message;
  EXPECT_THAT(receipt.failure().message, HasSubstr("Transaction 1 was started"));

  // It is still open, and can be ended as aborted.
  const Outcome<std::vector<std::uint64_t>> open = till.tse->open_transactions();
  ASSERT_TRUE(open.ok()) << open.failure().message;
  Options options;
  options.client = till.client;
  std::ostringstream out;
  Reporter reporter(out, false);
  Access access = till.access();
  const Deed finished = finish_open(*till.tse, options, access, reporter);
  ASSERT_TRUE(finished.ok()) << finished.failure().message;
  EXPECT_THAT(out.str(), HasSubstr("transaction 1 ended as aborted"));
  const evidence::ArchiveReport report = till.audit();
  expect_good(report);
  EXPECT_EQ(report.finished_transactions, 1U);
}

TEST_P(EveryFamily, PulledOutForGoodIsSaidToBeUnknown) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  till.stick->fault(finish_fault(GetParam(), "after-command unplug"));
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_FALSE(receipt.ok());
  EXPECT_EQ(receipt.failure().what, Trouble::signature_unknown) << receipt.failure().message;
  EXPECT_LT(till.clock.now(), Duration(10min)) << "it waits a while, not for ever";
}

TEST_P(EveryFamily, GarbledAnswersAreNotBelieved) {
  // Whatever the flipped bit hits, the receipt verifies or somebody says that it does not.
  for (int seed = 1; seed <= 8; ++seed) {
    simulator::DeviceOptions options;
    options.seed = static_cast<std::uint64_t>(seed);
    Till till(GetParam(), options);
    ASSERT_TRUE(till.set_up().ok());
    till.stick->fault(finish_fault(
        GetParam(), GetParam() == Family::diebold ? "status bit-flip" : "answer bit-flip"));
    Options order;
    order.client = till.client;
    order.data = till.order.data;
    order.qr = false;
    std::ostringstream out;
    Reporter reporter(out, false);
    Access access = till.access();
    const Deed signed_one = sign_receipts(*till.tse, order, access, reporter, {});
    if (signed_one) {
      EXPECT_THAT(out.str(), HasSubstr("signature verifies"));
    }
    const evidence::ArchiveReport report = till.audit();
    expect_good(report);
    EXPECT_EQ(report.transaction_logs, 2U) << "seed " << seed;
  }
}

}  // namespace
}  // namespace tillbridge::pos
