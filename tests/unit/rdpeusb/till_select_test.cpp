// SELECT_CONFIGURATION, SELECT_INTERFACE, and the life of handles (rdpeusb.md 4.4).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/till_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using usb::TransferStatus;
namespace status = pdu::usbd_status;

using Interfaces = std::vector<pdu::InterfaceInformation>;

Interfaces list(std::initializer_list<std::pair<std::uint8_t, std::uint8_t>> settings) {
  Interfaces interfaces;
  for (const auto& [number, alternate] : settings) {
    interfaces.push_back(Conversation::interface(number, alternate));
  }
  return interfaces;
}

std::vector<usb::SetupPacket> run_all(Conversation& talk) {
  std::vector<usb::SetupPacket> setups;
  while (!talk.submitted.empty()) {
    EXPECT_EQ(talk.submitted.size(), 1U) << "one step at a time";
    setups.push_back(talk.submitted.front().transfer.setup);
    talk.complete_next();
  }
  return setups;
}

TEST(TillSelect, ConfigurationByteForByte) {
  Conversation talk;
  talk.bring_up(storage_stick());
  // Two interface entries' worth of padding is arbitrary; MaximumPacketSize 0 as Windows sends it.
  talk.say(2,
           "04000040 00000000 05010000 54000000 5400 0000 22000000 01 998877 01000000"
           "2400 0200 00 00 3412 02000000"
           "0000 cdab ffffffff 00000000"
           "0000 cdab 00000100 08000000"
           "0902200001010080320904000002080650000705810200020007050202000200"
           "00000000");
  EXPECT_THAT(run_all(talk), ElementsAre(usb::set_configuration(1)));
  talk.expect_sent(2,
                   "00000040 00000000 02010000 22000000 48000000"
                   "4800 0000 00000000 01000000 01000000"
                   "3800 00 00 08 06 50 00 02000000 02000000"
                   "0002 81 00 02000000 03000000 ffffffff 00000000"
                   "0002 02 00 02000000 04000000 00000100 08000000"
                   "00000000 00000000");
}

TEST(TillSelect, InterfaceByteForByte) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  ASSERT_EQ(talk.configuration, 1U);
  talk.say(2,
           "04000040 00000000 05010000 30000000 3000 0100 24000000 01000000"
           "2400 0200 00 00 3412 02000000"
           "0000 cdab ffffffff 00000000"
           "0000 cdab ffffffff 00000000"
           "00000000");
  EXPECT_THAT(run_all(talk), ElementsAre(usb::set_interface(0, 0)));
  talk.expect_sent(2,
                   "00000040 00000000 02010000 24000000 40000000"
                   "4000 0100 00000000"
                   "3800 00 00 08 06 50 00 05000000 02000000"
                   "0002 81 00 02000000 06000000 ffffffff 00000000"
                   "0002 02 00 02000000 07000000 ffffffff 00000000"
                   "00000000 00000000");
}

TEST(TillSelect, UnconfigureByteForByte) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.say(2, "04000040 00000000 05010000 10000000 1000 0000 22000000 00 998877 00000000 00000000");
  EXPECT_THAT(run_all(talk), ElementsAre(usb::set_configuration(0)));
  talk.expect_sent(2,
                   "00000040 00000000 02010000 22000000 10000000"
                   "1000 0000 00000000 00000000 00000000 00000000 00000000");
  talk.bulk_in(1, talk.in_pipe, 512);
  EXPECT_EQ(talk.next_ended().status, status::invalid_pipe_handle);
}

