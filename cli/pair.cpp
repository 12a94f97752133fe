// `tillbridge pair`: makes this machine a till of a USB server.
#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <variant>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "channel/pairing/limits.hpp"
#include "channel/pairing/line.hpp"
#include "channel/pairing/till_conversation.hpp"
#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "cli/till_folder.hpp"
#include "cli/verb.hpp"

namespace tillbridge::cli {

namespace {

struct PairOptions {
  std::string line;
  std::filesystem::path config = "/etc/tillbridge/till.toml";
  std::string name;
  std::string user;
  double wait_s = 0;  // 0: for as long as it takes
};

constexpr Duration again_after = std::chrono::seconds(2);
/// From the connection to the server's first word.
constexpr Duration answer_within = std::chrono::seconds(15);

void say(const std::string& text) {
  (void)std::fprintf(stdout, "%s\n", text.c_str());
  (void)std::fflush(stdout);
}

void complain(const std::string& text) {
  (void)std::fprintf(stderr, "tillbridge pair: %s\n", text.c_str());
}

std::string machine_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  const std::string whole = name.data();
  return whole.substr(0, std::min(whole.find('.'), pairing::limits::till_name_bytes));
}

/// The RDP client that is installed here, the newer generation of FreeRDP first.
std::string rdp_client() {
  constexpr std::array<const char*, 5> known = {"xfreerdp3", "sdl-freerdp3", "wlfreerdp3",
                                                "xfreerdp", "wlfreerdp"};
  const char* path = std::getenv("PATH");
  for (const char* client : known) {
    std::istringstream folders(path == nullptr ? "" : path);
    for (std::string folder; std::getline(folders, folder, ':');) {
      if (::access((folder + "/" + client).c_str(), X_OK) == 0) return client;
    }
  }
  return known.front();
}

std::string date_text(pairing::Time time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &utc)};
}

/// Asks, and while an administrator has to decide, asks again.
class Pairing {
 public:
  Pairing(pairing::Line line, pairing::TillConversation::Question question, pairing::TillKey key,
          TillFolder& folder, std::optional<Duration> patience)
      : line_(std::move(line)),
        question_(std::move(question)),
        key_(std::move(key)),
        folder_(folder),
        again_(loop_),
        silence_(loop_),
        patience_(loop_),
        signals_(loop_, {SIGINT, SIGTERM}, [this](int) { end(Exit::interrupted, "interrupted"); }) {
    if (patience) {
      patience_.arm(loop_.now() + *patience, [this] {
        end(Exit::interrupted, "nobody approved this till in time; run it again to go on waiting");
      });
    }
  }

  Exit run() {
    auto tls = transport::TlsContext::trusting(line_.authority, pairing::alpn);
    if (!tls) {
      complain(tls.error().message);
      return Exit::failed;
    }
    tls_ = std::move(*tls);
    dial();
    loop_.run();
    return exit_;
  }

 private:
  void dial() {
    connecting_ = transport::connect(
        loop_, line_.host, line_.port, tls_, pairing::server_name,
        [this](Result<std::unique_ptr<transport::Stream>> result) {
          connecting_.reset();
          if (result) return connected(std::move(*result));
          const Error& error = result.error();
          if (waiting_ && error.code != ErrorCode::refused) {
            return later();
          }
          end(error.code == ErrorCode::refused ? Exit::refused : Exit::unreachable, error.message);
        });
  }

  void connected(std::unique_ptr<transport::Stream> stream) {
    stream_ = std::move(stream);
    const transport::Peer& peer = stream_->peer();
    if (!waiting_ && line_.authority.empty()) tell_of_stranger(peer.authority);
    conversation_.emplace(key_, question_, peer.binding, peer.authority);
    silence_.arm(loop_.now() + answer_within,
                 [this] { end(Exit::unreachable, "the server does not answer"); });
    stream_->start({[this](ByteView bytes) {
                      conversation_->receive(bytes);
                      pump();
                    },
                    {},
                    [this](const std::optional<Error>& error) { closed(error); }});
    flush();
  }

  // The line said nothing of the server: only the words tell that it is the right one.
  void tell_of_stranger(const std::string& authority) {
    const auto digest = pairing::from_hex(authority, pairing::Digest().size());
    if (!digest) return;
    say("the USB server at " + line_.host + " has the words   " + pairing::words_of(*digest) +
        "\n(authority, SHA-256 " + authority + ")");
  }

  void pump() {
    while (conversation_) {
      auto event = conversation_->poll_event();
      if (!event) break;
      silence_.cancel();
      if (std::holds_alternative<pairing::TillConversation::Waiting>(*event)) {
        wait_for_approval();
      } else if (const auto* paired = std::get_if<pairing::TillConversation::Paired>(&*event)) {
        store(*paired);
        return;
      } else {
        refused(std::get<pairing::TillConversation::Failed>(*event));
        return;
      }
    }
    flush();
  }

