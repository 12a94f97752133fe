// Renews the till's certificate over the link when two thirds of its life are over.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "channel/bytes/reader.hpp"
#include "channel/pairing/till_key.hpp"
#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "plugin/configuration.hpp"
#include "plugin/log.hpp"

namespace tillbridge::plugin {

/// The new key is made here, is in memory until its certificate is there, and goes with it into the
/// till's one file: whatever is cut off in between, the file holds a pair that works. Sessions of
/// the same till in other processes see the new file too, and do not renew again.
class Renewal {
 public:
  struct Events {
    /// Sends a certificate request; one of renewed() and refused() answers it.
    std::function<void(Bytes request)> ask;
    /// For the next connection.
    std::function<void(transport::TlsContext)> use;
  };
  /// The earliest next attempt after one that did not succeed.
  static constexpr Duration again_after = std::chrono::minutes(1);

  Renewal(transport::Loop& loop, ServerSource source, Log& log);

  void start(Events events) { events_ = std::move(events); }
  /// A session began, and the server said whether it renews.
  void welcomed(bool renews);
  /// The session is over: nobody will answer.
  void session_ended();
  void renewed(ByteView certificate);
  void refused(const std::string& reason);

 private:
  void look();
  void look_in(Duration wait);
  void report(Level level, const std::string& text);
  [[nodiscard]] Status keep(ByteView certificate) const;
  [[nodiscard]] Status use_file();

  transport::Loop& loop_;
  ServerSource source_;
  Log& log_;
  Events events_;
  transport::Timer timer_;
  std::optional<pairing::TillKey> asked_for_;  ///< waits for its certificate
  std::optional<pairing::Digest> in_use_;      ///< fingerprint of the certificate
  bool renews_ = false;
  std::string last_report_;
};

}  // namespace tillbridge::plugin
