#include "pos/archives.hpp"

#include <algorithm>
#include <array>
#include <utility>
#include <variant>

#include "tse/evidence/tar.hpp"

namespace tillbridge::pos {
namespace {

bool is_log(std::string_view name) {
  constexpr std::string_view ending = ".log";
  return name.size() >= ending.size() && name.substr(name.size() - ending.size()) == ending;
}

}  // namespace

std::string hexadecimal(ByteView bytes) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text.push_back(digits[byte >> 4U]);
    text.push_back(digits[byte & 15U]);
  }
  return text;
}

Bytes point_of_serial(ByteView content, const evidence::SerialNumber& serial) {
  constexpr std::uint8_t uncompressed = 0x04;
  constexpr std::array<std::size_t, 4> field_sizes{32, 48, 64, 66};
  for (std::size_t begin = 0; begin < content.size(); ++begin) {
    if (content[begin] != uncompressed) continue;
    for (const std::size_t field : field_sizes) {
      const std::size_t size = 1 + 2 * field;
      if (size > content.size() - begin) break;
      const ByteView point = content.subspan(begin, size);
      if (evidence::serial_of_point(point) == serial) return {point.begin(), point.end()};
    }
  }
  return {};
}

Outcome<std::vector<evidence::LogMessage>> transaction_logs(ByteView archive) {
  const Result<std::vector<evidence::TarEntry>> entries = evidence::read_tar(archive);
  if (!entries) return trouble(Trouble::failed, entries.error().message);
  std::vector<evidence::LogMessage> logs;
  for (const evidence::TarEntry& entry : *entries) {
    if (!is_log(entry.name)) continue;
    Result<evidence::ParsedLog> log = evidence::parse_log(entry.content);
    if (!log) return trouble(Trouble::failed, entry.name + ": " + log.error().message);
    if (std::holds_alternative<evidence::TransactionLog>(log->message.content))
      logs.push_back(std::move(log->message));
  }
  std::sort(logs.begin(), logs.end(),
            [](const evidence::LogMessage& a, const evidence::LogMessage& b) {
              return a.counter < b.counter;
            });
  return logs;
}

Status ArchiveJoiner::add(ByteView archive) {
  const Result<std::vector<evidence::TarEntry>> entries = evidence::read_tar(archive);
  if (!entries) return entries.error();
  for (const evidence::TarEntry& entry : *entries) {
    if (is_log(entry.name)) {
      const Result<evidence::ParsedLog> log = evidence::parse_log(entry.content);
      if (!log) return fail(ErrorCode::malformed, entry.name + ": " + log.error().message);
      if (log->message.counter <= last_counter_) continue;
      last_counter_ = log->message.counter;
    } else if (!other_files_.insert(entry.name).second) {
      continue;
    }
    if (Status taken = sink_(evidence::tar_entry(entry)); !taken) return taken;
  }
  return {};
}

}  // namespace tillbridge::pos
