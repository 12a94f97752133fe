// Keeps dialling: one attempt after another with growing waits, and one log line per change of what
// goes wrong.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "plugin/backoff.hpp"
#include "plugin/log.hpp"

namespace tillbridge::plugin {

class Dialer {
 public:
  struct Target {
    std::string host;
    std::uint16_t port = 0;
    std::optional<transport::TlsContext> tls;
    std::string name;  ///< that the certificate must be for
  };
  using Connected = std::function<void(std::unique_ptr<transport::Stream>)>;

  Dialer(transport::Loop& loop, Target target, Log& log);

  /// Dials at once; `connected` is called for every connection, never from within a method.
  void start(Connected connected);
  /// The connection is up and works; what fails from now on is news again.
  void works();
  /// The same for one that goes on with what an earlier one began: the next attempt is a quick one
  /// however soon this one is lost.
  void resumed();
  /// The server announced that it restarts: once it is lost, the next attempts are quick ones.
  void restarts() noexcept { restarts_ = true; }
  /// The connection is gone: says why and dials again after a wait.
  void lost(Level level, const std::string& why);
  void stop();
  /// For the connections that are made from now on.
  void use(transport::TlsContext tls) { target_.tls = std::move(tls); }

  /// Logs what was not the last thing logged; a repetition goes to `debug`.
  void report(Level level, const std::string& text);
  /// "tse.example:4711"
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

 private:
  void dial();
  void wait();

  transport::Loop& loop_;
  Target target_;
  Log& log_;
  std::string address_;
  Connected connected_;
  Backoff backoff_;
  transport::Timer timer_;
  std::unique_ptr<transport::Connecting> connecting_;
  std::optional<Instant> working_since_;
  bool restarts_ = false;
  std::string last_report_;
};

}  // namespace tillbridge::plugin
