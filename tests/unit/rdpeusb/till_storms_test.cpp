// A server that says what it may not say now, says it twice, or says it a thousand times.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/till_two_sticks.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using usb::TransferStatus;
namespace function = pdu::urb_function;
namespace status = pdu::usbd_status;

// --- the wrong moment ----------------------------------------------------------------------------

/// How far a channel's handshake is.
enum class Phase : std::uint8_t { opened, capabilities, created, announced, registered, ended };

void advance(Conversation& talk, ChannelId channel, Phase to) {
  if (to >= Phase::capabilities) talk.say(channel, pdu::encode(pdu::CapabilityRequest{}));
  if (to >= Phase::created) {
    talk.say(channel, pdu::encode(pdu::ChannelCreated{}, pdu::Sender::server));
  }
  if (to >= Phase::announced) {
    talk.say(channel, pdu::encode(pdu::ReleaseInterface{{2, 0}, pdu::Mask::proxy}));
  }
  if (channel == 2 && to >= Phase::registered) talk.register_callback();
  if (channel == 2 && to >= Phase::ended) talk.register_callback(0);
}

// Each message in each phase of either kind of channel, twice. Nothing reaches the stick, nobody
// else's channel is touched, and what was harmless does not keep the handshake from its end.
TEST(TillStorms, EveryMessageInEveryPhase) {
  for (const ChannelId channel : {1U, 2U}) {
    for (const Phase phase :
         {Phase::opened, Phase::capabilities, Phase::created, Phase::announced, Phase::ended}) {
      for (const Named& named : every_shape()) {
        SCOPED_TRACE(named.name + " on channel " + std::to_string(channel) + " in phase " +
                     std::to_string(static_cast<int>(phase)));
        Conversation talk;
        talk.add(1, gadget());
        talk.open(1);
        if (channel == 2) {
          talk.handshake(1);
          talk.open(2);
        }
        advance(talk, channel, phase);
        talk.forget();
        talk.say(channel, named.message);
        talk.say(channel, named.message);
        EXPECT_THAT(talk.submitted, IsEmpty());
        for (const auto& close : talk.closed) EXPECT_EQ(close.channel, channel);
        if (!talk.closed.empty()) {
          // Only a retraction of what was announced.
          EXPECT_EQ(channel, 2U);
          EXPECT_EQ(named.name, "retract");
          EXPECT_GE(phase, Phase::announced);
          continue;
        }
        if (channel == 1) advance(talk, 1, Phase::announced);
        if (channel == 1) talk.open(2);
        advance(talk, 2, Phase::registered);
        talk.select_configuration(1, gadget_configuration(1), {Conversation::interface(0, 0)});
        EXPECT_EQ(talk.submitted.size(), 1U) << "the stick is in the session";
        if (HasFailure()) return;
      }
    }
  }
}

TEST(TillStorms, AClosedChannelIsDeadForEveryMessage) {
  for (const bool by_us : {true, false}) {
    TwoSticks sticks;
    sticks->closes_at_once = false;
    if (by_us) {
      sticks->retract();
    } else {
      sticks->server_closes(2);
    }
    sticks->forget();
    for (const Named& named : every_shape()) sticks->say(2, named.message);
    EXPECT_THAT(sticks->order, IsEmpty());
    EXPECT_THAT(sticks->events, IsEmpty());
    sticks.expect_other_alive();
  }
}

// --- twice ---------------------------------------------------------------------------------------

/// Something that stays outstanding under request id 9.
const std::vector<Named>& lasting() {
  static const std::vector<Named> messages{
      {"bulk in", transfer_message(function::bulk_or_interrupt_transfer, true, 9)},
      {"bulk out", transfer_message(function::bulk_or_interrupt_transfer, false, 9)},
      {"control", transfer_message(function::control_transfer, true, 9)},
      {"control ex", transfer_message(function::control_transfer_ex, true, 9)},
      {"select configuration", transfer_message(function::select_configuration, true, 9)},
      {"select interface", transfer_message(function::select_interface, true, 9)},
      {"os descriptor", transfer_message(function::get_ms_feature_descriptor, true, 9)},
      {"clear stall", transfer_message(function::sync_clear_stall, true, 9)},
  };
  return messages;
}

