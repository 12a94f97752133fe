// How often somebody may be wrong.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "server/http/limits.hpp"
#include "server/store/rows.hpp"

namespace tillbridge::http {

/// Wrong passwords and tokens, by address and in total. Addresses that were right once are not
/// counted out with the others when many guess at the same time.
class Tries {
 public:
  /// Nothing: go on. Otherwise how long to wait.
  [[nodiscard]] std::optional<std::chrono::seconds> wait(const std::string& address,
                                                         store::Time now);
  /// A try begins: it counts as wrong until right(), so that many at once are no way around.
  void tried(const std::string& address, store::Time now);
  void right(const std::string& address, store::Time now);
  /// Addresses that are remembered; at most limits::addresses_known.
  [[nodiscard]] std::size_t known() const noexcept { return entries_.size(); }

 private:
  struct Entry {
    std::size_t wrong = 0;
    store::Time since{};
    bool was_right = false;
  };
  [[nodiscard]] static std::string key(const std::string& address);
  Entry& entry(const std::string& key, store::Time now);
  static void age(Entry& entry, store::Time now);

  std::map<std::string, Entry> entries_;
  Entry all_;
};

}  // namespace tillbridge::http
