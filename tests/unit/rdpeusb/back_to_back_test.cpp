// Both roles against each other over a channel that delays at will, with a small device behind the
// till: seeded random transfers, cancels, stalls and resets. Each transfer ends exactly once, and
// what comes back is what went in.
#include <deque>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "channel/rdpeusb/terminal_role.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "tests/unit/rdpeusb/till_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using usb::TransferStatus;

/// storage_configuration() as a loop: what is written to 02 is read from 81. Ends transfers of one
/// endpoint in order, keeps reads until there is something, halts an endpoint when told to.
class Loop {
 public:
  void submit(usb::Transfer transfer) {
    if (transfer.type == usb::TransferType::control) {
      control(transfer);
    } else {
      queues_[transfer.endpoint].push_back(std::move(transfer));
    }
  }
  void cancel(usb::TransferId id) {
    for (auto& [endpoint, queue] : queues_) {
      for (auto entry = queue.begin(); entry != queue.end(); ++entry) {
        if (entry->id != id) continue;
        end(*entry, TransferStatus::cancelled);
        queue.erase(entry);
        return;
      }
    }
  }
  void halt(std::uint8_t endpoint) { halted_.insert(endpoint); }

  /// Ends the oldest transfer of one endpoint, if it can end.
  void work(std::uint8_t endpoint) {
    auto& queue = queues_[endpoint];
    if (queue.empty()) return;
    const usb::Transfer& transfer = queue.front();
    if (halted_.count(endpoint) != 0) {
      end(transfer, TransferStatus::stall);
    } else if (!transfer.in()) {
      written_.insert(written_.end(), transfer.data.begin(), transfer.data.end());
      end(transfer, TransferStatus::success, {}, transfer.length);
    } else if (written_.empty()) {
      return;
    } else {
      Bytes data;
      while (!written_.empty() && data.size() < transfer.length) {
        data.push_back(written_.front());
        written_.pop_front();
      }
      const bool is_short = transfer.short_not_ok && data.size() < transfer.length;
      end(transfer, is_short ? TransferStatus::short_read : TransferStatus::success,
          std::move(data));
    }
    queue.pop_front();
  }
  std::deque<usb::Completion> ended;

 private:
  void end(const usb::Transfer& transfer, TransferStatus status, Bytes data = {},
           std::uint32_t accepted = 0) {
    usb::Completion completion;
    completion.id = transfer.id;
    completion.status = status;
    completion.actual_length = transfer.in() ? static_cast<std::uint32_t>(data.size()) : accepted;
    completion.data = std::move(data);
    ended.push_back(std::move(completion));
  }
  void control(const usb::Transfer& transfer) {
    const usb::SetupPacket& setup = transfer.setup;
    if (setup.request == usb::request::clear_feature)
      halted_.erase(static_cast<std::uint8_t>(setup.index));
    if (!setup.in()) return end(transfer, TransferStatus::success, {}, transfer.length);
    if (setup.request != usb::request::get_descriptor) return end(transfer, TransferStatus::stall);
    Bytes data;
    if (setup.value == 0x0100) data = usb::encode(storage_stick().device);
    if (setup.value == 0x0200) data = storage_configuration();
    if (data.empty()) return end(transfer, TransferStatus::stall);
    data.resize(std::min<std::size_t>(data.size(), transfer.length));
    end(transfer, TransferStatus::success, std::move(data));
  }

  std::map<std::uint8_t, std::deque<usb::Transfer>> queues_;
  std::set<std::uint8_t> halted_;
  std::deque<std::uint8_t> written_;
};

