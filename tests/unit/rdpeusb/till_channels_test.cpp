// Channels, handshake, announcing, leaving and coming back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "tests/unit/rdpeusb/till_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view capability_request = "00000000 00000000 00010000 01000000";
constexpr std::string_view created_from_server =
    "02000040 00000000 00010000 01000000 00000000 00000000";
constexpr std::string_view created_from_till =
    "03000040 00000000 00010000 01000000 00000000 00000000";
constexpr std::string_view release_notification = "02000040 00000000 01000000";
constexpr std::string_view add_virtual_channel = "01000040 00000000 00010000";

pdu::AddDevice announcement(const Bytes& message) {
  const auto decoded = pdu::decode_from_till(message, {});
  EXPECT_TRUE(decoded.ok() && std::holds_alternative<pdu::AddDevice>(decoded.value()))
      << to_hex(message);
  if (!decoded.ok() || !std::holds_alternative<pdu::AddDevice>(decoded.value())) return {};
  return std::get<pdu::AddDevice>(decoded.value());
}

TEST(TillChannels, TheWholeStartAsWindowsDoesIt) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  EXPECT_TRUE(talk.quiet(1));
  talk.say(1, capability_request);
  talk.expect_sent(1, "00000000 00000000 01000000 00000000");
  talk.say(1, "00000000 00000000 01000000");  // release of interface 0, mask NONE
  talk.say(1, created_from_server);
  talk.expect_sent(1, created_from_till);
  EXPECT_TRUE(talk.quiet(1)) << "not before the release";
  talk.say(1, release_notification);
  talk.expect_sent(1, add_virtual_channel);

  talk.open(2);
  talk.say(2, capability_request);
  talk.expect_sent(2, "00000000 00000000 01000000 00000000");
  talk.say(2, created_from_server);
  talk.expect_sent(2, created_from_till);
  talk.say(2, release_notification);
  const pdu::AddDevice add = announcement(talk.next_sent(2));
  EXPECT_EQ(add.usb_device, 4U);
  EXPECT_EQ(add.device_count, 1U);
  EXPECT_TRUE(talk.quiet(1)) << "one ADD_VIRTUAL_CHANNEL for one stick";
  EXPECT_THAT(talk.submitted, IsEmpty()) << "announcing a stick must not touch it";

  talk.forget();
  talk.register_callback();
  EXPECT_THAT(talk.order, ElementsAre("in session 1"));
}

// Microsoft's own suite never releases interface 2.
TEST(TillChannels, WithoutAReleaseItAnnouncesAfterHalfASecondAndOnce) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.handshake(1, false);
  talk.forget();
  EXPECT_EQ(talk.role.next_deadline(), talk.now + 500ms);
  talk.pass(499ms);
  EXPECT_TRUE(talk.quiet(1));
  talk.pass(1ms);
  talk.expect_sent(1, add_virtual_channel);
  talk.say(1, release_notification);  // too late to matter
  talk.pass(10s);
  EXPECT_TRUE(talk.quiet(1));

  talk.open(2);
  talk.handshake(2, false);
  talk.forget();
  talk.pass(500ms);
  EXPECT_EQ(announcement(talk.next_sent(2)).usb_device, 4U);
  talk.say(2, release_notification);
  talk.say(2, created_from_server);
  talk.pass(10s);
  EXPECT_TRUE(talk.quiet(2));
  EXPECT_EQ(talk.role.next_deadline(), std::nullopt);
}

TEST(TillChannels, AReleaseBeforeChannelCreatedCounts) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.say(1, capability_request);
  talk.say(1, release_notification);
  talk.forget();
  talk.say(1, created_from_server);
  talk.expect_sent(1, created_from_till);
  talk.expect_sent(1, add_virtual_channel);
}

