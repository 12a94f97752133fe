// From TS_URBs to transfers, and from their ends to completions (rdpeusb.md 2.8, 2.11, 2.14, 4.4).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/till_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using usb::TransferStatus;
namespace function = pdu::urb_function;
namespace status = pdu::usbd_status;

const Bytes device_descriptor = from_hex("12011002 00000040 09120100 00010102 0301");  // 18 bytes

std::string setup_text(const usb::SetupPacket& setup) {
  ByteWriter out;
  pdu::encode(out, setup);
  return to_hex(out.view());
}

// --- byte for byte -------------------------------------------------------------------------------

TEST(TillTransfers, GetDescriptorByteForByte) {
  Conversation talk;
  talk.bring_up(storage_stick());
  // TRANSFER_IN, GET_DESCRIPTOR_FROM_DEVICE, request 7, index 0, type 1, language 0, 18 bytes.
  talk.say(2, "04000040 00000000 05010000 0c000000 0c000b00 07000000 00010000 12000000");
  const auto submit = talk.next_submit();
  EXPECT_EQ(submit.device, 1U);
  EXPECT_EQ(submit.transfer.type, usb::TransferType::control);
  EXPECT_EQ(submit.transfer.endpoint, 0x80);
  EXPECT_EQ(submit.transfer.length, 18U);
  EXPECT_FALSE(submit.transfer.short_not_ok);
  EXPECT_EQ(setup_text(submit.transfer.setup), "8006000100001200");
  talk.end(submit, TransferStatus::success, device_descriptor);
  talk.expect_sent(2,
                   "00000040 00000000 01010000 07000000 08000000 08000b00 00000000 00000000 "
                   "12000000" +
                       to_hex(device_descriptor));
}

TEST(TillTransfers, BulkOutIsCompletedWithoutDataAndWithTheCount) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  const Bytes command(31, 0x55);
  talk.bulk_out(8, talk.out_pipe, command);
  const auto submit = talk.next_submit();
  EXPECT_EQ(submit.transfer.type, usb::TransferType::bulk);
  EXPECT_EQ(submit.transfer.endpoint, 0x02);
  EXPECT_EQ(submit.transfer.data, command);
  EXPECT_EQ(submit.transfer.length, 31U);
  talk.end(submit, TransferStatus::success, {}, 31);
  talk.expect_sent(
      2, "00000040 00000000 02010000 08000000 08000000 08000900 00000000 00000000 1f000000");
}

// The published capture of Windows' client.
TEST(TillTransfers, AStallIsAStallInBothFields) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.transfer_in(9, function::class_interface, pdu::VendorOrClassRequest{3, 0, 0xFE, 0, 0, 0}, 1);
  talk.complete_next(TransferStatus::stall);
  talk.expect_sent(
      2, "00000040 00000000 02010000 09000000 08000000 08001b00 040000c0 1f000780 00000000");
}

TEST(TillTransfers, FrameNumberAndBusTimeAreOneClock) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.now = 0x1A5F4B53 * 1000us + 999us;
  talk.transfer_in(0, function::get_current_frame_number, pdu::NoParameters{}, 0);
  talk.expect_sent(2,
                   "00000040 00000000 02010000 00000000 0c000000 0c000700 00000000 534b5f1a "
                   "00000000 00000000");
  // The specification's own example 4.1.2 and 4.1.3, but for the interface ids.
  talk.say(2, "04000040 00000000 03010000 00402200 00000000 04000000 00000000");
  talk.expect_sent(2, "00000040 00000000 00010000 00000000 00000000 04000000 04000000 534b5f1a");
}

// --- the table of functions ----------------------------------------------------------------------

struct FunctionCase {
  const char* name;
  bool in;
  std::uint16_t function;
  pdu::TsUrb::Body body;
  std::uint32_t size;
  const char* setup;
};

