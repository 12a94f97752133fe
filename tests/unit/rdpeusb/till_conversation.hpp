// A scripted conversation with a TillRole: the terminal server's messages, the stick's completions,
// and what came out, in order. The stick is whatever the test says.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "channel/usb/requests.hpp"

namespace tillbridge::rdpeusb::testing {

using namespace std::chrono_literals;

inline std::string to_hex(ByteView bytes) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += digits[byte >> 4U];
    text += digits[byte & 0xFU];
  }
  return text;
}

/// Spaces are for the reader.
inline Bytes from_hex(std::string_view text) {
  Bytes bytes;
  bool high = true;
  for (const char c : text) {
    if (c == ' ') continue;
    const auto digit = static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
    if (high) {
      bytes.push_back(static_cast<std::uint8_t>(digit << 4U));
    } else {
      bytes.back() = static_cast<std::uint8_t>(bytes.back() | digit);
    }
    high = !high;
  }
  return bytes;
}

inline std::string without_spaces(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != ' ') out += c;
  }
  return out;
}

// --- sticks
// ------------------------------------------------------------------------------------------------

inline usb::Configuration parse(const Bytes& raw) {
  auto configuration = usb::parse_configuration(raw);
  EXPECT_TRUE(configuration.ok());
  return configuration.value();
}

/// Bulk-Only storage: interface 0 with 81 (IN) and 02 (OUT), 512 bytes.
inline const Bytes& storage_configuration() {
  static const Bytes raw =
      from_hex("0902200001010080 32 090400000208065000 07058102000200 07050202000200");
  return raw;
}

inline usb::DeviceDescription storage_stick(std::string serial = "5A2F") {
  usb::DeviceDescription stick;
  stick.speed = usb::Speed::high;
  stick.device.usb_version = 0x210;
  stick.device.vendor_id = 0x1209;
  stick.device.product_id = 0x0001;
  stick.device.device_version = 0x0100;
  stick.device.configuration_count = 1;
  stick.configurations = {parse(storage_configuration())};
  stick.active_configuration = 1;
  stick.product = "TSE";
  stick.serial = std::move(serial);
  stick.path = "1-1.4";
  return stick;
}

/// Vendor class, two configurations. 1: interface 0 with settings 0 (nothing) and 1 (81 bulk IN, 02
/// bulk OUT, 83 interrupt IN every 4), interface 1 with setting 0 (84 isochronous IN). 2: interface
/// 0 with 85 bulk IN.
inline const Bytes& gadget_configuration(int value) {
  static const Bytes first = from_hex(
      "0902400002010080 32"
      "0904000000ff000000"
      "09040001 03ff010200 07058102000200 07050202000200 07058303080004"
      "0904010001ff000000 07058401000401");
  static const Bytes second = from_hex(
      "0902190001020080 32"
      "0904000001ff000000 07058502400000");
  return value == 1 ? first : second;
}

// --- the conversation
// --------------------------------------------------------------------------------------

/// A completion as the server reads it.
struct Ended {
  std::uint32_t request = 0;
  bool with_data = false;      ///< URB_COMPLETION
  std::uint16_t function = 0;  ///< from the result header's padding
  std::uint32_t status = 0, hresult = 0, size = 0;
  Bytes data;
  pdu::TsUrbResult::Body body{};
};

class Conversation {
 public:
  TillRole role;
  Instant now = 1'000'000us;
  /// Everything that came out, as words, in order: "send 2", "submit 1", "cancel 1", "close 2",
  /// "in session 1", "left session 1".
  std::vector<std::string> order;
  std::map<ChannelId, std::deque<Bytes>> sent;
  std::deque<TillRole::Submit> submitted;
  std::deque<TillRole::Cancel> cancelled;
  std::vector<TillRole::CloseChannel> closed;
  bool closes_at_once = true;  ///< else the test says when a channel is closed: server_closes()
  std::vector<TillRole::DeviceLeftSession> left;
  std::vector<TillRole::Event> events;
  std::uint32_t completion_interface = 0;  ///< what Windows uses

