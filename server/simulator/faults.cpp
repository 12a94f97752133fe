#include "server/simulator/faults.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <utility>

#include "channel/bytes/limits.hpp"

namespace tillbridge::simulator {
namespace {

constexpr std::array<std::pair<FaultPoint, const char*>, 7> points{{
    {FaultPoint::command, "command"},
    {FaultPoint::data, "data"},
    {FaultPoint::status, "status"},
    {FaultPoint::before_command, "before-command"},
    {FaultPoint::after_command, "after-command"},
    {FaultPoint::between_steps, "between-steps"},
    {FaultPoint::answer, "answer"},
}};

constexpr std::array<std::pair<FaultAction, const char*>, 17> actions{{
    {FaultAction::delay, "delay"},
    {FaultAction::stall, "stall"},
    {FaultAction::silence, "silence"},
    {FaultAction::short_data, "short-data"},
    {FaultAction::wrong_residue, "wrong-residue"},
    {FaultAction::phase_error, "phase-error"},
    {FaultAction::bit_flip, "bit-flip"},
    {FaultAction::unplug, "unplug"},
    {FaultAction::power_cycle, "power-cycle"},
    {FaultAction::dead, "dead"},
    {FaultAction::zero_answer, "zero-answer"},
    {FaultAction::busy_for_ever, "busy-for-ever"},
    {FaultAction::element_timeout, "element-timeout"},
    {FaultAction::token_kept, "token-kept"},
    {FaultAction::stale_answer, "stale-answer"},
    {FaultAction::lose_answer, "lose-answer"},
    {FaultAction::torn_write, "torn-write"},
}};

template <typename Table>
std::string names(const Table& table) {
  std::string text;
  for (const auto& [value, name] : table) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

template <typename Table>
auto find(const Table& table, std::string_view word)
    -> std::optional<std::decay_t<decltype(table[0].first)>> {
  for (const auto& [value, name] : table) {
    if (word == name) return value;
  }
  return std::nullopt;
}

template <typename Table, typename Value>
const char* name_in(const Table& table, Value value) {
  for (const auto& [known, name] : table) {
    if (known == value) return name;
  }
  return "?";
}

std::string_view next_word(std::string_view& text) {
  const std::size_t begin = std::min(text.find_first_not_of(' '), text.size());
  const std::size_t end = std::min(text.find(' ', begin), text.size());
  const std::string_view word = text.substr(begin, end - begin);
  text.remove_prefix(end);
  return word;
}

std::optional<std::uint32_t> number(std::string_view text) {
  int base = 10;
  if (text.substr(0, 2) == "0x") {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

Error wrong(std::string_view text, const std::string& why) {
  return fail(ErrorCode::config, "fault \"" + std::string(text) + "\": " + why);
}

}  // namespace

const char* name_of(FaultPoint point) {
  return name_in(points, point);
}

const char* name_of(FaultAction action) {
  return name_in(actions, action);
}

Result<Fault> parse_fault(std::string_view text) {
  std::string_view rest = text;
  Fault fault;
  const auto point = find(points, next_word(rest));
  if (!point) return wrong(text, "the first word must be one of " + names(points));
  const auto action = find(actions, next_word(rest));
  if (!action) return wrong(text, "the second word must be one of " + names(actions));
  fault.point = *point;
  fault.action = *action;
  for (std::string_view word = next_word(rest); !word.empty(); word = next_word(rest)) {
    const std::size_t equals = word.find('=');
    const std::string_view key = word.substr(0, equals);
    const auto value =
        equals == std::string_view::npos ? std::nullopt : number(word.substr(equals + 1));
    if (!value) return wrong(text, "'" + std::string(word) + "' must be KEY=NUMBER");
    if (key == "skip") {
      fault.skip = *value;
    } else if (key == "times") {
      fault.times = *value;
    } else if (key == "ms") {
      fault.amount_ms = *value;
    } else if (key == "percent" && *value >= 1 && *value <= 100) {
      fault.percent = *value;
    } else if (key == "code") {
      fault.code = *value;
    } else {
      return wrong(text, "'" + std::string(word) +
                             "': the keys are skip, times, ms, percent (1 to 100) and code");
    }
  }
  return fault;
}

Status FaultPlan::add(const Fault& fault) {
  if (entries_.size() >= limits::simulated_faults) {
    return fail(ErrorCode::limit, "a stick has at most " +
                                      std::to_string(limits::simulated_faults) +
                                      " faults at a time; clear them first");
  }
  entries_.push_back({fault});
  return {};
}

std::optional<Fault> FaultPlan::strike(FaultPoint point, std::uint32_t code) {
  for (Entry& entry : entries_) {
    const Fault& fault = entry.fault;
    if (fault.point != point || (fault.code && *fault.code != code)) continue;
    if (fault.times != 0 && entry.struck >= fault.times) continue;
    if (entry.skipped < fault.skip) {
      ++entry.skipped;
      continue;
    }
    if (fault.percent < 100 && random(100) >= fault.percent) continue;
    ++entry.struck;
    return fault;
  }
  return std::nullopt;
}

std::uint64_t FaultPlan::random(std::uint64_t below) {
  // Not a std distribution: those may differ from one library to the next, and a seed must not.
  return below == 0 ? 0 : random_() % below;
}

}  // namespace tillbridge::simulator
