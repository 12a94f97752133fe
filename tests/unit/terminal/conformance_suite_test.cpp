// A run of conformance cases over RDP clients that come, misbehave and go.
#include <chrono>
#include <deque>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"
#include "server/terminal/conformance/rdp_client.hpp"
#include "server/terminal/conformance/suite.hpp"
#include "server/terminal/listening.hpp"

namespace tillbridge::terminal::conformance {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

/// What a test's client does; outlives the peer.
struct Script {
  bool channels = true, refuses = false, answers_openings = true;
  std::deque<RdpPeer::Event> events;       ///< one for each round
  std::optional<std::string> goodbye;      ///< it leaves once `events` is empty
  std::vector<rdpeusb::ChannelId> closed;  ///< by the server
  std::vector<std::uint32_t> asked;        ///< tickets
};

class ScriptedPeer final : public RdpPeer {
 public:
  explicit ScriptedPeer(Script& script) : script_(script) {
    ready_.emplace_back(Activated{});
    if (script_.channels) {
      ready_.emplace_back(ChannelsReady{});
    } else {
      ready_.emplace_back(ChannelsMissing{});
    }
  }
  void add_polled(std::vector<pollfd>& polled) const override {
    polled.push_back(pollfd{wake_.get(), POLLIN, 0});
  }
  [[nodiscard]] bool input_pending() const override {
    return !ready_.empty() || !script_.events.empty() || script_.goodbye.has_value();
  }
  Status service() override {
    if (!script_.events.empty()) {
      ready_.push_back(std::move(script_.events.front()));
      script_.events.pop_front();
    } else if (script_.goodbye) {
      return fail(ErrorCode::unavailable, *script_.goodbye);
    }
    return {};
  }
  std::optional<Event> poll() override {
    if (ready_.empty()) return std::nullopt;
    Event event = std::move(ready_.front());
    ready_.pop_front();
    return event;
  }
  void open_channel(std::uint32_t ticket) override {
    script_.asked.push_back(ticket);
    if (script_.refuses) {
      ready_.emplace_back(ChannelRefused{ticket, -1});
    } else if (script_.answers_openings) {
      script_.events.emplace_front(ChannelOpened{ticket, ticket});
    }
  }
  void send(rdpeusb::ChannelId, ByteView) override {}
  void close_channel(rdpeusb::ChannelId channel) override { script_.closed.push_back(channel); }
  Status flush() override { return {}; }
  [[nodiscard]] bool write_blocked() const override { return false; }
  void say_goodbye() override {}

