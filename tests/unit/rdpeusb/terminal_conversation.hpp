// A scripted conversation with a TerminalRole: the till's messages as bytes, and what came out.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/terminal_role.hpp"
#include "channel/usb/requests.hpp"
#include "tests/unit/rdpeusb/till_conversation.hpp"

namespace tillbridge::rdpeusb::testing {

class TerminalConversation {
 public:
  TerminalRole role;
  Instant now = 1'000'000us;
  std::deque<std::uint32_t> tickets;
  std::map<ChannelId, std::deque<Bytes>> sent;
  std::vector<TerminalRole::CloseChannel> closed;
  std::vector<TerminalRole::DeviceArrived> arrived;
  std::vector<TerminalRole::DeviceGone> gone;
  std::deque<usb::Completion> completed;
  std::deque<TerminalRole::IoControlCompleted> io_controls;
  std::vector<TerminalRole::Event> events;
  /// "completed", "gone", "closed" in the order of coming out.
  std::vector<std::string> order;

  explicit TerminalConversation(Profile profile = Profile::plain) : role(profile) {}

  // --- inputs
  void say(ChannelId channel, const Bytes& message) {
    role.receive(channel, message, now);
    drain();
  }
  void say(ChannelId channel, std::string_view hex) { say(channel, from_hex(hex)); }
  void pass(Duration time) {
    now += time;
    role.advance(now);
    drain();
  }
  void submit(usb::Transfer transfer) {
    role.submit(1, std::move(transfer), now);
    drain();
  }
  void cancel(usb::TransferId id) {
    role.cancel(1, id, now);
    drain();
  }
  void drain() {
    while (auto output = role.poll()) {
      std::visit([this](auto& value) { take(value); }, *output);
    }
  }

  // --- outputs
  Bytes next_sent(ChannelId channel = 11) {
    auto& queue = sent[channel];
    EXPECT_FALSE(queue.empty()) << "nothing was sent on channel " << channel;
    if (queue.empty()) return {};
    Bytes message = std::move(queue.front());
    queue.pop_front();
    return message;
  }
  void expect_sent(ChannelId channel, std::string_view hex) {
    EXPECT_EQ(to_hex(next_sent(channel)), without_spaces(hex));
  }
  void expect_quiet(ChannelId channel = 11) {
    EXPECT_TRUE(sent[channel].empty()) << to_hex(sent[channel].front());
  }
  usb::Completion next_completed() {
    EXPECT_FALSE(completed.empty()) << "nothing was completed";
    if (completed.empty()) return {};
    usb::Completion completion = std::move(completed.front());
    completed.pop_front();
    return completion;
  }
  [[nodiscard]] int logged(std::string_view part) const {
    int count = 0;
    for (const auto& event : events) {
      if (event.text.find(part) != std::string::npos) ++count;
    }
    return count;
  }

  // --- the till's usual doings. Control channel 10, device channel 11.
  void open(ChannelId channel) {
    ASSERT_FALSE(tickets.empty());
    role.channel_opened(tickets.front(), channel, now);
    tickets.pop_front();
    drain();
  }
  void handshake(ChannelId channel) {
    say(channel, "00000000 00000000 01000000 00000000");
    say(channel, "03000040 00000000 00010000 01000000 00000000 00000000");
    sent[channel].clear();
  }
  static Bytes add_device(std::uint32_t usb_device = 5, std::uint32_t usb_version = 0x200) {
    pdu::AddDevice pdu;
    pdu.usb_device = usb_device;
    pdu.instance_id = "5A2F";
    pdu.hardware_ids = {"USB\\VID_1209&PID_0001&REV_0100", "USB\\VID_1209&PID_0001"};
    pdu.compatible_ids = {"USB\\Class_08&SubClass_06&Prot_50", "USB\\Class_08&SubClass_06",
                          "USB\\Class_08"};
    pdu.container_id = "{00000000-0000-0000-0000-0000000000a1}";
    pdu.capabilities.usb_version = usb_version;
    pdu.capabilities.high_speed = 1;
    return pdu::encode(pdu);
  }
  /// "TSE" for QUERY_DEVICE_TEXT.
  static constexpr std::string_view text_answer =
      "05000080 00000000 04000000 5400 5300 4500 0000 00000000";

