// What a person reads when the PEM files are not as they should be, and the files that
// make-certificates makes.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>

#include "channel/transport/stream.hpp"
#include "tests/unit/transport/certificates.hpp"
#include "tests/unit/transport/stream_fixture.hpp"

namespace tillbridge::transport {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

class TlsContextTest : public testing::Test {
 protected:
  /// Loads what is expected to be refused.
  static std::string refusal(const TlsFiles& files) {
    const auto loaded = TlsContext::load(files, TlsContext::Side::server, "test/1");
    EXPECT_FALSE(loaded.ok());
    if (loaded.ok()) return {};
    EXPECT_EQ(loaded.error().code, ErrorCode::config);
    return loaded.error().message;
  }
  static void write(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }
  static std::string content(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  test::TemporaryDirectory directory_;
  test::Authority authority_{directory_.path(), "authority"};
  TlsFiles files_ = authority_.issue({"server", "DNS:localhost"});
};

TEST_F(TlsContextTest, GoodFilesLoad) {
  const auto loaded = TlsContext::load(files_, TlsContext::Side::server, "test/1");
  EXPECT_TRUE(loaded.ok()) << loaded.error().message;
}

TEST_F(TlsContextTest, AMissingFileIsNamed) {
  for (fs::path TlsFiles::*file :
       {&TlsFiles::certificate, &TlsFiles::key, &TlsFiles::authorities}) {
    TlsFiles files = files_;
    files.*file = directory_.path() / "missing.pem";
    EXPECT_THAT(refusal(files), AllOf(HasSubstr("missing.pem"), HasSubstr("No such file")));
    files.*file = "";
    EXPECT_THAT(refusal(files), HasSubstr("is configured"));
    files.*file = directory_.path();
    EXPECT_THAT(refusal(files), HasSubstr("not a regular file"));
  }
}

TEST_F(TlsContextTest, AKeyThatOthersMayReadIsRefusedWithTheRemedy) {
  for (const fs::perms extra :
       {fs::perms::group_read, fs::perms::others_read, fs::perms::group_write}) {
    fs::permissions(files_.key, fs::perms::owner_read | fs::perms::owner_write | extra);
    EXPECT_THAT(refusal(files_), HasSubstr("chmod 600 " + files_.key.string()));
  }
  fs::permissions(files_.key, fs::perms::owner_read);
  EXPECT_TRUE(TlsContext::load(files_, TlsContext::Side::server, "test/1").ok());
}

TEST_F(TlsContextTest, AKeyOfAnotherCertificateNamesBothFiles) {
  const TlsFiles other = authority_.issue({"other", "DNS:other"});
  files_.key = other.key;
  EXPECT_THAT(refusal(files_),
              AllOf(HasSubstr("other.key"), HasSubstr("server.crt"), HasSubstr("does not belong")));
}

TEST_F(TlsContextTest, FilesOfTheWrongKindAreNamedAndNeverQuoted) {
  const std::string key = content(files_.key);
  TlsFiles files = files_;
  files.certificate = files_.key;
  EXPECT_THAT(refusal(files),
              AllOf(HasSubstr("server.key"), HasSubstr("does not hold a certificate"),
                    Not(HasSubstr(key.substr(40, 20)))));
  files = files_;
  files.key = directory_.path() / "no.key";
  write(files.key, "not a key\n");
  fs::permissions(files.key, fs::perms::owner_read);
  EXPECT_THAT(refusal(files), AllOf(HasSubstr("no.key"), HasSubstr("does not hold a private key")));
  files = files_;
  files.authorities = files_.certificate;
  EXPECT_THAT(refusal(files),
              AllOf(HasSubstr("server.crt"), HasSubstr("not a certificate authority")));
  // A file cut in the middle of its second certificate is not taken for one with a single
  // certificate.
  files.authorities = directory_.path() / "cut.crt";
  const std::string good = content(files_.authorities);
  write(files.authorities, good + good.substr(0, good.size() / 2));
  EXPECT_THAT(refusal(files), HasSubstr("cut.crt"));
}

TEST_F(TlsContextTest, AnEmptyOrHugeFileIsRefused) {
  TlsFiles files = files_;
  files.authorities = directory_.path() / "odd.crt";
  write(files.authorities, "");
  EXPECT_THAT(refusal(files), HasSubstr("odd.crt"));
  write(files.authorities, "x");
  fs::resize_file(files.authorities, std::uintmax_t{16} << 20U);
  EXPECT_THAT(refusal(files), HasSubstr("too large"));
}

/// The certificates that people make are those that the link takes.
class MadeCertificatesTest : public test::StreamTest {
 protected:
  [[nodiscard]] static bool make_certificates(const std::string& arguments) {
    const std::string command = std::string(TILLBRIDGE_SOURCE_DIR) +
                                "/packaging/make-certificates " + arguments + " > /dev/null";
    return std::system(command.c_str()) ==
           0;  // NOLINT(cert-env33-c,concurrency-mt-unsafe): a test, fixed words
  }
  [[nodiscard]] TlsContext context(const std::string& name, TlsContext::Side side) const {
    const fs::path& made = directory_.path();
    auto loaded = TlsContext::load(
        {made / (name + ".crt"), made / (name + ".key"), made / "authority.crt"}, side, "test/1");
    EXPECT_TRUE(loaded.ok()) << loaded.error().message;
    return *loaded;
  }
  test::TemporaryDirectory directory_;
};

TEST_F(MadeCertificatesTest, ConnectAndTillsCanBeAddedLater) {
  const std::string directory = directory_.path().string();
  ASSERT_TRUE(make_certificates(directory + " localhost 127.0.0.1 -- kasse-01"));
  const auto authority_written = fs::last_write_time(directory_.path() / "authority.crt");
  const auto server_written = fs::last_write_time(directory_.path() / "server.crt");
  const auto till_written = fs::last_write_time(directory_.path() / "kasse-01.key");
  ASSERT_TRUE(make_certificates(directory + " localhost 127.0.0.1 -- kasse-01 kasse-02"));
  EXPECT_EQ(fs::last_write_time(directory_.path() / "authority.crt"), authority_written);
  EXPECT_EQ(fs::last_write_time(directory_.path() / "server.crt"), server_written);
  EXPECT_EQ(fs::last_write_time(directory_.path() / "kasse-01.key"), till_written);

  listen(context("server", TlsContext::Side::server));
  for (const std::string till : {"kasse-01", "kasse-02"}) {
    for (const std::string name : {"localhost", "127.0.0.1"}) {
      server_ = {};
      client_ = {};
      connect(context(till, TlsContext::Side::client), name);
      ASSERT_NE(client_.stream, nullptr) << connect_error_->message;
      run_until([&] { return server_.stream != nullptr; });
      EXPECT_EQ(server_.stream->peer().name, till);
    }
  }
}

TEST_F(MadeCertificatesTest, ANewServerNameIsAddedToTheOldOnes) {
  const std::string directory = directory_.path().string();
  ASSERT_TRUE(make_certificates(directory + " old.example -- kasse-01"));
  ASSERT_TRUE(make_certificates(directory + " new.example"));
  listen(context("server", TlsContext::Side::server));
  for (const std::string name : {"old.example", "new.example"}) {
    client_ = {};
    connect(context("kasse-01", TlsContext::Side::client), name);
    EXPECT_NE(client_.stream, nullptr) << connect_error_->message;
  }
}

TEST_F(MadeCertificatesTest, NamesThatCannotBeAreRefused) {
  const std::string directory = directory_.path().string();
  EXPECT_FALSE(make_certificates(directory + " localhost -- server 2> /dev/null"));
  EXPECT_FALSE(make_certificates(directory + " localhost -- ../kasse 2> /dev/null"));
  EXPECT_FALSE(make_certificates(directory + " 'a,DNS:b' 2> /dev/null"));
  EXPECT_FALSE(make_certificates(directory + " 2> /dev/null"));
  EXPECT_FALSE(fs::exists(directory_.path() / "authority.crt"));
}

}  // namespace
}  // namespace tillbridge::transport
