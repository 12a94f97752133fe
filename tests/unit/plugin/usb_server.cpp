#include "tests/unit/plugin/usb_server.hpp"

#include <stdexcept>
#include <utility>

#include "server/simulator/factory.hpp"
#include "tests/unit/plugin/certificates.hpp"

namespace tillbridge::plugin::test {
namespace {

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(result).value();
}

}  // namespace

std::unique_ptr<simulator::Device> echo_device(const std::string& path) {
  simulator::DeviceOptions options;
  options.kind = "serial-echo";
  options.path = path;
  return must(simulator::make_device(options));
}

ExportedStick::ExportedStick(transport::Loop& loop, std::string busid,
                             std::unique_ptr<simulator::Device> device,
                             std::function<void(Bytes)> send, std::function<void()> close)
    : loop_(loop),
      busid_(std::move(busid)),
      device_(std::move(device)),
      send_(std::move(send)),
      close_(std::move(close)),
      exporter_(usbip::Exporter::Start::await_request),
      timer_(loop) {}

void ExportedStick::receive(ByteView bytes) {
  exporter_.receive(bytes);
  pump();
}

void ExportedStick::lost() {
  for (const auto id : exporter_.running()) device_->cancel(id, loop_.now());
}

std::unique_ptr<simulator::Device> ExportedStick::abandon() {
  lost();
  timer_.cancel();
  while (device_->poll_completion()) {
  }
  return std::move(device_);
}

void ExportedStick::pump() {
  using usbip::Exporter;
  device_->advance(loop_.now());
  for (bool progress = true; progress;) {
    progress = false;
    while (auto output = exporter_.poll()) {
      progress = true;
      if (auto* send = std::get_if<Exporter::Send>(&*output)) {
        send_(std::move(send->bytes));
      } else if (const auto* wanted = std::get_if<Exporter::ImportWanted>(&*output)) {
        if (wanted->busid == busid_ && device_) {
          imported_ = true;
          exporter_.import_granted(device_->description());
        } else {
          exporter_.import_refused();
        }
      } else if (auto* submit = std::get_if<Exporter::Submit>(&*output)) {
        device_->submit(std::move(submit->transfer), loop_.now());
      } else if (const auto* cancel = std::get_if<Exporter::Cancel>(&*output)) {
        ++cancels_;
        device_->cancel(cancel->transfer, loop_.now());
      } else if (std::holds_alternative<Exporter::Close>(*output)) {
        return close_();
      }
    }
    while (auto completion = device_->poll_completion()) {
      progress = true;
      exporter_.complete(std::move(*completion));
    }
  }
  if (const auto deadline = device_->next_deadline()) timer_.arm(*deadline, [this] { pump(); });
}

UsbServer::UsbServer(transport::Loop& loop, std::uint16_t port, int sticks_at_hello)
    : loop_(loop), sticks_at_hello_(sticks_at_hello), timer_(loop) {
  const auto& files = Certificates::get();
  auto tls = must(transport::TlsContext::load({.certificate = files.certificate("server"),
                                               .key = files.key("server"),
                                               .authorities = files.authority()},
                                              transport::TlsContext::Side::server, link::alpn));
  acceptor_ = must(transport::Acceptor::listen(
      loop, "127.0.0.1", port, std::move(tls),
      {.accepted = [this](std::unique_ptr<transport::Stream> stream) { accept(std::move(stream)); },
       .refused = [this](const std::string&, const Error&) { ++refused; }}));
}

void UsbServer::accept(std::unique_ptr<transport::Stream> stream) {
  stream_ = std::move(stream);
  if (resume_grace_s == 0 || !endpoint_ || !endpoint_->can_resume()) {
    sticks.clear();
    endpoint_.emplace(link::Side::server);
  }
  endpoint_->connected(loop_.now());
  stream_->start({.received =
                      [this](ByteView bytes) {
                        endpoint_->receive(bytes, loop_.now());
                        while (auto event = endpoint_->poll_event()) take(std::move(*event));
                        flush();
                      },
                  .drained = [] {},
                  .closed = [this](const std::optional<Error>&) { cut(); }});
  flush();
}

