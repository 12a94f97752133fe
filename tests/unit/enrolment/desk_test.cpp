// Pairing, renewal and every refusal, at the boundary: a whole server without HTTP, and tills over
// its real port.
#include "server/enrolment/desk.hpp"

#include <fstream>
#include <list>

#include <gtest/gtest.h>

#include "channel/pairing/line.hpp"
#include "channel/pairing/till_conversation.hpp"
#include "server/audit/reading.hpp"
#include "server/authority/limits.hpp"
#include "tests/unit/server/bench.hpp"
#include "tests/unit/server/test_till.hpp"
#include "till/identity.hpp"

namespace tillbridge::enrolment {
namespace {

using namespace std::chrono_literals;
using admin::Administration;
using pairing::TillConversation;
using server::test::TestTill;
namespace fs = std::filesystem;
namespace limits = authority::limits;

const std::string serial = "5A2F00000001", stick = "1209:0001:" + serial;
const admin::Change by_admin{{"anna", store::Role::admin, "local"}, "test"};

/// What `tillbridge pair` does, on the test's loop.
class Client {
 public:
  Client(server::test::Bench& bench, const std::string& line_text, std::string name = {},
         std::optional<pairing::TillKey> its_key = {})
      : key(its_key ? *its_key : pairing::TillKey::make()), bench_(bench) {
    const std::string prefix = "tillbridge pair ";
    auto line = pairing::parse_line(
        line_text.rfind(prefix, 0) == 0 ? line_text.substr(prefix.size()) : line_text);
    EXPECT_TRUE(line.ok()) << line_text;
    tls_ = std::move(*transport::TlsContext::trusting(line->authority, pairing::alpn));
    connecting_ = transport::connect(
        bench.loop, line->host, line->port, tls_, pairing::server_name,
        [this, name = std::move(name),
         token = line->token](Result<std::unique_ptr<transport::Stream>> result) {
          if (!result) {
            not_connected = result.error().message;
            return bench_.poke();
          }
          stream_ = std::move(*result);
          conversation_.emplace(key, TillConversation::Question{name, "test", token},
                                stream_->peer().binding, stream_->peer().authority);
          stream_->start({[this](ByteView bytes) {
                            conversation_->receive(bytes);
                            take();
                          },
                          {},
                          [this](const std::optional<Error>&) {
                            closed = true;
                            bench_.poke();
                          }});
          take();
        });
  }

  /// Writes the till's files, and says so.
  transport::TlsFiles store(const fs::path& folder) {
    fs::create_directories(folder);
    const transport::TlsFiles files{
        folder / "till.pem", folder / "till.pem", folder / "authority.pem", {}};
    EXPECT_TRUE(
        till::write_whole(files.key, *till::identity_text(paired->granted.certificate, key), 0600)
            .ok());
    std::ofstream(files.authorities) << paired->granted.authorities;
    conversation_->stored();
    take();
    return files;
  }
  [[nodiscard]] bool answered() const {
    return paired || waiting || refused || not_connected || closed;
  }
  void leave() { stream_.reset(); }

  pairing::TillKey key;
  std::optional<TillConversation::Paired> paired;
  std::optional<std::string> waiting, refused, not_connected;
  bool closed = false;

 private:
  void take() {
    while (auto event = conversation_->poll_event()) {
      if (auto* done = std::get_if<TillConversation::Paired>(&*event)) paired = std::move(*done);
      if (auto* held = std::get_if<TillConversation::Waiting>(&*event)) waiting = held->message;
      if (auto* no = std::get_if<TillConversation::Failed>(&*event)) refused = no->error.message;
    }
    if (Bytes output = conversation_->take_output(); !output.empty()) {
      stream_->write(std::move(output));
    }
    bench_.poke();
  }

  server::test::Bench& bench_;
  std::optional<transport::TlsContext> tls_;
  std::unique_ptr<transport::Connecting> connecting_;
  std::unique_ptr<transport::Stream> stream_;
  std::optional<TillConversation> conversation_;
};

class DeskTest : public ::testing::Test {
 protected:
  DeskTest() { start(); }
  ~DeskTest() override { stop(); }

