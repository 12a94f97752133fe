// Ordinary USB transfers as the typed requests Windows would use, and their completions.
#include "tests/unit/rdpeusb/terminal_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using usb::TransferStatus;

constexpr std::string_view device_in = "05000040 00000000 05010000 ";
constexpr std::string_view device_out = "05000040 00000000 06010000 ";

std::string in_request(std::string_view rest) {
  return std::string(device_in) + std::string(rest);
}
std::string out_request(std::string_view rest) {
  return std::string(device_out) + std::string(rest);
}

struct ControlCase {
  const char* name;
  usb::SetupPacket setup;
  Bytes data;
  std::string expected;  ///< the whole message, for RequestId 1
};

class ControlTransfers : public ::testing::TestWithParam<ControlCase> {};

TEST_P(ControlTransfers, GoAsTheirTypedFunction) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(7, GetParam().setup, GetParam().data));
  till.expect_sent(11, GetParam().expected);
  till.expect_quiet();
  EXPECT_TRUE(till.completed.empty());
}

std::string case_name(const ::testing::TestParamInfo<ControlCase>& one) {
  return one.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    Requests, ControlTransfers,
    ::testing::Values(
        ControlCase{"GetDeviceDescriptor",
                    {0x80, 6, 0x0100, 0, 18},
                    {},
                    in_request("0c000000 0c000b00 01000000 00 01 0000 12000000")},
        ControlCase{"GetStringDescriptor",
                    {0x80, 6, 0x0302, 0x0409, 255},
                    {},
                    in_request("0c000000 0c000b00 01000000 02 03 0904 ff000000")},
        ControlCase{"GetHidReportDescriptor",
                    {0x81, 6, 0x2200, 1, 64},
                    {},
                    in_request("0c000000 0c002800 01000000 00 22 0100 40000000")},
        ControlCase{"SetDescriptor",
                    {0x00, 7, 0x0302, 0x0409, 2},
                    from_hex("0203"),
                    out_request("0c000000 0c000c00 01000000 02 03 0904 02000000 0203")},
        ControlCase{"GetStatusOfEndpoint",
                    {0x82, 0, 0, 0x81, 2},
                    {},
                    in_request("0c000000 0c001500 01000000 8100 0000 02000000")},
        ControlCase{"SetFeatureTravelsAsTransferIn",
                    {0x00, 3, 1, 0, 0},
                    {},
                    in_request("0c000000 0c000d00 01000000 0100 0000 00000000")},
        ControlCase{"ClearFeatureOfInterface",
                    {0x01, 1, 2, 3, 0},
                    {},
                    in_request("0c000000 0c001100 01000000 0200 0300 00000000")},
        ControlCase{"GetConfiguration",
                    {0x80, 8, 0, 0, 1},
                    {},
                    in_request("08000000 08002600 01000000 01000000")},
        ControlCase{"GetInterface",
                    {0x81, 10, 0, 2, 1},
                    {},
                    in_request("0c000000 0c002700 01000000 0200 0000 01000000")},
        ControlCase{
            "GetMaxLun",
            {0xA1, 0xFE, 0, 0, 1},
            {},
            in_request("14000000 14001b00 01000000 03000000 00 fe 0000 0000 0000 01000000")},
        ControlCase{
            "BulkOnlyReset",
            {0x21, 0xFF, 0, 0, 0},
            {},
            out_request("14000000 14001b00 01000000 00000000 00 ff 0000 0000 0000 00000000")},
        ControlCase{
            "VendorOut",
            {0x40, 0xD8, 1, 2, 1},
            from_hex("80"),
            out_request("14000000 14001700 01000000 00000000 00 d8 0100 0200 0000 01000000 80")},
        ControlCase{
            "VendorOfOther",
            {0xC3, 1, 0, 0, 4},
            {},
            in_request("14000000 14002000 01000000 03000000 00 01 0000 0000 0000 04000000")},
        ControlCase{
            "SynchFrameHasNoTypedForm",
            {0x82, 12, 0, 0x81, 2},
            {},
            in_request("18000000 18000800 01000000 00000000 0b000000 820c0000 81000200 02000000")},
        ControlCase{
            "ReservedTypeGoesAsItIs",
            {0x60, 1, 0, 0, 1},
            from_hex("55"),
            out_request(
                "18000000 18000800 01000000 00000000 08000000 60010000 00000100 01000000 55")}),
    case_name);