// Whatever runs under an id, and whatever comes under the same: to complete either would be to
// guess. The malformed counts as well, since it would be answered under that id.
TEST(TillStorms, ARequestIdInUseClosesTheChannelWhateverItIsUsedFor) {
  std::vector<Named> second = every_shape();
  second.push_back({"unknown function", transfer_message(0x16, true, 9)});
  for (const Named& running : lasting()) {
    for (const Named& twice : second) {
      const Duty duty = duty_of(twice.message, 4);
      if (duty.kind != Duty::Kind::completion) continue;
      SCOPED_TRACE(running.name + ", then " + twice.name);
      TwoSticks sticks;
      sticks->say(2, running.message);
      ASSERT_EQ(sticks->submitted.size(), 1U);
      const auto submit = sticks->next_submit();
      sticks->forget();
      sticks->say(2, twice.message);
      EXPECT_THAT(sticks->order, ElementsAre("close 2", "cancel 1", "left session 1"));
      sticks.expect_closed();
      EXPECT_THAT(sticks->closed[0].reason, HasSubstr("request id 9"));
      sticks->forget();
      sticks->end(submit, TransferStatus::success, Bytes());
      EXPECT_THAT(sticks->order, IsEmpty());
      sticks.expect_other_alive();
      if (HasFailure()) return;
    }
  }
}

// --- many times ----------------------------------------------------------------------------------

// Far more than is allowed, of each kind at once. Those above the limit are answered at once, all
// others when they end; each exactly once.
TEST(TillStorms, ThousandsOfRequestsAreEachCompletedOnce) {
  constexpr std::uint32_t requests = 5000;
  TwoSticks sticks;
  const std::vector<std::uint16_t> kinds{function::bulk_or_interrupt_transfer,
                                         function::control_transfer, function::vendor_device,
                                         function::sync_clear_stall};
  std::map<std::uint32_t, int> completed;
  const auto count = [&] {
    for (const Bytes& message : sticks->sent[2]) ++completed[TwoSticks::request_of(message)];
    sticks->sent[2].clear();
  };
  for (std::uint32_t id = 0; id < requests; ++id) {
    sticks->say(2, transfer_message(kinds[id % kinds.size()], id % 8 < 4, id));
  }
  count();
  EXPECT_EQ(sticks->submitted.size(), limits::transfers_in_flight_per_device);
  EXPECT_EQ(completed.size(), requests - limits::transfers_in_flight_per_device);
  sticks.expect_other_untouched();
  for (std::uint32_t id = 0; id < requests; id += 2) sticks->cancel(id);
  for (int round = 0; round < 3; ++round) {
    while (!sticks->submitted.empty()) {
      const auto submit = sticks->next_submit();
      TwoSticks::expect_allowed(submit);
      sticks->end(submit, round == 0 ? TransferStatus::cancelled : TransferStatus::success,
                  submit.transfer.in() ? Bytes(submit.transfer.length) : Bytes());
    }
  }
  count();
  EXPECT_EQ(completed.size(), requests);
  for (const auto& [id, times] : completed) EXPECT_EQ(times, 1) << id;
  EXPECT_THAT(sticks->closed, IsEmpty());
  sticks.expect_other_alive();
}

