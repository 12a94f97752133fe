#include "server/store/sqlite.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <type_traits>

#include "server/store/limits.hpp"

namespace tillbridge::store {

namespace {

using std::chrono::microseconds;

// In the order of the enumerators. They stand in the database, so they never change.
constexpr std::array<std::string_view, 3> till_states = {"awaited", "enrolled", "revoked"};
constexpr std::array<std::string_view, 3> pending_states = {"waiting", "approved", "ignored"};
constexpr std::array<std::string_view, 2> roles = {"viewer", "admin"};

template <typename Names, typename Enum>
std::string_view name_in(const Names& names, Enum value) {
  return names.at(static_cast<std::size_t>(value));
}

template <typename Enum, typename Names>
std::optional<Enum> value_in(const Names& names, std::string_view name) {
  const auto* const found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(std::distance(names.begin(), found));
}

}  // namespace

Database::~Database() {
  sqlite3_close(handle_);
}

Status Database::open(const std::string& file) {
  file_ = file;
  const int code =
      sqlite3_open_v2(file.c_str(), &handle_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, nullptr);
  if (code != SQLITE_OK) return error(code);
  sqlite3_extended_result_codes(handle_, 1);
  return {};
}

Status Database::run(const char* sql) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return error(code);
  return {};
}

Result<std::string> Database::ask(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(handle_, sql, -1, &statement, nullptr);
  std::string answer;
  if (code == SQLITE_OK) {
    code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
      if (const unsigned char* text = sqlite3_column_text(statement, 0)) {
        answer = reinterpret_cast<const char*>(text);
      }
      code = SQLITE_DONE;
    }
  }
  // The message is the last call's, so it is taken before the statement goes.
  Error failed = error(code);
  sqlite3_finalize(statement);
  if (code != SQLITE_DONE) return failed;
  return answer;
}

Error Database::error(int code, const char* misfit) const {
  const std::string library =
      std::string(handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code)) + " (" +
      std::to_string(code) + ")";
  switch (static_cast<unsigned>(code) & 0xFFU) {
    case SQLITE_FULL:
      return fail(ErrorCode::io, "There is no room left on the disk of " + file_ +
                                     ": nothing was changed. Make room, then try again.");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return fail(ErrorCode::unavailable, "Another program has " + file_ +
                                              " open. Close it (another tillbridged, sqlite3, "
                                              "a backup), then try again.");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return fail(ErrorCode::config,
                  file_ + " is damaged or is no database of tillbridge: " + library +
                      ". Put a backup in its place, or move it away to begin anew with an empty "
                      "one; the audit log beside it is not touched by that.");
    case SQLITE_CONSTRAINT:
      return fail(ErrorCode::refused,
                  misfit != nullptr ? std::string(misfit) : "A row does not fit: " + library);
    case SQLITE_TOOBIG:
      return fail(ErrorCode::limit, "A value is too long for the database.");
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return fail(ErrorCode::io, file_ + " cannot be opened or written: " + library +
                                     ". Look whether it belongs to the user that the server runs "
                                     "as, and whether the disk can be written.");
    default:
      return fail(ErrorCode::io, file_ + " cannot be read or written: " + library +
                                     ". Nothing was changed. Look at the disk's health and room.");
  }
}

