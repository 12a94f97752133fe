// A server that is hostile on one stick's channel, and another stick that must not notice.
//
// Stick 1 is gadget() on channel 2. Stick 2 is a storage stick on channel 3 with a read under way.
// Whatever is said on channel 2: at most that channel is closed and the event says why; what the
// protocol owes for the message is paid exactly once; nothing reaches a stick that its descriptors
// do not have; and stick 2's read is neither cancelled nor completed by anything but its own end.
#pragma once

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "tests/unit/rdpeusb/till_conversation.hpp"

namespace tillbridge::rdpeusb::testing {

/// What a message on a registered device channel obliges the till to.
struct Duty {
  enum class Kind : std::uint8_t { nothing, reply, completion, close };
  Kind kind = Kind::nothing;
  std::uint32_t request = 0;  ///< completion
};

/// Read off the bytes by the rules of rdpeusb.md 4.8 alone, without our decoder.
inline Duty duty_of(ByteView message, std::uint32_t usb_device) {
  using Kind = Duty::Kind;
  const auto u32 = [&](std::size_t at) {
    return std::uint32_t{message[at]} | std::uint32_t{message[at + 1]} << 8U |
           std::uint32_t{message[at + 2]} << 16U | std::uint32_t{message[at + 3]} << 24U;
  };
  const std::size_t size = message.size();
  if (size < 12) return {};
  const std::uint32_t mask = u32(0) >> 30U, interface = u32(0) & 0x3FFFFFFFU, function = u32(8);
  const bool capabilities = mask == 0 && interface == 0;
  const bool notification = mask == 1 && interface == 2;
  const bool device = mask == 1 && interface == usb_device;
  if ((!capabilities && !notification && !device) || function == 1) return {};
  if (function == 2) return {size == 28 ? Kind::reply : Kind::nothing};
  if (capabilities) return {function != 0x100 || size == 16 ? Kind::reply : Kind::nothing};
  if (notification) return {function != 0x100 ? Kind::reply : Kind::nothing};
  switch (function) {
    case 0x100:
    case 0x101:
      return {};
    case 0x102:
    case 0x103: {
      if (size < 20) return {Kind::close};
      const std::uint64_t input = u32(16);
      if (20 + input + 8 > size) return {Kind::close};
      return {Kind::completion, u32(24 + static_cast<std::size_t>(input))};
    }
    case 0x104:
      return {size == 20 ? Kind::reply : Kind::nothing};
    case 0x105:
    case 0x106: {
      if (size < 24) return {Kind::close};
      const bool isochronous_out = function == 0x106 && message[18] == 0x0A && message[19] == 0;
      if (isochronous_out && u32(20) >> 31U != 0) return {};
      return {Kind::completion, u32(20) & 0x7FFFFFFFU};
    }
    case 0x107:
      return {size == 16 ? Kind::close : Kind::nothing};
    default:
      return {Kind::reply};
  }
}

class TwoSticks {
 public:
  static constexpr std::uint32_t other_device = 5, other_completion = 0x1234, other_request = 77;

  TwoSticks() { start(); }

  Conversation* operator->() { return &*talk_; }
  Conversation& operator*() { return *talk_; }

  /// A new connection. Stick 1 is configured as select_gadget() does it, with the handles 1
  /// (configuration), 3 to 5 (pipes) and 7 (isochronous).
  void start() {
    Conversation& talk = talk_.emplace();
    talk.add(1, gadget());
    talk.add(2, storage_stick("other"));
    talk.open(1);
    talk.handshake(1);
    for (const ChannelId channel : {2U, 3U}) {
      talk.open(channel);
      talk.handshake(channel);
    }
    talk.register_callback();
    talk.say(3, pdu::encode(pdu::RegisterRequestCallback{{other_device, 0}, 1, other_completion}));
    pdu::SelectConfiguration select;
    select.descriptor_valid = 1;
    select.descriptor = storage_configuration();
    select.interfaces = {Conversation::interface(0, 0, 2)};
    other_transfer(0, std::move(select), 0);
    talk.complete_next();
    const auto selected = decode_other(talk.sent[3].back());
    const auto* ended = std::get_if<pdu::UrbCompletionNoData>(&selected);
    ASSERT_NE(ended, nullptr);
    other_pipe_ = std::get<pdu::SelectConfigurationResult>(ended->result.body)
                      .interfaces.at(0)
                      .pipes.at(0)
                      .handle;
    read_other();
    talk.forget();
    talk.select_gadget();
    ASSERT_EQ(talk.configuration, 1U);
    ASSERT_EQ(talk.in_pipe, 3U);
    ASSERT_EQ(talk.isochronous_pipe, 7U);
    broken_ = false;
  }

