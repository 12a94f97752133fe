// libusb-1.0 as far as tillbridged calls it, with the devices of usb_bus. A test puts it in the
// place of the real library, so that the real source of real sticks (server/usb/libusb_*) runs on
// machines without USB, and can be killed while the sticks live on.
//
// TILLBRIDGE_USB_BUS is usb_bus' port. Devices are found in sysfs, as on Linux; those that come
// later are not noticed, as where udev does not run. No isochronous transfers.
#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <libusb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/usb/requests.hpp"
#include "channel/usbip/importer.hpp"
#include "tests/support/libusb_shape/transfers.hpp"

using tillbridge::shape::owned;
using tillbridge::shape::OwnedTransfer;
namespace shape = tillbridge::shape;
namespace usb = tillbridge::usb;
namespace usbip = tillbridge::usbip;

struct libusb_device {
  std::string busid;
  std::uint8_t number = 0;
};

/// A device that is open: a connection to usb_bus. All of it under Bus::mutex, but for the event
/// thread's poll().
struct libusb_device_handle {
  explicit libusb_device_handle(libusb_device* the_device)
      : device(the_device), importer(the_device->busid) {}
  ~libusb_device_handle() {
    if (socket >= 0) ::close(socket);
  }
  libusb_device_handle(const libusb_device_handle&) = delete;
  libusb_device_handle& operator=(const libusb_device_handle&) = delete;

  libusb_device* device;
  usbip::Importer importer;
  int socket = -1;
  bool imported = false, lost = false;
  usb::TransferId last_id = 0;
  std::map<usb::TransferId, OwnedTransfer*> running;
  std::set<usb::TransferId> controls;  // synchronous ones
  std::map<usb::TransferId, usb::Completion> controls_ended;
};

namespace {

using Handle = std::shared_ptr<libusb_device_handle>;

/// The kernel gives standard requests this long (USB 2.0, 9.2.6.4).
constexpr std::chrono::seconds control_patience{5};

/// The library's one context, whatever it is called.
struct Bus {
  std::mutex mutex;
  std::condition_variable control_ended;
  std::vector<Handle> open;
  struct Ended {
    OwnedTransfer* transfer;
    usb::Completion completion;
  };
  std::deque<Ended> ended;
  std::vector<std::unique_ptr<libusb_device>> devices;  // never forgotten: their users may be late
  int wake = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

  void wake_up() const { ::eventfd_write(wake, 1); }
};

Bus& bus() {
  static Bus& only = *new Bus;
  return only;
}

Handle find(libusb_device_handle* handle) {
  for (const Handle& one : bus().open)
    if (one.get() == handle) return one;
  return nullptr;
}

int connect_to_bus() {
  const char* port = std::getenv("TILLBRIDGE_USB_BUS");
  if (port == nullptr) return -1;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::strtoul(port, nullptr, 10)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // connect() takes every kind of address through one type.
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(socket);
    return -1;
  }
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return socket;
}

// From here on with Bus::mutex held.

void pump(libusb_device_handle& handle) {
  while (auto output = handle.importer.poll()) {
    if (auto* send = std::get_if<usbip::Importer::Send>(&*output)) {
      std::size_t sent = 0;
      while (sent < send->bytes.size() && !handle.lost) {
        const auto rest = tillbridge::ByteView(send->bytes).subspan(sent);
        const ssize_t count = ::send(handle.socket, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (count < 0 && errno != EINTR) handle.lost = true;
        if (count > 0) sent += static_cast<std::size_t>(count);
      }
    } else if (std::holds_alternative<usbip::Importer::Imported>(*output)) {
      handle.imported = true;
    } else if (std::holds_alternative<usbip::Importer::Failed>(*output)) {
      handle.lost = true;
    } else if (auto* completed = std::get_if<usbip::Importer::Completed>(&*output)) {
      usb::Completion& completion = completed->completion;
      if (handle.controls.erase(completion.id) != 0) {
        handle.controls_ended.emplace(completion.id, std::move(completion));
        bus().control_ended.notify_all();
      } else if (const auto found = handle.running.find(completion.id);
                 found != handle.running.end()) {
        bus().ended.push_back({found->second, std::move(completion)});
        handle.running.erase(found);
        bus().wake_up();
      }
    }
  }
}

/// What has come; waits for something if `wait`.
void receive(libusb_device_handle& handle, bool wait) {
  std::array<std::uint8_t, 65536> buffer{};
  const ssize_t count =
      ::recv(handle.socket, buffer.data(), buffer.size(), wait ? 0 : MSG_DONTWAIT);
  if (count > 0) {
    handle.importer.receive(tillbridge::ByteView(buffer).first(static_cast<std::size_t>(count)));
  } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
    handle.lost = true;
    handle.importer.lost();
  }
  pump(handle);
}

