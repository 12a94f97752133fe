// usb_bus: the USB of a machine, as a process of its own. It has the simulated sticks, so they
// live on when tillbridged is killed, as real ones do: the stick keeps its power, its logins and
// the command that it is in the middle of.
//
//   usb_bus CONFIG.TOML FOLDER
//
// CONFIG.TOML is written as for tillbridged; [[simulated]] and [simulation] control count. Below
// FOLDER it makes what Linux has below /sys/bus/usb/devices (which a test mounts there), and it
// prints the loopback port at which libusb_over_bus, which stands in for libusb-1.0 in tillbridged,
// speaks USB/IP to it. A connection that ends is a descriptor of usbfs that the kernel closes: what
// runs is cancelled, and nothing else happens to the stick.
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usbip/exporter.hpp"
#include "server/simulator/factory.hpp"
#include "server/usb/config.hpp"
#include "server/usb/simulated_source.hpp"
#include "server/usb/simulation_control.hpp"

namespace tillbridge::fault {
namespace {

template <typename T>
T checked(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text << std::flush;
  if (!file) throw std::runtime_error("cannot write " + path.string());
}

/// Linux' own view of the devices on the bus.
class Sysfs {
 public:
  explicit Sysfs(std::filesystem::path devices) : devices_(std::move(devices)) {
    std::filesystem::create_directories(devices_);
  }

  void plugged(const usb::DeviceDescription& device) {
    const auto folder = devices_ / device.path;
    std::filesystem::create_directories(folder / "power");
    std::string descriptors;
    const auto append = [&](const Bytes& bytes) { descriptors.append(bytes.begin(), bytes.end()); };
    append(usb::encode(device.device));
    for (const usb::Configuration& configuration : device.configurations) append(configuration.raw);
    write_file(folder / "descriptors", descriptors);
    write_file(folder / "speed", device.speed == usb::Speed::full ? "12\n" : "480\n");
    write_file(folder / "manufacturer", device.manufacturer + "\n");
    write_file(folder / "product", device.product + "\n");
    write_file(folder / "serial", device.serial + "\n");
    write_file(folder / "power/control", "auto\n");
    configured(device.path, device.active_configuration);
    // Last, because with its number a device is there.
    write_file(folder / "devnum", std::to_string(++last_number_) + "\n");
  }
  void configured(const std::string& busid, std::uint8_t value) {
    write_file(devices_ / busid / "bConfigurationValue",
               value == 0 ? "\n" : std::to_string(value) + "\n");
  }
  void pulled(const std::string& busid) { std::filesystem::remove_all(devices_ / busid); }

 private:
  std::filesystem::path devices_;
  int last_number_ = 1;  // the root hub's
};

/// One device that is open in one process.
class Descriptor {
 public:
  struct Owner {
    server::SimulatedSource& source;
    Sysfs& sysfs;
    std::function<void()> closed;
  };

  Descriptor(std::unique_ptr<transport::Stream> stream, Owner owner)
      : stream_(std::move(stream)), owner_(std::move(owner)) {
    stream_->start({.received =
                        [this](ByteView bytes) {
                          exporter_.receive(bytes);
                          pump();
                        },
                    .drained = [] {},
                    .closed =
                        [this](const std::optional<Error>& /*error*/) {
                          stick_.reset();  // cancels what runs
                          owner_.closed();
                        }});
  }

 private:
  void open(const std::string& busid) {
    busid_ = busid;
    stick_ = owner_.source.open(
        busid, {.opened =
                    [this](const Status& opened) {
                      if (opened) {
                        exporter_.import_granted(stick_->description());
                      } else {
                        exporter_.import_refused();
                      }
                      pump();
                    },
                .completed = [this](usb::Completion completion) { ended(std::move(completion)); }});
  }

  void ended(usb::Completion completion) {
    const auto configured = configuring_.extract(completion.id);
    if (!configured.empty() && completion.status == usb::TransferStatus::success)
      owner_.sysfs.configured(busid_, configured.mapped());
    exporter_.complete(std::move(completion));
    pump();
  }

  void submit(usb::Transfer transfer) {
    if (transfer.type == usb::TransferType::control) {
      const auto request = usb::as_host_request(transfer.setup);
      if (request)
        if (const auto* set = std::get_if<usb::SetConfiguration>(&*request))
          configuring_.emplace(transfer.id, set->value);
    }
    stick_->submit(std::move(transfer));
  }

