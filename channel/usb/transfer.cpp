#include "channel/usb/transfer.hpp"

namespace tillbridge::usb {

std::string_view name(TransferType type) noexcept {
  switch (type) {
    case TransferType::control:
      return "control";
    case TransferType::isochronous:
      return "isochronous";
    case TransferType::bulk:
      return "bulk";
    case TransferType::interrupt:
      return "interrupt";
  }
  return "unknown";
}

std::string_view name(TransferStatus status) noexcept {
  switch (status) {
    case TransferStatus::success:
      return "success";
    case TransferStatus::stall:
      return "stall";
    case TransferStatus::cancelled:
      return "cancelled";
    case TransferStatus::short_read:
      return "short read";
    case TransferStatus::overflow:
      return "overflow";
    case TransferStatus::timeout:
      return "timeout";
    case TransferStatus::error:
      return "bus error";
    case TransferStatus::device_gone:
      return "device gone";
    case TransferStatus::refused:
      return "refused";
    case TransferStatus::no_resources:
      return "no resources";
  }
  return "unknown";
}

}  // namespace tillbridge::usb
