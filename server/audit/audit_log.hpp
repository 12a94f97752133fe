// The audit log: JSON lines that only grow, chained by hashes, their end signed. FORMAT.md says how
// they are written and checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "channel/bytes/result.hpp"
#include "server/audit/entry.hpp"
#include "server/audit/limits.hpp"

namespace tillbridge::audit {

/// Where the chain ends: signed, it is what a cut is found by.
struct Head {
  std::uint64_t n = 0;      ///< the last entry; 0: none yet
  std::string hash{};       ///< the chain after it, 64 hex digits
  Time time{};              ///< when it was signed
  std::string signature{};  ///< Ed25519, 128 hex digits
  bool operator==(const Head&) const = default;
};

/// What an export holds.
struct Selection {
  std::string stick{};  ///< empty: entries about all sticks, and about none
  Time from{}, to{};    ///< both included
};

/// Takes an export piece by piece; an error ends it.
using Sink = std::function<Status(std::string_view)>;

class SigningKey;
struct Line;

/// What was durable in a log at one moment. A value of its own: on any thread, also while the log
/// is written on.
class Snapshot {
 public:
  /// Everything of that stick and period as a file that an auditor can read and check, see
  /// FORMAT.md. Reads the log three times, so for years of a large shop it takes seconds.
  /// `malformed`: the log was changed; a file that proves something cannot be made of it.
  [[nodiscard]] Status write_export(const Selection& selection, Time now, const Sink& sink) const;

 private:
  friend class AuditLog;
  [[nodiscard]] Status each_entry(
      const std::function<Status(std::string_view, const Line&)>& entry) const;

  std::filesystem::path folder_{};
  std::shared_ptr<const SigningKey> key_{};
  std::uint64_t last_ = 0;           // the last durable entry; 0: none
  std::uint64_t current_first_ = 0;  // the first one of the file that was written to
};

struct Options {
  std::uint64_t file_bytes = limits::file_bytes;
  std::uint32_t entries_per_head = limits::entries_per_head;
  /// What open() does when the log does not fit its signed head. `go_on`: everything that is there
  /// is put aside into a folder "damaged-TIME", and the log goes on behind its last signed entry
  /// with an entry that says so. Sticks must be usable in a shop whose log was damaged; every
  /// later verification warns of it.
  enum class Damage : std::uint8_t { refuse, go_on } damage = Damage::refuse;
  /// Called before every single change of a file, with the step's name: for tests that end the
  /// process there.
  std::function<void(const char* step)> at_step{};
};

/// One thread; one per folder (`unavailable` otherwise). Files: audit.jsonl (what is written to
/// now), audit-NNNNNNNNNNNN.jsonl (older ones, by their first entry), head.json, audit.key (0600),
/// audit.pub.
class AuditLog {
 public:
  /// Makes the folder (0700), key and log if there is nothing. Removes a line that a crash left
  /// half written, if it is behind the signed head, and says so in the log. Errors: `malformed`
  /// (the log was changed: the message says where), `unavailable`, `config` (others may read the
  /// folder or the key), `io`.
  [[nodiscard]] static Result<AuditLog> open(const std::filesystem::path& folder, Time now,
                                             Options options = {});
  /// Signs the head if that is still to do.
  ~AuditLog();
  AuditLog(AuditLog&&) noexcept;
  AuditLog& operator=(AuditLog&&) noexcept;
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  /// Puts an entry into the group that the next flush() writes, and gives its number. Nothing is on
  /// the disk yet.
  std::uint64_t add(const Entry& entry, Time now);
  enum class Sign : bool { when_due, now };
  /// Writes the group; all of it is durable when it returns success. After an error nothing of the
  /// group counts, its numbers are free again. `Sign::now` signs the head too: for what an admin
  /// did.
  [[nodiscard]] Status flush(Time now, Sign sign = Sign::when_due);
  /// add() and flush().
  [[nodiscard]] Result<std::uint64_t> record(const Entry& entry, Time now,
                                             Sign sign = Sign::when_due);
  /// Writes the group and signs the head. The destructor does the same, but cannot tell of an
  /// error.
  [[nodiscard]] Status close(Time now);

  /// The last one that was signed.
  [[nodiscard]] const Head& head() const noexcept;
  /// Why the last attempt to sign failed, while entries wait for a signature: worth an alarm. They
  /// are durable all the same, and every flush() tries again.
  [[nodiscard]] const std::optional<Error>& head_problem() const noexcept;
  [[nodiscard]] const std::string& public_key() const noexcept;   ///< PEM
  [[nodiscard]] const std::string& fingerprint() const noexcept;  ///< of the public key, hex
  [[nodiscard]] const std::filesystem::path& folder() const noexcept;

  [[nodiscard]] Snapshot snapshot() const;

 private:
  struct Impl;
  explicit AuditLog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tillbridge::audit
