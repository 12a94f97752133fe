#include "server/http/logins.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "server/http/limits.hpp"
#include "server/http/refusals.hpp"
#include "server/http/scrape_tokens.hpp"
#include "server/http/secrets.hpp"
#include "server/http/tries.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::http {

namespace {

using admin::Outcome;
using admin::Problem;
using audit::Field;
using audit::Kind;

/// Setting of the store: hex digest of the token and the microsecond at which it ends. One at a
/// time.
constexpr const char* link_key = "http.login_link";

std::string printable(const std::string& text) {
  return server::log::printable(text);
}

Problem too_often(std::chrono::seconds wait) {
  return {429, "too_often", "too many wrong logins",
          "wait " + std::to_string(wait.count()) + " seconds, then try again"};
}

Problem wrong_login() {
  return {401, "wrong_login", "user or password is wrong",
          "try again; who forgot the password gets a link with 'sudo tillbridge login-link' on the "
          "server"};
}

}  // namespace

struct Logins::Impl {
  Impl(store::Store& given, Clock given_clock) : store(given), clock(std::move(given_clock)) {}

  Outcome<Opened> open(const std::string& user, admin::Role role, const std::string& address);
  void forget(const store::Digest& session);
  [[nodiscard]] bool over(const store::WebSession& session) const {
    const Time now = clock();
    return now >= session.expires || now - session.last_used >= limits::session_idle;
  }
  void refused(const std::string& user, const std::string& address, const std::string& why);
  [[nodiscard]] bool link_is(const std::string& token) const;

  store::Store& store;
  const Clock clock;
  admin::Administration* administration = nullptr;
  std::map<store::Digest, store::WebSession> sessions;
  std::map<store::Digest, Time> noted;  ///< last_used as the store has it
  std::optional<std::pair<std::string, std::string>> prepared;
  Tries tries;
  ScrapeTokens scrapers;
};

Logins::Logins(store::Store& store, Clock clock)
    : impl_(std::make_unique<Impl>(store, std::move(clock))) {}
Logins::~Logins() = default;

Status Logins::start(admin::Administration& administration) {
  Impl& me = *impl_;
  me.administration = &administration;
  if (auto status = me.store.remove_web_sessions_expired_before(me.clock()); !status) {
    return status;
  }
  auto rows = me.store.web_sessions();
  if (!rows) return rows.error();
  for (store::WebSession& row : *rows) {
    me.noted[row.hash] = row.last_used;
    me.sessions[row.hash] = std::move(row);
  }
  return {};
}

// --- passwords

Result<std::string> Logins::hashed(const std::string& password) const {
  const auto& prepared = impl_->prepared;
  if (prepared && same_secret(prepared->first, password)) return prepared->second;
  return hash_password(password);
}

Logins::Prepared::Prepared(Logins& logins, std::string password, std::string hash)
    : logins_(logins) {
  logins_.impl_->prepared.emplace(std::move(password), std::move(hash));
}

Logins::Prepared::~Prepared() {
  logins_.impl_->prepared.reset();
}

// --- sessions

void Logins::Impl::forget(const store::Digest& session) {
  sessions.erase(session);
  noted.erase(session);
  (void)store.remove_web_session(session);
}

void Logins::logins_end(const std::string& user) {
  std::erase_if(impl_->noted, [&](const auto& item) {
    const auto found = impl_->sessions.find(item.first);
    return found != impl_->sessions.end() && found->second.user == user;
  });
  std::erase_if(impl_->sessions, [&](const auto& item) { return item.second.user == user; });
}

std::optional<Logins::Known> Logins::who(const std::string& cookie) {
  if (cookie.empty() || cookie.size() > 64) return std::nullopt;
  const store::Digest digest = digest_of(cookie);
  if (!still(digest)) return std::nullopt;
  const store::WebSession& session = impl_->sessions.at(digest);
  const auto user = impl_->store.user(session.user);
  if (!user || !user->has_value()) return std::nullopt;
  return Known{session.user, (*user)->role, session.csrf, digest};
}

bool Logins::still(const store::Digest& digest) {
  Impl& me = *impl_;
  const auto found = me.sessions.find(digest);
  if (found == me.sessions.end()) return false;
  if (me.over(found->second)) {
    me.forget(digest);
    return false;
  }
  store::WebSession& session = found->second;
  session.last_used = me.clock();
  if (session.last_used - me.noted[digest] >= limits::session_noted) {
    me.noted[digest] = session.last_used;
    (void)me.store.put_web_session(session);
  }
  return true;
}

void Logins::logout(const Known& known, const std::string& address) {
  impl_->forget(known.session);
  const admin::Actor actor{known.user, known.role, address};
  impl_->administration->record(
      {Kind::logout, actor.who(), {}, {}, {}, {{Field::address, address}}});
}

// --- logging in

void Logins::Impl::refused(const std::string& user, const std::string& address,
                           const std::string& why) {
  const std::string what = user.empty() ? "login" : "login of '" + printable(user) + "'";
  if (!note_refusal(address, what + ": " + why)) return;
  administration->record({Kind::login_refused,
                          "unknown",
                          {},
                          {},
                          why,
                          {{Field::user, printable(user)}, {Field::address, address}}});
  administration->tell(admin::Administration::Level::warning, "login_refused",
                       what + " from " + address + " refused: " + why);
}

Outcome<std::string> Logins::begin(const std::string& user, const std::string& address) {
  Impl& me = *impl_;
  if (const auto wait = me.tries.wait(address, me.clock())) {
    me.refused(user, address, "too many wrong ones before");
    return too_often(*wait);
  }
  me.tries.tried(address, me.clock());
  const auto row = me.store.user(user);
  return row && row->has_value() ? (*row)->password : std::string("none");
}

