#include "channel/link/control_message.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "channel/bytes/limits.hpp"

namespace tillbridge::link {
namespace {

using Json = nlohmann::json;

// --- encoding ---

/// At most `limit` bytes, not ending within a UTF-8 character.
std::string cut(const std::string& text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end);
}

/// What is not UTF-8, e.g. a user name from an old code page, is replaced rather than refused:
/// before cutting, as the replacement is longer.
std::string clean(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace))
      .get<std::string>();
}

std::string name(const std::string& value) {
  return cut(clean(value), limits::name_bytes);
}
std::string text(const std::string& value) {
  return cut(clean(value), limits::link_text_bytes);
}

constexpr std::string_view hex_digits = "0123456789abcdef";

std::string hex(const Bytes& bytes) {
  std::string result;
  for (const std::uint8_t byte : bytes) {
    result += hex_digits[byte >> 4U];
    result += hex_digits[byte & 15U];
  }
  return result;
}

struct Encoder {
  Json operator()(const Hello& m) const {
    return {{"type", "hello"},
            {"software", name(m.software)},
            {"client_name", name(m.client_name)},
            {"user", name(m.user)},
            {"domain", name(m.domain)},
            {"terminal_server", name(m.terminal_server)},
            {"examines", m.examines},
            {"holds", m.holds}};
  }
  Json operator()(const Welcome& m) const {
    return {
        {"type", "welcome"},  {"software", name(m.software)}, {"resume_grace_s", m.resume_grace_s},
        {"renews", m.renews}, {"time_s", m.time_s},           {"busy", text(m.busy)}};
  }
  Json operator()(const Granted& m) const {
    return {{"type", "granted"},        {"stream", m.stream},
            {"busid", name(m.busid)},   {"label", name(m.label)},
            {"serial", name(m.serial)}, {"reset_policy", name(m.reset_policy)},
            {"pipeline", m.pipeline},   {"continues", m.continues}};
  }
  Json operator()(const Revoked& m) const {
    return {{"type", "revoked"},
            {"stream", m.stream},
            {"reason", text(m.reason)},
            {"unplugged", m.unplugged}};
  }
  Json operator()(const NothingForYou& m) const {
    return {{"type", "nothing_for_you"}, {"message", text(m.message)}};
  }
  Json operator()(const Released& m) const { return {{"type", "released"}, {"stream", m.stream}}; }
  Json operator()(const Renew& m) const { return {{"type", "renew"}, {"request", hex(m.request)}}; }
  Json operator()(const Renewed& m) const {
    return {{"type", "renewed"}, {"certificate", hex(m.certificate)}};
  }
  Json operator()(const NotRenewed& m) const {
    return {{"type", "not_renewed"}, {"reason", text(m.reason)}};
  }
  Json operator()(const Restarting& m) const {
    return {{"type", "restarting"}, {"within_s", m.within_s}};
  }
  Json operator()(const Paused& /*message*/) const { return {{"type", "paused"}}; }
  Json operator()(const Goodbye& m) const {
    return {{"type", "goodbye"}, {"reason", text(m.reason)}, {"restarting", m.restarting}};
  }
};

// --- decoding ---

bool is_control_character(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

/// Reads the keys of one object; remembers the first thing that is wrong. Keys that nobody asks for
/// do not matter.
class Fields {
 public:
  explicit Fields(const Json& object) : object_(object) {}

  /// A missing text is empty: a later version may leave it out.
  std::string text(const char* key, std::size_t limit) {
    const auto found = object_.find(key);
    if (found == object_.end()) return {};
    if (!found->is_string()) {
      wrong(ErrorCode::malformed, key, "is not a string");
      return {};
    }
    auto value = found->get<std::string>();
    if (value.size() > limit) {
      wrong(ErrorCode::limit, key,
            "has " + std::to_string(value.size()) + " bytes, at most " + std::to_string(limit));
      return {};
    }
    // It ends up in logs and on pages; nothing in it needs a line break.
    std::replace_if(value.begin(), value.end(), is_control_character, ' ');
    return value;
  }
  std::string name(const char* key) { return text(key, limits::name_bytes); }

  /// Required, and never empty.
  Bytes bytes(const char* key, std::size_t limit) {
    const std::string digits = text(key, 2 * limit);
    Bytes value;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
      const std::size_t high = hex_digits.find(digits[i]);
      const std::size_t low = hex_digits.find(digits[i + 1]);
      if (high == std::string_view::npos || low == std::string_view::npos) break;
      value.push_back(static_cast<std::uint8_t>((high << 4U) | low));
    }
    if (value.empty() || 2 * value.size() != digits.size()) {
      wrong(ErrorCode::malformed, key, "is not written in hexadecimal digits");
    }
    return value;
  }

  bool flag(const char* key, bool if_missing = false) {
    const auto found = object_.find(key);
    if (found == object_.end()) return if_missing;
    if (!found->is_boolean()) {
      wrong(ErrorCode::malformed, key, "is neither true nor false");
      return if_missing;
    }
    return found->get<bool>();
  }

  /// A missing number is 0.
  std::uint32_t number(const char* key, std::uint32_t most) {
    const auto found = object_.find(key);
    if (found == object_.end()) return 0;
    if (!found->is_number_unsigned()) {
      wrong(ErrorCode::malformed, key, "is not a whole number");
      return 0;
    }
    const auto value = found->get<std::uint64_t>();
    if (value > most) {
      wrong(ErrorCode::limit, key,
            "is " + std::to_string(value) + ", at most " + std::to_string(most));
      return 0;
    }
    return static_cast<std::uint32_t>(value);
  }

  /// The number of a stick's stream: required, and never 0, which is this conversation itself.
  std::uint16_t stream() {
    const auto found = object_.find("stream");
    if (found == object_.end() || !found->is_number_unsigned() ||
        found->get<std::uint64_t>() == 0 ||
        found->get<std::uint64_t>() > std::numeric_limits<std::uint16_t>::max()) {
      wrong(ErrorCode::malformed, "stream", "is not a number from 1 to 65535");
      return 0;
    }
    return found->get<std::uint16_t>();
  }

  template <typename Message>
  Result<ControlMessage> done(Message message) {
    if (error_) return *error_;
    return ControlMessage(std::move(message));
  }

 private:
  void wrong(ErrorCode code, const char* key, const std::string& what) {
    if (!error_) error_ = fail(code, std::string("control message: \"") + key + "\" " + what);
  }

  const Json& object_;
  std::optional<Error> error_;
};

