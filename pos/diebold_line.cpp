#include "pos/diebold_line.hpp"

#include <array>
#include <optional>
#include <random>
#include <utility>
#include <variant>

#include "channel/bytes/limits.hpp"
#include "pos/archives.hpp"
#include "tse/diebold/buffer_fetch.hpp"

namespace tillbridge::pos {
namespace {

namespace dn = diebold;

constexpr Duration status_timeout = std::chrono::seconds(1);
constexpr Duration self_test_timeout = std::chrono::seconds(120);
/// A buffer that is still being filled is asked again; in between the stick gets time to work.
constexpr Duration fill_interval = std::chrono::milliseconds(50);
constexpr Duration fill_limit = std::chrono::seconds(120);
constexpr std::uint32_t buffer_number = 1;

/// A GUID's text, new for each request: an answer that comes late is then nobody else's.
std::string new_request_id() {
  static std::random_device random;
  Bytes bytes(16);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0FU) | 0x40U);  // version 4
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3FU) | 0x80U);  // RFC 4122
  const std::string digits = hexadecimal(bytes);
  return digits.substr(0, 8) + '-' + digits.substr(8, 4) + '-' + digits.substr(12, 4) + '-' +
         digits.substr(16, 4) + '-' + digits.substr(20);
}

}  // namespace

Deed DieboldLine::open() {
  line_.reset();  // the old handle would keep the new one out
  parser_.clear();
  Result<std::unique_ptr<SerialLine>> opened = open_();
  if (!opened) return from_io(opened.error());
  line_ = std::move(*opened);
  return done();
}

Deed DieboldLine::send(const dn::Request& request) {
  if (!line_) return trouble(Trouble::gone, place_ + " is not open");
  const Result<Bytes> frame = dn::encode(request);
  if (!frame) return trouble(Trouble::usage, frame.error().message);
  if (Status written = line_->write(*frame); !written) return from_io(written.error());
  return done();
}

Outcome<std::optional<dn::Response>> DieboldLine::receive(const dn::Request& request,
                                                          Duration timeout) {
  using Found = std::optional<dn::Response>;
  const Instant deadline = clock_.now() + timeout;
  while (true) {
    const Instant now = clock_.now();
    if (now >= deadline) return Found();
    Result<Bytes> arrived = line_->read(deadline - now);
    if (!arrived) return from_io(arrived.error());
    ByteReader input(*arrived);
    // Status reports come unasked; the answer to an earlier request may come late; noise is
    // answered by asking for the status.
    while (auto event = parser_.next(input)) {
      auto* const response = std::get_if<dn::Response>(&*event);
      if (response != nullptr && response->command == request.command &&
          response->id == request.id.value_or("")) {
        return Found(std::move(*response));
      }
    }
  }
}

Outcome<dn::DeviceStatus> DieboldLine::status() {
  const dn::Request request = dn::make_request(dn::Command::status, {}, new_request_id());
  if (Deed sent = send(request); !sent) return sent.failure();
  Outcome<std::optional<dn::Response>> answer = receive(request, status_timeout);
  if (!answer) return answer.failure();
  if (!*answer) {
    return trouble(Trouble::asleep,
                   place_ +
                       " does not answer as a Diebold Nixdorf TSE. Is it one? Does the vendor's "
                       "service hold it? Unplug it, wait a minute and plug it in again");
  }
  const Result<dn::DeviceStatus> parsed = dn::parse_status(**answer);
  if (!parsed) return trouble(Trouble::garbled, parsed.error().message);
  return *parsed;
}

Failure DieboldLine::why_silent(dn::Command command) {
  const Outcome<dn::DeviceStatus> now = status();
  if (!now) return now.failure();
  if (now->error != dn::DeviceError::none) return refused(command, now->error);
  return trouble(Trouble::asleep, std::string("the stick did not answer to \"") +
                                      dn::name_of(command) + "\", and names no error");
}

Outcome<dn::Response> DieboldLine::exchange(const dn::Request& request, Duration timeout) {
  if (Deed sent = send(request); !sent) return sent.failure();
  Outcome<std::optional<dn::Response>> answer = receive(request, timeout);
  if (!answer) return answer.failure();
  if (*answer) return std::move(**answer);
  return why_silent(static_cast<dn::Command>(request.command));
}

Outcome<dn::Response> DieboldLine::request(dn::Command command, dn::Parameters parameters) {
  return exchange(dn::make_request(command, std::move(parameters), new_request_id()),
                  command == dn::Command::self_test ? self_test_timeout : patience_);
}

Outcome<dn::Response> DieboldLine::through_buffer(dn::Command command, dn::Parameters parameters) {
  dn::Request request = dn::make_request(command, std::move(parameters), new_request_id());
  request.answer = dn::AnswerMode::in_buffer;
  request.buffer = buffer_number;
  if (Deed sent = send(request); !sent) return sent.failure();
  dn::BufferFetch fetch(buffer_number);
  Instant progress = clock_.now();
  while (true) {
    Outcome<dn::Response> piece =
        exchange(dn::make_request(dn::Command::fetch_buffer, fetch.parameters(), new_request_id()),
                 patience_);
    // The buffer stays empty when the command itself was refused.
    if (!piece) return piece.failure();
    const std::size_t before = fetch.bytes();
    Result<std::optional<dn::Response>> whole = fetch.accept(*piece);
    if (!whole) return trouble(Trouble::garbled, whole.error().message);
    if (*whole) {
      if ((*whole)->command != request.command)
        return trouble(Trouble::garbled, "the stick's buffer holds the answer to another command");
      return std::move(**whole);
    }
    if (fetch.bytes() != before) {
      progress = clock_.now();
      continue;
    }
    if (clock_.now() - progress >= fill_limit) return why_silent(command);
    clock_.wait(fill_interval);
  }
}

Failure DieboldLine::refused(dn::Command command, dn::DeviceError error) {
  const auto say = [&](Trouble what, const char* advice) {
    return trouble(what, std::string("the stick refused \"") + dn::name_of(command) +
                             "\": " + dn::text_of(error) + (*advice == '\0' ? "" : ". ") + advice);
  };
  switch (error) {
    case dn::DeviceError::not_initialized:
      return say(Trouble::not_set_up, "Run setup first");
    case dn::DeviceError::time_not_set:
      return say(Trouble::no_time, "It needs the time");
    case dn::DeviceError::certificate_expired:
      return say(Trouble::certificate_expired,
                 "It signs no more: export its data and put in a new stick");
    case dn::DeviceError::disabled:
      return say(Trouble::disabled, "It was put out of service for good");
    case dn::DeviceError::storage_failed:
    case dn::DeviceError::signatures_used_up:
      return say(Trouble::used_up,
                 "Export its data, then delete what was exported with the vendor's software or put "
                 "in a new stick");
    case dn::DeviceError::no_transaction:
      return say(Trouble::no_transaction, "");
    case dn::DeviceError::self_test_required:
      return say(Trouble::self_test, "");
    case dn::DeviceError::unknown_client:
    case dn::DeviceError::client_not_set:
      return say(Trouble::unknown_client, "Register the client with setup --client");
    case dn::DeviceError::too_many_transactions:
    case dn::DeviceError::client_has_open_transactions:
    case dn::DeviceError::open_transactions:
      return say(Trouble::open_transactions, "Finish those that are open: finish-open");
    case dn::DeviceError::power_failed:
      return say(Trouble::asleep, "It lost power in between");
    default:
      return say(Trouble::failed, "");
  }
}

}  // namespace tillbridge::pos
