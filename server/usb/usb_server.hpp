// Sticks and tills of this machine: sources, listeners, connections, who of several gets a stick,
// and what happens when the configuration changes or the process is told to end.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/bytes/result.hpp"
#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "server/usb/config.hpp"
#include "server/usb/refusals.hpp"
#include "server/usb/simulated_source.hpp"
#include "server/usb/simulation_control.hpp"
#include "server/usb/stick_registry.hpp"
#include "server/usb/till_caller.hpp"
#include "server/usb/till_session.hpp"
#include "server/usb/usbip_connection.hpp"

namespace tillbridge::server {

/// What the process tells its starter. 1 is left to what nobody foresaw.
enum class ExitCode : std::uint8_t {
  success = 0,
  configuration = 2,  ///< command line, configuration file or certificates
  cannot_listen = 3,
  simulation = 4,  ///< a simulated stick or its control could not be made
  state = 5,       ///< the state folder cannot be used
};

struct StartFailure {
  ExitCode code{};
  Error error;
};

/// What an authority of the server's own brings to the link's port.
struct OwnAuthority {
  transport::TlsFiles
      files;  ///< the server's certificate (its authority behind it), key, authority
  /// A connection that wants to be paired (pairing::alpn). Nobody was asked for a certificate.
  std::function<void(std::unique_ptr<transport::Stream>)> pair;
  /// See TillSession::Events.
  std::function<bool(const TillIdentity&)> renews;
  std::function<Result<TillSession::Renewal>(const TillIdentity&, ByteView request)> renew;
};

/// Used on the loop's thread, or before it runs. Destroy it after the loop has returned.
class UsbServer {
 public:
  UsbServer(transport::Loop& loop, Config config);
  ~UsbServer();
  UsbServer(const UsbServer&) = delete;
  UsbServer& operator=(const UsbServer&) = delete;
  UsbServer(UsbServer&&) = delete;
  UsbServer& operator=(UsbServer&&) = delete;

  /// Before start(). Tills of the authority that the configuration names are known all the same.
  void use(OwnAuthority authority) { own_ = std::move(authority); }
  [[nodiscard]] std::optional<StartFailure> start();
  /// The server's certificate was replaced: connections that come from now on see the new one.
  [[nodiscard]] Status reload_certificate();
  /// Hears of sticks, tills and leases from start() on; must outlive this.
  void observe(Observer& observer);
  /// Who turns the configuration's rules into those that count, instead of taking them as they are.
  void on_rules(std::function<void(Rules)> changed) { rules_changed_ = std::move(changed); }
  /// Replaces the rules; sessions of certificates that are revoked now are cut at once.
  void apply(Rules rules);
  /// What time it is, instead of the system's clock; before start().
  void tell_time_by(std::function<std::chrono::system_clock::time_point()> clock) {
    clock_ = std::move(clock);
  }
  /// How long a stick that was offered lies there while another till wants it too.
  void offers_lie(Duration longest) { offers_lie_ = longest; }
  /// Ends every session of this till at once.
  void cut(const std::string& till, TillEnd how, const std::string& reason);
  /// Reads the configuration file again. Mapping, allow-list and log level take effect at once, in
  /// running sessions too; for anything else it says that a restart is needed. A broken file
  /// changes nothing.
  void reload();
  /// Before start(): what ran when an earlier run of this program ended. These sticks are kept for
  /// their tills for the grace time.
  void keep(const std::vector<KeptLease>& leases);
  /// As if to be started again in a moment: has the tills pause, says goodbye to them, ends all
  /// leases, then calls `stopped`, 3 s after limits::pause_within at the latest. No transfer is cut
  /// off in the middle unless that time is over.
  void stop(std::function<void()> stopped);

  [[nodiscard]] std::uint16_t link_port() const { return link_acceptor_->port(); }
  [[nodiscard]] std::uint16_t usbip_port() const { return usbip_acceptor_->port(); }
  [[nodiscard]] StickRegistry& registry() noexcept { return registry_; }
  [[nodiscard]] const StickRegistry& registry() const noexcept { return registry_; }
  [[nodiscard]] const Config& config() const noexcept { return config_; }
  /// Every session whose till has said hello.
  [[nodiscard]] std::vector<TillStatus> tills() const;
  /// nullptr without simulated sticks.
  [[nodiscard]] SimulatedSource* simulated() const noexcept { return simulated_; }
  /// "2 sticks, 1 in use, 1 till connected"; for systemctl status.
  [[nodiscard]] std::string status() const;

 private:
  [[nodiscard]] std::optional<StartFailure> make_simulation();
  [[nodiscard]] std::optional<StartFailure> listen();
  [[nodiscard]] Result<transport::TlsContext> make_tls() const;
  [[nodiscard]] bool pinned(const TillIdentity& till) const;
  void accept_till(std::unique_ptr<transport::Stream> stream);
  void identified(std::unique_ptr<transport::Stream> stream, const Result<link::Caller>& caller,
                  const Bytes& first_bytes);
  void begin_session(std::unique_ptr<transport::Stream> stream, const Bytes& first_bytes);
  void turn_away(transport::Stream& stream, const std::string& why);
  void refused(const std::string& address, const TillIdentity& till, const std::string& why);
  void limit_waiting();
  void accept_usbip(std::unique_ptr<transport::Stream> stream);
  void take_over(const TillSession& newest);
  /// The session of the same till, as a person reads it, that one which only examines must leave
  /// alone; empty: there is none.
  [[nodiscard]] std::string session_beside(const TillSession& examining) const;
  void look_at_certificates();
  void refresh();
  void hand_out();
  using SessionsByName = std::multimap<std::string_view, TillSession*>;
  [[nodiscard]] static TillSession* first_for(const PresentStick& stick,
                                              const SessionsByName& sessions,
                                              const TillSession* but = nullptr);
  void stop_waiting();
  void finish_if_idle();

  transport::Loop& loop_;
  Config config_;
  Observer none_;
  Observer* observer_ = &none_;
  std::function<void(Rules)> rules_changed_;
  std::optional<OwnAuthority> own_;
  StickRegistry registry_;
  Refusals refusals_;
  SimulatedSource* simulated_ = nullptr;  // owned by the registry
  std::unique_ptr<SimulationControl> simulation_control_;
  std::list<std::unique_ptr<TillCaller>> callers_;
  std::list<std::unique_ptr<TillSession>> tills_;
  std::list<std::unique_ptr<UsbipConnection>> usbip_clients_;
  std::unique_ptr<transport::Acceptor> link_acceptor_, usbip_acceptor_;
  /// A till that was offered a stick takes it at once.
  Duration offers_lie_ = std::chrono::seconds(30);
  transport::Timer offer_timer_, stop_timer_, certificate_timer_;
  std::function<std::chrono::system_clock::time_point()> clock_ = [] {
    return std::chrono::system_clock::now();
  };
  std::function<void()> stopped_;
};

}  // namespace tillbridge::server
