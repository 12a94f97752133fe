// What stock FreeRDP 3.10.3 does wrong (rdpeusb.md 6.1, 6.2): survived, undone where possible,
// named once per device.
#include "tests/unit/rdpeusb/terminal_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using usb::TransferStatus;

TEST(TerminalQuirks, UnmappedLibusbStatusIsTheFailureItMeans) {
  struct Case {
    std::uint32_t libusb;
    TransferStatus expected;
  };
  TerminalConversation till;
  till.bring_up_configured();
  usb::TransferId id = 10;
  for (const Case& one :
       {Case{1, TransferStatus::error}, Case{4, TransferStatus::stall},
        Case{5, TransferStatus::device_gone}, Case{6, TransferStatus::overflow}}) {
    till.submit(TerminalConversation::bulk_in(++id, 64));
    till.complete_no_data(till.last_request(), 0, one.libusb);
    EXPECT_EQ(till.next_completed().status, one.expected) << one.libusb;
  }
  EXPECT_EQ(till.logged("unmapped-status"), 1);
  EXPECT_TRUE(till.closed.empty());
}

TEST(TerminalQuirks, SmallStatusOfAControlTransferIsSuccess) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(1, usb::get_descriptor(1, 0, 0, 18)));
  till.complete_in(1, Bytes(18), 4);
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
}

TEST(TerminalQuirks, EmptyReadThatTheClientCutOffIsAskedForAgain) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_in(8, 64));
  for (std::uint32_t request = 4; request < 10; ++request) {
    till.expect_sent(11, "05000040 00000000 05010000 10000000 10000900 0" +
                             std::to_string(request) + "000000 81000000 03000000 40000000");
    till.pass(10s);
    till.complete_no_data(
        request, 0, request % 2 == 0 ? 2 : 3);  // timed out, cancelled by another pipe's reset
    EXPECT_TRUE(till.completed.empty());
  }
  till.complete_in(10, Bytes(13));
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
  EXPECT_EQ(till.logged("read-cut-off"), 1);
}

TEST(TerminalQuirks, ReadWithDataThatTheClientCutOffIsNot) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_in(8, 64));
  till.sent.clear();
  till.complete_in(4, Bytes(16), 2);
  till.expect_quiet();
  const usb::Completion completion = till.next_completed();
  EXPECT_EQ(completion.status, TransferStatus::timeout);
  EXPECT_EQ(completion.data.size(), 16U);
}

TEST(TerminalQuirks, CancelledReadIsNotAskedForAgain) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_in(8, 64));
  till.cancel(8);
  till.sent.clear();
  till.complete_no_data(4, 0, 3);
  till.expect_quiet();
  EXPECT_EQ(till.next_completed().status, TransferStatus::cancelled);
}

TEST(TerminalQuirks, WriteThatTheClientCutOffIsNeverRepeated) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_out(8, Bytes(31)));
  till.sent.clear();
  till.complete_no_data(4, 0, 2);
  till.expect_quiet();
  EXPECT_EQ(till.next_completed().status, TransferStatus::timeout);
  EXPECT_EQ(till.logged("write-cut-off"), 1);
}

TEST(TerminalQuirks, EchoedOutputCountsAsAccepted) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_out(8, Bytes(31, 7)));
  till.complete_in(4, Bytes(31, 7));
  const usb::Completion completion = till.next_completed();
  EXPECT_EQ(completion.status, TransferStatus::success);
  EXPECT_EQ(completion.actual_length, 31U);
  EXPECT_TRUE(completion.data.empty());
  till.submit(TerminalConversation::bulk_out(9, Bytes(31, 7)));
  till.complete_in(till.last_request(), Bytes(31, 7));
  EXPECT_EQ(till.logged("echoed-output"), 1);
}

TEST(TerminalQuirks, IoControlThatAnnouncesFourBytesTooMany) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(usb::control_transfer(8, usb::port_reset()));
  till.say(11, "04000040 00000000 00010000 04000000 00000000 04000000 04000000");
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
  EXPECT_EQ(till.logged("surplus-announced"), 1);
  // GET_PORT_STATUS: 8 announced for 4 asked; none, 4 or 8 carried.
  till.role.io_control(1, 0x00220013, 4, till.now);
  till.drain();
  till.say(11, "04000040 00000000 00010000 05000000 00000000 08000000 08000000 03050000 03050000");
  ASSERT_EQ(till.io_controls.size(), 1U);
  EXPECT_EQ(to_hex(till.io_controls[0].output), "03050000");
  EXPECT_TRUE(till.closed.empty());
}

