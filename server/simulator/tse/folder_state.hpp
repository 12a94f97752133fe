// What state.json of a folder store says about the store itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "channel/bytes/result.hpp"

namespace tillbridge::simulator::tse {

struct FolderState {
  std::uint64_t log_generation = 1;  ///< a new one for each rewrite of the log
  std::uint64_t log_bytes = 0;       ///< valid; what is behind them was never committed
  std::optional<std::string> state;  ///< a JSON text; nothing: the store is fresh
};

/// "log.tar", "log.2.tar", ...
[[nodiscard]] std::string log_file_name(std::uint64_t generation);
[[nodiscard]] std::string folder_state_text(const FolderState& state);
/// ErrorCode::config says what is wrong. Any text is safe.
[[nodiscard]] Result<FolderState> parse_folder_state(const std::string& text);

}  // namespace tillbridge::simulator::tse
