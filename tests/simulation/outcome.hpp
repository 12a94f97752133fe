// What a run was, and what was in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace tillbridge::simulation {

struct Outcome {
  /// Empty if everything held that must.
  std::string violation;

  std::size_t sticks = 0, tills = 0;
  std::size_t receipts = 0;  ///< that were asked for
  std::size_t verified = 0;  ///< signed, and the signature is good
  std::size_t failed = 0;    ///< reported as not signed, or as not known
  std::size_t unknown = 0;   ///< of those: not known

  std::size_t cuts = 0, holes = 0, till_deaths = 0, server_deaths = 0, restarts = 0, pulls = 0;
  std::size_t connections = 0;     ///< made by tills
  std::size_t resumed = 0;         ///< sessions that went on with a new connection
  std::size_t continued = 0;       ///< leases that went on after a restart of the server
  std::size_t handed_over = 0;     ///< leases of a stick that another till had before
  std::size_t arrivals = 0;        ///< of sticks in sessions
  std::size_t departures = 0;      ///< from sessions that go on
  std::uint64_t transfers = 0;     ///< that moved something to a stick
  std::uint64_t lost = 0;          ///< of those asked for, never came there
  std::uint64_t command_ends = 0;  ///< resets of a command that its till left in the middle
  std::uint64_t signatures = 0;    ///< that the sticks made
  std::uint64_t virtual_ms = 0;
  bool sabotaged = false;         ///< the link was
  std::uint64_t fingerprint = 0;  ///< of everything that happened; not summed up

  void add(const Outcome& other);
};

}  // namespace tillbridge::simulation
