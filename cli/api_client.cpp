#include "cli/api_client.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <optional>
#include <utility>

#include <httplib.h>
#include <nlohmann/json.hpp>
#include <termios.h>
#include <unistd.h>

namespace tillbridge::cli {

namespace {

constexpr int default_port = 4712;
constexpr const char* prefix = "/api/v1";

struct Address {
  std::string host;
  int port = default_port;
};

std::optional<Address> address_of(std::string text) {
  if (text.rfind("https://", 0) == 0) text.erase(0, 8);
  while (!text.empty() && text.back() == '/') text.pop_back();
  Address address;
  const std::size_t bracket = text.rfind(']');
  std::size_t colon = text.rfind(':');
  if (bracket != std::string::npos ? colon < bracket : text.find(':') != colon) {
    colon = std::string::npos;  // a bare IPv6 address
  }
  address.host = text.substr(0, colon);
  if (colon != std::string::npos) {
    const std::string digits = text.substr(colon + 1);
    if (digits.empty() || digits.size() > 5 ||
        digits.find_first_not_of("0123456789") != std::string::npos) {
      return std::nullopt;
    }
    address.port = std::stoi(digits);
  }
  if (bracket != std::string::npos && address.host.front() == '[') {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  if (address.host.empty() || address.port < 1 || address.port > 65535) return std::nullopt;
  return address;
}

std::string bare_hex(const std::string& text) {
  std::string hex;
  for (const char character : text) {
    if (std::isxdigit(static_cast<unsigned char>(character)) != 0) {
      hex += static_cast<char>(std::tolower(static_cast<unsigned char>(character)));
    } else if (character != ':' && character != ' ') {
      return {};
    }
  }
  return hex;
}

std::string fingerprint_of(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &length) != 1) return {};
  std::string text;
  for (unsigned int index = 0; index < length; ++index) {
    std::array<char, 3> pair{};
    (void)std::snprintf(pair.data(), pair.size(), "%02x", digest[index]);
    text += pair.data();
  }
  return text;
}

/// In place of OpenSSL's check: the one certificate that is trusted is the one with the pinned
/// fingerprint, the server's own or the authority that it sends along. Which name it was called by
/// does not matter then.
int check_pin(X509_STORE_CTX* context, void* pinned) {
  const auto& wanted = *static_cast<const std::string*>(pinned);
  X509* leaf = X509_STORE_CTX_get0_cert(context);
  if (fingerprint_of(leaf) == wanted) return 1;
  STACK_OF(X509)* sent = X509_STORE_CTX_get0_untrusted(context);
  for (int index = 0; index < sk_X509_num(sent); ++index) {
    X509* authority = sk_X509_value(sent, index);
    if (fingerprint_of(authority) != wanted) continue;
    const std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)> store(X509_STORE_new(),
                                                                        X509_STORE_free);
    const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> check(
        X509_STORE_CTX_new(), X509_STORE_CTX_free);
    if (!store || !check || X509_STORE_add_cert(store.get(), authority) != 1 ||
        X509_STORE_CTX_init(check.get(), store.get(), leaf, sent) != 1) {
      break;
    }
    X509_STORE_CTX_set_default(check.get(), "ssl_server");
    const int good = X509_verify_cert(check.get());
    X509_STORE_CTX_set_error(context, X509_STORE_CTX_get_error(check.get()));
    return good == 1 ? 1 : 0;
  }
  X509_STORE_CTX_set_error(context, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

Result<std::string> password_for(const ServerOptions& options) {
  std::string password;
  if (!options.password_file.empty()) {
    std::ifstream file(options.password_file);
    if (!std::getline(file, password)) {
      return Error{ErrorCode::config, options.password_file.string() + " cannot be read"};
    }
    return password;
  }
  if (::isatty(STDIN_FILENO) == 0) {
    return Error{ErrorCode::config,
                 "there is no terminal to ask for the password on; name a file with it: "
                 "--password-file FILE"};
  }
  (void)std::fprintf(stderr, "Password of %s: ", options.login.c_str());
  termios before{};
  ::tcgetattr(STDIN_FILENO, &before);
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  std::getline(std::cin, password);
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  (void)std::fprintf(stderr, "\n");
  return password;
}

}  // namespace

struct ApiClient::Impl {
  explicit Impl(ServerOptions given) : options(std::move(given)) {}

  Status open();
  Status log_in();
  [[nodiscard]] Error unreachable(httplib::Error error) const;
  [[nodiscard]] httplib::Headers headers() const;
  [[nodiscard]] Result<ApiAnswer> answer(const httplib::Result& result) const;