TEST(TerminalQuirks, FailedControlReadWithAnOldBufferHasNoData) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(8, usb::get_descriptor(3, 1, 0x409, 255)));
  till.complete_in(1, Bytes(255, 0xEE), 0xC0000004, 0);
  const usb::Completion completion = till.next_completed();
  EXPECT_EQ(completion.status, TransferStatus::stall);
  EXPECT_TRUE(completion.data.empty());
  EXPECT_EQ(completion.actual_length, 0U);
  EXPECT_EQ(till.logged("data-with-failure"), 1);
  EXPECT_EQ(till.logged("failure-as-success"), 1);
}

TEST(TerminalQuirks, CancelThatIsNeverAnsweredEndsAfterThreeSeconds) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_in(8, 64));
  till.cancel(8);
  EXPECT_EQ(*till.role.next_deadline(), till.now + 3s);
  till.pass(3s - 1us);
  EXPECT_TRUE(till.completed.empty());
  till.pass(1us);
  EXPECT_EQ(till.next_completed().status, TransferStatus::cancelled);
  EXPECT_EQ(till.logged("silent-request"), 1);
  // A completion that comes after all is no lie, and changes nothing; a second one would be.
  till.complete_in(4, Bytes(64));
  EXPECT_TRUE(till.completed.empty());
  EXPECT_TRUE(till.closed.empty());
  till.complete_in(4, Bytes(64));
  EXPECT_EQ(till.closed.size(), 1U);
}

TEST(TerminalQuirks, TooManyUnansweredRequestsGiveTheDeviceUp) {
  TerminalConversation till;
  till.bring_up_configured();
  for (usb::TransferId id = 1; id <= limits::rdpeusb_abandoned_requests + 1; ++id) {
    till.submit(TerminalConversation::bulk_in(id, 64));
    till.cancel(id);
  }
  till.pass(3s);
  EXPECT_EQ(till.completed.size(), limits::rdpeusb_abandoned_requests + 1);
  EXPECT_EQ(till.closed.size(), 1U);
}

TEST(TerminalQuirks, UnansweredIoControlEndsAfterFiveSeconds) {
  TerminalConversation till;
  till.bring_up();
  till.role.io_control(1, 0x0022001B, 4, till.now);
  till.drain();
  till.pass(5s);
  ASSERT_EQ(till.io_controls.size(), 1U);
  EXPECT_EQ(till.io_controls[0].hresult, 0x80070079U);
  till.say(11, "04000040 00000000 00010000 01000000 00000000 04000000 04000000 01000000");
  EXPECT_EQ(till.io_controls.size(), 1U);
  EXPECT_TRUE(till.closed.empty());
}

TEST(TerminalQuirks, EmptyConfigurationIsNamedAsWhatMakesTheDeviceUnusable) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(6, usb::get_descriptor(2, 0, 0, 255)));
  till.complete_in(1, storage_configuration());
  till.completed.clear();
  till.submit(usb::control_transfer(7, usb::set_configuration(1)));
  // Handle 0, one interface announced, none there.
  till.say(11,
           "04000040 00000000 02010000 02000000 10000000 10000000 00000000 00000000 01000000 "
           "00000000 00000000");
  EXPECT_EQ(till.next_completed().status, TransferStatus::error);
  EXPECT_EQ(till.logged("unusable"), 1);
  EXPECT_EQ(till.events.back().level, Level::error);
  EXPECT_TRUE(till.closed.empty());
}

TEST(TerminalQuirks, RawBcdUsbIsTaken) {
  TerminalConversation till;
  till.bring_up(0x320);
  EXPECT_EQ(till.logged("irregular-usb-version"), 1);
}

TEST(TerminalQuirks, RequestIdsStayBelowBit30) {
  // FreeRDP masks a bulk request's id with 0x3FFFFFFF. Ids start at 1: 0 hangs interrupt transfers
  // of some Windows clients.
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(1, usb::get_descriptor(1, 0, 0, 18)));
  EXPECT_EQ(till.last_request(), 1U);
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
