#include "pos/connection.hpp"

#include <utility>

#include "pos/cryptovision_tse.hpp"
#include "pos/diebold_tse.hpp"
#include "pos/mounted_stick.hpp"
#include "pos/swissbit_tse.hpp"
#include "pos/tty_line.hpp"

namespace tillbridge::pos {
namespace {

std::unique_ptr<Tse> on_volume(Family family, std::unique_ptr<StickVolume> volume,
                               const Options& options, Clock& clock) {
  const OpenStyle style = options.style.value_or(OpenStyle::direct);
  return family == Family::cryptovision
             ? make_cryptovision_tse(std::move(volume), style, clock)
             : make_swissbit_tse(std::move(volume), style, clock, options.seed);
}

}  // namespace

Outcome<std::unique_ptr<Tse>> choose_tse(const Options& options, const FinderRoots& roots,
                                         Clock& clock) {
  const Outcome<Candidate> stick =
      options.stick.empty() ? the_only(find_sticks(roots)) : look_at(options.stick);
  if (!stick) return stick.failure();
  if (stick->family == Family::diebold) {
    if (options.style) {
      return trouble(Trouble::usage, "--open-style is for sticks with files; " + stick->place +
                                         " is a serial line");
    }
    return make_diebold_tse([place = stick->place] { return open_tty_line(place); }, stick->place,
                            clock, {options.admin_user, options.time_user});
  }
  Result<std::unique_ptr<StickVolume>> volume = open_mounted_stick(stick->place);
  if (!volume) return from_io(volume.error());
  return on_volume(stick->family, std::move(*volume), options, clock);
}

}  // namespace tillbridge::pos