class BackToBack : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  std::mt19937 random_{GetParam()};
  Instant now_ = 1'000'000us;
  TillRole till_;
  /// Every third run under the Windows profile, which must not change anything of this.
  TerminalRole terminal_{GetParam() % 3 == 0 ? Profile::windows : Profile::plain};
  Loop loop_;

  struct Message {
    ChannelId channel;
    Bytes bytes;
  };
  std::deque<Message> to_till_, to_terminal_;
  std::set<ChannelId> open_;
  ChannelId last_channel_ = 0;
  DeviceId device_ = 0;
  bool gone_ = false;

  struct Running {
    bool in;
    std::uint32_t length;
  };
  std::map<usb::TransferId, Running> running_;
  usb::TransferId last_transfer_ = 0;
  std::map<TransferStatus, int> ends_;
  Bytes written_, read_;
  std::map<usb::TransferId, Bytes> being_written_;

  std::uint32_t pick(std::uint32_t below) { return static_cast<std::uint32_t>(random_() % below); }

  void drain() {
    for (bool more = true; more;) {
      more = false;
      while (auto output = till_.poll()) {
        more = true;
        std::visit([this](auto& value) { take(value); }, *output);
      }
      while (auto output = terminal_.poll()) {
        more = true;
        std::visit([this](auto& value) { take(value); }, *output);
      }
    }
  }

  void take(TillRole::SendMessage& value) {
    to_terminal_.push_back({value.channel, std::move(value.message)});
  }
  void take(TillRole::CloseChannel& value) {
    if (open_.erase(value.channel) != 0) terminal_.channel_closed(value.channel, now_);
    till_.channel_closed(value.channel, now_);
  }
  void take(TillRole::Submit& value) { loop_.submit(std::move(value.transfer)); }
  void take(TillRole::Cancel& value) { loop_.cancel(value.transfer); }
  void take(TillRole::DeviceInSession& /*value*/) {}
  void take(TillRole::DeviceLeftSession& /*value*/) {}
  void take(TillRole::Event& value) { EXPECT_NE(value.level, Level::error) << value.text; }
  void take(TerminalRole::OpenChannel& value) {
    open_.insert(++last_channel_);
    till_.channel_opened(last_channel_, now_);
    terminal_.channel_opened(value.ticket, last_channel_, now_);
  }
  void take(TerminalRole::SendMessage& value) {
    to_till_.push_back({value.channel, std::move(value.message)});
  }
  void take(TerminalRole::CloseChannel& value) {
    if (open_.erase(value.channel) != 0) till_.channel_closed(value.channel, now_);
    closed_by_terminal_ = value.reason;
  }
  void take(TerminalRole::DeviceArrived& value) {
    EXPECT_EQ(device_, 0U);
    device_ = value.device;
    EXPECT_EQ(value.announced.description, "TSE");
  }
  void take(TerminalRole::DeviceGone& value) {
    EXPECT_EQ(value.device, device_);
    EXPECT_TRUE(running_.empty()) << "transfers end before their device is gone";
    gone_ = true;
  }
  void take(TerminalRole::Completed& value) {
    const auto found = running_.find(value.completion.id);
    ASSERT_NE(found, running_.end()) << "ended twice, or never submitted";
    ++ends_[value.completion.status];
    EXPECT_LE(value.completion.actual_length, found->second.length);
    if (found->second.in) {
      EXPECT_EQ(value.completion.data.size(), value.completion.actual_length);
      if (being_read_.erase(value.completion.id) != 0) {
        read_.insert(read_.end(), value.completion.data.begin(), value.completion.data.end());
      }
    } else {
      const Bytes& data = being_written_[value.completion.id];
      written_.insert(written_.end(), data.begin(),
                      data.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                         data.size(), value.completion.actual_length)));
    }
    being_written_.erase(value.completion.id);
    running_.erase(found);
  }
  void take(TerminalRole::IoControlCompleted& /*value*/) {}
  void take(TerminalRole::Event& value) {
    EXPECT_EQ(value.text.find("fault of the client"), std::string::npos) << value.text;
    EXPECT_FALSE(value.wrong_answer) << value.text;
  }

  void deliver(std::deque<Message>& queue, bool at_till) {
    if (queue.empty()) return;
    const Message message = std::move(queue.front());
    queue.pop_front();
    if (open_.count(message.channel) == 0) return;
    if (at_till) {
      till_.receive(message.channel, message.bytes, now_);
    } else {
      terminal_.receive(message.channel, message.bytes, now_);
    }
  }
  void pass_ends() {
    while (!loop_.ended.empty()) {
      till_.complete(1, std::move(loop_.ended.front()), now_);
      loop_.ended.pop_front();
      drain();
    }
  }
  /// Until nothing moves any more.
  void settle() {
    for (bool moved = true; moved;) {
      drain();
      moved = !to_till_.empty() || !to_terminal_.empty() || !loop_.ended.empty();
      deliver(to_till_, true);
      drain();
      deliver(to_terminal_, false);
      drain();
      loop_.work(0x02);
      loop_.work(0x81);
      pass_ends();
    }
  }

  void submit(usb::Transfer transfer) {
    running_[transfer.id] = {transfer.in(), transfer.length};
    terminal_.submit(device_, std::move(transfer), now_);
    drain();
  }
  void submit_control(const usb::SetupPacket& setup) {
    submit(usb::control_transfer(++last_transfer_, setup));
  }
  void submit_bulk(bool in) {
    usb::Transfer transfer;
    transfer.id = ++last_transfer_;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = in ? 0x81 : 0x02;
    transfer.length = pick(3) == 0 ? 512 * pick(4) : pick(2000);
    transfer.short_not_ok = in && pick(4) == 0;
    transfer.zero_packet = !in && pick(2) == 0;
    if (in) {
      being_read_.insert(transfer.id);
    } else {
      for (std::uint32_t i = 0; i < transfer.length; ++i)
        transfer.data.push_back(static_cast<std::uint8_t>(random_()));
      being_written_[transfer.id] = transfer.data;
    }
    submit(std::move(transfer));
  }

  void bring_up() {
    till_.add_device(1, {storage_stick(), ResetPolicy::soften}, now_);
    terminal_.start(now_);
    settle();
    ASSERT_NE(device_, 0U);
    submit_control(usb::set_configuration(1));
    settle();
    ASSERT_TRUE(running_.empty());
    ASSERT_EQ(ends_[TransferStatus::success], 1);
  }

  void random_step() {
    switch (pick(20)) {
      case 0:
      case 1:
      case 2:
        if (running_.size() < 20) submit_bulk(false);
        break;
      case 3:
      case 4:
      case 5:
        if (running_.size() < 20) submit_bulk(true);
        break;
      case 6: {
        if (running_.empty()) break;
        auto entry = running_.begin();
        std::advance(entry, pick(static_cast<std::uint32_t>(running_.size())));
        terminal_.cancel(device_, entry->first, now_);
        drain();
        // Often quick enough to reach the device before the transfer has ended there.
        while (pick(8) != 0 && !to_till_.empty()) {
          deliver(to_till_, true);
          drain();
        }
        break;
      }
      case 7:
        if (halts_) loop_.halt(pick(2) == 0 ? 0x81 : 0x02);
        break;
      case 8:
        submit_control(usb::clear_halt(pick(2) == 0 ? 0x81 : 0x02));
        break;
      case 9:
        submit_control(usb::get_descriptor(pick(4) == 0 ? 3 : 1, 0, 0, 18));
        break;
      case 10:
      case 11:
      case 12:
        deliver(to_till_, true);
        break;
      case 13:
      case 14:
      case 15:
        deliver(to_terminal_, false);
        break;
      case 16:
      case 17:
      case 18:
        loop_.work(pick(2) == 0 ? 0x81 : 0x02);
        pass_ends();
        break;
      default:
        now_ += Duration(pick(1000));
        till_.advance(now_);
        terminal_.advance(now_);
        break;
    }
    drain();
  }

  bool halts_ = true;
  std::set<usb::TransferId> being_read_;
  std::string closed_by_terminal_;
};

