// Tse: a TSE stick as a till sees it, whatever its family.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "pos/access.hpp"
#include "pos/clock.hpp"
#include "pos/family.hpp"
#include "pos/stick_io.hpp"
#include "pos/trouble.hpp"
#include "tse/evidence/keys.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::pos {

namespace evidence = ::tillbridge::tse;

enum class LifeCycle : std::uint8_t { not_initialized, active, deactivated, disabled };
/// "not set up", "active", "deactivated", "decommissioned"
[[nodiscard]] const char* name_of(LifeCycle life_cycle);

/// What a stick tells about itself; nothing where its protocol has no such thing.
struct TseStatus {
  std::string firmware, certification_id;
  std::optional<evidence::SerialNumber> serial;
  LifeCycle life_cycle = LifeCycle::not_initialized;
  std::optional<bool> has_time, self_test_passed;
  std::optional<std::uint64_t> seconds_to_time, seconds_to_self_test;
  std::optional<std::uint64_t> signature_counter, transaction_counter, signatures_left;
  std::optional<std::uint64_t> store_bytes, store_bytes_free;
  std::optional<std::int64_t> certificate_end_s;
  /// Some protocols only count them.
  std::optional<std::vector<std::string>> clients;
  std::optional<std::uint64_t> client_count;
  std::vector<std::uint64_t> open_transactions;
};

/// What a signature brought.
struct Signature {
  std::uint64_t transaction = 0, counter = 0;
  std::uint64_t time_s = 0;
  Bytes value;
};

/// Who verifies: goes into the receipt's QR code.
struct VerifyingKey {
  Bytes point;
  evidence::Hash hash = evidence::Hash::sha384;
  evidence::TimeFormat time_format = evidence::TimeFormat::unix_time;
};

/// Takes a piece of an export.
using ArchiveSink = std::function<Status(ByteView)>;
/// One line for a person about a step that was done.
using Told = std::function<void(const std::string&)>;

/// One command at a time, as the sticks demand. A failure with is_loss() leaves open what became of
/// the command; nothing here repeats one that changes the stick. After a loss: connect() again.
class Tse {
 public:
  Tse() = default;
  Tse(const Tse&) = delete;
  Tse& operator=(const Tse&) = delete;
  Tse(Tse&&) = delete;
  Tse& operator=(Tse&&) = delete;
  virtual ~Tse() = default;

  [[nodiscard]] virtual Family family() const = 0;
  /// Where it is: for messages.
  [[nodiscard]] virtual std::string place() const = 0;

  /// Opens the way to the stick and waits until it answers (it may wake up or start).
  [[nodiscard]] virtual Deed connect() = 0;
  [[nodiscard]] virtual Outcome<TseStatus> status() = 0;
  /// From fresh to active, with this client. What is done already is left as it is.
  [[nodiscard]] virtual Deed set_up(const std::string& client, Access& access,
                                    const Told& told) = 0;
  /// What a stick wants after power-up and now and then: self test and time.
  [[nodiscard]] virtual Deed make_ready(const std::string& client, Access& access,
                                        const Told& told) = 0;

  [[nodiscard]] virtual Outcome<Signature> start(const std::string& client, ByteView data,
                                                 std::string_view type) = 0;
  [[nodiscard]] virtual Outcome<Signature> finish(std::uint64_t transaction,
                                                  const std::string& client, ByteView data,
                                                  std::string_view type) = 0;

  // Asking, which changes nothing.
  [[nodiscard]] virtual Outcome<VerifyingKey> key() = 0;
  [[nodiscard]] virtual Outcome<std::uint64_t> signature_counter() = 0;
  [[nodiscard]] virtual Outcome<std::vector<std::uint64_t>> open_transactions() = 0;
  /// Transaction logs with a higher counter, at most limits::pos_recent_logs: what became of a
  /// command whose answer was lost.
  [[nodiscard]] virtual Outcome<std::vector<evidence::LogMessage>> logs_above(
      std::uint64_t counter) = 0;
  /// The archive as the stick gives it; two blocks of zeros at its end may be missing.
  [[nodiscard]] virtual Deed export_archive(const ArchiveSink& sink) = 0;
};

}  // namespace tillbridge::pos
