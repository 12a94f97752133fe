#include "plugin/configuration.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <system_error>

#include <toml++/toml.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::plugin {
namespace {

Error mistake(std::string message) {
  return fail(ErrorCode::config, std::move(message));
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

/// Levenshtein distance; both words are short (a key of ours, and one of the file that is cut off).
std::size_t distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  for (std::size_t column = 0; column < row.size(); ++column) row[column] = column;
  for (std::size_t line = 1; line <= left.size(); ++line) {
    std::size_t diagonal = row[0];
    row[0] = line;
    for (std::size_t column = 1; column < row.size(); ++column) {
      const std::size_t replaced = diagonal + (left[line - 1] == right[column - 1] ? 0 : 1);
      diagonal = row[column];
      row[column] = std::min({replaced, row[column] + 1, row[column - 1] + 1});
    }
  }
  return row.back();
}

using Names = std::initializer_list<std::string_view>;

/// "; did you mean 'port'?", or the list of what there is when nothing is near.
std::string suggestion(std::string_view unknown, Names known) {
  constexpr std::size_t longest_word = 64;
  constexpr std::size_t near_enough = 3;
  const std::string_view word = unknown.substr(0, longest_word);
  const auto best = std::min_element(known.begin(), known.end(), [&](auto left, auto right) {
    return distance(word, left) < distance(word, right);
  });
  const std::size_t away = distance(word, *best);
  if (away <= near_enough && away < std::max(best->size(), word.size())) {
    return "; did you mean '" + std::string(*best) + "'?";
  }
  std::string all;
  for (const std::string_view name : known) {
    all += all.empty() ? "; known are '" : ", '";
    all += std::string(name) + "'";
  }
  return all;
}

/// Reads the file's tables and remembers the first mistake, so that a reader lists its keys in a
/// row.
class Reader {
 public:
  Reader(const toml::table& root, std::filesystem::path file)
      : root_(root), file_(std::move(file)) {}

  [[nodiscard]] const std::optional<Error>& error() const noexcept { return error_; }
  [[nodiscard]] bool has(std::string_view section) const { return root_.contains(section); }

  void allow_sections(Names known) { allow(root_, "", known); }

  /// Makes the section the one that the getters below read.
  void enter(std::string_view section, Names known) {
    section_ = section;
    table_ = nullptr;
    const toml::node* node = root_.get(section);
    if (node == nullptr) return;
    table_ = node->as_table();
    if (table_ == nullptr) {
      mistake_at(*node, "'" + section_ + "' must be a section: write [" + section_ +
                            "] on a line of its own");
      return;
    }
    allow(*table_, section_, known);
  }

  std::string text(std::string_view key) {
    const toml::node* node = find(key);
    if (node == nullptr) return {};
    const auto value = node->value_exact<std::string>();
    if (!value || value->empty()) {
      mistake_at(*node, "key '" + std::string(key) + "' must be text in quotes, and not empty");
      return {};
    }
    return *value;
  }

  std::string required_text(std::string_view key, std::string_view example) {
    std::string value = text(key);
    if (value.empty()) {
      mistake("key '" + std::string(key) + "' is missing in [" + section_ +
              "]; write for example " + std::string(key) + " = \"" + std::string(example) + "\"");
    }
    return value;
  }

  std::filesystem::path required_path(std::string_view key, std::string_view example) {
    return resolved(required_text(key, example));
  }
  std::filesystem::path path(std::string_view key) { return resolved(text(key)); }

  std::uint16_t port(std::string_view key, std::uint16_t otherwise) {
    const toml::node* node = find(key);
    if (node == nullptr) return otherwise;
    const auto value = node->value_exact<std::int64_t>();
    if (!value || *value < 1 || *value > 65535) {
      mistake_at(*node, "key '" + std::string(key) + "' must be a number from 1 to 65535");
      return otherwise;
    }
    return static_cast<std::uint16_t>(*value);
  }