// A stick that answers nothing makes everything wait: what waits is bounded in bytes, too.
TEST(TillStorms, WhatWaitsIsBoundedInBytes) {
  TwoSticks sticks;
  constexpr std::size_t reads =
      limits::transfer_bytes_in_flight_per_device / limits::transfer_bytes - 1;
  for (std::uint32_t id = 0; id < reads; ++id) {
    sticks->bulk_in(id, sticks->in_pipe, limits::transfer_bytes);
  }
  // 4 MiB are left. Each of these lists 54 KB of pipes and waits for the one before it.
  const std::vector<pdu::InterfaceInformation> list(150, Conversation::interface(0, 1, 30));
  sticks->sent[2].clear();
  for (std::uint32_t id = 100; id < 200; ++id) {
    sticks->select_configuration(id, gadget_configuration(1), list);
  }
  EXPECT_GT(sticks->sent[2].size(), 20U) << "above the limit, and answered at once";
  EXPECT_LT(sticks->sent[2].size(), 40U);
  // And the data of transfers alone.
  sticks.start();
  for (std::uint32_t id = 0; id < 20; ++id)
    sticks->bulk_in(id, sticks->in_pipe, limits::transfer_bytes);
  EXPECT_EQ(sticks->submitted.size(),
            limits::transfer_bytes_in_flight_per_device / limits::transfer_bytes);
  EXPECT_EQ(sticks->sent[2].size(), 20 - sticks->submitted.size());
  // Leaving them behind does not make room while the stick is still at it.
  sticks->register_callback(0);
  sticks->register_callback(1);
  sticks->sent[2].clear();
  sticks->bulk_in(100, sticks->in_pipe, limits::transfer_bytes);
  EXPECT_EQ(sticks->next_ended().status, status::insufficient_resources);
  const auto submitted = sticks->submitted;
  for (const auto& submit : submitted) sticks->end(submit, TransferStatus::cancelled);
  sticks->submitted.clear();
  sticks->bulk_in(101, sticks->in_pipe, limits::transfer_bytes);
  EXPECT_EQ(sticks->submitted.size(), 1U);
  sticks.expect_other_alive();
}

// Registered and unregistered over and over, with something started each time: it is cancelled
// once, never completed, and counts until the stick has let go of it.
TEST(TillStorms, RegistrationsThatComeAndGo) {
  TwoSticks sticks;
  sticks->forget();
  std::size_t answered = 0;
  for (std::uint32_t round = 0; round < 1500; ++round) {
    sticks->completion_interface = round;
    sticks->register_callback();
    sticks->register_callback();
    sticks->bulk_in(round, sticks->in_pipe, 64);
    answered += sticks->sent[2].size();
    sticks->sent[2].clear();
    sticks->register_callback(0);
    EXPECT_THAT(sticks->sent[2], IsEmpty());
  }
  EXPECT_EQ(sticks->submitted.size(), limits::transfers_in_flight_per_device);
  EXPECT_EQ(sticks->cancelled.size(), limits::transfers_in_flight_per_device);
  EXPECT_EQ(answered, 1500 - limits::transfers_in_flight_per_device);
  sticks.expect_other_untouched();
  EXPECT_THAT(sticks->closed, IsEmpty());
  const auto submitted = sticks->submitted;
  for (const auto& submit : submitted) sticks->end(submit, TransferStatus::success, Bytes(64));
  EXPECT_THAT(sticks->sent[2], IsEmpty());
  sticks.expect_other_alive();
}

// A driver stack goes away while the stick changes its configuration, and the next one comes at
// once. What that asks for must not be planned from the old configuration: a reset of its pipes
// would reach endpoints that the new one does not have.
TEST(TillStorms, ARegistrationWaitsForWhatTheOneBeforeLeftHalfDone) {
  TwoSticks sticks;
  sticks->select_configuration(1, gadget_configuration(2), {Conversation::interface(0)});
  const auto left_behind = sticks->next_submit();
  sticks->register_callback(0);
  sticks->register_callback(1);
  sticks->forget();
  sticks->transfer_in(2, function::clear_feature_to_endpoint, pdu::FeatureRequest{0, 0x81}, 0);
  sticks->transfer_in(3, function::get_configuration, pdu::NoParameters{}, 1);
  sticks->io_control(4, pdu::io_control_code::reset_port, 0);
  sticks->cancel(3);
  EXPECT_EQ(sticks->next_ended().request, 3U);
  sticks->bulk_in(5, sticks->in_pipe, 4);
  EXPECT_EQ(sticks->next_ended().status, status::invalid_pipe_handle);
  EXPECT_THAT(sticks->submitted, IsEmpty());
  sticks->end(left_behind, TransferStatus::success);
  EXPECT_EQ(sticks->next_ended().status, status::invalid_parameter) << "no 81 any more";
  EXPECT_EQ(sticks->next_ended().request, 4U);
  EXPECT_THAT(sticks->submitted, IsEmpty());
  sticks.expect_other_alive();
}

