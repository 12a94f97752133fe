// delay_relay: forwards TCP connections and holds every byte back for a fixed time in each
// direction, so that a leg of the chain can be as long as a benchmark wants. Prints its port; ends
// on SIGTERM.
//
//   delay_relay --to PORT [--to-address ADDRESS] [--delay-us N] [--back-us N]
//
// The delay is added from when bytes arrive to when they leave, so bandwidth stays what it is. With
// 0 bytes are handed on at once, by the same read and write as with a delay: a run at 0 ms pays for
// the relay itself, and so do its peers.
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace {

using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC, as the timer's

constexpr std::size_t read_bytes = std::size_t{256} << 10U;
/// What one direction of a connection may hold; above it, its source is not read. At 20 ms there is
/// room for 3 Gbit/s.
constexpr std::size_t held_limit = std::size_t{8} << 20U;

[[noreturn]] void fail_with_errno(const std::string& what) {
  throw std::runtime_error(what + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

int checked(int result, const char* what) {
  if (result < 0) fail_with_errno(what);
  return result;
}

/// Something that epoll reports.
struct Ready {
  Ready() = default;
  virtual ~Ready() = default;
  Ready(const Ready&) = delete;
  Ready& operator=(const Ready&) = delete;
  virtual void ready(std::uint32_t events) = 0;
};

class Poller {
 public:
  void add(int fd, std::uint32_t events, Ready& who) { control(EPOLL_CTL_ADD, fd, events, who); }
  void change(int fd, std::uint32_t events, Ready& who) { control(EPOLL_CTL_MOD, fd, events, who); }
  void remove(int fd) { checked(epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr), "epoll_ctl"); }
  void wait(std::span<epoll_event> events, std::size_t& count) const {
    const int got = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    if (got < 0 && errno != EINTR) fail_with_errno("epoll_wait");
    count = got < 0 ? 0 : static_cast<std::size_t>(got);
  }

 private:
  void control(int operation, int fd, std::uint32_t events, Ready& who) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &who;
    checked(epoll_ctl(epoll_.get(), operation, fd, &event), "epoll_ctl");
  }
  Descriptor epoll_{checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
};

/// One end of a connection: its socket, and what waits to be written to it.
class End final : public Ready {
 public:
  End(Poller& poller, int fd, Clock::duration delay) : poller_(poller), socket_(fd), delay_(delay) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    poller_.add(fd, watched_, *this);
  }
  void join(End& other) noexcept { other_ = &other; }

  void ready(std::uint32_t events) override {
    constexpr std::uint32_t trouble = EPOLLERR | EPOLLHUP;  // the read or write itself tells which
    if ((events & (EPOLLIN | trouble)) != 0 && (watched_ & EPOLLIN) != 0) read();
    if ((events & (EPOLLOUT | trouble)) != 0 && (watched_ & EPOLLOUT) != 0) write(Clock::now());
  }

  /// Writes what is due. What the socket does not take waits for EPOLLOUT.
  void write(Clock::time_point now) {
    while (!held_.empty() && held_.front().due <= now && !broken_) {
      Piece& piece = held_.front();
      const std::span<const char> rest = std::span<const char>(piece.bytes).subspan(written_);
      const ssize_t sent = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EINTR) continue;
        blocked_ = errno == EAGAIN;
        broken_ = !blocked_;
        break;
      }
      blocked_ = false;
      written_ += static_cast<std::size_t>(sent);
      if (written_ < piece.bytes.size()) continue;
      held_bytes_ -= piece.bytes.size();
      written_ = 0;
      held_.pop_front();
    }
    if (held_.empty()) blocked_ = false;
    if (held_.empty() && end_due_ && *end_due_ <= now && !ended_) {
      shutdown(socket_.get(), SHUT_WR);
      ended_ = true;
    }
    watch();
    other_->watch();
  }

  /// When write() is to be called next.
  [[nodiscard]] std::optional<Clock::time_point> due() const {
    if (broken_ || blocked_) return std::nullopt;
    if (!held_.empty()) return held_.front().due;
    return ended_ ? std::nullopt : end_due_;
  }
  [[nodiscard]] bool broken() const noexcept { return broken_; }
  /// All that came was handed on, the end too.
  [[nodiscard]] bool ended() const noexcept { return ended_; }

 private:
  struct Piece {
    Clock::time_point due;
    std::vector<char> bytes;
  };

  void read() {
    static std::vector<char> buffer(read_bytes);
    const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
    if (got < 0) {
      broken_ = errno != EAGAIN && errno != EINTR;
      return;
    }
    const Clock::time_point now = Clock::now();
    const auto all = std::span<const char>(buffer).first(static_cast<std::size_t>(got));
    if (all.empty()) {
      at_end_ = true;
      other_->end_due_ = now + other_->delay_;
      watch();
    } else {
      other_->held_.push_back({now + other_->delay_, std::vector<char>(all.begin(), all.end())});
      other_->held_bytes_ += all.size();
    }
    other_->write(now);
  }

  void watch() {
    std::uint32_t wanted = 0;
    if (!at_end_ && other_->held_bytes_ < held_limit) wanted |= EPOLLIN;
    if (blocked_) wanted |= EPOLLOUT;
    if (wanted == watched_) return;
    // A socket of which nothing is wanted is taken out: epoll would tell of its hang-up for ever.
    if (wanted == 0) {
      poller_.remove(socket_.get());
    } else if (watched_ == 0) {
      poller_.add(socket_.get(), wanted, *this);
    } else {
      poller_.change(socket_.get(), wanted, *this);
    }
    watched_ = wanted;
  }

  Poller& poller_;
  Descriptor socket_;
  Clock::duration delay_;  ///< of what is written here
  End* other_ = nullptr;
  std::uint32_t watched_ = EPOLLIN;
  std::deque<Piece> held_;
  std::size_t held_bytes_ = 0, written_ = 0;
  std::optional<Clock::time_point> end_due_;
  bool at_end_ = false, ended_ = false, blocked_ = false, broken_ = false;
};