TEST(TillTransfers, EveryControlFunctionHasItsSetupPacket) {
  const pdu::DescriptorRequest descriptor{2, 0x22, 0x0409};
  const pdu::FeatureRequest feature{1, 0x0081};
  const pdu::StatusRequest get_status{0x0081, 0xBEEF};
  const pdu::VendorOrClassRequest in_request{3, 0, 0xAA, 0x1234, 0x5678, 0xBEEF};
  const pdu::VendorOrClassRequest out_request{0, 0, 0xAA, 0x1234, 0x5678, 0};
  const usb::SetupPacket raw{0xC1, 0x99, 0x0102, 0x0304, 5};
  const std::vector<FunctionCase> cases{
      {"get device descriptor", true, 0x0B, descriptor, 300, "8006022209042c01"},
      {"set device descriptor", false, 0x0C, descriptor, 3, "0007022209040300"},
      {"get endpoint descriptor", true, 0x24, descriptor, 9, "8206022209040900"},
      {"set endpoint descriptor", false, 0x25, descriptor, 9, "0207022209040900"},
      {"get interface descriptor", true, 0x28, descriptor, 9, "8106022209040900"},
      {"set interface descriptor", false, 0x29, descriptor, 9, "0107022209040900"},
      {"set device feature", true, 0x0D, feature, 0, "0003010081000000"},
      {"set interface feature", true, 0x0E, feature, 0, "0103010081000000"},
      {"set endpoint feature", true, 0x0F, feature, 0, "0203010081000000"},
      {"set other feature", true, 0x23, feature, 0, "0303010081000000"},
      {"clear device feature", true, 0x10, feature, 0, "0001010081000000"},
      {"clear interface feature", true, 0x11, feature, 0, "0101010081000000"},
      {"clear endpoint feature", true, 0x12, feature, 0, "0201010081000000"},
      {"clear other feature", true, 0x22, feature, 0, "0301010081000000"},
      {"device status", true, 0x13, get_status, 2, "8000000081000200"},
      {"interface status", true, 0x14, get_status, 2, "8100000081000200"},
      {"endpoint status", true, 0x15, get_status, 2, "8200000081000200"},
      {"other status", true, 0x21, get_status, 2, "8300000081000200"},
      {"status into a larger buffer", true, 0x13, get_status, 64, "8000000081000200"},
      {"vendor device in", true, 0x17, in_request, 5, "c0aa341278560500"},
      {"vendor device out", false, 0x17, out_request, 5, "40aa341278560500"},
      {"vendor interface in", true, 0x18, in_request, 5, "c1aa341278560500"},
      {"vendor endpoint out", false, 0x19, out_request, 0, "42aa341278560000"},
      {"vendor other in", true, 0x20, in_request, 5, "c3aa341278560500"},
      {"class device in", true, 0x1A, in_request, 5, "a0aa341278560500"},
      {"class interface out", false, 0x1B, out_request, 2, "21aa341278560200"},
      {"class endpoint in", true, 0x1C, in_request, 5, "a2aa341278560500"},
      {"class other out", false, 0x1F, out_request, 2, "23aa341278560200"},
      {"reserved bits", false, 0x1A, pdu::VendorOrClassRequest{0, 0xE4, 0xAA, 0x1234, 0x5678, 0}, 2,
       "24aa341278560200"},
      {"get configuration", true, 0x26, pdu::NoParameters{}, 1, "8008000000000100"},
      {"get interface", true, 0x27, pdu::GetInterfaceRequest{3, 0xBEEF}, 1, "810a000003000100"},
      {"raw control", true, 0x08, pdu::ControlTransfer{0, 0xB, raw}, 5, "c199020104030500"},
      {"raw control, null handle", true, 0x08, pdu::ControlTransfer{0, 3, raw}, 5,
       "c199020104030500"},
      {"raw control, handle meaningless", true, 0x08, pdu::ControlTransfer{77, 0xB, raw}, 5,
       "c199020104030500"},
      {"raw control ex", true, 0x32, pdu::ControlTransferEx{0, 0xB, 0, raw}, 5, "c199020104030500"},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.name);
    Conversation talk;
    talk.bring_up(storage_stick());
    const Bytes data = test.in ? Bytes{} : Bytes(test.size, 0x77);
    talk.transfer(test.in, 5, test.function, test.body, test.size, data);
    ASSERT_EQ(talk.submitted.size(), 1U);
    const auto submit = talk.next_submit();
    EXPECT_EQ(setup_text(submit.transfer.setup), test.setup);
    EXPECT_EQ(submit.transfer.type, usb::TransferType::control);
    EXPECT_EQ(submit.transfer.in(), submit.transfer.setup.in());
    EXPECT_EQ(submit.transfer.length, submit.transfer.setup.length);
    EXPECT_EQ(submit.transfer.data, data);
    const bool has_data = submit.transfer.in() && submit.transfer.length > 0;
    talk.end(submit, TransferStatus::success,
             has_data ? Bytes(submit.transfer.length, 0x11) : Bytes{}, submit.transfer.length);
    const Ended ended = talk.next_ended();
    EXPECT_EQ(ended.request, 5U);
    EXPECT_EQ(ended.with_data, has_data);
    EXPECT_EQ(ended.function, test.function) << "as Microsoft's client, in the padding";
    EXPECT_EQ(ended.status, 0U);
    EXPECT_EQ(ended.hresult, 0U);
    EXPECT_EQ(ended.size, submit.transfer.length);
  }
}

