#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/operations/alert_hook.hpp"
#include "server/operations/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::operations {

namespace {

using Clock = std::chrono::steady_clock;

/// Closes what it holds.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  [[nodiscard]] int get() const noexcept { return fd_; }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

/// What posix_spawn() is told.
class Setting {
 public:
  explicit Setting(int output) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawn_file_actions_addopen(&actions_, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions_, output, 1);
    posix_spawn_file_actions_adddup2(&actions_, output, 2);
    posix_spawn_file_actions_addclosefrom_np(&actions_, 3);
    posix_spawnattr_init(&attributes_);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  }
  ~Setting() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;
  Setting(Setting&&) = delete;
  Setting& operator=(Setting&&) = delete;

  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

class Command final : public AlertSender {
 public:
  explicit Command(server::Config::Alert settings) : settings_(std::move(settings)) {
    // Wakes a send() that waits for its command.
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) == 0) {
      stop_seen_.reset(ends[0]);
      stop_said_.reset(ends[1]);
    }
  }

  Status send(const Alert& alert) override {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("no pipe could be made", errno);
    Descriptor output(ends[0]);
    Descriptor written(ends[1]);
    ::fcntl(output.get(), F_SETFL, O_NONBLOCK);

    std::vector<std::string> words = settings_.command;
    std::vector<std::string> variables = environment(alert);
    variables.emplace_back("PATH=/usr/local/bin:/usr/bin:/bin");
    variables.emplace_back("LANG=C.UTF-8");
    pid_t process = -1;
    {
      Setting setting(written.get());
      const int problem =
          ::posix_spawn(&process, words.front().c_str(), &setting.actions_, &setting.attributes_,
                        pointers(words).data(), pointers(variables).data());
      if (problem != 0) {
        return fail(ErrorCode::refused, "it cannot be started: " + std::string(strerror(problem)) +
                                            "; correct command in [[alert]]");
      }
    }
    written.reset();
    return wait_for(process, output);
  }

  void stop() override {
    stopped_ = true;
    const char byte = 0;
    (void)!::write(stop_said_.get(), &byte, 1);
  }

  [[nodiscard]] std::string name() const override {
    return "command " + server::log::printable(settings_.command.front());
  }

 private:
  static Status system_error(const std::string& what, int number) {
    return fail(ErrorCode::io, what + ": " + strerror(number));
  }

  Status wait_for(pid_t process, const Descriptor& output) {
    const Descriptor ended(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
    const auto deadline = Clock::now() + settings_.time_limit;
    std::string said;
    bool in_time = ended.get() >= 0;
    bool open = true;
    while (in_time) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      if (left <= 0 || stopped_) {
        in_time = false;
        break;
      }
      std::array<pollfd, 3> watched{pollfd{ended.get(), POLLIN, 0},
                                    pollfd{stop_seen_.get(), POLLIN, 0},
                                    pollfd{open ? output.get() : -1, POLLIN, 0}};
      ::poll(watched.data(), watched.size(), static_cast<int>(left));
      if (watched[2].revents != 0) open = read_some(output, said);
      if (watched[0].revents != 0) break;
    }
    // Also what a command that has ended left running: nothing of it may stay behind. Itself, too:
    // where posix_spawn() does not wait for the new program (under an emulator), it may have no
    // group of its own yet.
    ::kill(-process, SIGKILL);
    ::kill(process, SIGKILL);
    int status = 0;
    while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
    }
    while (open && read_some(output, said)) {
    }
    if (!in_time) {
      return fail(ErrorCode::unavailable, "it took longer than " +
                                              std::to_string(settings_.time_limit.count()) +
                                              " s and was ended");
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    return fail(
        never_ran(status) ? ErrorCode::refused : ErrorCode::unavailable,
        (WIFEXITED(status) ? "it ended with exit code " + std::to_string(WEXITSTATUS(status))
                           : "signal " + std::to_string(WTERMSIG(status)) + " ended it") +
            (said.empty() ? "" : ": " + server::log::printable(said)));
  }

  /// By the shells' convention: what it was to run is no program (126) or not there (127), which no
  /// other attempt betters. posix_spawn() says it so, too, where it cannot wait for the new
  /// program.
  static bool never_ran(int status) {
    return WIFEXITED(status) && (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127);
  }

  /// False: there is nothing more, now or ever. What is above the limit is read and forgotten.
  static bool read_some(const Descriptor& output, std::string& said) {
    std::array<char, 4096> buffer{};
    const ssize_t size = ::read(output.get(), buffer.data(), buffer.size());
    if (size <= 0) return size < 0 && errno == EINTR;
    const std::size_t room =
        limits::alert_log_bytes - std::min(said.size(), limits::alert_log_bytes);
    said.append(buffer.data(), std::min(static_cast<std::size_t>(size), room));
    return true;
  }

  server::Config::Alert settings_;
  Descriptor stop_seen_, stop_said_;
  std::atomic<bool> stopped_{false};
};

}  // namespace

std::unique_ptr<AlertSender> make_command(const server::Config::Alert& settings) {
  return std::make_unique<Command>(settings);
}

}  // namespace tillbridge::operations
