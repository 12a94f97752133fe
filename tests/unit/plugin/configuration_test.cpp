#include "plugin/configuration.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tillbridge::plugin {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Arguments with_file(const char* file = "/etc/tillbridge/till.toml") {
  Arguments arguments;
  arguments.file = file;
  return arguments;
}

constexpr const char* whole = R"(
[server]
host = "tse.example"
port = 4712
name = "usb.example"
[tls]
certificate = "till.crt"
key = "/secret/till.key"
authority = "authority.crt"
[log]
level = "warning"
file = "till.log"
)";

TEST(ConfigurationTest, ReadsAWholeFileAndResolvesPathsAgainstItsFolder) {
  const auto configuration = parse_configuration(whole, with_file());
  ASSERT_TRUE(configuration.ok()) << configuration.error().message;
  const auto& server = std::get<ServerSource>(configuration->source);
  EXPECT_EQ(server.host, "tse.example");
  EXPECT_EQ(server.port, 4712);
  EXPECT_EQ(server.name, "usb.example");
  EXPECT_EQ(server.certificate, "/etc/tillbridge/till.crt");
  EXPECT_EQ(server.key, "/secret/till.key");
  EXPECT_EQ(server.authority, "/etc/tillbridge/authority.crt");
  EXPECT_EQ(configuration->log.level, Level::warning);
  EXPECT_EQ(configuration->log.file, "/etc/tillbridge/till.log");
}

TEST(ConfigurationTest, CommandLineGoesBeforeTheFile) {
  Arguments arguments = with_file();
  arguments.server_host = "192.0.2.9";
  arguments.server_port = 1;
  const auto configuration = parse_configuration(whole, arguments);
  ASSERT_TRUE(configuration.ok()) << configuration.error().message;
  const auto& server = std::get<ServerSource>(configuration->source);
  EXPECT_EQ(server.host, "192.0.2.9");
  EXPECT_EQ(server.port, 1);
  EXPECT_EQ(server.name, "usb.example") << "the certificate is still for the configured name";
}

TEST(ConfigurationTest, CommandLineAloneNamesTheServer) {
  Arguments arguments = with_file();
  arguments.server_host = "tse.example";
  const auto configuration =
      parse_configuration("[tls]\ncertificate='a'\nkey='b'\nauthority='c'\n", arguments);
  ASSERT_TRUE(configuration.ok()) << configuration.error().message;
  const auto& server = std::get<ServerSource>(configuration->source);
  EXPECT_EQ(server.port, default_server_port);
  EXPECT_EQ(server.name, "tse.example");
}

TEST(ConfigurationTest, StockUsbipdInsteadOfAServer) {
  const auto configuration =
      parse_configuration("[usbip]\nhost = \"192.0.2.7\"\nbusid = \"1-1\"\n", with_file());
  ASSERT_TRUE(configuration.ok()) << configuration.error().message;
  const auto& usbip = std::get<UsbipSource>(configuration->source);
  EXPECT_EQ(usbip.host, "192.0.2.7");
  EXPECT_EQ(usbip.port, 3240);
  EXPECT_EQ(usbip.busid, "1-1");
  EXPECT_TRUE(usbip.pipeline);
  const auto plain = parse_configuration(
      "[usbip]\nhost = \"192.0.2.7\"\nbusid = \"1-1\"\npipeline = \"off\"\n", with_file());
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  EXPECT_FALSE(std::get<UsbipSource>(plain->source).pipeline);
}

struct Mistake {
  const char* text;
  const char* message;
};

class ConfigurationMistakeTest : public testing::TestWithParam<Mistake> {};

