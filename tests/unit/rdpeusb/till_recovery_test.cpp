// Cancel, abort, halted pipes, port resets, time-outs, and registrations that come and go
// (rdpeusb.md 4.2 to 4.5).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/till_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using usb::TransferStatus;
namespace function = pdu::urb_function;
namespace status = pdu::usbd_status;
namespace code = pdu::io_control_code;

// --- cancel --------------------------------------------------------------------------------------

// FreeRDP 7527: a cancelled request that never completes.
TEST(TillRecovery, ACancelEndsInExactlyOneCompletion) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(0, talk.in_pipe, 512);
  const auto submit = talk.next_submit();
  talk.cancel(0);
  EXPECT_TRUE(talk.quiet(2)) << "not before the stick gave it back";
  talk.cancel(0);
  ASSERT_EQ(talk.cancelled.size(), 1U) << "one cancel is enough";
  EXPECT_EQ(talk.cancelled[0].transfer, submit.transfer.id);
  talk.end(submit, TransferStatus::cancelled);
  talk.expect_sent(
      2, "00000040 00000000 02010000 00000000 08000000 08000900 000001c0 e3030780 00000000");
  talk.cancel(0);   // finished
  talk.cancel(99);  // unknown
  EXPECT_TRUE(talk.quiet(2));
  EXPECT_EQ(talk.cancelled.size(), 1U);
}

TEST(TillRecovery, ACancelledRequestMayStillWin) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 512);
  talk.cancel(1);
  talk.complete_next(TransferStatus::success, Bytes(512, 7));
  EXPECT_EQ(talk.next_ended().data, Bytes(512, 7));
  talk.bulk_out(1, talk.out_pipe, Bytes(512));
  talk.cancel(1);
  talk.end(talk.next_submit(), TransferStatus::cancelled, {}, 64);
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, status::canceled);
  EXPECT_EQ(ended.size, 64U) << "what had gone out";
  talk.bulk_in(1, talk.in_pipe, 512);
  talk.cancel(1);
  talk.complete_next(TransferStatus::stall);
  EXPECT_EQ(talk.next_ended().status, status::stall_pid) << "the truth";
}

// Ids may be reused after completion: in order, a cancel cannot hit the wrong request.
TEST(TillRecovery, ACancelAfterTheCompletionHitsNothing) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 512);
  talk.complete_next(TransferStatus::success, Bytes(1));
  talk.cancel(1);
  talk.bulk_in(1, talk.in_pipe, 512);
  EXPECT_THAT(talk.cancelled, IsEmpty());
}

// Microsoft's suite sends its CANCEL_REQUEST to interface 0.
TEST(TillRecovery, ACancelForAnotherInterfaceIsIgnored) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 512);
  talk.say(2, "00000040 00000000 00010000 01000000");
  EXPECT_THAT(talk.cancelled, IsEmpty());
  EXPECT_TRUE(talk.quiet(2));
  EXPECT_THAT(talk.closed, IsEmpty());
}

TEST(TillRecovery, WhatHasNotReachedTheStickIsCancelledAtOnce) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_configuration(1, gadget_configuration(1), {Conversation::interface(0, 1)});
  talk.transfer_in(2, function::get_configuration, pdu::NoParameters{}, 1);
  talk.transfer_in(3, function::get_interface, pdu::GetInterfaceRequest{0, 0}, 1);
  talk.cancel(2);
  Ended ended = talk.next_ended();
  EXPECT_EQ(ended.request, 2U);
  EXPECT_EQ(ended.status, status::canceled);
  EXPECT_THAT(talk.cancelled, IsEmpty());
  // The same id again, behind the other.
  talk.transfer_in(2, function::get_configuration, pdu::NoParameters{}, 1);
  talk.complete_next();
  talk.complete_next();
  EXPECT_EQ(talk.next_ended().request, 1U);
  ASSERT_EQ(talk.submitted.size(), 2U);
  EXPECT_EQ(talk.submitted[0].transfer.setup.request, usb::request::get_interface);
  EXPECT_EQ(talk.submitted[1].transfer.setup.request, usb::request::get_configuration);
}

