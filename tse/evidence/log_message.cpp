#include "tse/evidence/log_message.hpp"

#include <array>
#include <cassert>
#include <cctype>
#include <cstdio>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "tse/evidence/calendar.hpp"
#include "tse/evidence/der.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::tse {
namespace {

// 0.4.0.127.0.7.3.7.1.{1|2|3}: transaction, system, audit log.
constexpr std::array<std::uint8_t, 8> log_oid = {0x04, 0x00, 0x7f, 0x00, 0x07, 0x03, 0x07, 0x01};
// 0.4.0.127.0.7.1.1.4.1.n: ecdsa-plain with hash n.
constexpr std::array<std::uint8_t, 9> ecdsa_plain_oid = {0x04, 0x00, 0x7f, 0x00, 0x07,
                                                         0x01, 0x01, 0x04, 0x01};
enum Kind : std::uint8_t { transaction_kind = 1, system_kind = 2, audit_kind = 3 };
constexpr std::uint8_t constructed_process_data = 0xa2;

std::string text_of(ByteView bytes) {
  return {bytes.begin(), bytes.end()};
}

template <std::size_t Size>
void write_oid(ByteWriter& out, const std::array<std::uint8_t, Size>& stem, std::uint8_t last_arc) {
  Bytes content(stem.begin(), stem.end());
  content.push_back(last_arc);
  der::write(out, der::object_identifier, ByteView(content));
}

/// The last arc, when all before it are the stem's.
template <std::size_t Size>
std::optional<std::uint8_t> last_arc(ByteView content, const std::array<std::uint8_t, Size>& stem) {
  if (content.size() != Size + 1) return std::nullopt;
  for (std::size_t i = 0; i < Size; ++i) {
    if (content[i] != stem.at(i)) return std::nullopt;
  }
  return content.back();
}

// --- writing

void write_process_data(ByteWriter& out, const TransactionLog& log) {
  if (log.pieces.empty()) {
    der::write(out, der::context(2), ByteView(log.process_data));
    return;
  }
  out.u8(constructed_process_data);
  out.u8(0x80);
  ByteReader data(log.process_data);
  for (const std::uint32_t size : log.pieces) {
    der::write(out, der::octet_string, data.take(size));
  }
  assert(data.finished());
  out.zeros(2);
}

struct ContentWriter {
  ByteWriter& out;

  void operator()(const TransactionLog& log) const {
    write_oid(out, log_oid, transaction_kind);
    der::write(out, der::context(0), std::string_view(operation_name(log.step)));
    der::write(out, der::context(1), std::string_view(log.client));
    write_process_data(out, log);
    der::write(out, der::context(3), std::string_view(log.process_type));
    if (log.additional_external) {
      der::write(out, der::context(4), ByteView(*log.additional_external));
    }
    der::write_number(out, der::context(5), log.number);
    if (log.additional_internal) {
      der::write(out, der::context(6), ByteView(*log.additional_internal));
    }
  }
  void operator()(const SystemLog& log) const {
    write_oid(out, log_oid, system_kind);
    der::write(out, der::context(0), std::string_view(log.operation));
    der::write(out, der::context(1), ByteView(log.data));
    if (log.additional) der::write(out, der::context(2), ByteView(*log.additional));
  }
  void operator()(const AuditLog&) const { write_oid(out, log_oid, audit_kind); }
};

std::string calendar_text(std::uint64_t unix_s, bool four_digit_year) {
  const UtcTime t = utc_time_of(static_cast<std::int64_t>(unix_s));
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%04d%02u%02u%02u%02u%02uZ", static_cast<int>(t.year),
                t.month, t.day, t.hour, t.minute, t.second);
  return std::string(text.data()).substr(four_digit_year ? 0 : 2);
}

void write_time(ByteWriter& out, TimeFormat format, std::uint64_t unix_s) {
  switch (format) {
    case TimeFormat::unix_time:
      der::write_number(out, der::integer, unix_s);
      return;
    case TimeFormat::utc_time:
      der::write(out, der::utc_time, std::string_view(calendar_text(unix_s, false)));
      return;
    case TimeFormat::generalized_time:
      der::write(out, der::generalized_time, std::string_view(calendar_text(unix_s, true)));
      return;
  }
}

