// Looks at a till's way to its stick, one step after the other, and says what is wrong and what to
// do about it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "cli/verb.hpp"

namespace tillbridge::cli {

struct Finding {
  enum class State : std::uint8_t { ok, warning, failed, skipped };
  std::string step;  ///< "configuration", "name", "clock", "tls", "fingerprint", "link", "lease",
                     ///< "stick", "inquiry", "round_trips"
  State state = State::ok;
  std::string text;    ///< what was found
  std::string remedy;  ///< what to do about it; empty if nothing is wrong
};

struct RoundTrips {
  std::size_t samples = 0;
  Duration least{}, median{}, most{};
};

struct Examination {
  std::vector<Finding> findings;
  std::string server, address, authority, words;
  std::optional<RoundTrips> link;  ///< pings over the link
  std::optional<RoundTrips>
      command;            ///< a SCSI command as the session's would be (TEST UNIT READY)
  bool in_use = false;    ///< the till has a session: its stick was left alone
  bool pipeline = false;  ///< what the mapping says
  bool mass_storage = false;
  std::string stick, vendor, product;
  Exit exit = Exit::success;  ///< of the first step that failed
  [[nodiscard]] bool failed() const { return exit != Exit::success; }
};

/// `file`: the till's configuration. Uses the plugin's code for it, for TLS, the link and the
/// stick. What a step needs and an earlier one did not bring is skipped.
///
/// A session of this till is never disturbed: the server is told that this is an examination, and
/// gives it no stick while there is another session. Without one the stick is taken like by a
/// session, asked who it is and whether it is ready (INQUIRY, TEST UNIT READY), and given back;
/// nothing is read from or written to its medium. A session that begins meanwhile gets it at once.
[[nodiscard]] Examination examine(const std::filesystem::path& file);

}  // namespace tillbridge::cli
