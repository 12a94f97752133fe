// The whole way in, by HTTPS and by the socket, with the real administration behind it: who gets
// what. tests/chain/admin_test.py shows the same of the real program, and what comes slowly or in
// masses.
#include "server/http/server.hpp"

#include <mutex>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/http/limits.hpp"
#include "server/http/logins.hpp"
#include "server/http/viewers.hpp"
#include "tests/unit/admin/admin_bench.hpp"

namespace tillbridge::http::test {
namespace {

using admin::test::Json;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string password = "four quiet words";
const std::string token = "d2a0c3e4f5061728", other_token = "000102030405060708090a0b0c0d0e0f";
using Headers = std::vector<std::string>;

/// What the server said.
struct Heard {
  int status = 0;
  std::string head, body;
  [[nodiscard]] std::string header(const std::string& name) const {
    const auto at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const auto from = at + name.size() + 4;
    return head.substr(from, head.find("\r\n", from) - from);
  }
  [[nodiscard]] std::string code() const {
    const Json json = Json::parse(body, nullptr, false);
    return json.is_object() && json.contains("error") ? json["error"].value("code", "") : "";
  }
};

Heard parse(const std::string& text) {
  Heard answer;
  const auto end = text.find("\r\n\r\n");
  if (text.rfind("HTTP/1.1 ", 0) != 0 || end == std::string::npos) return answer;
  answer.status = std::stoi(text.substr(9, 3));
  answer.head = text.substr(0, end + 2);
  answer.body = text.substr(end + 4);
  return answer;
}

/// Sends it, and reads until the server closes.
std::string over_tls(std::uint16_t port, const std::string& bytes) {
  const int number = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how sockets are
  if (::connect(number, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
    const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_client_method()),
                                                               &SSL_CTX_free);
    const std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context.get()), &SSL_free);
    SSL_set_fd(ssl.get(), number);
    if (SSL_connect(ssl.get()) == 1 &&
        SSL_write(ssl.get(), bytes.data(), static_cast<int>(bytes.size())) > 0) {
      std::array<char, 4096> piece{};
      for (int got = 1; got > 0;) {
        got = SSL_read(ssl.get(), piece.data(), static_cast<int>(piece.size()));
        if (got > 0) answer.append(piece.data(), static_cast<std::size_t>(got));
      }
    }
  }
  ::close(number);
  return answer;
}

