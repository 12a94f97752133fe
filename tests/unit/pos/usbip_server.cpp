#include "tests/unit/pos/usbip_server.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <variant>

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tillbridge::pos {
namespace {

Instant clock_now() {
  return std::chrono::duration_cast<Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

std::string bus_id_of(const usb::DeviceDescription& description) {
  std::array<char, 10> model{};
  std::snprintf(model.data(), model.size(), "%04x:%04x", description.device.vendor_id,
                description.device.product_id);
  return std::string(model.data()) + ":" + description.serial;
}

}  // namespace

UsbipServer::UsbipServer(std::vector<std::unique_ptr<simulator::Device>> devices)
    : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      wake_(::eventfd(0, EFD_CLOEXEC)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
  ::listen(listener_, 16);
  ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
  port_ = ntohs(address.sin_port);
  for (auto& device : devices) {
    Plugged plugged;
    plugged.description = device->description();
    plugged.description.path = bus_id_of(plugged.description);
    plugged.device = std::move(device);
    plugged_.push_back(std::move(plugged));
  }
  thread_ = std::thread([this] { serve(); });
}

UsbipServer::~UsbipServer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake();
  thread_.join();
  for (const auto& client : clients_) ::close(client->socket);
  ::close(listener_);
  ::close(wake_);
}

void UsbipServer::unplug(std::size_t index) {
  {
    const std::lock_guard lock(mutex_);
    plugged_.at(index).gone = true;
  }
  wake();
}

void UsbipServer::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof(one));
}

void UsbipServer::serve() {
  for (;;) {
    std::vector<pollfd> polled{{wake_, POLLIN, 0}, {listener_, POLLIN, 0}};
    int patience_ms = -1;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      for (const auto& client : clients_) polled.push_back({client->socket, POLLIN, 0});
      for (const Plugged& plugged : plugged_) {
        const auto next = plugged.device->next_deadline();
        if (!next) continue;
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - clock_now()).count();
        const int left_ms = static_cast<int>(std::clamp<std::int64_t>(left, 0, 1000));
        patience_ms = patience_ms < 0 ? left_ms : std::min(patience_ms, left_ms);
      }
    }
    ::poll(polled.data(), polled.size(), patience_ms);
    const std::lock_guard lock(mutex_);
    if (polled[0].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t read = ::read(wake_, &count, sizeof(count));
    }
    for (std::size_t i = 2; i < polled.size(); ++i) {
      Client& client = *clients_.at(i - 2);
      if (polled[i].revents == 0) continue;
      Bytes bytes(1U << 17U);
      const ssize_t size = ::recv(client.socket, bytes.data(), bytes.size(), 0);
      if (size <= 0) {
        client.over = true;
      } else {
        client.exporter.receive(ByteView(bytes).first(static_cast<std::size_t>(size)));
        move_on(client);
      }
    }
    if (polled[1].revents != 0) {
      clients_.push_back(std::make_unique<Client>());
      clients_.back()->socket = ::accept(listener_, nullptr, nullptr);
    }
    for (const auto& client : clients_) {
      if (client->plugged == nullptr) continue;
      if (client->plugged->gone) client->over = true;
      client->plugged->device->advance(clock_now());
      while (auto completion = client->plugged->device->poll_completion()) {
        client->exporter.complete(std::move(*completion));
      }
      move_on(*client);
    }
    for (const auto& client : clients_) {
      if (client->over) drop(*client);
    }
    std::erase_if(clients_, [](const auto& client) { return client->over; });
  }
}

void UsbipServer::move_on(Client& client) {
  while (auto output = client.exporter.poll()) {
    if (const auto* send = std::get_if<usbip::Exporter::Send>(&*output)) {
      ::send(client.socket, send->bytes.data(), send->bytes.size(), MSG_NOSIGNAL);
    } else if (std::holds_alternative<usbip::Exporter::ListWanted>(*output)) {
      std::vector<usb::DeviceDescription> list;
      for (const Plugged& plugged : plugged_) {
        if (!plugged.gone) list.push_back(plugged.description);
      }
      client.exporter.devices(list);
    } else if (const auto* wanted = std::get_if<usbip::Exporter::ImportWanted>(&*output)) {
      import(client, wanted->busid);
    } else if (auto* submit = std::get_if<usbip::Exporter::Submit>(&*output)) {
      client.plugged->device->submit(std::move(submit->transfer), clock_now());
      client.plugged->device->advance(clock_now());
    } else if (const auto* cancel = std::get_if<usbip::Exporter::Cancel>(&*output)) {
      client.plugged->device->cancel(cancel->transfer, clock_now());
    } else {
      client.over = true;
    }
    if (client.plugged == nullptr) continue;
    while (auto completion = client.plugged->device->poll_completion()) {
      client.exporter.complete(std::move(*completion));
    }
  }
}

void UsbipServer::import(Client& client, const std::string& bus_id) {
  const auto found = std::find_if(plugged_.begin(), plugged_.end(), [&](const Plugged& plugged) {
    return !plugged.gone && plugged.description.path == bus_id;
  });
  if (found == plugged_.end()) {
    return client.exporter.import_refused(usbip::OperationStatus::no_such_device);
  }
  if (found->socket >= 0) return client.exporter.import_refused(usbip::OperationStatus::busy);
  found->socket = client.socket;
  client.plugged = &*found;
  client.exporter.import_granted(found->description);
}

void UsbipServer::drop(Client& client) {
  ::close(client.socket);
  if (client.plugged == nullptr) return;
  for (const usb::TransferId id : client.exporter.running()) {
    client.plugged->device->cancel(id, clock_now());
  }
  client.plugged->device->advance(clock_now());
  while (client.plugged->device->poll_completion()) {
  }
  client.plugged->socket = -1;
}

}  // namespace tillbridge::pos