  void pump() {
    using usbip::Exporter;
    while (auto output = exporter_.poll()) {
      if (auto* send = std::get_if<Exporter::Send>(&*output)) {
        stream_->write(std::move(send->bytes));
      } else if (auto* wanted = std::get_if<Exporter::ImportWanted>(&*output)) {
        open(wanted->busid);
      } else if (auto* to_submit = std::get_if<Exporter::Submit>(&*output)) {
        submit(std::move(to_submit->transfer));
      } else if (const auto* cancel = std::get_if<Exporter::Cancel>(&*output)) {
        stick_->cancel(cancel->transfer);
      } else if (std::holds_alternative<Exporter::ListWanted>(*output)) {
        exporter_.devices({});  // libusb looks into sysfs
      } else {
        stream_->close();
      }
    }
  }

  std::unique_ptr<transport::Stream> stream_;
  Owner owner_;
  usbip::Exporter exporter_{usbip::Exporter::Start::await_request};
  std::string busid_;
  std::unique_ptr<server::Stick> stick_;
  std::map<usb::TransferId, std::uint8_t> configuring_;
};

std::vector<std::unique_ptr<simulator::Device>> make_devices(const server::Config& config) {
  std::vector<std::unique_ptr<simulator::Device>> devices;
  for (simulator::DeviceOptions options : config.simulated) {
    options.path = "1-" + std::to_string(devices.size() + 1);
    devices.push_back(checked(simulator::make_device(options)));
    // Linux configures a device when it is plugged in.
    simulator::Device& device = *devices.back();
    const auto value = device.description().configurations.front().value;
    device.submit(usb::control_transfer(1, usb::set_configuration(value)), Instant{});
    device.advance(Instant{});
    while (device.poll_completion()) {
    }
  }
  return devices;
}

class UsbBus {
 public:
  UsbBus(const std::filesystem::path& configuration, const std::filesystem::path& folder)
      : config_(checked(server::load_config(configuration))),
        sysfs_(folder / "usb/devices"),
        source_(loop_, make_devices(config_)),
        control_(
            checked(server::SimulationControl::listen(loop_, source_, config_.simulation_control))),
        signals_(loop_, {SIGTERM, SIGINT}, [this](int /*signal*/) { loop_.stop(); }) {}

  void run() {
    source_.start({.arrived =
                       [this](const server::Arrival& arrival) {
                         sysfs_.plugged(arrival.description);
                         if (!acceptor_) listen();
                       },
                   .departed = [this](const std::string& busid) { sysfs_.pulled(busid); }});
    loop_.run();
  }

 private:
  // Once there is something to open.
  void listen() {
    acceptor_ = checked(transport::Acceptor::listen(
        loop_, "127.0.0.1", 0, std::nullopt,
        {.accepted = [this](std::unique_ptr<transport::Stream> stream) { use(std::move(stream)); },
         .refused = [](const std::string& /*peer*/, const Error& /*error*/) {}}));
    std::cout << "usb_bus on 127.0.0.1:" << acceptor_->port() << std::endl;
  }

  void use(std::unique_ptr<transport::Stream> stream) {
    const auto place = open_.emplace(open_.end());
    *place = std::make_unique<Descriptor>(
        std::move(stream), Descriptor::Owner{source_, sysfs_, [this, place] {
                                               // Within a callback of the stream that it owns.
                                               loop_.post([this, place] { open_.erase(place); });
                                             }});
  }

  transport::Loop loop_;
  server::Config config_;
  Sysfs sysfs_;
  server::SimulatedSource source_;
  std::unique_ptr<server::SimulationControl> control_;
  transport::SignalWatch signals_;
  std::list<std::unique_ptr<Descriptor>> open_;
  std::unique_ptr<transport::Acceptor> acceptor_;
};

}  // namespace
}  // namespace tillbridge::fault

int main(int argc, char** argv) {
  try {
    const auto arguments = std::span(argv, static_cast<std::size_t>(argc)).subspan(1);
    if (arguments.size() != 2) throw std::runtime_error("usb_bus CONFIG.TOML FOLDER");
    tillbridge::fault::UsbBus(arguments[0], arguments[1]).run();
  } catch (const std::exception& error) {
    std::cerr << "usb_bus: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
