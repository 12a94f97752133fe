// A whole session without RDP: the client's end is a TillRole with a simulated stick.
#include "server/terminal/session.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "channel/rdpeusb/till_role.hpp"
#include "server/terminal/probe/probe_sink.hpp"
#include "server/terminal/service.hpp"
#include "tests/unit/terminal/test_device.hpp"

namespace tillbridge::terminal {
namespace {

/// The client: answers within service(), in the session's own thread, so the test is deterministic.
class PlayedTill final : public RdpPeer {
 public:
  struct Behaviour {
    bool channels = true;
    bool refuse_channels = false;
    bool goes_away_after_announcing = false;
  };
  PlayedTill(std::unique_ptr<simulator::Device> stick, Behaviour behaviour)
      : stick_(std::move(stick)),
        behaviour_(behaviour),
        wake_(::eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)) {
    events_.emplace_back(Activated{PeerFacts{"kasse", "", "till-01", "192.0.2.1:4711"}});
    if (!behaviour_.channels) {
      events_.emplace_back(ChannelsMissing{});
      return;
    }
    events_.emplace_back(ChannelsReady{});
    rdpeusb::TillDevice device;
    device.description = stick_->description();
    till_.add_device(1, device, now_);
  }

  void add_polled(std::vector<pollfd>& polled) const override {
    polled.push_back(pollfd{wake_.get(), POLLIN, 0});
  }
  [[nodiscard]] bool input_pending() const override { return false; }
  Status service() override {
    now_ += Duration(1000);
    till_.advance(now_);
    drain();
    if (gone_) return fail(ErrorCode::unavailable, "the client disconnected");
    return {};
  }
  std::optional<Event> poll() override {
    if (events_.empty()) return std::nullopt;
    Event event = std::move(events_.front());
    events_.pop_front();
    return event;
  }
  void open_channel(std::uint32_t ticket) override {
    if (behaviour_.refuse_channels) {
      events_.emplace_back(ChannelRefused{ticket, -1});
      return;
    }
    events_.emplace_back(ChannelOpened{ticket, ++last_channel_});
    till_.channel_opened(last_channel_, now_);
  }
  void send(rdpeusb::ChannelId channel, ByteView message) override {
    till_.receive(channel, message, now_);
  }
  void close_channel(rdpeusb::ChannelId channel) override { till_.channel_closed(channel, now_); }
  Status flush() override { return {}; }
  [[nodiscard]] bool write_blocked() const override { return false; }
  void say_goodbye() override {}

 private:
  void drain() {
    for (bool moved = true; moved;) {
      moved = false;
      while (auto output = till_.poll()) {
        moved = true;
        if (auto* send = std::get_if<rdpeusb::TillRole::SendMessage>(&*output)) {
          events_.emplace_back(Message{send->channel, std::move(send->message)});
        } else if (auto* close = std::get_if<rdpeusb::TillRole::CloseChannel>(&*output)) {
          events_.emplace_back(ChannelClosed{close->channel});
          till_.channel_closed(close->channel, now_);
        } else if (auto* submit = std::get_if<rdpeusb::TillRole::Submit>(&*output)) {
          stick_->submit(std::move(submit->transfer), now_);
        } else if (auto* cancel = std::get_if<rdpeusb::TillRole::Cancel>(&*output)) {
          stick_->cancel(cancel->transfer, now_);
        } else if (std::holds_alternative<rdpeusb::TillRole::DeviceInSession>(*output)) {
          gone_ = behaviour_.goes_away_after_announcing;
        }
      }
      for (auto& completion : completions_of(*stick_, now_)) {
        moved = true;
        till_.complete(1, std::move(completion), now_);
      }
    }
  }

  std::unique_ptr<simulator::Device> stick_;
  Behaviour behaviour_;
  Descriptor wake_;  ///< always readable: the session never sleeps
  rdpeusb::TillRole till_;
  std::deque<Event> events_;
  rdpeusb::ChannelId last_channel_ = 0;
  Instant now_{1};
  bool gone_ = false;
};

class SessionTest : public testing::Test {
 protected:
  SessionOutcome run(std::unique_ptr<simulator::Device> stick, PlayedTill::Behaviour behaviour,
                     probe::Options options) {
    options.patience = std::chrono::seconds(2);
    auto till = std::make_unique<PlayedTill>(std::move(stick), behaviour);
    Session session(1, std::move(till), std::make_unique<probe::ProbeSink>(std::move(options)),
                    rules_, reporter_, stop_.get());
    return session.run([this] { activated_ = true; });
  }

  /// What a session that writes 0x5A to a stick puts down.
  std::string transcript_of_a_write(bool with_data) {
    // Its own, since tests run side by side.
    const std::string path =
        testing::TempDir() + "session-transcript-" + std::to_string(::getpid()) + ".jsonl";
    rules_.transcript = *TranscriptFile::create(path, with_data);
    probe::Options options;
    options.writes.push_back({"data", 8192, std::make_shared<Bytes>(512, 0x5A)});
    EXPECT_EQ(run(simulated_disk(), {}, options).success, true);
    rules_.transcript.reset();
    std::ifstream file(path);
    std::string text(std::istreambuf_iterator<char>(file), {});
    std::filesystem::remove(path);
    return text;
  }

