// What the tests of this room share: bytes by hand, two devices, and taking outputs apart.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "channel/usb/requests.hpp"
#include "channel/usbip/codec.hpp"
#include "channel/usbip/exporter.hpp"
#include "channel/usbip/importer.hpp"

namespace tillbridge::usbip::test {

/// "00 0a ff" → bytes; spaces and line breaks are for the reader.
inline Bytes hex(std::string_view text) {
  Bytes bytes;
  int high = -1;
  for (const char letter : text) {
    if (letter == ' ' || letter == '\n') continue;
    const int digit = letter <= '9' ? letter - '0' : letter - 'a' + 10;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<std::uint8_t>(high * 16 + digit));
      high = -1;
    }
  }
  return bytes;
}

inline Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

inline Bytes pattern(std::size_t size, std::uint32_t seed = 1) {
  Bytes bytes(size);
  for (auto& byte : bytes) {
    seed = seed * 1664525U + 1013904223U;
    byte = static_cast<std::uint8_t>(seed >> 24U);
  }
  return bytes;
}

inline usb::Configuration parsed(const Bytes& bytes) {
  auto configuration = usb::parse_configuration(bytes);
  EXPECT_TRUE(configuration.ok());
  return configuration.ok() ? *configuration : usb::Configuration{};
}

/// A Bulk-Only stick with interrupt endpoints and a second alternate setting that uses others, and
/// a second configuration; iso endpoints in alternate setting 2.
inline usb::DeviceDescription stick() {
  usb::DeviceDescription device;
  device.speed = usb::Speed::high;
  device.path = "1-1.4";
  device.device.usb_version = 0x0200;
  device.device.vendor_id = 0x1209;
  device.device.product_id = 0x0001;
  device.device.device_version = 0x0102;
  device.device.configuration_count = 2;
  device.active_configuration = 1;
  device.configurations.push_back(
      parsed(hex("09 02 5b 00 01 01 00 80 32"
                 "09 04 00 00 04 08 06 50 00"
                 "07 05 81 02 00 02 00"  // bulk IN
                 "07 05 02 02 00 02 00"  // bulk OUT
                 "07 05 83 03 08 00 04"  // interrupt IN
                 "07 05 04 03 08 00 04"  // interrupt OUT
                 "09 04 00 01 01 ff 00 00 00"
                 "07 05 85 02 00 02 00"  // bulk IN
                 "09 04 00 02 02 ff 00 00 00"
                 "07 05 86 01 00 04 01"  // isochronous IN
                 "07 05 07 01 00 04 01"  // isochronous OUT
                 "06 24 00 00 00 00")));
  device.configurations.push_back(
      parsed(hex("09 02 19 00 01 05 00 80 32"
                 "09 04 00 00 01 ff 00 00 00"
                 "07 05 88 02 00 02 00")));
  return device;
}

/// All that an end has to say, sends joined.
struct ExporterSaid {
  Bytes bytes;
  std::vector<usb::Transfer> submitted;
  std::vector<usb::TransferId> cancelled;
  std::vector<std::string> import_wanted;
  int list_wanted = 0;
  std::vector<Exporter::Close> closes;
};

inline ExporterSaid drain(Exporter& exporter) {
  ExporterSaid said;
  while (auto output = exporter.poll()) {
    if (auto* send = std::get_if<Exporter::Send>(&*output)) said.bytes = said.bytes + send->bytes;
    if (auto* submit = std::get_if<Exporter::Submit>(&*output))
      said.submitted.push_back(submit->transfer);
    if (auto* cancel = std::get_if<Exporter::Cancel>(&*output))
      said.cancelled.push_back(cancel->transfer);
    if (auto* wanted = std::get_if<Exporter::ImportWanted>(&*output))
      said.import_wanted.push_back(wanted->busid);
    if (std::holds_alternative<Exporter::ListWanted>(*output)) ++said.list_wanted;
    if (auto* close = std::get_if<Exporter::Close>(&*output)) said.closes.push_back(*close);
  }
  return said;
}

