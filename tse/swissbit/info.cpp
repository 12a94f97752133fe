#include <cassert>
#include <utility>

#include "tse/swissbit/protocol.hpp"
#include "tse/swissbit/text.hpp"

namespace tillbridge::tse::swissbit {
namespace {

constexpr std::size_t customization_bytes = 0x14;
constexpr std::size_t most_point_bytes = 0xD0 - 0x6B;  ///< a point of 384 bits has 97
constexpr std::size_t most_certification_bytes = 63;

constexpr std::uint8_t bit_time_valid = 1U << 0U, bit_self_test_passed = 1U << 1U,
                       bit_ctss_active = 1U << 2U;
constexpr std::uint8_t bit_puk_changed = 1U << 0U, bit_admin_pin_changed = 1U << 1U,
                       bit_time_admin_pin_changed = 1U << 2U;

std::uint8_t bits(bool first, std::uint8_t first_bit, bool second, std::uint8_t second_bit,
                  bool third, std::uint8_t third_bit) {
  return static_cast<std::uint8_t>((first ? first_bit : 0U) | (second ? second_bit : 0U) |
                                   (third ? third_bit : 0U));
}

/// Zeros up to a field's place.
void seek(ByteWriter& writer, std::size_t place) {
  assert(writer.size() <= place);
  writer.zeros(place - writer.size());
}

}  // namespace

std::string tar_file(unsigned number) {
  std::string digits = std::to_string(number);
  if (digits.size() < 3) digits.insert(0, 3 - digits.size(), '0');
  return "TSE_TAR." + digits;
}

Bytes encode(const Pointers& pointers) {
  ByteWriter writer(sector_bytes);
  writer.u32be(pointers.info);
  writer.u32be(pointers.comm);
  writer.u32be(pointers.store);
  seek(writer, sector_bytes);
  return writer.finish();
}

Result<Pointers> parse_pointers(ByteView sector) {
  ByteReader reader(sector);
  Pointers pointers;
  pointers.info = reader.u32be();
  pointers.comm = reader.u32be();
  pointers.store = reader.u32be();
  if (!reader.ok() || pointers.info == 0 || pointers.comm == 0 || pointers.store == 0) {
    return fail(ErrorCode::malformed,
                "block 8 does not point to the files of a Swissbit TSE: the stick is none");
  }
  return pointers;
}

Bytes encode(const Info& info) {
  assert(info.public_point.size() <= most_point_bytes);
  ByteWriter writer(sector_bytes);
  write_text(writer, info.customization, customization_bytes);
  writer.u32be(info.capacity_blocks);  // 14
  writer.u32be(info.used_blocks);      // 18
  writer.u8(bits(info.time_valid, bit_time_valid, info.self_test_passed, bit_self_test_passed,
                 info.ctss_active, bit_ctss_active));  // 1C
  writer.u8(static_cast<std::uint8_t>(info.state));    // 1D
  writer.u8(info.import_running ? 1 : 0);              // 1E
  seek(writer, 0x20);
  writer.u8(bits(info.puk_changed, bit_puk_changed, info.admin_pin_changed, bit_admin_pin_changed,
                 info.time_admin_pin_changed, bit_time_admin_pin_changed));
  seek(writer, 0x24);
  writer.u32be(info.seconds_to_self_test);
  writer.u32be(info.open_transactions);       // 28
  writer.u32be(info.most_open_transactions);  // 2C
  writer.u32be(info.signatures);              // 30
  writer.u32be(info.most_signatures);         // 34
  writer.u32be(info.clients);                 // 38
  writer.u32be(info.most_clients);            // 3C
  // One client takes 64 bits here, another only the first 32 and so always reads 0. The next known
  // field is 8 bytes on.
  writer.u64be(info.certificate_end_s);  // 40
  writer.u64be(info.export_bytes);       // 48
  writer.u32be(info.hardware_version);   // 50
  writer.u32be(info.firmware_version);   // 54
  seek(writer, 0x6A);
  writer.u8(static_cast<std::uint8_t>(info.public_point.size()));
  writer.bytes(info.public_point);
  seek(writer, 0xD0);
  writer.u32be(info.seconds_to_time);
  seek(writer, 0x100);
  writer.bytes(info.serial);
  write_text(writer, info.certification_id.substr(0, most_certification_bytes));  // 120
  seek(writer, sector_bytes);
  return writer.finish();
}

Result<Info> parse_info(ByteView sector) {
  const auto malformed = [](std::string what) {
    return fail(ErrorCode::malformed, "TSE_INFO.DAT is no INFO sector: " + std::move(what));
  };
  if (sector.size() != sector_bytes) {
    return malformed(std::to_string(sector.size()) + " instead of 512 bytes");
  }
  ByteReader reader(sector);
  const auto seek_to = [&reader](std::size_t place) { reader.skip(place - reader.position()); };
  Info info;
  info.customization = terminated_text(reader.take(customization_bytes));
  if (info.customization.empty() || !printable(info.customization)) {
    return malformed("no customisation id");
  }
  info.capacity_blocks = reader.u32be();
  info.used_blocks = reader.u32be();
  const std::uint8_t condition = reader.u8();
  info.time_valid = (condition & bit_time_valid) != 0;
  info.self_test_passed = (condition & bit_self_test_passed) != 0;
  info.ctss_active = (condition & bit_ctss_active) != 0;
  const std::uint8_t state = reader.u8();
  if (state > static_cast<std::uint8_t>(State::decommissioned)) {
    return malformed("unknown state " + std::to_string(state));
  }
  info.state = static_cast<State>(state);
  info.import_running = reader.u8() != 0;
  seek_to(0x20);
  const std::uint8_t changed = reader.u8();
  info.puk_changed = (changed & bit_puk_changed) != 0;
  info.admin_pin_changed = (changed & bit_admin_pin_changed) != 0;
  info.time_admin_pin_changed = (changed & bit_time_admin_pin_changed) != 0;
  seek_to(0x24);
  info.seconds_to_self_test = reader.u32be();
  info.open_transactions = reader.u32be();
  info.most_open_transactions = reader.u32be();
  info.signatures = reader.u32be();
  info.most_signatures = reader.u32be();
  info.clients = reader.u32be();
  info.most_clients = reader.u32be();
  info.certificate_end_s = reader.u64be();
  info.export_bytes = reader.u64be();
  info.hardware_version = reader.u32be();
  info.firmware_version = reader.u32be();
  seek_to(0x6A);
  const std::uint8_t point_bytes = reader.u8();
  if (point_bytes > most_point_bytes) {
    return malformed("a public key of " + std::to_string(point_bytes) + " bytes");
  }
  const ByteView point = reader.take(point_bytes);
  info.public_point.assign(point.begin(), point.end());
  seek_to(0xD0);
  info.seconds_to_time = reader.u32be();
  seek_to(0x100);
  const ByteView serial = reader.take(info.serial.size());
  std::copy(serial.begin(), serial.end(), info.serial.begin());
  info.certification_id = terminated_text(reader.rest());
  if (!reader.ok()) return malformed("too short");
  return info;
}

}  // namespace tillbridge::tse::swissbit