// A release of another interface, or with mask NONE, is not the one that is waited for.
TEST(TillChannels, OnlyTheReleaseOfInterfaceTwoAnnounces) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.handshake(1, false);
  talk.forget();
  talk.say(1, "01000040 00000000 01000000");
  talk.say(1, "02000000 00000000 01000000");
  EXPECT_TRUE(talk.quiet(1));
}

TEST(TillChannels, AnswersEchoTheMessageId) {
  Conversation talk;
  talk.open(1);
  talk.say(1, "00000000 2a000000 00010000 01000000");
  talk.expect_sent(1, "00000000 2a000000 01000000 00000000");
  talk.say(1, "02000040 2b000000 00010000 01000000 00000000 00000000");
  talk.expect_sent(1, "03000040 2b000000 00010000 01000000 00000000 00000000");
}

TEST(TillChannels, AnotherVersionClosesTheChannelWithoutAnswer) {
  for (const auto* version : {"00000000 00000000 00000000", "02000000 00000000 00000000",
                              "01000000 01000000 00000000", "01000000 00000000 01000000"}) {
    for (const bool on_device_channel : {false, true}) {
      Conversation talk;
      talk.add(1, storage_stick());
      talk.open(1);
      ChannelId channel = 1;
      if (on_device_channel) {
        talk.handshake(1);
        talk.open(2);
        channel = 2;
      }
      talk.say(channel, capability_request);
      talk.forget();
      talk.say(channel, std::string("02000040 00000000 00010000 ") + version);
      ASSERT_EQ(talk.closed.size(), 1U) << version;
      EXPECT_EQ(talk.closed[0].channel, channel);
      EXPECT_TRUE(talk.quiet(channel));
      talk.say(channel, capability_request);
      EXPECT_TRUE(talk.quiet(channel)) << "a closed channel is dead";
    }
  }
}

TEST(TillChannels, OutOfSequenceIsIgnored) {
  Conversation talk;
  talk.open(1);
  talk.say(1, created_from_server);  // before the capabilities
  EXPECT_TRUE(talk.quiet(1));
  talk.handshake(1);
  talk.forget();
  talk.say(1, "02000040 00000000 00010000 07000000 00000000 00000000");  // a second one
  EXPECT_THAT(talk.order, IsEmpty());
  // A message for a channel that is not open.
  talk.say(77, capability_request);
  talk.server_closes(77);
  EXPECT_THAT(talk.order, IsEmpty());
}

TEST(TillChannels, ADeviceChannelWithoutCapabilityExchangeIsTaken) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.handshake(1);
  talk.forget();
  talk.open(2);
  talk.say(2, created_from_server);
  talk.expect_sent(2, created_from_till);
  talk.say(2, release_notification);
  EXPECT_EQ(announcement(talk.next_sent(2)).device_count, 1U);
  talk.say(2, "01000040 00000000 01000000");  // IronRDP's server releases the device sink, too
  EXPECT_TRUE(talk.quiet(2));
}

TEST(TillChannels, UnknownFunctionsAndQueriesGetTheEightByteReply) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.say(2, "04000040 09000000 99000000");
  talk.expect_sent(2, "04000080 09000000");
  talk.say(2, "04000040 0a000000 02000000 00112233445566778899aabbccddeeff");
  talk.expect_sent(2, "04000080 0a000000");
  talk.say(2, "02000040 0b000000 77000000");
  talk.expect_sent(2, "02000080 0b000000");
  // Nothing lives there.
  talk.say(2, "05000040 00000000 99000000");
  talk.say(2, "04000040 00000000");           // no FunctionId
  talk.say(2, "040000c0 00000000 05010000");  // mask 3
  talk.say(2, "04000080 00000000 00000000");  // a response
  talk.say(2, "");
  EXPECT_THAT(talk.order, ElementsAre("send 2", "send 2", "send 2"));
}

