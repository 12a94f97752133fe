#include "server/simulator/factory.hpp"

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "server/simulator/factory_parts.hpp"
#include "server/simulator/fat_image.hpp"
#include "server/simulator/osr_fx2.hpp"
#include "server/simulator/serial_echo.hpp"
#include "server/simulator/tse/make_tse.hpp"

namespace tillbridge::simulator {
namespace {

constexpr std::uint32_t most_delay_us = 60'000'000;
constexpr std::uint32_t fewest_mib = 8, most_mib = 1U << 20U;
constexpr std::uint64_t blocks_per_mib = (1U << 20U) / block_bytes;
/// A string descriptor holds 126 UTF-16 units; no text needs more of them than it has bytes.
constexpr std::size_t most_string_bytes = 126;
/// What VPD page 83 can hold besides vendor and product.
constexpr std::size_t most_serial_digits = 126;

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
}

bool upper_case_hexadecimal(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); });
}

/// Sixteen digits that follow from the path (FNV-1a), so that two sticks differ and each stays the
/// same.
std::string serial_from(std::string_view path) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char c : path) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001B3U;
  }
  std::string digits;
  for (unsigned shift = 64; shift > 0; shift -= 4) {
    digits.push_back("0123456789ABCDEF"[(hash >> (shift - 4)) & 0xFU]);
  }
  return digits;
}

std::string or_default(const std::string& text, const std::string& fallback) {
  return text.empty() ? fallback : text;
}

std::uint16_t or_default(std::uint16_t number, std::uint16_t fallback) {
  return number == 0 ? fallback : number;
}

Status check_common(const DeviceOptions& options) {
  if (options.speed != "high" && options.speed != "full") {
    return wrong_option("speed", options.speed, "must be high or full");
  }
  if (options.delay_us > most_delay_us) {
    return wrong_option("delay_us", std::to_string(options.delay_us),
                        "must be at most 60000000 (60 s)");
  }
  const std::pair<const char*, const std::string*> texts[] = {
      {"manufacturer", &options.manufacturer},
      {"product", &options.product},
      {"serial", &options.serial}};
  for (const auto& [key, text] : texts) {
    if (text->size() > most_string_bytes) {
      return wrong_option(key, *text, "must have at most 126 characters");
    }
  }
  return {};
}

Status check_stick(const DeviceOptions& options) {
  if (!options.serial.empty() &&
      (options.serial.size() < 12 || options.serial.size() > most_serial_digits ||
       !upper_case_hexadecimal(options.serial))) {
    return wrong_option(
        "serial", options.serial,
        "must be at least 12 digits 0-9 and A-F; systems tell two sticks apart by it");
  }
  if (options.size_mib < fewest_mib || options.size_mib > most_mib) {
    return wrong_option("size_mib", std::to_string(options.size_mib), "must be from 8 to 1048576");
  }
  struct Field {
    const char* key;
    const std::string& text;
    std::size_t size;
  };
  for (const Field& field : {Field{"inquiry_vendor", options.inquiry_vendor, 8},
                             Field{"inquiry_product", options.inquiry_product, 16},
                             Field{"inquiry_revision", options.inquiry_revision, 4}}) {
    if (field.text.size() > field.size || !printable(field.text)) {
      return wrong_option(field.key, field.text,
                          "must be at most " + std::to_string(field.size) + " ASCII characters");
    }
  }
  return {};
}

Bytes readme_text() {
  constexpr std::string_view text =
      "This is a simulated stick. Nothing on it is signed and nothing on it is kept\r\n"
      "unless it was given a file (image) in the server's configuration.\r\n"
      "PATTERN.BIN holds 1 MiB of known bytes for tests.\r\n";
  return {text.begin(), text.end()};
}

Status format(Medium& medium, const DeviceOptions& options) {
  FatOptions fat;
  fat.label = or_default(options.label, fat.label);
  fat.cluster_bytes = options.cluster_bytes;
  if (options.sample_files) {
    fat.files.push_back({"README.TXT", readme_text()});
    fat.files.push_back({"PATTERN.BIN", pattern_bytes(1U << 20U, 1)});
  }
  const auto layout = write_fat_image(medium, fat);
  if (!layout) return layout.error();
  return {};
}

Result<std::unique_ptr<Medium>> existing_medium(const std::string& image) {
  auto file = FileMedium::open(image);
  if (!file) return file.error();
  if ((*file)->block_count() > std::uint64_t{most_mib} * blocks_per_mib) {
    return wrong_option("image", image, "must not be larger than 1 TiB");
  }
  return std::unique_ptr<Medium>(std::move(*file));
}

