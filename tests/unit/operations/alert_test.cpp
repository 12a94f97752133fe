// Alert hooks: what a receiver gets, how often, and that nothing of it holds up who raised the
// alarm.
#include <array>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/operations/alert_hook.hpp"
#include "server/operations/limits.hpp"
#include "tests/unit/server/bench.hpp"

namespace tillbridge::operations {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Alert alert(const std::string& id, bool raised = true) {
  Alert made;
  made.alarm.id = id;
  made.alarm.kind = "stick_gone";
  made.alarm.stick = "1209:0001:5A2F";
  made.alarm.till = "kasse-03";
  made.alarm.text = "stick \"A\" is gone";
  made.alarm.remedy = "plug it in";
  made.raised = raised;
  made.server = "shop";
  return made;
}

/// Notes down what it is given; fails as often as it is told to; can be held.
struct Script {
  std::mutex mutex;
  std::condition_variable news;
  std::vector<std::string> sent;
  std::vector<std::uint64_t> lost;
  std::vector<std::string> reports;
  int failures = 0;
  ErrorCode code = ErrorCode::unavailable;
  bool held = false;

  bool until(const std::function<bool()>& condition) {
    std::unique_lock lock(mutex);
    return news.wait_for(lock, std::chrono::seconds(20), condition);
  }
  void hold(bool on) {
    const std::lock_guard lock(mutex);
    held = on;
    news.notify_all();
  }
};

class ScriptedSender final : public AlertSender {
 public:
  explicit ScriptedSender(Script& script) : script_(script) {}
  Status send(const Alert& one) override {
    std::unique_lock lock(script_.mutex);
    script_.news.wait(lock, [&] { return !script_.held; });
    if (script_.failures > 0) {
      script_.failures -= 1;
      script_.sent.push_back("failed");
      script_.news.notify_all();
      return fail(script_.code, "no");
    }
    script_.sent.push_back((one.raised ? "+" : "-") + one.alarm.id);
    script_.lost.push_back(one.lost);
    script_.news.notify_all();
    return {};
  }
  void stop() override { script_.hold(false); }
  [[nodiscard]] std::string name() const override { return "the script"; }

