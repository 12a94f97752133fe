// DvcGuard: checks the client's dynamic-channel PDUs before FreeRDP's server end reads them.
#pragma once

#include <cstdint>
#include <optional>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::terminal {

/// The client of an RDP session is a till, and a till may be hostile. FreeRDP's reader of DRDYNVC
/// PDUs (MS-RDPEDYC 2.2) trusts lengths: it allocates whatever DATA_FIRST announces (up to 4 GiB),
/// and a PDU that ends inside its own header makes the remaining length wrap to 4 GiB. So every
/// chunk of the static channel "drdynvc" passes here first: chunks are joined, the header is
/// checked against the bytes that are there, and a message above limits::rdpeusb_message_bytes is
/// refused. What passes is safe to hand on as one chunk.
class DvcGuard {
 public:
  /// CHANNEL_FLAG_FIRST and CHANNEL_FLAG_LAST of MS-RDPBCGR 2.2.6.1.1.
  static constexpr std::uint32_t flag_first = 1, flag_last = 2;

  /// Takes one chunk; `total_size` is the length field of its channel PDU header. Answers with the
  /// whole checked PDU once the last chunk is here (valid until the next call), nothing before, or
  /// an error that ends the session.
  [[nodiscard]] Result<std::optional<ByteView>> chunk(ByteView data, std::uint32_t flags,
                                                      std::size_t total_size);

 private:
  [[nodiscard]] Result<std::optional<ByteView>> whole(ByteView pdu);

  Bytes joined_;
  Bytes rewritten_;
  bool joining_ = false;
};

}  // namespace tillbridge::terminal