struct Pair {
  End near, far;
  Pair(Poller& poller, int near_fd, int far_fd, Clock::duration forth, Clock::duration back)
      : near(poller, near_fd, back), far(poller, far_fd, forth) {
    near.join(far);
    far.join(near);
  }
  [[nodiscard]] bool over() const {
    return near.broken() || far.broken() || (near.ended() && far.ended());
  }
};

struct Options {
  in_addr address{htonl(INADDR_LOOPBACK)};
  std::uint16_t port = 0;
  Clock::duration forth{}, back{};
};

sockaddr_in address_of(in_addr address, std::uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_addr = address;
  result.sin_port = htons(port);
  return result;
}

template <typename Address>
auto* as_sockaddr(Address& address) {
  return reinterpret_cast<sockaddr*>(&address);
}

class Relay {
 public:
  explicit Relay(const Options& options) : options_(options) {
    sockaddr_in any = address_of({htonl(INADDR_LOOPBACK)}, 0);
    socklen_t size = sizeof any;
    checked(bind(listener_.fd.get(), as_sockaddr(any), size), "bind");
    checked(listen(listener_.fd.get(), SOMAXCONN), "listen");
    checked(getsockname(listener_.fd.get(), as_sockaddr(any), &size), "getsockname");
    sigset_t signals{};
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    signals_.emplace(checked(signalfd(-1, &signals, SFD_CLOEXEC), "signalfd"));
    poller_.add(listener_.fd.get(), EPOLLIN, listener_);
    poller_.add(timer_.fd.get(), EPOLLIN, timer_);
    poller_.add(signals_->fd.get(), EPOLLIN, *signals_);
    std::printf("delay_relay on 127.0.0.1:%u, %lld us there, %lld us back\n", ntohs(any.sin_port),
                static_cast<long long>(options.forth / std::chrono::microseconds(1)),
                static_cast<long long>(options.back / std::chrono::microseconds(1)));
    std::fflush(stdout);
  }

