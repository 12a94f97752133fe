// What the POS reads out of exports and keys.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "pos/tse.hpp"
#include "tse/evidence/keys.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::pos {

/// Upper case.
[[nodiscard]] std::string hexadecimal(ByteView bytes);

/// The uncompressed point that has this serial number, wherever it stands in `content`; empty:
/// none.
[[nodiscard]] Bytes point_of_serial(ByteView content, const evidence::SerialNumber& serial);

/// The transaction logs of an archive, by rising counter.
[[nodiscard]] Outcome<std::vector<evidence::LogMessage>> transaction_logs(ByteView archive);

/// Makes one archive of several that follow each other: each file once.
class ArchiveJoiner {
 public:
  explicit ArchiveJoiner(const ArchiveSink& sink) : sink_(sink) {}
  [[nodiscard]] Status add(ByteView archive);
  /// The highest counter so far.
  [[nodiscard]] std::uint64_t last_counter() const { return last_counter_; }

 private:
  const ArchiveSink& sink_;
  /// Of everything but logs, which are known by their counters.
  std::set<std::string> other_files_;
  std::uint64_t last_counter_ = 0;
};

}  // namespace tillbridge::pos
