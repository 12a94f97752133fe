#include "server/terminal/vhci/vhci_sink.hpp"

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace tillbridge::terminal::vhci {
namespace {

/// One read from the kernel: a 64 KiB bulk OUT with its header, and more. Whatever is left comes
/// with the session's next round, so that a busy disk does not hold up its neighbours.
constexpr std::size_t read_bytes = 128U << 10U;

/// Whether the port was detached on this machine, and nobody looked at the socket since.
bool hung_up(int socket) {
  pollfd polled{socket, 0, 0};
  return ::poll(&polled, 1, 0) == 1 && (polled.revents & (POLLHUP | POLLERR)) != 0;
}

std::string system_error() {
  return std::error_code(errno, std::generic_category()).message();
}

}  // namespace

VhciSink::~VhciSink() {
  for (auto& [device, attached] : attached_) detach(attached, true);
}

void VhciSink::device_arrived(SessionDevice device, Instant /*now*/) {
  std::array<int, 2> halves{-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, halves.data()) != 0) {
    outputs_.emplace_back(Retract{device.id, "no socket pair for vhci-hcd: " + system_error()});
    return;
  }
  const Result<std::uint32_t> port = controller_->attach(halves[1], device.description.speed);
  ::close(halves[1]);  // the kernel has its own reference now
  if (!port) {
    ::close(halves[0]);
    outputs_.emplace_back(Retract{device.id, port.error().message});
    return;
  }
  std::string label = device.description.label();
  outputs_.emplace_back(Report{
      "attached",
      "device " + std::to_string(device.id) + " (" + label + ") attached as vhci port " +
          std::to_string(*port),
      {{"device", std::int64_t{device.id}}, {"port", std::int64_t{*port}}, {"label", label}}});
  const auto entry =
      attached_
          .try_emplace(device.id, Attached{halves[0],
                                           *port,
                                           std::move(label),
                                           usbip::Exporter(usbip::Exporter::Start::attached,
                                                           std::move(device.description)),
                                           {},
                                           0})
          .first;
  move_on(entry);
}

void VhciSink::device_gone(DeviceId device, const std::string& /*reason*/, Instant /*now*/) {
  const auto entry = attached_.find(device);
  if (entry == attached_.end()) return;
  detach(entry->second, true);
  attached_.erase(entry);
}

void VhciSink::completed(DeviceId device, usb::Completion completion, Instant /*now*/) {
  const auto entry = attached_.find(device);
  if (entry == attached_.end()) return;
  entry->second.exporter.complete(std::move(completion));
  move_on(entry);
}

void VhciSink::session_ended(Instant /*now*/) {
  for (auto& [device, attached] : attached_) detach(attached, true);
  attached_.clear();
}

void VhciSink::add_polled(std::vector<pollfd>& polled) const {
  for (const auto& [device, attached] : attached_) {
    const auto wanted = static_cast<short>(attached.unsent.empty() ? POLLIN : POLLIN | POLLOUT);
    polled.push_back(pollfd{attached.socket, wanted, 0});
  }
}

void VhciSink::ready(const pollfd& descriptor, Instant /*now*/) {
  for (auto entry = attached_.begin(); entry != attached_.end(); ++entry) {
    if (entry->second.socket != descriptor.fd) continue;
    if ((descriptor.revents & POLLOUT) != 0) send(entry->second);
    if ((descriptor.revents & (POLLIN | POLLHUP | POLLERR)) != 0) receive(entry);
    return;
  }
}

std::optional<Sink::Output> VhciSink::poll() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

void VhciSink::receive(Entry entry) {
  Bytes buffer(read_bytes);
  const ssize_t received = ::recv(entry->second.socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (received > 0) {
    entry->second.exporter.receive(ByteView(buffer).first(static_cast<std::size_t>(received)));
    return move_on(entry);
  }
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
  lost(entry, "vhci port " + std::to_string(entry->second.port) + " was detached on this machine",
       false);
}

void VhciSink::move_on(Entry entry) {
  Attached& attached = entry->second;
  const DeviceId device = entry->first;
  std::optional<usbip::Exporter::Close> over;
  while (auto output = attached.exporter.poll()) {
    if (auto* submit = std::get_if<usbip::Exporter::Submit>(&*output)) {
      outputs_.emplace_back(Submit{device, std::move(submit->transfer)});
    } else if (const auto* cancel = std::get_if<usbip::Exporter::Cancel>(&*output)) {
      outputs_.emplace_back(Cancel{device, cancel->transfer});
    } else if (auto* bytes = std::get_if<usbip::Exporter::Send>(&*output)) {
      attached.unsent.push_back(std::move(bytes->bytes));
    } else if (auto* close = std::get_if<usbip::Exporter::Close>(&*output)) {
      over = std::move(*close);
    }  // lists and imports: never asked for once attached
  }
  while (auto notice = attached.exporter.poll_notice()) {
    outputs_.emplace_back(Report{"notice",
                                 "vhci port " + std::to_string(attached.port) + ": " + *notice,
                                 {{"device", std::int64_t{device}}},
                                 rdpeusb::Level::warning});
  }
  send(attached);
  if (over) {
    lost(entry,
         "vhci-hcd broke off: " + (over->error ? over->error->message : std::string("no reason")),
         true);
  }
}

/// Errors show as a hang-up at the next poll().
void VhciSink::send(Attached& attached) {
  while (!attached.unsent.empty()) {
    const ByteView rest = ByteView(attached.unsent.front()).subspan(attached.sent_of_first);
    const ssize_t sent =
        ::send(attached.socket, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return;
    attached.sent_of_first += static_cast<std::size_t>(sent);
    if (attached.sent_of_first < attached.unsent.front().size()) continue;
    attached.unsent.pop_front();
    attached.sent_of_first = 0;
  }
}

void VhciSink::lost(Entry entry, const std::string& reason, bool still_attached) {
  detach(entry->second, still_attached);
  outputs_.emplace_back(Retract{entry->first, reason});
  attached_.erase(entry);
}

/// The port is freed before our half closes: while that is open the port cannot be somebody else's.
void VhciSink::detach(Attached& attached, bool still_attached) {
  // A port that somebody freed may be another session's by now; only its number would tell them
  // apart.
  if (still_attached && !hung_up(attached.socket)) {
    if (Status detached = controller_->detach(attached.port); !detached) {
      outputs_.emplace_back(
          Report{"notice", detached.error().message, {}, rdpeusb::Level::warning});
    }
  }
  ::close(attached.socket);
}

}  // namespace tillbridge::terminal::vhci