TEST(TillSelect, AlternatesAreSetWhereTheyAreNotZero) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_configuration(1, gadget_configuration(1), list({{1, 0}, {0, 1}}));
  EXPECT_THAT(run_all(talk), ElementsAre(usb::set_configuration(1), usb::set_interface(0, 1)));
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, 0U);
  const auto& result = std::get<pdu::SelectConfigurationResult>(ended.body);
  ASSERT_EQ(result.interfaces.size(), 2U) << "same order and count as asked";
  EXPECT_EQ(result.interfaces[0].interface_number, 1);
  EXPECT_EQ(result.interfaces[1].interface_number, 0);
  EXPECT_EQ(result.interfaces[1].alternate_setting, 1);
  ASSERT_EQ(result.interfaces[1].pipes.size(), 3U);
  EXPECT_EQ(result.interfaces[1].pipes[2].interval, 4);
  EXPECT_EQ(result.interfaces[1].pipes[2].type, 3U);
  EXPECT_EQ(result.interfaces[1].pipes[2].maximum_packet_size, 8);
  EXPECT_EQ(result.interfaces[0].pipes[0].type, 1U);
  EXPECT_EQ(result.interfaces[0].pipes[0].maximum_packet_size, 1024);
}

// Microsoft's suite lists every alternate setting, so one interface comes several times.
TEST(TillSelect, OfSeveralEntriesForOneInterfaceTheLastWins) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_configuration(1, gadget_configuration(1), list({{0, 1}, {0, 0}, {0, 1}, {1, 0}}));
  EXPECT_THAT(run_all(talk), ElementsAre(usb::set_configuration(1), usb::set_interface(0, 1)));
  const Ended ended = talk.next_ended();
  const auto& result = std::get<pdu::SelectConfigurationResult>(ended.body);
  ASSERT_EQ(result.interfaces.size(), 4U);
  EXPECT_EQ(result.interfaces[1].alternate_setting, 0);
  EXPECT_THAT(result.interfaces[1].pipes, IsEmpty());
  ASSERT_EQ(result.interfaces[0].pipes.size(), 3U);
  EXPECT_EQ(result.interfaces[0].pipes[0].handle, result.interfaces[2].pipes[0].handle);
  talk.bulk_in(2, result.interfaces[0].pipes[0].handle, 64);
  EXPECT_EQ(talk.next_submit().transfer.endpoint, 0x81);
}

TEST(TillSelect, HandlesOfALosingEntryOpenNothing) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_configuration(3, gadget_configuration(1), list({{0, 1}, {0, 0}}));
  EXPECT_THAT(run_all(talk), ElementsAre(usb::set_configuration(1)));
  const Ended ended = talk.next_ended();
  const auto& result = std::get<pdu::SelectConfigurationResult>(ended.body);
  ASSERT_EQ(result.interfaces[0].pipes.size(), 3U);
  talk.bulk_in(2, result.interfaces[0].pipes[0].handle, 64);
  EXPECT_EQ(talk.next_ended().status, status::invalid_pipe_handle);
}

TEST(TillSelect, TheSecondConfigurationIsFoundByItsValue) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_configuration(1, gadget_configuration(2), list({{0, 0}}));
  EXPECT_THAT(run_all(talk), ElementsAre(usb::set_configuration(2)));
  const Ended ended = talk.next_ended();
  const auto& result = std::get<pdu::SelectConfigurationResult>(ended.body);
  ASSERT_EQ(result.interfaces[0].pipes.size(), 1U);
  EXPECT_EQ(result.interfaces[0].pipes[0].endpoint, 0x85);
}

