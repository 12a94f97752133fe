// A till with one simulated stick of any family, in virtual time.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "pos/cashier.hpp"
#include "pos/cryptovision_tse.hpp"
#include "pos/diebold_tse.hpp"
#include "pos/swissbit_tse.hpp"
#include "pos/verbs.hpp"
#include "pos/whole_file.hpp"
#include "tests/unit/pos/simulated_stick.hpp"
#include "tests/unit/pos/temporary_folder.hpp"
#include "tse/evidence/archive_check.hpp"
#include "tse/evidence/receipt.hpp"

namespace tillbridge::pos {

/// A till with one stick.
class Till {
 public:
  explicit Till(Family family, simulator::DeviceOptions options = {},
                std::optional<OpenStyle> style = {})
      : family_(family) {
    options.kind = name_of(family);
    options.size_mib = 16;
    stick = std::make_unique<SimulatedStick>(options, clock);
    start_program(style);
    pins = usual_pins();
  }
  Till(Family family, std::unique_ptr<simulator::Device> device) : family_(family) {
    stick = std::make_unique<SimulatedStick>(std::move(device), clock);
    start_program();
    pins = usual_pins();
  }

  /// Each run of the program knows nothing of the one before.
  void start_program(std::optional<OpenStyle> style = {}) {
    const OpenStyle open = style.value_or(OpenStyle::direct);
    switch (family_) {
      case Family::cryptovision:
        tse = make_cryptovision_tse(stick->volume(), open, clock);
        break;
      case Family::swissbit:
        tse = make_swissbit_tse(stick->volume(), open, clock);
        break;
      case Family::diebold:
        tse = make_diebold_tse(stick->line(), "simulated", clock);
        break;
    }
    const Deed connected = tse->connect();
    EXPECT_TRUE(connected.ok()) << connected.failure().message;
  }

  [[nodiscard]] std::map<Secret, std::string> usual_pins() const {
    switch (family_) {
      case Family::cryptovision:
        return {{Secret::admin_pin, "11111111"},
                {Secret::admin_puk, "1111111111"},
                {Secret::time_pin, "22222222"},
                {Secret::time_puk, "2222222222"}};
      case Family::swissbit:
        return {{Secret::admin_pin, "11111"},
                {Secret::admin_puk, "111111"},
                {Secret::time_pin, "22222"}};
      case Family::diebold:
        return {{Secret::admin_pin, "11111"},
                {Secret::time_pin, "22222"},
                {Secret::transport_pin, "12345"}};
    }
    return {};
  }
  [[nodiscard]] std::string wrong_pin() const {
    return family_ == Family::cryptovision ? "99999999" : "99999";
  }

  [[nodiscard]] Access access() {
    Access::Settings settings;
    settings.secrets = pins;
    settings.environment = false;
    settings.memory = TriesMemory(folder.path() / "tries");
    settings.last_try = last_try;
    return Access(std::move(settings));
  }

  [[nodiscard]] Deed set_up() {
    Access now = access();
    return tse->set_up(client, now, told());
  }
  [[nodiscard]] Outcome<evidence::Receipt> sign() {
    Access now = access();
    Cashier cashier(*tse, now, told());
    if (Deed ready = cashier.open(client); !ready) return ready.failure();
    return cashier.sign(order);
  }
  [[nodiscard]] evidence::ArchiveReport audit() {
    Options options;
    options.file = folder.path() / "tse.tar";
    options.force = true;
    std::ostringstream out;
    Reporter reporter(out, false);
    const Deed exported = export_to_file(*tse, options, reporter);
    EXPECT_TRUE(exported.ok()) << exported.failure().message;
    const Result<Bytes> archive = read_whole_file(options.file, limits::tse_archive_bytes);
    if (!archive) return {};
    return evidence::check_archive(*archive);
  }
  [[nodiscard]] Told told() {
    return [this](const std::string& text) { said.push_back(text); };
  }
  [[nodiscard]] const simulator::Witness& witness() { return stick->device().bench().witness; }

  Family family_;
  TestClock clock;
  std::unique_ptr<SimulatedStick> stick;
  std::unique_ptr<Tse> tse;
  std::map<Secret, std::string> pins;
  bool last_try = false;
  std::string client = "KASSE-01";
  Order order{"KASSE-01", "Kassenbeleg-V1", "Beleg^12.50_0.00_0.00_0.00_0.00^12.50:Bar"};
  TemporaryFolder folder;
  std::vector<std::string> said;
};

inline void expect_good(const evidence::ArchiveReport& report) {
  for (const evidence::ArchiveFinding& finding : report.findings)
    EXPECT_FALSE(evidence::is_error(finding.what)) << finding.where << ": " << finding.text;
  EXPECT_TRUE(report.good());
  EXPECT_GT(report.logs, 0U);
}

/// Instantiated once, in sticks_test.cpp.
class EveryFamily : public testing::TestWithParam<Family> {};

}  // namespace tillbridge::pos