  Session::Rules rules_;
  Reporter reporter_{false};
  Descriptor stop_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  bool activated_ = false;
};

TEST_F(SessionTest, AStickIsProbedThroughTheChannel) {
  probe::Options options;
  auto data = std::make_shared<Bytes>(1U << 17U, 0x5A);
  options.writes.push_back({"data", 8192, data});
  options.reads.push_back({8192, 256});
  options.bench_rounds = 3;
  const SessionOutcome outcome = run(simulated_disk(), {}, options);
  EXPECT_TRUE(outcome.activated);
  EXPECT_TRUE(activated_);
  EXPECT_EQ(outcome.success, true);
}

TEST_F(SessionTest, ASerialPortIsProbedThroughTheChannel) {
  EXPECT_EQ(run(simulated_serial(), {}, {}).success, true);
}

TEST_F(SessionTest, TheWindowsProfileDisturbsNothing) {
  rules_.profile = rdpeusb::Profile::windows;
  EXPECT_EQ(run(simulated_serial(), {}, {}).success, true);
  const std::string text = transcript_of_a_write(false);  // a probe whose verdict is good
  EXPECT_NE(text.find("RETRACT_DEVICE"), std::string::npos) << "leave was taken";
  EXPECT_EQ(text.find("UNDECODABLE"), std::string::npos);
}

TEST_F(SessionTest, AWrongAnswerFailsTheVerdict) {
  probe::ProbeSink sink({});
  sink.wrong_answer();
  sink.device_arrived(SessionDevice{1, {}, {}}, Instant(0));  // of no class that has a probe: good
  std::optional<bool> verdict;
  while (auto output = sink.poll()) {
    if (const auto* told = std::get_if<Sink::Verdict>(&*output)) verdict = told->success;
  }
  EXPECT_EQ(verdict, false);
}

TEST_F(SessionTest, WithoutChannelsNoDeviceComes) {
  PlayedTill::Behaviour behaviour;
  behaviour.channels = false;
  EXPECT_EQ(run(simulated_disk(), behaviour, {}).success, false);
}

TEST_F(SessionTest, RefusedChannelsBringNoDevice) {
  PlayedTill::Behaviour behaviour;
  behaviour.refuse_channels = true;
  EXPECT_EQ(run(simulated_disk(), behaviour, {}).success, false);
}

TEST_F(SessionTest, AClientThatGoesAwayLeavesNoVerdict) {
  PlayedTill::Behaviour behaviour;
  behaviour.goes_away_after_announcing = true;
  const SessionOutcome outcome = run(simulated_disk(), behaviour, {});
  EXPECT_TRUE(outcome.activated);
  EXPECT_FALSE(outcome.success.value_or(false));
}

TEST_F(SessionTest, TheTranscriptHasEveryMessageAndNoData) {
  const std::string text = transcript_of_a_write(false);
  const auto count = [&text](const std::string& part) {
    int found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count(R"("event":"opened")"), 2);
  EXPECT_EQ(count(R"("message":"ADD_DEVICE")"), 1);
  EXPECT_EQ(count("UNDECODABLE"), 0);
  EXPECT_GT(count(R"("message":"TRANSFER_OUT_REQUEST")"), 1);
  EXPECT_EQ(
      count(R"("message":"TRANSFER_IN_REQUEST")") + count(R"("message":"TRANSFER_OUT_REQUEST")"),
      count(R"("message":"URB_COMPLETION")") + count(R"("message":"URB_COMPLETION_NO_DATA")"));
  // The data is there as its length, and the same data as the same digest: written and read back.
  EXPECT_EQ(count("5a5a5a5a"), 0);
  const auto written = text.find(R"("OutputBuffer":{"bytes":512)");
  ASSERT_NE(written, std::string::npos);
  EXPECT_EQ(count(text.substr(written, text.find('}', written) - written)), 2);
  // Descriptors are no secret.
  EXPECT_GT(count("GET_DESCRIPTOR_FROM_DEVICE (0x000B): success"), 0);
  EXPECT_GT(count(R"("OutputBuffer":"1201)"), 0);
}

TEST_F(SessionTest, TheTranscriptHasTheDataOnRequest) {
  EXPECT_NE(transcript_of_a_write(true).find("5a5a5a5a"), std::string::npos);
}

TEST_F(SessionTest, StopsWhenAsked) {
  const std::uint64_t one = 1;
  ASSERT_EQ(::write(stop_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  EXPECT_FALSE(run(simulated_disk(), {}, {}).success.has_value());
}

}  // namespace
}  // namespace tillbridge::terminal