 private:
  Script& script_;
};

class AlertHookTest : public ::testing::Test {
 protected:
  std::unique_ptr<AlertHook> hook(unsigned at_once = 1000,
                                  milliseconds interval = milliseconds(1)) {
    return std::make_unique<AlertHook>(
        std::make_unique<ScriptedSender>(script_),
        [this](bool failed, const std::string& text) {
          const std::lock_guard lock(script_.mutex);
          script_.reports.push_back((failed ? "bad: " : "good: ") + text);
          script_.news.notify_all();
        },
        AlertHook::Pace{at_once, interval, milliseconds(1)});
  }
  Script script_;
};

TEST_F(AlertHookTest, OneForTheBeginningAndOneForTheEndInOrder) {
  const auto made = hook();
  made->take(alert("a"));
  ASSERT_TRUE(script_.until([&] { return script_.sent.size() == 1; }));
  made->take(alert("a", false));
  made->take(alert("b"));
  ASSERT_TRUE(script_.until([&] { return script_.sent.size() == 3; }));
  EXPECT_THAT(script_.sent, ElementsAre("+a", "-a", "+b"));
}

TEST_F(AlertHookTest, WhatEndsBeforeItWasToldIsNotTold) {
  script_.held = true;
  const auto made = hook();
  made->take(alert("first"));  // with the sender, or about to be
  for (int turn = 0; turn < 50; ++turn) {
    made->take(alert("flutters"));
    made->take(alert("flutters", false));
  }
  made->take(alert("stays"));
  script_.hold(false);
  ASSERT_TRUE(script_.until([&] { return script_.sent.size() == 2; }));
  EXPECT_THAT(script_.sent, ElementsAre("+first", "+stays"));
}

TEST_F(AlertHookTest, AStormIsSlowedDownAndWhatIsTooMuchIsCounted) {
  script_.held = true;
  auto made = hook();
  made->take(alert("first"));
  for (std::size_t number = 0; number < limits::alerts_waiting + 30; ++number) {
    made->take(alert(std::to_string(number)));
  }
  script_.hold(false);
  // How many are sent depends on whether the thread had taken the first before the others came: the
  // end is where the last one is.
  const std::string last = "+" + std::to_string(limits::alerts_waiting + 29);
  ASSERT_TRUE(script_.until([&] { return !script_.sent.empty() && script_.sent.back() == last; }));
  std::uint64_t lost = 0;
  {
    const std::lock_guard lock(script_.mutex);
    for (const auto each : script_.lost) lost += each;
    EXPECT_EQ(lost + script_.sent.size(), limits::alerts_waiting + 31);
  }
  made.reset();
  script_.sent.clear();

  // Two at once, then nothing for an hour.
  made = hook(2, std::chrono::hours(1));
  for (const char* id : {"a", "b", "c"}) made->take(alert(id));
  ASSERT_TRUE(script_.until([&] { return script_.sent.size() == 2; }));
  made->take(alert("c", false));
  made.reset();  // does not wait for the hour
  EXPECT_THAT(script_.sent, ElementsAre("+a", "+b"));
}

TEST_F(AlertHookTest, TriesAgainAndGivesUp) {
  script_.failures = 2;
  auto made = hook();
  made->take(alert("a"));
  ASSERT_TRUE(
      script_.until([&] { return script_.sent.size() == 3 && script_.reports.size() == 2; }));
  EXPECT_THAT(script_.sent, ElementsAre("failed", "failed", "+a"));
  EXPECT_THAT(script_.reports, ElementsAre(HasSubstr("bad: "), HasSubstr("good: ")));

  script_.failures = static_cast<int>(limits::alert_attempts);
  made->take(alert("b"));
  made->take(alert("c"));
  ASSERT_TRUE(script_.until([&] { return script_.sent.back() == "+c"; }));
  EXPECT_EQ(script_.sent.size(), 3 + limits::alert_attempts + 1);
  EXPECT_EQ(script_.lost.back(), 1U);

  script_.code = ErrorCode::refused;  // another attempt would not better it
  script_.failures = 1;
  made->take(alert("d"));
  made->take(alert("e"));
  ASSERT_TRUE(script_.until([&] { return script_.sent.back() == "+e"; }));
  EXPECT_EQ(script_.sent.size(), 3 + limits::alert_attempts + 1 + 2);
}

server::Config::Alert command(const std::string& script) {
  server::Config::Alert settings;
  settings.command = {"/bin/sh", "-c", script};
  return settings;
}

TEST(AlertCommand, KnowsTheMessageAndNothingElse) {
  const server::test::TemporaryFolder folder;
  const std::string file = (folder / "out").string();
  // Something open that must not be inherited, without FD_CLOEXEC.
  std::array<int, 2> open{};
  ASSERT_EQ(::pipe(open.data()), 0);
  ::setenv("SECRET_OF_THE_SERVER", "1", 1);
  const auto sender = make_command(
      command("exec > " + file + "; env | sort; ls /proc/self/fd | wc -l; cat; echo end"));
  const Status status = sender->send(alert("a\nb"));
  ASSERT_TRUE(status.ok()) << status.error().message;
  std::ifstream stream(file);
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  EXPECT_THAT(text, HasSubstr("TILLBRIDGE_EVENT=raised\n"));
  EXPECT_THAT(text, HasSubstr("TILLBRIDGE_KIND=stick_gone\n"));
  EXPECT_THAT(text, HasSubstr("TILLBRIDGE_TEXT=stick \"A\" is gone\n"));
  EXPECT_THAT(text, HasSubstr("TILLBRIDGE_TILL=kasse-03\n"));
  EXPECT_THAT(text, Not(HasSubstr("SECRET")));
  EXPECT_THAT(text, HasSubstr("\n4\nend\n")) << "0, 1, 2 and what ls opened";
  for (const int fd : open) ::close(fd);
}

TEST(AlertCommand, FailuresAreTold) {
  EXPECT_THAT(make_command(command("echo broken; exit 3"))->send(alert("a")).error().message,
              HasSubstr("exit code 3: broken"));
  EXPECT_THAT(make_command(command("kill -9 $$"))->send(alert("a")).error().message,
              HasSubstr("signal 9"));
  server::Config::Alert missing;
  missing.command = {"/nonexistent"};
  const Status status = make_command(missing)->send(alert("a"));
  EXPECT_EQ(status.error().code, ErrorCode::refused);
  const Status not_found = make_command(command("/nonexistent"))->send(alert("a"));
  EXPECT_EQ(not_found.error().code, ErrorCode::refused);
  EXPECT_THAT(not_found.error().message, HasSubstr("exit code 127: "));
  // A talker is read to its end.
  EXPECT_TRUE(make_command(command("yes | head -c 1000000"))->send(alert("a")).ok());
}

TEST(AlertCommand, IsEndedAfterItsTimeWithAllThatItStarted) {
  const server::test::TemporaryFolder folder;
  const std::string file = (folder / "child").string();
  server::Config::Alert settings = command("sleep 1000 & echo $! > " + file + "; wait");
  settings.time_limit = std::chrono::seconds(1);
  EXPECT_THAT(make_command(settings)->send(alert("a")).error().message,
              HasSubstr("took longer than 1 s"));
  std::ifstream stream(file);
  int child = 0;
  ASSERT_TRUE(stream >> child);
  // Killed; gone, or a zombie that waits for whoever collects orphans, as soon as the kernel comes
  // to it.
  const auto gone = [&] {
    std::ifstream state("/proc/" + std::to_string(child) + "/stat");
    const std::string text((std::istreambuf_iterator<char>(state)), {});
    return text.empty() || text.find(") Z") != std::string::npos;
  };
  for (int turn = 0; turn < 10000 && !gone(); ++turn) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  EXPECT_TRUE(gone());
}

TEST(AlertCommand, StopEndsARunningOne) {
  const auto sender = make_command(command("sleep 1000"));
  Status status;
  std::thread thread([&] { status = sender->send(alert("a")); });
  sender->stop();
  thread.join();
  EXPECT_FALSE(status.ok());
}

using Ssl = std::unique_ptr<SSL, void (*)(SSL*)>;

/// Answers one request after the other on loopback, and keeps what it got. With TLS if it is given
/// the name of a certificate.
class Receiver {
 public:
  explicit Receiver(const std::string& certificate = {})
      : socket_(::socket(AF_INET, SOCK_STREAM, 0)), context_(nullptr, &SSL_CTX_free) {
    if (!certificate.empty()) {
      ::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes to clients that have turned away
      const auto& pki = server::test::Certificates::get();
      context_.reset(SSL_CTX_new(TLS_server_method()));
      EXPECT_EQ(
          SSL_CTX_use_certificate_chain_file(context_.get(), pki.certificate(certificate).c_str()),
          1);
      EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_.get(), pki.key(certificate).c_str(),
                                            SSL_FILETYPE_PEM),
                1);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(socket_, generic, size), 0);
    EXPECT_EQ(::listen(socket_, 8), 0);
    ::getsockname(socket_, generic, &size);
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Receiver() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
  }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;
  Receiver(Receiver&&) = delete;
  Receiver& operator=(Receiver&&) = delete;

  void answers(std::string text) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(text);
  }
  /// The last request.
  [[nodiscard]] std::string got() const {
    const std::lock_guard lock(mutex_);
    return got_;
  }

  std::uint16_t port = 0;

 private:
  void serve() {
    for (;;) {
      const int connection = ::accept(socket_, nullptr, nullptr);
      if (connection < 0) return;
      const Ssl ssl(context_ ? SSL_new(context_.get()) : nullptr, &SSL_free);
      if (ssl) SSL_set_fd(ssl.get(), connection);
      if (ssl && SSL_accept(ssl.get()) != 1) {
        ::close(connection);
        continue;
      }
      std::string request;
      std::array<char, 4096> buffer{};
      while (request.find("}") == std::string::npos) {
        const ssize_t size = ssl ? SSL_read(ssl.get(), buffer.data(), buffer.size())
                                 : ::read(connection, buffer.data(), buffer.size());
        if (size <= 0) break;
        request.append(buffer.data(), static_cast<std::size_t>(size));
      }
      std::string answer;
      {
        const std::lock_guard lock(mutex_);
        got_ = std::move(request);
        answer = answer_;
      }
      if (ssl) {
        (void)SSL_write(ssl.get(), answer.data(), static_cast<int>(answer.size()));
        (void)SSL_shutdown(ssl.get());
      } else {
        (void)!::write(connection, answer.data(), answer.size());
      }
      ::close(connection);
    }
  }
  int socket_;
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  mutable std::mutex mutex_;  // of the two below
  std::string answer_ = "HTTP/1.1 204 No Content\r\n\r\n";
  std::string got_;
  std::thread thread_;
};

