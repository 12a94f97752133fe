// The POS against simulated sticks of all three families: what goes well, and what goes wrong.
#include <algorithm>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "pos/cashier.hpp"
#include "pos/cryptovision_tse.hpp"
#include "pos/diebold_tse.hpp"
#include "pos/swissbit_tse.hpp"
#include "pos/verbs.hpp"
#include "pos/whole_file.hpp"
#include "server/simulator/mass_storage_stick.hpp"
#include "server/simulator/tse/cryptovision_stick.hpp"
#include "tests/unit/pos/simulated_stick.hpp"
#include "tests/unit/pos/temporary_folder.hpp"
#include "tests/unit/pos/usbip_server.hpp"
#include "tse/evidence/archive_check.hpp"
#include "tse/evidence/receipt.hpp"

namespace tillbridge::pos {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

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

void expect_good(const evidence::ArchiveReport& report) {
  for (const evidence::ArchiveFinding& finding : report.findings)
    EXPECT_FALSE(evidence::is_error(finding.what)) << finding.where << ": " << finding.text;
  EXPECT_TRUE(report.good());
  EXPECT_GT(report.logs, 0U);
}

class EveryFamily : public testing::TestWithParam<Family> {};
INSTANTIATE_TEST_SUITE_P(Pos, EveryFamily,
                         testing::Values(Family::cryptovision, Family::swissbit, Family::diebold),
                         [](const auto& chosen) { return std::string(name_of(chosen.param)); });

TEST_P(EveryFamily, SetsUpSignsExportsAndVerifies) {
  Till till(GetParam());
  const Outcome<TseStatus> fresh = till.tse->status();
  ASSERT_TRUE(fresh.ok()) << fresh.failure().message;
  EXPECT_EQ(fresh->life_cycle, LifeCycle::not_initialized);
  const Outcome<evidence::Receipt> too_early = till.sign();
  ASSERT_FALSE(too_early.ok());
  EXPECT_EQ(too_early.failure().what, Trouble::not_set_up) << too_early.failure().message;

  const Deed set_up = till.set_up();
  ASSERT_TRUE(set_up.ok()) << set_up.failure().message;
  Access access = till.access();
  Cashier cashier(*till.tse, access, till.told());
  const Deed opened = cashier.open(till.client);
  ASSERT_TRUE(opened.ok()) << opened.failure().message;
  std::uint64_t last = 0;
  for (int i = 0; i < 10; ++i) {
    // Process data over several blocks and packets, too.
    till.order.data = "Beleg^" + std::string(static_cast<std::size_t>(i) * 200, '1');
    const Outcome<evidence::Receipt> receipt = cashier.sign(till.order);
    ASSERT_TRUE(receipt.ok()) << receipt.failure().message;
    EXPECT_EQ(receipt->transaction, static_cast<std::uint64_t>(i) + 1);
    EXPECT_GT(receipt->counter, last);
    last = receipt->counter;
    const Status good = evidence::check_receipt(*receipt);
    EXPECT_TRUE(good.ok()) << good.error().message;
    const Result<evidence::Receipt> read = evidence::parse_qr_text(evidence::qr_text(*receipt));
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->process_data, till.order.data);
  }

  const Outcome<TseStatus> status = till.tse->status();
  ASSERT_TRUE(status.ok()) << status.failure().message;
  EXPECT_EQ(status->life_cycle, LifeCycle::active);
  EXPECT_EQ(status->signature_counter, last);
  EXPECT_TRUE(status->serial.has_value());
  EXPECT_EQ(status->certificate_end_s, 2'051'222'400);
  ASSERT_TRUE(status->clients.has_value());
  EXPECT_THAT(*status->clients, testing::Contains(till.client));
  EXPECT_TRUE(status->open_transactions.empty());

  const evidence::ArchiveReport report = till.audit();
  expect_good(report);
  EXPECT_EQ(report.finished_transactions, 10U);
  EXPECT_EQ(report.last_counter, till.tse->signature_counter() ? last : 0);
  EXPECT_EQ(till.witness().repeated_frames(), 0U);
  EXPECT_EQ(till.witness().counter_gaps(), 0U);
}

TEST_P(EveryFamily, SetUpAgainChangesNothingAndRegistersAnotherClient) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  const std::uint64_t signatures = till.witness().signatures();
  till.said.clear();
  const Deed again = till.set_up();
  ASSERT_TRUE(again.ok()) << again.failure().message;
  EXPECT_TRUE(till.said.empty()) << till.said.front();
  EXPECT_EQ(till.witness().signatures(), signatures);

