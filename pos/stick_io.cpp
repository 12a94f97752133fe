#include "pos/stick_io.hpp"

#include <array>
#include <utility>

#include "pos/trouble.hpp"

namespace tillbridge::pos {
namespace {

constexpr std::array<std::pair<OpenStyle, const char*>, 5> style_names{{
    {OpenStyle::direct, "direct"},
    {OpenStyle::direct_zeroed, "direct-zeroed"},
    {OpenStyle::recreated, "recreated"},
    {OpenStyle::each_time, "each-time"},
    {OpenStyle::cached, "cached"},
}};

}  // namespace

Result<OpenStyle> parse_open_style(std::string_view name) {
  for (const auto& [style, its_name] : style_names) {
    if (name == its_name) return style;
  }
  return fail(ErrorCode::config, "unknown open style \"" + std::string(name) +
                                     "\": direct, direct-zeroed, recreated, each-time or cached");
}

const char* name_of(OpenStyle style) {
  for (const auto& [its_style, name] : style_names) {
    if (style == its_style) return name;
  }
  return "?";
}

Failure from_io(const Error& error) {
  switch (error.code) {
    case ErrorCode::config:
      return trouble(Trouble::usage, error.message);
    case ErrorCode::refused:
      return trouble(Trouble::busy, error.message);
    case ErrorCode::io:
    case ErrorCode::unavailable:
      return trouble(Trouble::gone, error.message);
    case ErrorCode::malformed:
    case ErrorCode::limit:
    case ErrorCode::protocol:
      break;
  }
  return trouble(Trouble::failed, error.message);
}

}  // namespace tillbridge::pos
