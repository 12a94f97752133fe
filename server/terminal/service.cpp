#include "server/terminal/service.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tillbridge::terminal {
namespace {

constexpr int backlog = 16;
/// How long no client is accepted after the system refused a descriptor.
constexpr Duration accept_pause = std::chrono::seconds(1);

Instant clock_now() {
  return std::chrono::duration_cast<Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

std::string system_error() {
  return std::error_code(errno, std::generic_category()).message();
}

/// The address in the form that the socket calls want, and its size.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  [[nodiscard]] std::string text() const {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    if (storage.ss_family == AF_INET6) {
      sockaddr_in6 ipv6{};
      std::memcpy(&ipv6, &storage, sizeof(ipv6));
      inet_ntop(AF_INET6, &ipv6.sin6_addr, buffer.data(), buffer.size());
      return "[" + std::string(buffer.data()) + "]:" + std::to_string(ntohs(ipv6.sin6_port));
    }
    sockaddr_in ipv4{};
    std::memcpy(&ipv4, &storage, sizeof(ipv4));
    inet_ntop(AF_INET, &ipv4.sin_addr, buffer.data(), buffer.size());
    return std::string(buffer.data()) + ":" + std::to_string(ntohs(ipv4.sin_port));
  }
};

SocketAddress socket_address(const std::string& address, std::uint16_t port) {
  SocketAddress result;
  sockaddr_in6 ipv6{};
  sockaddr_in ipv4{};
  if (inet_pton(AF_INET6, address.c_str(), &ipv6.sin6_addr) == 1) {
    ipv6.sin6_family = AF_INET6;
    ipv6.sin6_port = htons(port);
    result.size = sizeof(ipv6);
    std::memcpy(&result.storage, &ipv6, sizeof(ipv6));
  } else {
    inet_pton(AF_INET, address.c_str(), &ipv4.sin_addr);
    ipv4.sin_family = AF_INET;
    ipv4.sin_port = htons(port);
    result.size = sizeof(ipv4);
    std::memcpy(&result.storage, &ipv4, sizeof(ipv4));
  }
  return result;
}

void signal_event(const Descriptor& event) {
  const std::uint64_t one = 1;
  // The counter cannot overflow with one count a session, so this cannot fail.
  [[maybe_unused]] const ssize_t written = ::write(event.get(), &one, sizeof(one));
}

void clear_event(const Descriptor& event) {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t read = ::read(event.get(), &count, sizeof(count));
}

}  // namespace

Descriptor::~Descriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

Service::Service(Settings settings, Reporter& reporter)
    : settings_(std::move(settings)),
      reporter_(reporter),
      stop_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      session_over_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  signals_ = Descriptor(::signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK));
}

Service::~Service() {
  stop();
  for (Running& running : sessions_) running.thread.join();
}

Status Service::listen() {
  SocketAddress address = socket_address(settings_.address, settings_.port);
  listener_ = Descriptor(
      ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(listener_.get(), address.get(), address.size) != 0 ||
      ::listen(listener_.get(), backlog) != 0) {
    return fail(
        ErrorCode::io,
        "cannot listen on " + address.text() + ": " + system_error() +
            (errno == EADDRINUSE ? "; another RDP server runs there, choose another port with "
                                   "--listen"
                                 : ""));
  }
  ::getsockname(listener_.get(), address.get(), &address.size);
  const std::string text = address.text();
  std::uint16_t port = settings_.port;
  if (const std::size_t colon = text.rfind(':'); port == 0) {
    port = static_cast<std::uint16_t>(std::stoul(text.substr(colon + 1)));
  }
  reporter_.report(0, {"listening",
                       "listening for RDP on " + text,
                       {{"address", settings_.address}, {"port", std::int64_t{port}}}});
  return {};
}