  void bring_up_control() {
    role.start(now);
    drain();
    open(10);
    handshake(10);
  }
  void bring_up(std::uint32_t usb_version = 0x200) {
    bring_up_control();
    say(10, "01000040 00000000 00010000");
    open(11);
    handshake(11);
    say(11, add_device(5, usb_version));
    say(11, text_answer);
    ASSERT_EQ(arrived.size(), 1U);
    sent.clear();
  }
  /// SET_CONFIGURATION of storage_configuration(), descriptor read by the role itself. Pipes 81 and
  /// 02 get the handles 0x81 and 0x02.
  void bring_up_configured(std::uint32_t usb_version = 0x200) {
    bring_up(usb_version);
    submit(usb::control_transfer(900, usb::set_configuration(1)));
    answer_storage_configuration();
    const usb::Completion completion = next_completed();
    ASSERT_EQ(completion.status, usb::TransferStatus::success);
    sent.clear();
  }
  void answer_storage_configuration() {
    const Bytes& raw = storage_configuration();
    complete_in(last_request(), Bytes(raw.begin(), raw.begin() + 9));
    complete_in(last_request(), raw);
    complete_storage_selected(last_request());
  }
  void complete_storage_selected(std::uint32_t request) {
    pdu::SelectConfigurationResult result;
    result.configuration_handle = 0x77;
    pdu::InterfaceInformationResult interface;
    interface.interface_class = 8;
    interface.pipes = {{512, 0x81, 0, 2, 0x81, 0xFFFFFFFF, 0},
                       {512, 0x02, 0, 2, 0x02, 0xFFFFFFFF, 0}};
    result.interfaces = {interface};
    say(11,
        pdu::encode(pdu::UrbCompletionNoData{completion_address, request, {0, 0, result}, 0, 0}));
  }

  // --- completions
  void complete_in(std::uint32_t request, const Bytes& data, std::uint32_t status = 0,
                   std::uint32_t hresult = 0) {
    say(11, pdu::encode(
                pdu::UrbCompletion{completion_address, request, {0, status, {}}, hresult, data}));
  }
  void complete_no_data(std::uint32_t request, std::uint32_t size, std::uint32_t status = 0,
                        std::uint32_t hresult = 0) {
    say(11, pdu::encode(pdu::UrbCompletionNoData{
                completion_address, request, {0, status, {}}, hresult, size}));
  }
  /// RequestId of the last transfer request or I/O control that was sent.
  std::uint32_t last_request() {
    EXPECT_FALSE(sent[11].empty());
    return sent[11].empty() ? 0 : request_of(sent[11].back());
  }
  static std::uint32_t request_of(const Bytes& message) {
    pdu::TillContext context;
    context.usb_device = 5;
    const auto decoded = pdu::decode_from_server(message, context);
    EXPECT_TRUE(decoded.ok());
    if (!decoded.ok()) return 0;
    if (const auto* transfer = std::get_if<pdu::TransferRequest>(&*decoded))
      return transfer->urb.request;
    if (const auto* io_control = std::get_if<pdu::IoControl>(&*decoded)) return io_control->request;
    if (const auto* cancel = std::get_if<pdu::CancelRequest>(&*decoded)) return cancel->request;
    ADD_FAILURE() << "no request: " << to_hex(message);
    return 0;
  }
  static constexpr pdu::Address completion_address{4, 0};

  static usb::Transfer bulk_in(usb::TransferId id, std::uint32_t length) {
    usb::Transfer transfer;
    transfer.id = id;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = 0x81;
    transfer.length = length;
    return transfer;
  }
  static usb::Transfer bulk_out(usb::TransferId id, Bytes data) {
    usb::Transfer transfer;
    transfer.id = id;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = 0x02;
    transfer.length = static_cast<std::uint32_t>(data.size());
    transfer.data = std::move(data);
    return transfer;
  }

 private:
  void take(TerminalRole::OpenChannel& value) { tickets.push_back(value.ticket); }
  void take(TerminalRole::SendMessage& value) {
    sent[value.channel].push_back(std::move(value.message));
  }
  void take(TerminalRole::CloseChannel& value) {
    order.emplace_back("closed");
    ::testing::Test::RecordProperty("closed", value.reason);
    closed.push_back(std::move(value));
  }
  void take(TerminalRole::DeviceArrived& value) { arrived.push_back(std::move(value)); }
  void take(TerminalRole::DeviceGone& value) {
    order.emplace_back("gone");
    gone.push_back(std::move(value));
  }
  void take(TerminalRole::Completed& value) {
    order.emplace_back("completed");
    completed.push_back(std::move(value.completion));
  }
  void take(TerminalRole::IoControlCompleted& value) { io_controls.push_back(std::move(value)); }
  void take(TerminalRole::Event& value) { events.push_back(std::move(value)); }
};

}  // namespace tillbridge::rdpeusb::testing
