#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include <httplib.h>

#include "server/operations/alert_hook.hpp"
#include "server/operations/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::operations {

namespace {

/// "https://hooks.example:8443/a?b" as "https://hooks.example:8443" and "/a?b".
std::pair<std::string, std::string> parts_of(const std::string& url) {
  const std::size_t host = url.find("://") + 3;
  const std::size_t path = url.find_first_of("/?", host);
  if (path == std::string::npos) return {url, "/"};
  return {url.substr(0, path), (url[path] == '?' ? "/" : "") + url.substr(path)};
}

class Webhook final : public AlertSender {
 public:
  explicit Webhook(server::Config::Alert settings)
      : settings_(std::move(settings)), client_(parts_of(settings_.webhook).first) {
    if (!client_.is_valid()) return;
    client_.set_follow_location(false);
    client_.set_connection_timeout(limits::webhook_connect_time);
    client_.set_read_timeout(settings_.time_limit);
    client_.set_write_timeout(settings_.time_limit);
    if (!settings_.authority.empty()) client_.set_ca_cert_path(settings_.authority.c_str());
    client_.enable_server_certificate_verification(true);
  }

  Status send(const Alert& alert) override {
    if (!client_.is_valid()) return fail(ErrorCode::refused, "its address cannot be used");
    httplib::Headers headers{{"User-Agent", "tillbridged/" TILLBRIDGE_VERSION}};
    if (!settings_.token_file.empty()) {
      // Read each time: a token that was renewed counts at once. Never in a message of ours.
      std::ifstream file(settings_.token_file);
      std::string token;
      if (!std::getline(file, token) || token.empty() || token.size() > 4096) {
        return fail(ErrorCode::io, "the token in " + settings_.token_file.string() +
                                       " cannot be read; it must be the file's first line");
      }
      headers.emplace("Authorization", "Bearer " + token);
    }
    httplib::Request request;
    request.method = "POST";
    request.path = parts_of(settings_.webhook).second;
    request.headers = std::move(headers);
    request.set_header("Content-Type", "application/json");
    request.body = json(alert);
    std::size_t received = 0;
    // What it answers is of no interest beyond its status; a large body is not read to its end.
    request.content_receiver = [&](const char*, std::size_t size, std::uint64_t, std::uint64_t) {
      received += size;
      return received <= limits::alert_answer_bytes;
    };
    int status = 0;
    request.response_handler = [&](const httplib::Response& response) {
      status = response.status;
      return true;
    };
    const httplib::Result result = client_.send(request);
    if (result) status = result->status;  // an answer without a body has its status only here
    if (status == 0) {
      return fail(ErrorCode::unavailable,
                  "no answer (" + httplib::to_string(result.error()) +
                      "); check the address, the network and the receiver's certificate");
    }
    if (status >= 200 && status < 300) return {};
    const bool temporary = status == 408 || status == 429 || status >= 500;
    return fail(temporary ? ErrorCode::unavailable : ErrorCode::refused,
                "it answered " + std::to_string(status));
  }

  void stop() override { client_.stop(); }

  [[nodiscard]] std::string name() const override {
    // What stands behind the host may be a secret of the receiver's.
    return "webhook " + server::log::printable(parts_of(settings_.webhook).first);
  }

 private:
  server::Config::Alert settings_;
  httplib::Client client_;
};

}  // namespace

std::unique_ptr<AlertSender> make_webhook(const server::Config::Alert& settings) {
  return std::make_unique<Webhook>(settings);
}

}  // namespace tillbridge::operations
