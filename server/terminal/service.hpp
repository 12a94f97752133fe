// Service: accepts RDP clients and runs a session for each.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/result.hpp"
#include "server/guessing/guess_limit.hpp"
#include "server/terminal/client_line.hpp"
#include "server/terminal/listening.hpp"
#include "server/terminal/rdp/peer.hpp"
#include "server/terminal/report.hpp"

namespace tillbridge::terminal {

/// The main thread accepts and watches; each session has a thread of its own (see Session).
class Service {
 public:
  struct Settings {
    std::string address;
    std::uint16_t port = 0;
    ServerIdentity identity;
    std::optional<Account> account;
    std::uint32_t sessions = 1;             ///< at a time
    std::uint32_t exit_after_sessions = 0;  ///< 0: never
    bool verdict_expected = false;          ///< a session without a verdict has failed
    /// One session from accept to end, on its own thread: (number, client, reporter, the descriptor
    /// that becomes readable when it shall end, what to call once the client is through the logon).
    std::function<SessionOutcome(std::uint32_t, std::unique_ptr<RdpPeer>, Reporter&, int,
                                 const std::function<void()>&)>
        run_session;
  };
  /// A client has this long for TLS, logon and activation, then it is cut off: FreeRDP would wait
  /// for ever.
  static constexpr Duration logon_patience = std::chrono::seconds(30);
  /// Wrong passwords from one address, and from all, before nobody there is let in until the oldest
  /// of them is so long ago. A till with a wrong password in its configuration does not lock the
  /// others out, and guessing a random password is hopeless at such a rate. FreeRDP's client tries
  /// each twice, so a person has ten.
  static constexpr std::size_t wrong_logons = 20, wrong_logons_in_total = 1000;
  static constexpr Duration wrong_logons_within = std::chrono::minutes(5);

  Service(Settings settings, Reporter& reporter);
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// Binds and listens; the address is reported.
  [[nodiscard]] Status listen();
  /// Until SIGINT, SIGTERM, the last of `exit_after_sessions` or a session that says so. The caller
  /// has blocked both signals in all threads. False if a session's sink failed.
  [[nodiscard]] bool run();

 private:
  struct Running {
    std::uint32_t number = 0;
    std::string address;
    std::thread thread;
    Descriptor socket;  ///< a duplicate: to cut the client off while FreeRDP waits for it
    Instant logon_ends{};
    bool cut_off = false;
    std::atomic<bool> activated = false;
    std::atomic<bool> over = false;
    SessionOutcome outcome;  ///< written before `over`
  };

  void accept();
  /// Why this client is turned away; nothing: it is let in.
  [[nodiscard]] std::optional<std::string> turned_away(const std::string& address);
  void start_session(Descriptor socket, const std::string& address);
  void run_session(Running& running, int socket, const std::string& address);
  void collect();
  void cut_off_silent(Instant now);
  [[nodiscard]] std::optional<Instant> next_logon_end() const;
  void stop();

  Settings settings_;
  Reporter& reporter_;
  Descriptor listener_, signals_, stop_, session_over_;
  std::list<Running> sessions_;
  std::uint32_t last_number_ = 0;
  std::uint32_t ended_ = 0;              ///< of those that were activated
  std::optional<Instant> accept_again_;  ///< set while the system has no descriptors left
  guessing::GuessLimit wrong_logons_{wrong_logons, wrong_logons_in_total, wrong_logons_within};
  bool stopping_ = false;
  bool failed_ = false;
};

}  // namespace tillbridge::terminal
