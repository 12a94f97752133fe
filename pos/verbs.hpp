// What tillbridge-pos does.
#pragma once

#include "pos/access.hpp"
#include "pos/clock.hpp"
#include "pos/finder.hpp"
#include "pos/options.hpp"
#include "pos/report.hpp"
#include "pos/tse.hpp"

namespace tillbridge::pos {

/// Drawing a QR code needs to know what it draws on.
struct Screen {
  bool colours = false;
};

[[nodiscard]] Deed set_up(Tse& tse, const Options& options, Access& access, Reporter& reporter);
[[nodiscard]] Deed sign_receipts(Tse& tse, const Options& options, Access& access,
                                 Reporter& reporter, const Screen& screen);
[[nodiscard]] Deed show_status(Tse& tse, const Options& options, Clock& clock, Reporter& reporter);
[[nodiscard]] Deed export_to_file(Tse& tse, const Options& options, Reporter& reporter);
[[nodiscard]] Deed finish_open(Tse& tse, const Options& options, Access& access,
                               Reporter& reporter);
/// Needs no stick. Trouble::finding when something is wrong.
[[nodiscard]] Deed verify(const Options& options, Reporter& reporter);

/// Finds the stick, if the verb needs one, and carries the verb out.
[[nodiscard]] Deed carry_out(const Options& options, Access& access, const FinderRoots& roots,
                             Clock& clock, Reporter& reporter, const Screen& screen);

}  // namespace tillbridge::pos