void submit(libusb_device_handle& handle, usb::Transfer transfer) {
  handle.importer.submit(std::move(transfer));
  pump(handle);
}

/// A request without data that the kernel carries out; waits for its end.
int control(libusb_device_handle* raw, const usb::SetupPacket& setup) {
  std::unique_lock lock(bus().mutex);
  const Handle handle = find(raw);
  if (!handle) return LIBUSB_ERROR_NO_DEVICE;
  const usb::TransferId id = ++handle->last_id;
  handle->controls.insert(id);
  submit(*handle, usb::control_transfer(id, setup));
  const auto has_ended = [&] { return handle->controls_ended.contains(id); };
  if (!bus().control_ended.wait_for(lock, control_patience, has_ended)) {
    handle->importer.cancel(id);
    pump(*handle);
    bus().control_ended.wait(lock, has_ended);
  }
  const auto status = handle->controls_ended.extract(id).mapped().status;
  return status == usb::TransferStatus::success ? LIBUSB_SUCCESS : shape::control_error(status);
}

}  // namespace

extern "C" {

// --- the library and the devices on the bus

int LIBUSB_CALL libusb_init(libusb_context** context) {
  // Nobody looks into it.
  *context = reinterpret_cast<libusb_context*>(&bus());
  return LIBUSB_SUCCESS;
}

void LIBUSB_CALL libusb_exit(libusb_context* /*context*/) {}

int LIBUSB_CALL libusb_has_capability(std::uint32_t /*capability*/) {
  return 1;
}

const char* LIBUSB_CALL libusb_strerror(int code) {
  switch (code) {
    case LIBUSB_SUCCESS:
      return "Success";
    case LIBUSB_ERROR_BUSY:
      return "Resource busy";
    case LIBUSB_ERROR_NO_DEVICE:
      return "No such device (it may have been disconnected)";
    case LIBUSB_ERROR_PIPE:
      return "Pipe error";
    default:
      return "Other error";
  }
}

// Reports what sysfs has now.
int LIBUSB_CALL libusb_hotplug_register_callback(libusb_context* context, int /*events*/,
                                                 int /*flags*/, int /*vendor*/, int /*product*/,
                                                 int /*device_class*/,
                                                 libusb_hotplug_callback_fn callback,
                                                 void* user_data,
                                                 libusb_hotplug_callback_handle* handle) {
  *handle = 1;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/bus/usb/devices")) {
    int number = 0;
    std::ifstream(entry.path() / "devnum") >> number;
    if (number == 0) continue;
    bus().devices.push_back(std::make_unique<libusb_device>(
        libusb_device{entry.path().filename(), static_cast<std::uint8_t>(number)}));
    callback(context, bus().devices.back().get(), LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED, user_data);
  }
  return LIBUSB_SUCCESS;
}

void LIBUSB_CALL libusb_hotplug_deregister_callback(libusb_context* /*context*/,
                                                    libusb_hotplug_callback_handle /*handle*/) {}

libusb_device* LIBUSB_CALL libusb_ref_device(libusb_device* device) {
  return device;
}

void LIBUSB_CALL libusb_unref_device(libusb_device* /*device*/) {}

std::uint8_t LIBUSB_CALL libusb_get_bus_number(libusb_device* /*device*/) {
  return 1;
}

std::uint8_t LIBUSB_CALL libusb_get_device_address(libusb_device* device) {
  return device->number;
}

// "1-3" is port 3 of bus 1.
int LIBUSB_CALL libusb_get_port_numbers(libusb_device* device, std::uint8_t* numbers,
                                        int /*room*/) {
  *numbers = static_cast<std::uint8_t>(std::stoul(device->busid.substr(2)));
  return 1;
}

// --- a device in use

int LIBUSB_CALL libusb_open(libusb_device* device, libusb_device_handle** result) {
  const auto handle = std::make_shared<libusb_device_handle>(device);
  handle->socket = connect_to_bus();
  if (handle->socket < 0) return LIBUSB_ERROR_NO_DEVICE;
  handle->importer.start();
  pump(*handle);  // nobody else knows it yet
  while (!handle->imported && !handle->lost) receive(*handle, true);
  if (handle->lost) return LIBUSB_ERROR_BUSY;
  const std::lock_guard lock(bus().mutex);
  bus().open.push_back(handle);
  bus().wake_up();
  *result = handle.get();
  return LIBUSB_SUCCESS;
}