  /// Says it on channel 2 and sees that the till does its duty and nothing else. What reaches the
  /// stick ends well.
  void hear(const Bytes& message) {
    Conversation& talk = *talk_;
    const Duty duty = duty_of(message, talk.usb_device);
    talk.forget();
    talk.say(2, message);
    int transfers = 0;
    while (!talk.submitted.empty() && ++transfers < 64) {
      const auto submit = talk.next_submit();
      expect_allowed(submit);
      talk.end(submit, usb::TransferStatus::success,
               submit.transfer.in() ? Bytes(std::min(submit.transfer.length, 64U)) : Bytes(),
               submit.transfer.length);
    }
    EXPECT_LT(transfers, 64);
    expect_other_untouched();

    using Kind = Duty::Kind;
    const auto& sent = talk.sent[2];
    EXPECT_EQ(talk.closed.size(), duty.kind == Kind::close ? 1U : 0U);
    if (duty.kind == Kind::close) expect_closed();
    const bool owes = duty.kind == Kind::reply || duty.kind == Kind::completion;
    EXPECT_EQ(sent.size(), owes ? 1U : 0U) << "what is owed, and once";
    if (duty.kind == Kind::completion) {
      for (const Bytes& completion : sent) EXPECT_EQ(request_of(completion), duty.request);
    }
    // Not the state any more that other messages are meant for: unregistered, or other handles.
    const bool device_message =
        message.size() >= 16 && message[3] >> 6U == 1 && message[0] == talk.usb_device;
    const bool registers = device_message && message[8] == 1;
    const bool selects = device_message && message[8] == 5 && message.size() > 19 &&
                         message[18] <= 1 && transfers != 0;
    if (broken_ || registers || selects) start_anew();
  }

  /// Channel 2 was closed and nothing else, for a reason that names the server's fault.
  void expect_closed() {
    Conversation& talk = *talk_;
    ASSERT_EQ(talk.closed.size(), 1U);
    EXPECT_EQ(talk.closed[0].channel, 2U);
    EXPECT_FALSE(talk.closed[0].reason.empty());
    ASSERT_EQ(talk.left.size(), 1U);
    EXPECT_EQ(talk.left[0].device, 1U);
    const auto said = std::find_if(talk.events.begin(), talk.events.end(), [&](const auto& event) {
      return event.level == Level::warning &&
             event.text == "channel 2: closed: " + talk.closed[0].reason;
    });
    EXPECT_NE(said, talk.events.end());
    broken_ = true;
  }

  /// Since forget(): only stick 1 and its channel had anything to do.
  void expect_other_untouched() {
    static const std::set<std::string> own{"send 2",   "close 2",      "submit 1",
                                           "cancel 1", "in session 1", "left session 1"};
    for (const std::string& step : talk_->order) EXPECT_EQ(own.count(step), 1U) << step;
  }

  /// Stick 2's read ends now, is completed once, and the next one goes out.
  void expect_other_alive() {
    Conversation& talk = *talk_;
    talk.sent[3].clear();
    talk.end(read_, usb::TransferStatus::success, from_hex("c0ffee"));
    ASSERT_EQ(talk.sent[3].size(), 1U);
    const auto decoded = decode_other(talk.sent[3].front());
    const auto* ended = std::get_if<pdu::UrbCompletion>(&decoded);
    ASSERT_NE(ended, nullptr);
    EXPECT_EQ(to_hex(ended->output), "c0ffee");
    read_other();
  }

  void start_anew() {
    expect_other_alive();
    start();
  }

  static std::uint32_t request_of(ByteView completion) {
    ByteReader reader(completion);
    reader.skip(12);
    return reader.u32le();
  }

