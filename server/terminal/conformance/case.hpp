// A conformance case: what a server says to a client, and what must come back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "server/terminal/conformance/client.hpp"

namespace tillbridge::terminal::conformance {

/// What the client must have redirected for a case to make sense. Every case wants exactly one
/// device: with a second one there would be one more ADD_VIRTUAL_CHANNEL than the case expects.
enum class Device : std::uint8_t {
  any,
  osr_fx2  ///< OSR USB-FX2 learning board, or server/simulator/osr_fx2.hpp
};

/// Which of its interfaces the server releases during the handshake (rdpeusb.md 1.4). The
/// specification and Microsoft's suite know of none; real Windows servers release both, and
/// FreeRDP's clients announce nothing before interface 2 is released.
enum class Releases : std::uint8_t {
  none,          ///< as Microsoft's suite
  notification,  ///< interface 2, after CHANNEL_CREATED
  windows        ///< interface 0 with mask NONE after the capability exchange as well
};

struct Settings {
  /// How long one expected message may take (the suite's WaitTime).
  Duration patience = std::chrono::seconds(20);
  /// How long nothing must come where nothing may come.
  Duration silence = std::chrono::milliseconds(300);
  /// The case about releases goes through all three, whatever this says.
  Releases releases = Releases::windows;
};

struct Verdict {
  enum class Kind : std::uint8_t {
    passed,
    failed,
    inconclusive  ///< the client has no such device: nothing was tested
  };
  Kind kind = Kind::passed;
  /// Each thing that was wrong, as a sentence with what was expected and what came. Inconclusive:
  /// what was missing.
  std::vector<std::string> findings;
};

struct Case {
  std::string_view name;     ///< "S3_EUSB_OperateIo_SelectConfiguration"; ours begin with "TB_"
  std::string_view purpose;  ///< one sentence
  bool microsoft = true;     ///< one of the 29 of Microsoft's client suite
  Device device = Device::any;
  /// Opens its own control channel and leaves none behind, so that cases can follow each other in
  /// one session with a client that starts anew on a new control channel.
  Verdict (*run)(Client& client, const Settings& settings) = nullptr;
};

/// All cases: Microsoft's 29 in the order of their list, then ours.
[[nodiscard]] const std::vector<Case>& all_cases();

}  // namespace tillbridge::terminal::conformance
