// Tills that lie to the terminal role: messages cut, changed, out of order, in floods. At most the
// channel of the lie is closed, the reason says what was wrong, every transfer ends exactly once,
// and the device next to it goes on.
#include <algorithm>
#include <map>

#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/terminal_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using usb::TransferStatus;
namespace f = pdu::urb_function;

constexpr std::string_view add_virtual_channel = "01000040 00000000 00010000";
constexpr usb::TransferId neighbour = 5000;

/// The device on channel 11 has one request of every kind outstanding, that on channel 12 a read.
class BusyTill : public TerminalConversation {
 public:
  /// Transfer → bytes asked for.
  const std::map<usb::TransferId, std::uint32_t> asked{{101, 64}, {102, 8}, {103, 18},
                                                       {104, 0},  {105, 0}, {106, 0}};

  /// Transfer 106, request 11, selects an interface or, because both would race, a configuration.
  explicit BusyTill(bool selects_configuration = false) {
    bring_up_configured();
    say(10, add_virtual_channel);
    open(12);
    handshake(12);
    say(12, add_device(5));  // the same interface id: only the channel tells the two apart
    say(12, text_answer);
    // Request 4 was cancelled and never answered.
    submit(bulk_in(100, 64));
    cancel(100);
    pass(3s);
    submit(bulk_in(101, 64));                                              // 5
    submit(bulk_out(102, Bytes(8)));                                       // 6
    submit(usb::control_transfer(103, usb::get_descriptor(1, 0, 0, 18)));  // 7
    submit(usb::control_transfer(104, usb::clear_halt(0x81)));             // 8
    submit(usb::control_transfer(105, usb::port_reset()));                 // 9
    role.io_control(1, pdu::io_control_code::get_port_status, 4, now);     // 10
    submit(usb::control_transfer(
        106, selects_configuration ? usb::set_configuration(1) : usb::set_interface(0, 0)));  // 11
    // The neighbour's request is 13, which the first device does not have.
    for (std::uint32_t request = 1; request <= 12; ++request) {
      role.submit(2, usb::control_transfer(6000, {0x40, 1, 0, 0, 0}), now);
      say(12, pdu::encode(pdu::UrbCompletionNoData{completion_address, request, {}, 0, 0}));
    }
    role.submit(2, usb::control_transfer(neighbour, usb::get_descriptor(1, 0, 0, 18)), now);
    drain();
    EXPECT_EQ(to_hex(sent[12].back()).substr(40, 8), "0d000000");
    completed.clear();
    events.clear();
    order.clear();
    sent.clear();
  }

  /// After anything that the till said on channel 11.
  void expect_harmless() {
    ASSERT_LE(closed.size(), 1U);
    EXPECT_LE(sent[11].size(), 1U);
    expect_quiet(12);
    EXPECT_TRUE(tickets.empty());
    EXPECT_EQ(arrived.size(), 2U);
    if (closed.empty()) {
      EXPECT_LE(completed.size() + io_controls.size(), 1U);
      EXPECT_TRUE(gone.empty());
    } else {
      EXPECT_EQ(closed[0].channel, 11U);
      EXPECT_FALSE(closed[0].reason.empty());
      ASSERT_EQ(gone.size(), 1U);
      EXPECT_EQ(gone[0].device, 1U);
      EXPECT_EQ(gone[0].reason, closed[0].reason);
    }
    // The neighbour goes on.
    say(12, pdu::encode(pdu::UrbCompletion{completion_address, 13, {}, 0, Bytes(18)}));
    ASSERT_FALSE(completed.empty());
    EXPECT_EQ(completed.back().id, neighbour);
    EXPECT_EQ(completed.back().status, TransferStatus::success);
    completed.pop_back();
    // And here everything ends once, at the latest with the channel.
    role.channel_closed(11, now);
    drain();
    EXPECT_EQ(gone.size(), 1U);
    EXPECT_EQ(io_controls.size(), 1U);
    EXPECT_LE(io_controls[0].output.size(), 4U);
    ASSERT_EQ(completed.size(), asked.size());
    auto left = asked;
    for (const auto& completion : completed) {
      ASSERT_EQ(left.count(completion.id), 1U);
      EXPECT_LE(completion.actual_length, left[completion.id]);
      EXPECT_EQ(completion.data.size(), completion.id == 102 ? 0U : completion.actual_length);
      left.erase(completion.id);
    }
    EXPECT_FALSE(role.next_deadline().has_value());
  }

