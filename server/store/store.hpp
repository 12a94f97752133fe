// The server's memory: one SQLite database in the state folder. All SQL of tillbridged is in this
// room; whoever uses it sees values only. It decides nothing: no row is made, changed or removed
// unless its method is called.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/bytes/result.hpp"
#include "server/store/rows.hpp"

namespace tillbridge::store {

class Store;

/// Several changes as one: all of them, or none. Ends in its destructor without a trace unless
/// commit() succeeded. The first change in it that fails takes back the whole of it at once: all
/// later ones and commit() fail with the same error. Must not outlive its Store.
class [[nodiscard]] Transaction {
 public:
  ~Transaction();
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  /// Durable when it returns success. After an error nothing of it is there, and never will be.
  [[nodiscard]] Status commit();

 private:
  friend class Store;
  struct Access;
  explicit Transaction(Access* access) : access_(access) {}
  Access* access_;  // nullptr: over
};

/// One thread. A change outside a Transaction is one of its own, durable when the method returns
/// success. `put_` makes the row or replaces it as a whole; `remove_` of what is not there is a
/// success.
///
/// Errors: `io` (the disk is full or broken: nothing of the change is there), `refused` (the row
/// does not fit the others: a name that is not there or that is needed elsewhere), `limit` (a text
/// is longer than limits.hpp says).
class Store {
 public:
  /// The database's name in the folder.
  static constexpr const char* file_name = "tillbridge.db";

  /// Makes folder (0700) and database (0600) if they are not there, and brings an older database to
  /// this program's version; `now` is noted with that. Errors: `unavailable` (another tillbridged
  /// uses this folder), `config` (others may read the folder; the database is a newer program's, is
  /// damaged, or is none), `io`.
  [[nodiscard]] static Result<Store> open(const std::filesystem::path& folder, Time now);
  ~Store();
  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  /// One at a time; `refused` while another one runs.
  [[nodiscard]] Result<Transaction> begin();

  // Sticks, by id.
  [[nodiscard]] Result<std::vector<Stick>> sticks() const;
  [[nodiscard]] Result<std::optional<Stick>> stick(const std::string& id) const;
  [[nodiscard]] Status put_stick(const Stick& stick);
  /// `refused` while a mapping has it.
  [[nodiscard]] Status remove_stick(const std::string& id);

  // Tills, by name.
  [[nodiscard]] Result<std::vector<Till>> tills() const;
  [[nodiscard]] Result<std::optional<Till>> till(const std::string& name) const;
  [[nodiscard]] Status put_till(const Till& till);
  /// Its tokens go with it. `refused` while a mapping has it.
  [[nodiscard]] Status remove_till(const std::string& name);

  // Certificates that were issued, oldest first.
  [[nodiscard]] Result<std::vector<Certificate>> certificates() const;
  [[nodiscard]] Result<std::vector<Certificate>> certificates_of(const std::string& till) const;
  [[nodiscard]] Result<std::optional<Certificate>> certificate(
      const std::string& fingerprint) const;
  [[nodiscard]] Status put_certificate(const Certificate& certificate);
  /// Those that ended before `time`: a certificate that has run out is refused without a row.
  [[nodiscard]] Status remove_certificates_ended_before(Time time);

  // Mappings, by stick and position, then id.
  [[nodiscard]] Result<std::vector<Mapping>> mappings() const;
  [[nodiscard]] Result<std::vector<Mapping>> mappings_of_stick(const std::string& stick) const;
  [[nodiscard]] Result<std::vector<Mapping>> mappings_of_till(const std::string& till) const;
  [[nodiscard]] Result<std::optional<Mapping>> mapping(std::int64_t id) const;
  /// Gives the new id; the one in `mapping` is not looked at.
  [[nodiscard]] Result<std::int64_t> add_mapping(const Mapping& mapping);
  /// `refused` if there is no such mapping.
  [[nodiscard]] Status change_mapping(const Mapping& mapping);
  [[nodiscard]] Status remove_mapping(std::int64_t id);

  // Leases.
  struct LeaseQuery {
    std::string stick{}, till{};              ///< empty: any
    std::optional<Time> from{}, to{};         ///< that ran at some time in it, ends included
    std::optional<std::int64_t> before_id{};  ///< for the next page
    std::size_t limit = 100;                  ///< at most limits::rows_per_answer
  };
  /// Newest first.
  [[nodiscard]] Result<std::vector<Lease>> leases(const LeaseQuery& query) const;
  /// Those that have not ended, oldest first: at the start of the program, what ran when it died.
  [[nodiscard]] Result<std::vector<Lease>> open_leases() const;
  [[nodiscard]] Result<std::optional<Lease>> lease(std::int64_t id) const;
  /// Gives the new id; the one in `lease` is not looked at.
  [[nodiscard]] Result<std::int64_t> add_lease(const Lease& lease);
  /// `refused` if there is no such lease.
  [[nodiscard]] Status change_lease(const Lease& lease);
  [[nodiscard]] Status remove_leases_ended_before(Time time);

  // Tokens, by hash.
  [[nodiscard]] Result<std::vector<Token>> tokens() const;
  [[nodiscard]] Result<std::optional<Token>> token(const Digest& hash) const;
  [[nodiscard]] Status put_token(const Token& token);
  [[nodiscard]] Status remove_token(const Digest& hash);
  [[nodiscard]] Status remove_tokens_of(const std::string& till);
  [[nodiscard]] Status remove_tokens_expired_before(Time time);

  // Pending tills, by the fingerprint of their key; listed oldest first.
  [[nodiscard]] Result<std::vector<Pending>> pending() const;
  [[nodiscard]] Result<std::optional<Pending>> pending(const std::string& key_fingerprint) const;
  [[nodiscard]] Status put_pending(const Pending& pending);
  [[nodiscard]] Status remove_pending(const std::string& key_fingerprint);
  [[nodiscard]] Status remove_pending_last_seen_before(Time time);

  // Users, by name.
  [[nodiscard]] Result<std::vector<User>> users() const;
  [[nodiscard]] Result<std::optional<User>> user(const std::string& name) const;
  [[nodiscard]] Status put_user(const User& user);
  /// Their web sessions go with them.
  [[nodiscard]] Status remove_user(const std::string& name);

  // Web sessions, by hash.
  [[nodiscard]] Result<std::vector<WebSession>> web_sessions() const;
  [[nodiscard]] Result<std::optional<WebSession>> web_session(const Digest& hash) const;
  [[nodiscard]] Status put_web_session(const WebSession& session);
  [[nodiscard]] Status remove_web_session(const Digest& hash);
  [[nodiscard]] Status remove_web_sessions_of(const std::string& user);
  [[nodiscard]] Status remove_web_sessions_expired_before(Time time);

  // Settings.
  [[nodiscard]] Result<std::optional<std::string>> setting(const std::string& key) const;
  [[nodiscard]] Status put_setting(const std::string& key, const std::string& value);
  [[nodiscard]] Status remove_setting(const std::string& key);

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tillbridge::store
