// What checking a folder and checking an exported file have in common. Included by this room's .cpp
// files only.
#pragma once

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/audit/line.hpp"
#include "server/audit/reading.hpp"
#include "server/audit/signing.hpp"

namespace tillbridge::audit {

using Ended = std::function<bool()>;

[[nodiscard]] Result<Report> verify_folder(const std::filesystem::path& folder,
                                           const PublicKey& key, const std::optional<Head>& known,
                                           const Ended& ended);
[[nodiscard]] Result<Report> verify_export(const std::filesystem::path& path, const PublicKey& key,
                                           const std::optional<Head>& known);
/// What that file is instead.
[[nodiscard]] Error no_export(const std::filesystem::path& path, std::string_view content);

inline std::string entry_name(std::uint64_t n) {
  return "entry " + std::to_string(n);
}

inline std::string range_name(std::uint64_t first, std::uint64_t last) {
  return first == last
             ? "Entry " + std::to_string(first) + " is"
             : "Entries " + std::to_string(first) + " to " + std::to_string(last) + " are";
}

/// Follows a chain, entry by entry, and says where it breaks.
class Follower {
 public:
  explicit Follower(Report& report) : report_(report) {}

  void find(std::uint64_t n, const std::string& file, std::string what) {
    if (report_.findings.size() < limits::findings) {
      report_.findings.push_back({n, file, std::move(what), line_});
    } else {
      ++report_.findings_more;
    }
  }

  /// The line that what follows is about; 0: none.
  void look_at_line(std::size_t line) { line_ = line; }
  /// Where the chain must begin.
  void expect(std::uint64_t n, std::string hash) {
    next_ = n;
    hash_ = std::move(hash);
    meet(n - 1);
  }
  /// A head that must be met.
  void await(const Head& head, std::string name) {
    heads_.push_back({head, std::move(name), false});
  }

  [[nodiscard]] bool met(const Head& head) const {
    return std::any_of(heads_.begin(), heads_.end(),
                       [&](const Awaited& awaited) { return awaited.met && awaited.head == head; });
  }

  /// False: it is none.
  bool entry(const std::string& file, std::string_view text) {
    const auto line = parse_line(text);
    if (!line) {
      find(next_, file,
           "What stands in the place of " + entry_name(next_) +
               " is no entry: " + line.error().message + ". It was changed, or put there.");
      // Whatever it was, the chain is known again only from the next entry on.
      hash_.clear();
      unknown_ = true;
      return false;
    }
    const auto link = link_of(text);
    place(file, link->n);
    if (!hash_.empty() && link->prev != hash_ && link->n == next_) {
      find(link->n, file,
           "The chain breaks between " + entry_name(link->n - 1) + " and " + entry_name(link->n) +
               ": one of them was changed.");
    }
    take(link->n, link->hash());
    ++report_.entries;
    if (report_.first == 0) report_.first = link->n;
    report_.last = std::max(report_.last, link->n);
    last_line_ = *line;
    if (report_.findings.empty()) last_in_order_ = *line;
    return true;
  }

  void left_out(const std::string& file, std::uint64_t n, const std::string& digest) {
    place(file, n);
    take(n, hash_.empty() ? std::string() : chain(hash_, digest));
    ++report_.left_out;
    report_.last = std::max(report_.last, n);
  }

  void finish(const std::string& file) {
    line_ = 0;
    for (const Awaited& awaited : heads_) {
      if (awaited.met || awaited.head.n == 0) continue;
      const std::uint64_t last = next_ - 1;
      if (awaited.head.n > last) {
        find(last, file,
             range_name(last + 1, awaited.head.n) + " missing at the end: " + awaited.name +
                 " knows " + std::to_string(awaited.head.n) + " entries. The end was cut off.");
      } else {
        find(awaited.head.n, file,
             entry_name(awaited.head.n) + " is not the one that " + awaited.name +
                 " was signed for: it or one before it was "
                 "changed or is not here.");
      }
    }
  }

  [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
  [[nodiscard]] bool ends_in(const std::string& hash) const { return hash_ == hash; }
  [[nodiscard]] const std::optional<Line>& last_line() const noexcept { return last_line_; }
  /// Everything up to this one fits.
  [[nodiscard]] const std::optional<Line>& last_in_order() const noexcept { return last_in_order_; }

 private:
  struct Awaited {
    Head head;
    std::string name;
    bool met = false;
  };

  // The number is the one that is due, or what its being another one means.
  void place(const std::string& file, std::uint64_t n) {
    if (n == next_) return;
    if (unknown_ && n == next_ + 1) {
      next_ = n;
    } else if (n > next_) {
      find(n, file, range_name(next_, n - 1) + " missing before " + entry_name(n) + ".");
    } else {
      find(n, file,
           entry_name(n) + " stands where " + entry_name(next_) +
               " is due: it was repeated or moved.");
    }
    hash_.clear();
  }

  void take(std::uint64_t n, std::string hash) {
    next_ = n + 1;
    hash_ = std::move(hash);
    unknown_ = false;
    meet(n);
  }

  void meet(std::uint64_t n) {
    for (Awaited& awaited : heads_) {
      if (awaited.head.n == n && awaited.head.hash == hash_) awaited.met = true;
    }
  }

  Report& report_;
  std::uint64_t next_ = 1;
  std::string hash_;      // the chain after the last entry; empty: not known
  bool unknown_ = false;  // the last line was no entry
  std::size_t line_ = 0;
  std::vector<Awaited> heads_;
  std::optional<Line> last_line_, last_in_order_;
};

}  // namespace tillbridge::audit