  void expect_lie() {
    EXPECT_EQ(closed.size(), 1U);
    expect_harmless();
  }
};

struct Saying {
  const char* name;
  Bytes message;
  usb::TransferId ends = 0;  ///< the transfer that it completes
  bool selects_configuration = false;
};

pdu::InterfaceInformationResult storage_interface() {
  pdu::InterfaceInformationResult interface;
  interface.interface_class = 8;
  interface.pipes = {{512, 0x81, 0, 2, 0x81, 0xFFFFFFFF, 0}, {512, 0x02, 0, 2, 0x02, 0, 0}};
  return interface;
}

constexpr pdu::Address completions{pdu::interface_id::first_free, 0};

Bytes urb_data(std::uint32_t request, const Bytes& data, pdu::TsUrbResult result = {}) {
  return pdu::encode(pdu::UrbCompletion{completions, request, std::move(result), 0, data});
}
Bytes urb_no_data(std::uint32_t request, std::uint32_t size, pdu::TsUrbResult result = {}) {
  return pdu::encode(pdu::UrbCompletionNoData{completions, request, std::move(result), 0, size});
}
Bytes io_end(std::uint32_t request, const Bytes& output) {
  return pdu::encode(pdu::IoControlCompletion{
      completions, request, 0, static_cast<std::uint32_t>(output.size()), 0, output});
}

/// Every completion that a BusyTill may send, honest.
std::vector<Saying> honest_completions() {
  return {
      {"bulk in", urb_data(5, Bytes(13)), 101},
      {"bulk in without data", urb_no_data(5, 0), 101},
      {"bulk out", urb_no_data(6, 8), 102},
      {"control in", urb_data(7, Bytes(18)), 103},
      {"clear halt", urb_no_data(8, 0), 104},
      {"port reset", io_end(9, {}), 105},
      {"port status", io_end(10, Bytes(4))},
      {"interface selected",
       urb_no_data(11, 0, {0, 0, pdu::SelectInterfaceResult{storage_interface()}}), 106},
      {"configuration selected",
       urb_no_data(11, 0, {0, 0, pdu::SelectConfigurationResult{0x77, {storage_interface()}}}), 106,
       true},
      {"abandoned", urb_data(4, Bytes(13))},
  };
}

/// Calls with each truncation, each field of 16 and 32 bits at its extremes, and surplus bytes.
template <typename Try>
void each_change(const Bytes& message, const Try& attempt) {
  for (std::size_t size = 0; size < message.size(); ++size) {
    attempt(Bytes(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size)),
            "cut to " + std::to_string(size));
  }
  for (const std::size_t surplus : {1U, 4U, 64U}) {
    Bytes longer = message;
    longer.resize(message.size() + surplus, 0xEE);
    attempt(longer, "with " + std::to_string(surplus) + " bytes more");
  }
  const auto put = [&](std::size_t at, std::size_t width, std::uint32_t value) {
    Bytes changed = message;
    for (std::size_t i = 0; i < width; ++i)
      changed[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
    if (changed == message) return;
    attempt(changed, std::to_string(value) + " at " + std::to_string(at) + ", width " +
                         std::to_string(width));
  };
  for (std::size_t at = 0; at + 2 <= message.size(); ++at) {
    for (const std::uint32_t value : {0U, 1U, 0x7FFFU, 0xFFFEU, 0xFFFFU}) put(at, 2, value);
    if (at + 4 > message.size()) continue;
    std::uint32_t was = 0;
    for (std::size_t i = 4; i-- > 0;) was = was << 8U | message[at + i];
    for (const std::uint32_t value : {0U, 1U, was + 1, was - 1, 0x7FFFFFFFU, 0x80000000U,
                                      0xFFFFFFF0U, 0xFFFFFFFEU, 0xFFFFFFFFU}) {
      put(at, 4, value);
    }
  }
}

// --- completions
// ------------------------------------------------------------------------------------------------

TEST(TerminalHostile, TheCompletionsThemselvesAreHonest) {
  for (const Saying& saying : honest_completions()) {
    SCOPED_TRACE(saying.name);
    BusyTill till(saying.selects_configuration);
    till.say(11, saying.message);
    EXPECT_TRUE(till.closed.empty());
    ASSERT_EQ(till.completed.size(), saying.ends == 0 ? 0U : 1U);
    if (saying.ends != 0) {
      EXPECT_EQ(till.completed[0].id, saying.ends);
      EXPECT_EQ(till.completed[0].status, TransferStatus::success);
    }
    till.expect_harmless();
  }
}

