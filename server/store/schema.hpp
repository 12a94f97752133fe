// The tables, as numbered steps from an empty database to what this program knows.
#pragma once

#include <cstdint>

#include "server/store/sqlite.hpp"

namespace tillbridge::store {

/// What a database of this program says in PRAGMA user_version.
[[nodiscard]] std::uint32_t schema_version();

/// Brings the database to schema_version(), each step whole or not at all. `config`: it is a newer
/// program's, or another program's.
[[nodiscard]] Status migrate(Database& database, Time now);

}  // namespace tillbridge::store
