// One channel of the terminal server, as the worker needs it. Knows nothing of FreeRDP.
#pragma once

#include <cstdint>

#include "channel/bytes/reader.hpp"

namespace tillbridge::plugin {

class RdpChannel {
 public:
  enum class Written : std::uint8_t { queued, closed, failed };

  RdpChannel() = default;
  virtual ~RdpChannel() = default;
  RdpChannel(const RdpChannel&) = delete;
  RdpChannel& operator=(const RdpChannel&) = delete;

  /// The worker's thread.
  virtual Written write(ByteView message) = 0;
  /// Any thread. Whoever receives for the channel closes it with the next message.
  virtual void want_close() noexcept = 0;
  /// The worker's thread: closes the channel, unless that has happened.
  virtual void close() = 0;
};

}  // namespace tillbridge::plugin
