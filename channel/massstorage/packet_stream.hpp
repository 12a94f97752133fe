// PacketStream: what a stick's bulk IN endpoint has sent ahead of being asked, packet by packet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::massstorage {

/// An IN transfer of the session on its way to being filled.
struct InTransfer {
  usb::TransferId id = 0;
  std::uint8_t endpoint = 0;  ///< address, as the session gave it
  std::uint32_t length = 0;
  bool short_not_ok = false;
  Bytes data;
};

/// Holds the ends of reads that were made in advance, and answers the session's own reads from
/// them exactly as the endpoint would have: a transfer ends when it is full, with a short or empty
/// packet, with more than fits (overflow), or with the failure that the endpoint had at that place.
class PacketStream {
 public:
  /// `packet_size`: wMaxPacketSize, not 0.
  explicit PacketStream(std::uint32_t packet_size) : packet_size_(packet_size) {}

  /// The end of a read of `length` bytes.
  void append(usb::Completion completion, std::uint32_t length);
  /// Whole packets of a read that was taken back: what comes after them is not known.
  void append_part(Bytes data);
  /// Moves what belongs to `transfer` into it. True: it has ended, with `status`. False: all there
  /// is was moved, and it goes on with what comes next.
  [[nodiscard]] bool fill(InTransfer& transfer, usb::TransferStatus& status);
  /// The next thing a transfer meets is a stall.
  [[nodiscard]] bool halted() const noexcept;
  /// CLEAR_FEATURE(HALT): a stall that is next is over; one behind data that nobody has seen yet is
  /// still to come.
  void clear_halt();
  void clear() noexcept { pieces_.clear(); }
  [[nodiscard]] bool empty() const noexcept { return pieces_.empty(); }

 private:
  /// Whole packets (the last may be short), then what ended the read.
  struct Piece {
    Bytes data;
    std::size_t position = 0;
    usb::TransferStatus status = usb::TransferStatus::success;
    bool empty_packet = false;  ///< an empty packet follows the data
  };

  std::uint32_t packet_size_;
  std::vector<Piece> pieces_;  ///< rarely more than two
};

}  // namespace tillbridge::massstorage
