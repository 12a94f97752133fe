// Vectors written down from the tables of Linux' usbip_protocol.rst, byte by byte.
#include "channel/usbip/codec.hpp"

#include "channel/bytes/limits.hpp"
#include "channel/usbip/status.hpp"
#include "tests/unit/usbip/support.hpp"

namespace tillbridge::usbip {
namespace {

using namespace test;

template <typename T>
T decoded(const Bytes& bytes) {
  const auto command = decode_command(bytes);
  EXPECT_TRUE(command.ok());
  return std::get<T>(*command);
}

TEST(UsbipCodec, OpReqDevlist) {
  EXPECT_EQ(encode_device_list_request(), hex("01 11 80 05 00 00 00 00"));
}

TEST(UsbipCodec, OpReqImport) {
  const Bytes expected = hex("01 11 80 03 00 00 00 00"
                             "31 2d 31 2e 34") +
                         Bytes(27);
  EXPECT_EQ(encode_import_request("1-1.4"), expected);
  const auto header = decode_operation_header(ByteView(expected).first(8));
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->version, 0x0111);
  EXPECT_EQ(header->code, 0x8003);
  const auto busid = decode_busid(ByteView(expected).subspan(8));
  ASSERT_TRUE(busid.ok());
  EXPECT_EQ(*busid, "1-1.4");
}

TEST(UsbipCodec, OpRepDevlist) {
  const Bytes expected = hex("01 11 00 05 00 00 00 00"  // version, code, status
                             "00 00 00 01") +           // one device
                         hex("31 2d 31 2e 34") +
                         Bytes(256 - 5) +                         // path
                         hex("31 2d 31 2e 34") + Bytes(32 - 5) +  // busid
                         hex("00 00 00 01"                        // busnum
                             "00 00 00 01"                        // devnum
                             "00 00 00 03"                        // speed: high
                             "12 09 00 01 01 02"                  // idVendor, idProduct, bcdDevice
                             "00 00 00"                           // class, subclass, protocol
                             "01 02 01"  // bConfigurationValue, bNumConfigurations, bNumInterfaces
                             "08 06 50 00");  // the interface, padding
  EXPECT_EQ(encode_device_list({stick()}), expected);
  EXPECT_EQ(encode_device_list({}), hex("01 11 00 05 00 00 00 00 00 00 00 00"));
}

TEST(UsbipCodec, OpRepDevlistListsTheInterfacesOfTheActiveConfiguration) {
  auto device = stick();
  device.active_configuration = 5;
  const Bytes bytes = encode_device_list({device});
  EXPECT_EQ(Bytes(bytes.end() - 4, bytes.end()), hex("ff 00 00 00"));
  device.active_configuration = 0;
  const Bytes unconfigured = encode_device_list({device});
  EXPECT_EQ(Bytes(unconfigured.end() - 4, unconfigured.end()), hex("08 06 50 00"));
}

TEST(UsbipCodec, OpRepDevlistIsBounded) {
  const std::vector<usb::DeviceDescription> many(limits::usbip_exported_devices + 5);
  const Bytes bytes = encode_device_list(many);
  EXPECT_EQ(bytes.size(), 12 + limits::usbip_exported_devices * 312);
  EXPECT_EQ(ByteReader(ByteView(bytes).subspan(8)).u32be(), limits::usbip_exported_devices);
}

TEST(UsbipCodec, OpRepImport) {
  const Bytes expected = hex("01 11 00 03 00 00 00 00") + hex("31 2d 31 2e 34") + Bytes(256 - 5) +
                         hex("31 2d 31 2e 34") + Bytes(32 - 5) +
                         hex("00 00 00 01 00 00 00 01 00 00 00 03"
                             "12 09 00 01 01 02 00 00 00 01 02 01");
  EXPECT_EQ(encode_import_granted(stick()), expected);
  EXPECT_EQ(expected.size(), 320U);
  const auto record = decode_device_record(ByteView(expected).subspan(8));
  ASSERT_TRUE(record.ok());
  const auto device = to_description(*record);
  EXPECT_EQ(device.path, "1-1.4");
  EXPECT_EQ(device.speed, usb::Speed::high);
  EXPECT_EQ(device.device.vendor_id, 0x1209);
  EXPECT_EQ(device.device.product_id, 0x0001);
  EXPECT_EQ(device.device.device_version, 0x0102);
  EXPECT_EQ(device.device.configuration_count, 2);
  EXPECT_EQ(device.active_configuration, 1);
  EXPECT_EQ(encode_import_refused(OperationStatus::busy), hex("01 11 00 03 00 00 00 02"));
}

TEST(UsbipCodec, TheBusNumberIsThatOfTheBusid) {
  auto device = stick();
  device.path = "12-3";
  EXPECT_EQ(to_record(device).bus_number, 12U);
  device.path = "simulated-7";
  EXPECT_EQ(to_record(device).bus_number, 1U);
  device.path = "99999999999-1";
  EXPECT_LE(to_record(device).bus_number, 0xFFFFU);
}

TEST(UsbipCodec, TextsAreCutToTheirFieldsWithTheirNul) {
  auto device = stick();
  device.path = std::string(300, 'p');
  const Bytes bytes = encode_import_granted(device);
  EXPECT_EQ(bytes.size(), 320U);
  const auto record = decode_device_record(ByteView(bytes).subspan(8));
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record->path, std::string(255, 'p'));
  EXPECT_EQ(record->busid, std::string(31, 'p'));
}

