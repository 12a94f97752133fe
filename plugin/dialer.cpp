#include "plugin/dialer.hpp"

#include <utility>

namespace tillbridge::plugin {
namespace {

std::string address_of(const std::string& host, std::uint16_t port) {
  const bool bare_ipv6 = host.find(':') != std::string::npos;
  return (bare_ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

}  // namespace

Dialer::Dialer(transport::Loop& loop, Target target, Log& log)
    : loop_(loop),
      target_(std::move(target)),
      log_(log),
      address_(address_of(target_.host, target_.port)),
      backoff_(loop.random()),
      timer_(loop) {}

void Dialer::start(Connected connected) {
  connected_ = std::move(connected);
  dial();
}

void Dialer::stop() {
  connected_ = nullptr;
  connecting_.reset();
  timer_.cancel();
}

void Dialer::works() {
  working_since_ = loop_.now();
  last_report_.clear();
}

void Dialer::resumed() {
  works();
  backoff_.reset();
}

void Dialer::lost(Level level, const std::string& why) {
  // A server that accepts and drops every connection must not be dialled ten times a second.
  if (std::exchange(restarts_, false)) {
    backoff_.expect_soon();
  } else if (working_since_ && loop_.now() - *working_since_ >= Backoff::good_connection) {
    backoff_.reset();
  }
  working_since_.reset();
  report(level, why);
  wait();
}

void Dialer::report(Level level, const std::string& text) {
  const bool news = text != last_report_;
  last_report_ = text;
  log_.write(news ? level : Level::debug, text);
}

void Dialer::dial() {
  connecting_ = transport::connect(
      loop_, target_.host, target_.port, target_.tls, target_.name,
      [this](Result<std::unique_ptr<transport::Stream>> result) {
        connecting_.reset();
        if (!connected_) return;
        if (result) {
          connected_(std::move(result).value());
        } else {
          report(Level::warning, result.error().message + " (trying again until it works)");
          wait();
        }
      });
}

void Dialer::wait() {
  if (!connected_) return;
  timer_.arm(loop_.now() + backoff_.next(), [this] { dial(); });
}

}  // namespace tillbridge::plugin
