#include "server/usb/libusb_source.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <filesystem>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "server/usb/libusb_device.hpp"
#include "server/usb/log.hpp"
#include "server/usb/sysfs.hpp"

namespace tillbridge::server {

namespace {

/// How often the devices are looked after in sysfs. Hot-plug reports a departure sooner where udev
/// runs.
constexpr Duration presence_interval = std::chrono::milliseconds(500);
/// The same once a transfer said that its device is gone.
constexpr Duration presence_interval_lost = std::chrono::milliseconds(10);
/// USB allows a chain of five hubs below the root port.
constexpr int port_chain_length = 7;

// "1-1.4" as in sysfs; empty for a root hub.
std::string busid_of(libusb_device* device) {
  std::array<std::uint8_t, port_chain_length> ports{};
  const int count = libusb_get_port_numbers(device, ports.data(), static_cast<int>(ports.size()));
  if (count <= 0) return {};
  std::string busid = std::to_string(libusb_get_bus_number(device));
  for (int index = 0; index < count; ++index) {
    busid += (index == 0 ? "-" : ".") + std::to_string(ports.at(static_cast<std::size_t>(index)));
  }
  return busid;
}

}  // namespace

struct LibusbSource::Impl : std::enable_shared_from_this<LibusbSource::Impl> {
  explicit Impl(transport::Loop& the_loop) : loop(the_loop), presence_timer(the_loop) {}

  void start(Observer the_observer);
  void stop();
  void arrived(libusb_device* device, const Result<usb::DeviceDescription>& description);
  void left(libusb_device* device);
  void take_news();
  void departed(const std::string& busid);
  void look_after(Duration interval);
  static int LIBUSB_CALL on_hotplug(libusb_context* context, libusb_device* device,
                                    libusb_hotplug_event event, void* self);

  transport::Loop& loop;
  Observer observer;
  Sysfs sysfs;
  libusb_context* context = nullptr;
  FlightCount flights;
  std::atomic<bool> ending{false};
  std::thread events;
  libusb_hotplug_callback_handle hotplug = 0;

  /// From the event thread to the loop. Not inside the posted tasks: one that never ran would give
  /// its device back when libusb is closed already.
  struct News {
    std::shared_ptr<libusb_device> device;
    std::optional<Result<usb::DeviceDescription>> arrived;  ///< absent: it left
  };
  std::mutex news_mutex;
  std::deque<News> news;

  std::map<std::string, std::shared_ptr<LibusbDevice>> devices;  // by bus id
  std::list<std::shared_ptr<LibusbDevice>> leaving;
  transport::Timer presence_timer;
};

namespace {

class LibusbStick final : public Stick {
 public:
  LibusbStick(std::shared_ptr<LibusbDevice> device, Events events) : device_(std::move(device)) {
    device_->use(std::move(events));
  }
  ~LibusbStick() override { device_->end_use(); }
  LibusbStick(const LibusbStick&) = delete;
  LibusbStick& operator=(const LibusbStick&) = delete;
  LibusbStick(LibusbStick&&) = delete;
  LibusbStick& operator=(LibusbStick&&) = delete;

  [[nodiscard]] const usb::DeviceDescription& description() const override {
    return device_->description();
  }
  void submit(usb::Transfer transfer) override { device_->submit(std::move(transfer)); }
  void cancel(usb::TransferId id) override { device_->cancel(id); }

 private:
  std::shared_ptr<LibusbDevice> device_;
};

/// Stands for a stick that left between the decision to open it and the opening.
class GoneStick final : public Stick {
 public:
  GoneStick(transport::Loop& loop, Events events)
      : loop_(loop), events_(std::make_shared<Events>(std::move(events))) {
    loop_.post([weak = std::weak_ptr<Events>(events_)] {
      if (const auto alive = weak.lock())
        alive->opened(fail(ErrorCode::unavailable, "the stick was unplugged"));
    });
  }
  [[nodiscard]] const usb::DeviceDescription& description() const override { return description_; }
  void submit(usb::Transfer transfer) override {
    usb::Completion completion;
    completion.id = transfer.id;
    completion.status = usb::TransferStatus::device_gone;
    loop_.post([weak = std::weak_ptr<Events>(events_), completion] {
      if (const auto alive = weak.lock()) alive->completed(completion);
    });
  }
  void cancel(usb::TransferId) override {}

