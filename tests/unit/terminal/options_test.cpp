#include "server/terminal/options.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace tillbridge::terminal {
namespace {

using testing::HasSubstr;

class OptionsTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = testing::TempDir() + "terminal-options-" + test->name();
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string file(const std::string& name, const std::string& text, mode_t mode = 0600) {
    std::string path = directory_ + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    ::chmod(path.c_str(), mode);
    return path;
  }
  static Options good(const std::vector<std::string>& arguments) {
    auto parsed = parse_options(arguments);
    EXPECT_TRUE(parsed.ok()) << parsed.error().message;
    return std::get<Options>(*parsed);
  }
  static std::string refused(const std::vector<std::string>& arguments) {
    auto parsed = parse_options(arguments);
    if (parsed.ok()) {
      ADD_FAILURE() << "was accepted";
      return {};
    }
    EXPECT_EQ(parsed.error().code, ErrorCode::config);
    return parsed.error().message;
  }

  std::string directory_;
};

TEST_F(OptionsTest, DefaultsAreSafe) {
  const Options options = good({"--sink", "vhci"});
  EXPECT_EQ(options.address, "127.0.0.1");
  EXPECT_EQ(options.port, 3389);
  EXPECT_EQ(options.sink, SinkKind::vhci);
  EXPECT_FALSE(options.account.has_value());
  EXPECT_EQ(options.exit_after_sessions, 0U);
  EXPECT_FALSE(options.json);
}

TEST_F(OptionsTest, ProfilesAreKnown) {
  EXPECT_EQ(good({"--sink", "vhci"}).profile, rdpeusb::Profile::plain);
  EXPECT_EQ(good({"--sink", "vhci", "--profile", "windows"}).profile, rdpeusb::Profile::windows);
  EXPECT_THAT(refused({"--sink", "vhci", "--profile", "linux"}), HasSubstr("plain or windows"));
  EXPECT_THAT(refused({"--sink", "conformance", "--profile", "windows"}),
              HasSubstr("another sink"));
}

TEST_F(OptionsTest, TranscriptDataNeedsATranscript) {
  EXPECT_EQ(good({"--sink", "vhci", "--transcript", "a.jsonl"}).transcript, "a.jsonl");
  EXPECT_TRUE(good({"--sink", "vhci", "--transcript", "a", "--transcript-data"}).transcript_data);
  EXPECT_THAT(refused({"--sink", "vhci", "--transcript-data"}), HasSubstr("--transcript FILE"));
}

TEST_F(OptionsTest, SinkIsNeededAndKnown) {
  EXPECT_THAT(refused({}), HasSubstr("--sink"));
  EXPECT_THAT(refused({"--sink", "usb"}), HasSubstr("vhci, usbip, probe or conformance"));
}

TEST_F(OptionsTest, Listen) {
  EXPECT_EQ(good({"--sink", "vhci", "--listen", "127.0.0.1:0"}).port, 0);
  const Options ipv6 = good({"--sink", "vhci", "--listen", "[::1]:4000"});
  EXPECT_EQ(ipv6.address, "::1");
  EXPECT_EQ(ipv6.port, 4000);
  for (const char* text : {"localhost:3389", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
                           "127.0.0.1:33x", ":3389", ""}) {
    EXPECT_THAT(refused({"--sink", "vhci", "--listen", text}), HasSubstr("ADDRESS:PORT")) << text;
  }
}

TEST_F(OptionsTest, OtherAddressesNeedAnAccount) {
  EXPECT_THAT(refused({"--sink", "vhci", "--listen", "0.0.0.0:3389"}), HasSubstr("--user"));
  EXPECT_THAT(refused({"--sink", "vhci", "--listen", "[::]:3389"}), HasSubstr("--user"));
  const std::string password = file("password", "secret\n");
  const Options options = good({"--sink", "vhci", "--listen", "0.0.0.0:3389", "--user", "kasse",
                                "--password-file", password});
  ASSERT_TRUE(options.account.has_value());
  EXPECT_EQ(options.account->user, "kasse");
  EXPECT_EQ(options.account->password, "secret");
}

