// TtyLine: a serial TSE on a tty.
#pragma once

#include <memory>
#include <string>

#include "pos/stick_io.hpp"

namespace tillbridge::pos {

/// Raw, 9600 8N1 (which means nothing on USB), DTR set, for this process alone. ErrorCode::refused:
/// another program has it open.
[[nodiscard]] Result<std::unique_ptr<SerialLine>> open_tty_line(const std::string& path);

}  // namespace tillbridge::pos
