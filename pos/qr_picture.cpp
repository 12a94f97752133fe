#include "pos/qr_picture.hpp"

#include <memory>
#include <span>
#include <vector>

#include <qrencode.h>

namespace tillbridge::pos {
namespace {

constexpr std::size_t quiet_modules = 4;

struct FreeCode {
  void operator()(QRcode* code) const { QRcode_free(code); }
};

}  // namespace

Result<std::string> draw_qr(std::string_view text, bool colours) {
  const std::vector<unsigned char> bytes(text.begin(), text.end());
  const std::unique_ptr<QRcode, FreeCode> code(
      QRcode_encodeData(static_cast<int>(bytes.size()), bytes.data(), 0, QR_ECLEVEL_M));
  if (!code) {
    return fail(ErrorCode::limit, "a text of " + std::to_string(text.size()) +
                                      " bytes does not fit into a QR code (at most 2331)");
  }
  const auto width = static_cast<std::size_t>(code->width);
  const std::span<const unsigned char> modules(code->data, width * width);
  const auto light = [&](std::size_t row, std::size_t column) {
    if (row < quiet_modules || column < quiet_modules) return true;
    row -= quiet_modules;
    column -= quiet_modules;
    if (row >= width || column >= width) return true;
    return (modules[row * width + column] & 1U) == 0;
  };

  const std::size_t side = width + 2 * quiet_modules;
  std::string picture;
  for (std::size_t row = 0; row < side; row += 2) {
    if (colours) picture += "\033[97;40m";
    for (std::size_t column = 0; column < side; ++column) {
      const bool upper = light(row, column);
      const bool lower = row + 1 < side && light(row + 1, column);
      picture += upper ? (lower ? "█" : "▀") : (lower ? "▄" : " ");
    }
    picture += colours ? "\033[0m\n" : "\n";
  }
  return picture;
}

}  // namespace tillbridge::pos
