#include "server/http/web.hpp"

#include <algorithm>
#include <charconv>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <httplib.h>

#include "server/admin/reply.hpp"
#include "server/http/limits.hpp"
#include "server/http/refusals.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::http {

namespace {

using std::chrono::steady_clock;

/// The connection as the library sees it. Its thread reads and writes as if nothing else existed.
class ConnectionStream final : public httplib::Stream {
 public:
  explicit ConnectionStream(Connection& connection) : connection_(connection) {}
  [[nodiscard]] bool is_readable() const override { return true; }
  [[nodiscard]] bool is_writable() const override { return true; }
  ssize_t read(char* to, std::size_t size) override { return connection_.read(to, size); }
  ssize_t write(const char* from, std::size_t size) override {
    return connection_.write(from, size) ? static_cast<ssize_t>(size) : -1;
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip = connection_.peer().address;
    port = connection_.peer().port;
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    ip.clear();
    port = 0;
  }
  // The library only wants to know whether select() could be used with it.
  [[nodiscard]] socket_t socket() const override { return 0; }

 private:
  Connection& connection_;
};

/// A thread serves one connection; the library's handlers do not say which.
thread_local Connection* serving = nullptr;
thread_local bool close_after = false;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char character) {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character - 'A' + 'a')
                                                : character;
  });
  return text;
}

std::optional<std::size_t> length_of(const httplib::Request& request) {
  const std::string text = request.get_header_value("Content-Length");
  std::size_t length = 0;
  const char* last = std::to_address(text.end());
  const auto [end, error] = std::from_chars(text.data(), last, length);
  if (error != std::errc() || end != last) return std::nullopt;
  return length;
}

/// What is wrong with a request that does not even need to be looked at by who knows its path.
/// 0: nothing.
int refusal(const httplib::Request& request) {
  if (request.target.empty() || request.target.size() > limits::target_bytes) return 414;
  if (request.method != "GET" && request.method != "HEAD" && request.method != "POST" &&
      request.method != "PATCH" && request.method != "DELETE") {
    return 405;
  }
  // Lengths that can be understood in two ways are how requests are smuggled; and the library puts
  // no limit to a body that comes in chunks.
  if (request.has_header("Transfer-Encoding")) return 411;
  if (request.get_header_value_count("Content-Length") > 1) return 400;
  const auto length = length_of(request);
  if (!length) return 400;
  if (*length > limits::body_bytes) return 413;
  if (*length > 0) {
    const std::string type = lower(request.get_header_value("Content-Type"));
    const bool json = type == "application/json" || type.rfind("application/json;", 0) == 0;
    // Forms are what a foreign page may send without asking.
    if (!json || request.has_header("Content-Encoding")) return 415;
  }
  return 0;
}

WebReply refusal_reply(int status) {
  switch (status) {
    case 405:
      return web_problem(405, "method", "this method is not known here",
                         "use GET, POST, PATCH or DELETE");
    case 411:
      return web_problem(411, "length", "the body's length is missing",
                         "send Content-Length, and the body in one piece");
    case 413:
      return web_problem(413, "too_large",
                         "the body has more than " + std::to_string(limits::body_bytes) + " bytes",
                         "send only the fields that are documented");
    case 414:
      return web_problem(414, "too_long", "the address is too long", "shorten it");
    case 415:
      return web_problem(415, "content_type", "the body is not application/json",
                         "send JSON, uncompressed, as application/json");
    case 500:
      return web_problem(500, "failed", "the server made a mistake", "look at its journal");
    default:
      return web_problem(status, status == 404 ? "unknown" : "bad_request",
                         status == 404 ? "there is no such address" : "this is no HTTP request",
                         "GET /api/v1/openapi.json lists all addresses");
  }
}

void write(WebReply&& reply, httplib::Response& response) {
  response.status = reply.status;
  response.headers.emplace("X-Content-Type-Options", "nosniff");
  response.headers.emplace("Referrer-Policy", "no-referrer");
  response.headers.emplace("X-Frame-Options", "DENY");
  response.headers.emplace("Cross-Origin-Opener-Policy", "same-origin");
  response.headers.emplace("Cross-Origin-Resource-Policy", "same-origin");
  response.headers.emplace("Permissions-Policy", "camera=(), microphone=(), geolocation=()");
  bool policy = false;
  bool cache = false;
  for (auto& [name, value] : reply.headers) {
    policy = policy || name == "Content-Security-Policy";
    cache = cache || name == "Cache-Control";
    response.headers.emplace(std::move(name), std::move(value));
  }
  if (!policy) {
    response.headers.emplace("Content-Security-Policy",
                             "default-src 'none'; frame-ancestors 'none'");
  }
  if (!cache) response.headers.emplace("Cache-Control", "no-store");
  if (reply.download) {
    close_after = true;  // whoever followed it hears that it is over
    response.set_chunked_content_provider(
        reply.content_type, [download = std::move(reply.download), connection = serving](
                                std::size_t /*offset*/, httplib::DataSink& sink) {
          if (connection->peer_gone()) return false;
          const auto piece = download->next(limits::stream_pulse);
          if (!piece) {
            sink.done();
          } else if (!piece->empty()) {
            return sink.write(piece->data(), piece->size());
          }
          return true;
        });
  } else if (reply.status != 304) {
    response.set_content(reply.body, reply.content_type);
  }
}

WebRequest request_of(const httplib::Request& request, const Peer& peer) {
  WebRequest mine;
  mine.method = request.method;
  mine.path = request.target.substr(0, request.target.find('?'));
  for (const auto& [name, value] : request.params) mine.query.emplace(name, value);
  for (const auto& [name, value] : request.headers) mine.headers.emplace(lower(name), value);
  mine.body = request.body;
  mine.peer = peer;
  return mine;
}

}  // namespace

