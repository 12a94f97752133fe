// Server: the shared steps, and sending.
#include <algorithm>
#include <utility>

#include "server/terminal/conformance/server.hpp"

namespace tillbridge::terminal::conformance {

// --- the handshake -------------------------------------------------------------------------------

void Server::begin() {
  if (over_) return;
  channels_asked_for_ = devices_announced_ = 0;
  announcement_ = {};
  usb_device_ = 0;
  text_query_.reset();
  text_.reset();
  not_supported_.clear();
}

rdpeusb::ChannelId Server::open_channel(const std::string& which) {
  if (over_) return 0;
  const auto channel = client_.open_channel(settings_.patience);
  if (!channel) {
    give_up("expected that the client accepts " + which + ", but it did not");
    return 0;
  }
  channels_.emplace(*channel, Channel{});
  return *channel;
}

void Server::exchange_capabilities(rdpeusb::ChannelId id) {
  if (over_) return;
  Channel& channel = channels_.at(id);
  pdu::CapabilityRequest request;
  request.message = next_id();
  channel.capability_outstanding = true;
  channel.capabilities.reset();
  send(id, pdu::encode(request));
  if (!wait([&] { return channel.capabilities.has_value(); }, "RIM_EXCHANGE_CAPABILITY_RESPONSE",
            id)) {
    return;
  }
  expect(channel.capabilities->message == request.message,
         "expected the capability request's MessageId " + std::to_string(request.message) +
             ", got " + std::to_string(channel.capabilities->message));
  expect(channel.capabilities->capability == pdu::capability_version_1,
         "expected CapabilityValue 1, got " + std::to_string(channel.capabilities->capability));
  expect(channel.capabilities->result == pdu::hresult::ok,
         "expected Result 0, got " + pdu::hresult::text(channel.capabilities->result));
  if (settings_.releases == Releases::windows) {
    send(id,
         pdu::encode(pdu::ReleaseInterface{{pdu::interface_id::capabilities, 0}, pdu::Mask::none}));
  }
}

void Server::announce_version(rdpeusb::ChannelId channel, const pdu::ChannelCreated& version) {
  pdu::ChannelCreated created = version;
  created.message = next_id();
  send(channel, pdu::encode(created, pdu::Sender::server));
}

void Server::create_channel(rdpeusb::ChannelId id) {
  if (over_) return;
  Channel& channel = channels_.at(id);
  announce_version(id, {});
  if (!wait([&] { return channel.created.has_value(); }, "CHANNEL_CREATED", id)) return;
  const auto number = [](std::uint32_t value) { return std::to_string(value); };
  expect(channel.created->version_1_0(),
         "expected CHANNEL_CREATED with version 1.0 and Capabilities 0, got " +
             number(channel.created->major) + '.' + number(channel.created->minor) + " and " +
             number(channel.created->capabilities));
  if (settings_.releases != Releases::none) {
    send(id, pdu::encode(pdu::ReleaseInterface{{pdu::interface_id::notification_to_client, 0},
                                               pdu::Mask::proxy}));
  }
}

void Server::open_control() {
  begin();
  step("control channel");
  const rdpeusb::ChannelId channel = open_channel("the control channel");
  if (over_) return;
  control_ = channel;
  exchange_capabilities(channel);
  create_channel(channel);
  wait([&] { return channels_asked_for_ != 0; }, "ADD_VIRTUAL_CHANNEL", channel);
}

void Server::open_device() {
  step("device channel");
  const rdpeusb::ChannelId channel = open_channel("the device channel");
  if (over_) return;
  device_ = channel;
  exchange_capabilities(channel);
  create_channel(channel);
  if (!wait([&] { return devices_announced_ != 0; }, "ADD_DEVICE", channel)) return;
  usb_device_ = announcement_.usb_device & pdu::interface_id::bits;
  check_announcement();
  step({});
}

/// P6. cchHwIds may be 0, the suite asks for them from Windows' clients only.
void Server::check_announcement() {
  const auto one_of = [&](std::uint32_t value, std::initializer_list<std::uint32_t> allowed,
                          const std::string& field) {
    expect(std::find(allowed.begin(), allowed.end(), value) != allowed.end(),
           "expected another " + field + " in ADD_DEVICE than " + pdu::hex_text(value, 3));
  };
  expect(announcement_.device_count == 1, "expected NumUsbDevice 1 in ADD_DEVICE, got " +
                                              std::to_string(announcement_.device_count));
  expect(!announcement_.instance_id.empty(), "expected a DeviceInstanceId in ADD_DEVICE, got none");
  const pdu::UsbDeviceCapabilities& capabilities = announcement_.capabilities;
  one_of(capabilities.bus_interface_version, {0, 1, 2}, "UsbBusInterfaceVersion");
  one_of(capabilities.usbdi_version, {0x500, 0x600}, "USBDI_Version");
  one_of(capabilities.usb_version, {0x100, 0x110, 0x200}, "Supported_USB_Version");
  one_of(capabilities.hcd_capabilities, {0}, "HcdCapabilities");
  one_of(capabilities.high_speed, {0, 1}, "DeviceIsHighSpeed");
  expect(capabilities.bus_interface_version != 0 || capabilities.high_speed == 0,
         "expected DeviceIsHighSpeed 0 with UsbBusInterfaceVersion 0, got 1");
  const std::uint32_t jitter = capabilities.no_ack_isochronous_jitter_ms;
  expect(
      jitter == 0 || (jitter >= 10 && jitter <= 512),
      "expected NoAckIsochWriteJitterBufferSizeInMs 0 or 10 to 512, got " + std::to_string(jitter));
}

bool Server::device_is(std::uint16_t vendor_id, std::uint16_t product_id) const {
  const std::string id = "USB\\VID_" + pdu::hex_text(vendor_id, 4).substr(2) + "&PID_" +
                         pdu::hex_text(product_id, 4).substr(2);
  return std::any_of(announcement_.hardware_ids.begin(), announcement_.hardware_ids.end(),
                     [&](const std::string& other) { return other.rfind(id, 0) == 0; });
}

void Server::register_callback(std::optional<std::uint32_t> request_completion) {
  pdu::RegisterRequestCallback message;
  message.address.interface = usb_device_;
  message.request_completion = request_completion.value_or(next_id());
  request_completion_ = message.request_completion & pdu::interface_id::bits;
  send(pdu::encode(message));
}

/// What runs is then without a completion for ever.
void Server::register_nothing() {
  pdu::RegisterRequestCallback message;
  message.address.interface = usb_device_;
  message.count = 0;
  send(pdu::encode(message));
  outstanding_.clear();
}

// --- the end -------------------------------------------------------------------------------------

void Server::retract() {
  if (over_) return;
  step("RETRACT_DEVICE");
  const bool unplugged = may_replug_ && channels_.at(*device_).closed;
  if (!unplugged) {
    send(pdu::encode(pdu::RetractDevice{{usb_device_, 0}, pdu::RetractDevice::blocked_by_policy}));
    expect_closed(*device_, "RETRACT_DEVICE");
  }
  step({});
  close_device();
  close_control();
}

void Server::close_device() {
  if (!device_) return;
  const auto found = channels_.find(*device_);
  if (found != channels_.end()) {
    if (!found->second.closed) client_.close_channel(*device_);
    channels_.erase(found);
  }
  device_.reset();
  request_completion_.reset();
  outstanding_.clear();
}

void Server::close_control_alone() {
  if (!control_) return;
  client_.close_channel(*control_);
  channels_.erase(*control_);
  control_.reset();
}

void Server::close_control() {
  for (const auto& [id, channel] : channels_) {
    if (!channel.closed) client_.close_channel(id);
  }
  channels_.clear();
  control_.reset();
}

// --- requests ------------------------------------------------------------------------------------

void Server::send(rdpeusb::ChannelId channel, ByteView message) {
  if (over_) return;
  const auto found = channels_.find(channel);
  if (found == channels_.end() || found->second.closed) {
    give_up("the client closed the channel before the case was over");
    return;
  }
  client_.send(channel, message);
}

void Server::send(ByteView message) {
  send(device_channel(), message);
}

void Server::send_request(ByteView message, std::uint32_t request,
                          const pdu::OutstandingRequest& asked, bool in) {
  outstanding_[request] = {asked, in};
  send(message);
}

void Server::io_control(std::uint32_t request, std::uint32_t code, std::uint32_t output_size,
                        bool internal) {
  pdu::IoControl message;
  message.address.interface = usb_device_;
  message.internal = internal;
  message.code = code;
  message.output_buffer_size = output_size;
  message.request = request;
  send_request(pdu::encode(message), request, {true, 0, output_size});
}

void Server::transfer(bool in, std::uint32_t request, std::uint16_t function, pdu::TsUrb::Body body,
                      std::uint32_t output_size, ByteView data, bool no_ack) {
  pdu::TransferRequest message;
  message.address.interface = usb_device_;
  message.in = in;
  message.urb = {function, request, no_ack, std::move(body)};
  message.output_buffer_size = output_size;
  message.output_buffer = data;
  send_request(pdu::encode(message), request, {false, function, output_size}, in);
}

void Server::transfer_in(std::uint32_t request, std::uint16_t function, pdu::TsUrb::Body body,
                         std::uint32_t output_size) {
  transfer(true, request, function, std::move(body), output_size, {});
}

void Server::transfer_out(std::uint32_t request, std::uint16_t function, pdu::TsUrb::Body body,
                          ByteView data) {
  transfer(false, request, function, std::move(body), static_cast<std::uint32_t>(data.size()),
           data);
}

void Server::transfer_unacknowledged(bool in, std::uint32_t request, std::uint16_t function,
                                     pdu::TsUrb::Body body, std::uint32_t output_size,
                                     ByteView data) {
  transfer(in, request, function, std::move(body), output_size, data, true);
}

void Server::cancel(std::uint32_t request, std::uint32_t interface) {
  send(pdu::encode(pdu::CancelRequest{{interface, 0}, request}));
}

// --- answers that are no completions -------------------------------------------------------------

std::optional<pdu::QueryDeviceTextResponse> Server::device_text(const pdu::QueryDeviceText& query) {
  pdu::QueryDeviceText message = query;
  message.address.interface = usb_device_;
  text_query_ = message.address;
  text_.reset();
  send(pdu::encode(message));
  const auto answered = [&] { return text_.has_value() || !not_supported_.empty(); };
  if (!wait(answered, "QUERY_DEVICE_TEXT_RSP", device_channel())) return std::nullopt;
  if (!text_) {
    give_up("expected QUERY_DEVICE_TEXT_RSP, got the reply that the function is not supported");
  }
  return text_;
}

void Server::expect_not_supported(ByteView message, const pdu::Address& address,
                                  const std::string& what) {
  not_supported_.clear();
  send(message);
  if (!wait([&] { return !not_supported_.empty(); }, "the 8-byte reply to " + what,
            device_channel())) {
    return;
  }
  expect(not_supported_.front() == pdu::QueryInterfaceResponse{address, std::nullopt},
         "expected the 8-byte reply to " + what + " with its InterfaceId and MessageId, got " +
             last_message_);
  not_supported_.clear();
}

}  // namespace tillbridge::terminal::conformance