// --- reading

Error malformed(const std::string& what) {
  return fail(ErrorCode::malformed, "The log message is damaged: " + what + ".");
}

/// Reads one element after the other; the first fault names what was being read.
class LogReader {
 public:
  explicit LogReader(ByteView content) : reader_(content) {}

  [[nodiscard]] bool ok() const { return fault_.empty(); }
  [[nodiscard]] Error error() const { return malformed(fault_); }
  [[nodiscard]] bool at_end() const { return reader_.remaining() == 0; }
  [[nodiscard]] std::size_t position() const { return reader_.position(); }
  void fault(std::string what) {
    if (fault_.empty()) fault_ = std::move(what);
  }

  der::Element element(const char* what) {
    if (!ok()) return {};
    if (at_end()) {
      fault(std::string("it ends before its ") + what);
      return {};
    }
    const der::Element element = der::read(reader_);
    if (!reader_.ok()) fault(std::string(what) + " has a bad length");
    return element;
  }
  ByteView expect(std::uint8_t tag, const char* what) {
    const der::Element found = element(what);
    if (ok() && (found.tag != tag || found.indefinite)) fault(std::string("no ") + what);
    return ok() ? found.content : ByteView();
  }
  /// The element when its tag comes next.
  std::optional<ByteView> optional(std::uint8_t tag, const char* what) {
    if (!ok()) return std::nullopt;
    ByteReader ahead = reader_;
    if (ahead.u8() != tag || !ahead.ok()) return std::nullopt;
    return expect(tag, what);
  }
  std::uint64_t number(std::uint8_t tag, const char* what) {
    const ByteView content = expect(tag, what);
    if (!ok()) return 0;
    const auto value = der::unsigned_number(content);
    if (!value) fault(std::string(what) + " is no non-negative number of at most 64 bits");
    return value.value_or(0);
  }
  void process_data(TransactionLog& log) {
    ByteReader ahead = reader_;
    if (ahead.u8() != constructed_process_data) {
      const ByteView data = expect(der::context(2), "process data");
      log.process_data.assign(data.begin(), data.end());
      return;
    }
    const der::Element whole = element("process data");
    if (!ok()) return;
    ByteReader definite(whole.content);
    ByteReader& pieces = whole.indefinite ? reader_ : definite;
    for (;;) {
      if (!whole.indefinite && pieces.remaining() == 0) return;
      const der::Element piece = der::read(pieces);
      if (!pieces.ok()) return fault("a piece of its process data has a bad length");
      if (whole.indefinite && piece.tag == 0 && piece.content.empty()) return;
      if (piece.tag != der::octet_string)
        return fault("a piece of its process data is no OCTET STRING");
      log.process_data.insert(log.process_data.end(), piece.content.begin(), piece.content.end());
      log.pieces.push_back(static_cast<std::uint32_t>(piece.content.size()));
    }
  }

 private:
  ByteReader reader_;
  std::string fault_;
};

std::optional<TransactionStep> step_of(std::string_view operation) {
  for (const auto step :
       {TransactionStep::start, TransactionStep::update, TransactionStep::finish}) {
    if (operation == operation_name(step)) return step;
  }
  return std::nullopt;
}

std::optional<Bytes> owned(const std::optional<ByteView>& view) {
  if (!view) return std::nullopt;
  return Bytes(view->begin(), view->end());
}

TransactionLog read_transaction(LogReader& reader) {
  TransactionLog log;
  const auto step = step_of(text_of(reader.expect(der::context(0), "operation type")));
  if (reader.ok() && !step)
    reader.fault("its operation is none of Start-, Update-, FinishTransaction");
  log.step = step.value_or(TransactionStep::start);
  log.client = text_of(reader.expect(der::context(1), "client id"));
  if (reader.ok()) reader.process_data(log);
  if (const auto type = reader.optional(der::context(3), "process type"))
    log.process_type = text_of(*type);
  log.additional_external = owned(reader.optional(der::context(4), "additional external data"));
  log.number = reader.number(der::context(5), "transaction number");
  log.additional_internal = owned(reader.optional(der::context(6), "additional internal data"));
  if (log.process_data.size() > limits::tse_process_data_bytes)
    reader.fault("its process data is longer than 64 KiB");
  return log;
}