TEST(TillRecovery, ACancelBetweenTwoStepsStopsTheSequence) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_configuration(1, gadget_configuration(1), {Conversation::interface(0, 1)});
  talk.cancel(1);
  EXPECT_EQ(talk.cancelled.size(), 1U);
  talk.complete_next();  // SET_CONFIGURATION was through already
  EXPECT_THAT(talk.submitted, IsEmpty());
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, status::canceled);
  EXPECT_EQ(ended.body, pdu::TsUrbResult::Body(pdu::SelectConfigurationResult{}));
  // The last step done is the request done.
  talk.select_configuration(2, gadget_configuration(2), {Conversation::interface(0, 0)});
  talk.cancel(2);
  talk.complete_next();
  EXPECT_EQ(talk.next_ended().status, 0U);
}

// --- pipes ---------------------------------------------------------------------------------------

TEST(TillRecovery, AbortPipeCancelsThatPipeOnlyAndEndsLast) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_gadget();
  talk.bulk_in(1, talk.in_pipe, 64);
  talk.bulk_in(2, talk.in_pipe, 64);
  talk.bulk_in(3, talk.interrupt_pipe, 8);
  const auto first = talk.next_submit();
  const auto second = talk.next_submit();
  talk.next_submit();
  talk.forget();
  talk.pipe_request(4, function::abort_pipe, talk.in_pipe);
  EXPECT_THAT(talk.order, ElementsAre("cancel 1", "cancel 1")) << "and nothing on the bus";
  talk.bulk_in(5, talk.in_pipe, 64);
  const auto later = talk.next_submit();
  talk.end(second, TransferStatus::cancelled);
  talk.end(first, TransferStatus::cancelled);
  EXPECT_EQ(talk.next_ended().request, 2U);
  EXPECT_EQ(talk.next_ended().request, 1U);
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.request, 4U) << "after the completions of what it aborted";
  EXPECT_EQ(ended.status, 0U);
  EXPECT_TRUE(talk.quiet(2));
  talk.end(later, TransferStatus::success, Bytes(64));
  EXPECT_EQ(talk.next_ended().status, 0U) << "what came after the abort is not part of it";
  talk.pipe_request(6, function::abort_pipe, talk.in_pipe);
  EXPECT_EQ(talk.next_ended().request, 6U) << "nothing to abort";
}

TEST(TillRecovery, AnAbortMayBeCancelledItself) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 64);
  talk.pipe_request(2, function::abort_pipe, talk.in_pipe);
  talk.pipe_request(3, function::abort_pipe, talk.in_pipe);
  talk.cancel(2);
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.request, 2U);
  EXPECT_EQ(ended.status, status::canceled);
  talk.complete_next(TransferStatus::cancelled);
  EXPECT_EQ(talk.next_ended().request, 1U);
  EXPECT_EQ(talk.next_ended().request, 3U);
  EXPECT_TRUE(talk.quiet(2));
}

// FreeRDP 2842: a stick that stalls bulk and stays dead, as the stall was reported as success.
TEST(TillRecovery, AfterAStallThePipeIsHaltedUntilReset) {
  for (const std::uint16_t how : std::initializer_list<std::uint16_t>{0x1E, 0x31, 0x30}) {
    SCOPED_TRACE(how);
    Conversation talk;
    talk.bring_up(storage_stick());
    talk.select_storage();
    talk.bulk_in(1, talk.in_pipe, 64);
    talk.complete_next(TransferStatus::stall);
    EXPECT_EQ(talk.next_ended().status, status::stall_pid);
    talk.bulk_in(2, talk.in_pipe, 13);
    Ended ended = talk.next_ended();
    EXPECT_EQ(ended.status, status::endpoint_halted);
    EXPECT_EQ(ended.hresult, pdu::hresult::general_failure);
    EXPECT_THAT(talk.submitted, IsEmpty());
    talk.bulk_out(3, talk.out_pipe, Bytes(31));
    EXPECT_EQ(talk.submitted.size(), 1U) << "the other pipe is not concerned";
    talk.complete_next();
    talk.next_ended();

    talk.pipe_request(4, how, talk.in_pipe);
    if (how != function::sync_reset_pipe) {
      ASSERT_EQ(talk.submitted.size(), 1U);
      EXPECT_EQ(talk.submitted[0].transfer.setup, usb::clear_halt(0x81));
      talk.complete_next();
    }
    ended = talk.next_ended();
    EXPECT_EQ(ended.request, 4U);
    EXPECT_EQ(ended.function, how);
    EXPECT_EQ(ended.status, 0U);
    talk.bulk_in(5, talk.in_pipe, 13);
    talk.complete_next(TransferStatus::success, Bytes(13));
    EXPECT_EQ(talk.next_ended().status, 0U);
  }
}

