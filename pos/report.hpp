// Reporter: one line for each event, for a person or as JSON.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace tillbridge::pos {

struct Event {
  using Value = std::variant<std::string, std::uint64_t, std::int64_t, bool,
                             std::vector<std::string>, std::vector<std::uint64_t>>;
  std::string name;  ///< "receipt", "status", ...: the member "event"
  std::string text;  ///< for a person; empty: for programs only
  std::vector<std::pair<std::string, Value>> values;
};

class Reporter {
 public:
  /// `json`: an object a line instead of text.
  Reporter(std::ostream& out, bool json) : out_(out), json_(json) {}
  void report(const Event& event);
  /// Progress: a line for a person only.
  void tell(const std::string& text);
  /// Several lines as they are, for a person only: the picture of a QR code.
  void show(const std::string& text);
  [[nodiscard]] bool json() const { return json_; }

 private:
  std::ostream& out_;
  bool json_;
};

}  // namespace tillbridge::pos
