#include "pos/tty_line.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace tillbridge::pos {
namespace {

/// As real clients set it: a device that takes no bytes for so long has a problem.
constexpr int write_timeout_ms = 1500;

class TtyLine final : public SerialLine {
 public:
  TtyLine(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  TtyLine(const TtyLine&) = delete;
  TtyLine& operator=(const TtyLine&) = delete;
  TtyLine(TtyLine&&) = delete;
  TtyLine& operator=(TtyLine&&) = delete;
  ~TtyLine() override { ::close(descriptor_); }

  [[nodiscard]] std::string name() const override { return path_; }

  [[nodiscard]] Status arrange() {
    // TIOCEXCL does not keep root out, flock() does not keep out who does not ask: both.
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 || ::ioctl(descriptor_, TIOCEXCL) != 0)
      return failed(errno == EWOULDBLOCK ? EBUSY : errno);
    termios settings{};
    if (::tcgetattr(descriptor_, &settings) != 0) return failed(errno);
    ::cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cflag &= ~static_cast<tcflag_t>(CSTOPB | CRTSCTS);
    settings.c_cc[VMIN] = 0;
    settings.c_cc[VTIME] = 0;
    ::cfsetspeed(&settings, B9600);
    if (::tcsetattr(descriptor_, TCSANOW, &settings) != 0) return failed(errno);
    const int data_terminal_ready = TIOCM_DTR | TIOCM_RTS;
    // A line without modem control (a pseudo terminal) has no DTR to set.
    if (::ioctl(descriptor_, TIOCMBIS, &data_terminal_ready) != 0 && errno != EINVAL &&
        errno != ENOTTY) {
      return failed(errno);
    }
    ::tcflush(descriptor_, TCIOFLUSH);
    return {};
  }

  [[nodiscard]] Status write(ByteView data) override {
    while (!data.empty()) {
      const ssize_t moved = ::write(descriptor_, data.data(), data.size());
      if (moved > 0) {
        data = data.subspan(static_cast<std::size_t>(moved));
        continue;
      }
      if (moved < 0 && errno == EINTR) continue;
      if (moved < 0 && errno != EAGAIN) return failed(errno);
      Result<bool> ready = wait_for(POLLOUT, write_timeout_ms);
      if (!ready) return ready.error();
      if (!*ready) {
        return fail(ErrorCode::unavailable, path_ + " takes no more bytes: the stick hangs");
      }
    }
    return {};
  }

  [[nodiscard]] Result<Bytes> read(Duration timeout) override {
    const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
    Result<bool> ready =
        wait_for(POLLIN, static_cast<int>(std::clamp<std::int64_t>(milliseconds, 0, 3'600'000)));
    if (!ready) return ready.error();
    if (!*ready) return Bytes();
    std::array<std::uint8_t, 4096> piece{};
    const ssize_t moved = ::read(descriptor_, piece.data(), piece.size());
    if (moved < 0 && (errno == EAGAIN || errno == EINTR)) return Bytes();
    if (moved < 0) return failed(errno);
    if (moved == 0) return failed(ENODEV);  // readable without bytes: the line hung up
    const auto arrived = ByteView(piece).first(static_cast<std::size_t>(moved));
    return Bytes(arrived.begin(), arrived.end());
  }

  [[nodiscard]] Error failed(int error_number) const { return failed(path_, error_number); }
  [[nodiscard]] static Error failed(const std::string& path, int error_number) {
    const std::string reason = std::strerror(error_number);
    switch (error_number) {
      case EBUSY:
        return fail(ErrorCode::refused,
                    path +
                        " is in use by another program (the vendor's service? ModemManager?); "
                        "stop that one first");
      case EACCES:
      case EPERM:
        return fail(ErrorCode::config, path + ": " + reason +
                                           "; add your user to the group that owns it (often "
                                           "dialout), or change the udev rule");
      case ENOTTY:
        return fail(ErrorCode::config, path + " is no serial line");
      default:
        return fail(ErrorCode::unavailable, path + ": " + reason + "; the stick is gone");
    }
  }

 private:
  [[nodiscard]] Result<bool> wait_for(short events, int timeout_ms) const {
    pollfd waiting{descriptor_, events, 0};
    const int count = ::poll(&waiting, 1, timeout_ms);
    if (count < 0 && errno != EINTR) return failed(errno);
    if (count <= 0) return false;
    if ((waiting.revents & events) == 0) return failed(ENODEV);
    return true;
  }

  std::string path_;
  int descriptor_;
};

}  // namespace

Result<std::unique_ptr<SerialLine>> open_tty_line(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return TtyLine::failed(path, errno);
  auto line = std::make_unique<TtyLine>(path, descriptor);
  if (Status arranged = line->arrange(); !arranged) return arranged.error();
  return std::unique_ptr<SerialLine>(std::move(line));
}

}  // namespace tillbridge::pos