TEST(TillRecovery, AClearThatFailsLeavesThePipeHalted) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 64);
  talk.complete_next(TransferStatus::stall);
  talk.pipe_request(2, function::sync_reset_pipe_and_clear_stall, talk.in_pipe);
  talk.complete_next(TransferStatus::stall);
  talk.forget();
  talk.bulk_in(3, talk.in_pipe, 64);
  EXPECT_EQ(talk.next_ended().status, status::endpoint_halted);
  // CLEAR_FEATURE by another way does it as well.
  talk.transfer_in(4, function::clear_feature_to_endpoint, pdu::FeatureRequest{0, 0x81}, 0);
  talk.complete_next();
  talk.forget();
  talk.bulk_in(5, talk.in_pipe, 64);
  EXPECT_EQ(talk.submitted.size(), 1U);
}

TEST(TillRecovery, AStallOnEndpointZeroHaltsNothing) {
  Conversation talk;
  talk.bring_up(storage_stick());
  for (std::uint32_t i = 0; i < 3; ++i) {
    talk.transfer_in(i, function::get_descriptor_from_device, pdu::DescriptorRequest{0, 6, 0}, 10);
    talk.complete_next(TransferStatus::stall);
    EXPECT_EQ(talk.next_ended().status, status::stall_pid);
  }
}

// --- CONTROL_TRANSFER_EX -------------------------------------------------------------------------

TEST(TillRecovery, TheTimeoutOfControlTransferExCancels) {
  Conversation talk;
  talk.bring_up(storage_stick());
  const pdu::ControlTransferEx transfer{0, 0xB, 250, {0xC0, 1, 0, 0, 4}};
  talk.transfer_in(1, function::control_transfer_ex, transfer, 4);
  ASSERT_EQ(talk.role.next_deadline(), talk.now + 250ms);
  talk.pass(249ms);
  EXPECT_THAT(talk.cancelled, IsEmpty());
  talk.pass(1ms);
  EXPECT_EQ(talk.cancelled.size(), 1U);
  EXPECT_EQ(talk.role.next_deadline(), std::nullopt);
  talk.complete_next(TransferStatus::cancelled);
  Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, status::timeout);
  EXPECT_EQ(ended.hresult, pdu::hresult::timeout);

  // It may win the race, too.
  talk.transfer_in(2, function::control_transfer_ex, transfer, 4);
  talk.pass(1s);
  talk.complete_next(TransferStatus::success, Bytes(4, 1));
  EXPECT_EQ(talk.next_ended().status, 0U);

  // And waiting for its turn counts.
  talk.select_configuration(3, storage_configuration(), {Conversation::interface(0)});
  talk.transfer_in(4, function::control_transfer_ex, transfer, 4);
  talk.pass(250ms);
  ended = talk.next_ended();
  EXPECT_EQ(ended.request, 4U);
  EXPECT_EQ(ended.status, status::timeout);
}

// --- port resets ---------------------------------------------------------------------------------

std::vector<usb::SetupPacket> run_all(Conversation& talk) {
  std::vector<usb::SetupPacket> setups;
  while (!talk.submitted.empty()) {
    EXPECT_EQ(talk.submitted.size(), 1U) << "one step at a time";
    setups.push_back(talk.submitted.front().transfer.setup);
    talk.complete_next();
  }
  return setups;
}

