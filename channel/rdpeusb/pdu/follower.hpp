// Decodes the messages of one channel in both directions without taking part: for transcripts.
#pragma once

#include <cstdint>
#include <map>

#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/pdu/describe.hpp"

namespace tillbridge::rdpeusb::pdu {

/// What the completions and responses of a channel mean depends on the requests before them. The
/// follower learns those from the messages themselves, so that it sees what went over the channel
/// and not what a role believes.
///
/// Completions get the name of the function they answer into `detail`, and so does a descriptor's
/// data become Opaque: only what a driver and its device say to each other stays Payload.
class Follower {
 public:
  /// A message of the terminal server. An error says why it cannot be decoded; the description's
  /// views point into `message`.
  [[nodiscard]] Result<Description> from_server(ByteView message);
  /// A message of the till.
  [[nodiscard]] Result<Description> from_till(ByteView message);

 private:
  struct Asked {
    OutstandingRequest request;
    bool payload = false;
    std::string name;
  };

  TillContext till_;
  TerminalContext terminal_;
  std::map<std::uint32_t, Asked> asked_;  ///< by RequestId
};

}  // namespace tillbridge::rdpeusb::pdu
