// The device sink, client to server on interface 1: announcing devices (rdpeusb.md 2.6).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "channel/rdpeusb/pdu/header.hpp"

namespace tillbridge::rdpeusb::pdu {

/// ADD_VIRTUAL_CHANNEL: "open another channel for one more device". On the control channel; carries
/// no identifier.
struct AddVirtualChannel {
  static constexpr std::size_t size = Header::request_size;
  std::uint32_t message = 0;
  bool operator==(const AddVirtualChannel&) const = default;
};

/// USB_DEVICE_CAPABILITIES.
struct UsbDeviceCapabilities {
  static constexpr std::uint32_t size = 4 /* CbSize */ + 4 /* UsbBusInterfaceVersion */ +
                                        4 /* USBDI_Version */ + 4 /* Supported_USB_Version */ +
                                        4 /* HcdCapabilities */ + 4 /* DeviceIsHighSpeed */ +
                                        4 /* NoAckIsochWriteJitterBufferSizeInMs */;
  std::uint32_t bus_interface_version = 2;  ///< 0, 1 or 2
  std::uint32_t usbdi_version = 0x600;      ///< 0x500 or 0x600
  std::uint32_t usb_version =
      0x200;  ///< 0x100, 0x110, 0x200; USB 3 devices say 0x200 (FreeRDP sends bcdUSB as it is)
  std::uint32_t hcd_capabilities = 0;
  std::uint32_t high_speed = 0;  ///< 0 low or full speed, 1 high speed or faster
  std::uint32_t no_ack_isochronous_jitter_ms =
      0;  ///< 0: no isochronous OUT with NoAck; else 10 to 512
  bool operator==(const UsbDeviceCapabilities&) const = default;
};

/// ADD_DEVICE, once on each device channel.
struct AddDevice {
  std::uint32_t message = 0;
  std::uint32_t device_count = 1;  ///< NumUsbDevice
  std::uint32_t usb_device =
      0;  ///< interface id for all requests to the device; 30 bits count, chosen by the client
  std::string instance_id;  ///< unique per physical device, stable over reconnects
  std::vector<std::string> hardware_ids, compatible_ids;
  std::string container_id;  ///< "{xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}"
  UsbDeviceCapabilities capabilities;
  bool operator==(const AddDevice&) const = default;
};

[[nodiscard]] Bytes encode(const AddVirtualChannel& pdu);
[[nodiscard]] Bytes encode(const AddDevice& pdu);

}  // namespace tillbridge::rdpeusb::pdu
