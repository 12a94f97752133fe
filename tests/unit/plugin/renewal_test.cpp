// The till's end of renewal: when it asks, what it takes, and what is on the disk at every moment.
#include "plugin/renewal.hpp"

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "server/authority/authority.hpp"
#include "tests/unit/authority/folder.hpp"
#include "till/identity.hpp"

namespace tillbridge::plugin {
namespace {

using namespace std::chrono_literals;
using authority::Authority;
namespace fs = std::filesystem;

struct Lines final : Log {
  void write(Level level, const std::string& text) override {
    if (level != Level::debug) text_ += text + "\n";
  }
  [[nodiscard]] bool has(const std::string& part) const {
    return text_.find(part) != std::string::npos;
  }
  std::string text_;
};

class RenewalTest : public ::testing::Test {
 protected:
  RenewalTest() {
    std::ofstream(source_.authority) << authority_->pem();
    // Half a second is left of two thirds of its life.
    identity(now() - 60s + 500ms, 90s);
  }
  static pairing::Time now() { return std::chrono::system_clock::now(); }

  Bytes certificate(ByteView request_bytes, pairing::Time from, std::chrono::seconds life,
                    const std::string& name = "kasse-07") {
    const auto request = authority::parse_request(request_bytes);
    EXPECT_TRUE(request.ok());
    return authority_->issue_till(*request, name, from, life)->der;
  }
  void identity(pairing::Time from, std::chrono::seconds life) {
    const auto key = pairing::TillKey::make();
    const Bytes der = certificate(key.request(""), from, life);
    ASSERT_TRUE(till::write_whole(source_.key, *till::identity_text(der, key), 0600).ok());
  }
  [[nodiscard]] std::string content() const {
    std::ifstream file(source_.certificate);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  /// Runs until it asks; false after three seconds.
  bool asks(Duration within = 3s) {
    const std::size_t before = requests_.size();
    transport::Timer patience(loop_);
    patience.arm(loop_.now() + within, [this] { loop_.stop(); });
    renewal_->welcomed(true);
    loop_.run();
    return requests_.size() > before;
  }
  void begin() {
    renewal_.emplace(loop_, source_, log_);
    renewal_->start({[this](Bytes request) {
                       requests_.push_back(std::move(request));
                       loop_.stop();
                     },
                     [this](const transport::TlsContext&) { ++used_; }});
  }

  authority::test::Folder folder_;
  Result<Authority> authority_ = Authority::open(folder_.path, now());
  ServerSource source_{"localhost",
                       1,
                       "localhost",
                       folder_.path / "till.pem",
                       folder_.path / "till.pem",
                       folder_.path / "trusted.pem"};
  Lines log_;
  transport::Loop loop_;
  std::optional<Renewal> renewal_;
  std::vector<Bytes> requests_;
  int used_ = 0;
};

TEST_F(RenewalTest, AsksWhenTwoThirdsAreOverAndReplacesBothAtOnce) {
  begin();
  const auto began = now();
  ASSERT_TRUE(asks()) << log_.text_;
  const auto before = till::read_identity(source_.certificate);
  EXPECT_GE(now(), before->renew_at()) << "not before it is time";
  EXPECT_GT(now() - began, 0ms);
  const std::string old = content();
  renewal_->renewed(certificate(requests_[0], now(), 90 * 24h));
  EXPECT_NE(content(), old);
  struct stat found {};
  ASSERT_EQ(::stat(source_.certificate.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0600U);
  EXPECT_EQ(used_, 1) << "for the next connection";
  const auto key = pairing::TillKey::from_pem(content());
  const auto after = till::read_identity(source_.certificate);
  ASSERT_TRUE(key.ok() && after.ok());
  EXPECT_EQ(key->fingerprint(), after->key);
  EXPECT_NE(after->key, before->key) << "a new key, too";
  EXPECT_TRUE(log_.has("is renewed"));
}

TEST_F(RenewalTest, WhatDoesNotFitChangesNothing) {
  authority::test::Folder elsewhere;
  auto foreign = Authority::open(elsewhere.path, now());
  const std::string old = content();
  const auto refuses = [&](const std::function<Bytes(ByteView)>& answer) {
    begin();
    ASSERT_TRUE(asks());
    renewal_->renewed(answer(requests_.back()));
    EXPECT_EQ(content(), old);
    EXPECT_EQ(used_, 0);
  };
  refuses([&](ByteView) { return certificate(pairing::TillKey::make().request(""), now(), 90s); });
  refuses([&](ByteView request) { return certificate(request, now(), 90s, "kasse-08"); });
  refuses([&](ByteView request) {
    return foreign->issue_till(*authority::parse_request(request), "kasse-07", now(), 90s)->der;
  });
  refuses([&](ByteView) { return Bytes(100, 7); });
  EXPECT_TRUE(log_.has("the old one stays in use"));
  // An answer that nobody waits for.
  renewal_->session_ended();
  renewal_->renewed(certificate(requests_.back(), now(), 90s));
  EXPECT_EQ(content(), old);
}

TEST_F(RenewalTest, AFileThatCannotBeReplacedStaysAsItIs) {
  begin();
  ASSERT_TRUE(asks());
  const std::string old = content();
  // A folder in the way of the rename; a full disk ends in the same place.
  fs::rename(source_.certificate, folder_.path / "kept.pem");
  fs::create_directory(source_.certificate);
  std::ofstream(source_.certificate / "x") << "x";
  renewal_->renewed(certificate(requests_[0], now(), 90s));
  EXPECT_TRUE(log_.has("cannot be used"));
  fs::remove_all(source_.certificate);
  fs::rename(folder_.path / "kept.pem", source_.certificate);
  EXPECT_EQ(content(), old);
  for (const auto& entry : fs::directory_iterator(folder_.path)) {
    EXPECT_EQ(entry.path().filename().string().find(".new"), std::string::npos);
  }
}

TEST_F(RenewalTest, ItIsLeftAloneWhereTheServerDoesNotRenewOrItIsInTwoFiles) {
  identity(now() - 100s, 120s);
  begin();
  renewal_->welcomed(false);
  transport::Timer soon(loop_);
  soon.arm(loop_.now() + 50ms, [this] { loop_.stop(); });
  loop_.run();
  EXPECT_TRUE(requests_.empty());
  fs::copy_file(source_.key, folder_.path / "till.key");
  source_.key = folder_.path / "till.key";
  begin();
  EXPECT_FALSE(asks(50ms));
  EXPECT_TRUE(log_.has("two files"));
}

TEST_F(RenewalTest, WhatAnotherSessionRenewedIsUsedAndNotAskedForAgain) {
  begin();
  identity(now(), 90 * 24h);
  EXPECT_FALSE(asks(50ms));
  EXPECT_EQ(used_, 1);
}

}  // namespace
}  // namespace tillbridge::plugin
