// What the program tells a person (stderr, one line each) and a script (stdout, one JSON object
// each).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "channel/rdpeusb/till_role.hpp"

namespace tillbridge::terminal {

/// A number or a word that a script may want without parsing the text. Units are in the name.
struct Field {
  std::string name;
  std::variant<std::string, std::int64_t, double, bool, std::vector<std::string>> value;
};

/// One event that somebody cares about.
struct Report {
  std::string event;  ///< for scripts: "device_arrived"
  std::string text;   ///< for a person, naming the device where there is one
  std::vector<Field> fields;
  rdpeusb::Level level = rdpeusb::Level::info;
};

/// A text as one line of a log that a client cannot forge lines in: control characters become '?',
/// what is longer than 2 KiB is cut.
[[nodiscard]] std::string one_line(std::string_view text);

/// Where reports go. report() may be called from any thread.
class Reporter {
 public:
  explicit Reporter(bool json) : json_(json) {}
  /// `session` 0: the program itself.
  void report(std::uint32_t session, const Report& report);

 private:
  bool json_;
};

}  // namespace tillbridge::terminal