  const ServerOptions options;
  std::string pin;
  std::unique_ptr<httplib::ClientImpl> http;
  std::string cookie, csrf;
};

ApiClient::ApiClient(ServerOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}

ApiClient::~ApiClient() {
  if (impl_->csrf.empty()) return;
  try {
    (void)impl_->http->Post("/api/v1/logout", impl_->headers(), "{}", "application/json");
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the login ends by itself then
  }
}

Status ApiClient::Impl::open() {
  if (http) return {};
  if (options.server.empty()) {
    http = std::make_unique<httplib::ClientImpl>(options.socket.string(), 80);
    http->set_address_family(AF_UNIX);
  } else {
    const auto address = address_of(options.server);
    if (!address) {
      return fail(ErrorCode::config, "--server '" + options.server + "' is no HOST[:PORT]");
    }
    auto secure = std::make_unique<httplib::SSLClient>(address->host, address->port);
    if (!options.fingerprint.empty()) {
      pin = bare_hex(options.fingerprint);
      if (pin.size() != 64) {
        return fail(ErrorCode::config, "--fingerprint is no SHA-256: 64 hex digits");
      }
      // The library's own check would look at names as well; this one ends the handshake.
      secure->enable_server_certificate_verification(false);
      SSL_CTX_set_verify(secure->ssl_context(), SSL_VERIFY_PEER, nullptr);
      SSL_CTX_set_cert_verify_callback(secure->ssl_context(), check_pin, &pin);
    } else {
      secure->enable_server_certificate_verification(true);
      if (!options.authority.empty()) secure->set_ca_cert_path(options.authority.string());
    }
    SSL_CTX_set_min_proto_version(secure->ssl_context(), TLS1_2_VERSION);
    http = std::move(secure);
  }
  http->set_connection_timeout(10);
  http->set_read_timeout(60);
  http->set_write_timeout(10);
  http->set_keep_alive(true);
  return options.server.empty() ? Status() : log_in();
}

Status ApiClient::Impl::log_in() {
  if (options.login.empty()) {
    return fail(ErrorCode::config, "a server that is elsewhere asks who you are: --login USER");
  }
  const auto password = password_for(options);
  if (!password) return password.error();
  const nlohmann::json body = {{"user", options.login}, {"password", *password}};
  const auto result = http->Post(
      "/api/v1/login", headers(),
      body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), "application/json");
  if (!result) return unreachable(result.error());
  const auto me = nlohmann::json::parse(result->body, nullptr, false);
  if (result->status != 200 || !me.is_object()) {
    std::string why = "the server refuses the login";
    if (me.is_object() && me.contains("error")) why = me["error"].value("message", why);
    return fail(ErrorCode::refused, why);
  }
  csrf = me.value("csrf", "");
  const std::string set = result->get_header_value("Set-Cookie");
  cookie = set.substr(0, set.find(';'));
  return {};
}

httplib::Headers ApiClient::Impl::headers() const {
  httplib::Headers all{{"Accept", "application/json"}};
  if (options.server.empty()) all.emplace("Host", "localhost");
  if (!cookie.empty()) all.emplace("Cookie", cookie);
  if (!csrf.empty()) all.emplace("X-CSRF-Token", csrf);
  return all;
}

Error ApiClient::Impl::unreachable(httplib::Error error) const {
  if (options.server.empty()) {
    const bool there = std::filesystem::exists(options.socket);
    const bool may = ::access(options.socket.c_str(), R_OK | W_OK) == 0;
    if (there && !may) {
      return {ErrorCode::unavailable, options.socket.string() +
                                          ": you may not; run it with sudo, or join the group that "
                                          "the socket belongs to"};
    }
    return {ErrorCode::unavailable,
            "no tillbridged answers on " + options.socket.string() +
                "; is it running (systemctl status tillbridged)? Another place: --socket; another "
                "machine: --server"};
  }
  if (error == httplib::Error::SSLServerVerification || error == httplib::Error::SSLConnection ||
      error == httplib::Error::SSLLoadingCerts) {
    return {ErrorCode::refused,
            options.server +
                " does not prove to be the right server; name its fingerprint (on the page, or "
                "'tillbridge status' on the server itself): --fingerprint SHA256"};
  }
  return {ErrorCode::unavailable,
          options.server + " does not answer (" + httplib::to_string(error) + ")"};
}

Result<ApiAnswer> ApiClient::Impl::answer(const httplib::Result& result) const {
  if (!result) return unreachable(result.error());
  return ApiAnswer{result->status, result->body};
}

Result<ApiAnswer> ApiClient::get(const std::string& path) {
  if (auto status = impl_->open(); !status) return status.error();
  return impl_->answer(impl_->http->Get(prefix + path, impl_->headers()));
}

Result<ApiAnswer> ApiClient::send(const std::string& method, const std::string& path,
                                  const nlohmann::json& body) {
  if (auto status = impl_->open(); !status) return status.error();
  httplib::Request request;
  request.method = method;
  request.path = prefix + path;
  request.headers = impl_->headers();
  request.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  request.set_header("Content-Type", "application/json");
  return impl_->answer(impl_->http->send(request));
}

Result<ApiAnswer> ApiClient::stream(const std::string& path,
                                    const std::function<bool(std::string_view)>& take) {
  if (auto status = impl_->open(); !status) return status.error();
  ApiAnswer answer;
  bool ended = false;
  const auto result = impl_->http->Get(
      prefix + path, impl_->headers(),
      [&](const httplib::Response& response) {
        answer.status = response.status;
        return true;
      },
      [&](const char* data, std::size_t size) {
        if (!answer.ok()) {
          answer.body.append(data, size);
          return answer.body.size() < (1U << 20U);
        }
        ended = !take(std::string_view(data, size));
        return !ended;
      });
  if (!result && !ended) return impl_->unreachable(result.error());
  return answer;
}

std::string encoded(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string result;
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (std::isalnum(byte) != 0 || character == '-' || character == '.' || character == '_') {
      result += character;
    } else {
      result += '%';
      result += digits[byte >> 4U];
      result += digits[byte & 15U];
    }
  }
  return result;
}

}  // namespace tillbridge::cli
