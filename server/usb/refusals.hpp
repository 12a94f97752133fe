// Which refusals are worth a line: a till that is refused tries again, every five seconds, for
// ever.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "channel/bytes/instant.hpp"

namespace tillbridge::server {

/// Remembers of each peer why it was refused last.
class Refusals {
 public:
  /// True for the first refusal of a peer, for one with another reason, and for one after it did
  /// not try for limits::refusal_remembered. `address` may have a port, which does not matter:
  /// each try has another one; `name` is empty for a stranger.
  [[nodiscard]] bool news(const std::string& address, const std::string& name,
                          const std::string& why, Instant now);
  /// It was let in: the next refusal is news.
  void forget(const std::string& address, const std::string& name);

 private:
  struct Last {
    std::string why;
    Instant when{};
  };
  std::map<std::string, Last> last_;
};

}  // namespace tillbridge::server
