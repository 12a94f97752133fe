// SQLite as this room uses it: a connection, statements that are prepared once, values in and out.
// Included by this room's .cpp files only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sqlite3.h>

#include "channel/bytes/result.hpp"
#include "server/store/rows.hpp"

namespace tillbridge::store {

class Database {
 public:
  Database() = default;
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  Database(Database&&) = delete;
  Database& operator=(Database&&) = delete;

  [[nodiscard]] Status open(const std::string& file);
  /// One or more statements without parameters and results.
  [[nodiscard]] Status run(const char* sql);
  /// The first column of the first row of a statement; empty if there is none.
  [[nodiscard]] Result<std::string> ask(const char* sql);
  /// What went wrong in the last call, for a person. `misfit` says what a broken constraint means.
  [[nodiscard]] Error error(int code, const char* misfit = nullptr) const;

  [[nodiscard]] sqlite3* handle() const noexcept { return handle_; }
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }
  [[nodiscard]] bool ever_failed_to_prepare() const noexcept { return prepare_error_.has_value(); }
  [[nodiscard]] const Error& prepare_error() const { return *prepare_error_; }

 private:
  friend class Statement;
  sqlite3* handle_ = nullptr;
  std::string file_;
  std::optional<Error> prepare_error_;
};

/// A failed preparation is noted in the database, which its owner asks once after making them all.
class Statement {
 public:
  Statement(Database& database, const std::string& sql);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement(Statement&&) = delete;
  Statement& operator=(Statement&&) = delete;

  [[nodiscard]] Database& database() const noexcept { return database_; }

  /// Ready for new values; a text above its limit is noted and given by problem().
  void reset();
  void put(std::string_view text);
  void put(const std::string& text) { put(std::string_view(text)); }
  void put(bool value) { put(static_cast<std::int64_t>(value)); }
  void put(std::uint16_t value) { put(static_cast<std::int64_t>(value)); }
  void put(std::uint32_t value) { put(static_cast<std::int64_t>(value)); }
  void put(std::uint64_t value);
  void put(std::int64_t value);
  void put(Time value);
  void put(const Digest& value);
  void put(const Bytes& value);
  void put(TillState value);
  void put(PendingState value);
  void put(Role value);
  template <typename T>
  void put(const std::optional<T>& value) {
    if (value) {
      put(*value);
    } else {
      put_null();
    }
  }

  /// SQLITE_ROW, SQLITE_DONE or an error.
  [[nodiscard]] int step() { return sqlite3_step(statement_); }

  /// The next column of the row; one that holds what it cannot hold is noted.
  void get(std::string& text);
  void get(bool& value);
  void get(std::uint16_t& value);
  void get(std::uint32_t& value);
  void get(std::uint64_t& value);
  void get(std::int64_t& value);
  void get(Time& value);
  void get(Digest& value);
  void get(Bytes& value);
  void get(TillState& value);
  void get(PendingState& value);
  void get(Role& value);
  template <typename T>
  void get(std::optional<T>& value) {
    if (sqlite3_column_type(statement_, column_) == SQLITE_NULL) {
      ++column_;
      value.reset();
    } else {
      get(value.emplace());
    }
  }
  void next_row() noexcept { column_ = 0; }

  [[nodiscard]] const std::optional<Error>& problem() const noexcept { return problem_; }

 private:
  void put_null();
  void bound(int code);
  void damaged();

  Database& database_;
  sqlite3_stmt* statement_ = nullptr;
  int parameter_ = 0, column_ = 0;
  std::optional<Error> problem_;
};

}  // namespace tillbridge::store
