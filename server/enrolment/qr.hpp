// A text as a QR code, for the page and for a terminal.
#pragma once

#include <string>
#include <string_view>

#include "channel/bytes/result.hpp"

namespace tillbridge::enrolment {

struct QrPicture {
  std::string svg;   ///< black on white, with a quiet zone; without a size of its own
  std::string text;  ///< lines of half blocks, for a terminal with light letters on dark
};
[[nodiscard]] Result<QrPicture> draw_qr(std::string_view text);

}  // namespace tillbridge::enrolment
