// Server: findings, what comes in, and waiting for it.
#include "server/terminal/conformance/server.hpp"

#include <algorithm>
#include <utility>

namespace tillbridge::terminal::conformance {

namespace {

std::string seconds_text(Duration duration) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + " s" : std::to_string(ms) + " ms";
}

std::string hex(ByteView bytes) {
  constexpr std::size_t most = 32;
  std::string text;
  for (const std::uint8_t byte : bytes.first(std::min(bytes.size(), most))) {
    text += pdu::hex_text(byte, 2).substr(2);
  }
  return text + (bytes.size() > most ? "..." : "") + " (" + std::to_string(bytes.size()) +
         " bytes)";
}

Ended ended_of(const pdu::IoControlCompletion& completion) {
  Ended ended;
  ended.kind = Ended::Kind::io_control;
  ended.request = completion.request;
  ended.hresult = completion.hresult;
  ended.information = completion.information;
  ended.size = completion.output_buffer_size;
  ended.data.assign(completion.output.begin(), completion.output.end());
  return ended;
}

Ended ended_of(Ended::Kind kind, std::uint32_t request, const pdu::TsUrbResult& result,
               std::uint32_t hresult) {
  Ended ended;
  ended.kind = kind;
  ended.request = request;
  ended.usbd_status = result.status;
  ended.hresult = hresult;
  ended.body = result.body;
  return ended;
}

Ended ended_of(const pdu::UrbCompletion& completion) {
  Ended ended =
      ended_of(Ended::Kind::urb, completion.request, completion.result, completion.hresult);
  ended.data.assign(completion.output.begin(), completion.output.end());
  ended.size = static_cast<std::uint32_t>(ended.data.size());
  return ended;
}

Ended ended_of(const pdu::UrbCompletionNoData& completion) {
  Ended ended =
      ended_of(Ended::Kind::urb_no_data, completion.request, completion.result, completion.hresult);
  ended.size = completion.output_buffer_size;
  return ended;
}

}  // namespace

std::string Ended::text() const {
  switch (kind) {
    case Kind::nothing:
      return "nothing";
    case Kind::io_control:
      return "IOCONTROL_COMPLETION with HResult " + pdu::hresult::text(hresult) + ", Information " +
             std::to_string(information) + ", OutputBufferSize " + std::to_string(size);
    case Kind::urb:
    case Kind::urb_no_data:
      break;
  }
  return std::string(kind == Kind::urb ? "URB_COMPLETION" : "URB_COMPLETION_NO_DATA") +
         " with UsbdStatus " + pdu::usbd_status::text(usbd_status) + ", HResult " +
         pdu::hresult::text(hresult) + ", OutputBufferSize " + std::to_string(size);
}

// --- findings ------------------------------------------------------------------------------------

void Server::wrong(const std::string& finding) {
  if (over_) return;
  verdict_.kind = Verdict::Kind::failed;
  verdict_.findings.push_back(step_.empty() ? finding : step_ + ": " + finding);
}

bool Server::expect(bool condition, const std::string& finding) {
  if (!condition) wrong(finding);
  return condition;
}

void Server::give_up(const std::string& finding) {
  wrong(finding);
  over_ = true;
}

void Server::inconclusive(const std::string& reason) {
  if (over_) return;
  if (verdict_.kind == Verdict::Kind::passed) verdict_ = {Verdict::Kind::inconclusive, {reason}};
  over_ = true;
}

Verdict Server::finish() {
  for (const Ended& ended : ended_) {
    wrong("expected no completion of request " + std::to_string(ended.request) + ", got " +
          ended.text());
  }
  close_device();
  close_control();
  return verdict_;
}

// --- what comes in -------------------------------------------------------------------------------

bool Server::take_event(Duration patience) {
  const std::optional<Client::Event> event = client_.next(patience);
  if (!event) return false;
  if (const auto* message = std::get_if<Client::Message>(&*event)) {
    take(*message);
  } else if (const auto* closed = std::get_if<Client::Closed>(&*event)) {
    take(*closed);
  } else {
    channels_.clear();
    control_.reset();
    device_.reset();
    give_up("the client ended the RDP session");
  }
  return true;
}