SystemLog read_system(LogReader& reader) {
  SystemLog log;
  log.operation = text_of(reader.expect(der::context(0), "operation type"));
  const ByteView data = reader.expect(der::context(1), "system operation data");
  log.data.assign(data.begin(), data.end());
  log.additional = owned(reader.optional(der::context(2), "additional data"));
  return log;
}

Hash read_algorithm(LogReader& reader) {
  ByteReader algorithm(reader.expect(der::sequence, "signature algorithm"));
  if (!reader.ok()) return {};
  const der::Element oid = der::read(algorithm);  // parameters may follow, and say nothing new
  const auto arc = last_arc(oid.content, ecdsa_plain_oid);
  if (algorithm.ok() && oid.tag == der::object_identifier && arc) {
    for (const auto hash : all_hashes) {
      if (static_cast<std::uint8_t>(hash) == *arc) return hash;
    }
  }
  reader.fault("its signature algorithm is not ecdsa-plain with SHA-2 or SHA-3");
  return {};
}

/// "YYMMDDhhmmssZ" or, with four digits for the year, "YYYYMMDDhhmmssZ".
std::optional<std::uint64_t> calendar_time(ByteView content, bool four_digit_year) {
  const std::size_t year_digits = four_digit_year ? 4 : 2;
  if (content.size() != year_digits + 11 || content.back() != 'Z') return std::nullopt;
  ByteReader reader(content);
  bool good = true;
  const auto digits = [&](std::size_t count) {
    unsigned value = 0;
    for (const std::uint8_t c : reader.take(count)) {
      good = good && c >= '0' && c <= '9';
      value = value * 10 + static_cast<unsigned>(c - '0');
    }
    return value;
  };
  UtcTime time;
  time.year = digits(year_digits);
  if (!four_digit_year) time.year += time.year < 50 ? 2000 : 1900;  // X.690
  time.month = digits(2);
  time.day = digits(2);
  time.hour = digits(2);
  time.minute = digits(2);
  time.second = digits(2);
  const auto unix_s = good ? unix_of(time) : std::nullopt;
  if (!unix_s || *unix_s < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*unix_s);
}

void read_time(LogReader& reader, LogMessage& message) {
  const der::Element time = reader.element("log time");
  if (!reader.ok()) return;
  std::optional<std::uint64_t> seconds;
  if (time.tag == der::integer) {
    message.time_format = TimeFormat::unix_time;
    seconds = der::unsigned_number(time.content);
  } else if (time.tag == der::utc_time) {
    message.time_format = TimeFormat::utc_time;
    seconds = calendar_time(time.content, false);
  } else if (time.tag == der::generalized_time) {
    message.time_format = TimeFormat::generalized_time;
    seconds = calendar_time(time.content, true);
  }
  if (!seconds) reader.fault("its log time is no time since 1970");
  message.time_s = seconds.value_or(0);
}

}  // namespace

const char* operation_name(TransactionStep step) {
  switch (step) {
    case TransactionStep::start:
      return "StartTransaction";
    case TransactionStep::update:
      return "UpdateTransaction";
    case TransactionStep::finish:
      return "FinishTransaction";
  }
  return "";
}

const char* name_of(TimeFormat format) {
  switch (format) {
    case TimeFormat::unix_time:
      return "unixTime";
    case TimeFormat::utc_time:
      return "utcTime";
    case TimeFormat::generalized_time:
      return "generalizedTime";
  }
  return "";
}

Bytes signed_part(const LogMessage& message) {
  ByteWriter out;
  der::write_number(out, der::integer, message.version);
  std::visit(ContentWriter{out}, message.content);
  der::write(out, der::octet_string, ByteView(message.serial));
  ByteWriter algorithm;
  write_oid(algorithm, ecdsa_plain_oid, static_cast<std::uint8_t>(message.hash));
  der::write(out, der::sequence, algorithm.view());
  if (const auto* audit = std::get_if<AuditLog>(&message.content)) {
    der::write(out, der::octet_string, ByteView(audit->data));
  }
  der::write_number(out, der::integer, message.counter);
  write_time(out, message.time_format, message.time_s);
  return out.finish();
}

