#include "server/daemon/daemon.hpp"

#include <array>
#include <charconv>
#include <chrono>
#include <memory>
#include <utility>

#include <unistd.h>

#include "server/enrolment/own_names.hpp"
#include "server/http/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

std::string machine_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "tillbridge";
  return name.data();
}

/// HOST or HOST:PORT; an IPv6 address with a port is in brackets.
void read_address(const std::string& text, enrolment::Options& options) {
  options.host = text;
  const std::size_t colon = text.rfind(':');
  const bool bracketed = text.front() == '[';
  if (colon == std::string::npos || (!bracketed && text.find(':') != colon)) return;
  unsigned port = 0;
  const std::string digits = text.substr(colon + 1);
  if (std::from_chars(digits.data(), std::to_address(digits.end()), port).ec == std::errc() &&
      port > 0 && port <= 65535) {
    options.port = static_cast<std::uint16_t>(port);
  }
  options.host = text.substr(0, colon);
  if (bracketed) options.host = options.host.substr(1, options.host.size() - 2);
}

enrolment::Options enrolling(const Config& config) {
  enrolment::Options options;
  const Config::Authority& wanted = config.authority;
  options.names = wanted.names;
  // A till on this machine, or in this network, before anybody has thought about names.
  const std::string& listening = config.link.listen.host;
  const bool everywhere = listening == "0.0.0.0" || listening == "::";
  for (const std::string& name : enrolment::own_names()) options.names.push_back(name);
  options.host = !wanted.names.empty() ? wanted.names.front()
                 : everywhere          ? options.names.front()
                                       : listening;
  if (!wanted.address.empty()) read_address(wanted.address, options);
  options.till_life = wanted.till_life;
  options.token_life = wanted.token_life;
  if (config.link.files_named) options.other_authority = config.link.authority;
  return options;
}

StartFailure state_failure(const Error& error) {
  return {ExitCode::state, error};
}

}  // namespace

Daemon::Daemon(transport::Loop& loop, Config config) : loop_(loop), config_(std::move(config)) {}

// From above to below: each uses those before it to its end.
Daemon::~Daemon() {
  http_.reset();
  api_.reset();
  if (operations_) operations_->stop([] {});
  if (desk_) desk_->stop();
  usb_.reset();  // tells these two of what ends
  operations_.reset();
  administration_.reset();
}

std::optional<StartFailure> Daemon::open_state() {
  const auto now = std::chrono::system_clock::now();
  auto store = store::Store::open(config_.state.folder, now);
  if (!store) return state_failure(store.error());
  store_.emplace(std::move(*store));
  audit::Options options;
  options.damage = audit::Options::Damage::go_on;
  auto log = audit::AuditLog::open(config_.state.folder / "audit", now, options);
  if (!log) return state_failure(log.error());
  audit_.emplace(std::move(*log));
  return std::nullopt;
}

std::optional<StartFailure> Daemon::start() {
  if (auto failure = open_state()) return failure;
  auto desk = enrolment::Desk::open(loop_, *store_, config_.state.folder, enrolling(config_));
  if (!desk) return state_failure(desk.error());
  desk_ = std::move(*desk);
  logins_ = std::make_unique<http::Logins>(*store_);
  usb_ = std::make_unique<UsbServer>(loop_, config_);
  administration_ = std::make_unique<admin::Administration>(admin::Administration::Parts{
      loop_, *store_, *audit_, *usb_, desk_.get(), logins_.get(), machine_name()});
  desk_->serve(*usb_, *administration_);
  api_ = std::make_unique<admin::Api>(*administration_);
  if (auto status = administration_->start(); !status) return state_failure(status.error());
  operations_ = std::make_unique<operations::Operations>(loop_, *administration_, machine_name());
  operations_->start(*api_, config_);
  if (auto failure = usb_->start()) return failure;
  return let_administrators_in();
}

// On every address by default: a cupboard of sticks is managed from elsewhere, and nothing but the
// page's own files is answered without a login. Logins need a password that only somebody with
// root's rights on this machine, or with a login, could make.
std::optional<StartFailure> Daemon::let_administrators_in() {
  if (auto status = logins_->start(*administration_); !status) {
    return state_failure(status.error());
  }
  use_scrape_tokens();
  http_ = std::make_unique<http::Server>(loop_, *administration_, *api_, *logins_);
  const auto use_certificate = [this] {
    const authority::Authority& ours = desk_->authority();
    return http_->use_certificate(ours.server_certificate_file(), ours.server_key_file());
  };
  if (auto status = use_certificate(); !status) return state_failure(status.error());
  desk_->on_server_certificate([use_certificate] {
    if (auto status = use_certificate(); !status) {
      log::error("HTTPS goes on with the old certificate: " + status.error().message);
    }
  });
  const ListenAddress& wanted = config_.admin.listen;
  const auto port = http_->listen_https(wanted.host, wanted.port);
  if (!port) return StartFailure{ExitCode::cannot_listen, port.error()};
  if (auto status = http_->listen_socket(config_.admin.socket); !status) {
    return StartFailure{ExitCode::cannot_listen, status.error()};
  }
  const bool everywhere = wanted.host == "0.0.0.0" || wanted.host == "::";
  const ListenAddress reached{everywhere ? enrolling(config_).host : wanted.host, *port};
  http_->reached_at("https://" + reached.text());
  log::info("listening for administrators on " + ListenAddress{wanted.host, *port}.text() +
            " and " + config_.admin.socket.string());
  if (!logins_->nobody_yet()) return std::nullopt;
  const auto token =
      logins_->make_link("system", "nobody can log in yet", http::limits::first_link_valid);
  if (!token) return state_failure(token.error());
  // The only secret that is ever in the journal. It works once; 'tillbridge login-link' ends it.
  log::info("nobody can log in yet; for the first login, once, within " +
            std::to_string(http::limits::first_link_valid.count()) + " hours: https://" +
            reached.text() + "/#once=" + *token);
  return std::nullopt;
}

// Tills get their sticks whatever monitoring is told.
void Daemon::use_scrape_tokens() {
  const Status status = logins_->use_scrape_tokens(usb_->config().admin.metrics_token_file);
  if (!status) {
    log::error("nobody can read /metrics with a token: " + status.error().message);
  }
}

void Daemon::reload() {
  usb_->reload();
  use_scrape_tokens();
  operations_->use(usb_->config());
}

void Daemon::stop(std::function<void()> stopped) {
  // Captures first: HTTP still hands out their ends.
  operations_->stop([this, stopped = std::move(stopped)] {
    if (http_) http_->stop();
    desk_->stop();
    usb_->stop([this, stopped] {
      administration_->stop();
      stopped();
    });
  });
}

}  // namespace tillbridge::server
