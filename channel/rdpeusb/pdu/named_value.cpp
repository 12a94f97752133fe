#include "channel/rdpeusb/pdu/named_value.hpp"

#include <algorithm>
#include <string_view>

namespace tillbridge::rdpeusb::pdu {

std::string hex_text(std::uint32_t value, std::size_t digits) {
  static constexpr std::string_view alphabet = "0123456789ABCDEF";
  std::string text;
  for (; value != 0 || text.size() < digits; value >>= 4U) text.push_back(alphabet[value & 0xFU]);
  text += "x0";
  std::reverse(text.begin(), text.end());
  return text;
}

std::string named_value_text(std::span<const NamedValue> names, std::uint32_t value,
                             std::size_t digits) {
  const auto found = std::find_if(names.begin(), names.end(), [value](const NamedValue& entry) {
    return entry.value == value;
  });
  if (found == names.end()) return hex_text(value, digits);
  return std::string(found->name) + " (" + hex_text(value, digits) + ")";
}

}  // namespace tillbridge::rdpeusb::pdu
