// The QR code of a receipt, drawn into a terminal.
#pragma once

#include <string>
#include <string_view>

#include "channel/bytes/result.hpp"

namespace tillbridge::pos {

/// Two modules a character (half blocks), with the quiet zone of four modules around it, error
/// correction level M. `colours`: black and white by escape sequences, as a terminal needs them
/// whatever its own colours are; without, light modules are drawn, for light text on dark ground.
/// ErrorCode::limit: too long for any QR code.
[[nodiscard]] Result<std::string> draw_qr(std::string_view text, bool colours);

}  // namespace tillbridge::pos
