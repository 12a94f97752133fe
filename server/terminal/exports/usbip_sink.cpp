#include "server/terminal/exports/usbip_sink.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"
#include "channel/usbip/codec.hpp"

namespace tillbridge::terminal::exports {
namespace {

/// One read: a 64 KiB bulk OUT with its header, and more. Whatever is left comes with the session's
/// next round.
constexpr std::size_t read_bytes = 128U << 10U;
/// A client that does not read what it asked for is not read from either.
constexpr std::size_t unsent_high_water = 4U << 20U;
constexpr Duration accept_pause = std::chrono::seconds(1);
constexpr std::size_t bus_id_characters = ::tillbridge::usbip::busid_size - 1;

std::string hash_of(const std::string& text) {
  std::uint32_t value = 2166136261U;  // FNV-1a
  for (const char character : text) {
    value = (value ^ static_cast<unsigned char>(character)) * 16777619U;
  }
  std::array<char, 9> digits{};
  std::snprintf(digits.data(), digits.size(), "%08x", value);
  return digits.data();
}

}  // namespace

std::string bus_id_of(const SessionDevice& device) {
  constexpr std::string_view allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:@._-";
  const usb::DeviceDescription& description = device.description;
  std::array<char, 10> model{};
  std::snprintf(model.data(), model.size(), "%04x:%04x", description.device.vendor_id,
                description.device.product_id);
  // Without a serial number only the till can tell two of them apart, by what it made of the port.
  const std::string whole =
      std::string(model.data()) + (description.serial.empty()
                                       ? "@" + hash_of(device.announced.instance_id)
                                       : ":" + description.serial);
  std::string id = whole;
  for (char& character : id) {
    if (allowed.find(character) == std::string_view::npos) character = '_';
  }
  if (id == whole && id.size() <= bus_id_characters) return id;
  constexpr std::size_t tail_characters = 1 /* - */ + 8 /* hash */;
  id.resize(std::min(id.size(), bus_id_characters - tail_characters));
  return id + "-" + hash_of(whole);
}

UsbipSink::UsbipSink(const std::string& address, std::uint16_t port) {
  auto listener = listen_on(address, port, "--usbip-listen");
  if (!listener) {
    note("usbip_failed", "USB/IP: " + listener.error().message, {}, rdpeusb::Level::error);
    outputs_.emplace_back(EndSession{"nobody could reach its devices"});
    return;
  }
  note("usbip_listening", "listening for USB/IP clients on " + listener->address.text(),
       {{"address", address}, {"port", std::int64_t{listener->address.port()}}});
  if (!is_loopback(address)) {
    note("notice",
         "USB/IP has no encryption and no password: everybody who reaches " +
             listener->address.text() + " can use the devices of this session",
         {}, rdpeusb::Level::warning);
  }
  listener_ = std::move(listener->socket);
}

UsbipSink::~UsbipSink() {
  for (const auto& [socket, client] : clients_) ::close(socket);
}

// --- the session's side

void UsbipSink::device_arrived(SessionDevice device, Instant /*now*/) {
  Exported exported;
  exported.description = std::move(device.description);
  device.description = exported.description;
  exported.description.path = free_bus_id(device);
  const std::string bus_id = exported.description.path;
  note("exported",
       "device " + std::to_string(device.id) + " (" + exported.description.label() +
           ") can be imported as " + bus_id,
       {{"device", std::int64_t{device.id}},
        {"bus_id", bus_id},
        {"label", exported.description.label()}});
  exported_.insert_or_assign(device.id, std::move(exported));
}

void UsbipSink::device_gone(DeviceId device, const std::string& /*reason*/, Instant now) {
  const auto exported = exported_.find(device);
  if (exported == exported_.end()) return;
  const auto client = clients_.find(exported->second.socket);
  exported_.erase(exported);
  if (client == clients_.end()) return;
  // Its answers, "gone" to all that ran, are on their way; USB/IP has no other word for it.
  client->second.device.reset();
  close_softly(client->second, now);
  if (!send(client->second, client->first)) close(client);
}

void UsbipSink::completed(DeviceId device, usb::Completion completion, Instant now) {
  const auto exported = exported_.find(device);
  if (exported == exported_.end()) return;
  if (exported->second.leftover.erase(completion.id) != 0) return;
  const auto client = clients_.find(exported->second.socket);
  if (client == clients_.end()) return;
  client->second.exporter.complete(std::move(completion));
  move_on(client, now);
}

void UsbipSink::session_ended(Instant /*now*/) {
  for (const auto& [socket, client] : clients_) ::close(socket);
  clients_.clear();
  exported_.clear();
  listener_ = Descriptor();
}

std::optional<Sink::Output> UsbipSink::poll() {
  if (outputs_.empty()) return std::nullopt;
  Output output = std::move(outputs_.front());
  outputs_.pop_front();
  return output;
}

std::string UsbipSink::free_bus_id(const SessionDevice& device) const {
  std::string wanted = bus_id_of(device);
  const bool taken = std::any_of(exported_.begin(), exported_.end(), [&](const auto& item) {
    return item.second.description.path == wanted;
  });
  if (!taken) return wanted;
  // Two devices that claim to be the same one: only the session's own number is left.
  const std::string number = "-" + std::to_string(device.id);
  return wanted.substr(0, bus_id_characters - number.size()) + number;
}

void UsbipSink::note(std::string event, std::string text, std::vector<Field> fields,
                     rdpeusb::Level level) {
  outputs_.emplace_back(Report{std::move(event), std::move(text), std::move(fields), level});
}

// --- the clients' side

void UsbipSink::add_polled(std::vector<pollfd>& polled) const {
  if (listener_.get() >= 0 && !accept_again_) polled.push_back({listener_.get(), POLLIN, 0});
  for (const auto& [socket, client] : clients_) {
    const bool reads = !client.closing && client.unsent_bytes < unsent_high_water;
    const bool writes = !client.unsent.empty();
    polled.push_back(
        {socket, static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)), 0});
  }
}