  std::optional<Level> level(std::string_view key) {
    const toml::node* node = find(key);
    if (node == nullptr) return std::nullopt;
    const std::string value = text(key);
    if (value.empty()) return std::nullopt;
    if (value == "debug") return Level::debug;
    if (value == "info") return Level::info;
    if (value == "warning") return Level::warning;
    if (value == "error") return Level::error;
    mistake_at(*node, "key '" + std::string(key) + "': '" + value + "' is not a log level" +
                          suggestion(value, {"debug", "info", "warning", "error"}));
    return std::nullopt;
  }

  bool on(std::string_view key, bool otherwise) {
    const toml::node* node = find(key);
    if (node == nullptr) return otherwise;
    const std::string value = text(key);
    if (value == "on" || value == "off") return value == "on";
    if (!value.empty()) {
      mistake_at(*node, "key '" + std::string(key) + "' must be \"on\" or \"off\"");
    }
    return otherwise;
  }

  void mistake(std::string message) {
    if (!error_) error_ = plugin::mistake(file_.string() + ": " + std::move(message));
  }

 private:
  [[nodiscard]] const toml::node* find(std::string_view key) const {
    return table_ == nullptr ? nullptr : table_->get(key);
  }

  void mistake_at(const toml::node& node, const std::string& message) {
    mistake_at(node.source().begin.line, message);
  }
  void mistake_at(toml::source_index line, const std::string& message) {
    if (!error_)
      error_ = plugin::mistake(file_.string() + ":" + std::to_string(line) + ": " + message);
  }

  void allow(const toml::table& table, const std::string& section, Names known) {
    for (const auto& [key, node] : table) {
      if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
      const std::string where = section.empty() ? "at the top of the file" : "in [" + section + "]";
      // The key's own place: an unknown section's node begins only where its first key does.
      mistake_at(key.source().begin.line, "key '" + std::string(key.str()) + "' is not known " +
                                              where + suggestion(key.str(), known));
    }
  }

  [[nodiscard]] std::filesystem::path resolved(const std::string& value) const {
    if (value.empty()) return {};
    return (file_.parent_path() / value)
        .lexically_normal();  // an absolute value replaces the folder
  }

  const toml::table& root_;
  std::filesystem::path file_;
  std::string section_;
  const toml::table* table_ = nullptr;
  std::optional<Error> error_;
};

ServerSource read_server(Reader& reader, const Arguments& arguments) {
  ServerSource server;
  reader.enter("server", {"host", "port", "name"});
  server.port = reader.port("port", default_server_port);
  if (arguments.server_host) {
    server.host = *arguments.server_host;
    if (arguments.server_port) server.port = *arguments.server_port;
  } else {
    server.host = reader.required_text("host", "tse.example");
  }
  server.name = reader.text("name");
  if (server.name.empty()) server.name = server.host;

  reader.enter("tls", {"certificate", "key", "authority"});
  if (!reader.has("tls")) {
    reader.mistake(
        "section [tls] is missing: the USB server knows a till by its certificate; give "
        "certificate, "
        "key and authority");
  }
  server.certificate = reader.required_path("certificate", "/etc/tillbridge/till.pem");
  server.key = reader.required_path("key", "/etc/tillbridge/till.key");
  server.authority = reader.required_path("authority", "/etc/tillbridge/authority.pem");
  return server;
}

UsbipSource read_usbip(Reader& reader) {
  UsbipSource usbip;
  reader.enter("usbip", {"host", "port", "busid", "pipeline"});
  usbip.host = reader.required_text("host", "192.0.2.7");
  usbip.port = reader.port("port", default_usbip_port);
  usbip.busid = reader.required_text("busid", "1-1");
  usbip.pipeline = reader.on("pipeline", true);
  return usbip;
}

Result<Configuration> read(const toml::table& root, const Arguments& arguments) {
  Reader reader(root, arguments.file);
  reader.allow_sections({"server", "tls", "usbip", "log"});
  Configuration configuration;

  if (reader.has("usbip")) {
    if (reader.has("server") || reader.has("tls") || arguments.server_host) {
      reader.mistake(
          "[usbip] (a stock usbipd) and a USB server ([server], [tls] or the option server:) "
          "exclude "
          "each other; keep one");
    }
    configuration.source = read_usbip(reader);
  } else {
    if (!reader.has("server") && !arguments.server_host) {
      reader.mistake("no USB server is named; add [server] with host = \"...\"");
    }
    configuration.source = read_server(reader, arguments);
  }

  reader.enter("log", {"level", "file"});
  configuration.log.level = reader.level("level");
  configuration.log.file = reader.path("file");
  if (reader.error()) return *reader.error();
  return configuration;
}

/// HOST, HOST:PORT, [V6], [V6]:PORT, or a bare IPv6 address, which has more than one colon.
Status parse_server(const std::string& value, Arguments& parsed) {
  const std::string option = "/dvc:tillbridge: 'server:" + value + "' ";
  std::string host = value;
  std::optional<std::string> port;
  if (value.front() == '[') {
    const std::size_t bracket = value.find(']');
    const bool ends = bracket != std::string::npos && bracket + 1 == value.size();
    const bool port_follows = bracket != std::string::npos && !ends && value[bracket + 1] == ':';
    if (!ends && !port_follows) {
      return mistake(option + "is not an address in brackets; write server:[2001:db8::7]:4711");
    }
    host = value.substr(1, bracket - 1);
    if (port_follows) port = value.substr(bracket + 2);
  } else if (std::count(value.begin(), value.end(), ':') == 1) {
    host = value.substr(0, value.find(':'));
    port = value.substr(value.find(':') + 1);
  }
  if (host.empty()) return mistake(option + "names no host");
  parsed.server_host = host;
  if (!port) return {};
  parsed.server_port = parse_port(*port);
  if (parsed.server_port) return {};
  std::string message = option + "has no valid port: '";
  message += *port + "' must be a number from 1 to 65535";
  return mistake(std::move(message));
}

}  // namespace

