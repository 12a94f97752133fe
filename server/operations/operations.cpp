#include "server/operations/operations.hpp"

#include <chrono>
#include <utility>

namespace tillbridge::operations {

namespace {

/// For what captures say last to reach their readers.
constexpr Duration readers_within = std::chrono::milliseconds(500);
constexpr Duration look_every = std::chrono::milliseconds(5);

}  // namespace

Operations::Operations(transport::Loop& loop, admin::Administration& administration,
                       std::string server_name)
    : admin_(administration),
      monitoring_(administration),
      captures_(administration, loop),
      alerts_(loop, std::move(server_name)),
      inspection_(loop, administration),
      loop_(loop),
      stopping_(loop) {}

void Operations::start(admin::Api& api, const server::Config& config) {
  // The administration first: what the others ask it for is up to date then.
  observers_.add(admin_.observer());
  observers_.add(monitoring_.observer());
  observers_.add(captures_);
  admin_.usb().observe(observers_);
  admin_.on_alarm([this](const admin::Alarm& alarm, bool raised) { alerts_.heard(alarm, raised); });
  api.add("/metrics",
          [this](const admin::Request& request) { return monitoring_.metrics(request); });
  api.add("/healthz",
          [this](const admin::Request& request) { return monitoring_.health(request); });
  api.add("/api/v1/capture",
          [this](const admin::Request& request) { return captures_.handle(request); });
  use(config);
  inspection_.start();
}

void Operations::stop(std::function<void()> stopped) {
  captures_.stop();
  alerts_.stop();
  wait_for_readers(loop_.now() + readers_within, stopped);
}

void Operations::wait_for_readers(Instant until, const std::function<void()>& stopped) {
  if (captures_.readers() == 0 || loop_.now() >= until) {
    stopped();
    return;
  }
  stopping_.arm(loop_.now() + look_every,
                [this, until, stopped] { wait_for_readers(until, stopped); });
}

}  // namespace tillbridge::operations