  void start() {
    const auto file = folder_ / "tillbridged.toml";
    server::test::write_file(file,
                             "[link]\nlisten = \"127.0.0.1:0\"\n[libusb]\nenabled = false\n"
                             "[[simulated]]\nserial = \"" +
                                 serial + "\"\nsize_mib = 8\n" + more_config_);
    auto config = server::load_config(file);
    ASSERT_TRUE(config.ok()) << config.error().message;
    const auto now = std::chrono::system_clock::now();
    auto store = store::Store::open(folder_ / "state", now);
    ASSERT_TRUE(store.ok()) << store.error().message;
    store_.emplace(std::move(*store));
    auto log = audit::AuditLog::open(folder_ / "state" / "audit", now, {});
    ASSERT_TRUE(log.ok()) << log.error().message;
    audit_.emplace(std::move(*log));
    Options options;
    options.names = {"localhost", "127.0.0.1"};
    options.host = "127.0.0.1";
    options.till_life = life_;
    if (config->link.files_named) options.other_authority = config->link.authority;
    auto desk = Desk::open(bench_.loop, *store_, folder_ / "state", options);
    ASSERT_TRUE(desk.ok()) << desk.error().message;
    desk_ = std::move(*desk);
    usb_ = std::make_unique<server::UsbServer>(bench_.loop, *config);
    admin_ = std::make_unique<Administration>(
        Administration::Parts{bench_.loop, *store_, *audit_, *usb_, desk_.get(), nullptr, "shop"});
    desk_->serve(*usb_, *admin_);
    const auto status = admin_->start();
    ASSERT_TRUE(status.ok()) << status.error().message;
    const auto failure = usb_->start();
    ASSERT_FALSE(failure) << failure->error.message;
    bench_.run_what_is_due();
  }
  void stop() {
    if (!admin_) return;
    desk_->stop();
    usb_->stop([this] { bench_.poke(); });
    bench_.run_what_is_due();
    admin_->stop();
    usb_.reset();
    admin_.reset();
    desk_.reset();
    audit_.reset();
    store_.reset();
  }

  std::string token(const std::string& name, const std::string& for_stick = {}) {
    auto ticket = admin_->add_till(by_admin, {name, {}, for_stick});
    EXPECT_TRUE(ticket.ok());
    return ticket ? ticket->line : "";
  }
  Client& client(const std::string& line, const std::string& name = {},
                 std::optional<pairing::TillKey> key = {}) {
    clients_.emplace_back(bench_, line, name, std::move(key));
    Client& made = clients_.back();
    EXPECT_TRUE(bench_.run_until([&] { return made.answered(); })) << bench_.log_text();
    bench_.run_what_is_due();
    return made;
  }
  /// A till of this name with its files.
  transport::TlsFiles paired(const std::string& name, const std::string& for_stick = {}) {
    Client& made = client(token(name, for_stick));
    EXPECT_TRUE(made.paired) << made.refused.value_or("");
    return made.paired ? made.store(folder_ / name) : transport::TlsFiles{};
  }
  std::unique_ptr<TestTill> till(const transport::TlsFiles& files) {
    return std::make_unique<TestTill>(bench_, usb_->link_port(), files);
  }
  [[nodiscard]] std::string address() const {
    return "127.0.0.1:" + std::to_string(usb_->link_port());
  }
  /// Entries of this kind about this till.
  [[nodiscard]] std::size_t audited(audit::Kind kind, const std::string& about = {}) {
    bench_.run_what_is_due();
    EXPECT_TRUE(admin_->flush_audit().ok());
    audit::Query query;
    query.limit = 1000;
    const auto lines = audit::read(audit_->folder(), query);
    EXPECT_TRUE(lines.ok());
    return static_cast<std::size_t>(
        std::count_if(lines->begin(), lines->end(), [&](const audit::Line& line) {
          return line.entry.kind == kind && (about.empty() || line.entry.till == about);
        }));
  }
  [[nodiscard]] std::size_t certificates() { return store_->certificates()->size(); }

