// The Diebold Nixdorf stick as a Tse.
#pragma once

#include <memory>
#include <string>

#include "pos/diebold_line.hpp"
#include "pos/tse.hpp"

namespace tillbridge::pos {

struct DieboldUsers {
  std::string admin = "1", time_admin = "2";
};

/// `place`: for messages; `patience`: how long the stick may take for an answer.
[[nodiscard]] std::unique_ptr<Tse> make_diebold_tse(
    OpenLine open, std::string place, Clock& clock, DieboldUsers users = {},
    Duration patience = DieboldLine::usual_patience);

}  // namespace tillbridge::pos