TEST(TillChannels, AsksForOneChannelAtATimeAndBindsTheOldestStick) {
  Conversation talk;
  for (const DeviceId device : {7U, 3U, 5U}) {
    talk.add(device, storage_stick("S" + std::to_string(device)));
  }
  talk.open(1);
  talk.handshake(1);
  EXPECT_EQ(talk.sent[1].size(), 3U) << "capabilities, created, one ADD_VIRTUAL_CHANNEL";
  talk.forget();
  talk.open(2);
  talk.expect_sent(1, add_virtual_channel);
  talk.open(3);
  talk.expect_sent(1, add_virtual_channel);
  talk.open(4);
  EXPECT_TRUE(talk.quiet(1));

  // Handshakes end in any order; each channel is its stick's.
  std::map<ChannelId, std::string> instance;
  std::map<ChannelId, std::uint32_t> usb_device;
  for (const ChannelId channel : {4U, 2U, 3U}) {
    talk.forget();
    talk.handshake(channel);
    talk.next_sent(channel);
    talk.next_sent(channel);
    const pdu::AddDevice add = announcement(talk.next_sent(channel));
    instance[channel] = add.instance_id;
    usb_device[channel] = add.usb_device;
  }
  EXPECT_THAT(usb_device, ElementsAre(std::pair(2U, 5U), std::pair(3U, 6U), std::pair(4U, 4U)));
  talk.forget();
  // Stick 7 was offered first, so it has channel 2.
  talk.remove(7);
  ASSERT_EQ(talk.closed.size(), 1U);
  EXPECT_EQ(talk.closed[0].channel, 2U);
  EXPECT_NE(instance[2], instance[3]);
  EXPECT_NE(instance[3], instance[4]);
}

TEST(TillChannels, AStickThatVanishesWhileWaitingLeavesItsChannelToTheNext) {
  Conversation talk;
  talk.add(1, storage_stick("A"));
  talk.open(1);
  talk.handshake(1);
  talk.remove(1);
  talk.add(2, storage_stick("B"));
  talk.forget();
  talk.open(2);
  EXPECT_THAT(talk.order, IsEmpty()) << "no second ADD_VIRTUAL_CHANNEL: the one asked for is here";
  talk.handshake(2);
  EXPECT_EQ(talk.sent[2].size(), 3U);
}

TEST(TillChannels, AChannelForAStickThatVanishedIsClosedAgain) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.handshake(1);
  talk.remove(1);
  talk.forget();
  talk.open(2);
  EXPECT_THAT(talk.order, ElementsAre("close 2"));
  // And the next stick is asked for as usual.
  talk.add(2, storage_stick("B"));
  talk.expect_sent(1, add_virtual_channel);
}

TEST(TillChannels, AStickUnpluggedDuringTheHandshakeIsNotAnnounced) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.handshake(1);
  talk.open(2);
  talk.say(2, capability_request);
  talk.forget();
  talk.remove(1);
  EXPECT_THAT(talk.order, ElementsAre("close 2"));
  talk.say(2, created_from_server);
  talk.pass(1s);
  EXPECT_THAT(talk.order, ElementsAre("close 2"));
}

TEST(TillChannels, HotPlugAsksForAChannelOnTheOpenControlChannel) {
  Conversation talk;
  talk.open(1);
  talk.handshake(1);
  talk.forget();
  talk.add(1, storage_stick());
  talk.expect_sent(1, add_virtual_channel);
}

TEST(TillChannels, TooManyChannelsAreRefused) {
  Conversation talk;
  talk.open(1);
  talk.handshake(1);
  for (std::uint32_t i = 0; i < limits::rdpeusb_channels + 5; ++i) {
    talk.add(i, storage_stick("S" + std::to_string(i)));
    talk.open(100 + i);
  }
  EXPECT_EQ(talk.closed.size(), 6U);
}

TEST(TillChannels, ASilentServerIsRemarkedUponOnce) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.handshake(1);
  talk.forget();
  ASSERT_EQ(talk.role.next_deadline(), talk.now + 30s);
  talk.pass(30s);
  EXPECT_TRUE(talk.logged("group policy"));
  talk.forget();
  talk.pass(60s);
  EXPECT_THAT(talk.events, IsEmpty());
  EXPECT_EQ(talk.role.next_deadline(), std::nullopt);
  talk.open(2);  // late, but welcome
  talk.handshake(2);
  EXPECT_EQ(talk.sent[2].size(), 3U);
}

