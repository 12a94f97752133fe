#include "server/store/schema.hpp"

#include <array>
#include <string>

namespace tillbridge::store {

namespace {

// "TBst" in PRAGMA application_id: tells our database from any other.
constexpr std::int64_t application_id = 0x54427374;

// A step that was released never changes; a new need is a new step at the end. Times are
// microseconds since 1970, booleans 0 and 1. A column that may be NULL says so by having no NOT
// NULL.
constexpr std::array<const char*, 4> steps = {
    // 1: sticks, tills, who gets what, and who had it
    R"sql(
CREATE TABLE migrations (
  version INTEGER PRIMARY KEY,
  applied INTEGER NOT NULL
) STRICT;
CREATE TABLE settings (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE sticks (
  id                   TEXT PRIMARY KEY,
  vendor_id            INTEGER NOT NULL,
  product_id           INTEGER NOT NULL,
  serial               TEXT NOT NULL,
  by_port              INTEGER NOT NULL,
  port                 TEXT NOT NULL,
  product              TEXT NOT NULL,
  manufacturer         TEXT NOT NULL,
  label                TEXT NOT NULL,
  first_seen           INTEGER,
  last_seen            INTEGER,
  fingerprint_accepted TEXT NOT NULL,
  fingerprint_seen     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE tills (
  name         TEXT PRIMARY KEY,
  label        TEXT NOT NULL,
  added        INTEGER NOT NULL,
  last_address TEXT NOT NULL,
  last_seen    INTEGER,
  state        TEXT NOT NULL CHECK (state IN ('awaited', 'enrolled', 'revoked')),
  note         TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE mappings (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  stick           TEXT NOT NULL REFERENCES sticks (id),
  till            TEXT NOT NULL REFERENCES tills (name),
  user            TEXT NOT NULL,
  terminal_server TEXT NOT NULL,
  position        INTEGER NOT NULL,
  reset           TEXT NOT NULL,
  pipeline        INTEGER NOT NULL,
  created         INTEGER NOT NULL,
  created_by      TEXT NOT NULL,
  reason          TEXT NOT NULL
) STRICT;
CREATE INDEX mappings_by_stick ON mappings (stick, position);
CREATE INDEX mappings_by_till ON mappings (till);
CREATE TABLE leases (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  stick           TEXT NOT NULL,
  till            TEXT NOT NULL,
  address         TEXT NOT NULL,
  user            TEXT NOT NULL,
  domain          TEXT NOT NULL,
  terminal_server TEXT NOT NULL,
  client_name     TEXT NOT NULL,
  software        TEXT NOT NULL,
  since           INTEGER NOT NULL,
  ended           INTEGER,
  why             TEXT NOT NULL,
  times_away      INTEGER NOT NULL,
  transfers       INTEGER NOT NULL,
  bytes_in        INTEGER NOT NULL,
  bytes_out       INTEGER NOT NULL
) STRICT;
CREATE INDEX leases_by_stick ON leases (stick, id);
CREATE INDEX leases_by_till ON leases (till, id);
CREATE INDEX leases_open ON leases (id) WHERE ended IS NULL;
)sql",
    // 2: enrolment; blocks; errors and latencies of leases
    R"sql(
ALTER TABLE sticks ADD COLUMN blocked_until INTEGER;
ALTER TABLE leases ADD COLUMN errors INTEGER NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN p50_us INTEGER;
ALTER TABLE leases ADD COLUMN p99_us INTEGER;
CREATE TABLE certificates (
  serial          TEXT NOT NULL,
  till            TEXT NOT NULL,
  fingerprint     TEXT PRIMARY KEY,
  key_fingerprint TEXT NOT NULL,
  not_before      INTEGER NOT NULL,
  not_after       INTEGER NOT NULL,
  issued          INTEGER NOT NULL,
  revoked         INTEGER,
  why             TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_by_till ON certificates (till);
CREATE TABLE tokens (
  hash    BLOB PRIMARY KEY,
  till    TEXT NOT NULL REFERENCES tills (name) ON DELETE CASCADE,
  stick   TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  used    INTEGER,
  tries   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_till ON tokens (till);
CREATE TABLE pending (
  key_fingerprint TEXT PRIMARY KEY,
  name            TEXT NOT NULL,
  address         TEXT NOT NULL,
  request         BLOB NOT NULL,
  first_seen      INTEGER NOT NULL,
  last_seen       INTEGER NOT NULL,
  state           TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'ignored')),
  till            TEXT NOT NULL
) STRICT, WITHOUT ROWID;
)sql",
    // 3: the page's accounts
    R"sql(
CREATE TABLE users (
  name       TEXT PRIMARY KEY,
  role       TEXT NOT NULL CHECK (role IN ('viewer', 'admin')),
  password   TEXT NOT NULL,
  created    INTEGER NOT NULL,
  last_login INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE web_sessions (
  hash      BLOB PRIMARY KEY,
  user      TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
  csrf      TEXT NOT NULL,
  created   INTEGER NOT NULL,
  last_used INTEGER NOT NULL,
  expires   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX web_sessions_by_user ON web_sessions (user);
)sql",
    // 4: leases that go on after a restart
    R"sql(
ALTER TABLE leases ADD COLUMN session TEXT NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN continuity TEXT NOT NULL DEFAULT '';
)sql"};

Status take_step(Database& database, std::size_t step, Time now) {
  const std::string version = std::to_string(step + 1);
  if (Status begun = database.run("BEGIN IMMEDIATE"); !begun) return begun;
  Status done = database.run(steps.at(step));
  if (done) {
    Statement note(database, "INSERT INTO migrations (version, applied) VALUES (?, ?)");
    note.put(static_cast<std::int64_t>(step + 1));
    note.put(now);
    if (const int code = note.step(); code != SQLITE_DONE) done = database.error(code);
  }
  if (done) done = database.run(("PRAGMA user_version = " + version).c_str());
  if (done) done = database.run("COMMIT");
  if (!done && database.in_transaction()) (void)database.run("ROLLBACK");
  return done;
}

}  // namespace

std::uint32_t schema_version() {
  return static_cast<std::uint32_t>(steps.size());
}

Status migrate(Database& database, Time now) {
  const auto version_text = database.ask("PRAGMA user_version");
  if (!version_text) return version_text.error();
  const auto owner = database.ask("PRAGMA application_id");
  if (!owner) return owner.error();
  const auto tables = database.ask("SELECT count(*) FROM sqlite_schema");
  if (!tables) return tables.error();

  if (*tables == "0" && *version_text == "0") {
    const std::string mark = "PRAGMA application_id = " + std::to_string(application_id);
    if (Status marked = database.run(mark.c_str()); !marked) return marked;
  } else if (*owner != std::to_string(application_id)) {
    return fail(ErrorCode::config,
                "The database is not one of tillbridge's. Give tillbridged a "
                "folder of its own ([state] folder).");
  }
  const std::int64_t version = std::strtoll(version_text->c_str(), nullptr, 10);
  if (version < 0 || version > static_cast<std::int64_t>(steps.size())) {
    return fail(ErrorCode::config, "The database was written by a newer tillbridged (version " +
                                       *version_text + " of its tables; this program knows " +
                                       std::to_string(steps.size()) +
                                       "). Install that tillbridged again, or put back the "
                                       "database from before the update.");
  }
  for (auto step = static_cast<std::size_t>(version); step < steps.size(); ++step) {
    if (Status taken = take_step(database, step, now); !taken) return taken;
  }
  return {};
}

}  // namespace tillbridge::store
