// A request as any program may send it: body, path and times are taken apart without harm, and what
// is taken keeps its limits.

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/admin/api_body.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tillbridge::admin;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Body body(text);
  if (body.text("reason", limits::reason_bytes).size() > limits::reason_bytes && !body.problem()) {
    std::abort();
  }
  const auto minutes = body.maybe_number("minutes", 1, limits::block_minutes);
  if (minutes && (*minutes < 1 || *minutes > limits::block_minutes)) std::abort();
  (void)body.maybe_flag("on");
  (void)body.required_text("stick", limits::parameter_bytes);
  if (const auto& problem = body.problem(); problem && problem->remedy.empty()) std::abort();
  if (const auto segments = segments_of(text)) {
    for (const auto& segment : *segments) {
      if (segment.empty() || segment.size() > limits::parameter_bytes) std::abort();
    }
  }
  (void)time_of(text, size % 2 == 0);
  return 0;
}
