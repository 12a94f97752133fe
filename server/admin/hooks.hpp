// What Administration needs of rooms beside or above it.
#pragma once

#include <optional>
#include <string>

#include "channel/bytes/result.hpp"
#include "server/store/rows.hpp"

namespace tillbridge::admin {

/// The private authority and the pairing of tills. Without one, tills come with certificates of
/// the authority that the configuration names, and nothing can be enrolled. All on the loop's
/// thread.
class Enrolment {
 public:
  struct Identity {
    std::string fingerprint, words;  ///< of the authority, as people compare it
  };
  /// What the admin hands to the till. The line holds the token: it is shown once and kept nowhere.
  struct Ticket {
    std::string line, qr_svg, qr_text;
    store::Time expires;
  };

  Enrolment() = default;
  virtual ~Enrolment() = default;
  Enrolment(const Enrolment&) = delete;
  Enrolment& operator=(const Enrolment&) = delete;

  [[nodiscard]] virtual Identity identity() const = 0;
  /// Called within a transaction of the store, in which the token's row is put; earlier tokens of
  /// the till end. `stick`: to be mapped once it has paired; may be empty. If the transaction
  /// fails the ticket is worth nothing. `address`: HOST[:PORT] that the line names; empty: as
  /// configured. `config`: it is none.
  [[nodiscard]] virtual Result<Ticket> issue_token(const std::string& till,
                                                   const std::string& stick, store::Time now,
                                                   const std::string& address) = 0;
  /// The four words of a pending till's key.
  [[nodiscard]] virtual std::string words_of(const store::Pending& pending) const = 0;
  /// The pending row says approved, and as which till; it was committed: hand the certificate out
  /// on this connection if it is still there, or on the next one.
  virtual void approved(const store::Pending& pending) = 0;
  virtual void ignored(const store::Pending& pending) = 0;
};

/// Passwords and logins of the page's users.
class Accounts {
 public:
  Accounts() = default;
  virtual ~Accounts() = default;
  Accounts(const Accounts&) = delete;
  Accounts& operator=(const Accounts&) = delete;

  /// What is kept instead of the password (scrypt). `refused`: too weak, with what to do. May take
  /// a moment.
  [[nodiscard]] virtual Result<std::string> hashed(const std::string& password) const = 0;
  /// The user was changed or removed: its logins are over (their rows are gone already).
  virtual void logins_end(const std::string& user) = 0;
};

}  // namespace tillbridge::admin
