// A till with everything outstanding, and the changes that are made to its messages.
#pragma once

#include <map>
#include <string>

#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/terminal_conversation.hpp"

namespace tillbridge::rdpeusb::testing {

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
    EXPECT_EQ(completed.back().status, usb::TransferStatus::success);
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

constexpr pdu::Address completions{pdu::interface_id::first_free, 0};

inline Bytes urb_data(std::uint32_t request, const Bytes& data, pdu::TsUrbResult result = {}) {
  return pdu::encode(pdu::UrbCompletion{completions, request, std::move(result), 0, data});
}
inline Bytes urb_no_data(std::uint32_t request, std::uint32_t size, pdu::TsUrbResult result = {}) {
  return pdu::encode(pdu::UrbCompletionNoData{completions, request, std::move(result), 0, size});
}
inline Bytes io_end(std::uint32_t request, const Bytes& output) {
  return pdu::encode(pdu::IoControlCompletion{
      completions, request, 0, static_cast<std::uint32_t>(output.size()), 0, output});
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

}  // namespace tillbridge::rdpeusb::testing
