#include "server/usb/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench.hpp"

namespace tillbridge::server {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Result<Config> parse(const std::string& text) {
  return parse_config(text, "/etc/tillbridge/t.toml");
}

TEST(Config, AnEmptyFileIsTheDefaults) {
  const auto config = parse("");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->link.listen.text(), "0.0.0.0:4711");
  EXPECT_EQ(config->link.certificate, "/etc/tillbridge/server.crt");
  EXPECT_EQ(config->link.resume_grace, std::chrono::seconds(60));
  EXPECT_FALSE(config->usbip_listen) << "plain USB/IP must be asked for";
  EXPECT_TRUE(config->simulation_control.empty());
  EXPECT_TRUE(config->libusb);
  EXPECT_TRUE(config->rules.mappings.empty());
}

TEST(Config, ASimulatedTse) {
  const auto config = parse_config(R"(
[[simulated]]
kind = "swissbit"
state = "tse-1"
image = "tse-1.img"
curve = "brainpoolP384r1"
signing_ms = 0
clock_rate = 60
most_signatures = 20000000
certificate_end_s = 1
seed = 7
faults = ["status stall skip=3", "after-command unplug ms=1000"]
)",
                                   "/etc/tillbridge/t.toml");
  ASSERT_TRUE(config.ok()) << config.error().message;
  const simulator::DeviceOptions& stick = config->simulated.at(0);
  EXPECT_EQ(stick.kind, "swissbit");
  EXPECT_EQ(stick.tse.state, "/etc/tillbridge/tse-1");
  EXPECT_EQ(stick.tse.curve, "brainpoolP384r1");
  EXPECT_EQ(stick.tse.signing_ms, 0U);
  EXPECT_FALSE(stick.tse.self_test_ms) << "the family's own";
  EXPECT_EQ(stick.tse.clock_rate, 60.0);
  EXPECT_EQ(stick.tse.most_signatures, 20000000U);
  EXPECT_EQ(stick.tse.certificate_end_s, 1);
  EXPECT_EQ(stick.seed, 7U);
  EXPECT_EQ(stick.faults.size(), 2U);
}

TEST(Config, EverythingThatMayBeWritten) {
  const auto config = parse(R"(
[link]
listen = "[::1]:5000"
certificate = "pki/server.crt"
key = "/keys/server.key"
authority = "pki/authority.crt"
resume_grace_s = 5
[usbip]
listen = "127.0.0.1:3240"
[log]
level = "warning"
[libusb]
enabled = false
[[allow]]
device = "04B4:0008"
[simulation]
control = "control.sock"
[[simulated]]
kind = "serial-echo"
path = "sim-7"
vendor_id = 0x1209
product_id = 0x0002
serial = "E1"
speed = "full"
delay_us = 100
[[simulated]]
size_mib = 16
image = "stick.img"
[[map]]
stick = "1209:0001:5A2F"
till = "kasse-03"
fingerprint = "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89"
reset = "refuse"
pipeline = "off"
[[map]]
stick = "E1"
till = "usbip:*"
)");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->link.listen, (ListenAddress{"::1", 5000}));
  EXPECT_EQ(config->link.listen.text(), "[::1]:5000");
  EXPECT_EQ(config->link.certificate, "/etc/tillbridge/pki/server.crt")
      << "relative to the file's folder";
  EXPECT_EQ(config->link.key, "/keys/server.key");
  EXPECT_EQ(config->link.resume_grace, std::chrono::seconds(5));
  EXPECT_EQ(config->usbip_listen, (ListenAddress{"127.0.0.1", 3240}));
  EXPECT_EQ(config->log_level, log::Level::warning);
  EXPECT_FALSE(config->libusb);
  EXPECT_EQ(config->rules.allow, AllowList(std::set<StickPattern::Model>{{0x04B4, 0x0008}}));
  EXPECT_EQ(config->simulation_control, "/etc/tillbridge/control.sock");
  ASSERT_EQ(config->simulated.size(), 2U);
  EXPECT_EQ(config->simulated[0].kind, "serial-echo");
  EXPECT_EQ(config->simulated[0].path, "sim-7");
  EXPECT_EQ(config->simulated[0].vendor_id, 0x1209);
  EXPECT_EQ(config->simulated[0].delay_us, 100U);
  EXPECT_EQ(config->simulated[1].path, "simulated-2") << "named by its place in the file";
  EXPECT_EQ(config->simulated[1].image, "/etc/tillbridge/stick.img");
  EXPECT_EQ(config->simulated[1].size_mib, 16U);
  ASSERT_EQ(config->rules.mappings.size(), 2U);
  const Mapping& mapping = config->rules.mappings[0];
  EXPECT_EQ(mapping.till, "kasse-03");
  EXPECT_EQ(mapping.fingerprint,
            "abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789");
  EXPECT_EQ(mapping.reset, ResetPolicy::refuse);
  EXPECT_FALSE(mapping.pipeline);
  EXPECT_EQ(config->rules.mappings[1].reset, ResetPolicy::soften);
  EXPECT_TRUE(config->rules.mappings[1].pipeline);
}