TEST(UsbipCodec, TextsWithoutNulAreErrors) {
  EXPECT_FALSE(decode_busid(Bytes(32, 'x')).ok());
  Bytes record = encode_import_granted(stick());
  std::fill(record.begin() + 8, record.begin() + 8 + 256, std::uint8_t{'x'});
  EXPECT_FALSE(decode_device_record(ByteView(record).subspan(8)).ok());
}

TEST(UsbipCodec, AnUnknownSpeedIsUnknown) {
  DeviceRecord record;
  record.speed = 7;
  EXPECT_EQ(to_description(record).speed, usb::Speed::unknown);
  record.speed = 0xFFFFFFFF;
  EXPECT_EQ(to_description(record).speed, usb::Speed::unknown);
  record.speed = 5;
  EXPECT_EQ(to_description(record).speed, usb::Speed::super);
}

TEST(UsbipCodec, CmdSubmitOfAGetDescriptor) {
  const Bytes bytes =
      hex("00 00 00 01"  // USBIP_CMD_SUBMIT
          "00 00 0d 05"  // seqnum
          "00 01 00 0f"  // devid
          "00 00 00 01"  // direction IN
          "00 00 00 00"  // ep
          "00 00 02 00"  // transfer_flags: URB_DIR_IN
          "00 00 00 40"  // transfer_buffer_length
          "00 00 00 00"  // start_frame
          "ff ff ff ff"  // number_of_packets
          "00 00 00 00"  // interval
          "80 06 00 01 00 00 40 00");
  const auto command = decoded<CmdSubmit>(bytes);
  EXPECT_EQ(command.sequence, 0xd05U);
  EXPECT_EQ(command.device_id, 0x1000FU);
  EXPECT_TRUE(command.in);
  EXPECT_EQ(command.endpoint, 0U);
  EXPECT_EQ(command.flags, transfer_flag::direction_in);
  EXPECT_EQ(command.length, 64U);
  EXPECT_EQ(command.packet_count, no_packets);
  EXPECT_EQ(command.setup, usb::get_descriptor(1, 0, 0, 64));
  EXPECT_EQ(encode(command), bytes);
}

TEST(UsbipCodec, CmdSubmitOfAnInterruptOut) {
  const Bytes bytes =
      hex("00 00 00 01 00 00 0d 06 00 01 00 0f"
          "00 00 00 00"  // direction OUT
          "00 00 00 01"  // ep 1
          "00 00 00 40"  // URB_ZERO_PACKET
          "00 00 00 08"
          "00 00 00 02"  // start_frame
          "00 00 00 00"
          "00 00 00 04"  // interval
          "00 00 00 00 00 00 00 00");
  const auto command = decoded<CmdSubmit>(bytes);
  EXPECT_FALSE(command.in);
  EXPECT_EQ(command.endpoint, 1U);
  EXPECT_EQ(command.flags, transfer_flag::zero_packet);
  EXPECT_EQ(command.length, 8U);
  EXPECT_EQ(command.start_frame, 2U);
  EXPECT_EQ(command.interval, 4U);
  EXPECT_EQ(encode(command), bytes);
}

TEST(UsbipCodec, RetSubmit) {
  const Bytes bytes =
      hex("00 00 00 03"  // USBIP_RET_SUBMIT
          "00 00 0d 05"
          "00 00 00 00 00 00 00 00 00 00 00 00"  // devid, direction, ep
          "ff ff ff e0"                          // status: -EPIPE
          "00 00 00 12"                          // actual_length
          "00 00 00 07"                          // start_frame
          "00 00 00 02"                          // number_of_packets
          "00 00 00 01"                          // error_count
          "00 00 00 00 00 00 00 00");
  const auto command = decoded<RetSubmit>(bytes);
  EXPECT_EQ(command, (RetSubmit{0xd05, -32, 18, 7, 2, 1}));
  EXPECT_EQ(encode(command), bytes);
}

TEST(UsbipCodec, CmdUnlink) {
  const Bytes bytes = hex("00 00 00 02 00 00 0d 07 00 01 00 0f 00 00 00 00 00 00 00 00"
                          "00 00 0d 06") +
                      Bytes(24);  // unlink_seqnum
  const auto command = decoded<CmdUnlink>(bytes);
  EXPECT_EQ(command, (CmdUnlink{0xd07, 0x1000F, 0xd06}));
  EXPECT_EQ(encode(command), bytes);
}