TEST(TillRecovery, ASoftenedResetOfStorageIsItsClassesOwn) {
  for (const std::uint32_t which : {code::reset_port, code::cycle_port}) {
    Conversation talk;
    talk.bring_up(storage_stick());
    talk.select_storage();
    talk.bulk_in(1, talk.in_pipe, 64);
    talk.complete_next(TransferStatus::stall);  // the pipe is halted now
    talk.bulk_out(2, talk.out_pipe, Bytes(31));
    talk.transfer_in(3, function::get_configuration, pdu::NoParameters{}, 1);
    const auto running = talk.next_submit();
    const auto control = talk.next_submit();
    talk.forget();
    talk.io_control(4, which, 0);
    EXPECT_THAT(talk.order, ElementsAre("cancel 1", "cancel 1")) << "first ends what runs";
    talk.bulk_in(5, talk.in_pipe, 13);  // handles stay valid; it waits
    talk.end(running, TransferStatus::cancelled);
    EXPECT_THAT(talk.submitted, IsEmpty());
    talk.end(control, TransferStatus::cancelled);
    EXPECT_EQ(talk.next_ended().request, 2U);
    EXPECT_EQ(talk.next_ended().request, 3U);
    std::vector<usb::SetupPacket> setups;
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(talk.submitted.size(), 1U);
      setups.push_back(talk.submitted[0].transfer.setup);
      EXPECT_TRUE(talk.quiet(2));
      talk.complete_next();
    }
    EXPECT_THAT(setups,
                ElementsAre(usb::bulk_only_reset(0), usb::clear_halt(0x81), usb::clear_halt(0x02)));
    talk.expect_sent(2, "00000040 00000000 00010000 04000000 00000000 00000000 00000000");
    ASSERT_EQ(talk.submitted.size(), 1U) << "and now the one that waited, no longer halted";
    EXPECT_EQ(talk.submitted[0].transfer.endpoint, 0x81);
  }
}

TEST(TillRecovery, ASoftenedResetOfAnythingElseDoesNothing) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_gadget();
  talk.bulk_in(1, talk.in_pipe, 64);
  talk.forget();
  talk.io_control(2, code::reset_port, 0);
  EXPECT_THAT(talk.order, ElementsAre("send 2"));
  EXPECT_EQ(talk.next_ended().hresult, 0U);
}

TEST(TillRecovery, AnUnconfiguredStickHasNothingToSoften) {
  Conversation talk;
  auto stick = storage_stick();
  stick.active_configuration = 0;
  talk.bring_up(stick);
  talk.io_control(2, code::reset_port, 0);
  EXPECT_EQ(talk.next_ended().hresult, 0U);
  EXPECT_THAT(talk.submitted, IsEmpty());
}

TEST(TillRecovery, ARefusedResetFails) {
  Conversation talk;
  talk.bring_up(storage_stick(), ResetPolicy::refuse);
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 64);
  talk.forget();
  talk.io_control(2, code::reset_port, 0);
  EXPECT_THAT(talk.order, ElementsAre("send 2"));
  EXPECT_EQ(talk.next_ended().hresult, pdu::hresult::not_supported);
}

TEST(TillRecovery, APassedResetRestoresTheConfiguration) {
  Conversation talk;
  talk.bring_up(gadget(), ResetPolicy::pass);
  talk.select_gadget();
  talk.io_control(1, code::reset_port, 0);
  EXPECT_THAT(run_all(talk),
              ElementsAre(usb::port_reset(), usb::set_configuration(1), usb::set_interface(0, 1)));
  EXPECT_EQ(talk.next_ended().hresult, 0U);
  talk.bulk_in(2, talk.in_pipe, 64);
  EXPECT_EQ(talk.submitted.size(), 1U) << "handles stay valid";
}

TEST(TillRecovery, AResetThatFailsSaysSo) {
  Conversation talk;
  talk.bring_up(storage_stick(), ResetPolicy::pass);
  talk.io_control(1, code::reset_port, 0);
  talk.complete_next(TransferStatus::error);
  EXPECT_THAT(talk.submitted, IsEmpty());
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.hresult, pdu::hresult::general_failure);
  EXPECT_EQ(ended.size, 0U);
  talk.transfer_in(2, function::get_configuration, pdu::NoParameters{}, 1);
  EXPECT_EQ(talk.submitted.size(), 1U) << "and nothing waits for it";
}

