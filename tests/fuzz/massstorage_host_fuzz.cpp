// BulkOnlyHost against a device that lies: whatever completions say, each command ends exactly
// once, one transfer is outstanding at a time, and no result holds more than was asked for.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "channel/massstorage/host.hpp"

namespace usb = tillbridge::usb;
namespace massstorage = tillbridge::massstorage;
namespace scsi = tillbridge::massstorage::scsi;
using tillbridge::ByteReader;
using tillbridge::Bytes;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

usb::DeviceDescription stick() {
  usb::DeviceDescription device;
  usb::Configuration configuration;
  configuration.value = 1;
  configuration.interfaces = {{0, 0, 0x08, 0x06, 0x50, {{0x81, 2, 512, 0}, {0x02, 2, 512, 0}}}};
  device.configurations = {configuration};
  return device;
}

/// Starts a command; yields the most data that its result may hold.
std::optional<std::size_t> start(massstorage::BulkOnlyHost& host, ByteReader& input) {
  const std::uint8_t kind = input.u8();
  const std::uint16_t number = input.u16le();
  switch (kind % 9) {
    case 0:
      return host.inquiry() ? std::optional<std::size_t>(36) : std::nullopt;
    case 1:
      return host.test_unit_ready() ? std::optional<std::size_t>(0) : std::nullopt;
    case 2:
      return host.read_capacity() ? std::optional<std::size_t>(8) : std::nullopt;
    case 3: {
      const std::size_t bytes = std::size_t{host.block_size()} * number;
      return host.read(number, number) ? std::optional<std::size_t>(bytes) : std::nullopt;
    }
    case 4:
      return host.write(number, Bytes(number % 9000U)) ? std::optional<std::size_t>(0)
                                                       : std::nullopt;
    case 5:
      return host.get_max_lun() ? std::optional<std::size_t>(0) : std::nullopt;
    case 6:
      return host.request_sense() ? std::optional<std::size_t>(18) : std::nullopt;
    case 7:
      return host.synchronize_cache() ? std::optional<std::size_t>(0) : std::nullopt;
    default: {
      massstorage::Command command{
          scsi::inquiry(number), massstorage::DataDirection::in, number, {}, 0};
      return host.execute(command) ? std::optional<std::size_t>(number) : std::nullopt;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(tillbridge::ByteView(data, size));
  massstorage::HostOptions options;
  const std::uint8_t flags = input.u8();
  options.max_transfer_bytes = (flags & 1U) != 0 ? 1024 : 65536;
  options.automatic_sense = (flags & 2U) == 0;
  auto created = massstorage::BulkOnlyHost::create(stick(), options);
  require(created.ok());
  massstorage::BulkOnlyHost& host = *created;

  std::optional<usb::Transfer> outstanding;
  std::optional<std::size_t> running;  // most bytes of the running command's result
  std::uint32_t tag = 0;
  const auto poll = [&] {
    if (auto transfer = host.poll_transfer()) {
      require(!outstanding.has_value());
      require(transfer->in() || transfer->data.size() == transfer->length);
      if (transfer->type == usb::TransferType::bulk && !transfer->in() &&
          transfer->length == massstorage::CommandBlock::size) {
        if (const auto block = massstorage::parse_command_block(transfer->data)) tag = block->tag;
      }
      outstanding = std::move(transfer);
    }
    if (auto id = host.poll_cancel()) require(outstanding && outstanding->id == *id);
    if (auto result = host.poll_result()) {
      require(running.has_value());
      require(result->data.size() <= *running);
      require(!result->sense || result->outcome == massstorage::Outcome::check_condition);
      running.reset();
    }
    require(host.busy() == running.has_value());
  };

  while (input.remaining() > 0) {
    const std::uint8_t action = input.u8();
    if (!running) {
      require(!outstanding);
      running = start(host, input);
    } else if (action % 16 == 0) {
      host.abort();
    } else if (action % 16 == 1) {
      const usb::TransferId id = input.u32le();  // now and then the right one
      if (outstanding && outstanding->id == id) outstanding.reset();
      host.complete({id, static_cast<usb::TransferStatus>(action % 10), 5, {}, {1, 2}});
    } else if (outstanding) {
      usb::Completion completion;
      completion.id = outstanding->id;
      completion.status = static_cast<usb::TransferStatus>(action % 16 >= 10 ? 0 : action % 10);
      const std::uint16_t length = input.u16le();
      if (outstanding->in()) {
        completion.data.assign(length % 5000U, static_cast<std::uint8_t>(length));
        // Often enough a status that is one, or nearly.
        if (outstanding->length == massstorage::StatusBlock::size && (length & 1U) != 0) {
          completion.data = massstorage::encode(massstorage::StatusBlock{
              tag, std::uint32_t{length} >> 4U,
              static_cast<massstorage::CommandStatus>((length >> 1U) & 3U)});
        } else if ((length & 2U) != 0) {
          const auto bytes =
              input.take(std::min<std::size_t>(input.remaining(), outstanding->length));
          completion.data.assign(bytes.begin(), bytes.end());
        } else if ((length & 4U) != 0) {
          completion.data.resize(outstanding->length);
        }
      }
      completion.actual_length = (length & 8U) != 0 ? length : outstanding->length;
      outstanding.reset();
      host.complete(completion);
    }
    poll();
  }

  // From here on the device is gone: everything ends at once.
  while (outstanding) {
    const usb::TransferId id = outstanding->id;
    outstanding.reset();
    host.complete({id, usb::TransferStatus::device_gone, 0, {}, {}});
    poll();
  }
  require(!running);
  return 0;
}
