#include "server/simulator/witness.hpp"

#include <algorithm>
#include <numeric>
#include <string_view>

namespace tillbridge::simulator {
namespace {

template <typename Map>
std::string by_code(const Map& counts) {
  std::string text = "{";
  for (const auto& [code, count] : counts) {
    if (text.size() > 1) text += ",";
    constexpr std::string_view digits = "0123456789abcdef";
    const auto value = static_cast<std::uint32_t>(code);
    text += "\"0x";
    if (value > 0xFFU) text += digits[(value >> 8U) & 0xFU];  // Diebold Nixdorf: up to 999
    text += digits[(value >> 4U) & 0xFU];
    text += digits[value & 0xFU];
    text += "\":" + std::to_string(count);
  }
  return text + "}";
}

}  // namespace

void Witness::power_cycle() {
  ++power_cycles_;
  last_frame_.clear();
}

void Witness::command(std::uint32_t code, ByteView frame) {
  ++commands_[code];
  if (!frame.empty() &&
      std::equal(frame.begin(), frame.end(), last_frame_.begin(), last_frame_.end())) {
    ++repeated_frames_;
  }
  last_frame_.assign(frame.begin(), frame.end());
}

void Witness::answer_read() {
  ++answers_read_;
  last_frame_.clear();
}

void Witness::signature(std::uint64_t counter) {
  ++signatures_;
  if (last_counter_ != 0 && counter != last_counter_ + 1) ++counter_gaps_;
  last_counter_ = counter;
}

std::uint64_t Witness::commands() const {
  return std::accumulate(commands_.begin(), commands_.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& entry) { return sum + entry.second; });
}

std::uint64_t Witness::scsi_commands(std::uint8_t operation_code) const {
  const auto found = scsi_commands_.find(operation_code);
  return found == scsi_commands_.end() ? 0 : found->second;
}

std::string Witness::to_json() const {
  std::string text = "{";
  const auto number = [&](const char* name, std::uint64_t value) {
    text += "\"" + std::string(name) + "\":" + std::to_string(value) + ",";
  };
  number("signatures", signatures_);
  number("last_counter", last_counter_);
  number("counter_gaps", counter_gaps_);
  number("commands", commands());
  number("repeated_frames", repeated_frames_);
  number("commands_while_busy", commands_while_busy_);
  number("reads_while_busy", reads_while_busy_);
  number("answers_read", answers_read_);
  number("answers_discarded", answers_discarded_);
  number("power_cycles", power_cycles_);
  number("bus_resets", bus_resets_);
  number("class_resets", class_resets_);
  number("unplugs", unplugs_);
  number("faults", faults_);
  return text + "\"scsi\":" + by_code(scsi_commands_) + ",\"tse\":" + by_code(commands_) + "}";
}

}  // namespace tillbridge::simulator