TEST(TillRecovery, AResetEndsASelectThatHangs) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_configuration(1, storage_configuration(), {Conversation::interface(0)});
  const auto hanging = talk.next_submit();
  talk.transfer_in(2, function::get_configuration, pdu::NoParameters{}, 1);
  talk.io_control(3, code::reset_port, 0);
  EXPECT_EQ(talk.next_ended().request, 2U) << "had not reached the stick";
  talk.io_control(4, code::reset_port, 0);  // waits for the first one
  talk.transfer_in(5, function::get_configuration, pdu::NoParameters{}, 1);
  talk.end(hanging, TransferStatus::cancelled);
  Ended ended = talk.next_ended();
  EXPECT_EQ(ended.request, 1U);
  EXPECT_EQ(ended.status, status::canceled);
  for (int i = 0; i < 3; ++i) talk.complete_next();
  EXPECT_EQ(talk.next_ended().request, 3U);
  for (int i = 0; i < 3; ++i) talk.complete_next();
  EXPECT_EQ(talk.next_ended().request, 4U);
  ASSERT_EQ(talk.submitted.size(), 1U) << "what came after the second reset outlives it";
  talk.complete_next(TransferStatus::success, {1});
  EXPECT_EQ(talk.next_ended().request, 5U);
}

// The select is cancelled by the reset, and wins: what the stick has then counts.
TEST(TillRecovery, AResetIsPlannedOnceWhatItEndedHasEnded) {
  for (const ResetPolicy policy : {ResetPolicy::soften, ResetPolicy::pass}) {
    Conversation talk;
    auto stick = storage_stick();
    stick.configurations.push_back(parse(gadget_configuration(2)));
    talk.bring_up(stick, policy);
    talk.select_storage();
    talk.select_configuration(1, gadget_configuration(2), {Conversation::interface(0, 0, 1)});
    talk.io_control(2, pdu::io_control_code::reset_port, 0);
    talk.complete_next();  // SET_CONFIGURATION 2
    EXPECT_EQ(talk.next_ended().status, 0U);
    if (policy == ResetPolicy::pass) {
      auto submit = talk.next_submit();
      EXPECT_EQ(submit.transfer.setup, usb::port_reset());
      talk.end(submit, TransferStatus::success);
      EXPECT_EQ(talk.next_submit().transfer.setup, usb::set_configuration(2));
      continue;
    }
    EXPECT_TRUE(talk.submitted.empty()) << "no storage in it";
    EXPECT_EQ(talk.next_ended().hresult, 0U);
  }
}

/// What it undid was not established again, so nobody knows which endpoints the stick has.
TEST(TillRecovery, AResetThatIsLeftHalfDoneEndsAllHandles) {
  for (const TransferStatus status : {TransferStatus::error, TransferStatus::cancelled}) {
    Conversation talk;
    talk.bring_up(gadget(), ResetPolicy::pass);
    talk.select_gadget();
    talk.io_control(1, pdu::io_control_code::reset_port, 0);
    talk.complete_next();  // the reset
    talk.complete_next();  // SET_CONFIGURATION 1
    if (status == TransferStatus::cancelled) talk.cancel(1);
    talk.complete_next(status);  // SET_INTERFACE 0, 1
    EXPECT_NE(talk.next_ended().hresult, 0U);
    talk.bulk_in(2, talk.in_pipe, 64);
    EXPECT_NE(talk.next_ended().status, 0U);
    EXPECT_TRUE(talk.submitted.empty()) << "the endpoint is that of another setting";
    talk.select_gadget();
    talk.bulk_in(3, talk.in_pipe, 64);
    EXPECT_EQ(talk.submitted.size(), 1U);
  }
}

