// How the core's refusals are told by a Swissbit TSE. For the .cpp files of SwissbitCard.
#pragma once

#include "server/simulator/tse/swissbit_card.hpp"

namespace tillbridge::simulator::tse {

[[nodiscard]] swissbit::CommandStatus status_of(Refusal refusal);
[[nodiscard]] swissbit::CommandStatus status_of(const Done& done);
[[nodiscard]] swissbit::CommandStatus status_of(const LoginResult& result);

/// An answer that is a status alone.
[[nodiscard]] inline SwissbitCard::Outcome ends(swissbit::CommandStatus status) {
  return {status, {}};
}

/// How many blocks hold so many bytes.
[[nodiscard]] constexpr std::uint64_t blocks_of(std::uint64_t bytes) {
  return (bytes + swissbit::sector_bytes - 1) / swissbit::sector_bytes;
}

}  // namespace tillbridge::simulator::tse