WebReply web_problem(int status, const char* code, const std::string& message,
                     const std::string& remedy) {
  admin::Reply made = admin::reply_to({status, code, message, remedy});
  WebReply reply;
  reply.status = made.status;
  reply.content_type = std::move(made.content_type);
  reply.body = std::move(made.body);
  return reply;
}

/// Only reading and writing of messages is the library's: sockets, threads and time limits are
/// ours.
class Web::Library final : public httplib::Server {
 public:
  explicit Library(Web::Handler handler) : handler_(std::move(handler)) {
    svr_sock_ = 0;  // "it runs": without it a reply without an end would end at once
    keep_alive_timeout_sec_ = limits::idle.count();
    keep_alive_max_count_ = limits::requests_per_connection;
    set_payload_max_length(limits::body_bytes);
    set_pre_routing_handler([](const httplib::Request& request, httplib::Response& response) {
      const int status = refusal(request);
      if (status == 0) return HandlerResponse::Unhandled;
      refuse(status, response);
      return HandlerResponse::Handled;
    });
    set_expect_100_continue_handler(
        [](const httplib::Request& request, httplib::Response& response) {
          const int status = refusal(request);
          if (status == 0) return 100;
          refuse(status, response);
          return status;
        });
    set_error_handler([](const httplib::Request& /*request*/, httplib::Response& response) {
      // Of the library's own errors; ours have a body.
      if (response.body.empty()) refuse(response.status, response);
    });
    set_exception_handler([](const httplib::Request& /*request*/, httplib::Response& response,
                             const std::exception_ptr& thrown) {
      std::string what = "something unknown";
      try {
        std::rethrow_exception(thrown);
      } catch (const std::exception& error) {
        what = error.what();
      } catch (...) {  // NOLINT(bugprone-empty-catch): it has its words already
      }
      server::log::error("administration: a request failed: " + server::log::printable(what));
      write(refusal_reply(500), response);
    });
    const auto answer = [this](const httplib::Request& request, httplib::Response& response) {
      write(handler_(request_of(request, serving->peer())), response);
    };
    Get("/", answer);
    Post("/", answer);
    Patch("/", answer);
    Delete("/", answer);
  }

  void serve(Connection& connection) {
    serving = &connection;
    for (std::size_t count = 1; count <= limits::requests_per_connection; ++count) {
      if (svr_sock_ == INVALID_SOCKET) return;
      connection.waits(true);
      if (!connection.await(steady_clock::now() + limits::idle)) return;
      const auto until = steady_clock::now() + limits::whole_request;
      switch (connection.collect_head(limits::head_bytes, until)) {
        case Connection::Head::complete:
          break;
        case Connection::Head::too_long:
          return answer_and_end(connection, 431, "Request Header Fields Too Large",
                                "its headers are too long");
        case Connection::Head::too_slow:
          return answer_and_end(connection, 408, "Request Timeout", "it sends too slowly");
        case Connection::Head::gone:
          return;
      }
      connection.waits(false);
      connection.read_until(until);
      ConnectionStream stream(connection);
      bool closed = false;
      close_after = false;
      const bool last = count == limits::requests_per_connection;
      if (!answer_one(stream, last, closed) || closed || close_after) return;
    }
  }

  void stop() { svr_sock_ = INVALID_SOCKET; }

 private:
  /// One request; false: the connection is at its end. A template, so that only the call that the
  /// library has is looked at: of Debian 12 (0.11) the one, of Debian 13 (0.18) the other.
  template <typename Stream>
  bool answer_one(Stream& stream, bool last, bool& closed) {
    if constexpr (requires { this->process_request(stream, last, closed, prepare); }) {
      return this->process_request(stream, last, closed, prepare);
    } else {
      std::string remote, local;
      int remote_port = 0, local_port = 0;
      stream.get_remote_ip_and_port(remote, remote_port);
      stream.get_local_ip_and_port(local, local_port);
      return this->process_request(stream, remote, remote_port, local, local_port, last, closed,
                                   prepare);
    }
  }

  static void refuse(int status, httplib::Response& response) {
    if (status != 404 && status != 405) {
      note_refusal(serving->peer().text(), "HTTP status " + std::to_string(status));
    }
    close_after = true;  // what follows may be the rest of it
    write(refusal_reply(status), response);
    response.set_header("Connection", "close");
  }

  static void answer_and_end(Connection& connection, int status, const char* text,
                             const std::string& why) {
    note_refusal(connection.peer().text(), why);
    const std::string answer = "HTTP/1.1 " + std::to_string(status) + " " + text +
                               "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    (void)connection.write(answer.data(), answer.size());
  }

  /// Before the library does anything with a request: what of it we do not offer goes.
  static void prepare(httplib::Request& request) {
    // Parts of an answer: some of them would be larger than the whole.
    request.headers.erase("Range");
    request.ranges.clear();
    // Compressing secrets beside what a stranger chose tells their length.
    if (request.target.rfind("/api/", 0) == 0) request.headers.erase("Accept-Encoding");
    if (!request.has_header("Content-Length")) request.set_header("Content-Length", "0");
    request.path = "/";  // one handler for all: no name from outside meets a pattern or a folder
  }

  const Web::Handler handler_;
};

Web::Web(Handler handler) : library_(std::make_unique<Library>(std::move(handler))) {}
Web::~Web() = default;

void Web::serve(Connection& connection) {
  library_->serve(connection);
}

void Web::stop() {
  library_->stop();
}

}  // namespace tillbridge::http