  // --- inputs
  void open(ChannelId channel) {
    role.channel_opened(channel, now);
    drain();
  }
  void server_closes(ChannelId channel) {
    role.channel_closed(channel, now);
    drain();
  }
  void say(ChannelId channel, const Bytes& message) {
    role.receive(channel, message, now);
    drain();
  }
  void say(ChannelId channel, std::string_view hex) { say(channel, from_hex(hex)); }
  void add(DeviceId device, usb::DeviceDescription description,
           ResetPolicy reset = ResetPolicy::soften) {
    role.add_device(device, TillDevice{std::move(description), reset}, now);
    drain();
  }
  void remove(DeviceId device) {
    role.remove_device(device, now);
    drain();
  }
  void pass(Duration time) {
    now += time;
    role.advance(now);
    drain();
  }
  void complete(DeviceId device, usb::Completion completion) {
    role.complete(device, std::move(completion), now);
    drain();
  }
  /// The oldest transfer not yet looked at ends so.
  void complete_next(usb::TransferStatus status = usb::TransferStatus::success, Bytes data = {}) {
    ASSERT_FALSE(submitted.empty());
    const TillRole::Submit submit = next_submit();
    usb::Completion completion;
    completion.id = submit.transfer.id;
    completion.status = status;
    completion.actual_length = submit.transfer.in() ? static_cast<std::uint32_t>(data.size())
                               : status == usb::TransferStatus::success ? submit.transfer.length
                                                                        : 0;
    completion.data = std::move(data);
    complete(submit.device, std::move(completion));
  }
  void end(const TillRole::Submit& submit, usb::TransferStatus status, Bytes data = {},
           std::uint32_t accepted = 0) {
    usb::Completion completion;
    completion.id = submit.transfer.id;
    completion.status = status;
    completion.actual_length =
        submit.transfer.in() ? static_cast<std::uint32_t>(data.size()) : accepted;
    completion.data = std::move(data);
    complete(submit.device, std::move(completion));
  }

  // --- outputs
  TillRole::Submit next_submit() {
    EXPECT_FALSE(submitted.empty()) << "nothing was submitted";
    if (submitted.empty()) return {};
    TillRole::Submit submit = std::move(submitted.front());
    submitted.pop_front();
    return submit;
  }
  Bytes next_sent(ChannelId channel) {
    auto& queue = sent[channel];
    EXPECT_FALSE(queue.empty()) << "nothing was sent on channel " << channel;
    if (queue.empty()) return {};
    Bytes message = std::move(queue.front());
    queue.pop_front();
    return message;
  }
  [[nodiscard]] bool quiet(ChannelId channel) { return sent[channel].empty(); }
  void expect_sent(ChannelId channel, std::string_view hex) {
    EXPECT_EQ(to_hex(next_sent(channel)), without_spaces(hex));
  }
  Ended next_ended(ChannelId channel = 2) {
    const Bytes message = next_sent(channel);
    Ended ended;
    pdu::TerminalContext context;
    context.request_completion = completion_interface;
    context.outstanding = [&](std::uint32_t request) -> std::optional<pdu::OutstandingRequest> {
      const auto found = outstanding.find(request);
      if (found == outstanding.end()) return std::nullopt;
      return found->second;
    };
    const auto decoded = pdu::decode_from_till(message, context);
    EXPECT_TRUE(decoded.ok()) << to_hex(message);
    if (!decoded.ok()) return ended;
    if (const auto* io = std::get_if<pdu::IoControlCompletion>(&decoded.value())) {
      ended.request = io->request;
      ended.hresult = io->hresult;
      ended.size = io->information;
      ended.data = Bytes(io->output.begin(), io->output.end());
    } else if (const auto* data = std::get_if<pdu::UrbCompletion>(&decoded.value())) {
      ended = read(data->request, data->result, data->hresult);
      ended.with_data = true;
      ended.data = Bytes(data->output.begin(), data->output.end());
      ended.size = static_cast<std::uint32_t>(ended.data.size());
    } else if (const auto* none = std::get_if<pdu::UrbCompletionNoData>(&decoded.value())) {
      ended = read(none->request, none->result, none->hresult);
      ended.size = none->output_buffer_size;
    } else {
      ADD_FAILURE() << "no completion: " << to_hex(message);
    }
    return ended;
  }
  void forget() {
    order.clear();
    sent.clear();
    submitted.clear();
    cancelled.clear();
    closed.clear();
    left.clear();
    events.clear();
  }
  [[nodiscard]] bool logged(std::string_view part) const {
    for (const auto& event : events) {
      if (event.text.find(part) != std::string::npos) return true;
    }
    return false;
  }

