// libusb-1.0 as far as the urbdrc add-in of stock FreeRDP and usbredir's host end call it, with one
// simulated stick as its only device. tests/bench/peer_bench puts it in the place of the real
// library for one process, so that their own USB redirection and tillbridge can be measured with
// the same stick.
//
// Not for anything else: one context, one device, no isochronous transfers.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <list>
#include <mutex>
#include <vector>

#include <libusb.h>

#include "channel/usb/requests.hpp"
#include "tests/bench/libusb_shape/bus.hpp"

using tillbridge::bench::Bus;
using tillbridge::shape::owned;
using tillbridge::shape::OwnedTransfer;
namespace usb = tillbridge::usb;

struct libusb_context {
  std::mutex events, waiters;
  std::atomic<bool> handling = false;
  std::condition_variable handled;
};
struct libusb_device {
  libusb_context* context;
};
struct libusb_device_handle {
  libusb_device* device;
};

namespace {

constexpr std::uint8_t bus_number = 1, device_address = 2, port_number = 1;  // 1 is the root hub

tillbridge::Duration duration(const timeval& time) {
  return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

/// A request without data.
int control(const usb::SetupPacket& setup) {
  return Bus::instance().control(setup, nullptr, 1000);
}

/// A configuration with everything that it points to.
struct OwnedConfiguration : libusb_config_descriptor {
  std::vector<libusb_interface> interfaces;
  std::list<std::vector<libusb_interface_descriptor>> settings;
  std::list<std::vector<libusb_endpoint_descriptor>> endpoints;
};

libusb_endpoint_descriptor endpoint_of(const usb::EndpointDescriptor& from) {
  libusb_endpoint_descriptor endpoint{};
  endpoint.bLength = LIBUSB_DT_ENDPOINT_SIZE;
  endpoint.bDescriptorType = LIBUSB_DT_ENDPOINT;
  endpoint.bEndpointAddress = from.address;
  endpoint.bmAttributes = from.attributes;
  endpoint.wMaxPacketSize = from.max_packet_size;
  endpoint.bInterval = from.interval;
  return endpoint;
}

libusb_interface_descriptor setting_of(const usb::InterfaceDescriptor& from,
                                       OwnedConfiguration& owner) {
  auto& endpoints = owner.endpoints.emplace_back();
  for (const auto& endpoint : from.endpoints) endpoints.push_back(endpoint_of(endpoint));
  libusb_interface_descriptor setting{};
  setting.bLength = LIBUSB_DT_INTERFACE_SIZE;
  setting.bDescriptorType = LIBUSB_DT_INTERFACE;
  setting.bInterfaceNumber = from.number;
  setting.bAlternateSetting = from.alternate_setting;
  setting.bNumEndpoints = static_cast<std::uint8_t>(endpoints.size());
  setting.bInterfaceClass = from.interface_class;
  setting.bInterfaceSubClass = from.interface_subclass;
  setting.bInterfaceProtocol = from.interface_protocol;
  setting.endpoint = endpoints.data();
  return setting;
}

libusb_config_descriptor* new_configuration(const usb::Configuration& from) {
  auto* configuration = new OwnedConfiguration{};
  configuration->bLength = LIBUSB_DT_CONFIG_SIZE;
  configuration->bDescriptorType = LIBUSB_DT_CONFIG;
  configuration->wTotalLength = static_cast<std::uint16_t>(from.raw.size());
  configuration->bNumInterfaces = from.interface_count;
  configuration->bConfigurationValue = from.value;
  configuration->bmAttributes = from.attributes;
  for (std::size_t number = 0; number < from.interface_count; ++number) {
    auto& settings = configuration->settings.emplace_back();
    for (const auto& setting : from.interfaces) {
      if (setting.number == number) settings.push_back(setting_of(setting, *configuration));
    }
    configuration->interfaces.push_back({settings.data(), static_cast<int>(settings.size())});
  }
  configuration->interface = configuration->interfaces.data();
  return configuration;
}

}  // namespace

extern "C" {

// --- the library and its one device

int LIBUSB_CALL libusb_init(libusb_context** context) {
  static auto& only = *new libusb_context;
  if (context != nullptr) *context = &only;
  Bus::instance();
  return LIBUSB_SUCCESS;
}

void LIBUSB_CALL libusb_exit(libusb_context* /*context*/) {}

int LIBUSB_CALL libusb_has_capability(std::uint32_t capability) {
  return capability == LIBUSB_CAP_HAS_CAPABILITY || capability == LIBUSB_CAP_HAS_HOTPLUG ||
         capability == LIBUSB_CAP_SUPPORTS_DETACH_KERNEL_DRIVER;
}

// There is nothing to set.
int LIBUSB_CALL libusb_set_option(libusb_context* /*context*/, libusb_option /*option*/, ...) {
  return LIBUSB_SUCCESS;
}

const char* LIBUSB_CALL libusb_error_name(int code) {
  switch (code) {
    case LIBUSB_SUCCESS:
      return "LIBUSB_SUCCESS";
    case LIBUSB_ERROR_IO:
      return "LIBUSB_ERROR_IO";
    case LIBUSB_ERROR_INVALID_PARAM:
      return "LIBUSB_ERROR_INVALID_PARAM";
    case LIBUSB_ERROR_NO_DEVICE:
      return "LIBUSB_ERROR_NO_DEVICE";
    case LIBUSB_ERROR_NOT_FOUND:
      return "LIBUSB_ERROR_NOT_FOUND";
    case LIBUSB_ERROR_BUSY:
      return "LIBUSB_ERROR_BUSY";
    case LIBUSB_ERROR_TIMEOUT:
      return "LIBUSB_ERROR_TIMEOUT";
    case LIBUSB_ERROR_OVERFLOW:
      return "LIBUSB_ERROR_OVERFLOW";
    case LIBUSB_ERROR_PIPE:
      return "LIBUSB_ERROR_PIPE";
    case LIBUSB_ERROR_NOT_SUPPORTED:
      return "LIBUSB_ERROR_NOT_SUPPORTED";
    default:
      return "LIBUSB_ERROR_OTHER";
  }
}

ssize_t LIBUSB_CALL libusb_get_device_list(libusb_context* context, libusb_device*** list) {
  static auto& only = *new libusb_device{context};
  *list = new libusb_device* [] { &only, nullptr };
  return 1;
}

void LIBUSB_CALL libusb_free_device_list(libusb_device** list, int /*unref_devices*/) {
  delete[] list;
}

// The device never goes.
void LIBUSB_CALL libusb_unref_device(libusb_device* /*device*/) {}

std::uint8_t LIBUSB_CALL libusb_get_bus_number(libusb_device* /*device*/) {
  return bus_number;
}

std::uint8_t LIBUSB_CALL libusb_get_device_address(libusb_device* /*device*/) {
  return device_address;
}

std::uint8_t LIBUSB_CALL libusb_get_port_number(libusb_device* /*device*/) {
  return port_number;
}

int LIBUSB_CALL libusb_get_port_numbers(libusb_device* /*device*/, std::uint8_t* numbers,
                                        int room) {
  if (room < 1) return LIBUSB_ERROR_OVERFLOW;
  *numbers = port_number;
  return 1;
}

int LIBUSB_CALL libusb_get_device_speed(libusb_device* /*device*/) {
  switch (Bus::instance().description().speed) {
    case usb::Speed::low:
      return LIBUSB_SPEED_LOW;
    case usb::Speed::full:
      return LIBUSB_SPEED_FULL;
    case usb::Speed::high:
      return LIBUSB_SPEED_HIGH;
    case usb::Speed::super:
      return LIBUSB_SPEED_SUPER;
    default:
      return LIBUSB_SPEED_UNKNOWN;
  }
}

// The stick is there from the start to the end, so only a caller that asks for it hears of it.
int LIBUSB_CALL libusb_hotplug_register_callback(libusb_context* context, int events, int flags,
                                                 int /*vendor*/, int /*product*/,
                                                 int /*device_class*/,
                                                 libusb_hotplug_callback_fn callback,
                                                 void* user_data,
                                                 libusb_hotplug_callback_handle* handle) {
  if ((events & LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED) != 0 &&
      (flags & LIBUSB_HOTPLUG_ENUMERATE) != 0) {
    libusb_device** list = nullptr;
    libusb_get_device_list(context, &list);
    callback(context, *list, LIBUSB_HOTPLUG_EVENT_DEVICE_ARRIVED, user_data);
    libusb_free_device_list(list, 1);
  }
  if (handle != nullptr) *handle = 1;
  return LIBUSB_SUCCESS;
}

void LIBUSB_CALL libusb_hotplug_deregister_callback(libusb_context* /*context*/,
                                                    libusb_hotplug_callback_handle /*handle*/) {}

// --- descriptors

int LIBUSB_CALL libusb_get_device_descriptor(libusb_device* /*device*/,
                                             libusb_device_descriptor* descriptor) {
  const usb::DeviceDescriptor from = Bus::instance().description().device;
  *descriptor = {};
  descriptor->bLength = LIBUSB_DT_DEVICE_SIZE;
  descriptor->bDescriptorType = LIBUSB_DT_DEVICE;
  descriptor->bcdUSB = from.usb_version;
  descriptor->bDeviceClass = from.device_class;
  descriptor->bDeviceSubClass = from.device_subclass;
  descriptor->bDeviceProtocol = from.device_protocol;
  descriptor->bMaxPacketSize0 = from.max_packet_size_0;
  descriptor->idVendor = from.vendor_id;
  descriptor->idProduct = from.product_id;
  descriptor->bcdDevice = from.device_version;
  descriptor->iManufacturer = from.manufacturer_index;
  descriptor->iProduct = from.product_index;
  descriptor->iSerialNumber = from.serial_index;
  descriptor->bNumConfigurations = from.configuration_count;
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_get_config_descriptor(libusb_device* /*device*/, std::uint8_t index,
                                             libusb_config_descriptor** configuration) {
  const auto description = Bus::instance().description();
  if (index >= description.configurations.size()) return LIBUSB_ERROR_NOT_FOUND;
  *configuration = new_configuration(description.configurations[index]);
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_get_active_config_descriptor(libusb_device* /*device*/,
                                                    libusb_config_descriptor** configuration) {
  const auto description = Bus::instance().description();
  const auto* active = description.find_configuration(description.active_configuration);
  if (active == nullptr) return LIBUSB_ERROR_NOT_FOUND;
  *configuration = new_configuration(*active);
  return LIBUSB_SUCCESS;
}

// A stick of high speed has none.
int LIBUSB_CALL libusb_get_ss_endpoint_companion_descriptor(
    libusb_context* /*context*/, const libusb_endpoint_descriptor* /*endpoint*/,
    libusb_ss_endpoint_companion_descriptor** /*companion*/) {
  return LIBUSB_ERROR_NOT_FOUND;
}

void LIBUSB_CALL libusb_free_ss_endpoint_companion_descriptor(
    libusb_ss_endpoint_companion_descriptor* /*companion*/) {}

void LIBUSB_CALL libusb_free_config_descriptor(libusb_config_descriptor* configuration) {
  delete static_cast<OwnedConfiguration*>(configuration);
}

// --- a device in use

int LIBUSB_CALL libusb_open(libusb_device* device, libusb_device_handle** handle) {
  *handle = new libusb_device_handle{device};
  return LIBUSB_SUCCESS;
}

libusb_device* LIBUSB_CALL libusb_get_device(libusb_device_handle* handle) {
  return handle->device;
}

void LIBUSB_CALL libusb_close(libusb_device_handle* handle) {
  delete handle;
}

int LIBUSB_CALL libusb_claim_interface(libusb_device_handle* /*handle*/, int /*interface*/) {
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_release_interface(libusb_device_handle* /*handle*/, int /*interface*/) {
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_set_auto_detach_kernel_driver(libusb_device_handle* /*handle*/,
                                                     int /*enable*/) {
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_kernel_driver_active(libusb_device_handle* /*handle*/, int /*interface*/) {
  return 0;
}

int LIBUSB_CALL libusb_attach_kernel_driver(libusb_device_handle* /*handle*/, int /*interface*/) {
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_detach_kernel_driver(libusb_device_handle* /*handle*/, int /*interface*/) {
  return LIBUSB_ERROR_NOT_FOUND;
}

int LIBUSB_CALL libusb_set_configuration(libusb_device_handle* /*handle*/, int value) {
  return control(usb::set_configuration(static_cast<std::uint8_t>(std::max(value, 0))));
}

int LIBUSB_CALL libusb_set_interface_alt_setting(libusb_device_handle* /*handle*/, int number,
                                                 int setting) {
  return control(
      usb::set_interface(static_cast<std::uint8_t>(number), static_cast<std::uint8_t>(setting)));
}

int LIBUSB_CALL libusb_clear_halt(libusb_device_handle* /*handle*/, unsigned char endpoint) {
  return control(usb::clear_halt(endpoint));
}

int LIBUSB_CALL libusb_reset_device(libusb_device_handle* /*handle*/) {
  const std::uint8_t configuration = Bus::instance().description().active_configuration;
  Bus::instance().reset();
  return configuration == 0 ? 0 : control(usb::set_configuration(configuration));  // as Linux does
}

int LIBUSB_CALL libusb_control_transfer(libusb_device_handle* /*handle*/, std::uint8_t request_type,
                                        std::uint8_t request, std::uint16_t value,
                                        std::uint16_t index, unsigned char* data,
                                        std::uint16_t length, unsigned timeout_ms) {
  return Bus::instance().control({request_type, request, value, index, length}, data, timeout_ms);
}

// --- transfers

libusb_transfer* LIBUSB_CALL libusb_alloc_transfer(int iso_packets) {
  return iso_packets == 0 ? new OwnedTransfer{} : nullptr;
}

void LIBUSB_CALL libusb_free_transfer(libusb_transfer* transfer) {
  if (transfer == nullptr) return;
  if ((transfer->flags & LIBUSB_TRANSFER_FREE_BUFFER) != 0) std::free(transfer->buffer);
  delete &owned(transfer);
}

int LIBUSB_CALL libusb_submit_transfer(libusb_transfer* transfer) {
  return Bus::instance().submit(owned(transfer));
}

int LIBUSB_CALL libusb_cancel_transfer(libusb_transfer* transfer) {
  return Bus::instance().cancel(owned(transfer));
}

int LIBUSB_CALL libusb_alloc_streams(libusb_device_handle* /*handle*/, std::uint32_t /*streams*/,
                                     unsigned char* /*endpoints*/, int /*count*/) {
  return LIBUSB_ERROR_NOT_SUPPORTED;
}

int LIBUSB_CALL libusb_free_streams(libusb_device_handle* /*handle*/, unsigned char* /*endpoints*/,
                                    int /*count*/) {
  return LIBUSB_ERROR_NOT_SUPPORTED;
}

void LIBUSB_CALL libusb_transfer_set_stream_id(libusb_transfer* transfer, std::uint32_t stream) {
  owned(transfer).stream_id = stream;
}

std::uint32_t LIBUSB_CALL libusb_transfer_get_stream_id(libusb_transfer* transfer) {
  return owned(transfer).stream_id;
}

// --- events: one thread handles them at a time, the others may wait for it

int LIBUSB_CALL libusb_try_lock_events(libusb_context* context) {
  if (!context->events.try_lock()) return 1;
  context->handling = true;
  return 0;
}

void LIBUSB_CALL libusb_unlock_events(libusb_context* context) {
  context->handling = false;
  context->events.unlock();
  const std::lock_guard lock(context->waiters);
  context->handled.notify_all();
}

int LIBUSB_CALL libusb_event_handling_ok(libusb_context* /*context*/) {
  return 1;
}

int LIBUSB_CALL libusb_event_handler_active(libusb_context* context) {
  return context->handling ? 1 : 0;
}

int LIBUSB_CALL libusb_handle_events_locked(libusb_context* /*context*/, timeval* patience) {
  Bus::instance().handle_events(duration(*patience));
  return LIBUSB_SUCCESS;
}

int LIBUSB_CALL libusb_handle_events_timeout(libusb_context* context, timeval* patience) {
  return libusb_handle_events_locked(context, patience);
}

void LIBUSB_CALL libusb_lock_event_waiters(libusb_context* context) {
  context->waiters.lock();
}

void LIBUSB_CALL libusb_unlock_event_waiters(libusb_context* context) {
  context->waiters.unlock();
}

int LIBUSB_CALL libusb_wait_for_event(libusb_context* context, timeval* patience) {
  std::unique_lock lock(context->waiters, std::adopt_lock);
  const auto woken = context->handled.wait_for(lock, duration(*patience));
  lock.release();  // the caller unlocks it
  return woken == std::cv_status::timeout ? 1 : 0;
}

}  // extern "C"
