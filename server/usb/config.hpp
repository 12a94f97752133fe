// tillbridged.toml: what an admin may write, read strictly.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/result.hpp"
#include "server/authority/limits.hpp"
#include "server/simulator/factory.hpp"
#include "server/usb/log.hpp"
#include "server/usb/mapping.hpp"

namespace tillbridge::server {

inline constexpr const char* default_config_file = "/etc/tillbridge/tillbridged.toml";
inline constexpr std::uint16_t default_link_port = 4711;
inline constexpr std::uint16_t default_admin_port = 4712;

struct ListenAddress {
  std::string host;
  std::uint16_t port = 0;  ///< 0: the system chooses
  /// "192.0.2.7:4711", "[2001:db8::7]:4711"
  [[nodiscard]] std::string text() const;
  bool operator==(const ListenAddress&) const = default;
};

struct Config {
  struct Link {
    ListenAddress listen{"0.0.0.0", default_link_port};
    std::filesystem::path certificate = "/etc/tillbridge/server.crt";
    std::filesystem::path key = "/etc/tillbridge/server.key";
    std::filesystem::path authority = "/etc/tillbridge/authority.crt";
    /// How long a till that lost its connection keeps its sticks; 0: not at all.
    std::chrono::seconds resume_grace{60};
    /// The three files are named in the configuration, not only the defaults.
    bool files_named = false;
    bool operator==(const Link&) const = default;
  };

  /// What the server remembers: the database, its own authority, the audit log.
  struct State {
    std::filesystem::path folder = "/var/lib/tillbridge";
    bool operator==(const State&) const = default;
  };

  /// Where administrators come in.
  struct Admin {
    ListenAddress listen{"0.0.0.0", default_admin_port};     ///< HTTPS
    std::filesystem::path socket = "/run/tillbridge/admin";  ///< a Unix socket
    /// Tokens that may read /metrics, a line each; empty: nobody but logins.
    std::filesystem::path metrics_token_file;
    bool operator==(const Admin&) const = default;
  };

  /// How tills become tills of this server.
  struct Authority {
    /// DNS names and IP addresses that its certificate is for, besides the machine's own.
    std::vector<std::string> names;
    /// HOST or HOST:PORT that a new till is told; empty: the first of `names`, or of the machine's.
    std::string address;
    std::chrono::seconds till_life = authority::limits::till_life;    ///< of a till's certificate
    std::chrono::seconds token_life = authority::limits::token_life;  ///< of a pairing token
    bool operator==(const Authority&) const = default;
  };

  /// Whom alarms are told.
  struct Alert {
    std::string webhook;                  ///< an http or https address; empty: it is a command
    std::filesystem::path authority;      ///< whom to trust instead of the system's authorities
    std::filesystem::path token_file;     ///< its first line goes out as a bearer token
    std::vector<std::string> command;     ///< program with its whole path, and arguments
    std::set<std::string> kinds;          ///< as in admin::Alarm; empty: all
    std::chrono::seconds time_limit{10};  ///< for one message
    bool operator==(const Alert&) const = default;
  };

  std::filesystem::path file;
  Link link;
  Authority authority;
  State state;
  Admin admin;
  std::optional<ListenAddress> usbip_listen;  ///< plain USB/IP: off unless written down
  log::Level log_level = log::Level::info;
  bool libusb = true;  ///< real sticks
  std::vector<simulator::DeviceOptions> simulated;
  std::filesystem::path simulation_control;  ///< empty: off
  std::vector<Alert> alerts;
  Rules rules;
};

/// Unknown keys, wrong types and bad values are errors: each as "FILE:LINE: key 'x' ...", all of
/// them in one message, one a line.
[[nodiscard]] Result<Config> load_config(const std::filesystem::path& file);
/// default_config_file, or, where there is none, the defaults.
[[nodiscard]] Result<Config> load_default_config();
/// The same for text at hand. Relative paths in it are relative to `file`'s folder.
[[nodiscard]] Result<Config> parse_config(std::string_view toml, const std::filesystem::path& file);

}  // namespace tillbridge::server