 private:
  transport::Loop& loop_;
  std::shared_ptr<Events> events_;
  usb::DeviceDescription description_;
};

}  // namespace

void LibusbSource::Impl::start(Observer the_observer) {
  observer = std::move(the_observer);
  if (!sysfs.available()) {
    log::info("this machine has no USB: only simulated sticks will be seen");
    return;
  }
  const int code = libusb_init(&context);
  if (code != LIBUSB_SUCCESS) {
    context = nullptr;
    log::error("USB of this machine cannot be used (" +
               std::string(libusb_strerror(static_cast<libusb_error>(code))) +
               "): only simulated sticks will be seen");
    return;
  }
  if (libusb_has_capability(LIBUSB_CAP_HAS_HOTPLUG) == 0) {
    log::error("libusb of this machine has no hot-plug: no real stick will be seen");
    return;
  }
  if (!std::filesystem::exists("/run/udev/control")) {
    log::warning(
        "udev does not run on this machine: sticks that are plugged in from now on are not "
        "noticed");
  }
  events = std::thread([this] {
    while (!ending.load()) libusb_handle_events_completed(context, nullptr);
  });
  // Reports what is there already from within this call, what comes later from the event thread.
  const int registered = libusb_hotplug_register_callback(
      context, LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED | LIBUSB_HOTPLUG_EVENT_DEVICE_LEFT,
      LIBUSB_HOTPLUG_ENUMERATE, LIBUSB_HOTPLUG_MATCH_ANY, LIBUSB_HOTPLUG_MATCH_ANY,
      LIBUSB_HOTPLUG_MATCH_ANY, &Impl::on_hotplug, this, &hotplug);
  if (registered != LIBUSB_SUCCESS) {
    log::error("hot-plug cannot be watched: " +
               std::string(libusb_strerror(static_cast<libusb_error>(registered))));
  }
  look_after(presence_interval);
}

// On libusb's event thread, or within start().
int LIBUSB_CALL LibusbSource::Impl::on_hotplug(libusb_context* /*context*/, libusb_device* device,
                                               libusb_hotplug_event event, void* self) {
  auto* impl = static_cast<Impl*>(self);
  News item{{libusb_ref_device(device), libusb_unref_device}, std::nullopt};
  if (event == LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED) {
    const std::string busid = busid_of(device);
    if (busid.empty()) return 0;  // a root hub
    if (impl->sysfs.imported(busid)) return 0;
    item.arrived = impl->sysfs.describe(busid);
  }
  {
    const std::lock_guard lock(impl->news_mutex);
    impl->news.push_back(std::move(item));
  }
  impl->loop.post([weak = impl->weak_from_this()] {
    if (const auto alive = weak.lock()) alive->take_news();
  });
  return 0;
}

void LibusbSource::Impl::take_news() {
  std::deque<News> taken;
  {
    const std::lock_guard lock(news_mutex);
    taken.swap(news);
  }
  for (const News& item : taken) {
    if (item.arrived) {
      arrived(item.device.get(), *item.arrived);
    } else {
      left(item.device.get());
    }
  }
}

void LibusbSource::Impl::arrived(libusb_device* device,
                                 const Result<usb::DeviceDescription>& description) {
  if (!description) {
    log::warning("a USB device is ignored: " + description.error().message + "; plug it in again");
    return;
  }
  const std::string busid = description->path;
  const auto known = devices.find(busid);
  if (known != devices.end() && known->second->device() == device) return;
  departed(busid);  // its departure was missed
  auto entry = std::make_shared<LibusbDevice>(
      loop, flights, libusb_ref_device(device), *description,
      LibusbDevice::Events{[this] { look_after(presence_interval_lost); },
                           [this, device] {
                             leaving.remove_if(
                                 [device](const auto& item) { return item->device() == device; });
                           }});
  devices.emplace(busid, std::move(entry));
  std::string enumeration = sysfs.enumeration(busid);
  if (enumeration.empty() && sysfs.present(busid, libusb_get_device_address(device))) {
    log::warning("a restart of this server will unplug the stick at port " + busid +
                 " in its session: /proc/sys/kernel/random/boot_id cannot be read, which tells "
                 "whether a stick stayed plugged in; let the service read it (no ProcSubset=pid)");
  }
  observer.arrived({busid, *description, std::move(enumeration)});
}

void LibusbSource::Impl::left(libusb_device* device) {
  const auto found = std::find_if(devices.begin(), devices.end(), [device](const auto& item) {
    return item.second->device() == device;
  });
  if (found != devices.end()) departed(found->first);
}

void LibusbSource::Impl::departed(const std::string& busid) {
  const auto found = devices.find(busid);
  if (found == devices.end()) return;
  const std::string name = found->first;
  const std::shared_ptr<LibusbDevice> device = std::move(found->second);
  devices.erase(found);
  leaving.push_back(device);
  device->gone();
  observer.departed(name);
}

// Where udev does not run, or is slow, sysfs tells that a device has left.
void LibusbSource::Impl::look_after(Duration interval) {
  presence_timer.arm(loop.now() + interval, [this] {
    std::vector<std::string> missing;
    for (const auto& [busid, device] : devices) {
      if (!sysfs.present(busid, device->number())) missing.push_back(busid);
    }
    for (const std::string& busid : missing) departed(busid);
    look_after(presence_interval);
  });
}

void LibusbSource::Impl::stop() {
  presence_timer.cancel();
  if (context == nullptr) return;
  if (hotplug != 0) libusb_hotplug_deregister_callback(context, hotplug);
  for (const auto& [busid, device] : devices) device->shut_down();
  flights.wait_for_zero();
  ending.store(true);
  if (events.joinable()) {
    libusb_interrupt_event_handler(context);
    events.join();
  }
  const std::lock_guard lock(news_mutex);
  news.clear();
}

LibusbSource::LibusbSource(transport::Loop& loop) : impl_(std::make_shared<Impl>(loop)) {}

LibusbSource::~LibusbSource() {
  impl_->stop();
  impl_->devices.clear();
  impl_->leaving.clear();
  if (impl_->context != nullptr) libusb_exit(impl_->context);
}

void LibusbSource::start(Observer observer) {
  impl_->start(std::move(observer));
}

void LibusbSource::hold(const std::string& busid) {
  const auto found = impl_->devices.find(busid);
  if (found != impl_->devices.end()) found->second->hold(true);
}

void LibusbSource::let_go(const std::string& busid) {
  const auto found = impl_->devices.find(busid);
  if (found != impl_->devices.end()) found->second->hold(false);
}

std::unique_ptr<Stick> LibusbSource::open(const std::string& busid, Stick::Events events) {
  const auto found = impl_->devices.find(busid);
  if (found == impl_->devices.end())
    return std::make_unique<GoneStick>(impl_->loop, std::move(events));
  return std::make_unique<LibusbStick>(found->second, std::move(events));
}

}  // namespace tillbridge::server