TEST(TillTransfers, WhatMakesNoSenseFailsWithoutReachingTheStick) {
  const usb::SetupPacket in5{0xC0, 1, 0, 0, 5};
  const usb::SetupPacket out5{0x40, 1, 0, 0, 5};
  const pdu::VendorOrClassRequest in_flag{1, 0, 1, 0, 0, 0};
  const pdu::VendorOrClassRequest no_flag{0, 0, 1, 0, 0, 0};
  const std::vector<FunctionCase> cases{
      {"wLength below OutputBufferSize", true, 0x08, pdu::ControlTransfer{0, 0xB, in5}, 6, ""},
      {"wLength above OutputBufferSize", true, 0x32, pdu::ControlTransferEx{0, 0xB, 0, in5}, 4, ""},
      {"OUT setup in an IN message", true, 0x08, pdu::ControlTransfer{0, 0xB, out5}, 5, ""},
      {"IN setup in an OUT message", false, 0x08, pdu::ControlTransfer{0, 0x8, in5}, 5, ""},
      {"flag in the wrong message", false, 0x17, in_flag, 2, ""},
      {"no flag", true, 0x17, no_flag, 2, ""},
      {"get status in an OUT message", false, 0x13, pdu::StatusRequest{}, 2, ""},
      {"get status of one byte", true, 0x13, pdu::StatusRequest{}, 1, ""},
      {"get configuration of nothing", true, 0x26, pdu::NoParameters{}, 0, ""},
      {"set descriptor in an IN message", true, 0x0C, pdu::DescriptorRequest{}, 2, ""},
      {"select interface in an OUT message", false, 0x01, pdu::SelectInterface{}, 0, ""},
      {"OS descriptor of nobody", true, 0x2A, pdu::OsFeatureDescriptorRequest{3, 0, 0, 0, 4, {}},
       64, ""},
  };
  for (const auto& test : cases) {
    SCOPED_TRACE(test.name);
    Conversation talk;
    talk.bring_up(storage_stick());
    talk.transfer(test.in, 5, test.function, test.body, test.size,
                  test.in ? Bytes{} : Bytes(test.size));
    EXPECT_THAT(talk.submitted, IsEmpty());
    const Ended ended = talk.next_ended();
    EXPECT_EQ(ended.request, 5U);
    EXPECT_FALSE(ended.with_data);
    EXPECT_EQ(ended.status, status::invalid_parameter);
    EXPECT_EQ(ended.hresult, pdu::hresult::invalid_argument);
    EXPECT_EQ(ended.size, 0U);
    // The id is free again at once.
    talk.transfer_in(5, function::get_configuration, pdu::NoParameters{}, 1);
    EXPECT_EQ(talk.submitted.size(), 1U);
  }
}

