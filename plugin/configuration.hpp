// What a till is told: which USB server, with which certificate; from the command line and
// till.toml.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "channel/bytes/result.hpp"
#include "plugin/log.hpp"

namespace tillbridge::plugin {

inline constexpr const char* default_configuration_file = "/etc/tillbridge/till.toml";
inline constexpr std::uint16_t default_server_port = 4711;
inline constexpr std::uint16_t default_usbip_port = 3240;

/// What follows the name in `/dvc:tillbridge,server:HOST:PORT,config:FILE`.
struct Arguments {
  std::optional<std::string> server_host;  ///< goes before the file's
  std::optional<std::uint16_t> server_port;
  std::filesystem::path file = default_configuration_file;
};

/// `arguments` without the plugin's own name. An IPv6 address is written in brackets:
/// server:[2001:db8::7]:4711.
[[nodiscard]] Result<Arguments> parse_arguments(const std::vector<std::string>& arguments);

/// A USB server of ours: TLS with certificates at both ends.
struct ServerSource {
  std::string host;
  std::uint16_t port = default_server_port;
  std::string
      name;  ///< that the server's certificate must be for; the host unless the file says otherwise
  std::filesystem::path certificate, key, authority;
};

/// A stock usbipd. Neither encrypted nor authenticated: for test benches and isolated networks.
struct UsbipSource {
  std::string host;
  std::uint16_t port = default_usbip_port;
  std::string busid;
  bool pipeline = true;  ///< see massstorage::Pipeline
};

struct LogSettings {
  std::optional<Level> level;  ///< absent: what FreeRDP's own options say
  std::filesystem::path file;  ///< empty: none besides FreeRDP's log
};

struct Configuration {
  std::variant<ServerSource, UsbipSource> source;
  LogSettings log;
};

/// Reads the file. Every error names the file, and the line and key where there is one, and says
/// what to do.
[[nodiscard]] Result<Configuration> load_configuration(const Arguments& arguments);

/// The same for text at hand; `file` is for messages and for resolving relative paths.
[[nodiscard]] Result<Configuration> parse_configuration(std::string_view text,
                                                        const Arguments& arguments);

}  // namespace tillbridge::plugin