Bytes encode(const LogMessage& message) {
  ByteWriter content;
  content.bytes(signed_part(message));
  der::write(content, der::octet_string, ByteView(message.signature));
  ByteWriter out;
  der::write(out, der::sequence, content.view());
  return out.finish();
}

void sign(LogMessage& message, const SigningKey& key) {
  message.signature = key.sign(message.hash, signed_part(message));
}

Result<ParsedLog> parse_log(ByteView log) {
  if (log.size() > limits::tse_log_bytes) {
    return fail(ErrorCode::limit, "The log message is longer than a TSE makes them (72 KiB).");
  }
  ByteReader whole(log);
  const der::Element outer = der::read(whole);
  if (!whole.finished() || outer.tag != der::sequence) {
    return malformed("it is not one SEQUENCE as long as the file");
  }
  LogReader reader(outer.content);
  ParsedLog parsed;
  LogMessage& message = parsed.message;
  const std::uint64_t version = reader.number(der::integer, "version");
  if (version > 0xff) reader.fault("its version is no version");
  message.version = static_cast<std::uint32_t>(version);
  const ByteView oid = reader.expect(der::object_identifier, "log type");
  const auto kind = last_arc(oid, log_oid);
  switch (kind.value_or(0)) {
    case transaction_kind:
      message.content = read_transaction(reader);
      break;
    case system_kind:
      message.content = read_system(reader);
      break;
    case audit_kind:
      message.content = AuditLog{};
      break;
    default:
      reader.fault("it is none of transaction, system and audit log");
  }
  const ByteView serial = reader.expect(der::octet_string, "serial number");
  if (serial.size() == message.serial.size()) {
    std::copy(serial.begin(), serial.end(), message.serial.begin());
  } else {
    reader.fault("its serial number is not 32 bytes long");
  }
  message.hash = read_algorithm(reader);
  if (auto* audit = std::get_if<AuditLog>(&message.content)) {
    const ByteView data = reader.expect(der::octet_string, "audit data");
    audit->data.assign(data.begin(), data.end());
  }
  message.counter = reader.number(der::integer, "signature counter");
  read_time(reader, message);
  const std::size_t signed_size = reader.position();
  const ByteView signature = reader.expect(der::octet_string, "signature");
  if (reader.ok() && !reader.at_end()) reader.fault("there is more after its signature");
  if (!reader.ok()) return reader.error();
  const ByteView signed_bytes = outer.content.first(signed_size);
  parsed.signed_bytes.assign(signed_bytes.begin(), signed_bytes.end());
  message.signature.assign(signature.begin(), signature.end());
  return parsed;
}

std::string file_name_part(std::string_view text) {
  // What Windows, FAT or a shell would not take in a name. Everything else stays, UTF-8 as well.
  constexpr std::string_view refused = "\"*/:<>?\\|";
  std::string part(text);
  for (char& c : part) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || refused.find(c) != std::string_view::npos) c = '_';
  }
  return part;
}

std::string file_name(const LogMessage& message) {
  std::string name;
  switch (message.time_format) {
    case TimeFormat::unix_time:
      name = "Unixt_" + std::to_string(message.time_s);
      break;
    case TimeFormat::utc_time:
      name = "Utc_" + calendar_text(message.time_s, false);
      break;
    case TimeFormat::generalized_time:
      name = "Gent_" + calendar_text(message.time_s, true);
      break;
  }
  name += "_Sig-" + std::to_string(message.counter) + "_Log-";
  if (const auto* transaction = std::get_if<TransactionLog>(&message.content)) {
    constexpr std::string_view suffix = "Transaction";
    const std::string_view operation = operation_name(transaction->step);
    name += "Tra_No-" + std::to_string(transaction->number) + "_" +
            std::string(operation.substr(0, operation.size() - suffix.size())) + "_Client-" +
            file_name_part(transaction->client);
  } else if (const auto* system = std::get_if<SystemLog>(&message.content)) {
    name += "Sys_" + file_name_part(system->operation);
  } else {
    name += "Aud";
  }
  constexpr std::string_view extension = ".log";
  if (name.size() > tar_name_bytes - extension.size())
    name.resize(tar_name_bytes - extension.size());
  return name + std::string(extension);
}

}  // namespace tillbridge::tse