bool Service::run() {
  while (!stopping_) {
    const bool may_accept = !accept_again_ || clock_now() >= *accept_again_;
    if (may_accept) accept_again_.reset();
    std::array<pollfd, 3> polled{pollfd{signals_.get(), POLLIN, 0},
                                 pollfd{session_over_.get(), POLLIN, 0},
                                 pollfd{may_accept ? listener_.get() : -1, POLLIN, 0}};
    std::optional<Instant> next = next_logon_end();
    if (accept_again_) next = std::min(next.value_or(*accept_again_), *accept_again_);
    int patience_ms = -1;
    if (next) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - clock_now());
      patience_ms = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
    }
    if (::poll(polled.data(), polled.size(), patience_ms) < 0 && errno != EINTR) break;
    if (polled[0].revents != 0) stop();
    if (polled[1].revents != 0) {
      clear_event(session_over_);
      collect();
    }
    if (polled[2].revents != 0 && !stopping_) accept();
    cut_off_silent(clock_now());
  }
  for (Running& running : sessions_) running.thread.join();
  sessions_.clear();
  return !failed_;
}

void Service::stop() {
  if (stopping_) return;
  stopping_ = true;
  listener_ = Descriptor();
  signal_event(stop_);
  // FreeRDP's TLS handshake does not look at stop_.
  for (const Running& running : sessions_) {
    if (!running.activated) ::shutdown(running.socket.get(), SHUT_RDWR);
  }
}

void Service::accept() {
  SocketAddress from;
  Descriptor socket(
      ::accept4(listener_.get(), from.get(), &from.size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.get() < 0) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      reporter_.report(
          0, {"refused", "cannot accept a client: " + system_error(), {}, rdpeusb::Level::error});
      accept_again_ = clock_now() + accept_pause;
    }
    return;  // otherwise the client has gone away again
  }
  const std::string address = from.text();
  if (sessions_.size() >= settings_.sessions) {
    reporter_.report(0, {"refused",
                         "client " + address + " refused: " + std::to_string(settings_.sessions) +
                             " sessions are open already (--sessions)",
                         {{"address", address}},
                         rdpeusb::Level::warning});
    return;
  }
  start_session(std::move(socket), address);
}

void Service::start_session(Descriptor socket, const std::string& address) {
  Running& running = sessions_.emplace_back();
  running.number = ++last_number_;
  running.socket = Descriptor(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
  running.logon_ends = clock_now() + logon_patience;
  running.thread = std::thread([this, &running, raw = socket.release(), address] {
    run_session(running, raw, address);
    running.over = true;
    signal_event(session_over_);
  });
}

void Service::run_session(Running& running, int socket, const std::string& address) {
  auto peer = RdpPeer::adopt(socket, address, settings_.identity, settings_.account);
  if (!peer) {
    reporter_.report(running.number,
                     {"session_closed", peer.error().message, {}, rdpeusb::Level::error});
    return;
  }
  Session session(running.number, std::move(*peer), settings_.make_sink(), settings_.rules,
                  reporter_, stop_.get());
  running.outcome = session.run([&running] { running.activated = true; });
}

/// Ends the threads of sessions that are over.
void Service::collect() {
  for (auto running = sessions_.begin(); running != sessions_.end();) {
    if (!running->over) {
      ++running;
      continue;
    }
    running->thread.join();
    const SessionOutcome& outcome = running->outcome;
    if (outcome.activated) {
      ++ended_;
      if (!outcome.success.value_or(!settings_.verdict_expected)) failed_ = true;
    }
    running = sessions_.erase(running);
  }
  if (settings_.exit_after_sessions != 0 && ended_ >= settings_.exit_after_sessions) stop();
}

void Service::cut_off_silent(Instant now) {
  for (Running& running : sessions_) {
    if (running.activated || running.cut_off || now < running.logon_ends) continue;
    running.cut_off = true;
    reporter_.report(running.number, {"cut_off",
                                      "the client did not log on in time and is cut off",
                                      {},
                                      rdpeusb::Level::warning});
    ::shutdown(running.socket.get(), SHUT_RDWR);
  }
}

std::optional<Instant> Service::next_logon_end() const {
  std::optional<Instant> next;
  for (const Running& running : sessions_) {
    if (running.activated || running.cut_off) continue;
    next = std::min(next.value_or(running.logon_ends), running.logon_ends);
  }
  return next;
}

}  // namespace tillbridge::terminal
