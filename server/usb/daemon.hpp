// tillbridged as an object: sources, listeners, connections, and what happens when the
// configuration changes or the process is told to end.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "server/usb/config.hpp"
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
};

struct StartFailure {
  ExitCode code{};
  Error error;
};

/// Used on the loop's thread, or before it runs. Destroy it after the loop has returned.
class Daemon {
 public:
  Daemon(transport::Loop& loop, Config config);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;
  Daemon(Daemon&&) = delete;
  Daemon& operator=(Daemon&&) = delete;

  [[nodiscard]] std::optional<StartFailure> start();
  /// Reads the configuration file again. Mapping, allow-list and log level take effect at once, in
  /// running sessions too; for anything else it says that a restart is needed. A broken file
  /// changes nothing.
  void reload();
  /// Says goodbye to all tills, ends all leases, then calls `stopped`, after 3 s at the latest.
  void stop(std::function<void()> stopped);

  [[nodiscard]] std::uint16_t link_port() const { return link_acceptor_->port(); }
  [[nodiscard]] std::uint16_t usbip_port() const { return usbip_acceptor_->port(); }
  [[nodiscard]] const StickRegistry& registry() const noexcept { return registry_; }
  /// nullptr without simulated sticks.
  [[nodiscard]] SimulatedSource* simulated() const noexcept { return simulated_; }
  /// "2 sticks, 1 in use, 1 till connected"; for systemctl status.
  [[nodiscard]] std::string status() const;

 private:
  [[nodiscard]] std::optional<StartFailure> make_simulation();
  [[nodiscard]] std::optional<StartFailure> listen();
  void accept_till(std::unique_ptr<transport::Stream> stream);
  void identified(std::unique_ptr<transport::Stream> stream, const Result<link::Caller>& caller,
                  const Bytes& first_bytes);
  void begin_session(std::unique_ptr<transport::Stream> stream, const Bytes& first_bytes);
  void turn_away(transport::Stream& stream, const std::string& why);
  void limit_waiting();
  void accept_usbip(std::unique_ptr<transport::Stream> stream);
  void take_over(const TillSession& newest);
  void refresh();
  void finish_if_idle();

  transport::Loop& loop_;
  Config config_;
  StickRegistry registry_;
  SimulatedSource* simulated_ = nullptr;  // owned by the registry
  std::unique_ptr<SimulationControl> simulation_control_;
  std::list<std::unique_ptr<TillCaller>> callers_;
  std::list<std::unique_ptr<TillSession>> tills_;
  std::list<std::unique_ptr<UsbipConnection>> usbip_clients_;
  std::unique_ptr<transport::Acceptor> link_acceptor_, usbip_acceptor_;
  transport::Timer stop_timer_;
  std::function<void()> stopped_;
};

}  // namespace tillbridge::server
