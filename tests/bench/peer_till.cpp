// peer_till: a till without RDP. The plugin's own way to its stick (uplink, import, pipeline), and
// instead of a terminal session a USB/IP port on loopback, which the class driver's kernel attaches
// to. So the leg between till and USB server can be measured alone, next to a stock USB/IP client
// that has the same leg in front of it.
//
//   peer_till TILL.TOML          (as for the plugin)
//
// Prints its port once the stick is there, and on SIGTERM what the pipeline did. Serves one client.
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <utility>
#include <variant>

#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "channel/usbip/exporter.hpp"
#include "tests/bench/peer_link_stick.hpp"

namespace tillbridge::bench {
namespace {

class PeerTill {
 public:
  explicit PeerTill(const std::filesystem::path& configuration)
      : stick_(loop_, configuration),
        signals_(loop_, {SIGTERM, SIGINT}, [this](int /*signal*/) { loop_.stop(); }) {}

  void run() {
    stick_.start({.ready = [this](const usb::DeviceDescription& device) { listen(device); },
                  .completed =
                      [this](usb::Completion completion) {
                        exporter_.complete(std::move(completion));
                        pump();
                      }});
    loop_.run();
    const auto* pipeline = stick_.pipeline();
    std::cout << "pipeline: " << (pipeline != nullptr ? pipeline->text() : "off") << std::endl;
  }

 private:
  void listen(const usb::DeviceDescription& device) {
    device_ = device;
    auto acceptor = transport::Acceptor::listen(
        loop_, "127.0.0.1", 0, std::nullopt,
        {.accepted =
             [this](std::unique_ptr<transport::Stream> client) { serve(std::move(client)); },
         .refused = [](const std::string& /*peer*/, const Error& /*error*/) {}});
    if (!acceptor) throw std::runtime_error(acceptor.error().message);
    acceptor_ = std::move(*acceptor);
    std::cout << "peer_till on 127.0.0.1:" << acceptor_->port() << std::endl;
  }

  void serve(std::unique_ptr<transport::Stream> client) {
    if (client_) return;
    client_ = std::move(client);
    client_->start({.received =
                        [this](ByteView bytes) {
                          exporter_.receive(bytes);
                          pump();
                        },
                    .drained = [] {},
                    .closed = [this](const std::optional<Error>& /*error*/) { loop_.stop(); }});
  }

  void pump() {
    using Exporter = usbip::Exporter;
    if (pumping_) return;  // submit() may complete at once
    pumping_ = true;
    while (auto output = exporter_.poll()) {
      if (auto* send = std::get_if<Exporter::Send>(&*output)) {
        client_->write(std::move(send->bytes));
      } else if (auto* submit = std::get_if<Exporter::Submit>(&*output)) {
        stick_.submit(std::move(submit->transfer));
      } else if (const auto* cancel = std::get_if<Exporter::Cancel>(&*output)) {
        stick_.cancel(cancel->transfer);
      } else if (auto* wanted = std::get_if<Exporter::ImportWanted>(&*output)) {
        device_.path = wanted->busid;  // whatever it is called: there is one
        exporter_.import_granted(device_);
      } else if (std::holds_alternative<Exporter::ListWanted>(*output)) {
        exporter_.devices({device_});
      } else {
        client_->close();
      }
    }
    pumping_ = false;
  }

  transport::Loop loop_;
  LinkStick stick_;
  transport::SignalWatch signals_;
  usb::DeviceDescription device_;
  std::unique_ptr<transport::Acceptor> acceptor_;
  std::unique_ptr<transport::Stream> client_;
  usbip::Exporter exporter_{usbip::Exporter::Start::await_request};
  bool pumping_ = false;
};

}  // namespace
}  // namespace tillbridge::bench

int main(int argc, char** argv) {
  using namespace tillbridge::bench;
  try {
    const auto arguments = std::span(argv, static_cast<std::size_t>(argc)).subspan(1);
    if (arguments.size() != 1) throw std::runtime_error("peer_till TILL.TOML");
    PeerTill(arguments[0]).run();
  } catch (const std::exception& error) {
    std::cerr << "peer_till: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
