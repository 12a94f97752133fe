#include "channel/massstorage/packet_stream.hpp"

#include <algorithm>
#include <utility>

namespace tillbridge::massstorage {

using usb::TransferStatus;

void PacketStream::append(usb::Completion completion, std::uint32_t length) {
  Piece piece;
  piece.data = std::move(completion.data);
  if (piece.data.size() > length) piece.data.resize(length);
  piece.status = completion.status;
  // A whole number of packets ends a read that had room for more only with an empty one.
  piece.empty_packet = piece.status == TransferStatus::success && piece.data.size() < length &&
                       piece.data.size() % packet_size_ == 0;
  pieces_.push_back(std::move(piece));
}

void PacketStream::append_part(Bytes data) {
  Piece piece;
  piece.data = std::move(data);
  pieces_.push_back(std::move(piece));
}

bool PacketStream::fill(InTransfer& transfer, TransferStatus& status) {
  status = TransferStatus::success;
  while (!pieces_.empty()) {
    Piece& piece = pieces_.front();
    const std::size_t left = piece.data.size() - piece.position;
    const std::size_t room = transfer.length - transfer.data.size();
    if (room == 0 && transfer.length != 0) return true;
    if (left > room) {
      const std::size_t taken = room - room % packet_size_;
      const ByteView part = ByteView(piece.data).subspan(piece.position, taken);
      transfer.data.insert(transfer.data.end(), part.begin(), part.end());
      piece.position += taken;
      // A host controller that has less room than the next packet needs sees babble.
      if (taken != room || room == 0) status = TransferStatus::overflow;
      return true;
    }
    const bool short_packet = piece.status == TransferStatus::success && left % packet_size_ != 0;
    if (left > 0) {
      if (transfer.data.empty() && piece.position == 0) {
        transfer.data = std::move(piece.data);
      } else {
        const ByteView part = ByteView(piece.data).subspan(piece.position);
        transfer.data.insert(transfer.data.end(), part.begin(), part.end());
      }
      piece.data.clear();
      piece.position = 0;
    }
    const bool full = transfer.data.size() == transfer.length && transfer.length != 0;
    const bool nothing_follows = piece.status == TransferStatus::success && !piece.empty_packet;
    if (nothing_follows) {
      pieces_.erase(pieces_.begin());
      if (full || short_packet) return true;
      continue;
    }
    if (full) return true;
    status = piece.status;
    pieces_.erase(pieces_.begin());
    return true;
  }
  return false;
}

bool PacketStream::halted() const noexcept {
  return !pieces_.empty() && pieces_.front().status == TransferStatus::stall &&
         pieces_.front().position == pieces_.front().data.size();
}

void PacketStream::clear_halt() {
  if (halted()) pieces_.erase(pieces_.begin());
}

}  // namespace tillbridge::massstorage
