// Protocol numbers with a name, for the log: "STALL_PID (0xC0000004)".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace tillbridge::rdpeusb::pdu {

struct NamedValue {
  std::uint32_t value;
  const char* name;
};

/// "0x" and at least `digits` upper-case hex digits.
[[nodiscard]] std::string hex_text(std::uint32_t value, std::size_t digits);
/// "NAME (0x...)", or the number alone if the table does not have it.
[[nodiscard]] std::string named_value_text(std::span<const NamedValue> names, std::uint32_t value,
                                           std::size_t digits);

}  // namespace tillbridge::rdpeusb::pdu
