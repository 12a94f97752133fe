// The private authority at its boundary: its files, and what it issues.
#include "server/authority/authority.hpp"

#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "channel/pairing/line.hpp"
#include "channel/pairing/message.hpp"
#include "channel/pairing/till_key.hpp"
#include "server/authority/limits.hpp"
#include "tests/unit/authority/folder.hpp"
#include "till/identity.hpp"

namespace tillbridge::authority {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

const Time noon{std::chrono::seconds(1'800'000'000)};

unsigned mode_of(const fs::path& file) {
  struct stat found {};
  return ::stat(file.c_str(), &found) == 0 ? found.st_mode & 0777U : 0U;
}

std::string content(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

struct AuthorityTest : testing::Test {
  test::Folder folder;
  Authority open(Time now = noon) {
    auto opened = Authority::open(folder.path, now);
    if (!opened) throw std::runtime_error(opened.error().message);
    return std::move(*opened);
  }
  std::string refusal() {
    const auto opened = Authority::open(folder.path, noon);
    return opened ? "" : opened.error().message;
  }
};

TEST_F(AuthorityTest, IsMadeOnceAndItsKeyIsPrivate) {
  const Authority first = open();
  EXPECT_TRUE(first.made_now());
  EXPECT_EQ(mode_of(folder.path / "authority.key"), 0600U);
  const Authority second = open(noon + 24h);
  EXPECT_FALSE(second.made_now());
  EXPECT_EQ(first.fingerprint(), second.fingerprint());
  EXPECT_EQ(first.words(), second.words());
}

TEST_F(AuthorityTest, ACrashBetweenItsTwoFilesMakesItAnew) {
  (void)open();
  fs::remove(folder.path / "authority.crt");
  EXPECT_TRUE(open().made_now());
}

TEST_F(AuthorityTest, DamageIsNamedAndNeverPutRightSilently) {
  (void)open();
  fs::permissions(folder.path / "authority.key", fs::perms::group_read, fs::perm_options::add);
  EXPECT_NE(refusal().find("authority.key"), std::string::npos);
  fs::permissions(folder.path / "authority.key", fs::perms(0600));
  EXPECT_EQ(refusal(), "");
  const std::string key = content(folder.path / "authority.key");
  std::ofstream(folder.path / "authority.key") << pairing::TillKey::make().pem();
  EXPECT_NE(refusal().find("not that of authority.crt"), std::string::npos);
  std::ofstream(folder.path / "authority.key") << "nothing";
  EXPECT_NE(refusal().find("backup"), std::string::npos);
  fs::remove(folder.path / "authority.key");
  EXPECT_NE(refusal(), "");
  std::ofstream(folder.path / "authority.key") << key;
  fs::permissions(folder.path / "authority.key", fs::perms(0600));
  EXPECT_EQ(refusal(), "");
}

TEST_F(AuthorityTest, TheServersCertificateIsRenewedInTimeForNamesAndAfterACrash) {
  Authority authority = open();
  const std::vector<std::string> names{"tse.example", "192.0.2.10", "2001:db8::7"};
  const auto made = [&](const std::vector<std::string>& wanted, Time now) {
    const auto renewed = authority.renew_server(wanted, now);
    EXPECT_TRUE(renewed.ok());
    return renewed && *renewed;
  };
  EXPECT_TRUE(made(names, noon));
  EXPECT_EQ(mode_of(folder.path / "server.key"), 0600U);
  EXPECT_FALSE(made(names, noon + 1h));
  EXPECT_FALSE(made(names, noon + limits::server_life / 3 * 2 - 48h));
  EXPECT_TRUE(made(names, noon + limits::server_life / 3 * 2));
  const Time later = noon + limits::server_life / 3 * 2;
  EXPECT_FALSE(made(names, later));
  EXPECT_TRUE(made({"tse.example", "new.example"}, later));
  // The key was written, its certificate not any more.
  std::ofstream(folder.path / "server.key") << pairing::TillKey::make().pem();
  EXPECT_TRUE(made({"tse.example", "new.example"}, later));
  const auto certificate = certificate_from_pem(content(folder.path / "server.crt"));
  ASSERT_TRUE(certificate.ok());
  const auto there = names_of(*certificate);
  EXPECT_NE(std::find(there.begin(), there.end(), pairing::server_name), there.end());
  // More names than fit are no reason to make one at each start.
  std::vector<std::string> many;
  for (int i = 0; i < 200; ++i) many.push_back("n" + std::to_string(i) + ".example");
  EXPECT_TRUE(made(many, later));
  EXPECT_FALSE(made(many, later));
}

TEST_F(AuthorityTest, ATillsCertificateSaysWhatItsRowSays) {
  const Authority authority = open();
  const auto key = pairing::TillKey::make();
  const auto request = parse_request(key.request("what it likes"));
  ASSERT_TRUE(request.ok());
  const auto issued = authority.issue_till(*request, "kasse-07", noon, 90 * 24h);
  ASSERT_TRUE(issued.ok());
  const auto facts = pairing::facts_of(issued->der);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->name, "kasse-07");
  EXPECT_EQ(pairing::hex(facts->fingerprint), issued->row.fingerprint);
  EXPECT_EQ(pairing::hex(facts->key), issued->row.key_fingerprint);
  EXPECT_EQ(facts->not_after, issued->row.not_after);
  EXPECT_EQ(issued->row.not_after, noon + 90 * 24h);
  EXPECT_GT(facts->renew_at(), noon + 59 * 24h);
  EXPECT_LT(facts->renew_at(), noon + 61 * 24h);
  EXPECT_TRUE(pairing::check_issuer(issued->der, authority.pem()).ok());
  const auto second = authority.issue_till(*request, "kasse-07", noon, 90 * 24h);
  EXPECT_NE(second->row.serial, issued->row.serial);
}

TEST_F(AuthorityTest, ATillsFileHoldsBothAndIsReplacedAsAWhole) {
  const Authority authority = open();
  const fs::path file = folder.path / "till.pem";
  std::string fingerprint;
  for (int round = 0; round < 2; ++round) {
    const auto key = pairing::TillKey::make();
    const auto request = parse_request(key.request("kasse-07"));
    const auto issued = authority.issue_till(*request, "kasse-07", noon, 24h);
    const auto text = till::identity_text(issued->der, key);
    ASSERT_TRUE(text.ok());
    ASSERT_TRUE(till::write_whole(file, *text, 0600).ok());
    EXPECT_EQ(mode_of(file), 0600U);
    const auto facts = till::read_identity(file);
    ASSERT_TRUE(facts.ok());
    EXPECT_NE(pairing::hex(facts->fingerprint), fingerprint);
    fingerprint = pairing::hex(facts->fingerprint);
    const auto read = pairing::TillKey::from_pem(content(file));
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->fingerprint(), facts->key);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path), {}), 3) << "nothing is left over";
  EXPECT_FALSE(till::write_whole(folder.path / "no/such/till.pem", "x", 0600).ok());
}

}  // namespace
}  // namespace tillbridge::authority
