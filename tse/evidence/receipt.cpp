#include "tse/evidence/receipt.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <optional>
#include <vector>

#include "channel/bytes/limits.hpp"
#include "tse/evidence/base64.hpp"
#include "tse/evidence/calendar.hpp"

namespace tillbridge::tse {
namespace {

/// DSFinV-K: ISO 8601 in UTC, with milliseconds. A TSE's time has none.
std::string time_text(std::uint64_t unix_s) {
  const UtcTime t = utc_time_of(static_cast<std::int64_t>(unix_s));
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02u:%02u:%02u.000Z",
                static_cast<int>(t.year), t.month, t.day, t.hour, t.minute, t.second);
  return text.data();
}

std::optional<std::uint64_t> number_of(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (error != std::errc() || end != text.end()) return std::nullopt;
  return value;
}

/// "2026-01-01T00:00:03.000Z"; the fraction may have any number of digits, or be missing.
std::optional<std::uint64_t> time_of(std::string_view text) {
  constexpr std::string_view pattern = "dddd-dd-ddTdd:dd:dd";
  if (text.size() <= pattern.size() || text.back() != 'Z') return std::nullopt;
  text.remove_suffix(1);
  std::array<unsigned, 6> fields{};  // year, month, day, hour, minute, second
  std::size_t field = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = text[i];
    if (pattern[i] != 'd') {
      if (c != pattern[i]) return std::nullopt;
      ++field;
      continue;
    }
    if (c < '0' || c > '9') return std::nullopt;
    fields.at(field) = fields.at(field) * 10 + static_cast<unsigned>(c - '0');
  }
  const std::string_view fraction = text.substr(pattern.size());
  if (!fraction.empty() &&
      (fraction.size() < 2 || fraction.front() != '.' ||
       fraction.find_first_not_of("0123456789", 1) != std::string_view::npos)) {
    return std::nullopt;
  }
  const auto unix_s = unix_of({fields[0], fields[1], fields[2], fields[3], fields[4], fields[5]});
  if (!unix_s || *unix_s < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*unix_s);
}

std::optional<Hash> hash_of(std::string_view algorithm) {
  for (const Hash hash : all_hashes) {
    if (algorithm == algorithm_name(hash)) return hash;
  }
  return std::nullopt;
}

std::optional<TimeFormat> format_of(std::string_view name) {
  for (const auto format :
       {TimeFormat::unix_time, TimeFormat::utc_time, TimeFormat::generalized_time}) {
    if (name == name_of(format)) return format;
  }
  return std::nullopt;
}

/// The twelve fields. Process data may hold semicolons of its own (Bestellung-V1 does): it is what
/// the three fields before it and the eight after it leave.
std::optional<std::array<std::string_view, 12>> fields_of(std::string_view text) {
  std::array<std::string_view, 12> fields{};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t end = text.find(';');
    if (end == std::string_view::npos) return std::nullopt;
    fields.at(i) = text.substr(0, end);
    text.remove_prefix(end + 1);
  }
  for (std::size_t i = 11; i > 3; --i) {
    const std::size_t start = text.rfind(';');
    if (start == std::string_view::npos) return std::nullopt;
    fields.at(i) = text.substr(start + 1);
    text.remove_suffix(text.size() - start);
  }
  fields.at(3) = text;
  return fields;
}

Error unreadable(const std::string& what) {
  return fail(ErrorCode::malformed, "The receipt's code cannot be read: " + what + ".");
}

}  // namespace

std::string qr_text(const Receipt& receipt) {
  return "V0;" + receipt.client + ";" + receipt.process_type + ";" + receipt.process_data + ";" +
         std::to_string(receipt.transaction) + ";" + std::to_string(receipt.counter) + ";" +
         time_text(receipt.start_s) + ";" + time_text(receipt.end_s) + ";" +
         algorithm_name(receipt.hash) + ";" + name_of(receipt.time_format) + ";" +
         base64_of(receipt.signature) + ";" + base64_of(receipt.public_point);
}

Result<Receipt> parse_qr_text(std::string_view text) {
  if (text.size() > limits::tse_receipt_text_bytes) {
    return fail(ErrorCode::limit, "The text is too long for a receipt's code (16 KiB).");
  }
  const auto fields = fields_of(text);
  if (!fields) return unreadable("it has fewer than twelve fields");
  if (fields->at(0) != "V0") return unreadable("it does not begin with the version 'V0'");
  const auto transaction = number_of(fields->at(4));
  const auto counter = number_of(fields->at(5));
  if (!transaction) return unreadable("its transaction number is no number");
  if (!counter) return unreadable("its signature counter is no number");
  const auto start = time_of(fields->at(6));
  const auto end = time_of(fields->at(7));
  if (!start || !end) return unreadable("a time is not written as 2026-01-01T00:00:03.000Z");
  const auto hash = hash_of(fields->at(8));
  if (!hash) return unreadable("its signature algorithm is not ecdsa-plain with SHA-2 or SHA-3");
  const auto format = format_of(fields->at(9));
  if (!format) return unreadable("its time format is none of unixTime, utcTime, generalizedTime");
  auto signature = from_base64(fields->at(10));
  auto point = from_base64(fields->at(11));
  if (!signature) return unreadable("its signature is not Base64");
  if (!point) return unreadable("its public key is not Base64");
  Receipt receipt;
  receipt.client = fields->at(1);
  receipt.process_type = fields->at(2);
  receipt.process_data = fields->at(3);
  receipt.transaction = *transaction;
  receipt.counter = *counter;
  receipt.start_s = *start;
  receipt.end_s = *end;
  receipt.hash = *hash;
  receipt.time_format = *format;
  receipt.signature = std::move(signature).value();
  receipt.public_point = std::move(point).value();
  return receipt;
}

Status check_receipt(const Receipt& receipt) {
  TransactionLog finish;
  finish.step = TransactionStep::finish;
  finish.client = receipt.client;
  finish.process_data.assign(receipt.process_data.begin(), receipt.process_data.end());
  finish.process_type = receipt.process_type;
  finish.number = receipt.transaction;
  LogMessage message;
  message.content = std::move(finish);
  message.serial = serial_of_point(receipt.public_point);
  message.hash = receipt.hash;
  message.counter = receipt.counter;
  message.time_format = receipt.time_format;
  message.time_s = receipt.end_s;
  const Bytes data = signed_part(message);
  bool on_a_curve = false;
  for (const Curve curve : all_curves) {
    const auto key = PublicKey::from_point(curve, receipt.public_point);
    if (!key) continue;
    on_a_curve = true;
    if (key->verify(receipt.hash, data, receipt.signature)) return {};
  }
  if (!on_a_curve) {
    return fail(ErrorCode::malformed,
                "The receipt's public key is a point on none of the curves of a TSE.");
  }
  return fail(ErrorCode::refused,
              "The receipt's signature does not fit what the receipt says: a field was changed, or "
              "another TSE signed it.");
}

}  // namespace tillbridge::tse