TEST(TerminalTransfers, ControlInReturnsItsData) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(7, usb::get_descriptor(1, 0, 0, 18)));
  till.say(11,
           "04000040 00000000 01010000 01000000 08000000 08000b00 00000000 00000000 12000000"
           "12010002 00000040 09120100 00010102 0301");
  const usb::Completion completion = till.next_completed();
  EXPECT_EQ(completion.id, 7U);
  EXPECT_EQ(completion.status, TransferStatus::success);
  EXPECT_EQ(completion.actual_length, 18U);
  EXPECT_EQ(to_hex(completion.data), "120100020000004009120100000101020301");
}

TEST(TerminalTransfers, SetConfigurationReadsTheDescriptorItNeeds) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(7, usb::set_configuration(1)));
  till.expect_sent(11, in_request("0c000000 0c000b00 01000000 00 02 0000 09000000"));
  const Bytes& raw = storage_configuration();
  till.complete_in(1, Bytes(raw.begin(), raw.begin() + 9));
  till.expect_sent(11, in_request("0c000000 0c000b00 02000000 00 02 0000 20000000"));
  till.complete_in(2, raw);
  till.expect_sent(11, in_request("54000000 5400 0000 03000000 01000000 01000000"
                                  "2400 0200 00 00 0000 02000000"
                                  "0000 0000 ffffffff 00000000 0000 0000 ffffffff 00000000") +
                           to_hex(raw) + "00000000");
  EXPECT_TRUE(till.completed.empty());
  till.complete_storage_selected(3);
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
  till.submit(TerminalConversation::bulk_in(8, 64));
  till.expect_sent(11, in_request("10000000 10000900 04000000 81000000 03000000 40000000"));
}

TEST(TerminalTransfers, DescriptorThatPassedByIsNotReadAgain) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(6, usb::get_descriptor(2, 0, 0, 255)));
  till.complete_in(1, storage_configuration());
  till.sent.clear();
  till.submit(usb::control_transfer(7, usb::set_configuration(1)));
  ASSERT_EQ(till.sent[11].size(), 1U);
  EXPECT_EQ(to_hex(till.sent[11].front()).substr(36, 4), "0000");  // SELECT_CONFIGURATION
}

TEST(TerminalTransfers, SecondConfigurationIsFoundByItsValue) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(7, usb::set_configuration(2)));
  const Bytes& first = gadget_configuration(1);
  const Bytes& second = gadget_configuration(2);
  till.complete_in(1, Bytes(first.begin(), first.begin() + 9));
  till.expect_sent(11, in_request("0c000000 0c000b00 01000000 00 02 0000 09000000"));
  till.expect_sent(11, in_request("0c000000 0c000b00 02000000 01 02 0000 09000000"));
  till.complete_in(2, Bytes(second.begin(), second.begin() + 9));
  till.complete_in(3, second);
  EXPECT_EQ(till.last_request(), 4U);
}

TEST(TerminalTransfers, ValueThatNoConfigurationHasIsAStall) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(7, usb::set_configuration(9)));
  const Bytes& raw = storage_configuration();
  till.complete_in(1, Bytes(raw.begin(), raw.begin() + 9));
  till.complete_no_data(2, 0, 0xC0000004, 0x8007001F);
  EXPECT_EQ(till.next_completed().status, TransferStatus::stall);
}

TEST(TerminalTransfers, UnconfigureClosesThePipes) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(usb::control_transfer(7, usb::set_configuration(0)));
  till.expect_sent(11, in_request("10000000 10000000 04000000 00000000 00000000 00000000"));
  till.say(11,
           "04000040 00000000 02010000 04000000 10000000 10000000 00000000 00000000 00000000 "
           "00000000 00000000");
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
  till.submit(TerminalConversation::bulk_in(8, 64));
  EXPECT_EQ(till.next_completed().status, TransferStatus::refused);
}