// Requests that belong to the host, or would do harm a server must not do.
TEST(TillTransfers, HostRequestsInDisguiseAreRefused) {
  const std::vector<std::pair<const char*, usb::SetupPacket>> cases{
      {"set address", {0x00, 5, 7, 0, 0}},
      {"set configuration", usb::set_configuration(1)},
      {"set configuration, odd recipient", {0x1F, 9, 1, 0, 0}},
      {"set interface", usb::set_interface(0, 1)},
      {"port reset past the policy", usb::port_reset()},
      {"test mode", {0x00, 3, 2, 0x0100, 0}},
      {"clear halt of an endpoint that is not there", usb::clear_halt(0x85)},
  };
  for (const auto& [name, setup] : cases) {
    SCOPED_TRACE(name);
    Conversation talk;
    talk.bring_up(storage_stick());
    talk.transfer_out(1, function::control_transfer, pdu::ControlTransfer{0, 8, setup}, {});
    EXPECT_THAT(talk.submitted, IsEmpty());
    EXPECT_EQ(talk.next_ended().status, status::invalid_parameter);
  }
  Conversation talk;
  talk.bring_up(storage_stick());
  // The same port reset dressed up as a class request.
  talk.transfer_out(1, function::class_other, pdu::VendorOrClassRequest{0, 0, 3, 4, 0, 0}, {});
  EXPECT_THAT(talk.submitted, IsEmpty());
  EXPECT_EQ(talk.next_ended().status, status::invalid_parameter);
  talk.transfer_in(2, function::set_feature_to_device, pdu::FeatureRequest{2, 0x0100}, 0);
  EXPECT_THAT(talk.submitted, IsEmpty());
  EXPECT_EQ(talk.next_ended().status, status::invalid_parameter);
  // An endpoint that is there, and endpoint 0.
  talk.transfer_in(3, function::clear_feature_to_endpoint, pdu::FeatureRequest{0, 0x81}, 0);
  talk.transfer_in(4, function::clear_feature_to_endpoint, pdu::FeatureRequest{0, 0x00}, 0);
  EXPECT_EQ(talk.submitted.size(), 2U);
}

TEST(TillTransfers, UnknownFunctionsAreCompletedAsSuch) {
  for (const std::uint16_t code :
       std::initializer_list<std::uint16_t>{0x03, 0x16, 0x1D, 0x2B, 0x33, 0x35, 0x38, 0xFFFF}) {
    Conversation talk;
    talk.bring_up(storage_stick());
    ByteWriter urb;
    urb.u16le(8);
    urb.u16le(code);
    urb.u32le(77);
    ByteWriter message;
    message.bytes(from_hex("04000040 00000000 05010000 08000000"));
    message.bytes(urb.view());
    message.u32le(16);
    talk.outstanding[77] = {false, code, 16};
    talk.say(2, message.finish());
    const Ended ended = talk.next_ended();
    EXPECT_EQ(ended.request, 77U) << code;
    EXPECT_EQ(ended.status, status::invalid_urb_function);
    EXPECT_EQ(ended.hresult, pdu::hresult::not_supported);
  }
}

// --- pipes ---------------------------------------------------------------------------------------

TEST(TillTransfers, PipesCarryTheirEndpoint) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_gadget();
  talk.bulk_in(1, talk.in_pipe, 4096);
  talk.bulk_in(2, talk.interrupt_pipe, 64);
  talk.bulk_out(3, talk.out_pipe, {});
  const auto bulk = talk.next_submit().transfer;
  EXPECT_EQ(bulk.endpoint, 0x81);
  EXPECT_EQ(bulk.type, usb::TransferType::bulk);
  EXPECT_EQ(bulk.interval, 0U);
  EXPECT_EQ(bulk.length, 4096U);
  const auto interrupt = talk.next_submit().transfer;
  EXPECT_EQ(interrupt.endpoint, 0x83);
  EXPECT_EQ(interrupt.type, usb::TransferType::interrupt);
  EXPECT_EQ(interrupt.interval, 4U);
  EXPECT_EQ(interrupt.length, 64U) << "more than a packet is asked for, and allowed";
  const auto zero = talk.next_submit();
  EXPECT_EQ(zero.transfer.endpoint, 0x02);
  EXPECT_EQ(zero.transfer.length, 0U) << "a zero-length packet is really sent";
  talk.end(zero, TransferStatus::success);
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, 0U);
  EXPECT_EQ(ended.size, 0U);
}

