// What libraries in the shape of libusb-1.0 have in common: a libusb_transfer as a usb::Transfer,
// and how it ended.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <libusb.h>

#include "channel/usb/transfer.hpp"

namespace tillbridge::shape {

/// What libusb_alloc_transfer() hands out. Simulated sticks have no isochronous endpoints, so there
/// is never a packet behind the base.
struct OwnedTransfer : libusb_transfer {
  std::uint32_t stream_id = 0;
  usb::TransferId id = 0;  ///< 0: not running
};

[[nodiscard]] inline OwnedTransfer& owned(libusb_transfer* transfer) {
  return static_cast<OwnedTransfer&>(*transfer);
}

/// The caller's data. A control transfer has its setup packet before it.
[[nodiscard]] std::span<unsigned char> data_of(const OwnedTransfer& transfer);
/// Nothing: libusb would not take it.
[[nodiscard]] std::optional<usb::Transfer> as_usb(const OwnedTransfer& transfer,
                                                  usb::TransferId id);
[[nodiscard]] libusb_transfer_status status_of(const usb::Completion& completion,
                                               const OwnedTransfer& transfer, bool timed_out);
/// Of a synchronous control transfer that did not succeed; one that was cancelled had run out of
/// time.
[[nodiscard]] int control_error(usb::TransferStatus status);

}  // namespace tillbridge::shape