TEST(TerminalTransfers, SetInterfaceReplacesThePipesOfThatInterface) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(6, usb::get_descriptor(2, 0, 0, 255)));
  till.complete_in(1, gadget_configuration(1));
  till.submit(usb::control_transfer(7, usb::set_configuration(1)));
  pdu::SelectConfigurationResult selected;
  selected.configuration_handle = 0x66;
  selected.interfaces.resize(2);
  selected.interfaces[1].interface_number = 1;
  selected.interfaces[1].pipes = {{0x100, 0x84, 1, 1, 0x84, 0, 0}};
  till.say(11, pdu::encode(pdu::UrbCompletionNoData{{4, 0}, 2, {0, 0, selected}, 0, 0}));
  till.completed.clear();
  till.sent.clear();

  till.submit(usb::control_transfer(8, usb::set_interface(0, 1)));
  till.expect_sent(
      11, in_request(
              "3c000000 3c000100 03000000 66000000 3000 0300 00 01 0000 03000000"
              "0000 0000 ffffffff 00000000 0000 0000 ffffffff 00000000 0000 0000 ffffffff 00000000"
              "00000000"));
  pdu::InterfaceInformationResult interface;
  interface.alternate_setting = 1;
  interface.pipes = {{512, 0x81, 0, 2, 0x1081, 0, 0},
                     {512, 0x02, 0, 2, 0x1002, 0, 0},
                     {8, 0x83, 4, 3, 0x1083, 0, 0}};
  till.say(11, pdu::encode(pdu::UrbCompletionNoData{
                   {4, 0}, 3, {0, 0, pdu::SelectInterfaceResult{interface}}, 0, 0}));
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
  till.submit(TerminalConversation::bulk_in(9, 64));
  till.expect_sent(11, in_request("10000000 10000900 04000000 81100000 03000000 40000000"));
  // A setting that the configuration does not have, as the device itself would answer.
  till.submit(usb::control_transfer(10, usb::set_interface(0, 7)));
  EXPECT_EQ(till.next_completed().status, TransferStatus::stall);
}

TEST(TerminalTransfers, BulkOutCarriesItsDataAndReportsWhatWasAccepted) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_out(8, from_hex("55534243")));
  till.expect_sent(11,
                   out_request("10000000 10000900 04000000 02000000 00000000 04000000 55534243"));
  till.complete_no_data(4, 3);
  const usb::Completion completion = till.next_completed();
  EXPECT_EQ(completion.status, TransferStatus::success);
  EXPECT_EQ(completion.actual_length, 3U);
  EXPECT_TRUE(completion.data.empty());
}

TEST(TerminalTransfers, ZeroPacketIsARequestOfItsOwn) {
  TerminalConversation till;
  till.bring_up_configured();
  usb::Transfer transfer = TerminalConversation::bulk_out(8, Bytes(512));
  transfer.zero_packet = true;
  till.submit(std::move(transfer));
  ASSERT_EQ(till.sent[11].size(), 2U);
  till.next_sent();
  till.expect_sent(11, out_request("10000000 10000900 05000000 02000000 00000000 00000000"));
  till.complete_no_data(4, 512);
  EXPECT_TRUE(till.completed.empty());
  till.complete_no_data(5, 0);
  const usb::Completion completion = till.next_completed();
  EXPECT_EQ(completion.status, TransferStatus::success);
  EXPECT_EQ(completion.actual_length, 512U);

  usb::Transfer uneven = TerminalConversation::bulk_out(9, Bytes(511));
  uneven.zero_packet = true;
  till.submit(std::move(uneven));
  EXPECT_EQ(till.sent[11].size(), 1U);
}

TEST(TerminalTransfers, ShortReadIsJudgedHere) {
  TerminalConversation till;
  till.bring_up_configured();
  usb::Transfer transfer = TerminalConversation::bulk_in(8, 512);
  transfer.short_not_ok = true;
  till.submit(std::move(transfer));
  till.complete_in(4, Bytes(13, 0x53));
  const usb::Completion completion = till.next_completed();
  EXPECT_EQ(completion.status, TransferStatus::short_read);
  EXPECT_EQ(completion.data.size(), 13U);
}

