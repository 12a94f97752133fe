// The load of peer_bench that needs no kernel: a class driver in user space.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "channel/massstorage/host.hpp"
#include "channel/transport/loop.hpp"
#include "tests/bench/line_input.hpp"
#include "tests/bench/peer_stick.hpp"

namespace tillbridge::bench {

/// Makes a stick ready, says {"ready":true} on standard output, and then does what standard input
/// says, one command a line:
///   read COUNT     so many reads of 4 KiB, one after the other; answered by {"us":[TIME,...]}
/// until standard input ends.
class PeerLoad {
 public:
  PeerLoad(transport::Loop& loop, PeerStick& stick);
  void run();

 private:
  void ready(const usb::DeviceDescription& device);
  void completed(const usb::Completion& completion);
  void command_ended(const massstorage::CommandResult& result);
  void submit_all();
  void next_read();
  void obey_input();
  void obey(const std::string& line);

  transport::Loop& loop_;
  PeerStick& stick_;
  std::optional<massstorage::BulkOnlyHost> host_;
  bool capacity_asked_ = false;
  std::optional<transport::FdWatch> input_watch_;
  LineInput input_;
  std::size_t wanted_ = 0;  ///< reads still to be done
  std::uint32_t block_ = 0;
  Instant began_{};
  std::vector<std::int64_t> times_us_;
};

}  // namespace tillbridge::bench
