#include "server/usb/sysfs.hpp"

#include <charconv>
#include <fstream>
#include <memory>

#include <sys/stat.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::server {

namespace {

/// The kernel's own descriptors file ends after the last configuration.
constexpr std::size_t descriptors_bytes =
    usb::DeviceDescriptor::size +
    limits::configurations_per_device * limits::configuration_descriptor_bytes;

usb::Speed speed_of(const std::string& megabits) {
  if (megabits == "1.5") return usb::Speed::low;
  if (megabits == "12") return usb::Speed::full;
  if (megabits == "480") return usb::Speed::high;
  if (megabits == "5000") return usb::Speed::super;
  if (megabits == "10000" || megabits == "20000") return usb::Speed::super_plus;
  return usb::Speed::unknown;
}

std::optional<std::uint8_t> small_number(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  std::uint8_t value = 0;
  const auto parsed = std::from_chars(text->data(), std::to_address(text->end()), value);
  if (parsed.ec != std::errc()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::string> Sysfs::attribute(const std::string& busid, const char* name) const {
  std::ifstream stream(devices_ / busid / name, std::ios::binary);
  if (!stream) return std::nullopt;
  std::string text;
  // Attributes are at most a page long; the kernel ends them with a newline.
  std::getline(stream, text);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.pop_back();
  return text;
}

Result<usb::DeviceDescription> Sysfs::describe(const std::string& busid) const {
  std::ifstream stream(devices_ / busid / "descriptors", std::ios::binary);
  Bytes raw(descriptors_bytes);
  if (stream) {
    // A file is read into chars; std::uint8_t may alias them.
    stream.read(reinterpret_cast<char*>(raw.data()), static_cast<std::streamsize>(raw.size()));
    raw.resize(static_cast<std::size_t>(stream.gcount()));
  } else {
    raw.clear();
  }
  if (raw.empty()) {
    return fail(ErrorCode::unavailable, "the descriptors of the device at port " + busid +
                                            " cannot be read in " + devices_.string());
  }

  usb::DeviceDescription description;
  description.path = busid;
  auto device = usb::parse_device_descriptor(raw);
  if (!device) return device.error();
  description.device = *device;

  ByteReader reader(raw);
  reader.skip(usb::DeviceDescriptor::size);
  while (reader.remaining() > 0 &&
         description.configurations.size() < limits::configurations_per_device) {
    ByteReader header = reader;
    header.skip(2);  // bLength, bDescriptorType
    const std::uint16_t total_length = header.u16le();
    const ByteView whole = reader.take(total_length);
    if (!header.ok() || !reader.ok() || total_length == 0) {
      return fail(ErrorCode::malformed,
                  "the device at port " + busid + " has a configuration that is cut short");
    }
    auto configuration = usb::parse_configuration(whole);
    if (!configuration) return configuration.error();
    description.configurations.push_back(std::move(*configuration));
  }

  description.speed = speed_of(attribute(busid, "speed").value_or(""));
  description.active_configuration = active_configuration(busid).value_or(0);
  description.manufacturer = attribute(busid, "manufacturer").value_or("");
  description.product = attribute(busid, "product").value_or("");
  description.serial = attribute(busid, "serial").value_or("");
  return description;
}

std::optional<std::uint8_t> Sysfs::active_configuration(const std::string& busid) const {
  return small_number(attribute(busid, "bConfigurationValue"));
}

bool Sysfs::present(const std::string& busid, std::uint8_t device_number) const {
  return small_number(attribute(busid, "devnum")) == device_number;
}

// The kernel makes the device's folder when it enumerates the device; neither its inode nor the
// device's number is used again soon.
std::string Sysfs::enumeration(const std::string& busid) const {
  std::ifstream stream("/proc/sys/kernel/random/boot_id");
  std::string boot;
  struct stat folder {};
  const auto number = attribute(busid, "devnum");
  if (!std::getline(stream, boot) || !number ||
      ::stat((devices_ / busid / ".").c_str(), &folder) != 0) {
    return {};
  }
  return boot.substr(0, 36) + "-" + number->substr(0, 8) + "-" + std::to_string(folder.st_ino);
}

bool Sysfs::imported(const std::string& busid) const {
  // The entry is a link to the device's place below its host controller,
  // /sys/devices/platform/vhci_hcd.0/...
  std::error_code problem;
  const std::filesystem::path place = std::filesystem::canonical(devices_ / busid, problem);
  return !problem && place.string().find("/vhci_hcd") != std::string::npos;
}

Status Sysfs::keep_awake(const std::string& busid) const {
  if (attribute(busid, "power/control") == "on") return {};
  std::ofstream stream(devices_ / busid / "power/control");
  stream << "on" << std::flush;
  if (stream) return {};
  return fail(
      ErrorCode::io,
      "autosuspend of the stick at port " + busid +
          " cannot be switched off, so the stick may fall asleep; install the udev rules of "
          "tillbridge (70-tillbridge.rules), which do it");
}

}  // namespace tillbridge::server
