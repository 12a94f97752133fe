// One USB/IP conversation between a stick and whoever imports it: on a stream of the link or on a
// connection of a plain USB/IP client. Ties the protocol (usbip::Exporter) to the lease.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/bytes/result.hpp"
#include "channel/usbip/exporter.hpp"
#include "server/usb/stick_registry.hpp"

namespace tillbridge::server {

/// Pull model: the owner puts received bytes in, and takes output() while it has room to send it.
/// `wake` tells it to look again; it comes from a callback of the stick, so the owner must not
/// destroy the conversation in it, but soon after.
class Conversation {
 public:
  struct Owner {
    std::function<void()> wake;
    /// Who the lease is for; asked when the stick is imported.
    std::function<LeaseRecord()> who;
    /// The sticks that this peer may see; asked for OP_REQ_DEVLIST only.
    std::function<std::vector<usb::DeviceDescription>()> list;
    /// Which stay the peer means by `busid`, or why it gets nothing.
    std::function<Result<StayId>(const std::string& busid)> choose;
  };
  struct Ended {
    std::optional<Error> error;  ///< absent: over in an orderly way
  };

  Conversation(StickRegistry& registry, Claimant claimant, Owner owner);
  ~Conversation();
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;
  Conversation(Conversation&&) = delete;
  Conversation& operator=(Conversation&&) = delete;

  void receive(ByteView bytes);
  /// The next bytes for the peer; nothing if there are none now, or ever again once ended() says
  /// so.
  [[nodiscard]] std::optional<Bytes> output();
  [[nodiscard]] const std::optional<Ended>& ended() const noexcept { return ended_; }

  /// The peer's connection is lost, and it is waited for. Nothing changes but what is said of the
  /// lease.
  void till_away();
  void till_back(const std::string& address);

  [[nodiscard]] bool leased() const noexcept { return lease_ != nullptr; }
  /// Why the lease, if there is one, is about to end.
  void ends_because(LeaseEnd end);
  /// The mapping by which the peer has the stick may be another one now.
  void follow(const PresentStick& stick);

 private:
  void import(const std::string& busid);
  void refuse(const Error& error, usbip::OperationStatus status);
  void opened(const Status& status);

  StickRegistry& registry_;
  Claimant claimant_;
  Owner owner_;
  usbip::Exporter exporter_{usbip::Exporter::Start::await_request};
  std::string busid_;  // as asked for
  std::unique_ptr<Lease> lease_;
  std::optional<Error> refused_;
  std::optional<Ended> ended_;
};

}  // namespace tillbridge::server
