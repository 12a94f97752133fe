#include "server/usb/config_alerts.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace tillbridge::server {

namespace {

constexpr std::size_t hooks = 16;
constexpr std::size_t url_bytes = 2048;
constexpr std::int64_t longest_s = 300;

const std::set<std::string>& known_kinds() {
  static const std::set<std::string> kinds{
      "stick_gone",         "wrong_stick",      "descriptors_changed", "stick_twin",   "till_lost",
      "certificate_ending", "store_unwritable", "audit_unwritable",    "audit_damaged"};
  return kinds;
}

void check_webhook(ConfigTable& table, const std::string& url) {
  const bool https = url.rfind("https://", 0) == 0;
  const std::size_t host = https ? 8 : 7;
  const bool printable = std::all_of(
      url.begin(), url.end(), [](char character) { return character > ' ' && character < 0x7F; });
  if ((!https && url.rfind("http://", 0) != 0) || url.size() > url_bytes || !printable ||
      url.size() <= host || url[host] == '/' || url.find('@') != std::string::npos ||
      url.find('#') != std::string::npos) {
    table.problem("webhook",
                  "must be an address such as \"https://hooks.example/tillbridge\", without a "
                  "password in it; put a token into a file and name it with token_file");
  }
}

void check_command(ConfigTable& table, const std::vector<std::string>& command) {
  if (command.front().empty() || command.front().front() != '/') {
    table.problem("command",
                  "must begin with a program's whole path, as in [\"/usr/local/bin/tell\", "
                  "\"--urgent\"]; no shell looks at it");
  }
}

}  // namespace

std::vector<Config::Alert> read_alerts(ConfigTable& root, ConfigProblems& problems,
                                       const std::filesystem::path& folder) {
  std::vector<Config::Alert> alerts;
  for (const toml::table* found : root.tables("alert")) {
    ConfigTable table(*found, "[[alert]]", problems);
    Config::Alert alert;
    alert.webhook = table.text("webhook").value_or("");
    alert.command = table.texts("command");
    if (alert.webhook.empty() == alert.command.empty()) {
      table.problem("webhook", "or 'command': exactly one of the two is needed");
    } else if (alert.command.empty()) {
      check_webhook(table, alert.webhook);
    } else {
      check_command(table, alert.command);
    }
    const auto file = [&](const char* key, std::filesystem::path& member) {
      const auto value = table.text(key);
      if (!value || value->empty()) return;
      member = (folder / *value).lexically_normal();
      if (alert.webhook.rfind("https://", 0) != 0) {
        table.problem(key, "is for a webhook over https only");
      }
    };
    file("authority", alert.authority);
    file("token_file", alert.token_file);
    for (const std::string& kind : table.texts("kinds")) {
      if (!known_kinds().contains(kind)) {
        table.problem("kinds", "names '" + log::printable(kind) + "', which is no kind of alarm" +
                                   did_you_mean(kind, known_kinds()));
      }
      alert.kinds.insert(kind);
    }
    alert.time_limit =
        std::chrono::seconds(table.number("time_limit_s", 1, longest_s, alert.time_limit.count()));
    table.finish();
    if (alerts.size() == hooks) {
      table.problem("webhook",
                    "is one [[alert]] more than the " + std::to_string(hooks) + " that are served");
    }
    alerts.push_back(std::move(alert));
  }
  return alerts;
}

}  // namespace tillbridge::server
