#include "channel/pairing/message.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "channel/bytes/writer.hpp"
#include "channel/pairing/limits.hpp"
#include "channel/pairing/proof.hpp"

namespace tillbridge::pairing {
namespace {

enum class Type : std::uint8_t { ask = 1, granted = 2, pending = 3, refused = 4, stored = 5 };

constexpr std::size_t header_bytes = 4;

class Encoder {
 public:
  explicit Encoder(Type type) {
    writer_.u8(static_cast<std::uint8_t>(type));
    writer_.zeros(3);
  }
  Encoder& field(ByteView bytes) {
    writer_.u16be(static_cast<std::uint16_t>(bytes.size()));
    writer_.bytes(bytes);
    return *this;
  }
  Encoder& text(std::string_view value, std::size_t most) {
    const std::string_view cut = value.substr(0, most);
    return field({reinterpret_cast<const std::uint8_t*>(cut.data()), cut.size()});
  }
  Bytes finish() {
    Bytes bytes = writer_.finish();
    const std::size_t size = bytes.size() - header_bytes;
    bytes[2] = static_cast<std::uint8_t>(size >> 8U);
    bytes[3] = static_cast<std::uint8_t>(size & 0xFFU);
    return bytes;
  }

 private:
  ByteWriter writer_;
};

struct Encode {
  Bytes operator()(const Ask& m) const {
    return Encoder(Type::ask)
        .text(m.name, limits::till_name_bytes)
        .text(m.software, limits::software_bytes)
        .field(m.request)
        .field(m.token_id)
        .field(m.proof)
        .finish();
  }
  Bytes operator()(const Granted& m) const {
    return Encoder(Type::granted)
        .text(m.name, limits::till_name_bytes)
        .field(m.certificate)
        .text(m.authorities, limits::authorities_bytes)
        .text(m.server_name, limits::host_bytes)
        .field(m.proof)
        .finish();
  }
  Bytes operator()(const Pending& m) const {
    return Encoder(Type::pending).text(m.message, limits::text_bytes).finish();
  }
  Bytes operator()(const Refused& m) const {
    const std::array<std::uint8_t, 1> why{static_cast<std::uint8_t>(m.why)};
    return Encoder(Type::refused).field(why).text(m.message, limits::text_bytes).finish();
  }
  Bytes operator()(const Stored& /*m*/) const { return Encoder(Type::stored).finish(); }
};

/// Reads the fields of one message and remembers the first that is wrong.
class Fields {
 public:
  explicit Fields(ByteView payload) : reader_(payload) {}

  Bytes bytes(const char* name, std::size_t most) {
    const std::size_t size = reader_.u16be();
    const ByteView view = reader_.take(size);
    if (!reader_.ok()) {
      wrong(ErrorCode::malformed, std::string(name) + " is cut off");
      return {};
    }
    if (size > most) {
      wrong(ErrorCode::limit, std::string(name) + " has " + std::to_string(size) +
                                  " bytes, at most " + std::to_string(most));
      return {};
    }
    return {view.begin(), view.end()};
  }
  /// It ends up in logs and on pages: nothing in it needs a line break.
  std::string text(const char* name, std::size_t most) {
    const Bytes raw = bytes(name, most);
    std::string value(raw.begin(), raw.end());
    std::replace_if(
        value.begin(), value.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, ' ');
    return value;
  }
  std::string lines(const char* name, std::size_t most) {
    const Bytes raw = bytes(name, most);
    return {raw.begin(), raw.end()};
  }
  /// Nothing, or exactly so many bytes.
  Bytes all_or_nothing(const char* name, std::size_t size) {
    Bytes value = bytes(name, size);
    if (!value.empty() && value.size() != size) {
      wrong(ErrorCode::malformed, std::string(name) + " has a wrong size");
    }
    return value;
  }
  void wrong(ErrorCode code, const std::string& what) {
    if (!error_) error_ = fail(code, "pairing message: " + what);
  }
  template <typename M>
  Result<Message> done(M message) {
    // What a later version adds comes behind.
    if (error_) return *error_;
    return Message(std::move(message));
  }

 private:
  ByteReader reader_;
  std::optional<Error> error_;
};

Result<Message> decode_payload(Type type, ByteView payload) {
  Fields fields(payload);
  switch (type) {
    case Type::ask: {
      Ask ask;
      ask.name = fields.text("name", limits::till_name_bytes);
      ask.software = fields.text("software", limits::software_bytes);
      ask.request = fields.bytes("request", limits::request_bytes);
      ask.token_id = fields.all_or_nothing("token id", token_id_bytes);
      ask.proof = fields.all_or_nothing("proof", proof_bytes);
      if (ask.request.empty()) fields.wrong(ErrorCode::malformed, "the request is missing");
      if (ask.token_id.empty() != ask.proof.empty()) {
        fields.wrong(ErrorCode::malformed, "token id and proof belong together");
      }
      return fields.done(std::move(ask));
    }
    case Type::granted: {
      Granted granted;
      granted.name = fields.text("name", limits::till_name_bytes);
      granted.certificate = fields.bytes("certificate", limits::certificate_bytes);
      granted.authorities = fields.lines("authorities", limits::authorities_bytes);
      granted.server_name = fields.text("server name", limits::host_bytes);
      granted.proof = fields.all_or_nothing("proof", proof_bytes);
      return fields.done(std::move(granted));
    }
    case Type::pending:
      return fields.done(Pending{fields.text("message", limits::text_bytes)});
    case Type::refused: {
      Refused refused;
      const Bytes why = fields.bytes("reason", 1);
      if (why.size() == 1 && why[0] >= 1 && why[0] <= static_cast<std::uint8_t>(Refusal::malformed))
        refused.why = static_cast<Refusal>(why[0]);
      refused.message = fields.text("message", limits::text_bytes);
      return fields.done(std::move(refused));
    }
    case Type::stored:
      break;
  }
  return fields.done(Stored{});
}

}  // namespace

Bytes encode(const Message& message) {
  return std::visit(Encode(), message);
}

Result<std::optional<Decoded>> decode(ByteView bytes, Reader reader) {
  ByteReader header(bytes);
  const std::uint8_t number = header.u8();
  header.skip(1);
  const std::size_t size = header.u16be();
  if (!header.ok()) return std::optional<Decoded>();
  const auto type = static_cast<Type>(number);
  const bool for_server = type == Type::ask || type == Type::stored;
  const bool for_till = type == Type::granted || type == Type::pending || type == Type::refused;
  if (!for_server && !for_till) {
    return fail(ErrorCode::malformed, "pairing message: unknown type " + std::to_string(number));
  }
  if (for_server != (reader == Reader::server)) {
    return fail(ErrorCode::protocol, "pairing message: of the wrong direction");
  }
  if (size > (for_server ? limits::till_message_bytes : limits::server_message_bytes)) {
    return fail(ErrorCode::limit, "pairing message of " + std::to_string(size) + " bytes");
  }
  if (header.remaining() < size) return std::optional<Decoded>();
  auto message = decode_payload(type, header.take(size));
  if (!message) return message.error();
  return std::optional<Decoded>(Decoded{std::move(*message), header_bytes + size});
}

}  // namespace tillbridge::pairing
