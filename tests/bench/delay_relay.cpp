// A network that takes its time: forwards TCP connections, each byte after a fixed delay per
// direction, in order and without a limit to its rate. One argument pair each:
//   delay_relay --to HOST:PORT --delay-us N [--listen PORT]
// Prints "relay on 127.0.0.1:PORT"; ends on SIGTERM. For benchmarks, so it works to the
// microsecond.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;

struct Piece {
  Clock::time_point due;
  std::vector<char> bytes;
  std::size_t sent = 0;
};

/// From one socket to the other.
struct Direction {
  int from = -1, to = -1;
  std::deque<Piece> pieces;
  bool ended = false;  ///< nothing more comes
  bool blocked = false;
};

struct Connection {
  Direction up, down;
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "delay_relay: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

void prepare(int socket) {
  const int on = 1;
  static_cast<void>(setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on));
}

int dial(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0) return -1;
  const int made = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int result = connect(made, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  if (result != 0) {
    close(made);
    return -1;
  }
  prepare(made);
  return made;
}

/// Takes what has come; it is due after the delay.
void take(Direction& way, Clock::duration delay) {
  std::vector<char> bytes(std::size_t{256} << 10U);
  const ssize_t count = recv(way.from, bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    way.ended = true;
    return;
  }
  bytes.resize(static_cast<std::size_t>(count));
  way.pieces.push_back({Clock::now() + delay, std::move(bytes)});
}

void give(Direction& way, Clock::time_point now) {
  way.blocked = false;
  while (!way.pieces.empty() && way.pieces.front().due <= now) {
    Piece& piece = way.pieces.front();
    const std::size_t left = piece.bytes.size() - piece.sent;
    const ssize_t count =
        send(way.to, std::next(piece.bytes.data(), static_cast<std::ptrdiff_t>(piece.sent)), left,
             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0) {
      way.blocked = errno == EAGAIN || errno == EINTR;
      if (!way.blocked) way.pieces.clear();
      return;
    }
    piece.sent += static_cast<std::size_t>(count);
    if (piece.sent == piece.bytes.size()) way.pieces.pop_front();
  }
  if (way.ended && way.pieces.empty()) static_cast<void>(shutdown(way.to, SHUT_WR));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv, std::next(argv, argc));
  std::string host, port, listen_port = "0";
  long delay_us = 0;
  for (std::size_t i = 1; i + 1 < words.size(); i += 2) {
    const std::string& value = words[i + 1];
    if (words[i] == "--to") {
      const auto colon = value.rfind(':');
      if (colon == std::string::npos) return 2;
      host = value.substr(0, colon);
      port = value.substr(colon + 1);
    } else if (words[i] == "--delay-us") {
      delay_us = std::strtol(value.c_str(), nullptr, 10);
    } else if (words[i] == "--listen") {
      listen_port = value;
    }
  }
  if (host.empty() || delay_us < 0) {
    std::fprintf(stderr, "usage: delay_relay --to HOST:PORT --delay-us N [--listen PORT]\n");
    return 2;
  }
  const auto delay = std::chrono::microseconds(delay_us);

  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port =
      htons(static_cast<std::uint16_t>(std::strtoul(listen_port.c_str(), nullptr, 10)));
  socklen_t size = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener, 16) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    fail("cannot listen");
  }
  std::printf("relay on 127.0.0.1:%u\n", ntohs(address.sin_port));
  std::fflush(stdout);

  std::list<Connection> connections;
  while (true) {
    std::vector<pollfd> sockets{{listener, POLLIN, 0}};
    std::vector<Direction*> ways{nullptr};
    std::optional<Clock::time_point> next;
    for (Connection& connection : connections) {
      for (Direction* way : {&connection.up, &connection.down}) {
        if (!way->ended) {
          sockets.push_back({way->from, POLLIN, 0});
          ways.push_back(way);
        }
        if (way->blocked) {
          sockets.push_back({way->to, POLLOUT, 0});
          ways.push_back(nullptr);
        } else if (!way->pieces.empty() && (!next || way->pieces.front().due < *next)) {
          next = way->pieces.front().due;
        }
      }
    }
    timespec wait{};
    if (next) {
      const auto left = std::max<std::int64_t>(
          0, std::chrono::duration_cast<std::chrono::nanoseconds>(*next - Clock::now()).count());
      wait = {left / 1000000000, left % 1000000000};
    }
    if (ppoll(sockets.data(), sockets.size(), next ? &wait : nullptr, nullptr) < 0 &&
        errno != EINTR) {
      fail("cannot wait");
    }
    for (std::size_t i = 1; i < sockets.size(); ++i) {
      if (ways[i] != nullptr && sockets[i].revents != 0) take(*ways[i], delay);
    }
    const auto now = Clock::now();
    for (auto each = connections.begin(); each != connections.end();) {
      give(each->up, now);
      give(each->down, now);
      const bool over = each->up.ended && each->down.ended && each->up.pieces.empty() &&
                        each->down.pieces.empty();
      if (over) {
        close(each->up.from);
        close(each->up.to);
      }
      each = over ? connections.erase(each) : std::next(each);
    }
    if (sockets[0].revents == 0) continue;
    const int accepted = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted < 0) continue;
    prepare(accepted);
    const int dialled = dial(host, port);
    if (dialled < 0) {
      close(accepted);
      continue;
    }
    Connection& made = connections.emplace_back();
    made.up.from = made.down.to = accepted;
    made.up.to = made.down.from = dialled;
  }
}
