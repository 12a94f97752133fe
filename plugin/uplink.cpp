#include "plugin/uplink.hpp"

#include <utility>
#include <variant>

#include "channel/link/endpoint.hpp"
#include "channel/transport/stream.hpp"
#include "plugin/server_uplink.hpp"
#include "plugin/usbip_uplink.hpp"

namespace tillbridge::plugin {

Result<std::unique_ptr<Uplink>> make_uplink(transport::Loop& loop,
                                            const Configuration& configuration, SessionFacts facts,
                                            Log& log) {
  if (const auto* usbip = std::get_if<UsbipSource>(&configuration.source)) {
    return std::unique_ptr<Uplink>(std::make_unique<UsbipUplink>(loop, *usbip, log));
  }
  const auto& server = std::get<ServerSource>(configuration.source);
  auto tls = transport::TlsContext::load(
      {.certificate = server.certificate, .key = server.key, .authorities = server.authority},
      transport::TlsContext::Side::client, link::alpn);
  if (!tls) return tls.error();
  return std::unique_ptr<Uplink>(
      std::make_unique<ServerUplink>(loop, server, std::move(tls).value(), std::move(facts), log));
}

}  // namespace tillbridge::plugin
