// peer_link_load: the load of peer_bench over the plugin's own way to a stick (see peer_load.hpp).
//
//   peer_link_load TILL.TOML          (as for the plugin; [usbip] for plain USB/IP)
#include <cstdlib>
#include <iostream>
#include <span>
#include <stdexcept>

#include "plugin/configuration.hpp"
#include "tests/bench/peer_link_stick.hpp"
#include "tests/bench/peer_load.hpp"

int main(int argc, char** argv) {
  using namespace tillbridge;
  try {
    const auto arguments = std::span(argv, static_cast<std::size_t>(argc)).subspan(1);
    if (arguments.size() != 1) throw std::runtime_error("peer_link_load TILL.TOML");
    transport::Loop loop;
    bench::LinkStick stick(loop, arguments[0]);
    bench::PeerLoad(loop, stick).run();
  } catch (const std::exception& error) {
    std::cerr << "peer_link_load: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