  void run() {
    std::array<epoll_event, 64> events{};
    while (!signals_->seen) {
      std::size_t count = 0;
      poller_.wait(events, count);
      for (const epoll_event& event : std::span(events).first(count)) {
        static_cast<Ready*>(event.data.ptr)->ready(event.events);
      }
      if (std::exchange(listener_.seen, false)) accept_one();
      if (std::exchange(timer_.seen, false)) {
        std::uint64_t expirations = 0;
        (void)!::read(timer_.fd.get(), &expirations, sizeof expirations);
        armed_.reset();
      }
      move_on();
    }
  }

 private:
  /// A descriptor whose readiness is only noted; what follows is done once the whole batch is seen.
  struct Noted final : Ready {
    explicit Noted(int its_fd) : fd(its_fd) {}
    void ready(std::uint32_t /*events*/) override { seen = true; }
    Descriptor fd;
    bool seen = false;
  };

  void accept_one() {
    const int near = accept4(listener_.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (near < 0) return;
    // Connecting blocks: benchmarks connect to what listens on this machine.
    const int far = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
    sockaddr_in target = address_of(options_.address, options_.port);
    if (connect(far, as_sockaddr(target), sizeof target) < 0) {
      std::fprintf(stderr, "delay_relay: port %u: %s\n", options_.port, std::strerror(errno));
      ::close(near);
      ::close(far);
      return;
    }
    checked(fcntl(far, F_SETFL, O_NONBLOCK), "fcntl");
    pairs_.push_back(std::make_unique<Pair>(poller_, near, far, options_.forth, options_.back));
  }

  void move_on() {
    const Clock::time_point now = Clock::now();
    std::optional<Clock::time_point> next;
    for (auto pair = pairs_.begin(); pair != pairs_.end();) {
      for (End* end : {&(*pair)->near, &(*pair)->far}) {
        if (const auto due = end->due(); due && *due <= now) end->write(now);
      }
      if ((*pair)->over()) {
        pair = pairs_.erase(pair);
        continue;
      }
      for (const End* end : {&(*pair)->near, &(*pair)->far}) {
        if (const auto due = end->due()) next = std::min(next.value_or(*due), *due);
      }
      ++pair;
    }
    arm(next);
  }

  void arm(std::optional<Clock::time_point> next) {
    if (!next || next == armed_) return;
    const auto since = next->time_since_epoch();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
    itimerspec when{};
    when.it_value.tv_sec = seconds.count();
    when.it_value.tv_nsec = std::chrono::nanoseconds(since - seconds).count();
    checked(timerfd_settime(timer_.fd.get(), TFD_TIMER_ABSTIME, &when, nullptr), "timerfd_settime");
    armed_ = next;
  }

  Options options_;
  Poller poller_;
  Noted listener_{
      checked(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket")};
  Noted timer_{
      checked(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "timerfd_create")};
  std::optional<Noted> signals_;
  std::list<std::unique_ptr<Pair>> pairs_;
  std::optional<Clock::time_point> armed_;
};

template <typename Number>
Number number(std::string_view option, const char* text) {
  const std::string_view view(text);
  Number value{};
  const auto [end, error] = std::from_chars(view.begin(), view.end(), value);
  if (error != std::errc{} || end != view.end())
    throw std::runtime_error(std::string(option) + " " + text + ": expected a number");
  return value;
}

Options parse(std::span<char*> arguments) {
  Options options;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const std::string_view option = arguments[i];
    const char* value = arguments[i + 1];
    if (option == "--to") {
      options.port = number<std::uint16_t>(option, value);
    } else if (option == "--to-address") {
      if (inet_pton(AF_INET, value, &options.address) != 1)
        throw std::runtime_error("--to-address wants an IPv4 address");
    } else if (option == "--delay-us") {
      options.forth = std::chrono::microseconds(number<std::uint32_t>(option, value));
    } else if (option == "--back-us") {
      options.back = std::chrono::microseconds(number<std::uint32_t>(option, value));
    } else {
      throw std::runtime_error("unknown option " + std::string(option));
    }
  }
  if (arguments.size() % 2 != 0 || options.port == 0) {
    throw std::runtime_error(
        "delay_relay --to PORT [--to-address ADDRESS] [--delay-us N] [--back-us N]");
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Relay(parse(std::span(argv, static_cast<std::size_t>(argc)).subspan(1))).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "delay_relay: %s\n", error.what());
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
