// Tills that lie to the terminal role: messages cut, changed, out of order, in floods. At most the
// channel of the lie is closed, the reason says what was wrong, every transfer ends exactly once,
// and the device next to it goes on.
#include "tests/unit/rdpeusb/busy_till.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using usb::TransferStatus;

// --- other messages of a device channel
// -------------------------------------------------------------------------

TEST(TerminalHostile, HandshakeMessagesCutAndChangedEverywhere) {
  pdu::AddDevice small;
  small.usb_device = 5;
  small.instance_id = "1";
  small.hardware_ids = {"a", "b"};
  small.compatible_ids = {"c"};
  small.container_id = "{}";
  struct Step {
    const char* name;
    Bytes message;
    int before;  ///< how many of these steps were said honestly
  };
  const std::vector<Step> steps{
      {"capability response", from_hex("00000000 00000000 01000000 00000000"), 0},
      {"channel created", pdu::encode(pdu::ChannelCreated{}, pdu::Sender::till), 1},
      {"add device", pdu::encode(small), 2},
      {"device text", pdu::encode(pdu::QueryDeviceTextResponse{{5, 0}, "TSE", 0}), 3}};
  for (const Step& step : steps) {
    each_change(step.message, [&](const Bytes& message, const std::string& how) {
      SCOPED_TRACE(std::string(step.name) + " " + how);
      TerminalConversation till;
      till.bring_up_configured();  // the neighbour, on channel 11
      till.submit(TerminalConversation::bulk_in(8, 64));
      till.say(10, add_virtual_channel);
      till.open(12);
      for (int i = 0; i < step.before; ++i)
        till.say(12, steps[static_cast<std::size_t>(i)].message);
      till.sent.clear();
      till.say(12, message);
      EXPECT_LE(till.sent[12].size(), 2U);
      ASSERT_LE(till.closed.size(), 1U);
      if (!till.closed.empty()) {
        EXPECT_EQ(till.closed[0].channel, 12U);
        EXPECT_FALSE(till.closed[0].reason.empty());
        EXPECT_TRUE(till.gone.empty());
      }
      for (const auto& device : till.arrived) {
        EXPECT_LE(device.announced.description.size(), 3 * limits::rdpeusb_string_units);
      }
      till.complete_in(4, Bytes(64));
      EXPECT_EQ(till.next_completed().status, TransferStatus::success);
      // Whatever it was: a minute later the channel has announced its device, or is closed.
      till.pass(61s);
      EXPECT_EQ(till.closed.size() + till.arrived.size(), 2U);
    });
    if (::testing::Test::HasFatalFailure()) return;
  }
}

enum class Stage { capability, created, control, unannounced, text, running };

/// Brings channel 11 (the control channel: 10) to this stage and answers its id.
ChannelId bring_to(TerminalConversation& till, Stage stage) {
  till.role.start(till.now);
  till.drain();
  till.open(10);
  if (stage == Stage::capability) return 10;
  till.say(10, "00000000 00000000 01000000 00000000");
  if (stage == Stage::created) return 10;
  till.say(10, "03000040 00000000 00010000 01000000 00000000 00000000");
  if (stage == Stage::control) return 10;
  till.say(10, add_virtual_channel);
  till.open(11);
  till.handshake(11);
  if (stage == Stage::unannounced) return 11;
  till.say(11, TerminalConversation::add_device());
  if (stage == Stage::text) return 11;
  till.say(11, TerminalConversation::text_answer);
  return 11;
}