TEST(AlertWebhook, PostsJson) {
  Receiver receiver;
  server::Config::Alert settings;
  settings.webhook = "http://127.0.0.1:" + std::to_string(receiver.port) + "/hook?x=1";
  settings.time_limit = std::chrono::seconds(5);
  const auto sender = make_webhook(settings);
  const Status status = sender->send(alert("a"));
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_THAT(receiver.got(), StartsWith("POST /hook?x=1 HTTP/1.1\r\n"));
  EXPECT_THAT(receiver.got(), HasSubstr("Content-Type: application/json\r\n"));
  EXPECT_THAT(receiver.got(), HasSubstr(R"("event":"raised")"));
  EXPECT_THAT(receiver.got(), HasSubstr(R"("text":"stick \"A\" is gone")"));
  EXPECT_THAT(sender->name(), Not(HasSubstr("hook?")));

  receiver.answers("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(sender->send(alert("a")).error().code, ErrorCode::unavailable);
  receiver.answers("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(sender->send(alert("a")).error().code, ErrorCode::refused);
  receiver.answers(
      "HTTP/1.1 302 Elsewhere\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(sender->send(alert("a")).error().code, ErrorCode::refused) << "not followed";
  receiver.answers("HTTP/1.1 200 OK\r\n\r\n" + std::string(1U << 20U, 'x'));
  EXPECT_TRUE(sender->send(alert("a")).ok()) << "an endless answer is not read to its end";
  receiver.answers({});
  EXPECT_EQ(sender->send(alert("a")).error().code, ErrorCode::unavailable);
}

TEST(AlertWebhook, HttpsIsForWhomItTrustsAndCarriesTheToken) {
  const auto& pki = server::test::Certificates::get();
  const server::test::TemporaryFolder folder;
  Receiver receiver("server");
  server::Config::Alert settings;
  settings.webhook = "https://127.0.0.1:" + std::to_string(receiver.port) + "/hook";
  settings.time_limit = std::chrono::seconds(5);
  settings.token_file = folder / "hook.token";
  server::test::write_file(settings.token_file, "open sesame\nand not this\n");

  // Neither the system's authorities nor another one know it.
  for (const auto& authority :
       {std::filesystem::path(), pki.certificate("stranger").parent_path() / "authority.crt"}) {
    settings.authority = authority;
    EXPECT_EQ(make_webhook(settings)->send(alert("a")).error().code, ErrorCode::unavailable);
  }
  EXPECT_EQ(receiver.got(), "") << "no token before it is known who it is";
  settings.authority = pki.authority();
  const auto sender = make_webhook(settings);
  const Status status = sender->send(alert("a"));
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_THAT(receiver.got(), StartsWith("POST /hook HTTP/1.1\r\n"));
  EXPECT_THAT(receiver.got(), HasSubstr("Authorization: Bearer open sesame\r\n"));
  EXPECT_THAT(receiver.got(), HasSubstr(R"("event":"raised")"));

  server::test::write_file(settings.token_file, "another\n");
  ASSERT_TRUE(sender->send(alert("a", false)).ok());
  EXPECT_THAT(receiver.got(), HasSubstr("Authorization: Bearer another\r\n"));
  EXPECT_THAT(receiver.got(), HasSubstr(R"("event":"cleared")"));
  std::filesystem::remove(settings.token_file);
  EXPECT_EQ(sender->send(alert("a")).error().code, ErrorCode::io);

  // The same authority, but another name.
  Receiver other("kasse-02");
  settings.token_file.clear();
  settings.webhook = "https://127.0.0.1:" + std::to_string(other.port) + "/hook";
  EXPECT_EQ(make_webhook(settings)->send(alert("a")).error().code, ErrorCode::unavailable);
  EXPECT_EQ(other.got(), "");
}

}  // namespace
}  // namespace tillbridge::operations