void LIBUSB_CALL libusb_close(libusb_device_handle* handle) {
  const std::lock_guard lock(bus().mutex);
  std::erase_if(bus().open, [handle](const Handle& one) { return one.get() == handle; });
  bus().wake_up();
}

int LIBUSB_CALL libusb_claim_interface(libusb_device_handle* /*handle*/, int /*interface*/) {
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_release_interface(libusb_device_handle* /*handle*/, int /*interface*/) {
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_kernel_driver_active(libusb_device_handle* /*handle*/, int /*interface*/) {
  return 0;
}

int LIBUSB_CALL libusb_detach_kernel_driver(libusb_device_handle* /*handle*/, int /*interface*/) {
  return LIBUSB_ERROR_NOT_FOUND;
}

int LIBUSB_CALL libusb_set_configuration(libusb_device_handle* handle, int value) {
  return control(handle, usb::set_configuration(static_cast<std::uint8_t>(std::max(value, 0))));
}

int LIBUSB_CALL libusb_set_interface_alt_setting(libusb_device_handle* handle, int number,
                                                 int setting) {
  return control(handle, usb::set_interface(static_cast<std::uint8_t>(number),
                                            static_cast<std::uint8_t>(setting)));
}

int LIBUSB_CALL libusb_clear_halt(libusb_device_handle* handle, unsigned char endpoint) {
  return control(handle, usb::clear_halt(endpoint));
}

int LIBUSB_CALL libusb_reset_device(libusb_device_handle* handle) {
  return control(handle, usb::port_reset());
}

// --- transfers

libusb_transfer* LIBUSB_CALL libusb_alloc_transfer(int iso_packets) {
  return iso_packets == 0 ? new OwnedTransfer{} : nullptr;
}

void LIBUSB_CALL libusb_free_transfer(libusb_transfer* transfer) {
  if (transfer != nullptr) delete &owned(transfer);
}

int LIBUSB_CALL libusb_submit_transfer(libusb_transfer* asked) {
  OwnedTransfer& transfer = owned(asked);
  const std::lock_guard lock(bus().mutex);
  const Handle handle = find(transfer.dev_handle);
  if (!handle || handle->lost) return LIBUSB_ERROR_NO_DEVICE;
  auto taken = shape::as_usb(transfer, handle->last_id + 1);
  if (!taken) return LIBUSB_ERROR_INVALID_PARAM;
  transfer.id = ++handle->last_id;
  handle->running.emplace(transfer.id, &transfer);
  submit(*handle, std::move(*taken));
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_cancel_transfer(libusb_transfer* asked) {
  OwnedTransfer& transfer = owned(asked);
  const std::lock_guard lock(bus().mutex);
  const Handle handle = find(transfer.dev_handle);
  if (!handle || !handle->running.contains(transfer.id)) return LIBUSB_ERROR_NOT_FOUND;
  handle->importer.cancel(transfer.id);
  pump(*handle);
  return LIBUSB_SUCCESS;
}

// --- events

int LIBUSB_CALL libusb_handle_events_completed(libusb_context* /*context*/, int* /*completed*/) {
  std::vector<Handle> watched;
  {
    const std::lock_guard lock(bus().mutex);
    for (const Handle& handle : bus().open)
      if (!handle->lost) watched.push_back(handle);
  }
  std::vector<pollfd> polled{{bus().wake, POLLIN, 0}};
  for (const Handle& handle : watched) polled.push_back({handle->socket, POLLIN, 0});
  ::poll(polled.data(), polled.size(), -1);
  eventfd_t count = 0;
  ::eventfd_read(bus().wake, &count);
  std::deque<Bus::Ended> ended;
  {
    const std::lock_guard lock(bus().mutex);
    for (const Handle& handle : watched) receive(*handle, false);
    ended.swap(bus().ended);
    for (const Bus::Ended& end : ended) end.transfer->id = 0;
  }
  for (const Bus::Ended& end : ended) {
    OwnedTransfer& transfer = *end.transfer;
    transfer.status = shape::status_of(end.completion, transfer, false);
    transfer.actual_length = static_cast<int>(end.completion.actual_length);
    std::copy(end.completion.data.begin(), end.completion.data.end(),
              shape::data_of(transfer).begin());
    transfer.callback(&transfer);  // may free it
  }
  return LIBUSB_SUCCESS;
}

void LIBUSB_CALL libusb_interrupt_event_handler(libusb_context* /*context*/) {
  bus().wake_up();
}

}  // extern "C"
