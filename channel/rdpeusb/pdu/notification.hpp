// CHANNEL_CREATED, both ways (rdpeusb.md 2.5).
#pragma once

#include <cstdint>

#include "channel/rdpeusb/pdu/header.hpp"

namespace tillbridge::rdpeusb::pdu {

/// Who sends: the server's CHANNEL_CREATED is on interface 2, the client's on interface 3 (the
/// specification's introduction has them swapped; its examples and real traffic do not).
enum class Sender : std::uint8_t { server, till };

struct ChannelCreated {
  static constexpr std::size_t size =
      Header::request_size + 4 /* MajorVersion */ + 4 /* MinorVersion */ + 4 /* Capabilities */;
  std::uint32_t message = 0;
  std::uint32_t major = 1, minor = 0;
  std::uint32_t capabilities = 0;
  /// Any other version: the receiver must close the channel without an answer.
  [[nodiscard]] bool version_1_0() const noexcept {
    return major == 1 && minor == 0 && capabilities == 0;
  }
  bool operator==(const ChannelCreated&) const = default;
};

[[nodiscard]] Bytes encode(const ChannelCreated& pdu, Sender sender);

}  // namespace tillbridge::rdpeusb::pdu