  till.client = till.order.client = "KASSE-02";
  const Deed another = till.set_up();
  ASSERT_TRUE(another.ok()) << another.failure().message;
  ASSERT_EQ(till.said.size(), 1U);
  EXPECT_THAT(till.said.front(), HasSubstr("KASSE-02"));
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_TRUE(receipt.ok()) << receipt.failure().message;
  EXPECT_EQ(receipt->client, "KASSE-02");
}

TEST_P(EveryFamily, AnUnknownClientIsNamed) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  till.client = till.order.client = "STRANGER";
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_FALSE(receipt.ok());
  EXPECT_EQ(receipt.failure().what, Trouble::unknown_client) << receipt.failure().message;
}

TEST_P(EveryFamily, AfterAPowerCycleSelfTestAndTimeAreDoneAnew) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  till.stick->replug();
  till.start_program();
  till.said.clear();
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_TRUE(receipt.ok()) << receipt.failure().message;
  EXPECT_THAT(till.said, testing::Contains("time set"));
  EXPECT_TRUE(evidence::check_receipt(*receipt).ok());
}

TEST_P(EveryFamily, TimeThatRanOutIsSetAgainInTheMiddleOfTheDay) {
  simulator::DeviceOptions options;
  options.tse.time_valid_s = 1800;
  options.tse.self_test_valid_s = 25 * 3600;
  Till till(GetParam(), options);
  ASSERT_TRUE(till.set_up().ok());
  Access access = till.access();
  Cashier cashier(*till.tse, access, till.told());
  ASSERT_TRUE(cashier.open(till.client).ok());
  ASSERT_TRUE(cashier.sign(till.order).ok());
  till.said.clear();
  till.clock.wait(std::chrono::hours(1));
  const Outcome<evidence::Receipt> receipt = cashier.sign(till.order);
  ASSERT_TRUE(receipt.ok()) << receipt.failure().message;
  EXPECT_THAT(till.said, testing::Contains("time set"));
  till.clock.wait(std::chrono::hours(50));
  const Outcome<evidence::Receipt> monday = cashier.sign(till.order);
  ASSERT_TRUE(monday.ok()) << monday.failure().message;
  EXPECT_EQ(monday->transaction, 3U);
  expect_good(till.audit());
}

TEST_P(EveryFamily, WithoutAPinTheMissingTimeIsASentence) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  till.stick->replug();
  till.start_program();
  till.pins.clear();
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_FALSE(receipt.ok());
  EXPECT_EQ(receipt.failure().what, Trouble::no_time) << receipt.failure().message;
  EXPECT_THAT(receipt.failure().message, HasSubstr("time-pin"));
}

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

TEST_P(EveryFamily, VerifySaysWhatIsWrong) {
  Till till(GetParam());
  ASSERT_TRUE(till.set_up().ok());
  const Outcome<evidence::Receipt> receipt = till.sign();
  ASSERT_TRUE(receipt.ok());
  expect_good(till.audit());
  Options options;
  options.verb = Verb::verify;
  options.file = till.folder.path() / "tse.tar";
  std::ostringstream out;
  Reporter reporter(out, false);
  EXPECT_TRUE(verify(options, reporter).ok());
  EXPECT_THAT(out.str(), testing::StartsWith("good: "));

  Result<Bytes> archive = read_whole_file(options.file, limits::tse_archive_bytes);
  ASSERT_TRUE(archive.ok());
  const auto data =
      std::search(archive->begin(), archive->end(), till.order.data.begin(), till.order.data.end());
  ASSERT_NE(data, archive->end());
  *data ^= 1U;
  ASSERT_TRUE(write_whole_file(options.file, *archive, Overwrite::yes).ok());
  out.str("");
  const Deed bad = verify(options, reporter);
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.failure().what, Trouble::finding);
  EXPECT_THAT(out.str(), HasSubstr("BAD "));

  options.file.clear();
  options.qr_text = evidence::qr_text(*receipt);
  EXPECT_TRUE(verify(options, reporter).ok());
  options.qr_text.replace(options.qr_text.find("12.50"), 5, "12.51");
  const Deed forged = verify(options, reporter);
  ASSERT_FALSE(forged.ok());
  EXPECT_EQ(forged.failure().what, Trouble::finding);
}