TEST(TerminalHostile, EveryMessageInEveryStage) {
  // What comes of it: '>' the till gets on, '.' nothing, 'a' the answer "not supported",
  // 'x' the channel is closed. One letter for each stage, in their order.
  struct Row {
    const char* name;
    Bytes message;
    const char* expected;
  };
  const Row rows[] = {
      {"capability response", from_hex("00000000 00000000 01000000 00000000"), ">xxxxx"},
      {"capability refused", from_hex("00000000 00000000 01000000 05400080"), "xxxxxx"},
      {"capability version 2", from_hex("00000000 00000000 02000000 00000000"), "x....."},
      {"channel created", pdu::encode(pdu::ChannelCreated{}, pdu::Sender::till), ".>...."},
      {"channel created 2.0", from_hex("03000040 00000000 00010000 02000000 00000000 00000000"),
       "xxxxxx"},
      {"add virtual channel", from_hex(add_virtual_channel), "xx>xxx"},
      {"add device", TerminalConversation::add_device(), "xxx>.."},
      {"device text", from_hex(TerminalConversation::text_answer), "....>."},
      {"not supported", from_hex("05000080 00000000"), "....>."},
      {"not supported, of another interface", from_hex("06000080 00000000"), "......"},
      {"a response to nothing", from_hex("05000080 07000000 01000000"), "......"},
      {"completion", urb_no_data(1, 0), "....xx"},
      {"I/O completion", io_end(1, {}), "....xx"},
      {"release of interface 0", from_hex("00000000 00000000 01000000"), "x....."},
      {"release of interface 3", from_hex("03000040 00000000 01000000"), "......"},
      {"release of an unknown interface", from_hex("99000040 00000000 01000000"), "......"},
      {"query of the sink", from_hex("01000040 00000000 02000000" + std::string(32, '7')),
       "aaaaaa"},
      {"query of completions", from_hex("04000040 00000000 02000000" + std::string(32, '7')),
       "....aa"},
      {"unknown function of the sink", from_hex("01000040 00000000 02010000"), "aaaaaa"},
      {"unknown function of notification", from_hex("03000040 00000000 01010000"), "aaaaaa"},
      {"unknown function of completions", from_hex("04000040 00000000 03010000"), "....aa"},
      {"unknown interface", from_hex("99000040 00000000 00010000"), "......"},
      {"mask 0 elsewhere", from_hex("05000000 00000000 00010000"), "xxxxxx"},
      {"mask 3", from_hex("010000c0 00000000 00010000"), "xxxxxx"},
      {"nothing", {}, "xxxxxx"},
  };
  const Stage stages[] = {Stage::capability,  Stage::created, Stage::control,
                          Stage::unannounced, Stage::text,    Stage::running};
  for (const Row& row : rows) {
    std::string seen;
    for (const Stage stage : stages) {
      TerminalConversation till;
      const ChannelId channel = bring_to(till, stage);
      till.sent.clear();
      const std::size_t arrived = till.arrived.size();
      const auto deadline = till.role.next_deadline();
      till.say(channel, row.message);
      if (!till.closed.empty()) {
        EXPECT_EQ(till.closed[0].channel, channel);
        EXPECT_TRUE(till.sent[channel].empty());
        seen += 'x';
      } else if (till.sent[channel].size() == 1 && till.sent[channel][0].size() == 8) {
        seen += 'a';
      } else if (till.sent[channel].empty() && till.tickets.empty() &&
                 till.arrived.size() == arrived && till.role.next_deadline() == deadline) {
        seen += '.';
      } else {
        seen += '>';
      }
    }
    EXPECT_EQ(seen, row.expected) << row.name;
  }
}

TEST(TerminalHostile, StringsHaveALimit) {
  const auto announce = [](const std::string& instance, const std::vector<std::string>& ids) {
    TerminalConversation till;
    bring_to(till, Stage::unannounced);
    ByteWriter out;
    pdu::encode_request_header(out, {pdu::interface_id::device_sink, pdu::Mask::proxy, 0, 0x101});
    out.u32le(1);
    out.u32le(5);
    const auto put = [&out](const std::string& text) {
      for (const char letter : text) out.u16le(static_cast<std::uint8_t>(letter));
      out.u16le(0);
    };
    out.u32le(static_cast<std::uint32_t>(instance.size() + 1));
    put(instance);
    std::size_t units = 1;
    for (const auto& id : ids) units += id.size() + 1;
    for (int list = 0; list < 2; ++list) {
      out.u32le(static_cast<std::uint32_t>(units));
      for (const auto& id : ids) put(id);
      out.u16le(0);
    }
    out.u32le(1);
    out.u16le(0);
    out.u32le(28);
    out.zeros(24);
    till.say(11, out.finish());
    return till.closed.empty();
  };
  constexpr std::size_t most = limits::rdpeusb_string_units;
  EXPECT_TRUE(announce("1", {"a"}));
  EXPECT_TRUE(announce(std::string(most - 1, 'i'), {"a"}));
  EXPECT_FALSE(announce(std::string(most, 'i'), {"a"}));
  EXPECT_FALSE(announce(std::string(70000, 'i'), {"a"}));
  EXPECT_TRUE(announce("1", {std::string(most - 2, 'h')}));
  EXPECT_FALSE(announce("1", {std::string(most - 1, 'h')}));
  EXPECT_TRUE(announce("1", std::vector<std::string>(most / 2 - 1, "h")));
  EXPECT_FALSE(announce("1", std::vector<std::string>(most / 2, "h")));
}