TEST_P(BackToBack, EveryTransferEndsOnceAndTheDataIsRight) {
  bring_up();
  for (int i = 0; i < 3000; ++i) random_step();
  halts_ = false;
  submit_control(usb::clear_halt(0x81));
  submit_control(usb::clear_halt(0x02));
  settle();
  // What is left are reads of an empty loop.
  for (auto running = running_; const auto& [id, what] : running) {
    EXPECT_TRUE(what.in);
    terminal_.cancel(device_, id, now_);
  }
  settle();
  EXPECT_TRUE(running_.empty());
  EXPECT_EQ(closed_by_terminal_, "");
  EXPECT_FALSE(gone_);
  ASSERT_LE(read_.size(), written_.size());
  EXPECT_TRUE(std::equal(read_.begin(), read_.end(), written_.begin()));
  // The run was worth something.
  EXPECT_GT(read_.size(), 1000U);
  EXPECT_GT(ends_[TransferStatus::success], 100);
  EXPECT_GT(ends_[TransferStatus::stall], 0);
  EXPECT_GT(ends_[TransferStatus::cancelled], 0);
}

TEST_P(BackToBack, UnpluggedStickEndsEverything) {
  bring_up();
  for (int i = 0; i < 300; ++i) random_step();
  till_.remove_device(1, now_);
  settle();
  EXPECT_TRUE(running_.empty());
  EXPECT_TRUE(gone_);
}

TEST_P(BackToBack, RetractedDeviceEndsEverything) {
  bring_up();
  for (int i = 0; i < 300; ++i) random_step();
  terminal_.retract(device_, "not allowed", now_);
  settle();
  EXPECT_TRUE(running_.empty());
  EXPECT_TRUE(gone_);
}

TEST_P(BackToBack, PortResetIsSoftenedAndPipesSurvive) {
  bring_up();
  submit_control(usb::port_reset());
  settle();
  EXPECT_TRUE(running_.empty());
  EXPECT_EQ(ends_[TransferStatus::success], 2);
  submit_bulk(false);
  settle();
  EXPECT_EQ(ends_[TransferStatus::success], 3);
}

INSTANTIATE_TEST_SUITE_P(Seeds, BackToBack, ::testing::Range(1U, 13U));

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