// --- the end of channels -------------------------------------------------------------------------

TEST(TillChannels, UnplugClosesTheChannelAndCompletesNothing) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 512);
  const auto submit = talk.next_submit();
  talk.forget();
  talk.remove(1);
  EXPECT_THAT(talk.order, ElementsAre("close 2", "cancel 1"));
  talk.end(submit, usb::TransferStatus::device_gone);
  EXPECT_THAT(talk.order, ElementsAre("close 2", "cancel 1")) << "swallowed";
}

TEST(TillChannels, RetractClosesAndIsNotAnnouncedAgainOnThisControlChannel) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.retract();
  EXPECT_THAT(talk.order, ElementsAre("close 2", "left session 1"));
  EXPECT_THAT(talk.left[0].reason, ::testing::HasSubstr("group policy"));
  talk.pass(60s);
  EXPECT_TRUE(talk.quiet(1));
  // Unless offered anew.
  talk.add(1, storage_stick());
  talk.expect_sent(1, add_virtual_channel);
}

// Microsoft's suite ends each case so, without ever registering.
TEST(TillChannels, RetractBeforeRegistration) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.handshake(1);
  talk.open(2);
  talk.handshake(2);
  talk.forget();
  talk.retract();
  EXPECT_THAT(talk.order, ElementsAre("close 2", "left session 1"));
}

TEST(TillChannels, AStickOfferedAnewWaitsForItsOldTransfers) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  for (std::uint32_t i = 0; i < 100; ++i) talk.bulk_in(i, talk.in_pipe, 512);
  const auto submitted = talk.submitted;
  talk.server_closes(2);
  EXPECT_THAT(talk.closed, IsEmpty()) << "it is closed already";
  EXPECT_EQ(talk.order.back(), "left session 1");
  talk.add(1, storage_stick());
  for (const auto& submit : submitted) {
    EXPECT_TRUE(talk.quiet(1));
    talk.end(submit, usb::TransferStatus::cancelled);
    EXPECT_TRUE(talk.quiet(2));
  }
  talk.expect_sent(1, add_virtual_channel);
}

TEST(TillChannels, AReplacementUnderANewIdWaitsForTheOldTransfersToo) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 512);
  const auto submit = talk.next_submit();
  talk.remove(1);
  talk.forget();
  talk.add(2, storage_stick());
  EXPECT_TRUE(talk.quiet(1));
  talk.add(3, storage_stick("another"));
  talk.expect_sent(1, add_virtual_channel);
  talk.open(3);
  EXPECT_TRUE(talk.quiet(1));
  talk.end(submit, usb::TransferStatus::cancelled);
  talk.expect_sent(1, add_virtual_channel);
}

// The owner takes its time to close a channel, and for as long the server has the device: another
// one with the same instance id beside it would be taken for a second stick.
TEST(TillChannels, AStickThatIsPluggedInAgainWaitsForItsOldChannelsEnd) {
  for (const DeviceId again : {1U, 2U}) {
    for (const bool retracted : {false, true}) {
      Conversation talk;
      talk.closes_at_once = false;
      talk.bring_up(storage_stick());
      if (retracted) talk.retract();
      if (!retracted || again == 2) talk.remove(1);
      ASSERT_EQ(talk.closed.size(), 1U);
      talk.forget();
      talk.add(again, storage_stick());
      talk.say(2, capability_request);
      EXPECT_THAT(talk.order, IsEmpty()) << "its channel is still open, and dead";
      // Another stick does not wait for it.
      talk.add(3, storage_stick("another"));
      talk.expect_sent(1, add_virtual_channel);
      talk.open(3);
      EXPECT_TRUE(talk.quiet(1));
      talk.server_closes(2);
      talk.expect_sent(1, add_virtual_channel);
      talk.server_closes(2);
      talk.open(4);
      talk.handshake(4);
      EXPECT_EQ(announcement(talk.sent[4].back()).usb_device, 5U);
      EXPECT_THAT(talk.left, IsEmpty());
    }
  }
}

