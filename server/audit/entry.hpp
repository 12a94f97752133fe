// One entry of the audit log: who did what to which stick and till, when and why.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tillbridge::audit {

/// Written in microseconds (UTC); a finer part is cut off.
using Time = std::chrono::system_clock::time_point;

/// What happened. The name in the log is the enumerator's.
enum class Kind : std::uint8_t {
  // the log itself, written by AuditLog only
  log_begun,
  log_cut,      ///< a line that a crash left half written was removed
  log_damaged,  ///< the log was found changed; what is left of it was put aside
  // the server
  server_started,
  server_stopped,
  configuration_read,
  drain_begun,
  drain_ended,
  alarm_raised,
  alarm_cleared,
  // sticks
  stick_attached,
  stick_detached,
  stick_refused,
  stick_accepted,
  stick_blocked,
  stick_unblocked,
  stick_labelled,
  stick_identified,
  stick_forgotten,
  // mappings
  mapping_added,
  mapping_changed,
  mapping_removed,
  // leases
  lease_begun,
  lease_away,
  lease_back,
  lease_ended,
  lease_released,  ///< the admin ended it
  // tills
  till_added,
  till_changed,
  till_connected,
  till_lost,
  till_left,
  till_refused,
  till_revoked,
  till_removed,
  // enrolment
  token_issued,
  pairing_done,
  pairing_refused,
  pending_seen,
  pending_approved,
  pending_ignored,
  certificate_issued,
  certificate_renewed,
  certificate_revoked,
  // administrators
  login,
  login_refused,
  login_link_made,
  logout,
  user_added,
  user_changed,
  user_removed,
  action_refused,  ///< somebody tried what they may not
  capture_begun,
  capture_ended,
  audit_verified,
  audit_exported,
};
[[nodiscard]] std::string_view text(Kind kind);
[[nodiscard]] std::optional<Kind> kind_of(std::string_view text);

/// What an entry's details may be about: a closed list, so that no secret finds a place in it. The
/// name in the log is the enumerator's.
enum class Field : std::uint8_t {
  action,   ///< the API's verb that was refused
  address,  ///< of a peer or an admin
  alarm,    ///< kind of an alarm
  answer,   ///< what was said to the peer or the admin
  bytes_in,
  bytes_out,
  certificate,  ///< fingerprint
  changed,      ///< names of what was changed
  client_name,
  count,
  digest,  ///< SHA-256 of what was cut off
  domain,
  duration_ms,
  entry,  ///< number of an entry
  errors,
  expires,
  file,         ///< its name, without its folder
  fingerprint,  ///< of a stick's descriptors
  key,          ///< fingerprint of a public key
  label,
  lease,    ///< id
  mapping,  ///< id
  minutes,
  not_after,
  p50_us,
  p99_us,
  payloads,  ///< a capture has them
  pipeline,
  port,
  position,
  reset,
  role,
  since,
  software,
  stick_before,
  terminal_server,
  text,
  till_before,
  times_away,
  transfers,
  until,
  user,  ///< a session's condition, or an account
  value_before,
  version,
  words,  ///< of a fingerprint
};
[[nodiscard]] std::string_view text(Field field);
[[nodiscard]] std::optional<Field> field_of(std::string_view text);

using Value = std::variant<std::string, std::int64_t, bool>;
/// A time as a detail: in the log's way of writing it.
[[nodiscard]] std::string time_text(Time time);  ///< "2026-11-23T04:05:06.123456Z"
[[nodiscard]] std::optional<Time> parse_time(std::string_view text);

struct Entry {
  Kind kind{};
  std::string who{};     ///< "admin anna", "till kasse-07", "system": never empty in the log
  std::string stick{};   ///< its id; empty: about no stick
  std::string till{};    ///< its name; empty: about no till
  std::string reason{};  ///< what the admin gave, or why it happened
  /// At most limits::details_per_entry; of two for the same field the last one counts.
  std::vector<std::pair<Field, Value>> details{};
  bool operator==(const Entry&) const = default;
};

/// An entry as it is in the log.
struct Line {
  std::uint64_t n = 0;  ///< from 1, without gaps
  Time time{};
  Entry entry{};
  std::string salt{};  ///< 32 hex digits: without them an entry that was left out could be guessed
  std::string prev{};  ///< the chain before this entry: 64 hex digits
};

/// For a person, one line: "2026-11-23 04:05:06 UTC  #12  lease_begun  by till kasse-07  stick
/// ...".
[[nodiscard]] std::string describe(const Line& line);

}  // namespace tillbridge::audit
