// A till's program: the plugin's session and its uplink to the USB server, as FreeRDP's process
// would run them. Destroying it is kill -9.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "channel/transport/loop.hpp"
#include "plugin/session.hpp"
#include "tests/simulation/rdp.hpp"

namespace tillbridge::simulation {

class Till final : public plugin::Channels, public plugin::Log {
 public:
  Till(World& world, std::string name, std::uint16_t server_port, std::shared_ptr<Rdp> rdp);
  ~Till() override;
  Till(const Till&) = delete;
  Till& operator=(const Till&) = delete;
  Till(Till&&) = delete;
  Till& operator=(Till&&) = delete;

  /// The RDP connection ends in an orderly way.
  void stop(std::function<void()> stopped);

  // from the terminal server
  void opened(rdpeusb::ChannelId channel) { session_->channel_opened(channel); }
  void receive(rdpeusb::ChannelId channel, const Bytes& message) {
    session_->receive(channel, message);
  }
  void closed(rdpeusb::ChannelId channel) { session_->channel_closed(channel); }

  // from the session
  void send(rdpeusb::ChannelId channel, Bytes message) override;
  void close(rdpeusb::ChannelId channel) override;
  void write(plugin::Level level, const std::string& text) override;

 private:
  World& world_;
  std::string name_;
  transport::Loop loop_;
  std::shared_ptr<Rdp> rdp_;
  std::unique_ptr<plugin::Session> session_;
};

}  // namespace tillbridge::simulation
