#include "server/usb/usb_server.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/link/endpoint.hpp"
#include "channel/pairing/message.hpp"
#include "server/usb/libusb_source.hpp"
#include "server/usb/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

constexpr Duration stop_within = std::chrono::seconds(3);
/// Certificates end by the clock on the wall, which may be set while the loop sleeps.
constexpr Duration certificates_looked_at_every = std::chrono::seconds(60);
constexpr Duration certificates_looked_at_after = std::chrono::milliseconds(10);

std::string count_text(std::size_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

UsbServer::UsbServer(transport::Loop& loop, Config config)
    : loop_(loop),
      config_(std::move(config)),
      registry_(loop),
      offer_timer_(loop),
      stop_timer_(loop),
      certificate_timer_(loop) {}

UsbServer::~UsbServer() = default;

void UsbServer::keep(const std::vector<KeptLease>& leases) {
  registry_.keep(leases, config_.link.resume_grace);
}

std::optional<StartFailure> UsbServer::start() {
  registry_.watch([this] { refresh(); });
  if (rules_changed_) {
    rules_changed_(config_.rules);
  } else {
    apply(config_.rules);
  }
  if (auto failure = make_simulation()) return failure;
  if (config_.libusb) registry_.add(std::make_unique<LibusbSource>(loop_));
  registry_.start();
  return listen();
}

std::optional<StartFailure> UsbServer::make_simulation() {
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

// Who names certificates in the configuration has told his tills to trust their authority; then
// this port shows them, and takes tills of both authorities. Pairing always shows our own.
Result<transport::TlsContext> UsbServer::make_tls() const {
  using transport::TlsContext;
  const Config::Link& link = config_.link;
  transport::TlsFiles files{link.certificate, link.key, link.authority};
  if (own_ && link.files_named) files.more_authorities.push_back(own_->files.authorities);
  if (own_ && !link.files_named) files = own_->files;
  auto tls = TlsContext::load(files, TlsContext::Side::server, link::alpn);
  if (!tls || !own_) return tls;
  auto pairing = TlsContext::load_for_strangers(own_->files, pairing::alpn);
  if (!pairing) return pairing.error();
  tls->also_serve(*pairing);
  return tls;
}

Status UsbServer::reload_certificate() {
  auto tls = make_tls();
  if (!tls) return tls.error();
  if (link_acceptor_) link_acceptor_->use(std::move(*tls));
  return {};
}

std::optional<StartFailure> UsbServer::listen() {
  const Config::Link& link = config_.link;
  auto tls = make_tls();
  if (!tls) return StartFailure{ExitCode::configuration, tls.error()};
  auto acceptor =
      transport::Acceptor::listen(loop_, link.listen.host, link.listen.port, *tls,
                                  {[this](std::unique_ptr<transport::Stream> stream) {
                                     if (own_ && stream->peer().protocol == pairing::alpn) {
                                       own_->pair(std::move(stream));
                                     } else {
                                       accept_till(std::move(stream));
                                     }
                                   },
                                   [this](const std::string& address, const Error& error) {
                                     refused(address, {}, error.message);
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
       [this](const std::string& peer, const Error& error) {
         const bool news = refusals_.news(peer, "usbip", error.message, loop_.now());
         const std::string line =
             "USB/IP connection from " + peer + " is refused: " + error.message;
         news ? log::warning(line) : log::debug(line);
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

void UsbServer::accept_till(std::unique_ptr<transport::Stream> stream) {
  if (registry_.rules().revoked.contains(stream->peer().fingerprint)) {
    turn_away(*stream, "the administrator revoked its certificate; pair this till anew");
    return;
  }
  if (tills_.size() + callers_.size() >= limits::tills_per_server) {
    const transport::Peer& peer = stream->peer();
    refused(peer.address, {TillIdentity::Kind::certificate, peer.name, peer.fingerprint},
            count_text(limits::tills_per_server, "till") +
                " are connected or waited for, which is the most that one server handles");
    return;
  }
  callers_.emplace_back();
  const auto place = std::prev(callers_.end());
  *place = std::make_unique<TillCaller>(
      loop_, std::move(stream),
      TillCaller::Events{
          [this, place](const Result<link::Caller>& caller, const Bytes& first_bytes) {
            auto taken = (*place)->take_stream();
            callers_.erase(place);
            identified(std::move(taken), caller, first_bytes);
          },
          [this, place] { callers_.erase(place); }});
  (*place)->start();
}

// A session belongs to the certificate that opened it: its id alone proves nothing.
void UsbServer::identified(std::unique_ptr<transport::Stream> stream,
                           const Result<link::Caller>& caller, const Bytes& first_bytes) {
  if (stopped_) return;
  if (registry_.rules().revoked.contains(stream->peer().fingerprint)) {
    turn_away(*stream, "the administrator revoked its certificate; pair this till anew");
    return;
  }
  for (const auto& till : tills_) {
    if (!caller || till->closing() || till->id() != caller->session) continue;
    if (!till->belongs_to(stream->peer().fingerprint)) {
      turn_away(*stream, "the session that it asks for belongs to another certificate");
      return;
    }
    if (till->is_outdated(*caller)) {
      turn_away(*stream, "a newer connection of its session is here already");
      return;
    }
    if (till->can_resume()) {
      till->attach(std::move(stream), first_bytes);
      return;
    }
    // Never heard in its session; the one that begins now ends it at its hello.
  }
  begin_session(std::move(stream), first_bytes);
}

void UsbServer::begin_session(std::unique_ptr<transport::Stream> stream, const Bytes& first_bytes) {
  tills_.emplace_back();
  const auto place = std::prev(tills_.end());
  *place = std::make_unique<TillSession>(
      loop_, registry_, stream->peer(), config_.link.resume_grace,
      TillSession::Events{
          [this, place] {
            if ((*place)->examines()) {
              const std::string busy = session_beside(**place);
              if (!busy.empty()) {
                (*place)->only_looks(busy);
                return;
              }
            }
            take_over(**place);
            refusals_.forget((*place)->address(), (*place)->till().name);
            observer_->till_connected((*place)->status());
          },
          [this, place](const std::string& cause) {
            observer_->till_lost((*place)->status(), cause);
            limit_waiting();
          },
          [this, place] { observer_->till_back((*place)->status()); },
          [this, place](TillEnd how, const std::string& why) {
            if ((*place)->greeted() && !(*place)->looks_only()) {
              observer_->till_left((*place)->status(), how, why);
            }
          },
          [this, place] {
            tills_.erase(place);
            finish_if_idle();
          },
          [this](const TillIdentity& till) { return own_ && !pinned(till) && own_->renews(till); },
          [this](const TillIdentity& till, ByteView request) -> Result<TillSession::Renewal> {
            if (!own_ || pinned(till)) {
              return fail(ErrorCode::refused, "this server does not renew this till's certificate");
            }
            return own_->renew(till, request);
          }});
  (*place)->attach(std::move(stream), first_bytes);
  look_at_certificates();
}

// The handshake lets nobody in whose certificate has ended; a session that outlives its certificate
// would be a way around that. One that is renewed in time never gets here.
void UsbServer::look_at_certificates() {
  const auto now = clock_();
  auto next = now + certificates_looked_at_every;
  for (const auto& till : tills_) {
    if (till->closing()) continue;
    if (till->certificate_end() > now) {
      next = std::min(next, till->certificate_end());
      continue;
    }
    log::warning("till " + log::printable(till->till().name) + " at " + till->address() +
                     " is cut off: its certificate has ended",
                 {{}, till->till().name});
    till->close(TillEnd::expired,
                "the certificate of this till has ended; pair it anew (tillbridge till add " +
                    log::printable(till->till().name) +
                    " on the USB server), or give it a new one of its authority");
  }
  if (tills_.empty()) return;
  certificate_timer_.arm(loop_.now() + std::max(std::chrono::duration_cast<Duration>(next - now),
                                                certificates_looked_at_after),
                         [this] { look_at_certificates(); });
}

// A mapping to this very certificate would not fit the next one.
bool UsbServer::pinned(const TillIdentity& till) const {
  const std::vector<Mapping>& mappings = registry_.rules().mappings;
  return std::any_of(mappings.begin(), mappings.end(), [&](const Mapping& mapping) {
    return mapping.names(till) && !mapping.fingerprint.empty();
  });
}

void UsbServer::turn_away(transport::Stream& stream, const std::string& why) {
  const transport::Peer& peer = stream.peer();
  refused(peer.address, {TillIdentity::Kind::certificate, peer.name, peer.fingerprint}, why);
  stream.write(link::Endpoint::refusal(why));
  stream.close();  // goes on in the background
}

void UsbServer::refused(const std::string& address, const TillIdentity& till,
                        const std::string& why) {
  const bool news = refusals_.news(address, till.name, why, loop_.now());
  const std::string line = till.name.empty() ? "connection from " + address + " is refused: " + why
                                             : "till " + log::printable(till.name) + " at " +
                                                   address + " is turned away: " + why;
  const log::About about{{}, till.name};
  news ? log::warning(line, about) : log::debug(line, about);
  observer_->connection_refused(address, till, why, news);
}

// Each that waits may keep sticks and memory.
void UsbServer::limit_waiting() {
  TillSession* longest = nullptr;
  std::size_t waiting = 0;
  for (const auto& till : tills_) {
    if (!till->waiting_since()) continue;
    waiting += 1;
    if (longest == nullptr || *till->waiting_since() < *longest->waiting_since())
      longest = till.get();
  }
  if (waiting > limits::tills_waiting) longest->give_up("too many tills are waited for");
}

std::string UsbServer::session_beside(const TillSession& examining) const {
  for (const auto& other : tills_) {
    if (other.get() == &examining || !other->greeted() || other->closing() || other->examines() ||
        other->till().name != examining.till().name) {
      continue;
    }
    std::string sticks;
    for (const PresentStick* stick : registry_.sticks()) {
      if (stick->lease == nullptr || stick->lease->record().session != other->session()) continue;
      sticks += (sticks.empty() ? "stick " : ", ") + log::printable(stick->identity.text());
    }
    const TillStatus status = other->status();
    const std::string facts = status.facts.text();
    return (sticks.empty() ? "this till has a session" : sticks + " is in use") +
           (facts.empty() ? "" : " (" + facts + ")") + " from " + status.address +
           (status.waiting ? ", whose connection is lost and waited for" : "");
  }
  return {};
}

// A thin client that was switched off and on again must get its stick back at once, long before
// anybody notices that its old connection is dead. So the newest connection of a till wins.
void UsbServer::take_over(const TillSession& newest) {
  const TillIdentity& till = newest.till();
  for (const auto& other : tills_) {
    if (other.get() == &newest || other->till().name != till.name) continue;
    if (other->till().fingerprint != till.fingerprint) {
      // A renewed certificate of the same till may; one that a mapping does not accept may not push
      // out one that it does.
      const auto pinned = [&](const Mapping& mapping) {
        return mapping.names(till) && !mapping.allows(till);
      };
      const std::vector<Mapping>& mappings = registry_.rules().mappings;
      if (std::any_of(mappings.begin(), mappings.end(), pinned)) continue;
    }
    if (!other->closing()) {
      log::info("till " + log::printable(till.name) + ": the connection from " + newest.address() +
                    " takes over from the one from " + other->address(),
                {{}, till.name});
      other->close(TillEnd::taken_over, "this till connected anew from " + newest.address());
    }
  }
}

void UsbServer::accept_usbip(std::unique_ptr<transport::Stream> stream) {
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

void UsbServer::observe(Observer& observer) {
  observer_ = &observer;
  registry_.observe(&observer);
}

void UsbServer::apply(Rules rules) {
  for (const auto& till : tills_) {
    if (till->closing() || !rules.revoked.contains(till->till().fingerprint)) continue;
    log::warning("till " + log::printable(till->till().name) + " at " + till->address() +
                     " is cut off: its certificate was revoked",
                 {{}, till->till().name});
    till->close(TillEnd::revoked, "the administrator revoked the certificate of this till");
  }
  registry_.apply(std::move(rules));
}

void UsbServer::cut(const std::string& name, TillEnd how, const std::string& reason) {
  for (const auto& till : tills_) {
    if (!till->closing() && till->till().name == name) till->close(how, reason);
  }
}

std::vector<TillStatus> UsbServer::tills() const {
  std::vector<TillStatus> all;
  for (const auto& till : tills_) {
    if (till->greeted() && !till->closing() && !till->looks_only()) {
      all.push_back(till->status());
    }
  }
  return all;
}

void UsbServer::refresh() {
  // First all let go what is not theirs any more; what becomes free by that is handed out in a
  // further round as well, which the registry asks for.
  for (const auto& till : tills_) till->withdraw();
  for (const auto& client : usbip_clients_) client->refresh();
  hand_out();
  for (const auto& till : tills_) till->settle();
  finish_if_idle();
}

// The first mapping whose till is connected and whose conditions its session fulfils. Nobody who
// has the stick is pushed out by one that comes before him.
void UsbServer::hand_out() {
  offer_timer_.cancel();
  if (stopped_) return;
  const bool draining = registry_.rules().draining;
  std::optional<Instant> look_again;
  SessionsByName sessions;
  for (const auto& till : tills_) {
    if (till->greeted() && !till->closing()) sessions.emplace(till->till().name, till.get());
  }
  for (const PresentStick* stick : registry_.sticks()) {
    if (stick->lease != nullptr || (draining && !stick->kept)) continue;
    if (!stick->offer) {
      if (TillSession* till = first_for(*stick, sessions)) till->offer(*stick);
      continue;
    }
    const auto [begin, end] = sessions.equal_range(stick->offer->till);
    const auto holder = std::find_if(begin, end, [&](const auto& item) {
      return item.second->session() == stick->offer->session;
    });
    if (holder == end || first_for(*stick, sessions, holder->second) == nullptr) continue;
    const Instant until = stick->offer->since + offers_lie_;
    if (loop_.now() >= until) {
      holder->second->retract(stick->stay,
                              "it was offered and not taken, and another till waits for it");
    } else if (!look_again || until < *look_again) {
      look_again = until;
    }
  }
  if (look_again) offer_timer_.arm(*look_again, [this] { refresh(); });
}

TillSession* UsbServer::first_for(const PresentStick& stick, const SessionsByName& sessions,
                                  const TillSession* but) {
  // One whose connection is lost gets what no other wants.
  for (const bool waiting : {false, true}) {
    for (const Mapping& mapping : stick.mappings) {
      const auto [begin, end] = sessions.equal_range(mapping.till);
      for (auto item = begin; item != end; ++item) {
        TillSession* till = item->second;
        if (till != but && till->waiting_since().has_value() == waiting &&
            till->accepts(stick, mapping)) {
          return till;
        }
      }
    }
  }
  return nullptr;
}

void UsbServer::reload() {
  auto fresh =
      config_.file == default_config_file ? load_default_config() : load_config(config_.file);
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
  if (!(fresh->authority == config_.authority)) restart_for("[authority]");
  if (!(fresh->state == config_.state)) restart_for("[state]");
  config_.admin.metrics_token_file = std::move(fresh->admin.metrics_token_file);
  fresh->admin.metrics_token_file = config_.admin.metrics_token_file;
  if (!(fresh->admin == config_.admin)) restart_for("[admin]");
  if (fresh->usbip_listen != config_.usbip_listen) restart_for("[usbip]");
  if (fresh->libusb != config_.libusb) restart_for("[libusb]");
  if (!(fresh->simulated == config_.simulated)) restart_for("[[simulated]]");
  if (fresh->simulation_control != config_.simulation_control) restart_for("[simulation]");
  log::set_level(fresh->log_level);
  config_.log_level = fresh->log_level;
  config_.alerts = std::move(fresh->alerts);
  config_.rules = std::move(fresh->rules);
  log::info("configuration read again: " + count_text(config_.rules.mappings.size(), "mapping"));
  if (rules_changed_) {
    rules_changed_(config_.rules);
  } else {
    apply(config_.rules);
  }
}

void UsbServer::stop(std::function<void()> stopped) {
  if (stopped_) return;
  stopped_ = std::move(stopped);
  log::info("shutting down: " + status());
  link_acceptor_.reset();
  usbip_acceptor_.reset();
  callers_.clear();
  for (const auto& till : tills_) till->close_for_restart(limits::pause_within);
  for (const auto& client : usbip_clients_) client->close(LeaseEnd::server_stopped);
  const auto pausing = [](const auto& till) { return till->pausing(); };
  if (std::none_of(tills_.begin(), tills_.end(), pausing)) {
    stop_waiting();
  } else {
    stop_timer_.arm(loop_.now() + limits::pause_within, [this] { stop_waiting(); });
  }
  finish_if_idle();
}

// From here on it is only goodbyes that have to leave.
void UsbServer::stop_waiting() {
  for (const auto& till : tills_) {
    if (!till->pausing()) continue;
    log::warning("till " + log::printable(till->till().name) + " at " + till->address() +
                     " did not pause within " + std::to_string(limits::pause_within.count()) +
                     " s; what is under way there ends with an error",
                 {{}, till->till().name});
    till->close(TillEnd::server_restarts, "the USB server restarts");
  }
  stop_timer_.arm(loop_.now() + stop_within, [this] {
    log::warning("shutting down without waiting any longer for " +
                 count_text(tills_.size() + usbip_clients_.size(), "connection"));
    std::exchange(stopped_, nullptr)();
  });
}

void UsbServer::finish_if_idle() {
  if (!stopped_ || !tills_.empty() || !usbip_clients_.empty() || registry_.unfinished() != 0) {
    return;
  }
  stop_timer_.cancel();
  std::exchange(stopped_, nullptr)();
}

std::string UsbServer::status() const {
  std::size_t connected = 0;
  std::size_t waiting = 0;
  for (const auto& till : tills_) {
    if (till->waiting_since()) {
      waiting += 1;
    } else if (till->greeted()) {
      connected += 1;
    }
  }
  return count_text(registry_.sticks().size(), "stick") + ", " +
         std::to_string(registry_.leases()) + " in use, " + count_text(connected, "till") +
         " connected" + (waiting == 0 ? "" : ", " + count_text(waiting, "till") + " waited for");
}

}  // namespace tillbridge::server