// The program as a person runs it, over USB/IP and in real time.
TEST_P(EveryFamily, TheWholeProgramOverUsbip) {
  simulator::DeviceOptions device;
  device.kind = name_of(GetParam());
  device.size_mib = 16;
  device.tse.signing_ms = 1;
  device.tse.self_test_ms = 1;
  auto stick = simulator::make_device(device);
  ASSERT_TRUE(stick.ok());
  device.path = "simulated-2";
  auto another = simulator::make_device(device);
  ASSERT_TRUE(another.ok());
  const std::string serial = (*stick)->description().serial;
  std::vector<std::unique_ptr<simulator::Device>> devices;
  devices.push_back(std::move(*stick));
  devices.push_back(std::move(*another));
  UsbipServer server(std::move(devices));
  const std::string address = "127.0.0.1:" + std::to_string(server.port());
  const TemporaryFolder folder;
  const std::string archive = (folder.path() / "tse.tar").string();
  const Till pins(GetParam());
  const std::unique_ptr<Clock> clock = system_clock();
  std::string printed;
  const auto run = [&](std::vector<std::string> arguments) {
    const auto options = parse_options(std::move(arguments));
    EXPECT_TRUE(options.ok()) << options.failure().message;
    Access::Settings settings;
    settings.secrets = pins.pins;
    settings.environment = false;
    Access access(std::move(settings));
    std::ostringstream out;
    Reporter reporter(out, false);
    const Deed done_so = carry_out(std::get<Options>(*options), access, {}, *clock, reporter, {});
    printed = out.str() + (done_so ? "" : done_so.failure().message);
    return done_so ? 0 : static_cast<int>(done_so.failure().what);
  };

  EXPECT_EQ(run({"status", "--usbip", address}), 11) << printed;
  EXPECT_THAT(printed, HasSubstr(serial));
  EXPECT_EQ(run({"status", "--usbip", address, "--serial", "NOSUCH"}), 10) << printed;
  EXPECT_EQ(run({"setup", "--usbip", address, "--serial", serial}), 0) << printed;
  EXPECT_EQ(run({"receipt", "--usbip", address, "--serial", serial, "--count", "3"}), 0) << printed;
  EXPECT_THAT(printed, HasSubstr("V0;tillbridge-pos;Kassenbeleg-V1;Beleg^1.00_"));
  EXPECT_NE(printed.find("████ ▄▄▄▄▄ █"), std::string::npos) << "no QR code";
  EXPECT_EQ(run({"status", "--usbip", address, "--serial", serial}), 0) << printed;
  EXPECT_THAT(printed, HasSubstr("active"));
  EXPECT_EQ(run({"export", archive, "--usbip", address, "--serial", serial}), 0) << printed;
  EXPECT_EQ(run({"export", archive, "--usbip", address, "--serial", serial}), 2) << printed;
  EXPECT_EQ(run({"verify", archive}), 0) << printed;
  EXPECT_THAT(printed, HasSubstr("3 of 3 transactions finished"));
}

// --- what one family alone does

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

TEST(Diebold, TransportPinsMayStayAsTheyAre) {
  Till till(Family::diebold);
  till.pins = {{Secret::admin_pin, "12345"}, {Secret::time_pin, "12345"}};
  const Deed set_up = till.set_up();
  ASSERT_TRUE(set_up.ok()) << set_up.failure().message;
  EXPECT_TRUE(till.sign().ok());
}

}  // namespace
}  // namespace tillbridge::pos