TEST_P(ConfigurationMistakeTest, IsNamedWithPlaceAndRemedy) {
  const auto configuration = parse_configuration(GetParam().text, with_file("/x/till.toml"));
  ASSERT_FALSE(configuration.ok());
  EXPECT_EQ(configuration.error().code, ErrorCode::config);
  EXPECT_THAT(configuration.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, ConfigurationMistakeTest,
    testing::Values(
        Mistake{"[server]\nhost = \"a\"\nprot = 1\n",
                "/x/till.toml:3: key 'prot' is not known in [server]; did you mean 'port'?"},
        Mistake{"\n[sever]\nhost = \"a\"\n",
                "/x/till.toml:2: key 'sever' is not known at the top of the file; did you mean "
                "'server'?"},
        Mistake{"[server]\nhost = \"a\"\n[tls]\ncolour = 1\n",
                "/x/till.toml:4: key 'colour' is not known in [tls]; known are 'certificate', "
                "'key', 'authority'"},
        Mistake{"[server]\nhost = a\n", "/x/till.toml:2: "},
        Mistake{"[server]\nhost = 7\n", "/x/till.toml:2: key 'host' must be text in quotes"},
        Mistake{"[server]\nport = 1\n", "/x/till.toml: key 'host' is missing in [server]"},
        Mistake{"[server]\nhost = \"a\"\nport = 70000\n",
                "/x/till.toml:3: key 'port' must be a number from 1 to 65535"},
        Mistake{"[server]\nhost = \"a\"\nport = \"1\"\n",
                "/x/till.toml:3: key 'port' must be a number"},
        Mistake{"[server]\nhost = \"a\"\n", "/x/till.toml: section [tls] is missing"},
        Mistake{"[server]\nhost = \"a\"\n[tls]\ncertificate = \"a\"\nkey = \"b\"\n",
                "/x/till.toml: key 'authority' is missing in [tls]"},
        Mistake{"server = 1\n", "/x/till.toml:1: 'server' must be a section"},
        Mistake{"[usbip]\nhost = \"a\"\n", "/x/till.toml: key 'busid' is missing in [usbip]"},
        Mistake{"[usbip]\nhost = \"a\"\nbusid = \"1-1\"\n[server]\nhost = \"b\"\n",
                "exclude each other"},
        Mistake{"[usbip]\nhost = \"a\"\nbusid = \"1-1\"\npipeline = \"yes\"\n",
                "/x/till.toml:4: key 'pipeline' must be \"on\" or \"off\""},
        Mistake{"", "/x/till.toml: no USB server is named"},
        Mistake{
            "[usbip]\nhost = \"a\"\nbusid = \"1-1\"\n[log]\nlevel = \"warn\"\n",
            "/x/till.toml:5: key 'level': 'warn' is not a log level; did you mean 'warning'?"}));

TEST(ConfigurationFileTest, AbsentFileSaysWhatToDo) {
  const auto configuration = load_configuration(with_file("/nonexistent/till.toml"));
  ASSERT_FALSE(configuration.ok());
  EXPECT_THAT(configuration.error().message,
              StartsWith("/nonexistent/till.toml: there is no such file; copy"));
}

TEST(ConfigurationFileTest, FolderIsNoFile) {
  const auto configuration = load_configuration(with_file("/"));
  ASSERT_FALSE(configuration.ok());
  EXPECT_EQ(configuration.error().message, "/: is not a file");
}

TEST(ConfigurationFileTest, HugeFileIsRefused) {
  const std::string path = testing::TempDir() + "tillbridge_huge.toml";
  std::ofstream(path) << std::string((1U << 20U) + 1, '#');
  const auto configuration = load_configuration(with_file(path.c_str()));
  std::filesystem::remove(path);
  ASSERT_FALSE(configuration.ok());
  EXPECT_THAT(configuration.error().message, HasSubstr("larger than 1 MiB"));
}

TEST(ConfigurationFileTest, PackagedExampleIsValid) {
  const auto configuration =
      load_configuration(with_file(TILLBRIDGE_SOURCE_DIR "/packaging/etc/till.toml"));
  ASSERT_TRUE(configuration.ok()) << configuration.error().message;
  EXPECT_EQ(std::get<ServerSource>(configuration->source).host, "tse.example");
}

struct Line {
  const char* argument;
  const char* host;
  std::uint16_t port;
};

class ArgumentTest : public testing::TestWithParam<Line> {};

TEST_P(ArgumentTest, ServerAddress) {
  const auto arguments = parse_arguments({GetParam().argument});
  ASSERT_TRUE(arguments.ok()) << arguments.error().message;
  EXPECT_EQ(arguments->server_host, GetParam().host);
  EXPECT_EQ(arguments->server_port.value_or(0), GetParam().port);
}

INSTANTIATE_TEST_SUITE_P(All, ArgumentTest,
                         testing::Values(Line{"server:tse.example", "tse.example", 0},
                                         Line{"server:tse.example:4711", "tse.example", 4711},
                                         Line{"server:[2001:db8::7]:4711", "2001:db8::7", 4711},
                                         Line{"server:[2001:db8::7]", "2001:db8::7", 0},
                                         Line{"server:2001:db8::7", "2001:db8::7", 0}));

TEST(ArgumentTest, ConfigurationFileMayHaveColons) {
  const auto arguments = parse_arguments({"config:/a:b/till.toml"});
  ASSERT_TRUE(arguments.ok());
  EXPECT_EQ(arguments->file, "/a:b/till.toml");
}

class ArgumentMistakeTest : public testing::TestWithParam<Mistake> {};

TEST_P(ArgumentMistakeTest, IsNamed) {
  const auto arguments = parse_arguments({GetParam().text});
  ASSERT_FALSE(arguments.ok());
  EXPECT_THAT(arguments.error().message, HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, ArgumentMistakeTest,
    testing::Values(Mistake{"sever:a", "option 'sever' is not known; did you mean 'server'?"},
                    Mistake{"server:", "option 'server' needs a value"},
                    Mistake{"config", "option 'config' needs a value"},
                    Mistake{"server:a:0", "'server:a:0' has no valid port: '0' must be"},
                    Mistake{"server:a:", "'server:a:' has no valid port: '' must be"},
                    Mistake{"server:a:99999",
                            "'server:a:99999' has no valid port: '99999' must be"},
                    Mistake{"server::1", "names no host"},
                    Mistake{"server:[::1", "not an address in brackets"},
                    Mistake{"server:[::1]x", "not an address in brackets"}));

}  // namespace
}  // namespace tillbridge::plugin