  /// What gadget() and storage_stick() have: no other endpoint, configuration or setting.
  static void expect_allowed(const TillRole::Submit& submit) {
    const usb::Transfer& transfer = submit.transfer;
    EXPECT_LE(transfer.length, limits::transfer_bytes);
    EXPECT_EQ(transfer.data.size(), transfer.in() ? 0U : transfer.length);
    if (transfer.type != usb::TransferType::control) {
      const std::set<int> endpoints =
          submit.device == 1 ? std::set<int>{0x81, 0x02, 0x83, 0x85} : std::set<int>{0x81, 0x02};
      EXPECT_EQ(endpoints.count(transfer.endpoint), 1U) << int{transfer.endpoint};
      EXPECT_NE(transfer.type, usb::TransferType::isochronous);
      return;
    }
    EXPECT_EQ(transfer.setup.length, transfer.length);
    EXPECT_EQ(transfer.setup.in(), transfer.in());
    EXPECT_FALSE(transfer.setup.request_type == 0 &&
                 transfer.setup.request == usb::request::set_address);
    const auto host = usb::as_host_request(transfer.setup);
    if (!host) return;
    EXPECT_FALSE(std::holds_alternative<usb::PortReset>(*host)) << "resets are softened";
    if (const auto* set = std::get_if<usb::SetConfiguration>(&*host)) {
      EXPECT_LE(set->value, submit.device == 1 ? 2 : 1);
    } else if (const auto* alternate = std::get_if<usb::SetInterface>(&*host)) {
      EXPECT_LE(alternate->interface_number, 1);
      EXPECT_LE(alternate->alternate_setting, 1);
    }
  }

 private:
  void other_transfer(std::uint32_t request, pdu::TsUrb::Body body, std::uint32_t size) {
    pdu::TransferRequest message;
    message.address.interface = other_device;
    message.urb.function = size == 0 ? pdu::urb_function::select_configuration
                                     : pdu::urb_function::bulk_or_interrupt_transfer;
    message.urb.request = request;
    message.urb.body = std::move(body);
    message.output_buffer_size = size;
    talk_->say(3, pdu::encode(message));
  }
  void read_other() {
    other_transfer(other_request, pdu::BulkOrInterruptTransfer{other_pipe_, 3}, 512);
    ASSERT_FALSE(talk_->submitted.empty());
    read_ = std::move(talk_->submitted.back());
    talk_->submitted.pop_back();
    EXPECT_EQ(read_.device, 2U);
  }
  static pdu::FromTill decode_other(ByteView message) {
    pdu::TerminalContext context;
    context.request_completion = other_completion;
    context.outstanding = [](std::uint32_t request) -> std::optional<pdu::OutstandingRequest> {
      if (request == 0) return pdu::OutstandingRequest{false, 0, 0};
      if (request != other_request) return std::nullopt;
      return pdu::OutstandingRequest{false, pdu::urb_function::bulk_or_interrupt_transfer, 512};
    };
    auto decoded = pdu::decode_from_till(message, context);
    EXPECT_TRUE(decoded.ok());
    return decoded.ok() ? std::move(decoded).value() : pdu::FromTill(pdu::Ignored{});
  }