Result<Arguments> parse_arguments(const std::vector<std::string>& arguments) {
  Arguments parsed;
  for (const std::string& argument : arguments) {
    const std::size_t colon = argument.find(':');
    const std::string key = argument.substr(0, colon);
    const std::string value = colon == std::string::npos ? "" : argument.substr(colon + 1);
    if (key != "server" && key != "config") {
      return mistake("/dvc:tillbridge: option '" + key + "' is not known" +
                     suggestion(key, {"server", "config"}));
    }
    if (value.empty()) {
      return mistake("/dvc:tillbridge: option '" + key + "' needs a value, as in " +
                     (key == "server" ? "server:tse.example" : "config:/etc/tillbridge/till.toml"));
    }
    if (key == "config") {
      parsed.file = value;
      continue;
    }
    const Status address = parse_server(value, parsed);
    if (!address) return address.error();
  }
  return parsed;
}

Result<Configuration> parse_configuration(std::string_view text, const Arguments& arguments) {
  try {
    return read(toml::parse(text, arguments.file.string()), arguments);
  } catch (const toml::parse_error& error) {
    return mistake(arguments.file.string() + ":" + std::to_string(error.source().begin.line) +
                   ": " + std::string(error.description()));
  }
}

Result<Configuration> load_configuration(const Arguments& arguments) {
  std::error_code problem;
  const auto status = std::filesystem::status(arguments.file, problem);
  if (problem == std::errc::permission_denied) {
    return mistake(arguments.file.string() +
                   ": may not be read by this user; check who may enter its folder");
  }
  if (!std::filesystem::exists(status)) {
    return mistake(
        arguments.file.string() +
        ": there is no such file; copy the example till.toml there and fill it in, or name "
        "another with /dvc:tillbridge,config:FILE");
  }
  if (!std::filesystem::is_regular_file(status)) {
    return mistake(arguments.file.string() + ": is not a file");
  }
  std::ifstream file(arguments.file, std::ios::binary);
  if (!file) {
    return mistake(arguments.file.string() +
                   ": may not be read by this user; check its owner and mode");
  }
  std::string text;
  std::array<char, 4096> block{};
  while (file.read(block.data(), block.size()) || file.gcount() > 0) {
    text.append(block.data(), static_cast<std::size_t>(file.gcount()));
    if (text.size() > limits::configuration_file_bytes) {
      return mistake(arguments.file.string() +
                     ": is larger than 1 MiB and no configuration of ours");
    }
  }
  return parse_configuration(text, arguments);
}

}  // namespace tillbridge::plugin