void UsbipSink::ready(const pollfd& descriptor, Instant now) {
  if (descriptor.fd == listener_.get()) return accept(now);
  const auto entry = clients_.find(descriptor.fd);
  if (entry == clients_.end()) return;
  if ((descriptor.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) return close(entry);
  if ((descriptor.revents & POLLOUT) != 0 && !send(entry->second, entry->first))
    return close(entry);
  if ((descriptor.revents & POLLIN) != 0) receive(entry, now);
}

void UsbipSink::advance(Instant now) {
  if (accept_again_ && now >= *accept_again_) accept_again_.reset();
  for (auto entry = clients_.begin(); entry != clients_.end();) {
    const auto client = entry++;
    if (client->second.deadline && now >= *client->second.deadline) close(client);
  }
}

std::optional<Instant> UsbipSink::next_deadline() const {
  std::optional<Instant> next = accept_again_;
  for (const auto& [socket, client] : clients_) {
    if (client.deadline) next = std::min(next.value_or(*client.deadline), *client.deadline);
  }
  return next;
}

void UsbipSink::accept(Instant now) {
  SocketAddress from;
  Descriptor socket(
      ::accept4(listener_.get(), from.get(), &from.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.get() < 0) {
    if (!is_exhausted(errno)) return;  // the client has gone away again
    accept_again_ = now + accept_pause;
    return note("notice", "cannot accept a USB/IP client: this machine has no descriptors left", {},
                rdpeusb::Level::error);
  }
  if (clients_.size() >= limits::usbip_sink_clients) {
    return note("notice",
                "USB/IP client " + from.text() + " refused: " +
                    std::to_string(limits::usbip_sink_clients) + " are connected already",
                {}, rdpeusb::Level::warning);
  }
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  ::setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  Client& client = clients_.try_emplace(socket.release()).first->second;
  client.address = from.text();
  client.deadline = now + request_patience;
}

void UsbipSink::receive(Entry entry, Instant now) {
  Bytes buffer(read_bytes);
  const ssize_t received = ::recv(entry->first, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (received > 0) {
    entry->second.exporter.receive(ByteView(buffer).first(static_cast<std::size_t>(received)));
    return move_on(entry, now);
  }
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
  close(entry);
}

void UsbipSink::move_on(Entry entry, Instant now) {
  Client& client = entry->second;
  while (auto output = client.exporter.poll()) {
    if (auto* bytes = std::get_if<usbip::Exporter::Send>(&*output)) {
      client.unsent_bytes += bytes->bytes.size();
      client.unsent.push_back(std::move(bytes->bytes));
    } else if (std::holds_alternative<usbip::Exporter::ListWanted>(*output)) {
      std::vector<usb::DeviceDescription> list;
      list.reserve(exported_.size());
      for (const auto& [device, exported] : exported_) list.push_back(exported.description);
      client.exporter.devices(list);
    } else if (const auto* wanted = std::get_if<usbip::Exporter::ImportWanted>(&*output)) {
      import(client, entry->first, wanted->busid);
    } else if (auto* submit = std::get_if<usbip::Exporter::Submit>(&*output)) {
      if (client.device) outputs_.emplace_back(Submit{*client.device, std::move(submit->transfer)});
    } else if (const auto* cancel = std::get_if<usbip::Exporter::Cancel>(&*output)) {
      if (client.device) outputs_.emplace_back(Cancel{*client.device, cancel->transfer});
    } else if (const auto* over = std::get_if<usbip::Exporter::Close>(&*output)) {
      if (over->error) {
        note("notice", "USB/IP client " + client.address + ": " + over->error->message, {},
             rdpeusb::Level::warning);
      }
      close_softly(client, now);
    }
  }
  while (auto notice = client.exporter.poll_notice()) {
    note("notice", "USB/IP client " + client.address + ": " + *notice, {}, rdpeusb::Level::warning);
  }
  if (!send(client, entry->first)) close(entry);
}

void UsbipSink::import(Client& client, int socket, const std::string& bus_id) {
  const auto found = std::find_if(exported_.begin(), exported_.end(), [&](const auto& item) {
    return item.second.description.path == bus_id;
  });
  if (found == exported_.end()) {
    return client.exporter.import_refused(usbip::OperationStatus::no_such_device);
  }
  auto& [device, exported] = *found;
  if (exported.socket >= 0 || !exported.leftover.empty()) {
    return client.exporter.import_refused(usbip::OperationStatus::busy);
  }
  exported.socket = socket;
  client.device = device;
  client.deadline.reset();
  client.exporter.import_granted(exported.description);
  note("imported",
       "device " + std::to_string(device) + " (" + exported.description.label() +
           ") imported by USB/IP client " + client.address,
       {{"device", std::int64_t{device}}, {"client", client.address}});
}

/// False when the connection is over: broken, or everything was sent that was still to be.
bool UsbipSink::send(Client& client, int socket) {
  while (!client.unsent.empty()) {
    const ByteView rest = ByteView(client.unsent.front()).subspan(client.sent_of_first);
    const ssize_t sent = ::send(socket, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    client.sent_of_first += static_cast<std::size_t>(sent);
    client.unsent_bytes -= static_cast<std::size_t>(sent);
    if (client.sent_of_first < client.unsent.front().size()) continue;
    client.unsent.pop_front();
    client.sent_of_first = 0;
  }
  return !client.closing;
}

void UsbipSink::close_softly(Client& client, Instant now) {
  client.closing = true;
  client.deadline = now + request_patience;
}

void UsbipSink::close(Entry entry) {
  const Client& client = entry->second;
  if (client.device) {
    Exported& exported = exported_.at(*client.device);
    exported.socket = -1;
    for (const usb::TransferId id : client.exporter.running()) {
      exported.leftover.insert(id);
      outputs_.emplace_back(Cancel{*client.device, id});
    }
    note("released",
         "device " + std::to_string(*client.device) + " (" + exported.description.label() +
             ") given back by USB/IP client " + client.address,
         {{"device", std::int64_t{*client.device}}});
  }
  ::close(entry->first);
  clients_.erase(entry);
}

}  // namespace tillbridge::terminal::exports
