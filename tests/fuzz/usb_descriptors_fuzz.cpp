// Descriptors of a device that lies. The first byte chooses what the rest is taken for.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "channel/bytes/limits.hpp"
#include "channel/usb/device_reader.hpp"

namespace {

using namespace tillbridge;

void require(bool condition) {
  if (!condition) std::abort();
}

void configuration(ByteView bytes) {
  const auto parsed = usb::parse_configuration(bytes);
  if (!parsed) return;
  require(parsed->raw.size() <= bytes.size());
  require(parsed->interfaces.size() <= limits::alternate_settings_per_configuration);
  for (const auto& interface : parsed->interfaces) {
    require(interface.endpoints.size() <= limits::endpoints_per_interface);
    for (const auto& endpoint : interface.endpoints) require((endpoint.address & 0x0FU) != 0);
  }
  const auto again = usb::parse_configuration(parsed->raw);
  require(again.ok() && *again == *parsed);
}

void string(ByteView bytes) {
  const auto parsed = usb::parse_string_descriptor(bytes);
  if (!parsed) return;
  require(parsed->size() <= limits::usb_string_bytes);
  const auto again = usb::parse_string_descriptor(usb::encode_string_descriptor(*parsed));
  require(again.ok() && *again == *parsed);
}

void utf8(ByteView bytes) {
  const Bytes encoded = usb::encode_string_descriptor(std::string(bytes.begin(), bytes.end()));
  require(encoded.size() <= 255 && encoded[0] == encoded.size());
  require(usb::parse_string_descriptor(encoded).ok());
}

/// Each answer: a byte of status, a byte of length, the data.
void reader(ByteView bytes) {
  ByteReader answers(bytes);
  usb::DeviceReader device(usb::Speed::high, "1-1");
  std::size_t requests = 0;
  while (auto transfer = device.next(1)) {
    require(transfer->in());
    require(++requests <= 2 + 2 * limits::configurations_per_device + 4);
    usb::Completion completion;
    completion.id = 1;
    completion.status = static_cast<usb::TransferStatus>(answers.u8() % 10);
    const std::size_t length = answers.u8();
    const ByteView data = answers.take(std::min(length, answers.remaining()));
    completion.data.assign(data.begin(), data.end());
    device.complete(completion);
  }
  require(device.done());
  const auto result = device.result();
  if (result) require(result->configurations.size() == result->device.configuration_count);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  if (input.empty()) return 0;
  const ByteView rest = input.subspan(1);
  switch (input[0] % 5) {
    case 0:
      if (const auto parsed = usb::parse_device_descriptor(rest)) {
        require(usb::parse_device_descriptor(usb::encode(*parsed)).ok());
      }
      break;
    case 1:
      configuration(rest);
      break;
    case 2:
      string(rest);
      break;
    case 3:
      utf8(rest);
      break;
    default:
      reader(rest);
      break;
  }
  return 0;
}
