// Capability exchange: the first message on every channel and its answer (rdpeusb.md 2.4).
#pragma once

#include <cstdint>

#include "channel/rdpeusb/pdu/header.hpp"

namespace tillbridge::rdpeusb::pdu {

/// RIM_CAPABILITY_VERSION_01, the only one there is.
inline constexpr std::uint32_t capability_version_1 = 1;

/// RIM_EXCHANGE_CAPABILITY_REQUEST, server to client, interface 0, mask NONE.
struct CapabilityRequest {
  static constexpr std::size_t size = Header::request_size + 4 /* CapabilityValue */;
  std::uint32_t message = 0;
  std::uint32_t capability = capability_version_1;
  bool operator==(const CapabilityRequest&) const = default;
};

/// RIM_EXCHANGE_CAPABILITY_RESPONSE, client to server. A response with mask NONE, the only one.
struct CapabilityResponse {
  static constexpr std::size_t size =
      Header::response_size + 4 /* CapabilityValue */ + 4 /* Result */;
  std::uint32_t message = 0;  ///< the request's MessageId
  std::uint32_t capability = capability_version_1;
  std::uint32_t result = 0;  ///< HRESULT
  bool operator==(const CapabilityResponse&) const = default;
};

[[nodiscard]] Bytes encode(const CapabilityRequest& pdu);
[[nodiscard]] Bytes encode(const CapabilityResponse& pdu);

}  // namespace tillbridge::rdpeusb::pdu