 private:
  Script& script_;
  std::deque<Event> ready_;
  Descriptor wake_{::eventfd(0, EFD_CLOEXEC)};
};

class Line : public testing::Test {
 protected:
  void stop() {
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(stop_.get(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  }
  Script script_;
  Reporter reporter_{false};
  Descriptor stop_{::eventfd(0, EFD_CLOEXEC)};
};

class RdpClientTest : public Line {
 protected:
  ClientLine line_{1, std::make_unique<ScriptedPeer>(script_), reporter_, nullptr, stop_.get()};
  RdpClient client_{line_};
};

TEST_F(RdpClientTest, AnOpenedChannelSpeaksUntilItIsClosed) {
  const auto channel = client_.open_channel(1s);
  ASSERT_TRUE(channel.has_value());
  script_.events = {RdpPeer::Message{*channel, {1}}, RdpPeer::Message{*channel + 1, {2}},
                    RdpPeer::ChannelClosed{*channel}, RdpPeer::Message{*channel, {3}}};
  const auto first = client_.next(1s);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(std::get<Client::Message>(*first).bytes, Bytes{1});
  const auto second = client_.next(1s);
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(std::holds_alternative<Client::Closed>(*second));
  EXPECT_FALSE(client_.next(1ms).has_value()) << "not of a channel that is open";
}

TEST_F(RdpClientTest, TheServersOwnCloseBringsNothingBack) {
  const auto channel = client_.open_channel(1s);
  ASSERT_TRUE(channel.has_value());
  client_.close_channel(*channel);
  EXPECT_EQ(script_.closed, std::vector{*channel});
  script_.events = {RdpPeer::Message{*channel, {1}}, RdpPeer::ChannelClosed{*channel}};
  EXPECT_FALSE(client_.next(1ms).has_value());
  EXPECT_FALSE(client_.next(1ms).has_value());
}

TEST_F(RdpClientTest, AChannelThatOpensTooLateIsClosed) {
  script_.answers_openings = false;
  EXPECT_FALSE(client_.open_channel(1ms).has_value());
  ASSERT_EQ(script_.asked.size(), 1U);
  script_.events = {RdpPeer::ChannelOpened{script_.asked[0], 77}, RdpPeer::Message{77, {1}}};
  EXPECT_FALSE(client_.next(1ms).has_value());
  EXPECT_FALSE(client_.next(1ms).has_value());
  EXPECT_EQ(script_.closed, std::vector<rdpeusb::ChannelId>{77});
}

TEST_F(RdpClientTest, ARefusedChannelIsNotWaitedFor) {
  script_.refuses = true;
  EXPECT_FALSE(client_.open_channel(1h).has_value());
}

TEST_F(RdpClientTest, NothingIsWaitedForOnceTheClientIsGone) {
  const auto channel = client_.open_channel(1s);
  ASSERT_TRUE(channel.has_value());
  script_.events = {RdpPeer::Message{*channel, {1}}};
  script_.goodbye = "the client disconnected";
  EXPECT_TRUE(std::holds_alternative<Client::Message>(*client_.next(1h)));
  EXPECT_TRUE(std::holds_alternative<Client::Gone>(*client_.next(1h)));
  EXPECT_TRUE(std::holds_alternative<Client::Gone>(*client_.next(1h)));
  EXPECT_FALSE(client_.open_channel(1h).has_value());
}

TEST_F(RdpClientTest, AClientThatFloodsIsCutOff) {
  const auto channel = client_.open_channel(1s);
  ASSERT_TRUE(channel.has_value());
  script_.answers_openings = false;
  for (std::size_t bytes = 0; bytes <= limits::terminal_kept_bytes; bytes += 1U << 20U)
    script_.events.emplace_back(RdpPeer::Message{*channel, Bytes(1U << 20U)});
  EXPECT_FALSE(client_.open_channel(1h).has_value());
  EXPECT_TRUE(line_.ended());
}

TEST_F(RdpClientTest, NothingOfACaseIsLeftForTheNext) {
  const auto channel = client_.open_channel(1s);
  ASSERT_TRUE(channel.has_value());
  script_.answers_openings = false;
  script_.events = {RdpPeer::Message{*channel, {1}}};
  EXPECT_FALSE(client_.open_channel(1ms).has_value());
  client_.start_anew();
  EXPECT_EQ(script_.closed, std::vector{*channel});
  EXPECT_FALSE(client_.next(1ms).has_value());
}

constexpr Case good{"Good", "Passes.", true, Device::any,
                    [](Client&, const Settings&) -> Verdict { return {}; }};
constexpr Case bad{"Bad", "Fails.", false, Device::any, [](Client&, const Settings&) -> Verdict {
                     return {Verdict::Kind::failed, {"a finding"}};
                   }};
constexpr Case patient{"Patient", "Waits for the client.", false, Device::any,
                       [](Client& client, const Settings&) -> Verdict {
                         const auto event = client.next(1h);
                         if (event && std::holds_alternative<Client::Gone>(*event))
                           return {Verdict::Kind::failed, {"the client left"}};
                         return {};
                       }};

class SuiteTest : public Line {
 protected:
  void make(std::vector<const Case*> cases, std::uint32_t per_session = 0) {
    Settings settings;
    settings.patience = 1s;
    suite_.emplace(SuiteOptions{std::move(cases), per_session, settings}, reporter_);
  }
  SessionOutcome session() {
    return suite_->run_session(++number_, std::make_unique<ScriptedPeer>(script_), nullptr,
                               stop_.get(), [this] { ++activated_; });
  }
  /// Everything that is reported on standard output while `act` runs.
  template <typename Act>
  static std::string reported(Act act) {
    testing::internal::CaptureStdout();
    act();
    return testing::internal::GetCapturedStdout();
  }
  std::optional<Suite> suite_;
  std::uint32_t number_ = 0;
  int activated_ = 0;
};

TEST_F(SuiteTest, RunsAllCasesInOneSession) {
  make({&good, &good});
  const SessionOutcome outcome = session();
  EXPECT_TRUE(outcome.activated && outcome.last);
  EXPECT_EQ(activated_, 1);
  EXPECT_TRUE(suite_->finish());
}

TEST_F(SuiteTest, OneFailedCaseFailsTheRunAndTheOthersGoOn) {
  reporter_ = Reporter(true);
  make({&bad, &good});
  const std::string text = reported([this] {
    EXPECT_TRUE(session().last);
    EXPECT_FALSE(suite_->finish());
  });
  EXPECT_THAT(text, HasSubstr(R"("case":"Bad","microsoft":false,"verdict":"failed",)"
                              R"("findings":["a finding"])"));
  EXPECT_THAT(text,
              HasSubstr(R"("case":"Good","microsoft":true,"verdict":"passed","findings":[])"));
  EXPECT_THAT(text, HasSubstr(R"("cases":2,"passed":1,"failed":1,"inconclusive":0,"not_run":0)"));
}

TEST_F(SuiteTest, ACaseForEachSession) {
  make({&good, &good}, 1);
  EXPECT_FALSE(session().last);
  EXPECT_TRUE(session().last);
  EXPECT_TRUE(suite_->finish());
}

TEST_F(SuiteTest, WhoLeavesHasFailedThatCaseAndTheNextClientGoesOn) {
  make({&patient, &good});
  script_.goodbye = "the client disconnected";
  script_.events = {RdpPeer::ChannelClosed{9}, RdpPeer::ChannelClosed{9}};
  EXPECT_FALSE(session().last);
  script_.goodbye.reset();
  EXPECT_TRUE(session().last);
  EXPECT_FALSE(suite_->finish());
}

TEST_F(SuiteTest, ACaseThatWasStoppedHalfwayWasNotRun) {
  reporter_ = Reporter(true);
  make({&patient});
  stop();
  const std::string text = reported([this] {
    EXPECT_FALSE(session().last);
    EXPECT_FALSE(suite_->finish());
  });
  EXPECT_THAT(text, HasSubstr(R"("failed":0,"inconclusive":0,"not_run":1)"));
}

TEST_F(SuiteTest, AClientWithoutChannelsIsAskedNothing) {
  make({&good});
  script_.channels = false;
  EXPECT_FALSE(session().last);
  EXPECT_FALSE(suite_->finish()) << "not run";
}

TEST(SelectCases, TakesGroupsAndNamesInTheirOrder) {
  const auto all = select_cases("all");
  const auto microsoft = select_cases("microsoft");
  const auto ours = select_cases("ours");
  ASSERT_TRUE(all.ok() && microsoft.ok());
  EXPECT_EQ(all->size(), all_cases().size());
  EXPECT_EQ(microsoft->size() + (ours ? ours->size() : 0), all->size());
  const auto named =
      select_cases("S3_EUSB_OperateIo_SelectConfiguration,BVT_EUSB_OperateDeviceChannel");
  ASSERT_TRUE(named.ok());
  ASSERT_EQ(named->size(), 2U);
  EXPECT_EQ((*named)[1]->name, "BVT_EUSB_OperateDeviceChannel");
  for (const char* wrong : {"", "all,", "BVT", "Microsoft"}) EXPECT_FALSE(select_cases(wrong).ok());
  EXPECT_THAT(select_cases("BVT").error().message, HasSubstr("--cases list"));
}

}  // namespace
}  // namespace tillbridge::terminal::conformance