TEST(TillTransfers, PipesThatDoNotFit) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_gadget();
  talk.bulk_in(1, 0xFFFF0002, 512);
  EXPECT_EQ(talk.next_ended().status, status::invalid_pipe_handle);
  talk.bulk_in(2, talk.configuration, 512);  // a handle, but of no pipe
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, status::invalid_pipe_handle);
  EXPECT_EQ(ended.hresult, pdu::hresult::invalid_argument);
  talk.bulk_in(3, talk.out_pipe, 512);
  EXPECT_EQ(talk.next_ended().status, status::invalid_parameter);
  talk.bulk_out(4, talk.in_pipe, Bytes(4));
  EXPECT_EQ(talk.next_ended().status, status::invalid_parameter);
  talk.bulk_in(5, talk.isochronous_pipe, 512);
  EXPECT_EQ(talk.next_ended().status, status::invalid_parameter);
  talk.transfer_in(6, function::control_transfer,
                   pdu::ControlTransfer{talk.in_pipe, 3, {0xC0, 1, 0, 0, 5}}, 5);
  EXPECT_EQ(talk.next_ended().status, status::invalid_pipe_handle);
  for (const std::uint16_t request : std::initializer_list<std::uint16_t>{0x02, 0x1E, 0x30, 0x31}) {
    talk.pipe_request(7, request, 0x12345);
    EXPECT_EQ(talk.next_ended().status, status::invalid_pipe_handle) << request;
  }
  EXPECT_THAT(talk.submitted, IsEmpty());
}

TEST(TillTransfers, RequestsRunSideBySideAndEndInAnyOrder) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(0, talk.in_pipe, 512);  // id 0 is what Windows starts with
  talk.bulk_in(0x7FFFFFFF, talk.in_pipe, 512);
  talk.transfer_in(5, function::get_configuration, pdu::NoParameters{}, 1);
  ASSERT_EQ(talk.submitted.size(), 3U);
  const auto first = talk.next_submit();
  const auto second = talk.next_submit();
  const auto third = talk.next_submit();
  talk.end(third, TransferStatus::success, {1});
  EXPECT_EQ(talk.next_ended().request, 5U);
  talk.end(second, TransferStatus::success, Bytes(512, 2));
  EXPECT_EQ(talk.next_ended().request, 0x7FFFFFFFU);
  talk.end(first, TransferStatus::success, Bytes(512, 1));
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.request, 0U);
  EXPECT_EQ(ended.data, Bytes(512, 1));
  talk.end(first, TransferStatus::success, Bytes(512, 1));
  EXPECT_TRUE(talk.quiet(2)) << "a second completion of one transfer is swallowed";
}

TEST(TillTransfers, NoTimerOnTransfers) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 512);
  EXPECT_EQ(talk.role.next_deadline(), std::nullopt) << "no timer on a bulk transfer";
  talk.pass(24h);
  EXPECT_THAT(talk.cancelled, IsEmpty());
  talk.complete_next(TransferStatus::success, Bytes(512));
  EXPECT_EQ(talk.next_ended().status, 0U);
}

// --- how transfers end (2.14) --------------------------------------------------------------------

struct EndCase {
  TransferStatus status;
  std::uint32_t usbd_status, hresult;
};

