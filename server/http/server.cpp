#include "server/http/server.hpp"

#include <algorithm>
#include <optional>
#include <semaphore>
#include <string_view>
#include <utility>
#include <variant>

#include <nlohmann/json.hpp>

#include "server/admin/api_body.hpp"
#include "server/http/doors.hpp"
#include "server/http/limits.hpp"
#include "server/http/logins.hpp"
#include "server/http/loop_calls.hpp"
#include "server/http/openapi.hpp"
#include "server/http/refusals.hpp"
#include "server/http/secrets.hpp"
#include "server/http/viewers.hpp"
#include "server/http/web.hpp"
#include "server/page/assets.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::http {

namespace {

using admin::Outcome;
using admin::Problem;

// __Host-: a browser takes it only over TLS, for this host alone and for every path.
constexpr const char* cookie_name = "__Host-tillbridge";

bool changes(const WebRequest& request) {
  return request.method != "GET" && request.method != "HEAD";
}

std::string cookie_of(const WebRequest& request) {
  const std::string cookies = request.header("cookie");
  std::string_view left = cookies;
  const std::string wanted = std::string(cookie_name) + "=";
  while (!left.empty()) {
    const std::size_t end = left.find(';');
    std::string_view one = left.substr(0, end);
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    if (one.rfind(wanted, 0) == 0) return std::string(one.substr(wanted.size()));
    if (end == std::string_view::npos) break;
    left.remove_prefix(end + 1);
  }
  return {};
}

/// "Authorization: Bearer TOKEN"; empty without one.
std::string bearer_of(const WebRequest& request) {
  constexpr std::string_view scheme = "bearer ";
  const std::string value = request.header("authorization");
  const bool fits =
      value.size() > scheme.size() &&
      std::equal(scheme.begin(), scheme.end(), value.begin(), [](char wanted, char character) {
        return wanted == character || (character >= 'A' && character <= 'Z' &&
                                       wanted == static_cast<char>(character - 'A' + 'a'));
      });
  return fits ? value.substr(scheme.size()) : std::string();
}

/// A page of somebody else made a browser send this.
bool from_elsewhere(const WebRequest& request) {
  const std::string site = request.header("sec-fetch-site");
  if (!site.empty() && site != "same-origin" && site != "none") return true;
  const std::string origin = request.header("origin");
  return !origin.empty() && origin != "https://" + request.header("host");
}

WebReply web_reply(admin::Reply&& reply) {
  if (reply.elsewhere) {
    const auto work = std::move(reply.elsewhere);
    reply = work();
  }
  WebReply web;
  web.status = reply.status;
  web.content_type = std::move(reply.content_type);
  web.body = std::move(reply.body);
  web.download = std::move(reply.download);
  if (!reply.file_name.empty()) {
    web.headers.emplace_back("Content-Disposition",
                             "attachment; filename=\"" + reply.file_name + "\"");
  }
  if (web.status == 429) {
    web.headers.emplace_back("Retry-After",
                             std::to_string(std::chrono::seconds(limits::lockout).count()));
  }
  return web;
}

admin::Reply json_reply(const nlohmann::json& json) {
  admin::Reply reply;
  reply.body = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return reply;
}

nlohmann::json me_document(const std::string& user, admin::Role role, const std::string& csrf) {
  return {
      {"user", user}, {"role", role == admin::Role::admin ? "admin" : "viewer"}, {"csrf", csrf}};
}

WebReply asset_reply(const WebRequest& request, const page::Asset& asset) {
  WebReply reply;
  reply.content_type = asset.content_type;
  reply.headers = {{"Content-Security-Policy", std::string(page::content_security_policy)},
                   {"Cache-Control", std::string(page::cache_control)},
                   {"ETag", std::string(asset.etag)}};
  if (request.header("if-none-match") == asset.etag) {
    reply.status = 304;
  } else {
    reply.body = asset.content;
  }
  return reply;
}

WebReply busy() {
  return web_problem(503, "busy", "the server has no time for this request; nothing was changed",
                     "try again in a moment");
}

}  // namespace

