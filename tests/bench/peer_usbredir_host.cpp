// peer_usbredir_host: usbredir's host library with the simulated stick (libusb_shape is its
// libusb), as usbredirect, QEMU and SPICE clients use it: one thread for the connection, one for
// libusb's events. Prints its port; serves one connection.
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include <libusb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <usbredirhost.h>

namespace {

int checked(int result, const char* what) {
  if (result < 0) throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
  return result;
}

/// The one connection; lives as long as the program.
int accept_one() {
  const int listener = checked(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  checked(bind(listener, generic, size), "bind");
  checked(listen(listener, 1), "listen");
  checked(getsockname(listener, generic, &size), "getsockname");
  std::printf("peer_usbredir_host on 127.0.0.1:%u\n", ntohs(address.sin_port));
  std::fflush(stdout);
  const int connection = checked(accept(listener, nullptr, nullptr), "accept");
  const int on = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return connection;
}

class Host {
 public:
  explicit Host(int connection) : connection_(connection) {
    libusb_context* context = nullptr;
    if (libusb_init(&context) != LIBUSB_SUCCESS) throw std::runtime_error("libusb_init failed");
    libusb_device** devices = nullptr;
    libusb_device_handle* handle = nullptr;
    if (libusb_get_device_list(context, &devices) < 1 || libusb_open(*devices, &handle) != 0)
      throw std::runtime_error("there is no stick");
    libusb_free_device_list(devices, 1);
    host_ = usbredirhost_open_full(
        context, handle, log, read, write, flush, [] { return static_cast<void*>(new std::mutex); },
        [](void* lock) { static_cast<std::mutex*>(lock)->lock(); },
        [](void* lock) { static_cast<std::mutex*>(lock)->unlock(); },
        [](void* lock) { delete static_cast<std::mutex*>(lock); }, this, "peer_usbredir_host",
        usbredirparser_warning, 0);
    if (host_ == nullptr) throw std::runtime_error("usbredirhost_open_full failed");
    std::thread([context] {
      for (;;) {
        timeval patience{60, 0};
        libusb_handle_events_timeout(context, &patience);
      }
    }).detach();
  }

  void run() {
    usbredirhost_write_guest_data(host_);
    while (!ended_) {
      pollfd readable{connection_, POLLIN, 0};
      checked(poll(&readable, 1, -1), "poll");
      usbredirhost_read_guest_data(host_);
      usbredirhost_write_guest_data(host_);
    }
  }

 private:
  static Host& of(void* self) { return *static_cast<Host*>(self); }

  static void log(void* /*self*/, int /*level*/, const char* text) {
    std::fprintf(stderr, "%s\n", text);
  }

  static int read(void* self, std::uint8_t* data, int count) {
    const ssize_t got =
        ::recv(of(self).connection_, data, static_cast<std::size_t>(count), MSG_DONTWAIT);
    if (got > 0) return static_cast<int>(got);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    of(self).ended_ = true;
    return -1;
  }

  /// Blocks: what is under way at a time is far less than a socket holds.
  static int write(void* self, std::uint8_t* data, int count) {
    return static_cast<int>(
        ::send(of(self).connection_, data, static_cast<std::size_t>(count), MSG_NOSIGNAL));
  }

  /// What a completion has to say, on the thread of libusb's events. The first call comes from
  /// within usbredirhost_open_full().
  static void flush(void* self) {
    if (of(self).host_ != nullptr) usbredirhost_write_guest_data(of(self).host_);
  }

  int connection_;
  usbredirhost* host_ = nullptr;
  bool ended_ = false;  ///< of the connection's thread
};

}  // namespace

int main() {
  try {
    Host(accept_one()).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peer_usbredir_host: %s\n", error.what());
    return EXIT_FAILURE;
  }
  std::quick_exit(EXIT_SUCCESS);  // the thread of the events still sleeps in there
}