// The configuration that is active already is selected all the same: Windows relies on fresh
// handles, cleared halts and reset toggles.
TEST(TillSelect, SelectingAgainRenewsHandlesAndCancelsFirst) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.bulk_in(1, talk.in_pipe, 512);
  talk.bulk_in(2, talk.in_pipe, 512);
  const auto first = talk.next_submit();
  const auto second = talk.next_submit();
  talk.forget();
  talk.select_configuration(3, storage_configuration(), list({{0, 0}}));
  EXPECT_THAT(talk.order, ElementsAre("cancel 1", "cancel 1"));
  talk.bulk_in(4, talk.in_pipe, 512);  // handles are dead at once
  EXPECT_EQ(talk.next_ended().status, status::invalid_pipe_handle);
  talk.transfer_in(5, pdu::urb_function::get_configuration, pdu::NoParameters{}, 1);
  EXPECT_THAT(talk.submitted, IsEmpty()) << "waits its turn";
  talk.end(second, TransferStatus::cancelled);
  EXPECT_EQ(talk.next_ended().request, 2U);
  EXPECT_THAT(talk.submitted, IsEmpty());
  talk.end(first, TransferStatus::success, Bytes(512));  // it won the race
  EXPECT_EQ(talk.next_ended().status, 0U);
  ASSERT_EQ(talk.submitted.size(), 1U);
  EXPECT_EQ(talk.submitted[0].transfer.setup, usb::set_configuration(1));
  talk.complete_next();
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.request, 3U);
  const auto& result = std::get<pdu::SelectConfigurationResult>(ended.body);
  EXPECT_NE(result.configuration_handle, talk.configuration);
  EXPECT_NE(result.interfaces[0].pipes[0].handle, talk.in_pipe);
  EXPECT_EQ(talk.submitted.size(), 1U) << "what waited runs now";
  talk.bulk_in(6, result.interfaces[0].pipes[0].handle, 512);
  EXPECT_EQ(talk.submitted.size(), 2U);
  talk.select_interface(7, talk.configuration, 0, 0);
  EXPECT_EQ(talk.next_ended().status, status::invalid_parameter) << "the old handle is dead";
}

TEST(TillSelect, OnlyTheInterfacesOwnPipesAreRenewed) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_configuration(1, gadget_configuration(1), list({{0, 1}, {1, 0}}));
  run_all(talk);
  const Ended configured = talk.next_ended();
  const auto& result = std::get<pdu::SelectConfigurationResult>(configured.body);
  const std::uint32_t bulk = result.interfaces[0].pipes[0].handle;
  const std::uint32_t other = result.interfaces[1].pipes[0].handle;
  talk.bulk_in(2, bulk, 64);
  const auto running = talk.next_submit();
  talk.select_interface(3, result.configuration_handle, 0, 1);
  EXPECT_EQ(talk.cancelled.size(), 1U);
  talk.end(running, TransferStatus::cancelled);
  EXPECT_EQ(talk.next_ended().status, status::canceled);
  EXPECT_THAT(run_all(talk), ElementsAre(usb::set_interface(0, 1)));
  const Ended ended = talk.next_ended();
  const auto& selected = std::get<pdu::SelectInterfaceResult>(ended.body);
  EXPECT_EQ(selected.interface.alternate_setting, 1);
  ASSERT_EQ(selected.interface.pipes.size(), 3U);
  EXPECT_NE(selected.interface.pipes[0].handle, bulk);
  talk.bulk_in(4, bulk, 64);
  EXPECT_EQ(talk.next_ended().status, status::invalid_pipe_handle);
  talk.pipe_request(5, pdu::urb_function::sync_reset_pipe, other);
  EXPECT_EQ(talk.next_ended().status, 0U) << "the other interface's pipe lives";
}

TEST(TillSelect, AStallOfTheOnlySettingIsHarmless) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.select_interface(1, talk.configuration, 0, 0);
  talk.complete_next(TransferStatus::stall);
  const Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, 0U);
  EXPECT_EQ(std::get<pdu::SelectInterfaceResult>(ended.body).interface.pipes.size(), 2U);
}

