#include "tests/simulation/till.hpp"

#include <stdexcept>
#include <utility>

#include "channel/link/endpoint.hpp"
#include "plugin/server_uplink.hpp"
#include "tests/simulation/terminal.hpp"

namespace tillbridge::simulation {

Till::Till(World& world, std::string name, std::uint16_t server_port, std::shared_ptr<Rdp> rdp)
    : world_(world), name_(std::move(name)), rdp_(std::move(rdp)) {
  plugin::ServerSource source;
  source.host = "server";
  source.port = server_port;
  source.name = "server";
  source.certificate = source.key = name_ + ".pem";
  auto tls = transport::TlsContext::load(
      {.certificate = source.certificate, .key = source.key, .authorities = {}},
      transport::TlsContext::Side::client, link::alpn);
  auto uplink = std::make_unique<plugin::ServerUplink>(
      loop_, source, std::move(tls).value(),
      plugin::SessionFacts{
          .client_name = name_, .user = "anna", .domain = {}, .terminal_server = {}},
      *this);
  session_ = std::make_unique<plugin::Session>(loop_, std::move(uplink), *this, *this);
  rdp_->till = this;
  session_->start();
}

Till::~Till() {
  rdp_->till = nullptr;
  session_.reset();
}

void Till::stop(std::function<void()> stopped) {
  session_->stop(std::move(stopped));
}

void Till::send(rdpeusb::ChannelId channel, Bytes message) {
  rdp_->to_terminal([channel, message = std::move(message)](Terminal& terminal) {
    terminal.receive(channel, message);
  });
}

void Till::close(rdpeusb::ChannelId channel) {
  rdp_->to_terminal([channel](Terminal& terminal) { terminal.closed(channel); });
  rdp_->to_till([channel](Till& till) { till.closed(channel); });
}

void Till::write(plugin::Level level, const std::string& text) {
  if (level == plugin::Level::debug) return;
  world_.tell(name_, text);
}

}  // namespace tillbridge::simulation
