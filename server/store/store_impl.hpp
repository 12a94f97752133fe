// What a Store has inside. Included by this room's .cpp files only.
#pragma once

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "server/files/private_folder.hpp"
#include "server/store/columns.hpp"
#include "server/store/sqlite.hpp"
#include "server/store/store.hpp"

namespace tillbridge::store {

/// What a running transaction and the changes in it have to tell each other.
struct Transaction::Access {
  Database* database = nullptr;
  bool running = false;
  std::optional<Error> spoilt;
};

/// Every statement there is, prepared once.
struct Statements {
  /// A table whose rows are put as a whole.
  struct Rows {
    Rows(Database& database, const Table& table, const std::string& order)
        : all(database, table.select("ORDER BY " + order)),
          one(database, table.select(std::string("WHERE ") + table.key + " = ?")),
          put(database, table.put()),
          remove(database, table.remove()) {}
    Statement all, one, put, remove;
  };
  /// A table whose rows get a number.
  struct NumberedRows {
    NumberedRows(Database& database, const Table& table)
        : one(database, table.select("WHERE id = ?")),
          add(database, table.add()),
          change(database, table.change()) {}
    Statement one, add, change;
  };

  explicit Statements(Database& d)
      : sticks(d, sticks_table, "id"),
        tills(d, tills_table, "name"),
        certificates(d, certificates_table, "issued, fingerprint"),
        tokens(d, tokens_table, "created, hash"),
        pending(d, pending_table, "first_seen, key_fingerprint"),
        users(d, users_table, "name"),
        web_sessions(d, web_sessions_table, "created, hash"),
        mapping(d, mappings_table),
        lease(d, leases_table),
        certificates_of(d,
                        certificates_table.select("WHERE till = ? ORDER BY issued, fingerprint")),
        remove_certificates(d, "DELETE FROM certificates WHERE not_after < ?"),
        mappings(d, mappings_table.select("ORDER BY stick, position, id")),
        mappings_of_stick(d, mappings_table.select("WHERE stick = ? ORDER BY position, id")),
        mappings_of_till(d, mappings_table.select("WHERE till = ? ORDER BY stick, position, id")),
        remove_mapping(d, mappings_table.remove()),
        leases(d,
               leases_table.select(
                   "WHERE (?1 = '' OR stick = ?1) AND (?2 = '' OR till = ?2) AND "
                   "(?3 IS NULL OR ended IS NULL OR ended >= ?3) AND (?4 IS NULL OR since <= ?4) "
                   "AND (?5 IS NULL OR id < ?5) ORDER BY id DESC LIMIT ?6")),
        open_leases(d, leases_table.select("WHERE ended IS NULL ORDER BY id")),
        remove_leases(d, "DELETE FROM leases WHERE ended < ?"),
        remove_tokens_of(d, "DELETE FROM tokens WHERE till = ?"),
        remove_tokens(d, "DELETE FROM tokens WHERE expires < ?"),
        remove_pending(d, "DELETE FROM pending WHERE last_seen < ?"),
        remove_web_sessions_of(d, "DELETE FROM web_sessions WHERE user = ?"),
        remove_web_sessions(d, "DELETE FROM web_sessions WHERE expires < ?"),
        setting(d, "SELECT value FROM settings WHERE key = ?"),
        put_setting(d,
                    "INSERT INTO settings (key, value) VALUES (?, ?) "
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"),
        remove_setting(d, "DELETE FROM settings WHERE key = ?") {}

  Rows sticks, tills, certificates, tokens, pending, users, web_sessions;
  NumberedRows mapping, lease;
  Statement certificates_of, remove_certificates;
  Statement mappings, mappings_of_stick, mappings_of_till, remove_mapping;
  Statement leases, open_leases, remove_leases;
  Statement remove_tokens_of, remove_tokens, remove_pending;
  Statement remove_web_sessions_of, remove_web_sessions;
  Statement setting, put_setting, remove_setting;
};

struct Store::Impl {
  explicit Impl(files::PrivateFolder private_folder) : folder(std::move(private_folder)) {}

  files::PrivateFolder folder;  // its lock goes last
  Database database;
  Transaction::Access access;
  std::optional<Statements> statements;

  template <typename Row, typename... Values>
  [[nodiscard]] static Result<std::vector<Row>> read(Statement& statement,
                                                     const Values&... values) {
    bind(statement, values...);
    std::vector<Row> rows;
    int code = SQLITE_DONE;
    while (!statement.problem() && (code = statement.step()) == SQLITE_ROW) {
      statement.next_row();
      std::apply([&](auto&... member) { (statement.get(member), ...); },
                 members(rows.emplace_back()));
    }
    if (Status status = finish(statement, code, nullptr); !status) return status.error();
    return rows;
  }

  template <typename Row, typename... Values>
  [[nodiscard]] static Result<std::optional<Row>> read_one(Statement& statement,
                                                           const Values&... values) {
    auto rows = read<Row>(statement, values...);
    if (!rows) return rows.error();
    if (rows->empty()) return std::optional<Row>();
    return std::optional<Row>(std::move(rows->front()));
  }

  /// `misfit`: what it means if the row does not fit the others.
  template <typename... Values>
  [[nodiscard]] Status change(Statement& statement, const char* misfit, const Values&... values) {
    if (access.spoilt) return *access.spoilt;
    bind(statement, values...);
    int code = SQLITE_DONE;
    if (!statement.problem()) code = statement.step();
    Status status = finish(statement, code, misfit);
    if (!status) spoil(status.error());
    return status;
  }

  template <typename Row>
  [[nodiscard]] Status put(Statement& statement, const Row& row, const char* misfit = nullptr) {
    return std::apply([&](const auto&... member) { return change(statement, misfit, member...); },
                      members(row));
  }

  /// A new row with a number of its own.
  template <typename Row>
  [[nodiscard]] Result<std::int64_t> add(Statement& statement, const Row& row,
                                         const char* misfit = nullptr) {
    Status status = std::apply(
        [&](const auto&... member) {
          return change(statement, misfit, std::optional<std::int64_t>(), member...);
        },
        members(row));
    if (!status) return status.error();
    return static_cast<std::int64_t>(sqlite3_last_insert_rowid(database.handle()));
  }

  template <typename Row>
  [[nodiscard]] Status replace(Statement& statement, const Row& row, const char* misfit) {
    Status status = std::apply(
        [&](const auto&... member) { return change(statement, misfit, row.id, member..., row.id); },
        members(row));
    if (status && sqlite3_changes(database.handle()) == 0) {
      const Error gone = fail(ErrorCode::refused, misfit);
      spoil(gone);
      return gone;
    }
    return status;
  }

 private:
  template <typename... Values>
  static void bind(Statement& statement, const Values&... values) {
    statement.reset();
    (statement.put(values), ...);
  }

  // A statement that is not reset would keep its transaction open.
  [[nodiscard]] static Status finish(Statement& statement, int code, const char* misfit) {
    Status status;
    if (code != SQLITE_DONE && code != SQLITE_ROW) {
      status = statement.database().error(code, misfit);
    } else if (statement.problem()) {
      status = *statement.problem();
    }
    statement.reset();
    return status;
  }

  // SQLite itself takes back a whole transaction after some errors and goes on without one; what
  // came after would then be kept without what came before.
  void spoil(const Error& why) {
    if (!access.running) return;
    access.spoilt = why;
    if (database.in_transaction()) (void)database.run("ROLLBACK");
  }
};

}  // namespace tillbridge::store
