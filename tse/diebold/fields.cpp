#include "tse/diebold/fields.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <limits>

#include "tse/diebold/base64.hpp"

namespace tillbridge::tse::diebold {
namespace {

std::optional<std::uint64_t> parse_digits(std::string_view text, int base) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value, base);
  if (text.empty() || error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

/// Reads a response's parameters in a row; a wrong one fails it for good, and its error says which.
class ParameterReader {
 public:
  explicit ParameterReader(const Response& response) : response_(response) {}

  [[nodiscard]] bool has_more() const { return at_ < response_.parameters.size(); }
  std::string text() {
    if (!has_more()) {
      wrong("is missing");
      return {};
    }
    return response_.parameters[at_++];
  }
  std::uint64_t number() {
    const std::string digits = text();
    const auto value = parse_number(digits);
    if (!value) wrong("is no number");
    return value.value_or(0);
  }
  /// Empty in old firmware.
  std::uint64_t number_or_nothing() {
    if (has_more() && response_.parameters[at_].empty()) {
      ++at_;
      return 0;
    }
    return number();
  }
  std::uint32_t hexadecimal(std::size_t digits) {
    const std::string value = text();
    const auto number = parse_digits(value, 16);
    if (value.size() != digits || !number) {
      wrong("is no hexadecimal number");
      return 0;
    }
    return static_cast<std::uint32_t>(*number);
  }
  std::int64_t time() {
    const auto value = parse_time(text());
    if (!value) wrong("is no time");
    return value.value_or(0);
  }
  Bytes binary() {
    auto data = from_base64(text());
    if (!data) wrong("is not base64");
    return data ? *std::move(data) : Bytes{};
  }
  void wrong(const char* what) {
    if (!error_.empty()) return;
    error_ = std::string("the TSE's answer to '") +
             name_of(static_cast<Command>(response_.command)) + "' makes no sense: parameter " +
             std::to_string(std::max<std::size_t>(at_, 1)) + " " + what;
  }
  template <typename T>
  [[nodiscard]] Result<T> result(T value) const {
    if (!error_.empty()) return fail(ErrorCode::malformed, error_);
    return value;
  }

 private:
  const Response& response_;
  std::size_t at_ = 0;
  std::string error_;
};

std::string digits(std::uint64_t value) {
  return std::to_string(value);
}

std::string hexadecimal(std::uint32_t value, std::size_t count) {
  std::string text(count, '0');
  for (std::size_t i = count; i-- > 0; value >>= 4U) text[i] = "0123456789ABCDEF"[value & 0xFU];
  return text;
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const auto value = parse_digits(text, 10);
  return value && *value <= most ? value : std::nullopt;
}

std::string time_text(std::int64_t unix_s) {
  using namespace std::chrono;
  const sys_seconds time{seconds{unix_s}};
  const auto day = floor<days>(time);
  const year_month_day date{day};
  const hh_mm_ss clock{time - day};
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%02u.%02u.%04d %02d:%02d:%02d",
                static_cast<unsigned>(date.day()), static_cast<unsigned>(date.month()),
                static_cast<int>(date.year()), static_cast<int>(clock.hours().count()),
                static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text.data();
}

std::optional<std::int64_t> parse_time(std::string_view text) {
  using namespace std::chrono;
  constexpr std::string_view shape = "dd.MM.yyyy HH:mm:ss";
  if (text.size() != shape.size()) return std::nullopt;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const bool is_digit = text[i] >= '0' && text[i] <= '9';
    const bool letter =
        (shape[i] >= 'a' && shape[i] <= 'z') || (shape[i] >= 'A' && shape[i] <= 'Z');
    if (letter ? !is_digit : text[i] != shape[i]) return std::nullopt;
  }
  const auto part = [&](std::size_t at, std::size_t size) {
    return static_cast<int>(parse_number(text.substr(at, size)).value_or(0));
  };
  const year_month_day date{year{part(6, 4)}, month{static_cast<unsigned>(part(3, 2))},
                            day{static_cast<unsigned>(part(0, 2))}};
  const int hour = part(11, 2), minute = part(14, 2), second = part(17, 2);
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  const sys_seconds time = sys_days{date} + hours{hour} + minutes{minute} + seconds{second};
  return time.time_since_epoch().count();
}

std::vector<Parameters> process_data_packets(ByteView data) {
  std::vector<Parameters> packets;
  while (!data.empty()) {
    const ByteView piece = data.first(std::min(data.size(), process_data_packet_bytes));
    packets.push_back({digits(packets.size()), to_base64(piece)});
    data = data.subspan(piece.size());
  }
  return packets;
}

Parameters parameters_of(const DeviceStatus& status) {
  return {hexadecimal(static_cast<std::uint16_t>(status.error), 4), hexadecimal(status.state, 2)};
}

Result<DeviceStatus> parse_status(const Response& response) {
  ParameterReader reader(response);
  DeviceStatus status;
  status.error = static_cast<DeviceError>(reader.hexadecimal(4));
  status.state = static_cast<std::uint8_t>(reader.hexadecimal(2));
  return reader.result(status);
}

Parameters parameters_of(const CountryInfo& info) {
  return {digits(info.api_major), digits(info.api_minor), digits(info.country),
          digits(info.hardware)};
}

Result<CountryInfo> parse_country_info(const Response& response) {
  ParameterReader reader(response);
  CountryInfo info;
  info.api_major = reader.number();
  info.api_minor = reader.number();
  info.country = reader.number();
  info.hardware = reader.number();
  return reader.result(info);
}

Parameters parameters_of(const FirmwareInfo& info) {
  return {digits(info.major),        digits(info.minor),        digits(info.build),
          digits(info.loader_major), digits(info.loader_minor), digits(info.loader_build)};
}

Result<FirmwareInfo> parse_firmware_info(const Response& response) {
  ParameterReader reader(response);
  FirmwareInfo info;
  info.major = reader.number();
  info.minor = reader.number();
  info.build = reader.number();
  info.loader_major = reader.number();
  info.loader_minor = reader.number();
  info.loader_build = reader.number();
  return reader.result(info);
}

Parameters parameters_of(const BufferPacket& packet) {
  return {digits(packet.buffer), digits(packet.sequence), packet.more ? "00" : "01",
          digits(packet.data.size()), std::string(packet.data.begin(), packet.data.end())};
}

Result<BufferPacket> parse_buffer_packet(const Response& response) {
  ParameterReader reader(response);
  BufferPacket packet;
  packet.buffer = reader.number();
  packet.sequence = reader.number();
  packet.more = reader.hexadecimal(2) == 0;
  const std::uint64_t size = reader.number();
  const std::string data = reader.text();
  if (data.size() != size) reader.wrong("has not the size that the one before it says");
  packet.data.assign(data.begin(), data.end());
  return reader.result(std::move(packet));
}

Parameters parameters_of(const MemoryInfo& info) {
  return {digits(info.capacity), digits(info.free)};
}

Result<MemoryInfo> parse_memory_info(const Response& response) {
  ParameterReader reader(response);
  MemoryInfo info;
  info.capacity = reader.number();
  info.free = reader.number();
  return reader.result(info);
}

Parameters parameters_of(const DeviceInfo& info) {
  return {
      info.serial,           digits(info.slots), digits(info.occupied), digits(info.in_maintenance),
      digits(info.inserted), info.board_version, info.ip_address};
}

Result<DeviceInfo> parse_device_info(const Response& response) {
  ParameterReader reader(response);
  DeviceInfo info;
  info.serial = reader.text();
  info.slots = reader.number();
  info.occupied = reader.number();
  info.in_maintenance = reader.number();
  info.inserted = reader.number();
  info.board_version = reader.text();
  info.ip_address = reader.text();
  return reader.result(std::move(info));
}

Parameters parameters_of(const SlotInfo& info) {
  return {hexadecimal(info.slot, 2),
          hexadecimal(info.tse, 2),
          digits(info.crypto_vendor),
          info.crypto_info,
          digits(info.capacity),
          digits(info.free),
          time_text(info.certificate_end_s),
          digits(info.signatures_left),
          info.algorithm,
          digits(info.crypto_firmware_type),
          info.description};
}

Result<SlotInfo> parse_slot_info(const Response& response) {
  ParameterReader reader(response);
  SlotInfo info;
  info.slot = static_cast<std::uint8_t>(reader.hexadecimal(2));
  info.tse = static_cast<std::uint8_t>(reader.hexadecimal(2));
  info.crypto_vendor = reader.number();
  info.crypto_info = reader.text();
  info.capacity = reader.number_or_nothing();
  info.free = reader.number_or_nothing();
  info.certificate_end_s = reader.time();
  info.signatures_left = reader.number();
  info.algorithm = reader.text();
  if (reader.has_more()) info.crypto_firmware_type = reader.number();
  if (reader.has_more()) info.description = reader.text();
  return reader.result(std::move(info));
}

Result<SelfTestResult> parse_self_test(const Response& response) {
  ParameterReader reader(response);
  const std::uint64_t value = reader.number();
  if (value < 1 || value > 3) reader.wrong("is none of 1, 2 and 3");
  return reader.result(static_cast<SelfTestResult>(value));
}

Parameters start_parameters(const Signature& signature) {
  return {time_text(signature.time_s), digits(signature.transaction), to_base64(signature.serial),
          digits(signature.counter), to_base64(signature.signature)};
}

Parameters end_parameters(const Signature& signature) {
  return {time_text(signature.time_s), digits(signature.counter), to_base64(signature.signature)};
}

Result<Signature> parse_signature(const Response& response) {
  ParameterReader reader(response);
  Signature signature;
  signature.time_s = reader.time();
  if (response.command == static_cast<std::uint16_t>(Command::start_end)) {
    signature.transaction = reader.number();
    signature.serial = reader.binary();
  }
  signature.counter = reader.number();
  signature.signature = reader.binary();
  return reader.result(std::move(signature));
}

Parameters parameters_of(const LoginAnswer& answer) {
  return {digits(static_cast<std::uint64_t>(answer.result)), digits(answer.tries_left)};
}

Result<LoginAnswer> parse_login(const Response& response) {
  ParameterReader reader(response);
  LoginAnswer answer;
  const std::uint64_t result = reader.number();
  // The known client takes 0 for success, too.
  answer.result = result <= 1   ? LoginResult::ok
                  : result == 3 ? LoginResult::blocked
                                : LoginResult::wrong;
  if (reader.has_more()) answer.tries_left = reader.number();
  return reader.result(answer);
}

Parameters parameters_of(const Count& count) {
  return {digits(count.most), digits(count.current)};
}

Result<Count> parse_count(const Response& response) {
  ParameterReader reader(response);
  Count count;
  count.most = reader.number();
  count.current = reader.number();
  return reader.result(count);
}

Result<std::uint64_t> parse_single_number(const Response& response) {
  ParameterReader reader(response);
  const std::uint64_t value = reader.number();
  return reader.result(value);
}

Result<std::vector<std::uint64_t>> parse_numbers(const Response& response) {
  ParameterReader reader(response);
  std::vector<std::uint64_t> numbers;
  while (reader.has_more()) numbers.push_back(reader.number());
  return reader.result(std::move(numbers));
}

Result<std::vector<Bytes>> parse_binaries(const Response& response) {
  ParameterReader reader(response);
  std::vector<Bytes> values;
  while (reader.has_more()) values.push_back(reader.binary());
  return reader.result(std::move(values));
}

}  // namespace tillbridge::tse::diebold