Statement::Statement(Database& database, const std::string& sql) : database_(database) {
  const int code = sqlite3_prepare_v3(database.handle_, sql.c_str(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  if (code != SQLITE_OK && !database.prepare_error_) database.prepare_error_ = database.error(code);
}

Statement::~Statement() {
  sqlite3_finalize(statement_);
}

void Statement::reset() {
  sqlite3_reset(statement_);
  parameter_ = column_ = 0;
  problem_.reset();
}

void Statement::bound(int code) {
  if (code != SQLITE_OK && !problem_) problem_ = database_.error(code);
}

void Statement::put_null() {
  bound(sqlite3_bind_null(statement_, ++parameter_));
}

void Statement::put(std::string_view text) {
  if (text.size() > limits::text_bytes && !problem_) {
    problem_ = fail(ErrorCode::limit, "A text has " + std::to_string(text.size()) +
                                          " bytes; the most that is kept is " +
                                          std::to_string(limits::text_bytes) + ".");
    text = {};
  }
  // A view of nothing may have no address, which would be NULL to SQLite.
  const char* const start = text.empty() ? "" : text.data();
  bound(sqlite3_bind_text64(statement_, ++parameter_, start, text.size(), SQLITE_TRANSIENT,
                            SQLITE_UTF8));
}

void Statement::put(std::int64_t value) {
  bound(sqlite3_bind_int64(statement_, ++parameter_, value));
}

void Statement::put(std::uint64_t value) {
  // Counters: SQLite's integers are signed, and nobody counts past 2^63.
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  put(static_cast<std::int64_t>(std::min(value, most)));
}

void Statement::put(Time value) {
  put(value == Time::max()
          ? std::numeric_limits<std::int64_t>::max()
          : static_cast<std::int64_t>(
                std::chrono::floor<microseconds>(value.time_since_epoch()).count()));
}

void Statement::put(const Digest& value) {
  bound(
      sqlite3_bind_blob64(statement_, ++parameter_, value.data(), value.size(), SQLITE_TRANSIENT));
}

void Statement::put(const Bytes& value) {
  if (value.size() > limits::request_bytes && !problem_) {
    problem_ = fail(ErrorCode::limit, "A certificate request has " + std::to_string(value.size()) +
                                          " bytes; the most that is kept is " +
                                          std::to_string(limits::request_bytes) + ".");
  }
  if (value.empty() || problem_) {
    bound(sqlite3_bind_zeroblob(statement_, ++parameter_, 0));
  } else {
    bound(sqlite3_bind_blob64(statement_, ++parameter_, value.data(), value.size(),
                              SQLITE_TRANSIENT));
  }
}

void Statement::put(TillState value) {
  put(name_in(till_states, value));
}
void Statement::put(PendingState value) {
  put(name_in(pending_states, value));
}
void Statement::put(Role value) {
  put(name_in(roles, value));
}

void Statement::damaged() {
  if (problem_) return;
  problem_ = fail(ErrorCode::config,
                  database_.file_ + " is damaged: its column \"" +
                      sqlite3_column_name(statement_, column_ - 1) +
                      "\" holds a value that tillbridge never wrote. Put a backup in its place.");
}

void Statement::get(std::string& text) {
  const unsigned char* const start = sqlite3_column_text(statement_, column_);
  const int size = sqlite3_column_bytes(statement_, column_++);
  text.assign(start != nullptr ? reinterpret_cast<const char*>(start) : "",
              static_cast<std::size_t>(size));
}

void Statement::get(std::int64_t& value) {
  value = sqlite3_column_int64(statement_, column_++);
}

namespace {

template <typename T>
bool fits(std::int64_t value) {
  if constexpr (sizeof(T) >= sizeof(value)) return value >= 0;
  return value >= 0 && value <= static_cast<std::int64_t>(std::numeric_limits<T>::max());
}

}  // namespace

void Statement::get(bool& value) {
  std::int64_t number = 0;
  get(number);
  value = number != 0;
}

void Statement::get(std::uint16_t& value) {
  std::int64_t number = 0;
  get(number);
  if (!fits<std::uint16_t>(number)) damaged();
  value = static_cast<std::uint16_t>(number);
}

void Statement::get(std::uint32_t& value) {
  std::int64_t number = 0;
  get(number);
  if (!fits<std::uint32_t>(number)) damaged();
  value = static_cast<std::uint32_t>(number);
}

void Statement::get(std::uint64_t& value) {
  std::int64_t number = 0;
  get(number);
  if (!fits<std::uint64_t>(number)) damaged();
  value = static_cast<std::uint64_t>(number);
}

void Statement::get(Time& value) {
  std::int64_t number = 0;
  get(number);
  constexpr std::int64_t latest =
      std::chrono::floor<microseconds>(Time::max().time_since_epoch()).count();
  constexpr std::int64_t earliest =
      std::chrono::ceil<microseconds>(Time::min().time_since_epoch()).count();
  value = number >= latest ? Time::max() : Time(microseconds(std::max(number, earliest)));
}

void Statement::get(Digest& value) {
  const auto* const start =
      static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column_));
  const int size = sqlite3_column_bytes(statement_, column_++);
  if (start == nullptr || static_cast<std::size_t>(size) != value.size()) {
    damaged();
  } else {
    std::copy_n(start, value.size(), value.begin());
  }
}

void Statement::get(Bytes& value) {
  const auto* const start =
      static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_, column_));
  const int size = sqlite3_column_bytes(statement_, column_++);
  value.clear();
  if (start != nullptr) value.resize(static_cast<std::size_t>(size));
  if (start != nullptr) std::copy_n(start, value.size(), value.begin());
}

void Statement::get(TillState& value) {
  std::string name;
  get(name);
  const auto known = value_in<TillState>(till_states, name);
  if (!known) damaged();
  value = known.value_or(TillState::awaited);
}

void Statement::get(PendingState& value) {
  std::string name;
  get(name);
  const auto known = value_in<PendingState>(pending_states, name);
  if (!known) damaged();
  value = known.value_or(PendingState::waiting);
}

void Statement::get(Role& value) {
  std::string name;
  get(name);
  const auto known = value_in<Role>(roles, name);
  if (!known) damaged();
  value = known.value_or(Role::viewer);
}

}  // namespace tillbridge::store