  // --- the server's usual doings
  void handshake(ChannelId channel, bool release = true) {
    say(channel, "00000000 00000000 00010000 01000000");
    if (release) say(channel, "00000000 00000000 01000000");
    say(channel, "02000040 00000000 00010000 01000000 00000000 00000000");
    if (release) say(channel, "02000040 00000000 01000000");
  }
  /// Control channel 1, stick 1 on channel 2, registered; nothing of it left in the outputs.
  void bring_up(usb::DeviceDescription description, ResetPolicy reset = ResetPolicy::soften) {
    add(1, std::move(description), reset);
    open(1);
    handshake(1);
    open(2);
    handshake(2);
    register_callback();
    forget();
  }
  void register_callback(std::uint32_t count = 1) {
    pdu::RegisterRequestCallback message;
    message.address.interface = usb_device;
    message.count = count;
    message.request_completion = completion_interface;
    say(2, pdu::encode(message));
  }
  void cancel(std::uint32_t request) {
    say(2, pdu::encode(pdu::CancelRequest{{usb_device, 0}, request}));
  }
  void retract() { say(2, pdu::encode(pdu::RetractDevice{{usb_device, 0}, 1})); }
  void io_control(std::uint32_t request, std::uint32_t code, std::uint32_t size,
                  bool internal = false) {
    pdu::IoControl message;
    message.address.interface = usb_device;
    message.internal = internal;
    message.code = code;
    message.output_buffer_size = size;
    message.request = request;
    outstanding[request] = {true, 0, size};
    say(2, pdu::encode(message));
  }
  void transfer(bool in, std::uint32_t request, std::uint16_t function, pdu::TsUrb::Body body,
                std::uint32_t size, const Bytes& data = {}, bool no_ack = false) {
    outstanding[request] = {false, function, size};
    pdu::TransferRequest message;
    message.address.interface = usb_device;
    message.in = in;
    message.urb.function = function;
    message.urb.request = request;
    message.urb.no_ack = no_ack;
    message.urb.body = std::move(body);
    message.output_buffer_size = size;
    message.output_buffer = data;
    say(2, pdu::encode(message));
  }
  void transfer_in(std::uint32_t request, std::uint16_t function, pdu::TsUrb::Body body,
                   std::uint32_t size) {
    transfer(true, request, function, std::move(body), size);
  }
  void transfer_out(std::uint32_t request, std::uint16_t function, pdu::TsUrb::Body body,
                    const Bytes& data) {
    transfer(false, request, function, std::move(body), static_cast<std::uint32_t>(data.size()),
             data);
  }
  void bulk_in(std::uint32_t request, std::uint32_t pipe, std::uint32_t size,
               std::uint32_t flags = 3) {
    transfer_in(request, 9, pdu::BulkOrInterruptTransfer{pipe, flags}, size);
  }
  void bulk_out(std::uint32_t request, std::uint32_t pipe, const Bytes& data) {
    transfer_out(request, 9, pdu::BulkOrInterruptTransfer{pipe, 0}, data);
  }
  void pipe_request(std::uint32_t request, std::uint16_t function, std::uint32_t pipe) {
    transfer_in(request, function, pdu::PipeRequest{pipe}, 0);
  }
  void select_configuration(std::uint32_t request, const Bytes& descriptor,
                            std::vector<pdu::InterfaceInformation> interfaces) {
    pdu::SelectConfiguration select;
    select.descriptor_valid = descriptor.empty() ? 0 : 1;
    select.descriptor = descriptor;
    select.interfaces = std::move(interfaces);
    transfer_in(request, 0, std::move(select), 0);
  }
  void select_interface(std::uint32_t request, std::uint32_t handle, std::uint8_t number,
                        std::uint8_t alternate) {
    pdu::SelectInterface select;
    select.configuration_handle = handle;
    select.interface.interface_number = number;
    select.interface.alternate_setting = alternate;
    transfer_in(request, 1, std::move(select), 0);
  }
  static pdu::InterfaceInformation interface(std::uint8_t number, std::uint8_t alternate = 0,
                                             std::size_t pipes = 0) {
    pdu::InterfaceInformation information;
    information.interface_number = number;
    information.alternate_setting = alternate;
    information.pipes.resize(pipes);
    return information;
  }
  /// Selects storage_stick()'s configuration; handles in `in_pipe`, `out_pipe`.
  void select_storage() {
    select_configuration(900, storage_configuration(), {interface(0, 0, 2)});
    complete_next();
    const Ended ended = next_ended();
    const auto& result = std::get<pdu::SelectConfigurationResult>(ended.body);
    configuration = result.configuration_handle;
    ASSERT_EQ(result.interfaces.size(), 1U);
    ASSERT_EQ(result.interfaces[0].pipes.size(), 2U);
    in_pipe = result.interfaces[0].pipes[0].handle;
    out_pipe = result.interfaces[0].pipes[1].handle;
    forget();
  }
  /// Selects gadget()'s configuration 1 with setting 1 of interface 0; handles in `in_pipe`,
  /// `out_pipe`, `interrupt_pipe`, `isochronous_pipe`.
  void select_gadget() {
    select_configuration(900, gadget_configuration(1), {interface(0, 1, 3), interface(1, 0, 1)});
    complete_next();
    complete_next();
    const Ended ended = next_ended();
    const auto& result = std::get<pdu::SelectConfigurationResult>(ended.body);
    configuration = result.configuration_handle;
    ASSERT_EQ(result.interfaces.size(), 2U);
    ASSERT_EQ(result.interfaces[0].pipes.size(), 3U);
    ASSERT_EQ(result.interfaces[1].pipes.size(), 1U);
    in_pipe = result.interfaces[0].pipes[0].handle;
    out_pipe = result.interfaces[0].pipes[1].handle;
    interrupt_pipe = result.interfaces[0].pipes[2].handle;
    isochronous_pipe = result.interfaces[1].pipes[0].handle;
    forget();
  }

