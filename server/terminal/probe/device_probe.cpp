#include "server/terminal/probe/device_probe.hpp"

#include <utility>

#include "server/terminal/probe/mass_storage_probe.hpp"
#include "server/terminal/probe/serial_probe.hpp"

namespace tillbridge::terminal::probe {
namespace {

/// For a class without a probe: its descriptors were read through the channel, and that is all.
class DescriptorProbe final : public DeviceProbe {
 public:
  void start(Instant /*now*/) override {
    done_ = Done{true, "descriptors read; there is no further probe for this class of device"};
  }
  void completed(const usb::Completion& /*completion*/, Instant /*now*/) override {}
  void advance(Instant /*now*/) override {}
  [[nodiscard]] std::optional<Instant> next_deadline() const override { return std::nullopt; }
  [[nodiscard]] std::optional<Output> poll() override {
    if (!done_) return std::nullopt;
    return Output(*std::exchange(done_, std::nullopt));
  }

 private:
  std::optional<Done> done_;
};

}  // namespace

std::unique_ptr<DeviceProbe> make_probe(const std::string& name,
                                        const usb::DeviceDescription& device,
                                        const Options& options) {
  massstorage::HostOptions host;
  host.max_command_bytes = options.command_bytes;
  host.max_transfer_bytes = options.command_bytes;  // in one transfer, as Windows does
  host.first_transfer_id = 2;                       // 1 is SET_CONFIGURATION's
  if (auto disk = massstorage::BulkOnlyHost::create(device, host)) {
    return std::make_unique<MassStorageProbe>(name, std::move(*disk), options);
  }
  if (const auto port = SerialProbe::find_port(device)) {
    return std::make_unique<SerialProbe>(name, *port, options);
  }
  return std::make_unique<DescriptorProbe>();
}

}  // namespace tillbridge::terminal::probe
