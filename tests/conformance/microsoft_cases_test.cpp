// Microsoft's client test suite for MS-RDPEUSB, and what it lacks, in front of a TillRole with a
// simulated device behind it.
#include <ostream>

#include <gtest/gtest.h>

#include "channel/usb/requests.hpp"
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

std::unique_ptr<simulator::Device> make_stick() {
  auto stick = simulator::make_device({});
  EXPECT_TRUE(stick.ok());
  return std::move(stick).value();
}

std::string text(const Verdict& verdict) {
  std::string text;
  for (const std::string& finding : verdict.findings) text += "\n  " + finding;
  return text;
}

/// As an operating system leaves a device that was plugged in.
std::unique_ptr<simulator::Device> configured(std::unique_ptr<simulator::Device> device) {
  device->submit(usb::control_transfer(1, usb::set_configuration(1)), 0s);
  device->advance(1s);
  EXPECT_TRUE(device->poll_completion().has_value());
  return device;
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

class OfTill : public ::testing::TestWithParam<Case> {};

TEST_P(OfTill, Passes) {
  TillClient till(configured(make_stick()));
  Settings settings;
  settings.releases = Releases::none;
  expect_passed(GetParam(), till, settings);
}

std::vector<Case> cases(bool microsoft) {
  std::vector<Case> wanted;
  for (const Case& one : all_cases()) {
    if (one.microsoft == microsoft) wanted.push_back(one);
  }
  return wanted;
}

INSTANTIATE_TEST_SUITE_P(MicrosoftCases, OfTill, ::testing::ValuesIn(cases(true)),
                         [](const auto& tested) { return std::string(tested.param.name); });

}  // namespace
}  // namespace testing
}  // namespace tillbridge::terminal::conformance