  std::uint32_t usb_device = 4;
  std::uint32_t configuration = 0, in_pipe = 0, out_pipe = 0, interrupt_pipe = 0,
                isochronous_pipe = 0;
  /// What each request id was last used for.
  std::map<std::uint32_t, pdu::OutstandingRequest> outstanding;

 private:
  static Ended read(std::uint32_t request, const pdu::TsUrbResult& result, std::uint32_t hresult) {
    Ended ended;
    ended.request = request;
    ended.function = result.padding;
    ended.status = result.status;
    ended.hresult = hresult;
    ended.body = result.body;
    return ended;
  }

  void drain() {
    while (auto output = role.poll()) {
      if (auto* send = std::get_if<TillRole::SendMessage>(&*output)) {
        order.push_back("send " + std::to_string(send->channel));
        sent[send->channel].push_back(std::move(send->message));
      } else if (auto* close = std::get_if<TillRole::CloseChannel>(&*output)) {
        order.push_back("close " + std::to_string(close->channel));
        closed.push_back(*close);
        if (closes_at_once) role.channel_closed(close->channel, now);
      } else if (auto* submit = std::get_if<TillRole::Submit>(&*output)) {
        order.push_back("submit " + std::to_string(submit->device));
        submitted.push_back(std::move(*submit));
      } else if (auto* cancel = std::get_if<TillRole::Cancel>(&*output)) {
        order.push_back("cancel " + std::to_string(cancel->device));
        cancelled.push_back(*cancel);
      } else if (auto* in = std::get_if<TillRole::DeviceInSession>(&*output)) {
        order.push_back("in session " + std::to_string(in->device));
      } else if (auto* out = std::get_if<TillRole::DeviceLeftSession>(&*output)) {
        order.push_back("left session " + std::to_string(out->device));
        left.push_back(*out);
      } else if (auto* event = std::get_if<TillRole::Event>(&*output)) {
        events.push_back(*event);
      }
    }
  }
};

/// The vendor-class device of gadget_configuration().
inline usb::DeviceDescription gadget() {
  usb::DeviceDescription stick = storage_stick("G1");
  stick.device.product_id = 0x0002;
  stick.device.configuration_count = 2;
  stick.configurations = {parse(gadget_configuration(1)), parse(gadget_configuration(2))};
  stick.product = "Gadget";
  return stick;
}

}  // namespace tillbridge::rdpeusb::testing
