// Which member of a row is which column: in one place, so that reading and writing cannot differ.
// Included by this room's .cpp files only.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "server/store/rows.hpp"

namespace tillbridge::store {

/// A table: its name, its key, its columns in the order of members().
struct Table {
  const char* name;
  const char* key;
  std::vector<const char*> columns;

  [[nodiscard]] std::string list() const {
    std::string text;
    for (const char* column : columns) text += (text.empty() ? "" : ", ") + std::string(column);
    return text;
  }
  [[nodiscard]] std::string select(const std::string& rest) const {
    return "SELECT " + list() + " FROM " + name + " " + rest;
  }
  /// Not INSERT OR REPLACE: that would remove the old row, and with it what refers to it.
  [[nodiscard]] std::string put() const {
    std::string marks, sets;
    for (const char* column : columns) {
      marks += marks.empty() ? "?" : ", ?";
      if (column == std::string(key)) continue;
      sets += (sets.empty() ? "" : ", ") + std::string(column) + " = excluded." + column;
    }
    return std::string("INSERT INTO ") + name + " (" + list() + ") VALUES (" + marks +
           ") ON CONFLICT (" + key + ") DO UPDATE SET " + sets;
  }
  /// For tables whose first column is a key that SQLite gives; bound as NULL.
  [[nodiscard]] std::string add() const {
    std::string marks;
    for (std::size_t i = 0; i < columns.size(); ++i) marks += i == 0 ? "?" : ", ?";
    return std::string("INSERT INTO ") + name + " (" + list() + ") VALUES (" + marks + ")";
  }
  /// All columns in order, then the key once more.
  [[nodiscard]] std::string change() const {
    std::string sets;
    for (const char* column : columns) {
      sets += (sets.empty() ? "" : ", ") + std::string(column) + " = ?";
    }
    return std::string("UPDATE ") + name + " SET " + sets + " WHERE " + key + " = ?";
  }
  [[nodiscard]] std::string remove() const {
    return std::string("DELETE FROM ") + name + " WHERE " + key + " = ?";
  }
};

inline const Table sticks_table{"sticks",
                                "id",
                                {"id", "vendor_id", "product_id", "serial", "by_port", "port",
                                 "product", "manufacturer", "label", "first_seen", "last_seen",
                                 "fingerprint_accepted", "fingerprint_seen", "blocked_until"}};
template <typename Row>
auto members_of_stick(Row& row) {
  return std::tie(row.id, row.vendor_id, row.product_id, row.serial, row.by_port, row.port,
                  row.product, row.manufacturer, row.label, row.first_seen, row.last_seen,
                  row.fingerprint_accepted, row.fingerprint_seen, row.blocked_until);
}
inline auto members(const Stick& row) {
  return members_of_stick(row);
}
inline auto members(Stick& row) {
  return members_of_stick(row);
}

inline const Table tills_table{
    "tills", "name", {"name", "label", "added", "last_address", "last_seen", "state", "note"}};
template <typename Row>
auto members_of_till(Row& row) {
  return std::tie(row.name, row.label, row.added, row.last_address, row.last_seen, row.state,
                  row.note);
}
inline auto members(const Till& row) {
  return members_of_till(row);
}
inline auto members(Till& row) {
  return members_of_till(row);
}

inline const Table certificates_table{"certificates",
                                      "fingerprint",
                                      {"serial", "till", "fingerprint", "key_fingerprint",
                                       "not_before", "not_after", "issued", "revoked", "why"}};
template <typename Row>
auto members_of_certificate(Row& row) {
  return std::tie(row.serial, row.till, row.fingerprint, row.key_fingerprint, row.not_before,
                  row.not_after, row.issued, row.revoked, row.why);
}
inline auto members(const Certificate& row) {
  return members_of_certificate(row);
}
inline auto members(Certificate& row) {
  return members_of_certificate(row);
}

// Of the two with a key that SQLite gives, members() leaves out the id, which comes first.
inline const Table mappings_table{"mappings",
                                  "id",
                                  {"id", "stick", "till", "user", "terminal_server", "position",
                                   "reset", "pipeline", "created", "created_by", "reason"}};
template <typename Row>
auto members_of_mapping(Row& row) {
  return std::tie(row.stick, row.till, row.user, row.terminal_server, row.position, row.reset,
                  row.pipeline, row.created, row.created_by, row.reason);
}
inline auto members(const Mapping& row) {
  return members_of_mapping(row);
}
inline auto members(Mapping& row) {
  return std::tuple_cat(std::tie(row.id), members_of_mapping(row));
}

inline const Table leases_table{
    "leases",
    "id",
    {"id",          "stick",    "till",      "address", "user",   "domain",     "terminal_server",
     "client_name", "software", "since",     "ended",   "why",    "times_away", "transfers",
     "errors",      "bytes_in", "bytes_out", "p50_us",  "p99_us", "session",    "continuity"}};
template <typename Row>
auto members_of_lease(Row& row) {
  return std::tie(row.stick, row.till, row.address, row.user, row.domain, row.terminal_server,
                  row.client_name, row.software, row.since, row.ended, row.why, row.times_away,
                  row.transfers, row.errors, row.bytes_in, row.bytes_out, row.p50_us, row.p99_us,
                  row.session, row.continuity);
}
inline auto members(const Lease& row) {
  return members_of_lease(row);
}
inline auto members(Lease& row) {
  return std::tuple_cat(std::tie(row.id), members_of_lease(row));
}

inline const Table tokens_table{
    "tokens", "hash", {"hash", "till", "stick", "created", "expires", "used", "tries"}};
template <typename Row>
auto members_of_token(Row& row) {
  return std::tie(row.hash, row.till, row.stick, row.created, row.expires, row.used, row.tries);
}
inline auto members(const Token& row) {
  return members_of_token(row);
}
inline auto members(Token& row) {
  return members_of_token(row);
}

inline const Table pending_table{
    "pending",
    "key_fingerprint",
    {"key_fingerprint", "name", "address", "request", "first_seen", "last_seen", "state", "till"}};
template <typename Row>
auto members_of_pending(Row& row) {
  return std::tie(row.key_fingerprint, row.name, row.address, row.request, row.first_seen,
                  row.last_seen, row.state, row.till);
}
inline auto members(const Pending& row) {
  return members_of_pending(row);
}
inline auto members(Pending& row) {
  return members_of_pending(row);
}

inline const Table users_table{
    "users", "name", {"name", "role", "password", "created", "last_login"}};
template <typename Row>
auto members_of_user(Row& row) {
  return std::tie(row.name, row.role, row.password, row.created, row.last_login);
}
inline auto members(const User& row) {
  return members_of_user(row);
}
inline auto members(User& row) {
  return members_of_user(row);
}

inline const Table web_sessions_table{
    "web_sessions", "hash", {"hash", "user", "csrf", "created", "last_used", "expires"}};
template <typename Row>
auto members_of_web_session(Row& row) {
  return std::tie(row.hash, row.user, row.csrf, row.created, row.last_used, row.expires);
}
inline auto members(const WebSession& row) {
  return members_of_web_session(row);
}
inline auto members(WebSession& row) {
  return members_of_web_session(row);
}

}  // namespace tillbridge::store
