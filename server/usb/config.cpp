#include "server/usb/config.hpp"

#include <array>
#include <charconv>
#include <fstream>
#include <memory>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "server/usb/config_alerts.hpp"
#include "server/usb/config_reader.hpp"
#include "server/usb/config_simulated.hpp"

namespace tillbridge::server {

namespace {

constexpr std::size_t fingerprint_digits = 64;  // SHA-256

/// Reads one document into a Config. Each member reads one table.
class Reader {
 public:
  Reader(const toml::table& document, const std::filesystem::path& file)
      : problems_(file.string()), root_(document, "", problems_) {
    config_.file = file;
    config_.rules.file = file.string();
  }

  Result<Config> read() {
    link();
    authority();
    state();
    admin();
    usbip();
    log();
    libusb();
    allow();
    simulated();
    maps();
    config_.alerts = read_alerts(root_, problems_, config_.file.parent_path());
    root_.finish();
    if (!problems_.empty()) return fail(ErrorCode::config, problems_.text());
    return std::move(config_);
  }

 private:
  void link() {
    const toml::table* found = root_.table("link");
    if (found == nullptr) return;
    ConfigTable table(*found, "[link]", problems_);
    if (auto address = listen_address(table)) config_.link.listen = std::move(*address);
    path(table, "certificate", config_.link.certificate);
    path(table, "key", config_.link.key);
    path(table, "authority", config_.link.authority);
    config_.link.files_named =
        found->contains("certificate") || found->contains("key") || found->contains("authority");
    config_.link.resume_grace = std::chrono::seconds(table.number(
        "resume_grace_s", 0, limits::resume_grace_s, config_.link.resume_grace.count()));
    table.finish();
  }

  void authority() {
    const toml::table* found = root_.table("authority");
    if (found == nullptr) return;
    ConfigTable table(*found, "[authority]", problems_);
    config_.authority.names = table.texts("names");
    for (const std::string& name : config_.authority.names) check_host(table, "names", name);
    if (const auto address = table.text("address")) {
      check_host(table, "address", address->substr(0, address->rfind(':')));
      config_.authority.address = *address;
    }
    config_.authority.till_life = std::chrono::seconds(table.number(
        "till_certificate_s", authority::limits::till_life_least.count(),
        authority::limits::till_life_most.count(), config_.authority.till_life.count()));
    config_.authority.token_life = std::chrono::seconds(table.number(
        "token_s", authority::limits::token_life_least.count(),
        authority::limits::token_life_most.count(), config_.authority.token_life.count()));
    table.finish();
  }

  static void check_host(ConfigTable& table, const std::string& key, const std::string& name) {
    constexpr std::string_view allowed =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]";
    if (!name.empty() && name.size() <= 253 &&
        name.find_first_not_of(allowed) == std::string::npos) {
      return;
    }
    table.problem(
        key, "names '" + log::printable(name) + "', which is neither a DNS name nor an IP address");
  }

  void state() {
    const toml::table* found = root_.table("state");
    if (found == nullptr) return;
    ConfigTable table(*found, "[state]", problems_);
    path(table, "folder", config_.state.folder);
    table.finish();
  }

  void admin() {
    const toml::table* found = root_.table("admin");
    if (found == nullptr) return;
    ConfigTable table(*found, "[admin]", problems_);
    if (auto address = listen_address(table)) config_.admin.listen = std::move(*address);
    path(table, "socket", config_.admin.socket);
    path(table, "metrics_token_file", config_.admin.metrics_token_file);
    table.finish();
  }

  void usbip() {
    const toml::table* found = root_.table("usbip");
    if (found == nullptr) return;
    ConfigTable table(*found, "[usbip]", problems_);
    if (table.required_text("listen", "127.0.0.1:3240").empty()) return;
    config_.usbip_listen = listen_address(table);
    table.finish();
  }

