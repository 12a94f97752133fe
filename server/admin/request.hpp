// A request of an administrator, whatever it came by.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "server/store/rows.hpp"

namespace tillbridge::admin {

using store::Role;
using store::Time;

/// Who asks. Whoever makes one has proved it: a login, or the peer of the Unix socket.
struct Actor {
  std::string name;  ///< the account, or the system's user ("root", "uid 1000")
  Role role = Role::viewer;
  std::string address;  ///< "192.0.2.7:51344"; "local" for the socket
  /// "admin anna": as it is in the audit.
  [[nodiscard]] std::string who() const {
    return (role == Role::admin ? "admin " : "viewer ") + name;
  }
};

struct Request {
  std::string method;  ///< "GET", "POST", "PATCH", "DELETE"
  std::string path;    ///< "/api/v1/sticks/1209%3A0001%3A5A2F/block", as it came: still encoded
  std::map<std::string, std::string> query;  ///< decoded
  std::string body;                          ///< JSON, or empty
  Actor actor;
};

}  // namespace tillbridge::admin
