// How a simulated Diebold Nixdorf stick behaves.
#pragma once

#include <cstdint>
#include <string>

#include "server/simulator/serial_device.hpp"
#include "server/simulator/tse/core.hpp"
#include "server/simulator/tse/timing.hpp"
#include "tse/diebold/fields.hpp"

namespace tillbridge::simulator::tse {

struct DieboldOptions {
  enum class Card : std::uint8_t { good, missing, unsupported };

  /// pid.codes' id for tests, like the others.
  SerialOptions serial = default_serial();
  CoreOptions core = default_core();
  Timing timing = default_timing();
  std::uint64_t seed = 1;

  /// Users as clients name them, by User. [C: "1" is the admin; the other one is inferred]
  std::string user[user_count] = {"1", "2"};
  /// A stick comes with this client, so that a self test is possible before the first registration.
  std::string production_client = "DN TSEProduction ef82abcedf";
  evidence::diebold::CountryInfo country;
  evidence::diebold::FirmwareInfo firmware;
  std::string crypto_info = "0001000200010002";
  /// Field 11 of the slot, which clients print as certification id. Nobody certified this one.
  std::string tse_description = "tillbridge simulated TSE";
  /// False: command 100 wants a description (and the archive's info.csv keeps the core's all the
  /// same).
  bool description_by_manufacturer = true;
  Card card = Card::good;

  /// Status reports after power-up, until command 003 turns them off.
  bool status_reports = true;
  /// Of raw data in each answer to command 004.
  std::uint32_t buffer_packet_bytes = 4096;
  /// Answers come in USB packets with this much time between them, each of them a transfer of its
  /// own (field problem 14); 0: whole.
  Duration packet_gap{0};
  std::uint32_t gap_packet_bytes = 64;  ///< with packet_gap

  [[nodiscard]] static SerialOptions default_serial();
  [[nodiscard]] static CoreOptions default_core();
  [[nodiscard]] static Timing default_timing();
};

}  // namespace tillbridge::simulator::tse
