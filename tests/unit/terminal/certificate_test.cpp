#include "server/terminal/rdp/certificate.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace tillbridge::terminal {
namespace {

using testing::HasSubstr;

class CertificateTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    directory_ =
        std::filesystem::path(testing::TempDir()) / ("certificate-" + std::string(test->name()));
    std::filesystem::remove_all(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::filesystem::path directory_;
};

TEST_F(CertificateTest, IsMadeOnceAndKept) {
  const auto made = identity_in(directory_);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const auto again = identity_in(directory_);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(made->certificate, again->certificate);
  EXPECT_EQ(fingerprint(*made), fingerprint(*again));
  EXPECT_EQ(fingerprint(*made).size(), 32U * 3 - 1);
  struct stat status {};
  ASSERT_EQ(::stat((directory_ / "key.pem").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(CertificateTest, EachRunsOwnIsAnother) {
  const auto one = make_identity();
  const auto other = make_identity();
  ASSERT_TRUE(one.ok() && other.ok());
  EXPECT_NE(fingerprint(*one), fingerprint(*other));
}

TEST_F(CertificateTest, RefusesAKeyThatOthersMayRead) {
  ASSERT_TRUE(identity_in(directory_).ok());
  ::chmod((directory_ / "key.pem").c_str(), 0640);
  const auto loaded = identity_in(directory_);
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.error().message, HasSubstr("chmod 600"));
}

TEST_F(CertificateTest, RefusesAKeyOfAnotherCertificate) {
  ASSERT_TRUE(identity_in(directory_ / "a").ok());
  ASSERT_TRUE(identity_in(directory_ / "b").ok());
  const auto loaded = load_identity(directory_ / "a/certificate.pem", directory_ / "b/key.pem");
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.error().message, HasSubstr("is not the key"));
}

TEST_F(CertificateTest, NamesTheFileThatIsWrong) {
  ASSERT_TRUE(identity_in(directory_).ok());
  EXPECT_THAT(load_identity(directory_ / "none.pem", directory_ / "key.pem").error().message,
              HasSubstr("none.pem"));
  std::ofstream(directory_ / "text.pem") << "no certificate\n";
  EXPECT_THAT(load_identity(directory_ / "text.pem", directory_ / "key.pem").error().message,
              HasSubstr("text.pem"));
  ::chmod((directory_ / "text.pem").c_str(), 0600);
  EXPECT_THAT(
      load_identity(directory_ / "certificate.pem", directory_ / "text.pem").error().message,
      HasSubstr("text.pem"));
}

}  // namespace
}  // namespace tillbridge::terminal