TEST(TillRecovery, ADriverStackThatGoesInTheMiddleOfAResetLeavesNoHandles) {
  Conversation talk;
  talk.bring_up(gadget(), ResetPolicy::pass);
  talk.select_gadget();
  talk.io_control(1, pdu::io_control_code::reset_port, 0);
  talk.complete_next();  // the reset
  talk.complete_next();  // SET_CONFIGURATION 1
  talk.register_callback(0);
  talk.register_callback();
  talk.bulk_in(2, talk.in_pipe, 64);
  talk.complete_next(TransferStatus::cancelled);  // SET_INTERFACE 0, 1
  EXPECT_NE(talk.next_ended().status, 0U);
  EXPECT_TRUE(talk.submitted.empty()) << "the endpoint is that of another setting";
}

TEST(TillRecovery, AResetMayBeCancelled) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 64);
  talk.io_control(2, code::reset_port, 0);
  talk.cancel(2);
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.request, 2U);
  EXPECT_EQ(ended.hresult, pdu::hresult::aborted);
  talk.complete_next(TransferStatus::cancelled);
  EXPECT_EQ(talk.next_ended().request, 1U);
  EXPECT_THAT(talk.submitted, IsEmpty());
  talk.bulk_in(3, talk.in_pipe, 64);
  EXPECT_EQ(talk.submitted.size(), 1U);
}

// --- registration --------------------------------------------------------------------------------

TEST(TillRecovery, RequestsBeforeRegistrationAreIgnored) {
  Conversation talk;
  talk.add(1, storage_stick());
  talk.open(1);
  talk.handshake(1);
  talk.open(2);
  talk.handshake(2);
  talk.forget();
  talk.transfer_in(1, function::get_configuration, pdu::NoParameters{}, 1);
  talk.io_control(2, code::get_port_status, 4);
  talk.io_control(3, code::reset_port, 0);
  talk.say(2, "04000040 00000000 05010000 0c000000 0d000b00 07000000 00010000 12000000");
  talk.cancel(1);
  EXPECT_THAT(talk.order, IsEmpty());
}

// Windows tears a wrong driver's stack down and registers again for the next one.
TEST(TillRecovery, CountZeroStopsCompletionsAndALaterRegistrationWorks) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 512);
  talk.select_configuration(2, storage_configuration(), {Conversation::interface(0)});
  const auto old = talk.next_submit();
  talk.transfer_in(3, function::get_configuration, pdu::NoParameters{}, 1);
  talk.forget();
  talk.register_callback(0);
  EXPECT_THAT(talk.order, IsEmpty()) << "already cancelled, and nothing is sent";
  talk.io_control(4, code::get_port_status, 4);
  EXPECT_THAT(talk.order, IsEmpty());

  talk.completion_interface = 9;
  talk.register_callback(1);
  EXPECT_THAT(talk.order, IsEmpty()) << "DeviceInSession comes once for a channel";
  talk.transfer_in(1, function::get_configuration, pdu::NoParameters{}, 1);
  EXPECT_EQ(talk.submitted.size(), 1U) << "nothing of the old requests holds it back";
  talk.end(old, TransferStatus::cancelled);
  EXPECT_TRUE(talk.quiet(2)) << "the end of an old transfer is swallowed";
  talk.complete_next(TransferStatus::success, {1});
  talk.expect_sent(2,
                   "09000040 00000000 01010000 01000000 08000000 08002600 00000000 00000000 "
                   "01000000 01");
}

TEST(TillRecovery, TheNewestRegistrationWinsAlsoForWhatRuns) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.transfer_in(1, function::get_configuration, pdu::NoParameters{}, 1);
  // Its top two bits are to be ignored.
  talk.say(2, "04000040 00000000 01010000 01000000 030000c0");
  talk.complete_next(TransferStatus::success, {1});
  talk.expect_sent(2,
                   "03000040 00000000 01010000 01000000 08000000 08002600 00000000 00000000 "
                   "01000000 01");
}

TEST(TillRecovery, CompletionInterfaceIdsMayBeAnyNumber) {
  for (const std::uint32_t id : {0U, 1U, 3U, 4U, 0x3FFFFFFFU}) {
    Conversation talk;
    talk.completion_interface = id;
    talk.bring_up(storage_stick());
    talk.io_control(1, code::get_port_status, 4);
    const Bytes message = talk.next_sent(2);
    EXPECT_EQ(ByteReader(message).u32le(), 0x40000000U | id);
  }
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