void Server::take(const Client::Closed& closed) {
  const auto found = channels_.find(closed.channel);
  if (found == channels_.end()) return;  // of an earlier case
  found->second.closed = true;
  if (control_ == closed.channel) control_.reset();
}

void Server::take(const Client::Message& message) {
  const auto found = channels_.find(message.channel);
  // Closed by us: it may have been on its way.
  if (found == channels_.end()) return;
  const std::string text = hex(message.bytes);
  if (found->second.closed) {
    wrong("expected nothing on a channel that the client closed, got " + text);
    return;
  }
  const auto decoded =
      pdu::decode_from_till(message.bytes, context_of(message.channel, found->second));
  if (!decoded) {
    wrong("got a message that must not be sent: " + decoded.error().message + ": " + text);
    return;
  }
  // Windows' client releases the completion interface after each request: it may at any time.
  if (std::holds_alternative<pdu::ReleaseInterface>(*decoded)) return;
  const bool replug = may_replug_ && std::holds_alternative<pdu::AddVirtualChannel>(*decoded);
  if (!replug) {
    ++messages_;
    last_message_ = text;
  }
  take_pdu(message.channel, found->second, *decoded);
}

pdu::TerminalContext Server::context_of(rdpeusb::ChannelId id, const Channel& channel) {
  pdu::TerminalContext context;
  context.capability_outstanding = channel.capability_outstanding;
  if (device_ != id) return context;
  context.text_query = text_query_;
  context.request_completion = request_completion_;
  context.outstanding = [this](std::uint32_t request) -> std::optional<pdu::OutstandingRequest> {
    const auto found = outstanding_.find(request);
    if (found == outstanding_.end()) return std::nullopt;
    return found->second.asked;
  };
  return context;
}

void Server::take_pdu(rdpeusb::ChannelId id, Channel& channel, const pdu::FromTill& message) {
  if (const auto* capabilities = std::get_if<pdu::CapabilityResponse>(&message)) {
    channel.capability_outstanding = false;
    channel.capabilities = *capabilities;
  } else if (const auto* created = std::get_if<pdu::ChannelCreated>(&message)) {
    expect(!channel.created.has_value(), "expected one CHANNEL_CREATED, got another one");
    channel.created = *created;
  } else if (std::holds_alternative<pdu::AddVirtualChannel>(message)) {
    ++channels_asked_for_;
    expect(control_ == id, "expected ADD_VIRTUAL_CHANNEL on the control channel, got it elsewhere");
    expect(channels_asked_for_ == 1 || may_replug_,
           "expected ADD_VIRTUAL_CHANNEL once, got it again (is more than one device redirected?)");
  } else if (const auto* device = std::get_if<pdu::AddDevice>(&message)) {
    ++devices_announced_;
    expect(device_ == id, "expected ADD_DEVICE on the device channel, got it elsewhere");
    expect(devices_announced_ == 1, "expected ADD_DEVICE once, got it again");
    announcement_ = *device;
  } else if (const auto* text = std::get_if<pdu::QueryDeviceTextResponse>(&message)) {
    text_query_.reset();
    text_ = *text;
  } else if (const auto* reply = std::get_if<pdu::QueryInterfaceResponse>(&message)) {
    not_supported_.push_back(*reply);
  } else if (const auto* io_control = std::get_if<pdu::IoControlCompletion>(&message)) {
    take_completion(ended_of(*io_control));
  } else if (const auto* urb = std::get_if<pdu::UrbCompletion>(&message)) {
    take_completion(ended_of(*urb));
  } else if (const auto* no_data = std::get_if<pdu::UrbCompletionNoData>(&message)) {
    take_completion(ended_of(*no_data));
  } else {
    wrong("got a message that no server knows: " + last_message_);
  }
}