TEST(TillChannels, ANewControlChannelDoesNotAnnounceBesideAnOldDeviceChannel) {
  Conversation talk;
  talk.closes_at_once = false;
  talk.bring_up(storage_stick());
  talk.server_closes(1);
  talk.open(11);
  talk.handshake(11);
  EXPECT_EQ(talk.sent[11].size(), 2U) << "no ADD_VIRTUAL_CHANNEL while channel 2 is open";
  talk.server_closes(2);
  EXPECT_EQ(talk.sent[11].size(), 3U);
}

TEST(TillChannels, TheControlChannelTakesAllDevicesWithIt) {
  Conversation talk;
  talk.add(2, storage_stick("B"));
  talk.bring_up(storage_stick("A"));
  // bring_up() opened channel 2 for the oldest stick, which is 2; now the other one.
  talk.open(3);
  talk.handshake(3);
  talk.forget();
  talk.server_closes(1);
  EXPECT_THAT(talk.order, ElementsAre("close 2", "left session 2", "close 3", "left session 1"));
}

// FreeRDP 3009, 8771: redirection lost over a reconnect, since the role was never set back.
TEST(TillChannels, AReconnectAnnouncesAllSticksAgainWithoutTouchingThem) {
  for (const bool device_channel_first : {true, false}) {
    Conversation talk;
    talk.bring_up(storage_stick());
    if (device_channel_first) talk.server_closes(2);
    talk.server_closes(1);
    talk.forget();
    talk.open(11);
    talk.handshake(11);
    EXPECT_EQ(talk.sent[11].size(), 3U);
    EXPECT_EQ(to_hex(talk.sent[11].back()), without_spaces(add_virtual_channel));
    talk.open(12);
    talk.handshake(12);
    ASSERT_EQ(talk.sent[12].size(), 3U);
    const pdu::AddDevice add = announcement(talk.sent[12].back());
    EXPECT_EQ(add.usb_device, 5U) << "ids are unique over the role's life";
    EXPECT_THAT(talk.submitted, IsEmpty());
  }
}

TEST(TillChannels, AfterAReconnectTheStickWaitsForItsOldTransfers) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 512);
  const auto submit = talk.next_submit();
  talk.server_closes(1);
  talk.forget();
  talk.open(11);
  talk.handshake(11);
  EXPECT_EQ(talk.sent[11].size(), 2U);
  talk.end(submit, usb::TransferStatus::cancelled);
  EXPECT_EQ(talk.sent[11].size(), 3U);
}

TEST(TillChannels, TwoSticksWithOneSerialAreToldApartByPort) {
  Conversation talk;
  talk.add(1, storage_stick());
  auto second = storage_stick();
  second.path = "1-2";
  talk.add(2, second);
  EXPECT_TRUE(talk.logged("same ids and serial"));
  talk.open(1);
  talk.handshake(1);
  talk.open(2);
  talk.handshake(2);
  talk.open(3);
  talk.handshake(3);
  const auto first = announcement(talk.sent[2].back());
  const auto other = announcement(talk.sent[3].back());
  EXPECT_NE(first.instance_id, other.instance_id);
  EXPECT_NE(first.container_id, other.container_id);
}

TEST(TillChannels, TheRoleSurvivesInputsThatNameNothing) {
  Conversation talk;
  talk.remove(9);
  talk.complete(9, {});
  talk.bring_up(storage_stick());
  talk.complete(1, usb::Completion{42, usb::TransferStatus::success, 0, {}, {}});
  talk.add(1, storage_stick());  // it is here already
  EXPECT_THAT(talk.order, IsEmpty());
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
