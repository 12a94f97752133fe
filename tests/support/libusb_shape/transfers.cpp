#include "tests/support/libusb_shape/transfers.hpp"

#include <cstring>
#include <utility>

#include "channel/usb/requests.hpp"

namespace tillbridge::shape {
namespace {

bool is_control(const OwnedTransfer& transfer) {
  return transfer.type == LIBUSB_TRANSFER_TYPE_CONTROL;
}

}  // namespace

std::span<unsigned char> data_of(const OwnedTransfer& transfer) {
  const std::span<unsigned char> buffer(transfer.buffer, static_cast<std::size_t>(transfer.length));
  return is_control(transfer) ? buffer.subspan(LIBUSB_CONTROL_SETUP_SIZE) : buffer;
}

std::optional<usb::Transfer> as_usb(const OwnedTransfer& transfer, usb::TransferId id) {
  if (transfer.length < (is_control(transfer) ? int{LIBUSB_CONTROL_SETUP_SIZE} : 0))
    return std::nullopt;
  const auto data = data_of(transfer);
  if (is_control(transfer)) {
    libusb_control_setup wire{};
    std::memcpy(&wire, transfer.buffer, sizeof wire);
    const usb::SetupPacket setup{wire.bmRequestType, wire.bRequest, libusb_le16_to_cpu(wire.wValue),
                                 libusb_le16_to_cpu(wire.wIndex), libusb_le16_to_cpu(wire.wLength)};
    if (data.size() < setup.length) return std::nullopt;
    const auto sent = data.first(setup.in() ? 0 : setup.length);
    return usb::control_transfer(id, setup, Bytes(sent.begin(), sent.end()));
  }
  usb::Transfer asked;
  asked.id = id;
  asked.type = transfer.type == LIBUSB_TRANSFER_TYPE_BULK ? usb::TransferType::bulk
                                                          : usb::TransferType::interrupt;
  asked.endpoint = transfer.endpoint;
  asked.length = static_cast<std::uint32_t>(transfer.length);
  asked.zero_packet = (transfer.flags & LIBUSB_TRANSFER_ADD_ZERO_PACKET) != 0;
  if (!asked.in()) asked.data.assign(data.begin(), data.end());
  return asked;
}

libusb_transfer_status status_of(const usb::Completion& completion, const OwnedTransfer& transfer,
                                 bool timed_out) {
  switch (completion.status) {
    case usb::TransferStatus::success:
    case usb::TransferStatus::short_read:
      return (transfer.flags & LIBUSB_TRANSFER_SHORT_NOT_OK) != 0 &&
                     completion.actual_length < static_cast<std::uint32_t>(transfer.length)
                 ? LIBUSB_TRANSFER_ERROR
                 : LIBUSB_TRANSFER_COMPLETED;
    case usb::TransferStatus::stall:
      return LIBUSB_TRANSFER_STALL;
    case usb::TransferStatus::cancelled:
      return timed_out ? LIBUSB_TRANSFER_TIMED_OUT : LIBUSB_TRANSFER_CANCELLED;
    case usb::TransferStatus::overflow:
      return LIBUSB_TRANSFER_OVERFLOW;
    case usb::TransferStatus::device_gone:
      return LIBUSB_TRANSFER_NO_DEVICE;
    case usb::TransferStatus::timeout:
    case usb::TransferStatus::error:
    case usb::TransferStatus::refused:
    case usb::TransferStatus::no_resources:
      break;
  }
  return LIBUSB_TRANSFER_ERROR;
}

int control_error(usb::TransferStatus status) {
  switch (status) {
    case usb::TransferStatus::stall:
      return LIBUSB_ERROR_PIPE;
    case usb::TransferStatus::cancelled:
      return LIBUSB_ERROR_TIMEOUT;  // by control() itself
    case usb::TransferStatus::overflow:
      return LIBUSB_ERROR_OVERFLOW;
    case usb::TransferStatus::device_gone:
      return LIBUSB_ERROR_NO_DEVICE;
    default:
      return LIBUSB_ERROR_IO;
  }
}

}  // namespace tillbridge::shape