TEST(TerminalTransfers, ClearHaltIsSyncResetPipe) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(usb::control_transfer(8, usb::clear_halt(0x81)));
  till.expect_sent(11, in_request("0c000000 0c001e00 04000000 81000000 00000000"));
  till.complete_no_data(4, 0);
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
}

TEST(TerminalTransfers, PortResetIsAnIoControlAndKeepsHandles) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(usb::control_transfer(8, usb::port_reset()));
  till.expect_sent(11, "05000040 00000000 02010000 07002200 00000000 00000000 04000000");
  till.say(11, "04000040 00000000 00010000 04000000 00000000 00000000 00000000");
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
  till.submit(TerminalConversation::bulk_in(9, 64));
  EXPECT_TRUE(till.completed.empty());
}

TEST(TerminalTransfers, FailuresHaveTheirStatus) {
  struct Case {
    std::uint32_t usbd, hresult;
    TransferStatus expected;
  };
  TerminalConversation till;
  till.bring_up_configured();
  usb::TransferId id = 100;
  for (const Case& one :
       {Case{0xC0000004, 0x8007001F, TransferStatus::stall},
        Case{0xC0000012, 0x8007001F, TransferStatus::overflow},
        Case{0xC0010000, 0x800703E3, TransferStatus::cancelled},
        Case{0xC0006000, 0x80070079, TransferStatus::timeout},
        Case{0xC0007000, 0x8007048F, TransferStatus::device_gone},
        Case{0xC0000011, 0x8007001F, TransferStatus::error},
        Case{0x80000600, 0x80070057, TransferStatus::refused},
        Case{0xC0001000, 0x8007000E, TransferStatus::no_resources},
        Case{0x80000900, 0x8007001F, TransferStatus::short_read},
        Case{0, 0x800703E3, TransferStatus::cancelled}, Case{0, 0x8007001F, TransferStatus::error},
        Case{0x40000000, 0, TransferStatus::error}}) {
    till.submit(TerminalConversation::bulk_in(++id, 64));
    till.complete_no_data(till.last_request(), 0, one.usbd, one.hresult);
    EXPECT_EQ(till.next_completed().status, one.expected) << std::hex << one.usbd;
  }
  EXPECT_TRUE(till.closed.empty());
}

TEST(TerminalTransfers, WhatCannotBeSentIsRefusedHere) {
  TerminalConversation till;
  till.bring_up_configured();
  usb::Transfer isochronous = TerminalConversation::bulk_in(1, 64);
  isochronous.type = usb::TransferType::isochronous;
  till.submit(isochronous);
  EXPECT_EQ(till.next_completed().status, TransferStatus::refused);
  usb::Transfer unknown = TerminalConversation::bulk_in(2, 64);
  unknown.endpoint = 0x85;
  till.submit(unknown);
  EXPECT_EQ(till.next_completed().status, TransferStatus::refused);
  till.submit(TerminalConversation::bulk_in(3, limits::transfer_bytes + 1));
  EXPECT_EQ(till.next_completed().status, TransferStatus::no_resources);
  till.submit(usb::control_transfer(4, {0, 5, 3, 0, 0}));  // SET_ADDRESS
  EXPECT_EQ(till.next_completed().status, TransferStatus::refused);
  till.expect_quiet();
}

TEST(TerminalTransfers, InFlightHasLimits) {
  TerminalConversation till;
  till.bring_up_configured();
  constexpr std::uint32_t size = limits::transfer_bytes;
  constexpr std::size_t fit = limits::transfer_bytes_in_flight_per_device / size;
  for (usb::TransferId id = 1; id <= fit; ++id)
    till.submit(TerminalConversation::bulk_in(id, size));
  EXPECT_TRUE(till.completed.empty());
  till.submit(TerminalConversation::bulk_in(1000, 1));
  EXPECT_EQ(till.next_completed().status, TransferStatus::no_resources);
  till.complete_no_data(4, 0);
  till.next_completed();
  till.submit(TerminalConversation::bulk_in(1001, 1));
  EXPECT_TRUE(till.completed.empty());
}