TEST(TerminalHostile, CompletionsCutAndChangedEverywhere) {
  for (const Saying& saying : honest_completions()) {
    each_change(saying.message, [&](const Bytes& message, const std::string& how) {
      SCOPED_TRACE(std::string(saying.name) + " " + how);
      BusyTill till(saying.selects_configuration);
      till.say(11, message);
      till.expect_harmless();
    });
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(TerminalHostile, CutCompletionsAreNeverTaken) {
  for (const Saying& saying : honest_completions()) {
    for (std::size_t size = 0; size < saying.message.size(); ++size) {
      SCOPED_TRACE(std::string(saying.name) + " " + std::to_string(size));
      BusyTill till(saying.selects_configuration);
      till.say(11, Bytes(saying.message.begin(),
                         saying.message.begin() + static_cast<std::ptrdiff_t>(size)));
      till.expect_lie();
    }
  }
}

TEST(TerminalHostile, ASecondCompletionIsALie) {
  for (const Saying& saying : honest_completions()) {
    SCOPED_TRACE(saying.name);
    BusyTill till(saying.selects_configuration);
    till.say(11, saying.message);
    till.say(11, saying.message);
    till.expect_lie();
  }
}

TEST(TerminalHostile, LyingCompletions) {
  const pdu::InterfaceInformationResult good = storage_interface();
  const auto interfaces = [&](std::size_t count) {
    return pdu::SelectConfigurationResult{
        1, std::vector<pdu::InterfaceInformationResult>(count, good)};
  };
  const auto with_pipes = [&](std::size_t count, std::uint8_t endpoint) {
    pdu::InterfaceInformationResult interface = good;
    interface.pipes.resize(count, good.pipes[0]);
    for (auto& pipe : interface.pipes) pipe.endpoint = endpoint;
    return interface;
  };
  pdu::InterfaceInformationResult other_setting = good, other_interface = good, other_type = good;
  other_setting.alternate_setting = 1;
  other_interface.interface_number = 1;
  other_type.pipes[0].type = 1;
  const pdu::IsochronousResult packets{0, 0, std::vector<pdu::IsochronousPacket>(3)};
  const std::vector<Saying> lies{
      {"bulk in, a byte more than asked for", urb_data(5, Bytes(65))},
      {"bulk in, a megabyte more", urb_data(5, Bytes(1U << 20U))},
      {"bulk in, bytes but no data", urb_no_data(5, 1)},
      {"bulk in, 4 GiB but no data", urb_no_data(5, 0xFFFFFFFF)},
      {"bulk in failed, and yet more than asked for", urb_data(5, Bytes(65), {0, 0xC0000004, {}})},
      {"bulk out, more accepted than sent", urb_no_data(6, 9)},
      {"bulk out, more echoed than sent", urb_data(6, Bytes(9))},
      {"control in, more than asked for", urb_data(7, Bytes(19))},
      {"clear halt with data", urb_data(8, Bytes(1))},
      {"clear halt that moved bytes", urb_no_data(8, 1)},
      {"the neighbour's request", urb_data(13, Bytes(18))},
      {"a request that is to come", urb_no_data(12, 0)},
      {"request 0", urb_no_data(0, 0)},
      {"request 2^32-1", urb_no_data(0xFFFFFFFF, 0)},
      {"bit 31 of a request", urb_no_data(0x80000005, 0)},
      {"a request of the handshake's time", urb_no_data(3, 0)},
      {"abandoned, longer than asked for", urb_data(4, Bytes(65))},
      {"abandoned, as an I/O control", io_end(4, {})},
      {"bulk as I/O control", io_end(5, {})},
      {"I/O control as transfer", urb_no_data(9, 0)},
      {"I/O control as transfer with data", urb_data(10, Bytes(4))},
      {"port status, one byte more", io_end(10, Bytes(5))},
      {"port status, three more", io_end(10, Bytes(7))},
      {"port status, five more", io_end(10, Bytes(9))},
      {"port reset with output", io_end(9, Bytes(1))},
      {"bulk with isochronous packets", urb_data(5, Bytes(3), {0, 0, packets})},
      {"bulk with a frame number", urb_no_data(5, 0, {0, 0, pdu::FrameNumberResult{1}})},
      {"bulk as selected configuration", urb_no_data(5, 0, {0, 0, interfaces(1)})},
      {"interface as configuration", urb_no_data(11, 0, {0, 0, interfaces(1)})},
      {"configuration as interface", urb_no_data(11, 0, {0, 0, pdu::SelectInterfaceResult{good}}),
       0, true},
      {"configuration as bare header", urb_no_data(11, 0), 0, true},
      {"interface as bare header", urb_no_data(11, 0)},
      {"configuration with data", urb_data(11, Bytes(1), {0, 0, interfaces(1)}), 0, true},
      {"an interface more", urb_no_data(11, 0, {0, 0, interfaces(2)}), 0, true},
      {"300 interfaces", urb_no_data(11, 0, {0, 0, interfaces(300)}), 0, true},
      {"no pipes", urb_no_data(11, 0, {0, 0, pdu::SelectInterfaceResult{with_pipes(0, 0)}})},
      {"a pipe more", urb_no_data(11, 0, {0, 0, pdu::SelectInterfaceResult{with_pipes(3, 0x81)}})},
      {"one endpoint twice",
       urb_no_data(11, 0, {0, 0, pdu::SelectInterfaceResult{with_pipes(2, 0x81)}})},
      {"31 pipes", urb_no_data(11, 0, {0, 0, pdu::SelectInterfaceResult{with_pipes(31, 0x81)}})},
      {"another setting", urb_no_data(11, 0, {0, 0, pdu::SelectInterfaceResult{other_setting}})},
      {"another interface",
       urb_no_data(11, 0, {0, 0, pdu::SelectInterfaceResult{other_interface}})},
      {"another type of pipe", urb_no_data(11, 0, {0, 0, pdu::SelectInterfaceResult{other_type}})},
  };
  for (const Saying& lie : lies) {
    SCOPED_TRACE(lie.name);
    BusyTill till(lie.selects_configuration);
    till.say(11, lie.message);
    till.expect_lie();
  }
}

TEST(TerminalHostile, CountsOfResultListsAreNotBelieved) {
  // NumInterfaces and NumberOfPipes: "really there" decides, not what the count says.
  for (const Saying& saying : honest_completions()) {
    const bool configuration = saying.selects_configuration;
    if (saying.ends != 106) continue;
    // Header 12, RequestId, CbTsUrbResult, TS_URB_RESULT_HEADER 8; handle and count, or not.
    const std::size_t result = 12 + 4 + 4 + 8;
    const std::size_t interface = configuration ? result + 8 : result;
    std::vector<std::size_t> counts{interface + 12};
    if (configuration) counts.push_back(result + 4);
    for (const std::size_t at : counts) {
      for (const std::uint32_t value : {0U, 3U, 30U, 31U, 256U, 257U, 0x0CCCCCCDU, 0x10000000U,
                                        0x7FFFFFFFU, 0x80000002U, 0xFFFFFFFFU}) {
        SCOPED_TRACE(std::string(saying.name) + ": " + std::to_string(value));
        Bytes message = saying.message;
        for (std::size_t i = 0; i < 4; ++i)
          message[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
        BusyTill till(configuration);
        till.say(11, message);
        till.expect_lie();
      }
    }
  }
}

TEST(TerminalHostile, LateCompletionsAfterACancelAreTakenOnce) {
  BusyTill till;
  till.cancel(101);
  till.sent.clear();
  till.pass(3s);
  ASSERT_EQ(till.completed.size(), 1U);
  EXPECT_EQ(till.completed[0].status, TransferStatus::cancelled);
  till.say(11, urb_data(5, Bytes(64)));
  EXPECT_TRUE(till.closed.empty());
  EXPECT_EQ(till.completed.size(), 1U);
  till.say(11, urb_data(5, Bytes(64)));
  till.expect_lie();
}

TEST(TerminalHostile, NothingIsTakenAfterTheEnd) {
  for (const Saying& saying : honest_completions()) {
    BusyTill till(saying.selects_configuration);
    till.role.channel_closed(11, till.now);
    till.drain();
    const std::size_t ended = till.completed.size();
    EXPECT_EQ(ended, till.asked.size());
    till.say(11, saying.message);
    till.say(11, TerminalConversation::add_device());
    EXPECT_EQ(till.completed.size(), ended);
    EXPECT_TRUE(till.sent[11].empty());
    EXPECT_TRUE(till.closed.empty());
    EXPECT_EQ(till.io_controls.size(), 1U);
  }
}

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

// --- descriptors that lie
// ---------------------------------------------------------------------------------------

/// SET_CONFIGURATION(1), the descriptor read by the role itself; `answer` plays the device. Answers
/// how the transfer ended and how many requests that took.
template <typename Answer>
std::pair<TransferStatus, std::size_t> configured(const Answer& answer) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(7, usb::set_configuration(1)));
  std::size_t requests = 0;
  while (till.completed.empty() && requests < 100) {
    ++requests;
    const Bytes message = till.next_sent();
    pdu::TillContext context;
    context.usb_device = 5;
    const auto decoded = pdu::decode_from_server(message, context);
    if (!decoded || !std::holds_alternative<pdu::TransferRequest>(*decoded)) {
      ADD_FAILURE() << to_hex(message);
      break;
    }
    const auto& request = std::get<pdu::TransferRequest>(*decoded);
    const auto* read = std::get_if<pdu::DescriptorRequest>(&request.urb.body);
    if (read == nullptr) break;  // SELECT_CONFIGURATION
    Bytes data = answer(read->index, request.output_buffer_size);
    data.resize(std::min<std::size_t>(data.size(), request.output_buffer_size));
    till.complete_in(request.urb.request, data);
  }
  EXPECT_TRUE(till.closed.empty()) << "it is the device that lies, not the till";
  if (till.completed.empty()) return {TransferStatus::success, requests};
  return {till.next_completed().status, requests};
}

TEST(TerminalHostile, ConfigurationDescriptorsThatLie) {
  const Bytes good = storage_configuration();
  EXPECT_EQ(configured([&](auto, auto) { return good; }), std::pair(TransferStatus::success, 3UL));
  // Another value for ever: it stops at the limit of configurations, with what a device without
  // this configuration answers.
  EXPECT_EQ(configured([&](auto, auto) {
              Bytes other = good;
              other[5] = 2;
              return other;
            }),
            std::pair(TransferStatus::stall, limits::configurations_per_device));
  const auto fails = [](const char* what, const auto& answer, std::size_t requests) {
    EXPECT_EQ(configured(answer), std::pair(TransferStatus::error, requests)) << what;
  };
  for (const std::size_t size : {0U, 1U, 5U}) {
    fails(
        "a header cut",
        [&](auto, auto) {
          return Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
        },
        1);
  }
  for (const unsigned total : {0U, 1U, 8U, 31U, 33U, 255U, 0x7FFFU, 0xFFFFU}) {
    fails(
        "wTotalLength",
        [&](auto, auto) {
          Bytes lie = good;
          lie[2] = static_cast<std::uint8_t>(total);
          lie[3] = static_cast<std::uint8_t>(total >> 8U);
          return lie;
        },
        2);
  }
  fails(
      "another value the second time",
      [&](auto, auto asked) {
        Bytes lie = good;
        if (asked > 9) lie[5] = 3;
        return lie;
      },
      2);
  fails(
      "a descriptor of length 0",
      [&](auto, auto) {
        Bytes lie = good;
        lie[9] = 0;
        return lie;
      },
      2);
  fails(
      "an endpoint past the end",
      [&](auto, auto) {
        Bytes lie = good;
        lie[18] = 200;
        return lie;
      },
      2);
}

TEST(TerminalHostile, AConfigurationTooLargeForTheProtocol) {
  // 65,000 bytes are a legal descriptor, but CbTsUrb holds it only with less than 512 bytes
  // besides.
  Bytes huge = storage_configuration();
  const std::size_t filler = 0xFFF0 - huge.size();
  for (std::size_t left = filler; left > 0;) {
    const std::size_t size = left >= 257 ? 255 : (left > 255 ? 128 : left);
    huge.push_back(static_cast<std::uint8_t>(size));
    huge.push_back(0x24);
    huge.resize(huge.size() + size - 2);
    left -= size;
  }
  huge[2] = 0xF0, huge[3] = 0xFF;
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(7, usb::set_configuration(1)));
  till.complete_in(1, Bytes(huge.begin(), huge.begin() + 9));
  till.complete_in(2, huge);
  EXPECT_EQ(till.next_completed().status, TransferStatus::no_resources);
  EXPECT_EQ(till.logged("too large for MS-RDPEUSB"), 1);
  EXPECT_TRUE(till.closed.empty());
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
