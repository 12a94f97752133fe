// What the store keeps, as values. Names are the room's own: who gives them a meaning (and a
// policy) stands above it.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "channel/bytes/reader.hpp"

namespace tillbridge::store {

/// Kept in microseconds: a finer part is cut off (rounded down). Time::max() stays what it is.
using Time = std::chrono::system_clock::time_point;
/// SHA-256 of a secret that the store never sees itself.
using Digest = std::array<std::uint8_t, 32>;

/// A stick that was seen, or that the admin named before it was.
struct Stick {
  std::string id{};  ///< server::StickIdentity::text()
  std::uint16_t vendor_id = 0, product_id = 0;
  std::string serial{};
  bool by_port = false;  ///< known by its port, since it has no serial
  std::string port{};    ///< where it was last, "1-1.4"
  std::string product{}, manufacturer{};
  std::string label{};  ///< the admin's name for it
  std::optional<Time> first_seen{}, last_seen{};
  /// SHA-256 over its descriptors in lower-case hex: as the admin accepted them, and as they were
  /// when it was last seen. Empty: not yet.
  std::string fingerprint_accepted{}, fingerprint_seen{};
  std::optional<Time> blocked_until{};  ///< Time::max(): until somebody unblocks it
  bool operator==(const Stick&) const = default;
};

enum class TillState : std::uint8_t {
  awaited,   ///< the admin added it; it has no certificate yet
  enrolled,  ///< has or had a certificate
  revoked
};

struct Till {
  std::string name{};  ///< common name of its certificate
  std::string label{};
  Time added{};
  std::string last_address{};
  std::optional<Time> last_seen{};
  TillState state = TillState::awaited;
  std::string note{};
  bool operator==(const Till&) const = default;
};

/// Outlives its till: what was revoked stays revoked.
struct Certificate {
  std::string serial{};  ///< lower-case hex
  std::string till{};
  std::string fingerprint{};  ///< SHA-256 of the certificate, lower-case hex; unique
  std::string
      key_fingerprint{};  ///< SHA-256 of its public key (SubjectPublicKeyInfo), the same way
  Time not_before{}, not_after{}, issued{};
  std::optional<Time> revoked{};
  std::string why{};  ///< it was revoked
  bool operator==(const Certificate&) const = default;
};

/// A mapping of the admin. Its stick and its till must be in the store: put them there first.
struct Mapping {
  std::int64_t id = 0;  ///< given by add_mapping(), never used twice
  std::string stick{}, till{};
  std::string user{}, terminal_server{};  ///< conditions; empty: any
  std::uint32_t position = 1;             ///< among the mappings of its stick; 1 is looked at first
  std::string reset = "soften";           ///< server::text(ResetPolicy)
  bool pipeline = true;
  Time created{};
  std::string created_by{}, reason{};
  bool operator==(const Mapping&) const = default;
};

/// A use of a stick by a till, while it runs and afterwards. Needs no row of stick or till: history
/// outlives both.
struct Lease {
  std::int64_t id = 0;  ///< given by add_lease(), never used twice
  std::string stick{}, till{}, address{};
  std::string user, domain, terminal_server, client_name,
      software;  ///< the session, as the till says
  Time since{};
  std::optional<Time> ended{};  ///< nothing: it runs, or ran when the program died
  std::string why{};            ///< it ended
  std::uint32_t times_away = 0;
  std::uint64_t transfers = 0, errors = 0, bytes_in = 0, bytes_out = 0;
  std::optional<std::uint32_t> p50_us{}, p99_us{};  ///< of its transfers; nothing before the first
  /// By which a later run of the program knows the session and the stick again: see
  /// server::KeptLease. Empty: it cannot.
  std::string session{}, continuity{};
  bool operator==(const Lease&) const = default;
};

/// A one-time token for pairing. Goes with its till.
struct Token {
  Digest hash{};
  std::string till{};
  std::string stick{};  ///< to be mapped when the till has paired; may be empty
  Time created{}, expires{};
  std::optional<Time> used{};
  std::uint32_t tries = 0;  ///< proofs that were wrong
  bool operator==(const Token&) const = default;
};

enum class PendingState : std::uint8_t { waiting, approved, ignored };

/// A till that asked for a certificate without a token.
struct Pending {
  std::string key_fingerprint{};  ///< SHA-256 of its public key, lower-case hex
  std::string name{}, address{};  ///< as it says, as it came
  Bytes request{};                ///< PKCS#10, DER
  Time first_seen{}, last_seen{};
  PendingState state = PendingState::waiting;
  std::string till{};  ///< once approved: as which till
  bool operator==(const Pending&) const = default;
};

enum class Role : std::uint8_t { viewer, admin };

struct User {
  std::string name{};
  Role role = Role::viewer;
  std::string password{};  ///< scrypt's parameters, salt and hash in one text; never the password
  Time created{};
  std::optional<Time> last_login{};
  bool operator==(const User&) const = default;
};

/// A login of the page. Goes with its user.
struct WebSession {
  Digest hash{};  ///< of the cookie
  std::string user{};
  std::string csrf{};
  Time created{}, last_used{}, expires{};
  bool operator==(const WebSession&) const = default;
};

}  // namespace tillbridge::store
