#include "server/terminal/service.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tillbridge::terminal {
namespace {

/// How long no client is accepted after the system refused a descriptor.
constexpr Duration accept_pause = std::chrono::seconds(1);

Instant clock_now() {
  return std::chrono::duration_cast<Instant>(std::chrono::steady_clock::now().time_since_epoch());
}

std::string system_error() {
  return std::error_code(errno, std::generic_category()).message();
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
  auto listener = listen_on(settings_.address, settings_.port, "--listen");
  if (!listener) return listener.error();
  reporter_.report(
      0, {"listening",
          "listening for RDP on " + listener->address.text(),
          {{"address", settings_.address}, {"port", std::int64_t{listener->address.port()}}}});
  listener_ = std::move(listener->socket);
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
    if (is_exhausted(errno)) {
      reporter_.report(
          0, {"refused", "cannot accept a client: " + system_error(), {}, rdpeusb::Level::error});
      accept_again_ = clock_now() + accept_pause;
    }
    return;  // otherwise the client has gone away again
  }
  const std::string address = from.text();
  if (const auto why = turned_away(address)) {
    reporter_.report(0, {"refused",
                         "client " + address + " refused: " + *why,
                         {{"address", address}},
                         rdpeusb::Level::warning});
    return;
  }
  start_session(std::move(socket), address);
}

std::optional<std::string> Service::turned_away(const std::string& address) {
  if (sessions_.size() >= settings_.sessions) {
    return std::to_string(settings_.sessions) + " sessions are open already (--sessions)";
  }
  if (const auto wait = wrong_logons_.wait(guessing::network_of(address), clock_now())) {
    return "too many wrong passwords; the next try is possible in " +
           std::to_string(std::chrono::ceil<std::chrono::seconds>(*wait).count()) + " s";
  }
  return std::nullopt;
}

void Service::start_session(Descriptor socket, const std::string& address) {
  Running& running = sessions_.emplace_back();
  running.number = ++last_number_;
  running.address = address;
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
  running.outcome = settings_.run_session(running.number, std::move(*peer), reporter_, stop_.get(),
                                          [&running] { running.activated = true; });
}

/// Ends the threads of sessions that are over.
void Service::collect() {
  bool done = false;
  for (auto running = sessions_.begin(); running != sessions_.end();) {
    if (!running->over) {
      ++running;
      continue;
    }
    running->thread.join();
    const SessionOutcome& outcome = running->outcome;
    if (outcome.logon_refused) {
      wrong_logons_.count(guessing::network_of(running->address), clock_now());
    }
    if (outcome.activated) {
      ++ended_;
      if (!outcome.success.value_or(!settings_.verdict_expected)) failed_ = true;
      if (outcome.last) done = true;
    }
    running = sessions_.erase(running);
  }
  if (done) stop();
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
