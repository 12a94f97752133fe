// UsbipSink: the devices of a session as exports of a USB/IP server, for clients that bring a host
// stack of their own (tillbridge-pos) or live in another kernel (a virtual machine, a container
// host): where this machine has no vhci-hcd, or shall not use it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "channel/usbip/exporter.hpp"
#include "server/terminal/listening.hpp"
#include "server/terminal/sink.hpp"

namespace tillbridge::terminal::exports {

/// Each session listens for itself, on its own port: sessions share nothing, and whoever connects
/// sees the devices of that session only. USB/IP knows neither encryption nor passwords, so
/// everybody who reaches the port (on a loopback address: every user of this machine) can use the
/// devices.
///
/// A device is lent to one client at a time. When a client goes, what it left running is cancelled,
/// and the device is lent again once all of that has ended.
class UsbipSink final : public Sink {
 public:
  /// Listens at once; the first reports say where, or that it does not work and the session ends.
  UsbipSink(const std::string& address, std::uint16_t port);
  ~UsbipSink() override;
  UsbipSink(const UsbipSink&) = delete;
  UsbipSink& operator=(const UsbipSink&) = delete;

  void device_arrived(SessionDevice device, Instant now) override;
  void device_gone(DeviceId device, const std::string& reason, Instant now) override;
  void completed(DeviceId device, usb::Completion completion, Instant now) override;
  void session_ended(Instant now) override;
  void add_polled(std::vector<pollfd>& polled) const override;
  void ready(const pollfd& descriptor, Instant now) override;
  void advance(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  [[nodiscard]] std::optional<Output> poll() override;

  /// From the connection to the import: clients ask at once. Also for the last answer to leave.
  static constexpr Duration request_patience = std::chrono::seconds(10);

 private:
  struct Exported {
    usb::DeviceDescription description;  ///< its path is the bus id
    int socket = -1;                     ///< of the client that has it
    std::set<usb::TransferId> leftover;  ///< cancelled, not yet ended
  };
  struct Client {
    std::string address;
    usbip::Exporter exporter{usbip::Exporter::Start::await_request};
    std::optional<DeviceId> device;
    std::optional<Instant> deadline;
    bool closing = false;  ///< as soon as everything is sent
    std::deque<Bytes> unsent;
    std::size_t sent_of_first = 0, unsent_bytes = 0;
  };
  using Entry = std::map<int, Client>::iterator;

  void accept(Instant now);
  void receive(Entry entry, Instant now);
  void move_on(Entry entry, Instant now);
  void import(Client& client, int socket, const std::string& bus_id);
  [[nodiscard]] bool send(Client& client, int socket);
  void close(Entry entry);
  void close_softly(Client& client, Instant now);
  [[nodiscard]] std::string free_bus_id(const SessionDevice& device) const;
  void note(std::string event, std::string text, std::vector<Field> fields = {},
            rdpeusb::Level level = rdpeusb::Level::info);

  Descriptor listener_;
  std::optional<Instant> accept_again_;  ///< set while the system has no descriptors left
  std::map<DeviceId, Exported> exported_;
  std::map<int, Client> clients_;  ///< by socket
  std::deque<Output> outputs_;
};

/// What a client imports the device by: the same at every connection of the same stick.
/// "1209:0003:5A2F00000001"; at most 31 characters, what does not fit becomes a hash.
[[nodiscard]] std::string bus_id_of(const SessionDevice& device);

}  // namespace tillbridge::terminal::exports
