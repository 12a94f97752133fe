#include "channel/usbip/status.hpp"

namespace tillbridge::usbip {

using namespace linux_errno;
using usb::TransferStatus;

std::int32_t to_wire(TransferStatus status) noexcept {
  switch (status) {
    case TransferStatus::success:
      return 0;
    case TransferStatus::stall:
      return -epipe;
    case TransferStatus::cancelled:
      return -econnreset;
    case TransferStatus::short_read:
      return -eremoteio;
    case TransferStatus::overflow:
      return -eoverflow;
    case TransferStatus::timeout:
      return -etimedout;
    case TransferStatus::error:
      return -eproto;
    case TransferStatus::device_gone:
      return -eshutdown;
    case TransferStatus::refused:
      return -einval;
    case TransferStatus::no_resources:
      return -enomem;
  }
  return -eproto;
}

TransferStatus from_wire(std::int32_t status) noexcept {
  // -INT32_MIN does not exist, so the comparison is on the negative side.
  switch (status) {
    case 0:
      return TransferStatus::success;
    case -epipe:
      return TransferStatus::stall;
    case -econnreset:
    case -enoent:
      return TransferStatus::cancelled;  // unlinked: usb_unlink_urb, usb_kill_urb
    case -eremoteio:
      return TransferStatus::short_read;
    case -eoverflow:
      return TransferStatus::overflow;
    case -etimedout:
      return TransferStatus::timeout;
    case -enodev:
    case -eshutdown:
      return TransferStatus::device_gone;
    case -eperm:
    case -eacces:
    case -einval:
    case -emsgsize:
    case -enosys:
    case -eopnotsupp:
      return TransferStatus::refused;
    case -eagain:
    case -enomem:
    case -ebusy:
    case -enospc:
    case -enobufs:
      return TransferStatus::no_resources;
    default:
      return TransferStatus::error;  // EPROTO, EILSEQ, ETIME, EIO, ECOMM, EXDEV and the unknown
  }
}

}  // namespace tillbridge::usbip