TEST_F(OptionsTest, AccountIsWholeAndPrivate) {
  const std::string password = file("password", "secret\n");
  EXPECT_THAT(refused({"--sink", "vhci", "--user", "kasse"}), HasSubstr("--password-file"));
  EXPECT_THAT(refused({"--sink", "vhci", "--password-file", password}), HasSubstr("--user"));
  EXPECT_THAT(refused({"--sink", "vhci", "--user", "k", "--password-file", directory_ + "/none"}),
              HasSubstr("cannot be read"));
  EXPECT_THAT(
      refused({"--sink", "vhci", "--user", "k", "--password-file", file("open", "secret", 0644)}),
      HasSubstr("chmod 600"));
  EXPECT_THAT(refused({"--sink", "vhci", "--user", "k", "--password-file", file("empty", "")}),
              HasSubstr("first line"));
}

TEST_F(OptionsTest, CertificateIsWhole) {
  EXPECT_THAT(refused({"--sink", "vhci", "--certificate", "a.pem"}), HasSubstr("--key"));
  EXPECT_THAT(refused({"--sink", "vhci", "--key", "a.pem"}), HasSubstr("--certificate"));
  EXPECT_THAT(refused({"--sink", "vhci", "--certificate", "a.pem", "--key", "b.pem",
                       "--certificate-directory", "c"}),
              HasSubstr("one of the two"));
}

TEST_F(OptionsTest, Allow) {
  const Options options = good({"--sink", "vhci", "--allow", "0403:6001", "--allow", "1a2B:ffFF"});
  EXPECT_EQ(options.named, (std::set<Model>{{0x0403, 0x6001}, {0x1A2B, 0xFFFF}}));
  for (const char* text : {"0403", "0403:60", "0403:60011", "0403:600g", "04036001", ":"}) {
    EXPECT_THAT(refused({"--sink", "vhci", "--allow", text}), HasSubstr("VID:PID")) << text;
  }
}

TEST_F(OptionsTest, Sessions) {
  EXPECT_EQ(good({"--sink", "vhci", "--sessions", "3"}).sessions, 3U);
  EXPECT_THAT(refused({"--sink", "vhci", "--sessions", "0"}), HasSubstr("--sessions"));
  EXPECT_THAT(refused({"--sink", "vhci", "--sessions", "100000"}), HasSubstr("--sessions"));
  EXPECT_EQ(good({"--sink", "vhci", "--exit-after-session"}).exit_after_sessions, 1U);
  EXPECT_EQ(good({"--sink", "vhci", "--exit-after-session", "3"}).exit_after_sessions, 3U);
}

TEST_F(OptionsTest, ProbeRegions) {
  const Options options = good({"--sink", "probe", "--probe-read", "0:8", "--probe-read", "100:1"});
  ASSERT_EQ(options.probe.reads.size(), 2U);
  EXPECT_EQ(options.probe.reads[1].block, 100U);
  EXPECT_EQ(options.probe.reads[1].count, 1U);
  for (const char* text : {"0", "0:", ":8", "0:0", "a:b", "0:4294967296", "-1:8"}) {
    EXPECT_THAT(refused({"--sink", "probe", "--probe-read", text}), HasSubstr("BLOCK:COUNT"))
        << text;
  }
}

TEST_F(OptionsTest, ProbeWrites) {
  const std::string data = file("data", std::string(1024, 'x'));
  const Options options = good({"--sink", "probe", "--probe-write", data + "@2048"});
  ASSERT_EQ(options.probe.writes.size(), 1U);
  EXPECT_EQ(options.probe.writes[0].block, 2048U);
  EXPECT_EQ(options.probe.writes[0].data->size(), 1024U);
  EXPECT_THAT(refused({"--sink", "probe", "--probe-write", data}), HasSubstr("FILE@BLOCK"));
  EXPECT_THAT(refused({"--sink", "probe", "--probe-write", directory_ + "/none@0"}),
              HasSubstr("cannot be read"));
  EXPECT_THAT(refused({"--sink", "probe", "--probe-write", file("nothing", "") + "@0"}),
              HasSubstr("1 byte"));
}

TEST_F(OptionsTest, ProbeDigest) {
  const std::string digest(64, 'A');
  EXPECT_EQ(good({"--sink", "probe", "--probe-read", "0:8", "--probe-sha256", digest})
                .probe.expected_sha256,
            std::string(64, 'a'));
  EXPECT_THAT(refused({"--sink", "probe", "--probe-read", "0:8", "--probe-sha256", "abc"}),
              HasSubstr("64"));
  EXPECT_THAT(refused({"--sink", "probe", "--probe-sha256", digest}), HasSubstr("--probe-read"));
  EXPECT_THAT(refused({"--sink", "probe", "--probe-save", "x"}), HasSubstr("--probe-read"));
}

