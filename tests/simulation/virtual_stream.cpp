// channel/transport/stream.hpp once more: listening and connecting in the Network of a simulation.
// A program that links this file and virtual_loop.cpp takes nothing of the real transport.
#include <memory>
#include <stdexcept>
#include <utility>

#include "channel/transport/stream.hpp"
#include "tests/simulation/network.hpp"

namespace tillbridge::transport {

using simulation::Connection;
using simulation::Network;
using namespace std::chrono_literals;

/// A certificate is the name of its file.
struct TlsContext::Impl {
  std::string name;
};

Result<TlsContext> TlsContext::load(const TlsFiles& files, Side /*side*/,
                                    const std::string& /*alpn*/) {
  return TlsContext(std::make_shared<Impl>(Impl{files.certificate.stem().string()}));
}

Result<TlsContext> TlsContext::load_for_strangers(const TlsFiles& /*files*/,
                                                  const std::string& /*alpn*/) {
  return fail(ErrorCode::config, "a simulation pairs nobody");
}

Result<TlsContext> TlsContext::trusting(ByteView /*authority*/, const std::string& /*alpn*/) {
  return fail(ErrorCode::config, "a simulation pairs nobody");
}

void TlsContext::also_serve(const TlsContext& /*other*/) {}

namespace {

class VirtualAcceptor final : public Acceptor {
 public:
  VirtualAcceptor(Loop& loop, std::uint16_t port, Events events)
      : events_(std::make_shared<Events>(std::move(events))),
        listener_(std::make_shared<Network::Listener>()) {
    listener_->accept = [&loop, weak = std::weak_ptr<Events>(events_)](
                            const std::shared_ptr<Connection>& connection) {
      // As a task of the server's: it may not live as long.
      loop.post([weak, connection] {
        auto stream = connection->stream(Connection::at_server);
        if (const auto alive = weak.lock()) alive->accepted(std::move(stream));
      });
    };
    port_ = Network::current().listen(port, listener_);
  }
  ~VirtualAcceptor() override { Network::current().stop_listening(port_, *listener_); }
  VirtualAcceptor(const VirtualAcceptor&) = delete;
  VirtualAcceptor& operator=(const VirtualAcceptor&) = delete;
  VirtualAcceptor(VirtualAcceptor&&) = delete;
  VirtualAcceptor& operator=(VirtualAcceptor&&) = delete;

  [[nodiscard]] std::uint16_t port() const override { return port_; }
  void use(TlsContext /*tls*/) override {}

 private:
  std::shared_ptr<Events> events_;
  std::shared_ptr<Network::Listener> listener_;
  std::uint16_t port_ = 0;
};

/// A handshake in TCP and TLS 1.3. The client is done before the server is: a connection may come
/// up, carry a hello, and be accepted long after the client gave it up.
class VirtualConnecting final : public Connecting {
 public:
  using Done = std::function<void(Result<std::unique_ptr<Stream>>)>;
  VirtualConnecting(std::string client, std::uint16_t port, Done done)
      : client_(std::move(client)), port_(port), done_(std::make_shared<Done>(std::move(done))) {
    Network& network = Network::current();
    simulation::World& world = network.world();
    const Duration round_trips =
        2 * (world.between(network.conditions().latency_least, network.conditions().latency_most) +
             world.between(0us, 2ms));
    const Duration hole = network.hole_until(client_) - world.now();
    const bool reached = hole < connect_timeout;
    answer(reached ? std::max(hole, Duration(0)) + round_trips : Duration(connect_timeout),
           reached);
  }

 private:
  void answer(Duration delay, bool reached) {
    Network::current().world().after(delay, [client = client_, port = port_, reached,
                                             weak = std::weak_ptr<Done>(done_)] {
      const auto done = weak.lock();
      if (!done) return;
      Network& network = Network::current();
      const Done callback = *done;
      if (!reached || network.hole_until(client) > network.world().now()) {
        return callback(fail(ErrorCode::unavailable, "the USB server does not answer: timed out"));
      }
      if (!network.listener(port)) {
        return callback(fail(ErrorCode::unavailable, "the USB server does not answer: refused"));
      }
      const auto connection = network.make(client, "server");
      const Duration behind = network.world().between(0us, network.conditions().latency_most);
      accept(port, connection, behind);
      callback(connection->stream(Connection::at_client));
    });
  }

  static void accept(std::uint16_t port, const std::shared_ptr<Connection>& connection,
                     Duration behind) {
    Network::current().world().after(behind, [port, connection] {
      Network& network = Network::current();
      const Instant hole = network.hole_until(connection->client());
      if (hole > network.world().now()) {
        return accept(port, connection,
                      hole - network.world().now() + network.world().between(0us, 1s));
      }
      if (const auto listener = network.listener(port)) return listener->accept(connection);
      (void)connection->stream(Connection::at_server);  // nobody listens: it is closed at once
    });
  }

  std::string client_;
  std::uint16_t port_;
  std::shared_ptr<Done> done_;
};

}  // namespace

Result<std::unique_ptr<Acceptor>> Acceptor::listen(Loop& loop, const std::string& /*address*/,
                                                   std::uint16_t port,
                                                   std::optional<TlsContext> /*tls*/, Events events,
                                                   AcceptorLimits /*strangers*/) {
  return std::unique_ptr<Acceptor>(
      std::make_unique<VirtualAcceptor>(loop, port, std::move(events)));
}

std::unique_ptr<Connecting> connect(Loop& /*loop*/, const std::string& /*host*/, std::uint16_t port,
                                    std::optional<TlsContext> tls,
                                    const std::string& /*server_name*/,
                                    std::function<void(Result<std::unique_ptr<Stream>>)> done) {
  return std::make_unique<VirtualConnecting>(tls ? tls->impl()->name : std::string(), port,
                                             std::move(done));
}

std::unique_ptr<Stream> adopt_socket(Loop& /*loop*/, int /*fd*/) {
  throw std::logic_error("a simulation has no sockets");
}

}  // namespace tillbridge::transport