struct Server::Impl {
  Impl(transport::Loop& given_loop, admin::Administration& given_administration,
       admin::Api& given_api, Logins& given_logins)
      : administration(given_administration),
        api(given_api),
        logins(given_logins),
        viewers(given_loop, given_administration.events(), given_logins),
        calls(given_loop, limits::loop_answer),
        web([this](const WebRequest& request) { return answer(request); }),
        doors([this](Connection& connection) { web.serve(connection); }) {}

  // On a connection's thread.
  WebReply answer(const WebRequest& request);
  WebReply log_in(const WebRequest& request);
  WebReply log_in_once(const WebRequest& request);
  WebReply opened(const Outcome<Logins::Opened>& outcome);
  /// The password of a request that sets one, if whoever asks may: hashing it takes long.
  std::optional<WebReply> prepare_password(const WebRequest& request);
  template <typename Work>
  std::optional<WebReply> with_time_for_a_password(const Work& work);

  // On the loop's thread.
  struct Caller {
    admin::Actor actor;
    std::optional<Logins::Known> known;  ///< by a login
  };
  Outcome<Caller> caller(const WebRequest& request);
  admin::Reply handle(const WebRequest& request, bool& logged_out);
  admin::Reply login_link(const WebRequest& request, const Caller& who);
  void refused(const Caller& who, const std::string& action);

  admin::Administration& administration;
  admin::Api& api;
  Logins& logins;
  std::string address;  ///< of the page
  Viewers viewers;
  LoopCalls calls;
  std::counting_semaphore<limits::passwords_at_once> passwords{limits::passwords_at_once};
  Web web;
  Doors doors;
  bool stopped = false;
};

Server::Server(transport::Loop& loop, admin::Administration& administration, admin::Api& api,
               Logins& logins)
    : impl_(std::make_unique<Impl>(loop, administration, api, logins)) {}

Server::~Server() {
  stop();
}

Status Server::use_certificate(const std::filesystem::path& certificate,
                               const std::filesystem::path& key) {
  return impl_->doors.use_certificate(certificate, key);
}

void Server::reached_at(std::string address) {
  impl_->address = std::move(address);
}

Result<std::uint16_t> Server::listen_https(const std::string& host, std::uint16_t port) {
  return impl_->doors.listen_tls(host, port);
}

Status Server::listen_socket(const std::filesystem::path& path) {
  return impl_->doors.listen_unix(path);
}

void Server::stop() {
  if (std::exchange(impl_->stopped, true)) return;
  impl_->calls.close();
  impl_->web.stop();
  impl_->viewers.cut_all();
  impl_->doors.stop();
}

// --- what is asked for