void UsbServer::take(link::Endpoint::Event event) {
  if (auto* data = std::get_if<link::Endpoint::Data>(&event)) {
    const auto found = sticks.find(data->stream);
    if (found != sticks.end()) found->second->receive(data->bytes);
    return;
  }
  if (const auto* established = std::get_if<link::Endpoint::Established>(&event))
    resumed += established->resumed ? 1 : 0;
  const auto* control = std::get_if<link::Endpoint::Control>(&event);
  if (control == nullptr) return;
  if (const auto* said = std::get_if<link::Hello>(&control->message)) {
    ++connections;
    hello = *said;
    link::Welcome welcome;
    welcome.resume_grace_s = resume_grace_s;
    say(welcome);
    for (int stick = 1; grant_at_hello && stick <= sticks_at_hello_; ++stick)
      grant(static_cast<link::StreamId>(stick));
  } else if (const auto* given_back = std::get_if<link::Released>(&control->message)) {
    released.push_back(given_back->stream);
  } else if (std::holds_alternative<link::Paused>(control->message)) {
    ++paused;
  } else if (const auto* bye = std::get_if<link::Goodbye>(&control->message)) {
    goodbye = bye->reason;
  }
}

void UsbServer::grant(link::StreamId stream) {
  const std::string path = "simulated-" + std::to_string(stream);
  const auto old = abandoned_.find(stream);
  const bool continues = continues_ && old != abandoned_.end();
  auto device = old == abandoned_.end() ? echo_device(path) : std::move(old->second);
  abandoned_.erase(stream);
  sticks[stream] = std::make_unique<ExportedStick>(
      loop_, path, std::move(device),
      [this, stream](Bytes bytes) {
        if (!endpoint_) return;
        endpoint_->send(stream, bytes, loop_.now());
        flush();
      },
      [] {});
  link::Granted granted;
  granted.stream = stream;
  granted.busid = path;
  granted.label = path;
  granted.continues = continues;
  say(granted);
}

void UsbServer::revoke(link::StreamId stream, const std::string& reason, bool unplugged) {
  sticks.erase(stream);
  say(link::Revoked{stream, reason, unplugged});
}

void UsbServer::say(const link::ControlMessage& message) {
  endpoint_->send_control(message, loop_.now());
  flush();
}

void UsbServer::cut() {
  stream_.reset();
  timer_.cancel();
  if (resume_grace_s > 0) {
    if (endpoint_) endpoint_->disconnected(loop_.now());
    return;
  }
  for (auto& [stream, stick] : sticks) stick->lost();
}

void UsbServer::forget() {
  for (auto& [stream, stick] : sticks) stick->lost();
  endpoint_.reset();
}

void UsbServer::restart(bool continues) {
  continues_ = continues;
  stream_.reset();
  timer_.cancel();
  for (auto& [stream, stick] : sticks) abandoned_[stream] = stick->abandon();
  sticks.clear();
  endpoint_.reset();
}

void UsbServer::close() {
  stream_->close();
}

void UsbServer::flush() {
  if (!stream_) return;
  Bytes output = endpoint_->take_output();
  if (!output.empty()) stream_->write(std::move(output));
  if (const auto deadline = endpoint_->next_deadline()) {
    timer_.arm(*deadline, [this] {
      endpoint_->advance(loop_.now());
      flush();
    });
  }
}

Usbipd::Usbipd(transport::Loop& loop) : loop_(loop) {
  acceptor_ = must(transport::Acceptor::listen(
      loop, "127.0.0.1", 0, std::nullopt,
      {.accepted =
           [this](std::unique_ptr<transport::Stream> accepted) {
             ++connections;
             stream_ = std::move(accepted);
             stick = std::make_unique<ExportedStick>(
                 loop_, busy ? "9-9" : "1-1", echo_device("1-1"),
                 [this](Bytes bytes) {
                   if (stream_) stream_->write(std::move(bytes));
                 },
                 [this] {
                   if (stream_) stream_->close();
                 });
             stream_->start({.received = [this](ByteView bytes) { stick->receive(bytes); },
                             .drained = [] {},
                             .closed = [this](const std::optional<Error>&) { cut(); }});
           },
       .refused = [](const std::string&, const Error&) {}}));
}

void Usbipd::cut() {
  stream_.reset();
  if (stick) stick->lost();
}

}  // namespace tillbridge::plugin::test