TEST(TerminalHostile, AMessageAboveTheLimitIsNotLookedAt) {
  BusyTill till;
  till.say(11, Bytes(limits::rdpeusb_message_bytes + 1));
  till.expect_lie();
}

TEST(TerminalHostile, IoControlsOutOfOrderWhereIdsAreUsedAgain) {
  // The windows profile takes the lowest free request id. An I/O control that has ended, and waits
  // for the one before it, must not take the end of the next one with its id.
  TerminalConversation till(Profile::windows);
  bring_to(till, Stage::text);
  for (int i = 0; i < 40 && till.arrived.empty(); ++i) till.pass(31s);
  ASSERT_EQ(till.arrived.size(), 1U);
  const auto ask = [&till] {
    till.role.io_control(1, pdu::io_control_code::get_hub_count, 4, till.now);
    till.drain();
    return till.last_request();
  };
  const auto answer = [&till](std::uint32_t request, std::uint8_t count) {
    till.say(11, pdu::encode(pdu::IoControlCompletion{{0, 0}, request, 0, 4, 0, Bytes(4, count)}));
  };
  const std::uint32_t first = ask();
  const std::uint32_t second = ask();
  answer(second, 2);
  const std::uint32_t third = ask();
  ASSERT_EQ(third, second);
  answer(third, 3);
  EXPECT_TRUE(till.io_controls.empty());
  answer(first, 1);
  ASSERT_EQ(till.io_controls.size(), 3U);
  for (std::uint8_t i = 0; i < 3; ++i)
    EXPECT_EQ(till.io_controls[i].output, Bytes(4, static_cast<std::uint8_t>(i + 1)));
  till.pass(1h);
  EXPECT_TRUE(till.closed.empty());
}

// --- floods
// -----------------------------------------------------------------------------------------------------

TEST(TerminalHostile, AFloodOfChannelsIsBoundedAndSaidOnce) {
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_in(8, 64));
  for (int i = 0; i < 20'000; ++i) till.say(10, add_virtual_channel);
  EXPECT_EQ(till.tickets.size(), limits::rdpeusb_channels - 2);
  EXPECT_EQ(till.events.size(), 1U) << "a hostile till must not fill the log";
  for (ChannelId channel = 100; !till.tickets.empty(); ++channel) till.open(channel);
  EXPECT_EQ(till.sent.size(), limits::rdpeusb_channels - 1) << "each new one, and the read";
  // Those that never announce anything go; there is room again.
  till.pass(60s);
  EXPECT_EQ(till.closed.size(), limits::rdpeusb_channels - 2);
  till.say(10, add_virtual_channel);
  EXPECT_EQ(till.tickets.size(), 1U);
  till.complete_in(4, Bytes(64));
  EXPECT_EQ(till.next_completed().status, TransferStatus::success);
}