/// For an error message that quotes the peer.
std::string quoted(const std::string& text) {
  std::string result;
  for (const char c : cut(text, 40)) result += c >= 0x20 && c < 0x7f ? c : '?';
  return "\"" + result + "\"";
}

}  // namespace

Bytes encode(const ControlMessage& message) {
  const std::string json = std::visit(Encoder(), message).dump();
  return {json.begin(), json.end()};
}

Result<ControlMessage> decode_control_message(ByteView json) {
  if (json.size() > limits::link_control_message_bytes) {
    return fail(ErrorCode::limit, "control message of " + std::to_string(json.size()) +
                                      " bytes, at most " +
                                      std::to_string(limits::link_control_message_bytes));
  }
  bool too_deep = false;
  const auto watch_depth = [&too_deep](int depth, Json::parse_event_t /*event*/, Json& /*value*/) {
    if (depth > static_cast<int>(limits::link_control_message_depth)) too_deep = true;
    return !too_deep;
  };
  const Json object = Json::parse(json.begin(), json.end(), watch_depth, false);
  if (too_deep) {
    return fail(ErrorCode::limit, "control message nested deeper than " +
                                      std::to_string(limits::link_control_message_depth) +
                                      " levels");
  }
  if (!object.is_object())
    return fail(ErrorCode::malformed, "control message is not a JSON object");
  const auto type_field = object.find("type");
  if (type_field == object.end() || !type_field->is_string()) {
    return fail(ErrorCode::malformed, "control message without a \"type\"");
  }
  const auto type = type_field->get<std::string>();

  Fields fields(object);
  if (type == "hello") {
    Hello hello;
    hello.software = fields.name("software");
    hello.client_name = fields.name("client_name");
    hello.user = fields.name("user");
    hello.domain = fields.name("domain");
    hello.terminal_server = fields.name("terminal_server");
    hello.examines = fields.flag("examines");
    hello.holds = fields.flag("holds");
    return fields.done(std::move(hello));
  }
  if (type == "welcome") {
    Welcome welcome;
    welcome.software = fields.name("software");
    welcome.resume_grace_s = fields.number("resume_grace_s", limits::resume_grace_s);
    welcome.renews = fields.flag("renews");
    welcome.time_s = fields.number("time_s", UINT32_MAX);
    welcome.busy = fields.text("busy", limits::link_text_bytes);
    return fields.done(std::move(welcome));
  }
  if (type == "granted") {
    Granted granted;
    granted.stream = fields.stream();
    granted.busid = fields.name("busid");
    granted.label = fields.name("label");
    granted.serial = fields.name("serial");
    granted.reset_policy = fields.name("reset_policy");
    granted.pipeline = fields.flag("pipeline", true);
    granted.continues = fields.flag("continues");
    return fields.done(std::move(granted));
  }
  if (type == "revoked") {
    Revoked revoked;
    revoked.stream = fields.stream();
    revoked.reason = fields.text("reason", limits::link_text_bytes);
    revoked.unplugged = fields.flag("unplugged");
    return fields.done(std::move(revoked));
  }
  if (type == "nothing_for_you") {
    return fields.done(NothingForYou{fields.text("message", limits::link_text_bytes)});
  }
  if (type == "released") return fields.done(Released{fields.stream()});
  if (type == "renew") return fields.done(Renew{fields.bytes("request", certificate_bytes)});
  if (type == "renewed")
    return fields.done(Renewed{fields.bytes("certificate", certificate_bytes)});
  if (type == "not_renewed") {
    return fields.done(NotRenewed{fields.text("reason", limits::link_text_bytes)});
  }
  if (type == "restarting") {
    return fields.done(
        Restarting{static_cast<std::uint16_t>(fields.number("within_s", UINT16_MAX))});
  }
  if (type == "paused") return fields.done(Paused{});
  if (type == "goodbye") {
    Goodbye goodbye;
    goodbye.reason = fields.text("reason", limits::link_text_bytes);
    goodbye.restarting = fields.flag("restarting");
    return fields.done(std::move(goodbye));
  }
  return fail(ErrorCode::protocol,
              "control message of a type that this version does not know: " + quoted(type));
}

}  // namespace tillbridge::link
