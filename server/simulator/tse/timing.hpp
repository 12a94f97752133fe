// How long a simulated TSE takes, as real ones do.
#pragma once

#include <cstdint>

#include "channel/bytes/instant.hpp"

namespace tillbridge::simulator::tse {

/// Everything here is time that passes before an answer can be read; the command itself is carried
/// out and stored when it arrives.
struct Timing {
  Duration signing{150'000};
  Duration signing_jitter{0};  ///< up to this much more, from the bench's seed
  Duration self_test{25'000'000};
  Duration other{2'000};    ///< commands that sign nothing
  Duration start_up{0};     ///< after power-up, before the first command is answered
  Duration sleep_after{0};  ///< idle this long, the stick sleeps; 0: never
  Duration wake_up{0};      ///< the first READ or WRITE then waits this long ...
  bool sleep_loses_answer =
      false;  ///< ... or what the stick remembered of its answer is gone (zeros)
  Duration export_first_byte{0};
  std::uint64_t export_bytes_per_s = 0;  ///< 0: as fast as it is read
};

}  // namespace tillbridge::simulator::tse