TEST(TillTransfers, EveryFailureSaysSoInBothFields) {
  const std::vector<EndCase> cases{
      {TransferStatus::stall, 0xC0000004, 0x8007001F},
      {TransferStatus::cancelled, 0xC0010000, 0x800703E3},
      {TransferStatus::short_read, 0x80000900, 0x8007001F},
      {TransferStatus::overflow, 0xC0000012, 0x8007001F},
      {TransferStatus::timeout, 0xC0006000, 0x80070079},
      {TransferStatus::error, 0xC0000011, 0x8007001F},
      {TransferStatus::device_gone, 0xC0007000, 0x8007048F},
      {TransferStatus::refused, 0x80000500, 0x8007001F},
      {TransferStatus::no_resources, 0xC0001000, 0x8007000E},
  };
  for (const auto& test : cases) {
    for (const bool in : {true, false}) {
      SCOPED_TRACE(usb::name(test.status));
      Conversation talk;
      talk.bring_up(storage_stick());
      talk.select_storage();
      if (in) {
        talk.bulk_in(1, talk.in_pipe, 512);
      } else {
        talk.bulk_out(1, talk.out_pipe, Bytes(512));
      }
      talk.end(talk.next_submit(), test.status, {}, 100);
      const Ended ended = talk.next_ended();
      EXPECT_FALSE(ended.with_data);
      EXPECT_EQ(ended.status, test.usbd_status);
      EXPECT_EQ(ended.hresult, test.hresult);
      // Bytes that went out before a cancel are reported; nothing else is.
      const bool counts = !in && test.status == TransferStatus::cancelled;
      EXPECT_EQ(ended.size, counts ? 100U : 0U);
    }
  }
}

TEST(TillTransfers, ShortReads) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  const Bytes thirteen(13, 0x42);

  talk.bulk_in(1, talk.in_pipe, 64, 3);
  EXPECT_FALSE(talk.submitted[0].transfer.short_not_ok);
  talk.complete_next(TransferStatus::success, thirteen);
  Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, 0U);
  EXPECT_EQ(ended.data, thirteen);

  // Without SHORT_TRANSFER_OK it fails, but what was read is delivered.
  talk.bulk_in(2, talk.in_pipe, 64, 1);
  EXPECT_TRUE(talk.submitted[0].transfer.short_not_ok);
  talk.complete_next(TransferStatus::short_read, thirteen);
  ended = talk.next_ended();
  EXPECT_EQ(ended.status, 0x80000900U);
  EXPECT_EQ(ended.hresult, 0x8007001FU);
  EXPECT_TRUE(ended.with_data);
  EXPECT_EQ(ended.data, thirteen);

  // The same from a backend that does not know the flag.
  talk.bulk_in(3, talk.in_pipe, 64, 1);
  talk.complete_next(TransferStatus::success, thirteen);
  ended = talk.next_ended();
  EXPECT_EQ(ended.status, 0x80000900U);
  EXPECT_EQ(ended.data, thirteen);

  // Complete is not short.
  talk.bulk_in(4, talk.in_pipe, 13, 1);
  talk.complete_next(TransferStatus::success, thirteen);
  EXPECT_EQ(talk.next_ended().status, 0U);

  // Nothing at all: NO_DATA.
  talk.bulk_in(5, talk.in_pipe, 64, 3);
  talk.complete_next(TransferStatus::success, {});
  ended = talk.next_ended();
  EXPECT_FALSE(ended.with_data);
  EXPECT_EQ(ended.status, 0U);
  EXPECT_EQ(ended.size, 0U);

  // A stick that answers GET_DESCRIPTOR with less: that is what descriptors do.
  talk.transfer_in(6, function::get_descriptor_from_device, pdu::DescriptorRequest{0, 1, 0}, 255);
  talk.complete_next(TransferStatus::success, thirteen);
  EXPECT_EQ(talk.next_ended().status, 0U);
}

TEST(TillTransfers, ShortOutReportsWhatTheDeviceTook) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_out(1, talk.out_pipe, Bytes(512));
  talk.end(talk.next_submit(), TransferStatus::success, {}, 100);
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, 0U);
  EXPECT_EQ(ended.size, 100U);
}

TEST(TillTransfers, MoreThanWasAskedForIsNeverPassedOn) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 64);
  talk.complete_next(TransferStatus::success, Bytes(65));
  Ended ended = talk.next_ended();
  EXPECT_FALSE(ended.with_data);
  EXPECT_EQ(ended.status, 0xC0000012U);
  // GET_STATUS asks the device for two bytes, however large the server's buffer is.
  talk.transfer_in(2, function::get_status_from_device, pdu::StatusRequest{}, 64);
  talk.complete_next(TransferStatus::success, Bytes(3));
  EXPECT_EQ(talk.next_ended().status, 0xC0000012U);
  talk.bulk_out(3, talk.out_pipe, Bytes(10));
  talk.end(talk.next_submit(), TransferStatus::success, {}, 4000);
  EXPECT_EQ(talk.next_ended().size, 10U);
}

