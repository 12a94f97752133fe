// Microsoft's client test suite for MS-RDPEUSB, and what it lacks, in front of a TillRole with a
// simulated device behind it.
#include <ostream>
#include <set>

#include <gtest/gtest.h>

#include "server/simulator/factory.hpp"
#include "server/simulator/osr_fx2.hpp"
#include "server/terminal/conformance/case.hpp"
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

/// One till, one device, all cases three times, each time with a server that releases otherwise:
/// nothing of one case may reach the next.
TEST(AllCases, FollowEachOtherOnOneTill) {
  for (const Maker make : {make_board, make_stick}) {
    TillClient till(make());
    for (const Releases releases : {Releases::windows, Releases::none, Releases::notification}) {
      for (const Case& one : all_cases()) {
        if (one.device == Device::osr_fx2 && make != make_board) continue;
        expect_passed(one, till, settings_of(releases));
      }
    }
  }
}

}  // namespace
}  // namespace testing
}  // namespace tillbridge::terminal::conformance
