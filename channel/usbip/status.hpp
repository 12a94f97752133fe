// USB/IP carries the result of a transfer as a negative errno in Linux' numbers, whatever the
// system at either end.
#pragma once

#include <cstdint>

#include "channel/usb/transfer.hpp"

namespace tillbridge::usbip {

/// Linux' errno numbers as far as the USB stack reports them
/// (Documentation/driver-api/usb/error-codes.rst).
namespace linux_errno {
inline constexpr std::int32_t eperm = 1, enoent = 2, eio = 5, eagain = 11, enomem = 12, eacces = 13,
                              ebusy = 16, exdev = 18, enodev = 19, einval = 22, enospc = 28,
                              epipe = 32, enosys = 38, etime = 62, ecomm = 70, eproto = 71,
                              eoverflow = 75, eilseq = 84, emsgsize = 90, eopnotsupp = 95,
                              econnreset = 104, enobufs = 105, eshutdown = 108, etimedout = 110,
                              eremoteio = 121;
}

/// The status field of a RET_SUBMIT: 0 or negative.
[[nodiscard]] std::int32_t to_wire(usb::TransferStatus status) noexcept;
/// Any value a peer may send; one that is not known is an error.
[[nodiscard]] usb::TransferStatus from_wire(std::int32_t status) noexcept;

}  // namespace tillbridge::usbip
