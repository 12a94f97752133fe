#include "server/usb/stick_identity.hpp"

#include <array>
#include <cstdint>
#include <optional>

#include "channel/bytes/limits.hpp"

namespace tillbridge::server {

namespace {

constexpr std::size_t busid_characters = 31;
constexpr std::size_t model_characters = 4 /* VID */ + 1 /* : */ + 4 /* PID */;
constexpr std::string_view hex_digits = "0123456789abcdef";

std::string hex(std::uint32_t value, unsigned digits) {
  std::string text(digits, '0');
  for (unsigned index = 0; index < digits; ++index) {
    text[digits - 1 - index] = hex_digits[(value >> (4 * index)) & 0xFU];
  }
  return text;
}

std::optional<std::uint16_t> parse_hex4(std::string_view text) {
  if (text.size() != 4) return std::nullopt;
  std::uint16_t value = 0;
  for (const char character : text) {
    const char lower =
        character >= 'A' && character <= 'F' ? static_cast<char>(character + 32) : character;
    const std::size_t digit = hex_digits.find(lower);
    if (digit == std::string_view::npos) return std::nullopt;
    value = static_cast<std::uint16_t>(std::size_t{value} * 16 + digit);
  }
  return value;
}

// FNV-1a: the same on every machine and in every release, as an identity must be.
std::uint32_t hash(std::string_view text) {
  std::uint32_t value = 2166136261U;
  for (const char character : text) {
    value = (value ^ static_cast<unsigned char>(character)) * 16777619U;
  }
  return value;
}

std::string model_text(std::uint16_t vendor_id, std::uint16_t product_id) {
  return hex(vendor_id, 4) + ":" + hex(product_id, 4);
}

}  // namespace

StickIdentity StickIdentity::of(const usb::DeviceDescription& description) {
  StickIdentity identity;
  identity.vendor_id = description.device.vendor_id;
  identity.product_id = description.device.product_id;
  identity.serial = description.serial;
  if (identity.serial.empty()) identity.path = description.path;
  return identity;
}

std::string StickIdentity::text() const {
  return model_text(vendor_id, product_id) + (by_port() ? "@" + path : ":" + serial);
}

std::string StickIdentity::busid() const {
  constexpr std::string_view allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:@._-";
  const std::string whole = text();
  std::string id = whole;
  for (char& character : id) {
    if (allowed.find(character) == std::string_view::npos) character = '_';
  }
  if (id == whole && id.size() <= busid_characters) return id;
  constexpr std::size_t tail_characters = 1 /* - */ + 8 /* hash */;
  id.resize(std::min(id.size(), busid_characters - tail_characters));
  return id + "-" + hex(hash(whole), 8);
}

Result<StickPattern::Model> StickPattern::parse_model(std::string_view text) {
  const auto vendor_id = parse_hex4(text.substr(0, 4));
  const auto product_id =
      text.size() == model_characters && text[4] == ':' ? parse_hex4(text.substr(5)) : std::nullopt;
  if (!vendor_id || !product_id) {
    return fail(ErrorCode::config, "'" + std::string(text) +
                                       "' is not VID:PID, two groups of four hexadecimal digits "
                                       "such as 1209:0001");
  }
  return Model{*vendor_id, *product_id};
}

Result<StickPattern> StickPattern::parse(std::string_view text) {
  if (text.empty()) return fail(ErrorCode::config, "a stick's name may not be empty");
  if (text.size() > limits::usb_string_bytes) {
    return fail(ErrorCode::config, "a stick's name is at most " +
                                       std::to_string(limits::usb_string_bytes) + " bytes long");
  }
  StickPattern pattern;
  pattern.text_ = std::string(text);
  if (const auto model = parse_model(text.substr(0, model_characters)); model.ok()) {
    pattern.identity_.vendor_id = model->vendor_id;
    pattern.identity_.product_id = model->product_id;
    const std::string_view rest = text.substr(model_characters);
    if (rest.size() < 2 || (rest[0] != ':' && rest[0] != '@')) {
      return fail(ErrorCode::config, "'" + std::string(text) +
                                         "' names every stick of a model; write VID:PID:SERIAL, or "
                                         "VID:PID@PORT for a stick without a serial");
    }
    (rest[0] == ':' ? pattern.identity_.serial : pattern.identity_.path) =
        std::string(rest.substr(1));
    return pattern;
  }
  pattern.any_model_ = true;
  pattern.identity_.serial = std::string(text);
  return pattern;
}

bool StickPattern::matches(const StickIdentity& identity) const {
  if (any_model_) return !identity.by_port() && identity.serial == identity_.serial;
  return identity == identity_;
}

}  // namespace tillbridge::server
