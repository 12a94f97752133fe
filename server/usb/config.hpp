// tillbridged.toml: what an admin may write, read strictly.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/result.hpp"
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
    bool operator==(const Admin&) const = default;
  };

  std::filesystem::path file;
  Link link;
  State state;
  Admin admin;
  std::optional<ListenAddress> usbip_listen;  ///< plain USB/IP: off unless written down
  log::Level log_level = log::Level::info;
  bool libusb = true;  ///< real sticks
  std::vector<simulator::DeviceOptions> simulated;
  std::filesystem::path simulation_control;  ///< empty: off
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
