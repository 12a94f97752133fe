// What a conformance case sees of the client it tests: channels named URBDRC, messages, time.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/reader.hpp"
#include "channel/rdpeusb/till_role.hpp"

namespace tillbridge::terminal::conformance {

/// The RDP client under test, its device included. A case is written as a straight line of
/// sending and waiting, so next() may take time: over RDP it serves the client until something
/// comes; in front of a TillRole it moves virtual time on. One thread.
class Client {
 public:
  struct Message {
    rdpeusb::ChannelId channel;
    Bytes bytes;  ///< one whole message
  };
  /// The client closed it. Nothing may follow on this channel.
  struct Closed {
    rdpeusb::ChannelId channel;
  };
  /// The RDP session is over: nothing will come any more.
  struct Gone {};
  using Event = std::variant<Message, Closed, Gone>;

  Client() = default;
  virtual ~Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Asks for another channel named URBDRC; nothing if the client refuses or does not answer.
  [[nodiscard]] virtual std::optional<rdpeusb::ChannelId> open_channel(Duration patience) = 0;
  virtual void send(rdpeusb::ChannelId channel, ByteView message) = 0;
  /// The server's DYNVC_CLOSE. No Closed comes for it.
  virtual void close_channel(rdpeusb::ChannelId channel) = 0;
  /// The next thing the client did, in order over all channels; nothing after `patience`.
  [[nodiscard]] virtual std::optional<Event> next(Duration patience) = 0;
  [[nodiscard]] virtual Instant now() const = 0;
};

}  // namespace tillbridge::terminal::conformance
