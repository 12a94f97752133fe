// The bodies of all cases, by the part of the protocol they are about. Each is a straight line on a
// Server; all_cases() in cases.cpp says what each shows.
#pragma once

#include "server/terminal/conformance/server.hpp"

/// Microsoft's, in the order of their list.
namespace tillbridge::terminal::conformance::microsoft {
void operate_device_channel(Server& server);
void invalid_major_version(Server& server);
void query_device_text(Server& server);
void select_configuration(Server& server);
}  // namespace tillbridge::terminal::conformance::microsoft