  server::test::Bench bench_;
  server::test::TemporaryFolder folder_;
  std::string more_config_;
  std::chrono::seconds life_ = limits::till_life;
  std::optional<store::Store> store_;
  std::optional<audit::AuditLog> audit_;
  std::unique_ptr<Desk> desk_;
  std::unique_ptr<server::UsbServer> usb_;
  std::unique_ptr<Administration> admin_;
  std::list<Client> clients_;
};

// --- what works

TEST_F(DeskTest, ATokenMakesATillThatHasItsStick) {
  const auto files = paired("kasse-07", serial);
  auto one = till(files);
  ASSERT_TRUE(one->connect_and_import()) << bench_.log_text();
  const auto answer = one->inquiry(one->granted.front().stream);
  ASSERT_TRUE(answer);
  EXPECT_EQ(audited(audit::Kind::pairing_done, "kasse-07"), 1U);
  EXPECT_EQ(audited(audit::Kind::mapping_added, "kasse-07"), 1U);
  EXPECT_EQ(store_->till("kasse-07")->value().state, store::TillState::enrolled);
  EXPECT_EQ(bench_.log_text().find(token("kasse-08").substr(60)), std::string::npos)
      << "no token is in the log";
}

TEST_F(DeskTest, SurvivesARestartOfTheServer) {
  const auto files = paired("kasse-07", serial);
  const std::string fingerprint = desk_->identity().fingerprint;
  stop();
  start();
  EXPECT_EQ(desk_->identity().fingerprint, fingerprint);
  auto one = till(files);
  EXPECT_TRUE(one->connect_and_import()) << bench_.log_text();
}

TEST_F(DeskTest, WithoutATokenAnAdministratorDecides) {
  Client& asking = client(address(), "kasse-09");
  ASSERT_TRUE(asking.waiting) << asking.refused.value_or("");
  const auto state = admin_->state();
  ASSERT_EQ(state.pending.size(), 1U);
  const auto digest = pairing::words_digest(asking.key.fingerprint(), desk_->authority().digest());
  EXPECT_EQ(state.pending[0].words, pairing::words_of(digest)) << "as the till computes them";
  EXPECT_EQ(audited(audit::Kind::pending_seen), 1U);

  ASSERT_TRUE(admin_->approve(by_admin, state.pending[0].id, "", serial).ok());
  ASSERT_TRUE(bench_.run_until([&] { return asking.paired.has_value(); })) << bench_.log_text();
  EXPECT_EQ(asking.paired->granted.name, "kasse-09");
  auto one = till(asking.store(folder_ / "kasse-09"));
  EXPECT_TRUE(one->connect_and_import()) << bench_.log_text();
  EXPECT_TRUE(store_->pending()->empty());
}

TEST_F(DeskTest, ApprovedWhileItWasAwayAndCutOffBeforeItWasStored) {
  Client& asking = client(address(), "kasse-09");
  const auto key = asking.key;
  asking.leave();
  bench_.run_what_is_due();
  ASSERT_TRUE(admin_->approve(by_admin, admin_->state().pending[0].id, "kasse-10", "").ok());
  for (int round = 0; round < 2; ++round) {
    Client& back = client(address(), "kasse-09", key);
    ASSERT_TRUE(back.paired) << back.refused.value_or("");
    EXPECT_EQ(back.paired->granted.name, "kasse-10");
    if (round == 0) back.leave();  // before it said that it has it
    if (round == 1) (void)back.store(folder_ / "kasse-10");
    bench_.run_what_is_due();
  }
  ASSERT_TRUE(bench_.run_until([&] { return store_->pending()->empty(); }));
}

TEST_F(DeskTest, AnIgnoredOneHearsItNowAndLater) {
  Client& asking = client(address(), "kasse-09");
  ASSERT_TRUE(admin_->ignore(by_admin, admin_->state().pending[0].id).ok());
  ASSERT_TRUE(bench_.run_until([&] { return asking.refused.has_value(); }));
  EXPECT_TRUE(client(address(), "kasse-09", asking.key).refused);
  EXPECT_TRUE(admin_->state().pending.empty());
  EXPECT_EQ(certificates(), 0U);
}

// --- tokens that are refused: nothing is issued, and the audit knows it

TEST_F(DeskTest, ATokenWorksOnce) {
  const std::string line = token("kasse-07");
  ASSERT_TRUE(client(line).paired);
  Client& replayed = client(line);
  ASSERT_TRUE(replayed.refused);
  EXPECT_NE(replayed.refused->find("used already"), std::string::npos);
  EXPECT_EQ(certificates(), 1U);
  EXPECT_EQ(audited(audit::Kind::pairing_refused, "kasse-07"), 1U);
}

TEST_F(DeskTest, ATokenOfAnotherTillIsRefusedAndStaysGood) {
  const std::string line = token("kasse-07");
  Client& other = client(line, "kasse-08");
  ASSERT_TRUE(other.refused);
  EXPECT_NE(other.refused->find("another name"), std::string::npos);
  EXPECT_EQ(certificates(), 0U);
  EXPECT_EQ(audited(audit::Kind::pairing_refused, "kasse-07"), 1U);
  EXPECT_TRUE(client(line).paired);
}

TEST_F(DeskTest, ATokenThatRanOutAndOneThatWasReplacedAreRefused) {
  const std::string first = token("kasse-07");
  const std::string second = token("kasse-07");
  EXPECT_TRUE(client(first).refused) << "a new token ends the earlier one";
  auto rows = *store_->tokens();
  ASSERT_EQ(rows.size(), 1U);
  rows[0].expires = std::chrono::system_clock::now();
  ASSERT_TRUE(store_->put_token(rows[0]).ok());
  Client& late = client(second);
  ASSERT_TRUE(late.refused);
  EXPECT_NE(late.refused->find("run out"), std::string::npos);
  EXPECT_EQ(certificates(), 0U);
  EXPECT_EQ(audited(audit::Kind::pairing_refused), 2U);
}

TEST_F(DeskTest, GuessedTokensAreSlowedDown) {
  const std::string good = token("kasse-07");
  std::string line = good.substr(0, good.rfind('/') + 1) + "0000-0000-0000-0000-0000-0000";
  for (std::size_t guess = 0; guess < limits::guesses_per_address; ++guess) {
    ASSERT_TRUE(client(line).refused);
  }
  Client& slowed = client(good);
  ASSERT_TRUE(slowed.refused) << "also the right one: nobody learns whether a guess was good";
  EXPECT_NE(slowed.refused->find("too many wrong tokens"), std::string::npos);
  EXPECT_EQ(certificates(), 0U);
  EXPECT_EQ(audited(audit::Kind::pairing_refused), limits::guesses_per_address + 1);
}

TEST_F(DeskTest, StrangersCannotFillTheStore) {
  for (std::size_t one = 0; one < limits::pending_per_address; ++one) {
    ASSERT_TRUE(client(address(), "kasse-09").waiting);
  }
  EXPECT_TRUE(client(address(), "kasse-09").refused);
  EXPECT_EQ(store_->pending()->size(), limits::pending_per_address);
  for (const char* name : {"", "../../etc", "a b", "-x", "k\nx"}) {
    EXPECT_TRUE(client(address(), name).refused) << name;
  }
  std::size_t refused = 0;
  for (std::size_t one = 0; one < limits::asks_per_address; ++one) {
    if (client(address(), "kasse-09").refused) refused += 1;
  }
  EXPECT_EQ(refused, limits::asks_per_address);
  EXPECT_LE(audited(audit::Kind::pairing_refused), 30U) << "nor the audit";
}

TEST_F(DeskTest, NothingButPairingIsThereForWhoHasNoCertificate) {
  // The link's ALPN without a certificate.
  auto tls = transport::TlsContext::trusting({}, link::alpn);
  ASSERT_TRUE(tls.ok());
  std::optional<std::string> failure;
  std::unique_ptr<transport::Stream> stream;
  const auto connecting =
      transport::connect(bench_.loop, "127.0.0.1", usb_->link_port(), *tls, "localhost",
                         [&](Result<std::unique_ptr<transport::Stream>> result) {
                           if (!result) {
                             failure = result.error().message;
                             return bench_.poke();
                           }
                           stream = std::move(*result);
                           stream->start({{}, {}, [&](const std::optional<Error>& error) {
                                            failure = error ? error->message : "closed";
                                            bench_.poke();
                                          }});
                         });
  ASSERT_TRUE(bench_.run_until([&] { return failure.has_value(); }));
  EXPECT_EQ(bench_.logged("showed no certificate"), 1U) << bench_.log_text();
  EXPECT_EQ(audited(audit::Kind::till_refused), 1U);
  // The pairing's ALPN, and then the link's first bytes.
  tls = transport::TlsContext::trusting({}, pairing::alpn);
  bool closed = false;
  const auto second =
      transport::connect(bench_.loop, "127.0.0.1", usb_->link_port(), *tls, pairing::server_name,
                         [&](Result<std::unique_ptr<transport::Stream>> result) {
                           ASSERT_TRUE(result.ok());
                           stream = std::move(*result);
                           link::Endpoint endpoint(link::Side::till, {1});
                           endpoint.connected(bench_.loop.now());
                           stream->start({{}, {}, [&](const std::optional<Error>&) {
                                            closed = true;
                                            bench_.poke();
                                          }});
                           stream->write(endpoint.take_output());
                         });
  ASSERT_TRUE(bench_.run_until([&] { return closed; }));
  EXPECT_TRUE(usb_->tills().empty());
}

// --- certificates that are refused

TEST_F(DeskTest, ARevokedCertificateIsCutAndStaysOut) {
  const auto files = paired("kasse-07", serial);
  auto one = till(files);
  ASSERT_TRUE(one->connect_and_import());
  ASSERT_TRUE(admin_->revoke_till(by_admin, "kasse-07").ok());
  ASSERT_TRUE(bench_.run_until([&] { return one->goodbye.has_value(); })) << "at once";
  EXPECT_NE(one->goodbye->find("revoked"), std::string::npos);
  EXPECT_TRUE(usb_->tills().empty());
  auto again = till(files);
  ASSERT_TRUE(bench_.run_until([&] { return again->failed.has_value(); }));
  EXPECT_NE(again->failed->find("pair this till anew"), std::string::npos) << *again->failed;
  EXPECT_EQ(audited(audit::Kind::till_refused, "kasse-07"), 1U);
  EXPECT_EQ(audited(audit::Kind::certificate_revoked, "kasse-07"), 1U);
  // Nor does its key get another one, whatever it asks with; a new one does.
  const auto key = clients_.back().key;
  EXPECT_TRUE(client(token("kasse-07"), {}, key).refused);
  EXPECT_TRUE(client(address(), "kasse-07", key).refused);
  const auto fresh = paired("kasse-07");
  auto back = till(fresh);
  EXPECT_TRUE(back->connect_and_import()) << bench_.log_text();
}

TEST_F(DeskTest, AForeignAndAnExpiredCertificateAreRefused) {
  server::test::TemporaryFolder elsewhere;
  const auto foreign =
      authority::Authority::open(elsewhere.path(), std::chrono::system_clock::now());
  ASSERT_TRUE(foreign.ok());
  const auto files_of = [&](const authority::Authority& issuer, authority::Time when) {
    const auto key = pairing::TillKey::make();
    const auto request = authority::parse_request(key.request("kasse-07"));
    const auto issued = issuer.issue_till(*request, "kasse-07", when, 1h);
    const fs::path file = elsewhere / "till.pem";
    EXPECT_TRUE(till::write_whole(file, *till::identity_text(issued->der, key), 0600).ok());
    return transport::TlsFiles{file, file, desk_->authority().certificate_file(), {}};
  };
  const auto now = std::chrono::system_clock::now();
  const auto refused = [&](const transport::TlsFiles& files, const std::string& why) {
    auto one = till(files);
    EXPECT_TRUE(bench_.run_until([&] { return one->refused.has_value(); })) << why;
    bench_.run_what_is_due();
    EXPECT_EQ(bench_.logged(why), 1U) << bench_.log_text();
  };
  refused(files_of(*foreign, now), "is not from the configured authority");
  refused(files_of(desk_->authority(), now - 2h), "has expired");
  EXPECT_EQ(audited(audit::Kind::till_refused), 2U);
  EXPECT_TRUE(usb_->tills().empty());
}

// --- renewal

TEST_F(DeskTest, ACertificateIsRenewedInARunningSessionAndTheSessionGoesOnWithEither) {
  stop();
  life_ = std::chrono::hours(1);
  start();
  const auto files = paired("kasse-07", serial);
  stop();
  life_ = limits::till_life;
  start();
  const auto begun = std::chrono::system_clock::now();
  auto time = begun;
  int looks = 0;
  usb_->tell_time_by([&] {
    ++looks;
    return time;
  });
  auto one = till(files);
  ASSERT_TRUE(one->connect_and_import());
  ASSERT_TRUE(one->welcome.at(0).renews);
  const auto stream = one->granted.front().stream;
  const auto alarmed = [&] {
    const auto alarms = admin_->state().alarms;
    return std::any_of(alarms.begin(), alarms.end(), [](const admin::Alarm& alarm) {
      return alarm.kind == "certificate_ending" && alarm.till == "kasse-07" &&
             alarm.text.find(" ends on ") != std::string::npos;
    });
  };
  bench_.run_what_is_due();
  EXPECT_TRUE(alarmed()) << "an hour is left";
  const auto key = pairing::TillKey::make();
  one->say(link::Renew{key.request("somebody else")});
  ASSERT_TRUE(bench_.run_until([&] { return !one->renewed.empty(); })) << bench_.log_text();
  bench_.run_what_is_due();
  EXPECT_FALSE(alarmed());
  EXPECT_TRUE(one->revoked.empty());
  EXPECT_TRUE(one->inquiry(stream)) << "its stick never left it";
  const auto facts = pairing::facts_of(one->renewed[0].certificate);
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->name, "kasse-07") << "whatever the request says";
  EXPECT_EQ(facts->key, key.fingerprint());
  EXPECT_EQ(audited(audit::Kind::certificate_renewed, "kasse-07"), 1U);
  EXPECT_EQ(admin_->state().tills[0].certificate->fingerprint, pairing::hex(facts->fingerprint));