  void wait_for_approval() {
    if (std::exchange(waiting_, true)) return;
    const auto authority = pairing::from_hex(stream_->peer().authority, pairing::Digest().size());
    if (!authority) return;
    say("waiting for the administrator to approve this till as \"" + question_.name +
        "\" (page: pending tills; or: tillbridge till approve)\n"
        "he must see the same four words there:   " +
        pairing::words_of(pairing::words_digest(key_.fingerprint(), *authority)));
  }

  void refused(const pairing::TillConversation::Failed& failed) {
    // Time was over on that connection, not for this till.
    if (waiting_ && failed.why == pairing::Refusal::limit) return later();
    end(failed.why ? Exit::refused : Exit::failed, failed.error.message);
  }

  void store(const pairing::TillConversation::Paired& paired) {
    if (auto status = folder_.store(line_, paired.granted, key_); !status) {
      return end(Exit::failed,
                 status.error().message + "; the certificate is lost, so ask for a new token");
    }
    conversation_->stored();
    flush();
    say("this machine is till \"" + paired.granted.name + "\" of the USB server " + line_.host +
        " now\n" + "its certificate is good until " + date_text(paired.facts.not_after) +
        " and is renewed by itself\n" + folder_.config().string() + " is written; connect with: " +
        rdp_client() + " /v:TERMINAL-SERVER /dvc:tillbridge" + folder_.config_argument());
    done_ = true;
    stream_->close();
  }

  void closed(const std::optional<Error>& error) {
    stream_.reset();
    if (done_) return end(Exit::success, {});
    if (waiting_) return later();
    end(Exit::unreachable,
        error ? error->message : "the server closed the connection; its log says why");
  }

  void later() {
    stream_.reset();
    conversation_.reset();
    again_.arm(loop_.now() + again_after, [this] { dial(); });
  }

  void flush() {
    if (!stream_ || !conversation_) return;
    if (Bytes output = conversation_->take_output(); !output.empty()) {
      stream_->write(std::move(output));
    }
  }

  void end(Exit exit, const std::string& why) {
    if (std::exchange(ended_, true)) return;
    if (!why.empty()) complain(why);
    exit_ = exit;
    loop_.stop();
  }

  pairing::Line line_;
  pairing::TillConversation::Question question_;
  pairing::TillKey key_;
  TillFolder& folder_;
  transport::Loop loop_;
  std::optional<transport::TlsContext> tls_;
  transport::Timer again_, silence_, patience_;
  transport::SignalWatch signals_;
  std::unique_ptr<transport::Connecting> connecting_;
  std::unique_ptr<transport::Stream> stream_;
  std::optional<pairing::TillConversation> conversation_;
  bool waiting_ = false, done_ = false, ended_ = false;
  Exit exit_ = Exit::failed;
};

Exit pair(const PairOptions& options) {
  auto line = pairing::parse_line(options.line);
  if (!line) {
    complain(line.error().message);
    return Exit::usage;
  }
  pairing::TillConversation::Question question;
  question.name = options.name;
  question.software = "tillbridge " TILLBRIDGE_VERSION;
  question.token = std::exchange(line->token, {});
  if (question.token.empty() && question.name.empty()) question.name = machine_name();
  auto folder = TillFolder::open(options.config, options.user);
  if (!folder) {
    complain(folder.error().message);
    return Exit::failed;
  }
  // Without a token the administrator approves a key, so it has to be the same until then.
  auto key = question.token.empty() ? folder->pending_key()
                                    : Result<pairing::TillKey>(pairing::TillKey::make());
  if (!key) {
    complain(key.error().message);
    return Exit::failed;
  }
  std::optional<Duration> patience;
  if (options.wait_s > 0) {
    patience = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.wait_s));
  }
  return Pairing(std::move(*line), std::move(question), std::move(*key), *folder, patience).run();
}

}  // namespace

void add_pair(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<PairOptions>();
  CLI::App* verb = app.add_subcommand(
      "pair", "make this machine a till: its key is made here and never leaves it");
  verb->add_option("line", options->line,
                   "what the administrator handed over (tb1:HOST:PORT/FINGERPRINT/TOKEN), or "
                   "HOST[:PORT] to ask without a token")
      ->required();
  verb->add_option("--config", options->config, "the till's configuration, written by this")
      ->capture_default_str();
  verb->add_option("--name", options->name,
                   "what this till wants to be called; without it as the token says, or as this "
                   "machine is called");
  verb->add_option("--user", options->user,
                   "whose RDP sessions use the till: key and certificate become this user's; "
                   "without it, who called sudo, or who runs this");
  verb->add_option("--wait", options->wait_s,
                   "seconds to wait for the administrator; without it, until he decides")
      ->check(CLI::NonNegativeNumber);
  verb->callback([options, &chosen] { chosen = [options] { return pair(*options); }; });
}

}  // namespace tillbridge::cli
