// The terminal role's channels: handshake as a Windows server does it, announcing, closing, time.
#include "tests/unit/rdpeusb/terminal_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

TEST(TerminalChannels, HandshakeIsThatOfAWindowsServerByteForByte) {
  TerminalConversation till;
  till.role.start(till.now);
  till.drain();
  till.open(10);
  till.expect_sent(10, "00000000 00000000 00010000 01000000");
  till.say(10, "00000000 00000000 01000000 00000000");
  till.expect_sent(10, "00000000 00000000 01000000");  // releases interface 0
  till.expect_sent(10, "02000040 00000000 00010000 01000000 00000000 00000000");
  till.expect_quiet(10);
  till.say(10, "03000040 00000000 00010000 01000000 00000000 00000000");
  till.expect_sent(10,
                   "02000040 00000000 01000000");  // releases interface 2, what FreeRDP waits for
  till.expect_quiet(10);
  EXPECT_TRUE(till.tickets.empty());
  EXPECT_TRUE(till.closed.empty());
}

TEST(TerminalChannels, EachDeviceGetsAChannelWithAHandshakeOfItsOwn) {
  TerminalConversation till;
  till.bring_up_control();
  till.say(10, "01000040 00000000 00010000");
  till.open(11);
  till.expect_sent(11, "00000000 00000000 00010000 01000000");
  till.handshake(11);
  till.say(11, TerminalConversation::add_device());
  till.expect_sent(11, "05000040 00000000 04010000 00000000 09040000");  // QUERY_DEVICE_TEXT
  till.expect_sent(11,
                   "05000040 00000000 01010000 01000000 04000000");  // REGISTER_REQUEST_CALLBACK
  till.expect_quiet(11);
  EXPECT_TRUE(till.arrived.empty());
  till.say(11, TerminalConversation::text_answer);
  ASSERT_EQ(till.arrived.size(), 1U);
  const AnnouncedDevice& announced = till.arrived[0].announced;
  EXPECT_EQ(announced.description, "TSE");
  EXPECT_EQ(announced.instance_id, "5A2F");
  EXPECT_EQ(announced.hardware_ids.size(), 2U);
  EXPECT_EQ(announced.compatible_ids.back(), "USB\\Class_08");
  EXPECT_TRUE(announced.high_speed);
  EXPECT_EQ(announced.usb_version, 0x200U);
}

TEST(TerminalChannels, TwoDevicesWithTheSameInterfaceIdAreToldApart) {
  TerminalConversation till;
  till.bring_up_control();
  for (const ChannelId channel : {11U, 12U}) {
    till.say(10, "01000040 00000000 00010000");
    till.open(channel);
    till.handshake(channel);
    till.say(channel, TerminalConversation::add_device(0));  // as mstsc does for every device
    till.say(channel, "00000080 00000000 01000000 0000 00000000");
  }
  ASSERT_EQ(till.arrived.size(), 2U);
  EXPECT_NE(till.arrived[0].device, till.arrived[1].device);
  till.sent.clear();
  till.role.submit(till.arrived[1].device,
                   usb::control_transfer(1, usb::get_descriptor(1, 0, 0, 18)), till.now);
  till.drain();
  till.expect_quiet(11);
  EXPECT_EQ(till.sent[12].size(), 1U);
}

TEST(TerminalChannels, DeviceArrivesNamelessIfTheTextQueryStaysUnanswered) {
  TerminalConversation till;
  till.bring_up_control();
  till.say(10, "01000040 00000000 00010000");
  till.open(11);
  till.handshake(11);
  till.say(11, TerminalConversation::add_device());
  ASSERT_TRUE(till.role.next_deadline().has_value());
  EXPECT_EQ(*till.role.next_deadline(), till.now + 30s);
  till.pass(30s - 1us);
  EXPECT_TRUE(till.arrived.empty());
  till.pass(1us);
  ASSERT_EQ(till.arrived.size(), 1U);
  EXPECT_EQ(till.arrived[0].announced.description, "");
  EXPECT_TRUE(till.closed.empty());
  // The late answer means nothing any more.
  till.say(11, TerminalConversation::text_answer);
  EXPECT_EQ(till.arrived.size(), 1U);
  EXPECT_TRUE(till.closed.empty());
}

TEST(TerminalChannels, ADeviceThatGoesBeforeItArrivedIsSaid) {
  TerminalConversation till;
  till.bring_up_control();
  till.say(10, "01000040 00000000 00010000");
  till.open(11);
  till.handshake(11);
  till.say(11, TerminalConversation::add_device());
  till.role.channel_closed(11, till.now);
  till.drain();
  EXPECT_TRUE(till.arrived.empty());
  EXPECT_EQ(till.logged("USB\\VID_1209&PID_0001 went away before it could be used"), 1);
}

TEST(TerminalChannels, NotSupportedIsAnAnswerToTheTextQuery) {
  TerminalConversation till;
  till.bring_up_control();
  till.say(10, "01000040 00000000 00010000");
  till.open(11);
  till.handshake(11);
  till.say(11, TerminalConversation::add_device());
  till.say(11, "05000080 00000000");
  ASSERT_EQ(till.arrived.size(), 1U);
}

TEST(TerminalChannels, WrongVersionClosesTheChannel) {
  TerminalConversation till;
  till.role.start(till.now);
  till.drain();
  till.open(10);
  till.say(10, "00000000 00000000 01000000 00000000");
  till.say(10, "03000040 00000000 00010000 01000000 01000000 00000000");
  ASSERT_EQ(till.closed.size(), 1U);
  EXPECT_EQ(till.closed[0].channel, 10U);
}

