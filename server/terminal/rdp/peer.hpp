// RdpPeer: one RDP client of ours and its dynamic channels. The only header FreeRDP's server API
// hides behind.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <poll.h>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/till_role.hpp"

namespace tillbridge::terminal {

/// What the terminal server shows of itself: certificate and key, both as PEM text.
struct ServerIdentity {
  std::string certificate;
  std::string key;
};

/// The one account that may open a session. Without it any user and password are accepted.
struct Account {
  std::string user;
  std::string password;
};

/// The session's facts for log and policy, as the client told them; each cut to limits::name_bytes.
struct PeerFacts {
  std::string user, domain, client_name;
  std::string address;  ///< "192.0.2.7:51344"
};

/// Once per process, before the first RdpPeer: FreeRDP's TLS, channel table and log.
void initialise_rdp();

/// A headless RDP session of one client: TLS, activation, nothing on the screen, dynamic channels
/// named URBDRC.
///
/// All of it is used by one thread. It never waits: the owner polls the descriptors of
/// add_polled(), then calls service(), then empties poll(). The exception is FreeRDP's TLS
/// handshake, which waits inside service(); the owner of the socket bounds it by shutting the
/// socket down.
class RdpPeer {
 public:
  /// The session is active. Without `dynamic_channels` the client loaded no channel add-in at all.
  struct Activated {
    PeerFacts facts;
  };
  /// Dynamic channels can be opened now, or (reason) never will.
  struct ChannelsReady {};
  struct ChannelsMissing {};
  struct ChannelOpened {
    std::uint32_t ticket;
    rdpeusb::ChannelId channel;
  };
  struct ChannelRefused {
    std::uint32_t ticket;
    std::int32_t status;
  };
  /// The client closed it.
  struct ChannelClosed {
    rdpeusb::ChannelId channel;
  };
  struct Message {
    rdpeusb::ChannelId channel;
    Bytes bytes;
  };
  using Event = std::variant<Activated, ChannelsReady, ChannelsMissing, ChannelOpened,
                             ChannelRefused, ChannelClosed, Message>;

  /// Takes the connected socket over in any case.
  [[nodiscard]] static Result<std::unique_ptr<RdpPeer>> adopt(int socket, std::string address,
                                                              const ServerIdentity& identity,
                                                              std::optional<Account> account);
  virtual ~RdpPeer() = default;

  /// What to poll for. Input readiness always, output readiness only while the client does not
  /// read.
  virtual void add_polled(std::vector<pollfd>& polled) const = 0;
  /// More input is buffered already: service() again without waiting.
  [[nodiscard]] virtual bool input_pending() const = 0;
  /// Reads what has come, a bounded amount of it. An error is the end of the session and says why;
  /// `refused`: wrong user or password.
  [[nodiscard]] virtual Status service() = 0;
  [[nodiscard]] virtual std::optional<Event> poll() = 0;

  /// Opens another channel named URBDRC; answered by ChannelOpened or ChannelRefused.
  virtual void open_channel(std::uint32_t ticket) = 0;
  /// Queues one whole message; flush() sends. Unknown channels are ignored: the client may just
  /// have closed it.
  virtual void send(rdpeusb::ChannelId channel, ByteView message) = 0;
  virtual void close_channel(rdpeusb::ChannelId channel) = 0;
  /// Gives what is queued to the socket. Never waits: what the socket does not take is kept, see
  /// write_blocked().
  [[nodiscard]] virtual Status flush() = 0;
  /// The client does not read fast enough; the owner keeps further messages until this is over.
  [[nodiscard]] virtual bool write_blocked() const = 0;
  /// Tells the client that the session ends here.
  virtual void say_goodbye() = 0;

 protected:
  RdpPeer() = default;

 public:
  RdpPeer(const RdpPeer&) = delete;
  RdpPeer& operator=(const RdpPeer&) = delete;
};

}  // namespace tillbridge::terminal
