// The POS against simulated sticks of all three families: what goes well.
#include "tests/unit/pos/stick_till.hpp"
#include "tests/unit/pos/usbip_server.hpp"

namespace tillbridge::pos {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

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

}  // namespace
}  // namespace tillbridge::pos