// --- isochronous: refused, but bounded -----------------------------------------------------------

pdu::IsochronousTransfer isochronous(std::uint32_t pipe, std::vector<std::uint32_t> offsets,
                                     std::uint32_t flags) {
  pdu::IsochronousTransfer transfer;
  transfer.pipe_handle = pipe;
  transfer.flags = flags;
  for (const std::uint32_t offset : offsets) transfer.packets.push_back({offset, 0, 0});
  return transfer;
}

TEST(TillTransfers, IsochronousTransfersAreRefusedCleanly) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_gadget();
  talk.transfer_in(1, function::isochronous_transfer,
                   isochronous(talk.isochronous_pipe, {0, 100, 200}, 5), 300);
  Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, status::not_supported);
  EXPECT_EQ(ended.hresult, pdu::hresult::not_supported);
  for (const auto& offsets : {std::vector<std::uint32_t>{0, 301}, {200, 100}, {0xFFFFFFFF}}) {
    talk.transfer_in(2, function::isochronous_transfer,
                     isochronous(talk.isochronous_pipe, offsets, 5), 300);
    EXPECT_EQ(talk.next_ended().status, status::invalid_parameter);
  }
  // OUT that wants no answer gets none, whatever is in it.
  talk.transfer(false, 3, function::isochronous_transfer,
                isochronous(talk.isochronous_pipe, {0, 100}, 4), 200, Bytes(200), true);
  talk.transfer(false, 3, function::isochronous_transfer, isochronous(77, {900}, 4), 200,
                Bytes(200), true);
  EXPECT_TRUE(talk.quiet(2));
  EXPECT_THAT(talk.submitted, IsEmpty());
}

TEST(TillTransfers, NoAckElsewhereIsAnError) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.transfer(false, 3, function::bulk_or_interrupt_transfer,
                pdu::BulkOrInterruptTransfer{talk.out_pipe, 0}, 4, Bytes(4), true);
  EXPECT_THAT(talk.submitted, IsEmpty());
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.request, 3U);
  EXPECT_EQ(ended.status, status::invalid_parameter);
}

// --- limits --------------------------------------------------------------------------------------

TEST(TillTransfers, LimitsAnswerInsufficientResources) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  const auto expect_refused = [&](std::uint32_t request) {
    const Ended ended = talk.next_ended();
    EXPECT_EQ(ended.request, request);
    EXPECT_EQ(ended.status, status::insufficient_resources);
    EXPECT_EQ(ended.hresult, pdu::hresult::out_of_memory);
  };
  talk.bulk_in(1, talk.in_pipe, limits::transfer_bytes + 1);
  expect_refused(1);
  talk.transfer_in(2, function::get_descriptor_from_device, pdu::DescriptorRequest{0, 1, 0}, 65536);
  expect_refused(2);
  // Bytes in flight: 8 transfers of 4 MiB.
  std::uint32_t request = 10;
  for (std::size_t i = 0; i < 8; ++i) talk.bulk_in(request++, talk.in_pipe, limits::transfer_bytes);
  EXPECT_EQ(talk.submitted.size(), 8U);
  talk.bulk_in(request, talk.in_pipe, 1);
  expect_refused(request);
  talk.complete_next(TransferStatus::stall);
  talk.forget();
  talk.pipe_request(5, function::sync_reset_pipe, talk.in_pipe);
  talk.forget();
  talk.bulk_in(request, talk.in_pipe, 1);
  EXPECT_EQ(talk.submitted.size(), 1U) << "what has ended counts no more";
}

TEST(TillTransfers, TooManyRequestsAtOnce) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  for (std::uint32_t i = 0; i < limits::transfers_in_flight_per_device; ++i) {
    talk.bulk_in(i, talk.in_pipe, 1);
  }
  EXPECT_EQ(talk.submitted.size(), limits::transfers_in_flight_per_device);
  talk.bulk_in(5000, talk.in_pipe, 1);
  EXPECT_EQ(talk.next_ended().status, status::insufficient_resources);
  EXPECT_THAT(talk.closed, IsEmpty());
  // A new registration does not make room while the stick is still at it.
  talk.register_callback(0);
  talk.register_callback(1);
  talk.forget();
  talk.bulk_in(1, talk.in_pipe, 1);
  EXPECT_EQ(talk.next_ended().status, status::insufficient_resources);
}