struct Mistake {
  const char* text;
  std::vector<const char*> says;
};

class ConfigMistakes : public ::testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistakes, NamesFileLineKeyAndRemedy) {
  const auto config = parse(GetParam().text);
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.error().code, ErrorCode::config);
  EXPECT_THAT(config.error().message, HasSubstr("/etc/tillbridge/t.toml:"));
  for (const char* part : GetParam().says) EXPECT_THAT(config.error().message, HasSubstr(part));
}

const std::string map_prefix = "[[map]]\nstick = \"1209:0001:A\"\n";

INSTANTIATE_TEST_SUITE_P(
    All, ConfigMistakes,
    ::testing::Values(
        Mistake{"[link]\nlisen = \"x\"\n",
                {"t.toml:2: key 'lisen' in [link] is unknown", "did you mean 'listen'?"}},
        Mistake{"\n[lnk]\n", {"t.toml:2: key 'lnk' is unknown", "did you mean 'link'?"}},
        Mistake{"[link]\nlisten = 4711\n",
                {"t.toml:2: key 'listen' in [link] must be a text in quotes, not a number"}},
        Mistake{"[link]\nlisten = \"4711\"\n",
                {"t.toml:2: key 'listen'", "ADDRESS:PORT", "0.0.0.0:4711"}},
        Mistake{"[link]\nlisten = \"1.2.3.4:65536\"\n", {"t.toml:2: key 'listen'", "ADDRESS:PORT"}},
        Mistake{"[link]\nlisten = \"::1:4711\"\n", {"[::]:4711"}},
        Mistake{"[link]\nresume_grace_s = -1\n", {"t.toml:2: key 'resume_grace_s' in [link]"}},
        Mistake{"[link]\nresume_grace_s = 3601\n", {"t.toml:2: key 'resume_grace_s' in [link]"}},
        Mistake{"[link]\nkey = \"\"\n", {"t.toml:2: key 'key' in [link] must not be empty"}},
        Mistake{"link = 1\n", {"t.toml:1: key 'link' must be a table; write [link]"}},
        Mistake{"[[link]]\n", {"key 'link' must be a table"}},
        Mistake{"[usbip]\n", {"t.toml:1: key 'listen' in [usbip] is missing", "127.0.0.1:3240"}},
        Mistake{"[log]\nlevel = \"inf\"\n",
                {"t.toml:2: key 'level' in [log] is 'inf'", "debug, error, info, warning",
                 "did you mean 'info'?"}},
        Mistake{"[libusb]\nenabled = \"no\"\n",
                {"t.toml:2: key 'enabled' in [libusb] must be true or false, not a text"}},
        Mistake{"[allow]\ndevice = \"1:2\"\n",
                {"t.toml:1: key 'allow' must be a list of tables; write [[allow]]"}},
        Mistake{"[[allow]]\ndevice = \"04b4\"\n",
                {"t.toml:2: key 'device' in [[allow]] is wrong", "VID:PID"}},
        Mistake{"[[map]]\ntill = \"kasse\"\n", {"t.toml:1: key 'stick' in [[map]] is missing"}},
        Mistake{"[[map]]\nstick = \"1209:0001:A\"\n",
                {"t.toml:1: key 'till' in [[map]] is missing", "kasse-03"}},
        Mistake{"[[map]]\nstick = \"1209:0001\"\ntill = \"k\"\n",
                {"t.toml:2: key 'stick'", "names every stick of a model"}},
        Mistake{"[[map]]\nstick = \"A\"\ntill = \"k\"\nreset = \"softn\"\n",
                {"t.toml:4: key 'reset'", "did you mean 'soften'?"}},
        Mistake{"[[map]]\nstick = \"A\"\ntill = \"k\"\nfingerprint = \"AB\"\n",
                {"t.toml:4: key 'fingerprint'", "64 hexadecimal digits", "openssl"}},
        Mistake{"[[map]]\nstick = \"A\"\ntill = \"k\"\n[[map]]\nstick = \"A\"\ntill = \"l\"\n",
                {"t.toml:5: key 'stick' in [[map]] is 'A', which line 2 maps already", "one till"}},
        Mistake{"[[map]]\nstick = \"A\"\ntill = \"usbip:*\"\n",
                {"t.toml:3: key 'till'", "[usbip] listen"}},
        Mistake{"[usbip]\nlisten = \"127.0.0.1:0\"\n[[map]]\nstick = \"A\"\ntill = \"usbip:\"\n",
                {"t.toml:5: key 'till'", "names no address"}},
        Mistake{
            "[[simulated]]\nsize_mb = 4\n",
            {"t.toml:2: key 'size_mb' in [[simulated]] is unknown", "did you mean 'size_mib'?"}},
        Mistake{"[[simulated]]\nkind = \"serial-echo\"\nsigning_ms = 5\n",
                {"t.toml:3: key 'signing_ms' in [[simulated]] is unknown"}},
        Mistake{"[[simulated]]\nkind = \"diebold\"\nclock_rate = -1.0\nfaults = [3]\n",
                {"t.toml:3: key 'clock_rate' in [[simulated]] must be a number from 0",
                 "t.toml:4: key 'faults' in [[simulated]] must be a list of texts"}},
        Mistake{"[[simulated]]\nvendor_id = 65536\n",
                {"t.toml:2: key 'vendor_id'", "from 0 to 65535"}},
        Mistake{"[[simulated]]\npath = \"a\"\n[[simulated]]\npath = \"a\"\n",
                {"t.toml:4: key 'path'", "as in line 1"}},
        Mistake{"[link\n", {"t.toml:1: "}}));

TEST(Config, AllMistakesAreToldAtOnceInTheirOrder) {
  const auto config = parse("[link]\nlisen = 1\n[log]\nlevel = \"loud\"\n");
  ASSERT_FALSE(config.ok());
  const std::string& text = config.error().message;
  EXPECT_LT(text.find("t.toml:2:"), text.find("t.toml:4:"));
  EXPECT_NE(text.find("t.toml:4:"), std::string::npos);
}

TEST(Config, AWordThatIsNothingLikeAKeyGetsNoSuggestion) {
  const auto config = parse("[link]\nxyzzy_plugh = 1\n");
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message,
              AllOf(HasSubstr("'xyzzy_plugh'"), Not(HasSubstr("did you mean"))));
}

TEST(Config, AFileThatIsNotThere) {
  const test::TemporaryFolder folder;
  const auto config = load_config(folder / "none.toml");
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message, AllOf(HasSubstr("none.toml"), HasSubstr("--config")));
}

TEST(Config, TheExampleThatIsShippedIsRight) {
  const auto config =
      load_config(std::string(TILLBRIDGE_SOURCE_DIR) + "/packaging/etc/tillbridged.toml");
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_TRUE(config->rules.mappings.empty());
}

}  // namespace
}  // namespace tillbridge::server
