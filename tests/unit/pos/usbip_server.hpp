// A USB/IP server with simulated devices on the loopback, on a thread of its own: what UsbipHost is
// tried against.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "channel/usbip/exporter.hpp"
#include "server/simulator/device.hpp"

namespace tillbridge::pos {

class UsbipServer {
 public:
  /// Bus id of each: "VID:PID:SERIAL".
  explicit UsbipServer(std::vector<std::unique_ptr<simulator::Device>> devices);
  ~UsbipServer();
  UsbipServer(const UsbipServer&) = delete;
  UsbipServer& operator=(const UsbipServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// The device leaves the bus for good.
  void unplug(std::size_t index);

 private:
  struct Plugged {
    std::unique_ptr<simulator::Device> device;
    usb::DeviceDescription description;
    bool gone = false;
    int socket = -1;  ///< of the client that has it
  };
  struct Client {
    int socket = -1;
    usbip::Exporter exporter{usbip::Exporter::Start::await_request};
    Plugged* plugged = nullptr;
    bool over = false;
  };

  void serve();
  void move_on(Client& client);
  void import(Client& client, const std::string& bus_id);
  void drop(Client& client);
  void wake() const;

  int listener_ = -1, wake_ = -1;
  std::uint16_t port_ = 0;
  std::mutex mutex_;  ///< everything below
  bool stopping_ = false;
  std::vector<Plugged> plugged_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::thread thread_;
};

}  // namespace tillbridge::pos