TEST(TillStorms, RetractionsThatNeverEnd) {
  TwoSticks sticks;
  sticks->bulk_in(1, sticks->in_pipe, 64);
  sticks->forget();
  sticks->closes_at_once = false;
  for (int i = 0; i < 1000; ++i) sticks->retract();
  EXPECT_THAT(sticks->order, ElementsAre("close 2", "cancel 1", "left session 1"));
  sticks->server_closes(2);
  sticks->server_closes(2);
  EXPECT_EQ(sticks->order.size(), 3U) << "it is not announced again by itself";
  sticks.expect_other_alive();
}

// A server may end the connection and come back as often as it likes. A stick that is still busy
// with what was before waits; the other one is there each time.
TEST(TillStorms, ControlChannelsThatComeAndGo) {
  Conversation talk;
  talk.add(1, gadget());
  talk.add(2, storage_stick("other"));
  std::deque<TillRole::Submit> busy;
  for (ChannelId control = 10; control < 2000; control += 10) {
    talk.forget();
    talk.open(control);
    talk.handshake(control);
    const bool first = busy.empty();
    EXPECT_EQ(talk.sent[control].size(), 3U) << "asks for one channel";
    talk.open(control + 1);
    talk.handshake(control + 1);
    EXPECT_EQ(talk.sent[control].size(), first ? 4U : 3U) << "and for a second one";
    ASSERT_EQ(talk.sent[control + 1].size(), 3U);
    const auto announced = pdu::decode_from_till(talk.sent[control + 1].back(), {});
    const auto& add = std::get<pdu::AddDevice>(announced.value());
    if (first) {
      talk.say(control + 1, pdu::encode(pdu::RegisterRequestCallback{{add.usb_device, 0}, 1, 0}));
      talk.say(control + 1, transfer_message(function::get_configuration, true, 1, add.usb_device));
      busy.push_back(talk.next_submit());
    }
    talk.server_closes(control);
    EXPECT_EQ(talk.closed.size(), 1U);
  }
  talk.forget();
  talk.end(busy.front(), TransferStatus::cancelled);
  talk.open(5);
  talk.handshake(5);
  talk.open(6);
  talk.open(7);
  talk.handshake(6);
  talk.handshake(7);
  EXPECT_EQ(talk.sent[6].size() + talk.sent[7].size(), 6U);
}

// A close while everything that can be under way is: a select between its steps, one that waits,
// an abort, requests held back behind a reset, a deadline.
TEST(TillStorms, ACloseWhileEverythingWaitsForEverything) {
  for (const bool unplugged : {true, false}) {
    TwoSticks sticks;
    sticks->bulk_in(1, sticks->in_pipe, 64);
    sticks->bulk_out(2, sticks->out_pipe, Bytes(64));
    sticks->pipe_request(3, function::abort_pipe, sticks->in_pipe);
    sticks->select_configuration(4, gadget_configuration(1), {Conversation::interface(0, 1)});
    sticks->select_configuration(5, gadget_configuration(2), {Conversation::interface(0, 0)});
    sticks->transfer_in(6, function::control_transfer_ex,
                        body_for(function::control_transfer_ex, true), 4);
    sticks->io_control(7, pdu::io_control_code::cycle_port, 0);
    sticks->pipe_request(8, function::sync_clear_stall, sticks->in_pipe);
    sticks->transfer_in(10, function::get_ms_feature_descriptor,
                        body_for(function::get_ms_feature_descriptor, true), 4);
    const auto submitted = sticks->submitted;
    EXPECT_EQ(submitted.size(), 2U) << "all else waits";
    sticks->forget();
    if (unplugged) {
      sticks->remove(1);
    } else {
      sticks->server_closes(2);
    }
    sticks->order.clear();
    sticks->pass(10s);
    for (const auto& submit : submitted) sticks->end(submit, TransferStatus::cancelled);
    EXPECT_THAT(sticks->order, IsEmpty());
    EXPECT_EQ(sticks->role.next_deadline(), std::nullopt);
    sticks.expect_other_alive();
    // Nothing of it is left: the stick comes back.
    sticks->add(unplugged ? 3 : 1, gadget());
    EXPECT_EQ(sticks->sent[1].size(), 1U);
  }
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
