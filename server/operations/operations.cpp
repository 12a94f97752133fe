#include "server/operations/operations.hpp"

#include <utility>

namespace tillbridge::operations {

Operations::Operations(transport::Loop& loop, admin::Administration& administration,
                       std::string server_name)
    : admin_(administration),
      monitoring_(administration),
      captures_(administration, loop),
      alerts_(loop, std::move(server_name)) {}

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
}

void Operations::stop() {
  captures_.stop();
  alerts_.use({});
}

}  // namespace tillbridge::operations
