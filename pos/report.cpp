#include "pos/report.hpp"

#include <ostream>

#include <nlohmann/json.hpp>

namespace tillbridge::pos {

void Reporter::report(const Event& event) {
  if (json_) {
    nlohmann::ordered_json object;
    object["event"] = event.name;
    for (const auto& [key, value] : event.values)
      std::visit([&, name = key](const auto& content) { object[name] = content; }, value);
    // What a stick calls itself need not be UTF-8.
    out_ << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n'
         << std::flush;
  } else if (!event.text.empty()) {
    out_ << event.text << '\n' << std::flush;
  }
}

void Reporter::tell(const std::string& text) {
  if (!json_) out_ << text << '\n' << std::flush;
}

void Reporter::show(const std::string& text) {
  if (!json_) out_ << text << std::flush;
}

}  // namespace tillbridge::pos