  std::optional<Conversation> talk_;
  std::uint32_t other_pipe_ = 0;
  TillRole::Submit read_;
  bool broken_ = false;  ///< channel 2 is closed
};

// --- the messages --------------------------------------------------------------------------------

struct Named {
  std::string name;
  Bytes message;
};

/// A body for each TS_URB shape that reaches the gadget as far as its function goes.
inline pdu::TsUrb::Body body_for(std::uint16_t function, bool in) {
  using pdu::UrbBody;
  const std::uint32_t flags = in ? 3 : 0;
  const usb::SetupPacket setup{static_cast<std::uint8_t>(in ? 0xA1 : 0x21), 0xFE, 0, 0, 4};
  switch (pdu::body_of(function)) {
    case UrbBody::none:
    case UrbBody::no_parameters:
      return pdu::NoParameters{};
    case UrbBody::select_configuration: {
      pdu::SelectConfiguration select;
      select.descriptor_valid = 1;
      select.descriptor = gadget_configuration(1);
      select.interfaces = {Conversation::interface(0, 1, 3), Conversation::interface(1, 0, 1)};
      return select;
    }
    case UrbBody::select_interface:
      return pdu::SelectInterface{1, Conversation::interface(0, 0, 0)};
    case UrbBody::pipe_request:
      return pdu::PipeRequest{3};
    case UrbBody::control_transfer:
      return pdu::ControlTransfer{0, flags | 8U, setup};
    case UrbBody::control_transfer_ex:
      return pdu::ControlTransferEx{0, flags | 8U, 1000, setup};
    case UrbBody::bulk_or_interrupt:
      return pdu::BulkOrInterruptTransfer{in ? 3U : 4U, flags};
    case UrbBody::isochronous:
      return pdu::IsochronousTransfer{7, flags | 4U, 0, 0, {{0, 0, 0}, {2, 0, 0}}};
    case UrbBody::descriptor:
      return pdu::DescriptorRequest{0, 1, 0};
    case UrbBody::feature:
      return pdu::FeatureRequest{1, 0};
    case UrbBody::status:
      return pdu::StatusRequest{0, 0};
    case UrbBody::vendor_or_class:
      return pdu::VendorOrClassRequest{flags, 0, 0xD8, 0, 0, 0};
    case UrbBody::get_interface:
      return pdu::GetInterfaceRequest{0, 0};
    case UrbBody::os_feature_descriptor:
      return pdu::OsFeatureDescriptorRequest{0, 0, 0, 0, 4, {}};
  }
  return pdu::NoParameters{};
}

inline Bytes transfer_message(std::uint16_t function, bool in, std::uint32_t request,
                              std::uint32_t usb_device = 4) {
  pdu::TransferRequest message;
  message.address.interface = usb_device;
  message.in = in;
  message.urb.function = function;
  message.urb.request = request;
  message.urb.body = body_for(function, in);
  message.output_buffer_size = 4;
  const Bytes data(4, 0x5A);
  if (!in) message.output_buffer = data;
  return pdu::encode(message);
}

/// Each URB function there is and some that there are not, as TRANSFER_IN and as TRANSFER_OUT.
inline std::vector<Named> every_function() {
  std::vector<Named> messages;
  for (std::uint16_t function = 0; function <= 0x38; ++function) {
    for (const bool in : {true, false}) {
      messages.push_back({pdu::urb_function_text(function) + (in ? " in" : " out"),
                          transfer_message(function, in, 9)});
    }
  }
  return messages;
}

/// Each message of a server that is no transfer, and one transfer of each TS_URB shape, in both
/// directions.
inline std::vector<Named> every_shape() {
  const pdu::Address device{4, 0};
  pdu::IoControl control;
  control.address = device;
  control.code = pdu::io_control_code::get_bus_info;
  const Bytes input = from_hex("aabbcc");
  control.input = input;
  control.output_buffer_size = 16;
  control.request = 9;
  std::vector<Named> messages{
      {"capability request", pdu::encode(pdu::CapabilityRequest{})},
      {"channel created", pdu::encode(pdu::ChannelCreated{}, pdu::Sender::server)},
      {"release", pdu::encode(pdu::ReleaseInterface{{2, 0}, pdu::Mask::proxy})},
      {"query interface", pdu::encode(pdu::QueryInterface{device, pdu::Mask::proxy, {}})},
      {"cancel", pdu::encode(pdu::CancelRequest{device, 9})},
      {"register", pdu::encode(pdu::RegisterRequestCallback{device, 1, 0})},
      {"unregister", pdu::encode(pdu::RegisterRequestCallback{device, 0, 0})},
      {"io control", pdu::encode(control)},
      {"text", pdu::encode(pdu::QueryDeviceText{device, 0, 0x409})},
      {"retract", pdu::encode(pdu::RetractDevice{device, 1})},
  };
  control.internal = true;
  control.code = pdu::io_control_code::query_bus_time;
  messages.push_back({"internal io control", pdu::encode(control)});
  std::set<std::pair<pdu::UrbBody, bool>> seen;
  for (std::uint16_t function = 0; function <= 0x38; ++function) {
    for (const bool in : {true, false}) {
      if (!seen.emplace(pdu::body_of(function), in).second) continue;
      messages.push_back({pdu::urb_function_text(function) + (in ? " in" : " out"),
                          transfer_message(function, in, 9)});
    }
  }
  return messages;
}

}  // namespace tillbridge::rdpeusb::testing