struct ImporterSaid {
  Bytes bytes;
  std::vector<Importer::Imported> imported;
  std::vector<usb::Completion> completed;
  std::vector<Error> failed;
};

inline ImporterSaid drain(Importer& importer) {
  ImporterSaid said;
  while (auto output = importer.poll()) {
    if (auto* send = std::get_if<Importer::Send>(&*output)) said.bytes = said.bytes + send->bytes;
    if (auto* imported = std::get_if<Importer::Imported>(&*output))
      said.imported.push_back(*imported);
    if (auto* completed = std::get_if<Importer::Completed>(&*output))
      said.completed.push_back(completed->completion);
    if (auto* failed = std::get_if<Importer::Failed>(&*output))
      said.failed.push_back(failed->error);
  }
  return said;
}

/// One answer of an exporter, taken apart. `in` must be told: the wire does not say it.
struct Answer {
  std::optional<RetSubmit> submit;
  std::optional<RetUnlink> unlink;
  Bytes data;
};

/// Takes the next answer from the front; IN data are as long as it says.
inline Answer next_answer(Bytes& bytes, bool in) {
  Answer answer;
  if (bytes.size() < command_size) {
    ADD_FAILURE() << "no answer";
    return answer;
  }
  ByteReader reader(bytes);
  const auto command = decode_command(reader.take(command_size));
  EXPECT_TRUE(command.ok());
  if (const auto* submit = std::get_if<RetSubmit>(&*command)) {
    answer.submit = *submit;
    if (in) {
      const ByteView data = reader.take(submit->actual_length);
      answer.data.assign(data.begin(), data.end());
    }
  } else if (const auto* unlink = std::get_if<RetUnlink>(&*command)) {
    answer.unlink = *unlink;
  } else {
    ADD_FAILURE() << "not an answer";
  }
  EXPECT_TRUE(reader.ok());
  const ByteView rest = reader.rest();
  bytes = Bytes(rest.begin(), rest.end());
  return answer;
}

inline CmdSubmit bulk_in(std::uint32_t sequence, std::uint32_t length, std::uint32_t endpoint = 1) {
  CmdSubmit command;
  command.sequence = sequence;
  command.in = true;
  command.endpoint = endpoint;
  command.length = length;
  return command;
}

inline CmdSubmit bulk_out(std::uint32_t sequence, std::uint32_t length,
                          std::uint32_t endpoint = 2) {
  CmdSubmit command = bulk_in(sequence, length, endpoint);
  command.in = false;
  return command;
}

inline CmdSubmit control(std::uint32_t sequence, const usb::SetupPacket& setup) {
  CmdSubmit command;
  command.sequence = sequence;
  command.in = setup.in();
  command.length = setup.length;
  command.setup = setup;
  return command;
}

inline usb::Completion done(usb::TransferId id, Bytes data) {
  usb::Completion completion;
  completion.id = id;
  completion.actual_length = static_cast<std::uint32_t>(data.size());
  completion.data = std::move(data);
  return completion;
}

inline usb::Completion done_out(usb::TransferId id, std::uint32_t length) {
  usb::Completion completion;
  completion.id = id;
  completion.actual_length = length;
  return completion;
}

inline usb::Completion ended(usb::TransferId id, usb::TransferStatus status) {
  usb::Completion completion;
  completion.id = id;
  completion.status = status;
  return completion;
}

inline usb::Transfer bulk_transfer(usb::TransferId id, std::uint8_t endpoint,
                                   std::uint32_t length) {
  usb::Transfer transfer;
  transfer.id = id;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = endpoint;
  transfer.length = length;
  if (!transfer.in()) transfer.data = pattern(length, id);
  return transfer;
}

/// An importer that holds the device, with nothing waiting in poll().
inline Importer attached_importer() {
  Importer importer("1-1.4");
  importer.start();
  importer.receive(encode_import_granted(stick()));
  drain(importer);
  return importer;
}

inline Exporter attached_exporter(ExporterOptions options = {}) {
  return Exporter(Exporter::Start::attached, stick(), options);
}

}  // namespace tillbridge::usbip::test