TEST(TerminalTransfers, CancelEndsInTheTrueResult) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_in(8, 64));
  till.sent.clear();
  till.cancel(8);
  till.expect_sent(11, "05000040 00000000 00010000 04000000");
  till.cancel(8);
  till.cancel(99);
  till.expect_quiet();
  EXPECT_TRUE(till.completed.empty());
  till.complete_in(4, Bytes(13));  // it won the race
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
  till.pass(10s);
  EXPECT_TRUE(till.completed.empty());
}

TEST(TerminalTransfers, LyingCompletionsCloseTheChannel) {
  const auto lie = [](const char* what, auto&& tell) {
    TerminalConversation till;
    till.bring_up_configured();
    till.submit(TerminalConversation::bulk_in(8, 64));
    till.submit(TerminalConversation::bulk_out(9, Bytes(8)));
    tell(till);
    ASSERT_EQ(till.closed.size(), 1U) << what;
    EXPECT_EQ(till.closed[0].channel, 11U);
    EXPECT_EQ(till.gone.size(), 1U);
    EXPECT_EQ(till.completed.size(), 2U) << what;  // each of the two, once
  };
  lie("more than asked for", [](auto& till) { till.complete_in(4, Bytes(65)); });
  lie("data without data", [](auto& till) { till.complete_no_data(4, 1); });
  lie("more accepted than sent", [](auto& till) { till.complete_no_data(5, 9); });
  lie("unknown request", [](auto& till) { till.complete_in(77, Bytes(1)); });
  lie("second completion", [](auto& till) {
    till.complete_in(4, Bytes(1));
    till.complete_in(4, Bytes(1));
  });
  lie("I/O control's completion", [](auto& till) {
    till.say(11, "04000040 00000000 00010000 04000000 00000000 00000000 00000000");
  });
}

TEST(TerminalTransfers, LyingSelectResultsCloseTheChannel) {
  const auto lie = [](const char* what, auto&& change) {
    TerminalConversation till;
    till.bring_up();
    till.submit(usb::control_transfer(6, usb::get_descriptor(2, 0, 0, 255)));
    till.complete_in(1, storage_configuration());
    till.submit(usb::control_transfer(7, usb::set_configuration(1)));
    pdu::SelectConfigurationResult result;
    result.configuration_handle = 1;
    result.interfaces.resize(1);
    result.interfaces[0].pipes = {{512, 0x81, 0, 2, 1, 0, 0}, {512, 0x02, 0, 2, 2, 0, 0}};
    change(result);
    till.say(11, pdu::encode(pdu::UrbCompletionNoData{{4, 0}, 2, {0, 0, result}, 0, 0}));
    EXPECT_EQ(till.closed.size(), 1U) << what;
    EXPECT_EQ(till.completed.size(), 2U) << what;
  };
  lie("a pipe too few", [](auto& result) { result.interfaces[0].pipes.pop_back(); });
  lie("an endpoint that is not there",
      [](auto& result) { result.interfaces[0].pipes[0].endpoint = 0x83; });
  lie("another type", [](auto& result) { result.interfaces[0].pipes[0].type = 3; });
  lie("another interface", [](auto& result) { result.interfaces[0].interface_number = 1; });
  lie("an interface too many", [](auto& result) { result.interfaces.resize(2); });
}

TEST(TerminalTransfers, IoControlsEndInTheOrderOfAsking) {
  TerminalConversation till;
  till.bring_up();
  till.role.io_control(1, 0x0022001B, 4, till.now);
  till.role.io_control(1, 0x00220013, 4, till.now);
  till.drain();
  till.expect_sent(11, "05000040 00000000 02010000 1b002200 00000000 04000000 01000000");
  till.say(11, "04000040 00000000 00010000 02000000 00000000 04000000 04000000 03000000");
  EXPECT_TRUE(till.io_controls.empty());
  till.say(11, "04000040 00000000 00010000 01000000 32000780 00000000 00000000");
  ASSERT_EQ(till.io_controls.size(), 2U);
  EXPECT_EQ(till.io_controls[0].hresult, 0x80070032U);
  EXPECT_EQ(to_hex(till.io_controls[1].output), "03000000");
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