TEST(UsbipCodec, RetUnlink) {
  const Bytes bytes = hex("00 00 00 04 00 00 0d 07 00 00 00 00 00 00 00 00 00 00 00 00"
                          "ff ff ff 98") +
                      Bytes(24);  // -ECONNRESET
  const auto command = decoded<RetUnlink>(bytes);
  EXPECT_EQ(command, (RetUnlink{0xd07, -104}));
  EXPECT_EQ(encode(command), bytes);
}

TEST(UsbipCodec, IsochronousPackets) {
  const Bytes bytes =
      hex("00 00 00 00 00 00 04 00 00 00 03 ff 00 00 00 00"
          "00 00 04 00 00 00 04 00 00 00 00 00 ff ff ff ee");  // -EXDEV
  const auto packets = decode_packets(bytes);
  ASSERT_TRUE(packets.ok());
  ASSERT_EQ(packets->size(), 2U);
  EXPECT_EQ((*packets)[0], (usb::IsochronousPacket{0, 1024, 1023, 0}));
  EXPECT_EQ((*packets)[1], (usb::IsochronousPacket{1024, 1024, 0, -18}));
  EXPECT_EQ(encode_packets(*packets), bytes);
  EXPECT_FALSE(decode_packets(ByteView(bytes).first(17)).ok());
  EXPECT_FALSE(decode_packets(Bytes((limits::isochronous_packets + 1) * packet_size)).ok());
}

TEST(UsbipCodec, UnknownCommandsAndDirectionsAreErrors) {
  for (const std::uint8_t code : Bytes{0, 5, 255}) {
    Bytes bytes(command_size);
    bytes[3] = code;
    EXPECT_FALSE(decode_command(bytes).ok()) << int{code};
  }
  Bytes swapped(command_size);
  swapped[0] = 1;  // little-endian
  EXPECT_FALSE(decode_command(swapped).ok());
  Bytes direction = encode(CmdSubmit{});
  direction[15] = 2;
  EXPECT_FALSE(decode_command(direction).ok());
}

TEST(UsbipCodec, EveryTruncationIsAnError) {
  for (const Bytes& bytes :
       {encode(CmdSubmit{}), encode(CmdUnlink{}), encode(RetSubmit{}), encode(RetUnlink{})}) {
    ASSERT_EQ(bytes.size(), command_size);
    EXPECT_TRUE(decode_command(bytes).ok());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(decode_command(ByteView(bytes).first(size)).ok()) << size;
    }
    EXPECT_FALSE(decode_command(bytes + Bytes(1)).ok());
  }
  const Bytes granted = encode_import_granted(stick());
  for (std::size_t size = 0; size < DeviceRecord::size; ++size) {
    EXPECT_FALSE(decode_device_record(ByteView(granted).subspan(8).first(size)).ok()) << size;
  }
}

TEST(UsbipStatus, IsLinuxErrnoOnTheWire) {
  using usb::TransferStatus;
  const std::vector<std::pair<TransferStatus, std::int32_t>> table{
      {TransferStatus::success, 0},      {TransferStatus::stall, -32},
      {TransferStatus::cancelled, -104}, {TransferStatus::short_read, -121},
      {TransferStatus::overflow, -75},   {TransferStatus::timeout, -110},
      {TransferStatus::error, -71},      {TransferStatus::device_gone, -108},
      {TransferStatus::refused, -22},    {TransferStatus::no_resources, -12}};
  for (const auto& [status, wire] : table) {
    EXPECT_EQ(to_wire(status), wire) << name(status);
    EXPECT_EQ(from_wire(wire), status) << name(status);
  }
}

TEST(UsbipStatus, WhatOtherServersSend) {
  using usb::TransferStatus;
  EXPECT_EQ(from_wire(-2), TransferStatus::cancelled);      // ENOENT: usb_kill_urb
  EXPECT_EQ(from_wire(-19), TransferStatus::device_gone);   // ENODEV
  EXPECT_EQ(from_wire(-84), TransferStatus::error);         // EILSEQ
  EXPECT_EQ(from_wire(-62), TransferStatus::error);         // ETIME
  EXPECT_EQ(from_wire(-5), TransferStatus::error);          // EIO
  EXPECT_EQ(from_wire(-38), TransferStatus::refused);       // ENOSYS
  EXPECT_EQ(from_wire(-28), TransferStatus::no_resources);  // ENOSPC
  EXPECT_EQ(from_wire(32), TransferStatus::error) << "a positive number is no errno";
  EXPECT_EQ(from_wire(-12345), TransferStatus::error);
  EXPECT_EQ(from_wire(INT32_MIN), TransferStatus::error);
  EXPECT_EQ(from_wire(INT32_MAX), TransferStatus::error);
}

}  // namespace
}  // namespace tillbridge::usbip
