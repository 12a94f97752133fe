#include "server/daemon/daemon.hpp"

#include <array>
#include <chrono>
#include <utility>

#include <unistd.h>

#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

std::string machine_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "tillbridge";
  return name.data();
}

StartFailure state_failure(const Error& error) {
  return {ExitCode::state, error};
}

}  // namespace

Daemon::Daemon(transport::Loop& loop, Config config) : loop_(loop), config_(std::move(config)) {}

// From above to below: each uses those before it to its end.
Daemon::~Daemon() {
  api_.reset();
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
  usb_ = std::make_unique<UsbServer>(loop_, config_);
  administration_ = std::make_unique<admin::Administration>(admin::Administration::Parts{
      loop_, *store_, *audit_, *usb_, nullptr, nullptr, machine_name()});
  api_ = std::make_unique<admin::Api>(*administration_);
  if (auto status = administration_->start(); !status) return state_failure(status.error());
  return usb_->start();
}

void Daemon::reload() {
  usb_->reload();
}

void Daemon::stop(std::function<void()> stopped) {
  usb_->stop([this, stopped = std::move(stopped)] {
    administration_->stop();
    stopped();
  });
}

}  // namespace tillbridge::server