TEST(TillTransfers, ARequestIdInUseClosesTheChannel) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(7, talk.in_pipe, 512);
  talk.forget();
  talk.io_control(7, pdu::io_control_code::get_port_status, 4);  // one id space for all kinds
  EXPECT_THAT(talk.order, ElementsAre("close 2", "cancel 1", "left session 1"));
  EXPECT_THAT(talk.closed[0].reason, ::testing::HasSubstr("request id 7"));
}

TEST(TillTransfers, AnIdIsFreeOnceItsCompletionIsSent) {
  Conversation talk;
  talk.bring_up(storage_stick());
  for (int i = 0; i < 3; ++i) {
    talk.transfer_in(7, function::get_configuration, pdu::NoParameters{}, 1);
    talk.complete_next(TransferStatus::success, {1});
    EXPECT_EQ(talk.next_ended().data, Bytes{1});
  }
}

// --- OS descriptors (4.6) ------------------------------------------------------------------------

/// "MSFT100", vendor code 0x5E.
const Bytes os_string = from_hex("1203 4d00530046005400310030003000 5e00");

TEST(TillTransfers, OsDescriptorsAskForTheVendorCodeOnce) {
  Conversation talk;
  talk.bring_up(storage_stick());
  const pdu::OsFeatureDescriptorRequest request{1, 5, 2, 3, 0x0504, {}};
  talk.transfer_in(1, function::get_ms_feature_descriptor, request, 40);
  auto submit = talk.next_submit();
  EXPECT_EQ(setup_text(submit.transfer.setup), "8006ee0300001200");
  // Whatever else goes to endpoint 0 waits for the second half.
  talk.transfer_in(2, function::get_configuration, pdu::NoParameters{}, 1);
  EXPECT_THAT(talk.submitted, IsEmpty());
  talk.end(submit, TransferStatus::success, os_string);
  submit = talk.next_submit();
  EXPECT_EQ(setup_text(submit.transfer.setup), "c15e030204052800");
  EXPECT_THAT(talk.submitted, IsEmpty());
  talk.end(submit, TransferStatus::success, Bytes(40, 9));
  Ended ended = talk.next_ended();
  EXPECT_EQ(ended.request, 1U);
  EXPECT_EQ(ended.data, Bytes(40, 9));
  EXPECT_EQ(setup_text(talk.next_submit().transfer.setup), "8008000000000100");

  talk.forget();
  talk.transfer_in(3, function::get_ms_feature_descriptor, request, 16);
  submit = talk.next_submit();
  EXPECT_EQ(setup_text(submit.transfer.setup), "c15e030204051000");
  talk.end(submit, TransferStatus::stall);
  EXPECT_EQ(talk.next_ended().status, status::stall_pid);
}

TEST(TillTransfers, AStickWithoutOsDescriptorIsNotAskedAgain) {
  std::vector<std::pair<TransferStatus, Bytes>> answers{{TransferStatus::stall, {}},
                                                        {TransferStatus::success, {}},
                                                        {TransferStatus::success, os_string}};
  answers[2].second[2] = 'X';  // not the signature
  for (const auto& [ended_as, data] : answers) {
    Conversation talk;
    talk.bring_up(storage_stick());
    const pdu::OsFeatureDescriptorRequest request{0, 0, 0, 0, 4, {}};
    talk.transfer_in(1, function::get_ms_feature_descriptor, request, 16);
    talk.complete_next(ended_as, data);
    EXPECT_EQ(talk.next_ended().status, status::not_supported);
    talk.transfer_in(1, function::get_ms_feature_descriptor, request, 16);
    EXPECT_THAT(talk.submitted, IsEmpty());
    EXPECT_EQ(talk.next_ended().hresult, pdu::hresult::not_supported);
  }
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