Result<std::unique_ptr<Medium>> new_medium(const DeviceOptions& options,
                                           const std::function<Status(Medium&)>& format) {
  const std::uint64_t blocks = options.size_mib * blocks_per_mib;
  std::unique_ptr<Medium> medium;
  if (options.image.empty()) {
    medium = std::make_unique<MemoryMedium>(blocks);
  } else {
    auto file = FileMedium::create(options.image, blocks);
    if (!file) return file.error();
    medium = std::move(*file);
  }
  if (const Status status = format(*medium); !status) {
    // A half-made disk must not be taken for a finished one at the next start.
    std::error_code ignored;
    if (!options.image.empty()) std::filesystem::remove(options.image, ignored);
    return status.error();
  }
  return medium;
}

Result<std::unique_ptr<Device>> make_stick(const DeviceOptions& options) {
  const auto stick = stick_options(options, {});
  if (!stick) return stick.error();
  auto medium = open_disk(options, [&](Medium& fresh) { return format(fresh, options); });
  if (!medium) return medium.error();
  return std::unique_ptr<Device>(std::make_unique<MassStorageStick>(
      std::move(*medium), *stick, std::make_shared<Bench>(options.seed)));
}

OsrFx2Options board_options(const DeviceOptions& options) {
  OsrFx2Options board;
  board.vendor_id = or_default(options.vendor_id, board.vendor_id);
  board.product_id = or_default(options.product_id, board.product_id);
  board.manufacturer = or_default(options.manufacturer, board.manufacturer);
  board.product = or_default(options.product, board.product);
  board.serial = or_default(options.serial, serial_from(options.path));
  board.path = options.path;
  board.speed = options.speed == "high" ? usb::Speed::high : usb::Speed::full;
  board.delay = Duration(options.delay_us);
  board.flip_every = std::chrono::milliseconds(options.flip_every_ms);
  return board;
}

}  // namespace

Error wrong_option(std::string_view key, std::string_view value, std::string_view allowed) {
  std::string message(key);
  message.append(" = \"").append(value).append("\": ").append(allowed);
  return fail(ErrorCode::config, std::move(message));
}

Result<StickOptions> stick_options(const DeviceOptions& options, StickOptions stick) {
  if (const Status status = check_stick(options); !status) return status.error();
  stick.vendor_id = or_default(options.vendor_id, stick.vendor_id);
  stick.product_id = or_default(options.product_id, stick.product_id);
  stick.manufacturer = or_default(options.manufacturer, stick.manufacturer);
  stick.product = or_default(options.product, stick.product);
  stick.serial = or_default(options.serial, serial_from(options.path));
  stick.path = options.path;
  stick.speed = options.speed == "high" ? usb::Speed::high : usb::Speed::full;
  stick.inquiry_vendor = or_default(options.inquiry_vendor, stick.inquiry_vendor);
  stick.inquiry_product = or_default(options.inquiry_product, stick.inquiry_product);
  stick.inquiry_revision = or_default(options.inquiry_revision, stick.inquiry_revision);
  stick.write_protected = options.write_protected;
  stick.delay = Duration(options.delay_us);
  return stick;
}

SerialOptions serial_options(const DeviceOptions& options, SerialOptions serial) {
  serial.vendor_id = or_default(options.vendor_id, serial.vendor_id);
  serial.product_id = or_default(options.product_id, serial.product_id);
  serial.manufacturer = or_default(options.manufacturer, serial.manufacturer);
  serial.product = or_default(options.product, serial.product);
  serial.serial = or_default(options.serial, serial_from(options.path));
  serial.path = options.path;
  serial.speed = options.speed == "high" ? usb::Speed::high : usb::Speed::full;
  serial.delay = Duration(options.delay_us);
  return serial;
}

Result<std::unique_ptr<Medium>> open_disk(const DeviceOptions& options,
                                          const std::function<Status(Medium&)>& format) {
  std::error_code ignored;
  const bool exists = !options.image.empty() && std::filesystem::exists(options.image, ignored);
  return exists ? existing_medium(options.image) : new_medium(options, format);
}

Result<std::unique_ptr<Device>> make_device(const DeviceOptions& options) {
  if (const Status status = check_common(options); !status) return status.error();
  const auto make = [&]() -> Result<std::unique_ptr<Device>> {
    if (options.kind == "mass-storage") return make_stick(options);
    if (options.kind == "serial-echo") {
      return std::unique_ptr<Device>(std::make_unique<SerialEcho>(serial_options(options, {})));
    }
    if (options.kind == "osr-fx2") return make_osr_fx2(board_options(options));
    return tse::make_tse(options);
  };
  auto device = make();
  if (!device) return device;
  for (const std::string& text : options.faults) {
    const auto fault = parse_fault(text);
    if (!fault) return fault.error();
    if (const Status status = (*device)->bench().faults.add(*fault); !status) return status.error();
  }
  return device;
}

}  // namespace tillbridge::simulator
