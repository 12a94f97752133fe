#include "server/usb/daemon.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/link/endpoint.hpp"
#include "server/usb/libusb_source.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

constexpr Duration stop_within = std::chrono::seconds(3);

std::string count_text(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

Daemon::Daemon(transport::Loop& loop, Config config)
    : loop_(loop), config_(std::move(config)), registry_(loop), stop_timer_(loop) {}

Daemon::~Daemon() = default;

std::optional<StartFailure> Daemon::start() {
  registry_.watch([this] { refresh(); });
  registry_.apply(config_.rules);
  if (auto failure = make_simulation()) return failure;
  if (config_.libusb) registry_.add(std::make_unique<LibusbSource>(loop_));
  registry_.start();
  return listen();
}

std::optional<StartFailure> Daemon::make_simulation() {
  std::vector<std::unique_ptr<simulator::Device>> devices;
  for (const simulator::DeviceOptions& options : config_.simulated) {
    auto device = simulator::make_device(options);
    if (!device) {
      return StartFailure{ExitCode::simulation,
                          fail(device.error().code, "[[simulated]] stick " + options.path + ": " +
                                                        device.error().message)};
    }
    devices.push_back(std::move(*device));
  }
  if (devices.empty()) {
    if (config_.simulation_control.empty()) return std::nullopt;
    return StartFailure{
        ExitCode::configuration,
        fail(ErrorCode::config,
             config_.file.string() +
                 ": [simulation] control is set, but there is no [[simulated]] stick")};
  }
  auto source = std::make_unique<SimulatedSource>(loop_, std::move(devices));
  simulated_ = source.get();
  registry_.add(std::move(source));
  if (config_.simulation_control.empty()) return std::nullopt;
  auto control = SimulationControl::listen(loop_, *simulated_, config_.simulation_control);
  if (!control) return StartFailure{ExitCode::simulation, control.error()};
  simulation_control_ = std::move(*control);
  return std::nullopt;
}

std::optional<StartFailure> Daemon::listen() {
  const Config::Link& link = config_.link;
  auto tls = transport::TlsContext::load({link.certificate, link.key, link.authority},
                                         transport::TlsContext::Side::server, link::alpn);
  if (!tls) return StartFailure{ExitCode::configuration, tls.error()};
  auto acceptor = transport::Acceptor::listen(
      loop_, link.listen.host, link.listen.port, *tls,
      {[this](std::unique_ptr<transport::Stream> stream) { accept_till(std::move(stream)); },
       [](const std::string& address, const Error& error) {
         log::warning("connection from " + address + " is refused: " + error.message);
       }});
  if (!acceptor) return StartFailure{ExitCode::cannot_listen, acceptor.error()};
  link_acceptor_ = std::move(*acceptor);
  // Scripts read the port of these two lines.
  log::info("listening for tills on " +
            ListenAddress{link.listen.host, link_acceptor_->port()}.text());

  if (!config_.usbip_listen) return std::nullopt;
  const ListenAddress& address = *config_.usbip_listen;
  auto usbip = transport::Acceptor::listen(
      loop_, address.host, address.port, std::nullopt,
      {[this](std::unique_ptr<transport::Stream> stream) { accept_usbip(std::move(stream)); },
       [](const std::string& peer, const Error& error) {
         log::warning("USB/IP connection from " + peer + " is refused: " + error.message);
       }});
  if (!usbip) return StartFailure{ExitCode::cannot_listen, usbip.error()};
  usbip_acceptor_ = std::move(*usbip);
  log::info("listening for plain USB/IP on " +
            ListenAddress{address.host, usbip_acceptor_->port()}.text());
  log::warning(
      "plain USB/IP is neither encrypted nor authenticated: everybody who reaches this address can "
      "use "
      "and read the sticks mapped to till = \"usbip:...\"; keep it on a loopback or isolated "
      "network");
  return std::nullopt;
}

void Daemon::accept_till(std::unique_ptr<transport::Stream> stream) {
  if (tills_.size() >= limits::tills_per_server) {
    log::warning("till " + log::printable(stream->peer().name) + " at " + stream->peer().address +
                 " is turned away: " + count_text(tills_.size(), "connection") +
                 " are open, which is the most that one server handles");
    return;
  }
  tills_.emplace_back();
  const auto place = std::prev(tills_.end());
  *place =
      std::make_unique<TillConnection>(loop_, registry_, std::move(stream),
                                       TillConnection::Events{[this, place] { take_over(**place); },
                                                              [this, place] {
                                                                tills_.erase(place);
                                                                finish_if_idle();
                                                              }});
  (*place)->start();
}

// A thin client that was switched off and on again must get its stick back at once, long before
// anybody notices that its old connection is dead. So the newest connection of a till wins.
void Daemon::take_over(const TillConnection& newest) {
  const TillIdentity& till = newest.till();
  for (const auto& other : tills_) {
    if (other.get() == &newest || other->till().name != till.name) continue;
    if (other->till().fingerprint != till.fingerprint) {
      // A renewed certificate of the same till may; one that a mapping does not accept may not push
      // out one that it does.
      const auto pinned = [&](const Mapping& mapping) {
        return mapping.names(till) && !mapping.allows(till);
      };
      if (std::any_of(config_.rules.mappings.begin(), config_.rules.mappings.end(), pinned))
        continue;
    }
    if (!other->closing()) {
      log::info("till " + log::printable(till.name) + ": the connection from " + newest.address() +
                " takes over from the one from " + other->address());
      other->close("this till connected anew from " + newest.address());
    }
  }
}

void Daemon::accept_usbip(std::unique_ptr<transport::Stream> stream) {
  if (usbip_clients_.size() >= limits::tills_per_server) {
    log::warning("USB/IP client " + stream->peer().address +
                 " is turned away: too many connections");
    return;
  }
  usbip_clients_.emplace_back();
  const auto place = std::prev(usbip_clients_.end());
  *place = std::make_unique<UsbipConnection>(loop_, registry_, std::move(stream), [this, place] {
    usbip_clients_.erase(place);
    finish_if_idle();
  });
  (*place)->start();
}

void Daemon::refresh() {
  // Each looks for itself; what one loses is announced by the registry in a further round.
  for (const auto& till : tills_) till->refresh();
  for (const auto& client : usbip_clients_) client->refresh();
}

void Daemon::reload() {
  auto fresh = load_config(config_.file);
  if (!fresh) {
    log::error("the new configuration is broken and nothing of it is used:\n" +
               fresh.error().message);
    return;
  }
  const auto restart_for = [](const std::string& what) {
    log::warning("[reload] " + what +
                 " changed, which takes effect after a restart (systemctl restart tillbridged)");
  };
  if (!(fresh->link == config_.link)) restart_for("[link]");
  if (fresh->usbip_listen != config_.usbip_listen) restart_for("[usbip]");
  if (fresh->libusb != config_.libusb) restart_for("[libusb]");
  log::set_level(fresh->log_level);
  config_.log_level = fresh->log_level;
  config_.rules = std::move(fresh->rules);
  log::info("configuration read again: " + count_text(config_.rules.mappings.size(), "mapping"));
  registry_.apply(config_.rules);
}

void Daemon::stop(std::function<void()> stopped) {
  if (stopped_) return;
  stopped_ = std::move(stopped);
  log::info("shutting down: " + status());
  link_acceptor_.reset();
  usbip_acceptor_.reset();
  for (const auto& till : tills_) till->close("the USB server is shut down");
  for (const auto& client : usbip_clients_) client->close();
  stop_timer_.arm(loop_.now() + stop_within, [this] {
    log::warning("shutting down without waiting any longer for " +
                 count_text(tills_.size() + usbip_clients_.size(), "connection"));
    std::exchange(stopped_, nullptr)();
  });
  finish_if_idle();
}

void Daemon::finish_if_idle() {
  if (!stopped_ || !tills_.empty() || !usbip_clients_.empty()) return;
  stop_timer_.cancel();
  std::exchange(stopped_, nullptr)();
}

std::string Daemon::status() const {
  const auto connected = static_cast<std::size_t>(std::count_if(
      tills_.begin(), tills_.end(), [](const auto& till) { return till->greeted(); }));
  return count_text(registry_.sticks().size(), "stick") + ", " +
         std::to_string(registry_.leases()) + " in use, " + count_text(connected, "till") +
         " connected";
}

}  // namespace tillbridge::server
