#include "server/daemon/daemon.hpp"

#include <array>
#include <charconv>
#include <chrono>
#include <memory>
#include <utility>

#include <unistd.h>

#include "server/enrolment/own_names.hpp"
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
  api_.reset();
  if (desk_) desk_->stop();
  usb_.reset();  // tells the administration of what ends
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
  usb_ = std::make_unique<UsbServer>(loop_, config_);
  administration_ = std::make_unique<admin::Administration>(admin::Administration::Parts{
      loop_, *store_, *audit_, *usb_, desk_.get(), nullptr, machine_name()});
  desk_->serve(*usb_, *administration_);
  api_ = std::make_unique<admin::Api>(*administration_);
  if (auto status = administration_->start(); !status) return state_failure(status.error());
  return usb_->start();
}

void Daemon::reload() {
  usb_->reload();
}

void Daemon::stop(std::function<void()> stopped) {
  desk_->stop();
  usb_->stop([this, stopped = std::move(stopped)] {
    administration_->stop();
    stopped();
  });
}

}  // namespace tillbridge::server
