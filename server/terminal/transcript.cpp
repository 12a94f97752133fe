#include "server/terminal/transcript.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

namespace tillbridge::terminal {
namespace {

namespace pdu = rdpeusb::pdu;
using nlohmann::ordered_json;

constexpr std::size_t digest_bytes = 8;
using Key = TranscriptFile::Key;

std::string hex(ByteView bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return text;
}

/// A field's value as JSON.
struct Writer {
  const Key& key;
  bool with_data;

  ordered_json operator()(std::uint32_t value) const { return value; }
  ordered_json operator()(const std::string& value) const { return value; }
  ordered_json operator()(const std::vector<std::string>& value) const { return value; }
  ordered_json operator()(const pdu::Opaque& value) const { return hex(value.bytes); }
  ordered_json operator()(const pdu::Payload& value) const { return data(value.bytes); }
  ordered_json operator()(const pdu::Fields& value) const {
    ordered_json object = ordered_json::object();
    for (const pdu::Field& field : value) object[field.name] = std::visit(*this, field.value);
    return object;
  }
  ordered_json operator()(const std::vector<pdu::Fields>& value) const {
    ordered_json array = ordered_json::array();
    for (const pdu::Fields& fields : value) array.push_back((*this)(fields));
    return array;
  }

  [[nodiscard]] ordered_json data(ByteView bytes) const {
    if (with_data || bytes.empty()) return hex(bytes);
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), bytes.data(), bytes.size(),
         digest.data(), &size);
    return {{"bytes", bytes.size()}, {"digest", hex(ByteView(digest).first(digest_bytes))}};
  }
};

ordered_json begin(const TranscriptFile::Place& place) {
  ordered_json line;
  line["ms"] = place.ms;
  line["session"] = place.session;
  line["channel"] = place.channel;
  return line;
}

std::string text(const ordered_json& line) {
  // Text of a client may be anything, so what is no UTF-8 is replaced instead of thrown about.
  return line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Error unusable(const std::filesystem::path& path, int error_number) {
  return fail(ErrorCode::config, "--transcript " + path.string() + ": " +
                                     std::generic_category().message(error_number));
}

}  // namespace

Result<std::shared_ptr<TranscriptFile>> TranscriptFile::create(const std::filesystem::path& path,
                                                               bool with_data) {
  // Not O_TRUNC: a file that is there keeps its mode until fchmod().
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (descriptor < 0) return unusable(path, errno);
  std::FILE* file = nullptr;
  if (::fchmod(descriptor, S_IRUSR | S_IWUSR) == 0 && ::ftruncate(descriptor, 0) == 0)
    file = ::fdopen(descriptor, "w");
  if (file == nullptr) {
    const int error_number = errno;
    ::close(descriptor);
    return unusable(path, error_number);
  }
  std::shared_ptr<TranscriptFile> made(new TranscriptFile(file, with_data));
  if (RAND_bytes(made->key_.data(), static_cast<int>(made->key_.size())) != 1)
    return fail(ErrorCode::config, "--transcript: the system has no random bytes");
  return made;
}

TranscriptFile::~TranscriptFile() {
  std::fclose(file_);
}

void TranscriptFile::message(const Place& place, bool from_server, ByteView bytes,
                             const Result<pdu::Description>& description) {
  const Writer writer{key_, with_data_};
  ordered_json line = begin(place);
  line["direction"] = from_server ? "server_to_client" : "client_to_server";
  line["message"] = description ? description->name : "UNDECODABLE";
  const std::string& detail = description ? description->detail : description.error().message;
  if (!detail.empty()) line["detail"] = detail;
  line["bytes"] = bytes.size();
  line["fields"] = description ? writer(description->fields) : ordered_json::object();
  // What is no message has no fields that would tell what it was.
  if (with_data_ && (!description || !description->is_message)) line["raw"] = hex(bytes);
  write(text(line));
}

void TranscriptFile::event(const Place& place, const std::string& name, const std::string& by) {
  ordered_json line = begin(place);
  line["event"] = name;
  line["by"] = by;
  write(text(line));
}

void TranscriptFile::write(const std::string& line) {
  const std::lock_guard lock(mutex_);
  std::fputs(line.c_str(), file_);
  std::fflush(file_);
}

TranscriptFile::Place Transcript::place(rdpeusb::ChannelId channel, Instant now) const {
  return {session_, static_cast<double>((now - start_).count()) / 1000.0, channel};
}

void Transcript::opened(rdpeusb::ChannelId channel, Instant now) {
  if (!file_) return;
  channels_[channel] = {};
  file_->event(place(channel, now), "opened", "server");
}

void Transcript::refused(Instant now) {
  if (file_) file_->event(place(0, now), "refused", "client");
}

void Transcript::closed(rdpeusb::ChannelId channel, const std::string& by, Instant now) {
  if (channels_.erase(channel) != 0) file_->event(place(channel, now), "closed", by);
}

void Transcript::sent(rdpeusb::ChannelId channel, ByteView message, Instant now) {
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  file_->message(place(channel, now), true, message, found->second.from_server(message));
}

void Transcript::received(rdpeusb::ChannelId channel, ByteView message, Instant now) {
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  file_->message(place(channel, now), false, message, found->second.from_till(message));
}

}  // namespace tillbridge::terminal