int connect_to(const std::filesystem::path& path) {
  const int number = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.string().copy(std::data(to.sun_path), sizeof to.sun_path - 1);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how sockets are
  if (::connect(number, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return number;
  ::close(number);
  return -1;
}

std::string over_socket(const std::filesystem::path& path, const std::string& bytes) {
  const int number = connect_to(path);
  std::string answer;
  if (number >= 0 && ::send(number, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0) {
    std::array<char, 4096> piece{};
    for (ssize_t got = 1; got > 0;) {
      got = ::recv(number, piece.data(), piece.size(), 0);
      if (got > 0) answer.append(piece.data(), static_cast<std::size_t>(got));
    }
  }
  ::close(number);
  return answer;
}

class ServerTest : public admin::test::AdminTest {
 protected:
  ~ServerTest() override {
    server_.reset();
    stop();
    server::log::set_sink({});
  }

  admin::Accounts& accounts() override {
    logins_ = std::make_unique<Logins>(*store_, [this] { return now_; });
    return *logins_;
  }

  void SetUp() override {
    // HTTP's threads have something to say as well.
    server::log::set_sink([this](server::log::Level, const std::string& message) {
      const std::lock_guard lock(mutex_);
      log_ += message + "\n";
    });
    start();
    ASSERT_TRUE(logins_->start(*admin_).ok());
    api_->add("/metrics", [](const admin::Request& request) {
      admin::Reply reply;
      reply.body = request.method + " by " + request.actor.who();
      return reply;
    });
    api_->add("/healthz", [](const admin::Request&) { return admin::Reply{}; });
    server_ = std::make_unique<Server>(bench_.loop, *admin_, *api_, *logins_);
    const auto& pki = server::test::Certificates::get();
    ASSERT_TRUE(server_->use_certificate(pki.certificate("server"), pki.key("server")).ok());
    const auto port = server_->listen_https("127.0.0.1", 0);
    ASSERT_TRUE(port.ok()) << port.error().message;
    port_ = *port;
    ASSERT_TRUE(server_->listen_socket(socket_).ok());
  }

  std::string raw(const std::function<std::string()>& ask) {
    std::string answer;
    bool done = false;
    std::thread asking([&] {
      answer = ask();
      bench_.loop.post([&] {
        done = true;
        bench_.poke();
      });
    });
    EXPECT_TRUE(bench_.run_until([&] { return done; }));
    asking.join();
    return answer;
  }
  static std::string text(const std::string& what, const Headers& headers,
                          const std::string& body) {
    std::string bytes = what + " HTTP/1.1\r\nHost: shop:4712\r\nConnection: close\r\n";
    for (const std::string& header : headers) bytes += header + "\r\n";
    if (!body.empty()) {
      bytes += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
               "\r\n";
    }
    return bytes + "\r\n" + body;
  }
  /// `what`: "GET /api/v1/me".
  Heard ask(const std::string& what, const Headers& headers = {}, const std::string& body = "") {
    return parse(raw([&] { return over_tls(port_, text(what, headers, body)); }));
  }
  Heard ask_locally(const std::string& what, const std::string& body = "") {
    return parse(raw([&] { return over_socket(socket_, text(what, {}, body)); }));
  }

  /// What a browser sends once it is logged in.
  struct Login {
    std::string cookie, csrf, set_cookie;
    [[nodiscard]] Headers reading() const {
      return {"Cookie: a=b; my__Host-tillbridge=c; " + cookie + "; d=e"};
    }
    [[nodiscard]] Headers changing() const {
      return {"Cookie: " + cookie, "X-CSRF-Token: " + csrf, "Origin: https://shop:4712",
              "Sec-Fetch-Site: same-origin"};
    }
  };
  Login logged_in(const Heard& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    Login login;
    login.set_cookie = answer.header("Set-Cookie");
    login.cookie = login.set_cookie.substr(0, login.set_cookie.find(';'));
    login.csrf = Json::parse(answer.body).at("csrf");
    return login;
  }
  Login by_link(const std::string& user) {
    const auto link = logins_->make_link("system", "", std::chrono::minutes(15));
    return logged_in(ask("POST /api/v1/login/once", {},
                         Json{{"token", *link}, {"user", user}, {"password", password}}.dump()));
  }
  Login by_password(const std::string& user) {
    return logged_in(
        ask("POST /api/v1/login", {}, Json{{"user", user}, {"password", password}}.dump()));
  }
  Status use_tokens(const std::string& lines, mode_t mode = 0640) {
    const auto file = folder_ / "metrics.token";
    server::test::write_file(file, lines);
    ::chmod(file.c_str(), mode);
    return logins_->use_scrape_tokens(file);
  }
  static Headers bearer(const std::string& with) { return {"Authorization: Bearer " + with}; }
  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }

  Time now_ = std::chrono::system_clock::now();
  std::unique_ptr<Logins> logins_;
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
  std::filesystem::path socket_ = folder_ / "admin.sock";
  std::mutex mutex_;
  std::string log_;
};

TEST_F(ServerTest, ATokenReadsTheFiguresAndNothingElse) {
  EXPECT_EQ(ask("GET /metrics").status, 401);
  EXPECT_EQ(ask("GET /metrics", bearer(token)).status, 401);  // there are none
  now_ += limits::lockout;
  ASSERT_TRUE(use_tokens("# of prometheus\n" + token + "\n\n" + other_token + "\r\n").ok());
  const Heard read = ask("GET /metrics", bearer(token));
  EXPECT_EQ(read.status, 200);
  EXPECT_EQ(read.body, "GET by viewer metrics");
  EXPECT_EQ(ask("GET /metrics", {"authorization: bearer " + other_token}).status, 200);
  EXPECT_EQ(ask("GET /healthz", bearer(token)).status, 200);
  EXPECT_EQ(ask("GET /healthz").status, 200);
  for (const char* elsewhere :
       {"GET /api/v1/state", "GET /api/v1/me", "GET /api/v1/events", "GET /api/v1/audit",
        "GET /metrics/", "GET //metrics", "GET /api/v1/capture?stick=x", "POST /metrics",
        "DELETE /metrics", "POST /api/v1/drain", "GET /api/v1/openapi.json"}) {
    const Heard answer = ask(elsewhere, bearer(token));
    EXPECT_EQ(answer.status, 401) << elsewhere;
    EXPECT_EQ(answer.code(), "not_logged_in") << elsewhere;  // it was not even compared
  }
  EXPECT_EQ(ask("GET /metrics", {"Authorization: Basic " + token}).code(), "not_logged_in");
  EXPECT_EQ(ask("GET /metrics", {"Cookie: __Host-tillbridge=" + token}).code(), "not_logged_in");

  // Right ones are not counted, wrong ones are, as wrong passwords.
  for (std::size_t count = 0; count < 2 * limits::wrong_passwords; ++count) {
    EXPECT_EQ(ask("GET /metrics", bearer(token)).status, 200);
  }
  for (std::size_t count = 0; count < limits::wrong_passwords; ++count) {
    const Heard answer = ask("GET /metrics", bearer(token + std::to_string(count)));
    EXPECT_EQ(answer.status, 401);
    EXPECT_EQ(answer.code(), "wrong_token");
  }
  const Heard wait = ask("GET /metrics", bearer(token));
  EXPECT_EQ(wait.status, 429);
  EXPECT_NE(wait.header("Retry-After"), "");
  EXPECT_EQ(ask("POST /api/v1/login", {}, R"({"user": "anna", "password": "x"})").status, 429);
  EXPECT_EQ(ask("GET /healthz", bearer(token)).status, 200);
  now_ += limits::lockout;
  EXPECT_EQ(ask("GET /metrics", bearer(token)).status, 200);
  EXPECT_THAT(log(), HasSubstr("a token for /metrics that is not valid"));
  EXPECT_THAT(log(), Not(HasSubstr(token)));
  EXPECT_THAT(audit_kinds(), Contains("login_refused"));
  EXPECT_THAT(audit().dump(), Not(HasSubstr(token)));
}

TEST_F(ServerTest, TokensThatAreNoneAreSaidAndNobodyGetsIn) {
  ASSERT_TRUE(use_tokens(token + "\n").ok());
  const auto refused = [&](const std::string& lines, mode_t mode, const std::string& why) {
    const Status status = use_tokens(lines, mode);
    EXPECT_FALSE(status.ok()) << why;
    EXPECT_THAT(status.ok() ? "" : status.error().message, HasSubstr(why));
    EXPECT_EQ(logins_->check_scrape_token(token, "192.0.2.9")->status, 401) << why;
    now_ += limits::lockout;
    ASSERT_TRUE(use_tokens(token + "\n", 0600).ok());
    EXPECT_FALSE(logins_->check_scrape_token(token, "192.0.2.9"));
  };
  refused(token, 0644, "everybody may read");
  refused("", 0600, "there is none");
  refused("# " + token + "\n", 0600, "there is none");
  refused(token + "\n" + token.substr(1) + "\n", 0600, "16 to 512");
  refused(token + " " + token + "\n", 0600, "16 to 512");
  refused(std::string(513, 'x') + "\n", 0600, "16 to 512");
  std::string many;
  for (std::size_t count = 0; count <= limits::scrape_tokens; ++count) many += token + "\n";
  refused(many, 0600, "more than 8");
  EXPECT_FALSE(logins_->use_scrape_tokens(folder_ / "there-is-none").ok());
  EXPECT_TRUE(logins_->check_scrape_token(token, "192.0.2.9"));
  EXPECT_TRUE(logins_->use_scrape_tokens({}).ok());
  EXPECT_TRUE(logins_->check_scrape_token(token, "192.0.2.9"));
}

TEST_F(ServerTest, ALoginIsGoodForThisServersPageAlone) {
  EXPECT_EQ(ask("GET /api/v1/me").status, 401);
  const Login anna = by_link("anna");
  EXPECT_EQ(anna.set_cookie.rfind("__Host-tillbridge=", 0), 0U) << anna.set_cookie;
  for (const char* flag : {"; Path=/;", "; Secure;", "; HttpOnly;", "; SameSite=Strict;"}) {
    EXPECT_THAT(anna.set_cookie, HasSubstr(flag));
  }
  EXPECT_THAT(anna.set_cookie, HasSubstr("Max-Age=604800"));
  const Heard me = ask("GET /api/v1/me", anna.reading());
  EXPECT_EQ(me.status, 200);
  EXPECT_EQ(Json::parse(me.body), (Json{{"user", "anna"}, {"role", "admin"}, {"csrf", anna.csrf}}));
  EXPECT_EQ(ask("GET /api/v1/me", {"Cookie: x" + anna.cookie}).status, 401);
  EXPECT_EQ(ask("GET /api/v1/me", {"Cookie: " + anna.cookie + "A"}).status, 401);
  EXPECT_EQ(ask("GET /metrics", anna.reading()).body, "GET by admin anna");

  const std::string on = R"({"on": true})";
  const auto drain = [&](const Headers& headers) {
    return ask("POST /api/v1/drain", headers, on).code();
  };
  const std::string cookie = "Cookie: " + anna.cookie, right = "X-CSRF-Token: " + anna.csrf;
  EXPECT_EQ(drain({cookie}), "csrf");
  EXPECT_EQ(drain({cookie, "X-CSRF-Token: "}), "csrf");
  EXPECT_EQ(drain({cookie, "X-CSRF-Token: " + anna.csrf.substr(1)}), "csrf");
  EXPECT_EQ(drain({right}), "not_logged_in");
  for (const char* foreign :
       {"Origin: https://evil.example", "Origin: null", "Origin: http://shop:4712",
        "Origin: https://shop", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"}) {
    EXPECT_EQ(drain({cookie, right, foreign}), "cross_site") << foreign;
    EXPECT_EQ(ask("POST /api/v1/login", {foreign}, on).code(), "cross_site") << foreign;
  }
  EXPECT_FALSE(state().at("server").at("draining").get<bool>());
  EXPECT_EQ(drain({cookie, right, "Sec-Fetch-Site: none"}), "");
  EXPECT_EQ(drain(anna.changing()), "");
  EXPECT_TRUE(state().at("server").at("draining").get<bool>());

  const Heard out = ask("POST /api/v1/logout", anna.changing(), "{}");
  EXPECT_THAT(out.header("Set-Cookie"), HasSubstr("__Host-tillbridge=; "));
  EXPECT_THAT(out.header("Set-Cookie"), HasSubstr("Max-Age=0"));
  EXPECT_EQ(ask("GET /api/v1/me", anna.reading()).status, 401);
}

TEST_F(ServerTest, AViewerLooksAndNobodyMakesLinksFromAfar) {
  const Login anna = by_link("anna");
  EXPECT_EQ(ask("POST /api/v1/login/link", anna.changing(), "{}").code(), "only_local");
  const std::string ben = Json{{"name", "ben"}, {"role", "viewer"}, {"password", password}}.dump();
  EXPECT_EQ(ask("POST /api/v1/users", anna.changing(), ben).status, 200);
  const Login viewer = by_password("ben");
  EXPECT_EQ(ask("GET /api/v1/state", viewer.reading()).status, 200);
  EXPECT_EQ(ask("GET /metrics", viewer.reading()).body, "GET by viewer ben");
  const std::string eve = Json{{"name", "eve"}, {"role", "admin"}, {"password", password}}.dump();
  EXPECT_EQ(ask("POST /api/v1/users", viewer.changing(), eve).status, 403);
  EXPECT_EQ(ask("PATCH /api/v1/users/ben", viewer.changing(), R"({"role": "admin"})").status, 403);
  EXPECT_EQ(ask("POST /api/v1/drain", viewer.changing(), R"({"on": true})").status, 403);
  EXPECT_EQ(ask("POST /api/v1/login/link", viewer.changing(), "{}").status, 403);
  EXPECT_FALSE(state().at("server").at("draining").get<bool>());
  EXPECT_EQ(store_->users()->size(), 2U);

  server_->reached_at("https://shop:4712");
  const Json link = Json::parse(ask_locally("POST /api/v1/login/link", "{}").body);
  const std::string address = link.at("link");
  ASSERT_EQ(address.rfind("https://shop:4712/#once=", 0), 0U);
  const auto once = [&](const std::string& with, const std::string& secret) {
    return ask("POST /api/v1/login/once", {},
               Json{{"token", with}, {"user", "cleo"}, {"password", secret}}.dump());
  };
  const std::string link_token = address.substr(24);
  EXPECT_EQ(once(link_token, "short").code(), "weak_password");
  EXPECT_EQ(once(link_token + "A", password).status, 401);
  EXPECT_EQ(once(link_token, password).status, 200);
  EXPECT_EQ(once(link_token, password).status, 401);
}

TEST_F(ServerTest, GuessesAreCountedAndWhoeverIsInGoesOn) {
  const Login anna = by_link("anna");
  const auto guess = [&](const std::string& user) {
    return ask("POST /api/v1/login", {}, Json{{"user", user}, {"password", "no"}}.dump());
  };
  for (std::size_t count = 0; count < limits::wrong_passwords; ++count) {
    const Heard wrong = guess(count % 2 == 0 ? "anna" : "nobody");
    EXPECT_EQ(wrong.status, 401);
    EXPECT_EQ(wrong.code(), "wrong_login");
    EXPECT_EQ(wrong.header("Set-Cookie"), "");
  }
  const Heard wait = guess("anna");
  EXPECT_EQ(wait.status, 429);
  EXPECT_EQ(wait.header("Retry-After"), "60");
  EXPECT_EQ(ask("GET /api/v1/me", anna.reading()).status, 200);
  EXPECT_EQ(ask_locally("GET /api/v1/me").status, 200);
}

TEST_F(ServerTest, WhatIsNoRequestOfOursIsRefused) {
  const auto told = [&](const std::string& bytes) {
    return parse(raw([&] { return over_socket(socket_, bytes); })).status;
  };
  const std::string post = "POST /api/v1/drain HTTP/1.1\r\nContent-Type: application/json\r\n";
  const std::string on = R"({"on": true})", length = "Content-Length: 12\r\n";
  const auto big = [&](std::size_t bytes) {
    return "Content-Length: " + std::to_string(bytes) + "\r\n\r\n" + std::string(bytes, ' ');
  };
  EXPECT_EQ(told(post + big(limits::body_bytes + 1)), 413);
  EXPECT_EQ(told(post + "Connection: close\r\n" + big(limits::body_bytes)), 400);  // no JSON
  EXPECT_EQ(told(post + "Content-Length: 99999999999999999999\r\n\r\n"), 400);
  EXPECT_EQ(told(post + "Content-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(told(post + length + length + "\r\n" + on), 400);
  EXPECT_EQ(told(post + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 411);
  EXPECT_EQ(told(post + length + "Content-Encoding: gzip\r\n\r\n" + on), 415);
  for (const char* type :
       {"text/plain", "application/x-www-form-urlencoded", "application/jsonx"}) {
    EXPECT_EQ(told("POST /api/v1/drain HTTP/1.1\r\nContent-Type: " + std::string(type) + "\r\n" +
                   length + "\r\n" + on),
              415)
        << type;
  }
  EXPECT_EQ(told("TRACE / HTTP/1.1\r\n\r\n"), 405);
  EXPECT_EQ(told("PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 405);
  EXPECT_EQ(told("GET /" + std::string(limits::target_bytes, 'a') + " HTTP/1.1\r\n\r\n"), 414);
  EXPECT_EQ(told("GET / HTTP/1.1\r\nX: " + std::string(limits::head_bytes, 'y') + "\r\n\r\n"), 431);
  EXPECT_FALSE(state().at("server").at("draining").get<bool>());
  EXPECT_EQ(told(post + "Connection: close\r\n" + length + "\r\n" + on), 200);
  EXPECT_TRUE(state().at("server").at("draining").get<bool>());
}

TEST_F(ServerTest, ThePageIsForEverybodyAndNothingBesideIt) {
  const Heard page = ask("GET /");
  EXPECT_EQ(page.status, 200);
  EXPECT_THAT(page.body, HasSubstr("<!doctype html>"));
  EXPECT_THAT(page.header("Content-Security-Policy"), HasSubstr("default-src 'none'"));
  EXPECT_EQ(page.header("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(page.header("X-Frame-Options"), "DENY");
  EXPECT_EQ(page.header("Referrer-Policy"), "no-referrer");
  EXPECT_EQ(ask("GET /", {"If-None-Match: " + page.header("ETag")}).status, 304);
  const Login anna = by_link("anna");
  const Heard answer = ask("GET /api/v1/state", anna.reading());
  EXPECT_EQ(answer.header("Cache-Control"), "no-store");
  EXPECT_THAT(answer.header("Content-Security-Policy"), HasSubstr("frame-ancestors 'none'"));
  for (const char* path : {"/../../../etc/passwd", "/..%2f..%2fetc%2fpasswd", "//etc/passwd",
                           "/app.js/../x", "/app.js%00", "/APP.JS", "/index.html/",
                           "/api/v1/state/", "/api/v1//state", "/metrics%2f"}) {
    const int stranger = ask("GET " + std::string(path)).status;
    EXPECT_TRUE(stranger == 401 || stranger == 400) << path << " " << stranger;
    const int known = ask("GET " + std::string(path), anna.reading()).status;
    EXPECT_TRUE(known == 404 || known == 400) << path << " " << known;
  }
  struct stat found {};
  ASSERT_EQ(::lstat(socket_.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0660U);
  const auto& pki = server::test::Certificates::get();
  const auto key = folder_ / "open.key";
  std::filesystem::copy_file(pki.key("server"), key);
  ASSERT_EQ(::chmod(key.c_str(), 0644), 0);
  EXPECT_FALSE(server_->use_certificate(pki.certificate("server"), key).ok());
  EXPECT_EQ(Json::parse(ask_locally("GET /api/v1/me").body).at("role"), "admin");
}

TEST_F(ServerTest, AStreamOfEventsEndsWithItsLogin) {
  const Login anna = by_link("anna");
  EXPECT_EQ(ask("GET /api/v1/events").status, 401);
  std::string heard;
  bool over = false;
  std::thread viewer([&] {
    heard = over_tls(port_, text("GET /api/v1/events?last=other.7", anna.reading(), ""));
    bench_.loop.post([&] {
      over = true;
      bench_.poke();
    });
  });
  ASSERT_TRUE(until([&] { return admin_->events().heard_by_anybody(); }));
  good("POST", "/drain", {{"on", true}});
  settle();
  EXPECT_EQ(ask("POST /api/v1/logout", anna.changing(), "{}").status, 200);
  ASSERT_TRUE(bench_.run_until([&] { return over; }));
  viewer.join();
  EXPECT_THAT(heard, HasSubstr("text/event-stream"));
  EXPECT_THAT(heard, HasSubstr("event: reload"));
  EXPECT_THAT(heard, HasSubstr("event: state"));
  EXPECT_THAT(heard, HasSubstr("\"draining\":true"));
}

TEST_F(ServerTest, NobodyTakesAllPlaces) {
  std::vector<int> idle;
  for (std::size_t count = 0; count <= limits::connections_per_address; ++count) {
    idle.push_back(connect_to(socket_));
    ASSERT_GE(idle.back(), 0);
  }
  timeval patience{20, 0};  // less than what any idle connection has
  ::setsockopt(idle.front(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  char byte = 0;
  EXPECT_EQ(::recv(idle.front(), &byte, 1, 0), 0) << "the one that waits longest makes room";
  EXPECT_EQ(ask_locally("GET /healthz").status, 200);
  for (const int number : idle) ::close(number);

  Viewers viewers(bench_.loop, admin_->events(), *logins_);
  std::vector<admin::Reply> streams;
  const auto begin = [&](const std::string& address) {
    streams.push_back(viewers.begin("", address, std::nullopt));
    return streams.back().status;
  };
  for (std::size_t count = 0; count < limits::streams_per_address; ++count) {
    EXPECT_EQ(begin("192.0.2.1"), 200);
  }
  EXPECT_EQ(begin("192.0.2.1"), 429);
  for (std::size_t count = limits::streams_per_address; count < limits::streams; ++count) {
    EXPECT_EQ(begin("192.0.2." + std::to_string(2 + count)), 200);
  }
  EXPECT_EQ(begin("192.0.2.200"), 429);
  streams.clear();  // they have left
  EXPECT_EQ(begin("192.0.2.1"), 200);
}

}  // namespace
}  // namespace tillbridge::http::test