  const transport::TlsFiles fresh{
      folder_ / "fresh.pem", folder_ / "fresh.pem", files.authorities, {}};
  ASSERT_TRUE(
      till::write_whole(fresh.key, *till::identity_text(one->renewed[0].certificate, key), 0600)
          .ok());
  for (const auto& either : {fresh, files, fresh}) {
    one->cut();
    one->use(either);
    const std::size_t before = one->resumed.size();
    one->reconnect();
    ASSERT_TRUE(bench_.run_until([&] { return one->resumed.size() > before; }));
    EXPECT_TRUE(one->resumed.back());
    EXPECT_TRUE(one->inquiry(stream));
  }
  // Its session is not cut when the older one ends.
  time = begun + std::chrono::hours(2);
  const int before = looks;
  auto other = till(files);  // somebody connects: all are looked at
  ASSERT_TRUE(bench_.run_until([&] { return looks > before; }));
  bench_.run_what_is_due();
  EXPECT_FALSE(one->goodbye);
  // Revoking the till ends both.
  ASSERT_TRUE(admin_->revoke_till(by_admin, "kasse-07").ok());
  for (const auto& either : {fresh, files}) {
    auto again = till(either);
    ASSERT_TRUE(bench_.run_until([&] { return again->failed.has_value(); }));
  }
}

TEST_F(DeskTest, RenewalIsForTheTillsThatThisServerMadeAndHasAnEnd) {
  auto one = till(paired("kasse-07"));
  one->hello();
  ASSERT_TRUE(bench_.run_until([&] { return !one->welcome.empty(); }));
  one->say(link::Renew{Bytes(100, 7)});
  ASSERT_TRUE(bench_.run_until([&] { return one->not_renewed.size() == 1; }));
  for (int round = 0; round < 12; ++round) {
    one->say(link::Renew{pairing::TillKey::make().request("")});
  }
  ASSERT_TRUE(
      bench_.run_until([&] { return one->renewed.size() + one->not_renewed.size() == 13; }));
  EXPECT_EQ(one->renewed.size(), 7U);
  EXPECT_EQ(certificates(), 8U);
}

}  // namespace
}  // namespace tillbridge::enrolment
