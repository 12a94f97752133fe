// Completions that lie to the terminal role: cut, changed, late, twice. At most the channel of the
// lie is closed, the reason says what was wrong, every transfer ends exactly once, and the device
// next to it goes on.
#include "tests/unit/rdpeusb/busy_till.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using usb::TransferStatus;

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

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