TEST_F(OptionsTest, ProbeOptionsFitTogether) {
  EXPECT_THAT(refused({"--sink", "vhci", "--probe-read", "0:8"}), HasSubstr("--sink probe"));
  EXPECT_THAT(refused({"--sink", "probe", "--probe-command-bytes", "5000"}), HasSubstr("1024"));
  EXPECT_THAT(refused({"--sink", "probe", "--probe-bench", "5", "--probe-command-bytes", "4096"}),
              HasSubstr("64 KiB"));
  EXPECT_THAT(refused({"--sink", "probe", "--probe-bench-writes"}), HasSubstr("--probe-bench "));
  EXPECT_THAT(refused({"--sink", "probe", "--probe-bench-no-round-trips"}),
              HasSubstr("--probe-bench "));
}

TEST_F(OptionsTest, Cases) {
  const Options options = good({"--sink", "conformance", "--cases", "microsoft", "--case-timeout",
                                "3", "--case-releases", "none", "--cases-per-session", "1"});
  EXPECT_FALSE(options.conformance.cases.empty());
  EXPECT_EQ(options.conformance.settings.patience, std::chrono::seconds(3));
  EXPECT_EQ(options.conformance.settings.releases, conformance::Releases::none);
  EXPECT_EQ(options.conformance.cases_per_session, 1U);
  EXPECT_EQ(options.sessions, 1U) << "the cases follow each other";
  EXPECT_THAT(refused({"--sink", "conformance", "--cases", "x"}), HasSubstr("--cases list"));
  EXPECT_THAT(refused({"--sink", "conformance", "--case-releases", "all"}),
              HasSubstr("none, notification or windows"));
  EXPECT_THAT(refused({"--sink", "vhci", "--case-silence", "1"}), HasSubstr("--sink conformance"));
  auto list = parse_options({"--sink", "conformance", "--cases", "list"});
  ASSERT_TRUE(list.ok());
  EXPECT_THAT(std::get<PrintAndExit>(*list).text, HasSubstr("BVT_EUSB_OperateDeviceChannel"));
}

TEST_F(OptionsTest, UnknownOptionsAreNamed) {
  EXPECT_THAT(refused({"--sink", "probe", "--prove-read", "0:8"}), HasSubstr("--prove-read"));
}

TEST_F(OptionsTest, UsbipListensOnTheLoopbackUnlessToldOtherwise) {
  const Options usual = good({"--sink", "usbip"});
  EXPECT_EQ(usual.sink, SinkKind::usbip);
  EXPECT_EQ(usual.usbip_address, "127.0.0.1");
  EXPECT_EQ(usual.usbip_port, 0);
  EXPECT_GT(usual.sessions, 1U);
  const Options told = good({"--sink", "usbip", "--usbip-listen", "[::1]:3240"});
  EXPECT_EQ(told.usbip_address, "::1");
  EXPECT_EQ(told.usbip_port, 3240);
  EXPECT_EQ(told.sessions, 1U) << "a port serves one session";
  EXPECT_THAT(refused({"--sink", "usbip", "--usbip-listen", "127.0.0.1:3240", "--sessions", "2"}),
              HasSubstr("port 0"));
  EXPECT_THAT(refused({"--sink", "usbip", "--usbip-listen", "localhost:3240"}),
              HasSubstr("ADDRESS:PORT"));
  EXPECT_THAT(refused({"--sink", "vhci", "--usbip-listen", "127.0.0.1:0"}),
              HasSubstr("--sink usbip"));
}

TEST_F(OptionsTest, HelpAndVersion) {
  auto help = parse_options({"--help"});
  ASSERT_TRUE(help.ok());
  EXPECT_THAT(std::get<PrintAndExit>(*help).text, HasSubstr("--sink"));
  auto version = parse_options({"--version"});
  ASSERT_TRUE(version.ok());
  EXPECT_THAT(std::get<PrintAndExit>(*version).text, HasSubstr("tillbridge-terminal"));
}

}  // namespace
}  // namespace tillbridge::terminal
