// Sticks, tills, mappings and leases of the state document as tables.
#pragma once

#include "cli/admin_session.hpp"

namespace tillbridge::cli {

void print_sticks(const Json& state);
void print_tills(const Json& state);
/// How long a till was in each state since the server's start, as one line.
void print_times(const Json& till);
void print_pending(const Json& state);
/// In the order in which they are looked at, stick by stick.
void print_mappings(const Json& state);
void print_leases(const Json& state);
/// Mappings and leases of one stick or till: those whose `member` is `value`.
void print_bonds(const Json& state, const char* member, const std::string& value);
/// Every value under its name, those that are empty left out.
void print_values(const Json& object, const std::vector<std::pair<const char*, const char*>>& rows);

}  // namespace tillbridge::cli