TEST(TillSelect, ConfigurationFailures) {
  Bytes other_value = storage_configuration();
  other_value[5] = 9;
  Bytes value_zero = storage_configuration();
  value_zero[5] = 0;
  const std::vector<std::tuple<const char*, Bytes, Interfaces, std::uint32_t>> cases{
      {"no such configuration", other_value, list({{0, 0}}),
       status::invalid_configuration_descriptor},
      {"configuration 0", value_zero, list({{0, 0}}), status::invalid_configuration_descriptor},
      {"no such interface", storage_configuration(), list({{0, 0}, {1, 0}}),
       status::interface_not_found},
      {"no such setting", storage_configuration(), list({{0, 1}}), status::interface_not_found},
  };
  for (const auto& [name, descriptor, interfaces, expected] : cases) {
    SCOPED_TRACE(name);
    Conversation talk;
    talk.bring_up(storage_stick());
    talk.select_storage();
    talk.select_configuration(1, descriptor, interfaces);
    EXPECT_THAT(talk.submitted, IsEmpty());
    const Ended ended = talk.next_ended();
    EXPECT_EQ(ended.status, expected);
    EXPECT_EQ(ended.hresult, pdu::hresult::invalid_argument);
    EXPECT_EQ(ended.body, pdu::TsUrbResult::Body(pdu::SelectConfigurationResult{}));
    talk.bulk_in(2, talk.in_pipe, 512);
    EXPECT_EQ(talk.submitted.size(), 1U) << "what was refused changed nothing";
  }
}

// IronRDP's server closes the channel when a function's result lacks what is its own.
TEST(TillSelect, AFailureHasTheShapeOfItsFunction) {
  namespace function = pdu::urb_function;
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.select_storage();
  talk.select_interface(1, talk.configuration, 7, 0);
  EXPECT_EQ(talk.next_ended().body, pdu::TsUrbResult::Body(pdu::SelectInterfaceResult{}));
  talk.transfer_in(2, function::isochronous_transfer, pdu::IsochronousTransfer{}, 64);
  EXPECT_EQ(talk.next_ended().body, pdu::TsUrbResult::Body(pdu::IsochronousResult{}));
  talk.transfer_in(3, function::get_current_frame_number, pdu::PipeRequest{}, 0);  // 4 too long
  EXPECT_EQ(talk.next_ended().body, pdu::TsUrbResult::Body(pdu::FrameNumberResult{}));
  talk.transfer_in(4, function::abort_pipe, pdu::PipeRequest{77}, 0);
  EXPECT_EQ(talk.next_ended().body, pdu::TsUrbResult::Body{}) << "the bare header";
}

// A header-only or lying descriptor.
TEST(TillSelect, TruncatedDescriptorsAreRefused) {
  for (const std::size_t size : std::initializer_list<std::size_t>{1, 5, 9, 31}) {
    Conversation talk;
    talk.bring_up(storage_stick());
    Bytes cut = storage_configuration();
    cut.resize(size);
    talk.select_configuration(1, cut, list({{0, 0}}));
    EXPECT_THAT(talk.submitted, IsEmpty()) << size;
    EXPECT_NE(talk.next_ended().status, 0U) << size;
  }
}

TEST(TillSelect, AFailingStepFailsTheRequest) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_configuration(1, gadget_configuration(1), list({{0, 1}, {1, 0}}));
  talk.complete_next();
  talk.complete_next(TransferStatus::stall);
  EXPECT_THAT(talk.submitted, IsEmpty());
  Ended ended = talk.next_ended();
  EXPECT_EQ(ended.status, status::set_config_failed);
  EXPECT_EQ(ended.hresult, pdu::hresult::general_failure);
  EXPECT_EQ(ended.body, pdu::TsUrbResult::Body(pdu::SelectConfigurationResult{}));

  talk.select_configuration(2, gadget_configuration(1), list({{0, 1}, {1, 0}}));
  talk.complete_next(TransferStatus::device_gone);
  ended = talk.next_ended();
  EXPECT_EQ(ended.status, status::device_gone);
  EXPECT_EQ(ended.hresult, pdu::hresult::device_not_connected);
}

TEST(TillSelect, InterfaceNeedsTheCurrentConfiguration) {
  Conversation talk;
  talk.bring_up(gadget());
  talk.select_interface(1, 0, 0, 1);
  EXPECT_EQ(talk.next_ended().status, status::invalid_parameter) << "none was selected";
  talk.select_gadget();
  talk.select_interface(2, talk.configuration + 1000, 0, 1);
  EXPECT_EQ(talk.next_ended().status, status::invalid_parameter);
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