  void log() {
    const toml::table* found = root_.table("log");
    if (found == nullptr) return;
    ConfigTable table(*found, "[log]", problems_);
    const std::string level = table.word("level", {"debug", "info", "warning", "error"}, "info");
    config_.log_level = level == "debug"     ? log::Level::debug
                        : level == "info"    ? log::Level::info
                        : level == "warning" ? log::Level::warning
                                             : log::Level::error;
    table.finish();
  }

  void libusb() {
    const toml::table* found = root_.table("libusb");
    if (found == nullptr) return;
    ConfigTable table(*found, "[libusb]", problems_);
    config_.libusb = table.flag("enabled", true);
    table.finish();
  }

  void allow() {
    std::set<StickPattern::Model> models;
    for (const toml::table* found : root_.tables("allow")) {
      ConfigTable table(*found, "[[allow]]", problems_);
      const std::string device = table.required_text("device", "04b4:0008");
      if (!device.empty()) {
        const auto model = StickPattern::parse_model(device);
        if (model) {
          models.insert(*model);
        } else {
          table.problem("device", "is wrong: " + model.error().message);
        }
      }
      table.finish();
    }
    config_.rules.allow = AllowList(std::move(models));
  }

  void simulated() {
    config_.simulated = read_simulated(root_, problems_, config_.file.parent_path());
    if (const toml::table* found = root_.table("simulation")) {
      ConfigTable table(*found, "[simulation]", problems_);
      path(table, "control", config_.simulation_control);
      table.finish();
    }
  }

  void maps() {
    std::map<std::string, std::uint32_t> sticks;
    for (const toml::table* found : root_.tables("map")) {
      ConfigTable table(*found, "[[map]]", problems_);
      Mapping mapping;
      const std::string stick = table.required_text("stick", "1209:0001:5A2F00000001");
      if (!stick.empty()) {
        const auto pattern = StickPattern::parse(stick);
        if (pattern) {
          mapping.stick = *pattern;
        } else {
          table.problem("stick", "is wrong: " + pattern.error().message);
        }
        // Behind one that takes every session nobody would ever look.
        if (const auto other = sticks.find(stick); other != sticks.end()) {
          table.problem("stick", "is '" + stick + "', which line " + std::to_string(other->second) +
                                     " maps already; one stick belongs to one till, unless the "
                                     "mapping before has a user or terminal_server");
        }
      }
      mapping.till = table.required_text("till", "kasse-03");
      check_till(table, mapping.till);
      if (const auto fingerprint = table.text("fingerprint"))
        mapping.fingerprint = hex_digits(table, *fingerprint);
      const std::string reset = table.word("reset", {"soften", "pass", "refuse"}, "soften");
      mapping.reset = reset == "soften" ? ResetPolicy::soften
                      : reset == "pass" ? ResetPolicy::pass
                                        : ResetPolicy::refuse;
      mapping.pipeline = table.word("pipeline", {"on", "off"}, "on") == "on";
      mapping.user = condition(table, "user");
      mapping.terminal_server = condition(table, "terminal_server");
      if (!stick.empty() && mapping.conditions_text().empty()) {
        sticks.emplace(stick, table.line_of("stick"));
      }
      table.finish();
      mapping.id = "file-" + std::to_string(config_.rules.mappings.size() + 1);
      config_.rules.mappings.push_back(std::move(mapping));
    }
  }

  static std::string condition(ConfigTable& table, const std::string& key) {
    std::string value = table.text(key).value_or("");
    if (value.size() > limits::name_bytes) {
      table.problem(key, "is longer than " + std::to_string(limits::name_bytes) + " bytes");
    }
    return value;
  }

  void check_till(ConfigTable& table, const std::string& till) {
    if (till.size() > limits::name_bytes) {
      table.problem("till", "is longer than " + std::to_string(limits::name_bytes) + " bytes");
    }
    if (till.rfind(Mapping::usbip_prefix, 0) != 0) return;
    if (till.size() == Mapping::usbip_prefix.size()) {
      table.problem(
          "till",
          "names no address; write till = \"usbip:192.0.2.7\", or \"usbip:*\" for every address");
    } else if (!config_.usbip_listen) {
      table.problem("till",
                    "names a plain USB/IP client, but no such server is on; add [usbip] listen = "
                    "\"127.0.0.1:3240\"");
    }
  }

