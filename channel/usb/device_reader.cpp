#include "channel/usb/device_reader.hpp"

#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::usb {

namespace {

constexpr std::uint16_t configuration_header_bytes = 9;
/// The longest string descriptor; also what Windows and Linux ask for.
constexpr std::uint16_t string_request_bytes = 255;

}  // namespace

DeviceReader::DeviceReader(Speed speed, std::string path) {
  description_.speed = speed;
  description_.path = std::move(path);
}

std::optional<Transfer> DeviceReader::next(TransferId id) {
  if (outstanding_ || state_ == State::done) return std::nullopt;
  outstanding_ = true;
  id_ = id;
  return control_transfer(id, request());
}

SetupPacket DeviceReader::request() const {
  const auto& device = description_.device;
  switch (state_) {
    case State::device:
      return get_descriptor(descriptor_type::device, 0, 0, DeviceDescriptor::size);
    case State::configuration_header:
      return get_descriptor(descriptor_type::configuration, configuration_index_, 0,
                            configuration_header_bytes);
    case State::configuration_whole:
      return get_descriptor(descriptor_type::configuration, configuration_index_, 0, total_length_);
    case State::language:
      return get_descriptor(descriptor_type::string, 0, 0, string_request_bytes);
    case State::manufacturer:
      return get_descriptor(descriptor_type::string, device.manufacturer_index, language_,
                            string_request_bytes);
    case State::product:
      return get_descriptor(descriptor_type::string, device.product_index, language_,
                            string_request_bytes);
    case State::serial:
      return get_descriptor(descriptor_type::string, device.serial_index, language_,
                            string_request_bytes);
    case State::active_configuration:
    case State::done:
      break;
  }
  return SetupPacket{0x80, request::get_configuration, 0, 0, 1};
}

void DeviceReader::complete(const Completion& completion) {
  if (!outstanding_ || completion.id != id_) return;  // not ours
  outstanding_ = false;
  switch (state_) {
    case State::device:
      return on_device(completion);
    case State::configuration_header:
      return on_configuration_header(completion);
    case State::configuration_whole:
      return on_configuration(completion);
    case State::active_configuration:
      return on_active_configuration(completion);
    case State::language:
      return on_language(completion);
    case State::manufacturer:
      return on_string(completion, description_.manufacturer);
    case State::product:
      return on_string(completion, description_.product);
    case State::serial:
      return on_string(completion, description_.serial);
    case State::done:
      return;
  }
}

void DeviceReader::on_device(const Completion& completion) {
  if (!succeeded(completion, "device descriptor")) return;
  auto parsed = parse_device_descriptor(completion.data);
  if (!parsed) return end(parsed.error());
  description_.device = *parsed;
  const std::size_t count = description_.device.configuration_count;
  if (count == 0 || count > limits::configurations_per_device) {
    return end(fail(ErrorCode::limit,
                    "the device says it has " + std::to_string(count) + " configurations; 1 to " +
                        std::to_string(limits::configurations_per_device) + " are supported"));
  }
  state_ = State::configuration_header;
}

void DeviceReader::on_configuration_header(const Completion& completion) {
  if (!succeeded(completion, "configuration descriptor")) return;
  ByteReader reader(completion.data);
  reader.skip(1);  // bLength: checked with the whole
  const std::uint8_t type = reader.u8();
  total_length_ = reader.u16le();
  if (!reader.ok() || type != descriptor_type::configuration ||
      total_length_ < configuration_header_bytes) {
    return end(fail(
        ErrorCode::malformed,
        "configuration descriptor " + std::to_string(configuration_index_) + " has a bad header"));
  }
  state_ = State::configuration_whole;
}

void DeviceReader::on_configuration(const Completion& completion) {
  if (!succeeded(completion, "configuration descriptor")) return;
  auto parsed = parse_configuration(completion.data);
  if (!parsed) return end(parsed.error());
  if (description_.find_configuration(parsed->value) != nullptr) {
    return end(fail(ErrorCode::malformed, "two configurations of the device have the value " +
                                              std::to_string(parsed->value)));
  }
  description_.configurations.push_back(std::move(*parsed));
  ++configuration_index_;
  state_ = configuration_index_ < description_.device.configuration_count
               ? State::configuration_header
               : State::active_configuration;
}

void DeviceReader::on_active_configuration(const Completion& completion) {
  if (gone(completion)) return;
  // A device that cannot say it is treated as unconfigured: the host will set one before it uses
  // the device.
  if (completion.status == TransferStatus::success && completion.data.size() == 1) {
    const std::uint8_t value = completion.data.front();
    if (description_.find_configuration(value) != nullptr) {
      description_.active_configuration = value;
    }
  }
  state_ = State::language;
  skip_absent_strings();
}

void DeviceReader::on_language(const Completion& completion) {
  if (gone(completion)) return;
  ByteReader reader(completion.data);
  const std::uint8_t length = reader.u8();
  const std::uint8_t type = reader.u8();
  const std::uint16_t language = reader.u16le();
  // Without a language table there are no strings (USB 2.0, 9.6.7).
  if (completion.status != TransferStatus::success || !reader.ok() || length < 4 ||
      type != descriptor_type::string) {
    state_ = State::done;
    return;
  }
  language_ = language;
  state_ = State::manufacturer;
  skip_absent_strings();
}

void DeviceReader::on_string(const Completion& completion, std::string& text) {
  if (gone(completion)) return;
  if (completion.status == TransferStatus::success) {
    if (auto parsed = parse_string_descriptor(completion.data)) text = std::move(*parsed);
  }
  state_ = state_ == State::manufacturer ? State::product
           : state_ == State::product    ? State::serial
                                         : State::done;
  skip_absent_strings();
}

void DeviceReader::skip_absent_strings() {
  const auto& device = description_.device;
  if (state_ == State::language && device.manufacturer_index == 0 && device.product_index == 0 &&
      device.serial_index == 0) {
    state_ = State::done;
  }
  if (state_ == State::manufacturer && device.manufacturer_index == 0) state_ = State::product;
  if (state_ == State::product && device.product_index == 0) state_ = State::serial;
  if (state_ == State::serial && device.serial_index == 0) state_ = State::done;
}

bool DeviceReader::succeeded(const Completion& completion, const char* what) {
  if (completion.status == TransferStatus::success) return true;
  if (!gone(completion)) {
    end(fail(ErrorCode::unavailable, std::string("reading the ") + what + " ended with \"" +
                                         std::string(name(completion.status)) + "\""));
  }
  return false;
}

bool DeviceReader::gone(const Completion& completion) {
  const bool over = completion.status == TransferStatus::device_gone ||
                    completion.status == TransferStatus::cancelled;
  if (over) {
    end(fail(ErrorCode::unavailable, "the device went away while its descriptors were read"));
  }
  return over;
}

void DeviceReader::end(Error error) {
  error_ = std::move(error);
  state_ = State::done;
}

bool DeviceReader::done() const noexcept {
  return state_ == State::done;
}

Result<DeviceDescription> DeviceReader::result() const {
  if (error_) return *error_;
  if (!done()) return fail(ErrorCode::unavailable, "the device has not been read yet");
  return description_;
}

}  // namespace tillbridge::usb
