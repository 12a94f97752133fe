#include "server/enrolment/qr.hpp"

#include <memory>
#include <span>
#include <vector>

#include <qrencode.h>

namespace tillbridge::enrolment {
namespace {

constexpr std::size_t quiet_modules = 4;

struct FreeCode {
  void operator()(QRcode* code) const { QRcode_free(code); }
};

}  // namespace

Result<QrPicture> draw_qr(std::string_view text) {
  const std::vector<unsigned char> bytes(text.begin(), text.end());
  const std::unique_ptr<QRcode, FreeCode> code(
      QRcode_encodeData(static_cast<int>(bytes.size()), bytes.data(), 0, QR_ECLEVEL_M));
  if (!code) return fail(ErrorCode::limit, "the pairing line does not fit into a QR code");
  const auto width = static_cast<std::size_t>(code->width);
  const std::span<const unsigned char> modules(code->data, width * width);
  const std::size_t side = width + 2 * quiet_modules;
  const auto dark = [&](std::size_t row, std::size_t column) {
    if (row < quiet_modules || column < quiet_modules) return false;
    row -= quiet_modules;
    column -= quiet_modules;
    return row < width && column < width && (modules[row * width + column] & 1U) != 0;
  };

  QrPicture picture;
  const std::string size = std::to_string(side);
  picture.svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + size + " " + size +
                "\" shape-rendering=\"crispEdges\" role=\"img\"><rect width=\"" + size +
                "\" height=\"" + size + "\" fill=\"#fff\"/><path fill=\"#000\" d=\"";
  for (std::size_t row = 0; row < side; ++row) {
    for (std::size_t column = 0; column < side; ++column) {
      if (!dark(row, column)) continue;
      std::size_t end = column;
      while (end < side && dark(row, end)) ++end;
      picture.svg += "M" + std::to_string(column) + " " + std::to_string(row) + "h" +
                     std::to_string(end - column) + "v1h-" + std::to_string(end - column) + "z";
      column = end;
    }
  }
  picture.svg += "\"/></svg>";
  for (std::size_t row = 0; row < side; row += 2) {
    for (std::size_t column = 0; column < side; ++column) {
      const bool upper = !dark(row, column);
      const bool lower = row + 1 >= side || !dark(row + 1, column);
      picture.text += upper ? (lower ? "█" : "▀") : (lower ? "▄" : " ");
    }
    picture.text += "\n";
  }
  return picture;
}

}  // namespace tillbridge::enrolment