  // As openssl prints it, with or without colons, in either case.
  std::string hex_digits(ConfigTable& table, const std::string& text) {
    std::string digits;
    for (const char character : text) {
      if (character == ':') continue;
      digits +=
          character >= 'A' && character <= 'F' ? static_cast<char>(character + 32) : character;
    }
    if (digits.size() != fingerprint_digits ||
        digits.find_first_not_of("0123456789abcdef") != std::string::npos) {
      table.problem(
          "fingerprint",
          "must be the SHA-256 of the till's certificate, 64 hexadecimal digits; see openssl "
          "x509 -noout -fingerprint -sha256 -in kasse-03.crt");
    }
    return digits;
  }

  std::optional<ListenAddress> listen_address(ConfigTable& table) {
    const auto text = table.text("listen");
    if (!text) return std::nullopt;
    const std::size_t colon = text->rfind(':');
    ListenAddress address;
    if (colon != std::string::npos) {
      address.host = text->substr(0, colon);
      const std::string port = text->substr(colon + 1);
      const char* const port_end = std::to_address(port.end());
      const auto parsed = std::from_chars(port.data(), port_end, address.port);
      const bool bracketed =
          address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']';
      if (bracketed) address.host = address.host.substr(1, address.host.size() - 2);
      const bool one_address =
          !address.host.empty() && (bracketed || address.host.find(':') == std::string::npos);
      if (one_address && !port.empty() && parsed.ec == std::errc() && parsed.ptr == port_end) {
        return address;
      }
    }
    table.problem("listen", "is '" + *text + "', but must be ADDRESS:PORT such as \"0.0.0.0:" +
                                std::to_string(default_link_port) +
                                "\" or \"[::]:" + std::to_string(default_link_port) + "\"");
    return std::nullopt;
  }

  void path(ConfigTable& table, const std::string& key, std::filesystem::path& member) const {
    const auto value = table.text(key);
    if (!value) return;
    if (value->empty()) {
      table.problem(key, "must not be empty");
      return;
    }
    member = absolute(*value);
  }

  [[nodiscard]] std::filesystem::path absolute(const std::string& text) const {
    return (config_.file.parent_path() / text).lexically_normal();
  }

  ConfigProblems problems_;
  ConfigTable root_;
  Config config_;
};

}  // namespace

std::string ListenAddress::text() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Config> parse_config(std::string_view toml, const std::filesystem::path& file) {
  try {
    const toml::table document = toml::parse(toml, file.string());
    return Reader(document, file).read();
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::config, file.string() + ":" + std::to_string(error.source().begin.line) +
                                       ": " + std::string(error.description()));
  }
}

Result<Config> load_config(const std::filesystem::path& file) {
  std::error_code problem;
  const auto size = std::filesystem::file_size(file, problem);
  if (problem) {
    return fail(
        ErrorCode::config,
        file.string() + ": cannot be read: " + problem.message() +
            "; write it (an example comes with the package) or name another one with --config");
  }
  if (size > limits::configuration_file_bytes) {
    return fail(ErrorCode::config, file.string() + ": is larger than " +
                                       std::to_string(limits::configuration_file_bytes) + " bytes");
  }
  std::ifstream stream(file, std::ios::binary);
  std::string text(size, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(size));
  if (stream.gcount() != static_cast<std::streamsize>(size)) {
    return fail(ErrorCode::config, file.string() + ": cannot be read; check that this user may");
  }
  return parse_config(text, file);
}

Result<Config> load_default_config() {
  std::error_code problem;
  if (!std::filesystem::exists(default_config_file, problem) && !problem) {
    return parse_config("", default_config_file);
  }
  return load_config(default_config_file);
}

}  // namespace tillbridge::server