/// The sizes that hold for every completion, whatever it answers (rdpeusb.md 2.8).
void Server::take_completion(Ended ended) {
  const Request request = outstanding_.at(ended.request);
  outstanding_.erase(ended.request);
  const std::string got = "got " + ended.text() + " for request " + std::to_string(ended.request);
  const std::uint32_t most = request.asked.output_buffer_size;
  if (ended.kind == Ended::Kind::io_control) {
    if (ended.hresult == pdu::hresult::insufficient_buffer) {
      expect(ended.size == most && ended.data.size() == most && ended.information > most,
             "expected a buffer of the request's size (" + std::to_string(most) +
                 ") and a larger Information, " + got);
    } else if (pdu::hresult::failed(ended.hresult)) {
      expect(ended.size == 0, "expected OutputBufferSize 0 with a failure, " + got);
    } else {
      expect(ended.size <= most && ended.information == ended.size,
             "expected Information equal to OutputBufferSize and at most " + std::to_string(most) +
                 ", " + got);
    }
  } else if (ended.kind == Ended::Kind::urb) {
    expect(request.in, "expected URB_COMPLETION_NO_DATA for a TRANSFER_OUT, " + got);
    expect(!ended.data.empty() && ended.size <= most,
           "expected 1 to " + std::to_string(most) + " bytes, " + got);
  } else if (request.in) {
    expect(ended.size == 0, "expected OutputBufferSize 0 without data, " + got);
  } else {
    expect(ended.size <= most,
           "expected OutputBufferSize of at most " + std::to_string(most) + ", " + got);
  }
  if (ended.kind != Ended::Kind::io_control) {
    // Fields that contradict each other: one driver reads the one, the next the other.
    expect(pdu::hresult::failed(ended.hresult) == pdu::usbd_status::failed(ended.usbd_status),
           "expected UsbdStatus and HResult that agree, " + got);
  }
  ended_.push_back(std::move(ended));
}

// --- waiting -------------------------------------------------------------------------------------

bool Server::wait(const std::function<bool()>& ready, const std::string& expected,
                  rdpeusb::ChannelId channel) {
  const Instant deadline = client_.now() + settings_.patience;
  while (!over_) {
    if (ready()) return true;
    const auto found = channels_.find(channel);
    if (found == channels_.end() || found->second.closed) {
      give_up("expected " + expected + ", but the channel is closed");
    } else if (client_.now() >= deadline || !take_event(deadline - client_.now())) {
      give_up("expected " + expected + ", got nothing within " + seconds_text(settings_.patience));
    }
  }
  return false;
}

void Server::expect_silence(const std::string& after, std::optional<Duration> duration) {
  const Instant deadline = client_.now() + duration.value_or(settings_.silence);
  const std::size_t before = messages_;
  while (!over_ && client_.now() < deadline && take_event(deadline - client_.now())) {
  }
  expect(messages_ == before, "expected nothing after " + after + ", got " + last_message_);
}

void Server::expect_closed(rdpeusb::ChannelId channel, const std::string& after) {
  const std::size_t before = messages_;
  const Instant deadline = client_.now() + settings_.patience;
  const auto found = channels_.find(channel);
  while (!over_ && found != channels_.end() && !found->second.closed) {
    if (client_.now() < deadline && take_event(deadline - client_.now())) continue;
    give_up("expected that the client closes the channel after " + after + ", but it stays open");
  }
  expect(messages_ == before,
         "expected nothing but the close after " + after + ", got " + last_message_);
  expect_silence("the close");
}

Ended Server::completion_of(std::uint32_t request) {
  const auto find = [&] {
    return std::find_if(ended_.begin(), ended_.end(),
                        [&](const Ended& ended) { return ended.request == request; });
  };
  if (!wait([&] { return find() != ended_.end(); },
            "the completion of request " + std::to_string(request), device_channel())) {
    return {};
  }
  const auto found = find();
  Ended ended = std::move(*found);
  ended_.erase(found);
  return ended;
}

std::optional<Ended> Server::completion_within(std::uint32_t request, Duration duration) {
  const Instant deadline = client_.now() + duration;
  while (!over_ && outstanding(request) && client_.now() < deadline &&
         take_event(deadline - client_.now())) {
  }
  if (over_ || outstanding(request)) return std::nullopt;
  return completion_of(request);
}

Ended Server::next_completion() {
  if (!wait([&] { return !ended_.empty(); }, "a completion", device_channel())) return {};
  Ended ended = std::move(ended_.front());
  ended_.pop_front();
  return ended;
}

bool Server::outstanding(std::uint32_t request) const {
  return outstanding_.count(request) != 0;
}

}  // namespace tillbridge::terminal::conformance
