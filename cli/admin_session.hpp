// What the administrator's verbs have in common: options, requests, and how answers are shown.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/api_client.hpp"
#include "cli/verb.hpp"

namespace tillbridge::cli {

using Json = nlohmann::json;

struct AdminOptions {
  ServerOptions server;
  bool json = false;
  std::string reason;
};

/// One run of a verb. A request that is refused ends the verb: see run_admin().
class AdminSession {
 public:
  explicit AdminSession(const AdminOptions& options) : options_(options), client_(options.server) {}

  [[nodiscard]] Json get(const std::string& path);
  /// With the reason, if one was given.
  Json change(const std::string& method, const std::string& path, Json body = Json::object());
  [[nodiscard]] const AdminOptions& options() const noexcept { return options_; }
  [[nodiscard]] ApiClient& client() noexcept { return client_; }
  /// Throws what run_admin() understands, unless it is a success.
  void expect(const Result<ApiAnswer>& answer) const;

  /// With --json: this, and true. Otherwise nothing, and false.
  [[nodiscard]] bool printed_as_json(const Json& json) const;
  /// Says that something was done, or, if `answer` has "changed": false, that it was so already.
  void say_done(const Json& answer, const std::string& done, const std::string& already) const;

 private:
  const AdminOptions& options_;
  ApiClient client_;
};

/// Ends a verb with a message.
struct Failure {
  Exit exit;
  std::string message, remedy;
  std::string code{};  ///< as the API says it
};
[[nodiscard]] Exit run_admin(const AdminOptions& options,
                             const std::function<void(AdminSession&)>& verb);

/// Adds --socket, --server, ... to a verb and, if it is called before those are added, to all below
/// it; their defaults are what the environment says. `changes`: and --reason.
void add_admin_options(CLI::App& verb, AdminOptions& options, bool changes);
/// The verb, when it is chosen, is run by run_admin().
void runs(CLI::App& verb, Chosen& chosen, const std::shared_ptr<AdminOptions>& options,
          std::function<void(AdminSession&)> work);

/// Rows under headings, as wide as their widest text; with nothing below them, `nothing`. Control
/// characters of what strangers chose are shown as '?'.
void print_table(const std::vector<std::string>& headings,
                 const std::vector<std::vector<std::string>>& rows, const std::string& nothing);
[[nodiscard]] std::string printable(const std::string& text);
void print_line(const std::string& text);

// Values of answers as people read them; empty for null.
[[nodiscard]] std::string text_of(const Json& object, const char* key);
[[nodiscard]] std::string age_of(const Json& object, const char* key);  ///< "3 min", "2 d"
/// How long ago a time is; nothing if there is none.
[[nodiscard]] std::optional<long long> seconds_since(const Json& object, const char* key);
[[nodiscard]] std::string duration_text(long long seconds);                 ///< "3 min", "2 d"
[[nodiscard]] std::string latency_of(const Json& object, const char* key);  ///< "1.9 ms"
/// That of the list which has `value` as its `key`; null: none.
[[nodiscard]] Json find_in(const Json& list, const char* key, const std::string& value);
/// The stick that is meant by id, bare serial, or label; ends the verb if it is none or several.
[[nodiscard]] Json stick_of(const Json& state, const std::string& name);

// One for each family of verbs; see add_admin().
void add_status(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options);
void add_sticks(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options);
void add_tills(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options);
void add_mappings(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options);
void add_audit(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options);
void add_users(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options);
void add_completion(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options);

}  // namespace tillbridge::cli
