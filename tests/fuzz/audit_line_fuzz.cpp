// A line of the audit log, its head and the lines of an export, of arbitrary text. What is read is
// written the same again, and any text that goes into an entry comes out as one that is read.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/audit/export.hpp"
#include "server/audit/line.hpp"
#include "server/audit/signing.hpp"

namespace audit = tillbridge::audit;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

void read(std::string_view text) {
  const auto line = audit::parse_line(text);
  require(line.ok() || !line.error().message.empty());
  const auto link = audit::link_of(text);
  if (line) {
    require(audit::write_line(*line) == text);
    require(link && link->n == line->n && link->prev == line->prev);
    require(audit::describe(*line).find('\n') == std::string::npos);
  }
  if (const auto head = audit::parse_head(text)) require(audit::write_head(*head) == text);
  if (const auto start = audit::parse_export_start(text)) {
    require(audit::write_export_start(*start) == text);
  }
  if (const auto left_out = audit::parse_left_out(text)) {
    require(audit::write_left_out(*left_out) == text);
  }
  if (const auto end = audit::parse_export_end(text))
    require(audit::write_export_end(*end) == text);
}

void write(const std::string& text) {
  const std::string clean = audit::clean(text);
  require(clean.size() <= audit::limits::text_bytes && audit::clean(clean) == clean);
  audit::Line line{.n = 1, .salt = std::string(32, '0'), .prev = audit::chain_start()};
  line.entry = {.kind = audit::Kind::login,
                .who = text,
                .stick = text,
                .till = text,
                .reason = text,
                .details = {{audit::Field::text, text}}};
  const std::string written = audit::write_line(line);
  require(written.find('\n') == std::string::npos);
  require(audit::parse_line(written).ok() && audit::link_of(written).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  read(text);
  write(text);
  return 0;
}