WebReply Server::Impl::answer(const WebRequest& request) {
  if (!changes(request)) {
    if (const page::Asset* asset = page::find(request.path)) return asset_reply(request, *asset);
  } else if (!request.peer.local && from_elsewhere(request)) {
    note_refusal(request.peer.text(), "another site's page sent it");
    return web_problem(403, "cross_site", "another site's page sent this request",
                       "open this server's own page");
  }
  if (request.method == "POST" && request.path == "/api/v1/login") return log_in(request);
  if (request.method == "POST" && request.path == "/api/v1/login/once") return log_in_once(request);
  if (request.path == "/api/v1/users" || request.path.rfind("/api/v1/users/", 0) == 0) {
    if (auto reply = prepare_password(request)) return std::move(*reply);
  }
  admin::Reply reply;
  bool logged_out = false;
  if (!calls.run([&] { reply = handle(request, logged_out); })) return busy();
  WebReply answered = web_reply(std::move(reply));
  if (logged_out) {
    answered.headers.emplace_back(
        "Set-Cookie",
        std::string(cookie_name) + "=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
  }
  return answered;
}

Outcome<Server::Impl::Caller> Server::Impl::caller(const WebRequest& request) {
  if (request.peer.local) {
    return Caller{{request.peer.user, admin::Role::admin, request.peer.text()}, std::nullopt};
  }
  // For reading the figures and nothing else: anywhere else such a token is not even looked at.
  if (const std::string token = bearer_of(request);
      !token.empty() && request.path == "/metrics" && !changes(request)) {
    if (auto problem = logins.check_scrape_token(token, request.peer.address)) return *problem;
    return Caller{{"metrics", admin::Role::viewer, request.peer.text()}, std::nullopt};
  }
  auto known = logins.who(cookie_of(request));
  if (!known) {
    return Problem{401, "not_logged_in", "nobody is logged in here",
                   "log in; without an account: 'sudo tillbridge login-link' on the server"};
  }
  Caller who{{known->user, known->role, request.peer.text()}, known};
  if (changes(request) && !same_secret(request.header("x-csrf-token"), known->csrf)) {
    refused(who, "send a request without the page's token");
    return Problem{403, "csrf", "this request does not come from this server's page",
                   "send the token of GET /api/v1/me as X-CSRF-Token"};
  }
  return who;
}

void Server::Impl::refused(const Caller& who, const std::string& action) {
  if (!note_refusal(who.actor.address, who.actor.who() + " may not " + action)) return;
  administration.record(
      {audit::Kind::action_refused,
       who.actor.who(),
       {},
       {},
       {},
       {{audit::Field::action, action}, {audit::Field::address, who.actor.address}}});
}

admin::Reply Server::Impl::handle(const WebRequest& request, bool& logged_out) {
  admin::Request asked{
      changes(request) ? request.method : "GET", request.path, request.query, request.body, {}};
  // Says that the program lives, and nothing else.
  if (request.path == "/healthz") return api.handle(asked);
  auto outcome = caller(request);
  if (!outcome) return admin::reply_to(outcome.problem());
  const Caller& who = *outcome;
  asked.actor = who.actor;
  const std::string what = asked.method + " " + request.path;
  if (what == "GET /api/v1/me") {
    return json_reply(
        me_document(who.actor.name, who.actor.role, who.known ? who.known->csrf : ""));
  }
  if (what == "POST /api/v1/logout") {
    if (who.known) logins.logout(*who.known, request.peer.text());
    logged_out = who.known.has_value();
    return json_reply({{"changed", logged_out}});
  }
  if (what == "POST /api/v1/login/link") return login_link(request, who);
  if (what == "GET /api/v1/events") {
    std::string last = request.header("last-event-id");
    if (last.empty() && request.query.contains("last")) last = request.query.at("last");
    return viewers.begin(last, request.peer.address,
                         who.known ? std::optional(who.known->session) : std::nullopt);
  }
  if (what == "GET /api/v1/openapi.json") {
    admin::Reply reply;
    reply.body = openapi_document();
    return reply;
  }
  return api.handle(asked);
}

// --- logging in

template <typename Work>
std::optional<WebReply> Server::Impl::with_time_for_a_password(const Work& work) {
  if (!passwords.try_acquire_for(limits::loop_answer)) return busy();
  try {
    work();
  } catch (...) {
    passwords.release();
    throw;
  }
  passwords.release();
  return std::nullopt;
}

WebReply Server::Impl::opened(const Outcome<Logins::Opened>& outcome) {
  if (!outcome) return web_reply(admin::reply_to(outcome.problem()));
  WebReply reply = web_reply(
      json_reply(me_document(outcome->known.user, outcome->known.role, outcome->known.csrf)));
  reply.headers.emplace_back(
      "Set-Cookie", std::string(cookie_name) + "=" + outcome->cookie +
                        "; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=" +
                        std::to_string(std::chrono::seconds(limits::session_whole).count()));
  return reply;
}

WebReply Server::Impl::log_in(const WebRequest& request) {
  admin::Body body(request.body);
  const std::string user = body.required_text("user", admin::limits::name_bytes);
  const std::string password = body.required_text("password", limits::password_bytes);
  if (const auto& problem = body.problem()) return web_reply(admin::reply_to(*problem));
  std::optional<Outcome<std::string>> kept;
  if (!calls.run([&] { kept = logins.begin(user, request.peer.address); })) return busy();
  if (!kept->ok()) return web_reply(admin::reply_to(kept->problem()));
  bool fits = false;
  if (auto reply = with_time_for_a_password([&] { fits = password_fits(password, **kept); })) {
    return std::move(*reply);
  }
  std::optional<Outcome<Logins::Opened>> outcome;
  if (!calls.run([&] { outcome = logins.finish(user, **kept, fits, request.peer.address); })) {
    return busy();
  }
  return opened(*outcome);
}

WebReply Server::Impl::log_in_once(const WebRequest& request) {
  admin::Body body(request.body);
  const std::string token = body.required_text("token", admin::limits::name_bytes);
  const std::string user = body.required_text("user", admin::limits::name_bytes);
  const std::string password = body.required_text("password", limits::password_bytes);
  if (const auto& problem = body.problem()) return web_reply(admin::reply_to(*problem));
  std::optional<Problem> problem;
  if (!calls.run([&] { problem = logins.check_link(token, request.peer.address); })) return busy();
  if (problem) return web_reply(admin::reply_to(*problem));
  Result<std::string> hash = std::string();
  if (auto reply = with_time_for_a_password([&] { hash = hash_password(password); })) {
    return std::move(*reply);
  }
  if (!hash) {
    return web_problem(422, "weak_password", hash.error().message, "choose a longer one");
  }
  std::optional<Outcome<Logins::Opened>> outcome;
  if (!calls.run([&] {
        const Logins::Prepared prepared(logins, password, *hash);
        outcome = logins.open_link(token, user, password, request.peer.address);
      })) {
    return busy();
  }
  return opened(*outcome);
}

std::optional<WebReply> Server::Impl::prepare_password(const WebRequest& request) {
  if (request.method != "POST" && request.method != "PATCH") return std::nullopt;
  const auto body = nlohmann::json::parse(request.body, nullptr, false);
  if (!body.is_object() || !body.contains("password") || !body["password"].is_string()) {
    return std::nullopt;
  }
  const auto password = body["password"].get<std::string>();
  bool may = false;
  if (!calls.run([&] {
        const auto who = caller(request);
        may = who.ok() && who->actor.role == admin::Role::admin;
      })) {
    return busy();
  }
  if (!may || password.size() > limits::password_bytes) return std::nullopt;
  Result<std::string> hash = std::string();
  if (auto reply = with_time_for_a_password([&] { hash = hash_password(password); })) return reply;
  if (!hash) return std::nullopt;  // the API says why
  admin::Reply reply;
  bool logged_out = false;
  if (!calls.run([&] {
        const Logins::Prepared prepared(logins, password, *hash);
        reply = handle(request, logged_out);
      })) {
    return busy();
  }
  return web_reply(std::move(reply));
}

admin::Reply Server::Impl::login_link(const WebRequest& request, const Caller& who) {
  // Whoever has a login makes accounts on the page; a link opens the server to whoever reads it.
  if (!request.peer.local) {
    refused(who, "make a login link from afar");
    return admin::reply_to({403, "only_local", "a login link is made on the server itself only",
                            "run 'sudo tillbridge login-link' there, or add a user on the page"});
  }
  admin::Body body(request.body);
  const std::string reason = body.text("reason", admin::limits::reason_bytes);
  if (const auto& problem = body.problem()) return admin::reply_to(*problem);
  auto token = logins.make_link(who.actor.who(), reason, limits::link_valid);
  if (!token) {
    return admin::reply_to({503, "not_written", token.error().message,
                            "make room on the disk of the state folder or repair it"});
  }
  server::log::info(who.actor.who() + " makes a login link");
  return json_reply(
      {{"link", address + "/#once=" + *token}, {"valid_minutes", limits::link_valid.count()}});
}

}  // namespace tillbridge::http
