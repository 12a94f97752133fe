// What can be chosen about a simulated cryptovision stick besides its core and its timing.
#pragma once

#include <cstdint>
#include <string>

#include "channel/bytes/instant.hpp"
#include "server/simulator/tse/core.hpp"
#include "server/simulator/tse/timing.hpp"

namespace tillbridge::simulator::tse {

struct CryptovisionOptions {
  /// Start's firmware id. The vendor's Java client refuses some ids of early samples, C# takes
  /// others for first-generation cards: this one is neither.
  std::string firmware = "tillbridge simulated TSE 1.0";
  /// GetConfigData 8. No real certificate's number.
  std::string certification_id = "SIMULATED-0000-2025";
  /// Zeros instead of leftovers behind an answer.
  bool tidy = false;
  /// A command that arrives while the answer before it is not ready: carried out and answered after
  /// it (true), or dropped, and the answer before it comes (false).
  bool holds_commands_while_busy = true;

  // Quirks of old firmware, see tse/cryptovision/PROTOCOL.md.
  bool miscounts_four_open_transactions = false;
  bool long_public_key = false;
  bool wrong_mapping_length = false;
  /// ExportData is silent for this long; ExportMoreData is not.
  Duration silent_export{0};
};

/// P-256 and SHA-256, an audit log after each power-up, no PINs before InitializePins.
[[nodiscard]] CoreOptions cryptovision_core_options();
[[nodiscard]] Timing cryptovision_timing();

}  // namespace tillbridge::simulator::tse