TEST(TerminalHostile, AFloodOfAnnouncementsIsOneDevice) {
  BusyTill till;
  for (int i = 0; i < 20'000; ++i)
    till.say(11, TerminalConversation::add_device(static_cast<std::uint32_t>(i)));
  EXPECT_EQ(till.arrived.size(), 2U);
  EXPECT_EQ(till.events.size(), 1U);
  till.expect_quiet(11);
  till.expect_harmless();
}

TEST(TerminalHostile, ReadsThatAreCutOffForEverEndWithTheirCancel) {
  // A read that the client "cut off" is asked for again, one message for one message; a till that
  // does nothing else keeps that transfer, and nothing more.
  TerminalConversation till;
  till.bring_up_configured();
  till.submit(TerminalConversation::bulk_in(101, 64));
  std::uint32_t request = TerminalConversation::request_of(till.next_sent());
  for (int i = 0; i < 5'000; ++i) {
    till.say(11, urb_no_data(request, 0, {0, 2, {}}));
    ASSERT_EQ(till.sent[11].size(), 1U);
    request = TerminalConversation::request_of(till.next_sent());
  }
  till.cancel(101);
  till.sent.clear();
  till.say(11, urb_no_data(request, 0, {0, 2, {}}));
  ASSERT_EQ(till.completed.size(), 1U);
  till.expect_quiet(11);
  EXPECT_LE(till.events.size(), 3U);
}

// --- channels in odd order
// --------------------------------------------------------------------------------------

TEST(TerminalHostile, ChannelsInOddOrder) {
  TerminalConversation till;
  till.role.start(till.now);
  till.drain();
  const std::uint32_t control = till.tickets.front();
  till.open(10);
  // The same ticket again, one that never was, a refusal of what was opened.
  till.role.channel_opened(control, 20, till.now);
  till.role.channel_opened(control + 1, 21, till.now);
  till.role.channel_refused(control, till.now);
  till.role.channel_refused(77, till.now);
  till.drain();
  ASSERT_EQ(till.closed.size(), 2U) << "what nobody wants is closed again";
  EXPECT_EQ(till.closed[0].channel, 20U);
  EXPECT_EQ(till.closed[1].channel, 21U);
  EXPECT_TRUE(till.sent[20].empty());
  EXPECT_TRUE(till.events.empty());
  // Messages and ends of channels that are not there.
  till.say(20, "00000000 00000000 01000000 00000000");
  till.role.channel_closed(20, till.now);
  till.role.channel_closed(99, till.now);
  till.drain();
  EXPECT_TRUE(till.events.empty());
  till.handshake(10);
  till.say(10, add_virtual_channel);
  EXPECT_EQ(till.tickets.size(), 1U);
}

TEST(TerminalHostile, AChannelThatOpensAfterTheControlChannelsEndIsClosed) {
  TerminalConversation till;
  till.bring_up();
  till.say(10, add_virtual_channel);
  till.role.channel_closed(10, till.now);
  till.drain();
  ASSERT_EQ(till.closed.size(), 1U);
  till.open(12);
  ASSERT_EQ(till.closed.size(), 2U);
  EXPECT_EQ(till.closed[1].channel, 12U);
  EXPECT_TRUE(till.sent[12].empty());
}

TEST(TerminalHostile, AnIdThatIsOpenedAnewEndsWhatRanUnderIt) {
  BusyTill till;
  till.say(10, add_virtual_channel);
  till.open(11);
  EXPECT_EQ(till.gone.size(), 1U);
  EXPECT_EQ(till.completed.size(), till.asked.size());
  till.expect_sent(11, "00000000 00000000 00010000 01000000");
  till.say(11, urb_data(5, Bytes(13)));  // nothing of the old device is left
  EXPECT_EQ(till.completed.size(), till.asked.size());
  till.say(12, urb_data(13, Bytes(18)));
  EXPECT_EQ(till.completed.back().id, neighbour);
}

TEST(TerminalHostile, ALieOnTheControlChannelEndsEveryTransferOnce) {
  BusyTill till;
  till.say(10, "010000c0 00000000 00010000");
  ASSERT_EQ(till.closed.size(), 3U);
  EXPECT_EQ(till.closed[0].channel, 10U);
  EXPECT_EQ(till.gone.size(), 2U);
  EXPECT_EQ(till.completed.size(), till.asked.size() + 1);
  for (const auto& completion : till.completed)
    EXPECT_EQ(completion.status, TransferStatus::device_gone);
  EXPECT_FALSE(till.role.next_deadline().has_value());
}

TEST(TerminalHostile, CloseWithAThousandTransfersInFlight) {
  TerminalConversation till;
  till.bring_up_configured();
  constexpr usb::TransferId count = limits::transfers_in_flight_per_device;
  for (usb::TransferId id = 1; id <= count; ++id) {
    if (id % 2 == 0) {
      till.submit(TerminalConversation::bulk_in(id, 512));
    } else {
      till.submit(TerminalConversation::bulk_out(id, Bytes(512)));
    }
  }
  for (usb::TransferId id = 1; id <= count; id += 7) till.cancel(id);
  EXPECT_TRUE(till.completed.empty());
  till.submit(TerminalConversation::bulk_in(5000, 1));
  EXPECT_EQ(till.next_completed().status, TransferStatus::no_resources);
  till.order.clear();
  till.role.channel_closed(11, till.now);
  till.drain();
  ASSERT_EQ(till.completed.size(), count);
  std::vector<bool> seen(count + 1);
  for (const auto& completion : till.completed) {
    EXPECT_EQ(completion.status, TransferStatus::device_gone);
    EXPECT_FALSE(seen.at(completion.id));
    seen.at(completion.id) = true;
  }
  EXPECT_EQ(till.order.back(), "gone");
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