Outcome<Logins::Opened> Logins::finish(const std::string& user, const std::string& kept, bool fits,
                                       const std::string& address) {
  Impl& me = *impl_;
  auto row = me.store.user(user);
  // It may have been changed or removed while the password was looked at.
  if (!fits || !row || !row->has_value() || (*row)->password != kept) {
    me.refused(user, address, "user or password is wrong");
    return wrong_login();
  }
  me.tries.right(address, me.clock());
  return me.open(user, (*row)->role, address);
}

Outcome<Logins::Opened> Logins::Impl::open(const std::string& user, admin::Role role,
                                           const std::string& address) {
  std::vector<const store::WebSession*> others;
  for (const auto& [digest, session] : sessions) {
    if (session.user == user) others.push_back(&session);
  }
  if (others.size() >= limits::sessions_per_user) {
    const auto* oldest = *std::min_element(
        others.begin(), others.end(),
        [](const auto* one, const auto* other) { return one->last_used < other->last_used; });
    forget(store::Digest(oldest->hash));
  }
  Opened opened;
  opened.cookie = random_token();
  store::WebSession session;
  session.hash = digest_of(opened.cookie);
  session.user = user;
  session.csrf = random_token();
  session.created = session.last_used = clock();
  session.expires = session.created + limits::session_whole;
  if (auto status = store.put_web_session(session); !status) {
    return Problem{503, "not_written", status.error().message,
                   "make room on the disk of the state folder or repair it"};
  }
  if (auto row = store.user(user); row && row->has_value()) {
    (*row)->last_login = session.created;
    (void)store.put_user(**row);
  }
  opened.known = {user, role, session.csrf, session.hash};
  const admin::Actor actor{user, role, address};
  administration->record({Kind::login, actor.who(), {}, {}, {}, {{Field::address, address}}});
  administration->tell(admin::Administration::Level::info, "login",
                       actor.who() + " logs in from " + address, {}, {}, actor.who());
  server::log::info(actor.who() + " logs in from " + address);
  noted[session.hash] = session.last_used;
  sessions[session.hash] = std::move(session);
  return opened;
}

// --- one-time links

Result<std::string> Logins::make_link(const std::string& who, const std::string& reason,
                                      std::chrono::minutes valid) {
  Impl& me = *impl_;
  std::string token = random_token();
  const Time until = me.clock() + valid;
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(until.time_since_epoch()).count();
  if (auto status =
          me.store.put_setting(link_key, hex(digest_of(token)) + " " + std::to_string(micros));
      !status) {
    return status.error();
  }
  me.administration->record(
      {Kind::login_link_made, who, {}, {}, reason, {{Field::expires, audit::time_text(until)}}});
  return token;
}

bool Logins::Impl::link_is(const std::string& token) const {
  const auto kept = store.setting(link_key);
  if (!kept || !kept->has_value()) return false;
  const std::string& text = **kept;
  const std::size_t space = text.find(' ');
  if (space == std::string::npos) return false;
  const Time until{std::chrono::duration_cast<Time::duration>(
      std::chrono::microseconds(std::stoll(text.substr(space + 1))))};
  return same_secret(text.substr(0, space), hex(digest_of(token))) && clock() < until;
}

std::optional<Problem> Logins::check_link(const std::string& token, const std::string& address) {
  Impl& me = *impl_;
  if (const auto wait = me.tries.wait(address, me.clock())) {
    me.refused("", address, "too many wrong ones before");
    return too_often(*wait);
  }
  me.tries.tried(address, me.clock());
  if (!me.link_is(token)) {
    me.refused("", address, "a login link that is not valid (any more)");
    return Problem{401, "wrong_link", "this login link was used already, or its time is over",
                   "get a new one with 'sudo tillbridge login-link' on the server"};
  }
  me.tries.right(address, me.clock());
  return std::nullopt;
}

Outcome<Logins::Opened> Logins::open_link(const std::string& token, const std::string& user,
                                          const std::string& password, const std::string& address) {
  if (auto problem = check_link(token, address)) return *problem;
  Impl& me = *impl_;
  const auto there = me.store.user(user);
  if (!there) return Problem{503, "not_read", there.error().message, "look at the journal"};
  // Together: a link that was used and still works, or that is gone without a user, would be worse
  // than either.
  const admin::Change change{
      {"login link", admin::Role::admin, address}, "one-time login link", link_key};
  admin::UserPatch patch;
  patch.password = password;
  const auto done = there->has_value()
                        ? me.administration->change_user(change, user, patch)
                        : me.administration->add_user(change, user, admin::Role::admin, password);
  if (!done) return done.problem();
  const auto row = me.store.user(user);
  return me.open(user, row && row->has_value() ? (*row)->role : admin::Role::admin, address);
}

// --- monitoring systems

Status Logins::use_scrape_tokens(const std::filesystem::path& file) {
  return impl_->scrapers.read(file);
}

std::optional<Problem> Logins::check_scrape_token(const std::string& token,
                                                  const std::string& address) {
  Impl& me = *impl_;
  if (const auto wait = me.tries.wait(address, me.clock())) {
    me.refused("", address, "too many wrong ones before");
    return too_often(*wait);
  }
  me.tries.tried(address, me.clock());
  if (!me.scrapers.fits(token)) {
    me.refused("", address, "a token for /metrics that is not valid");
    return Problem{
        401, "wrong_token", "this token is not one of those for /metrics",
        "use one of the file that metrics_token_file in [admin] names; after a change of "
        "the file: systemctl reload tillbridged"};
  }
  me.tries.right(address, me.clock());
  return std::nullopt;
}

bool Logins::nobody_yet() const {
  const auto users = impl_->store.users();
  return users && users->empty();
}

}  // namespace tillbridge::http