TEST(TerminalChannels, SilentClientIsClosedAfterAMinute) {
  TerminalConversation till;
  till.role.start(till.now);
  till.drain();
  till.open(10);
  till.pass(60s - 1us);
  EXPECT_TRUE(till.closed.empty());
  till.pass(1us);
  EXPECT_EQ(till.closed.size(), 1U);
  EXPECT_FALSE(till.role.next_deadline().has_value());
}

TEST(TerminalChannels, SpareChannelOfAStockClientIsClosedAfterAMinute) {
  TerminalConversation till;
  till.bring_up_control();
  till.say(10, "01000040 00000000 00010000");
  till.open(11);
  till.handshake(11);
  till.pass(60s);
  ASSERT_EQ(till.closed.size(), 1U);
  EXPECT_EQ(till.closed[0].channel, 11U);
}

TEST(TerminalChannels, RefusedChannelsAreSaidAndSurvived) {
  TerminalConversation till;
  till.role.start(till.now);
  till.drain();
  till.role.channel_refused(till.tickets.front(), till.now);
  till.drain();
  EXPECT_EQ(till.logged("no URBDRC channel"), 1);
}

TEST(TerminalChannels, ChannelsHaveALimit) {
  TerminalConversation till;
  till.bring_up_control();
  for (std::size_t i = 0; i < limits::rdpeusb_channels + 10; ++i)
    till.say(10, "01000040 00000000 00010000");
  EXPECT_EQ(till.tickets.size(), limits::rdpeusb_channels - 1);
  EXPECT_EQ(till.logged("more than 128 channels"), 1);
}

TEST(TerminalChannels, ReleasesAreIgnoredAndQueriesAnswered) {
  TerminalConversation till;
  till.bring_up();
  till.say(11, "04000040 00000000 01000000");  // mstsc: completion interface after every request
  till.expect_quiet();
  till.say(11, "04000040 09000000 02000000 000102030405060708090a0b0c0d0e0f");
  till.expect_sent(11, "04000080 09000000");
  till.say(11, "04000040 0a000000 ff010000");  // a function of a newer client
  till.expect_sent(11, "04000080 0a000000");
  EXPECT_TRUE(till.closed.empty());
}

TEST(TerminalChannels, SecondAnnouncementIsIgnored) {
  TerminalConversation till;
  till.bring_up();
  till.say(11, TerminalConversation::add_device(6));
  EXPECT_EQ(till.arrived.size(), 1U);
  EXPECT_TRUE(till.closed.empty());
}

TEST(TerminalChannels, MessagesOutOfPlaceCloseTheirChannel) {
  TerminalConversation control;
  control.bring_up_control();
  control.say(10, TerminalConversation::add_device());
  EXPECT_EQ(control.closed.size(), 1U);

  TerminalConversation device;
  device.bring_up();
  device.say(11, "01000040 00000000 00010000");
  ASSERT_EQ(device.closed.size(), 1U);
  EXPECT_EQ(device.closed[0].channel, 11U);
  EXPECT_EQ(device.gone.size(), 1U);
}

TEST(TerminalChannels, MalformedMessageCostsOnlyItsChannel) {
  for (const std::string_view bytes :
       {"", "010203", "040000c0 00000000 00000000", "04000040 00000000 02010000 01"}) {
    TerminalConversation till;
    till.bring_up();
    till.say(11, bytes);
    ASSERT_EQ(till.closed.size(), 1U) << bytes;
    EXPECT_EQ(till.closed[0].channel, 11U);
    EXPECT_EQ(till.gone.size(), 1U);
    till.say(10, "01000040 00000000 00010000");
    EXPECT_EQ(till.tickets.size(), 1U);
  }
}

TEST(TerminalChannels, ClosedChannelEndsItsTransfersFirst) {
  TerminalConversation till;
  till.bring_up_configured();
  till.order.clear();
  till.submit(TerminalConversation::bulk_in(1, 512));
  till.submit(TerminalConversation::bulk_out(2, Bytes(512)));
  till.role.channel_closed(11, till.now);
  till.drain();
  EXPECT_EQ(till.order, (std::vector<std::string>{"completed", "completed", "gone"}));
  EXPECT_EQ(till.next_completed().status, usb::TransferStatus::device_gone);
  EXPECT_EQ(till.next_completed().status, usb::TransferStatus::device_gone);
  // Whoever was not quick enough gets an end as well.
  till.submit(TerminalConversation::bulk_in(3, 512));
  EXPECT_EQ(till.next_completed().status, usb::TransferStatus::device_gone);
}

TEST(TerminalChannels, ControlChannelTakesAllDevicesWithIt) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_in(1, 512));
  till.role.channel_closed(10, till.now);
  till.drain();
  ASSERT_EQ(till.closed.size(), 1U);
  EXPECT_EQ(till.closed[0].channel, 11U);
  EXPECT_EQ(till.gone.size(), 1U);
  EXPECT_EQ(till.next_completed().status, usb::TransferStatus::device_gone);
}

TEST(TerminalChannels, RetractedDeviceIsToldAndClosed) {
  TerminalConversation till;
  till.bring_up();
  till.role.retract(1, "blocked by the administrator", till.now);
  till.drain();
  till.expect_sent(11, "05000040 00000000 07010000 01000000");
  ASSERT_EQ(till.closed.size(), 1U);
  ASSERT_EQ(till.gone.size(), 1U);
  EXPECT_EQ(till.gone[0].reason, "blocked by the administrator");
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
