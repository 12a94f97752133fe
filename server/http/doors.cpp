#include "server/http/doors.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pwd.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/transport/openssl_handles.hpp"
#include "server/files/private_folder.hpp"
#include "server/http/limits.hpp"
#include "server/http/refusals.hpp"

namespace tillbridge::http {

namespace {

using std::chrono::steady_clock;

std::string system_text(int number) {
  return std::error_code(number, std::generic_category()).message();
}

class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int number() const noexcept { return number_; }
  [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_;
};

std::string user_name(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> text{};
  if (::getpwuid_r(uid, &entry, text.data(), text.size(), &found) == 0 && found != nullptr) {
    return found->pw_name;
  }
  return "uid " + std::to_string(uid);
}

Peer peer_of(int descriptor, const sockaddr_storage& from, socklen_t length) {
  Peer peer;
  if (from.ss_family == AF_UNIX || length < sizeof(sockaddr_in)) {
    peer.local = true;
    peer.address = "local";
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
      peer.user = user_name(credentials.uid);
    }
    return peer;
  }
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how sockets are
  ::getnameinfo(reinterpret_cast<const sockaddr*>(&from), length, host.data(), host.size(),
                port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV);
  peer.address = host.data();
  // An IPv4 client of an IPv6 socket is that IPv4 client.
  if (peer.address.rfind("::ffff:", 0) == 0) peer.address.erase(0, 7);
  peer.port = static_cast<int>(std::strtol(port.data(), nullptr, 10));
  return peer;
}

int choose_protocol(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* length,
                    const unsigned char* offered, unsigned int offered_length, void* /*unused*/) {
  static const std::array<unsigned char, 9> ours{8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, length, ours.data(), ours.size(), offered, offered_length) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

using SharedContext = std::shared_ptr<SSL_CTX>;

Result<SharedContext> make_context(const std::filesystem::path& certificate,
                                   const std::filesystem::path& key) {
  const auto failed = [&](const std::string& what) {
    return Error{ErrorCode::config, what + ": " + transport::openssl_error()};
  };
  if (auto status = files::check_private_file(key); !status) return status.error();
  ERR_clear_error();
  const SharedContext context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context) return failed("no TLS");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(context.get(), "ECDHE+AESGCM:ECDHE+CHACHA20");
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate.c_str()) != 1) {
    return failed(certificate.string() + " is no certificate (PEM)");
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return failed(key.string() + " is not the key (PEM) of " + certificate.string());
  }
  return context;
}

}  // namespace

struct Doors::Impl {
  struct Door {
    Descriptor socket;
    bool tls = false;
    std::filesystem::path path;  // of a Unix socket
    ino_t inode = 0;
  };
  struct Guest {
    std::unique_ptr<Connection> connection;
    std::thread thread;
    bool evicted = false;
    bool over = false;
  };

  explicit Impl(Serve given) : serve(std::move(given)), wake(::eventfd(0, EFD_CLOEXEC)) {}

  Status open(Door door);
  void run();
  void welcome(const Door& door);
  bool room_for(const Peer& peer);
  void serve_guest(Guest& guest, const SharedContext& tls);
  void reap(bool all);
  void ring() const {
    const std::uint64_t one = 1;
    (void)!::write(wake.number(), &one, sizeof one);
  }

  const Serve serve;
  Descriptor wake;
  std::mutex mutex;  // of all below
  std::list<Door> doors;
  std::list<Guest> guests;
  SharedContext context;
  bool stopping = false;
  std::thread accepting;
};

Doors::Doors(Serve serve) : impl_(std::make_unique<Impl>(std::move(serve))) {}

Doors::~Doors() {
  stop();
}

Status Doors::use_certificate(const std::filesystem::path& certificate,
                              const std::filesystem::path& key) {
  auto context = make_context(certificate, key);
  if (!context) return context.error();
  const std::lock_guard lock(impl_->mutex);
  impl_->context = std::move(*context);
  return {};
}

Result<std::uint16_t> Doors::listen_tls(const std::string& host, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const std::string name = host + " port " + std::to_string(port);
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list) != 0) {
    return Error{ErrorCode::config,
                 "cannot listen for administrators on " + name + ": this is no IP address"};
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> found(list, ::freeaddrinfo);
  Impl::Door door;
  door.tls = true;
  door.socket = Descriptor(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  const int off = 0;
  ::setsockopt(door.socket.number(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (found->ai_family == AF_INET6) {
    ::setsockopt(door.socket.number(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (::bind(door.socket.number(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::listen(door.socket.number(), 64) != 0) {
    const int number = errno;
    return Error{number == EADDRINUSE ? ErrorCode::unavailable : ErrorCode::io,
                 "cannot listen for administrators on " + name + ": " + system_text(number) +
                     " ([admin] listen chooses another address or port)"};
  }
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how sockets are
  ::getsockname(door.socket.number(), reinterpret_cast<sockaddr*>(&bound), &length);
  std::uint16_t chosen = 0;
  if (bound.ss_family == AF_INET6) {
    sockaddr_in6 address{};
    std::memcpy(&address, &bound, sizeof address);
    chosen = ntohs(address.sin6_port);
  } else {
    sockaddr_in address{};
    std::memcpy(&address, &bound, sizeof address);
    chosen = ntohs(address.sin_port);
  }
  if (auto status = impl_->open(std::move(door)); !status) return status.error();
  return chosen;
}

Status Doors::listen_unix(const std::filesystem::path& path) {
  const auto failed = [&](ErrorCode code, const std::string& why) {
    return Error{code, "cannot listen for administrators on " + path.string() + ": " + why +
                           " ([admin] socket chooses another place)"};
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) {
    return failed(ErrorCode::config, "the path is longer than a socket's may be");
  }
  std::copy(path.native().begin(), path.native().end(), std::begin(address.sun_path));
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how sockets are
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  Impl::Door door;
  door.path = path;
  std::error_code ignored;
  if (path.has_parent_path() && std::filesystem::create_directory(path.parent_path(), ignored)) {
    std::filesystem::permissions(path.parent_path(),
                                 std::filesystem::perms::owner_all |
                                     std::filesystem::perms::group_read |
                                     std::filesystem::perms::group_exec,
                                 ignored);
  }
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) return failed(ErrorCode::config, "there is a file of that name");
    const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(probe.number(), generic, sizeof address) == 0) {
      return failed(ErrorCode::unavailable, "another program listens there");
    }
    ::unlink(path.c_str());  // of a program that was killed
  }
  door.socket = Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // From its first moment nobody but owner and group may connect.
  const mode_t before = ::umask(0117);
  const int bound = ::bind(door.socket.number(), generic, sizeof address);
  const int number = errno;
  ::umask(before);
  if (bound != 0) return failed(ErrorCode::io, system_text(number));
  if (::listen(door.socket.number(), 64) != 0) return failed(ErrorCode::io, system_text(errno));
  if (::lstat(path.c_str(), &there) == 0) door.inode = there.st_ino;
  return impl_->open(std::move(door));
}

Status Doors::Impl::open(Door door) {
  const std::lock_guard lock(mutex);
  if (stopping) return fail(ErrorCode::unavailable, "stopping");
  if (door.tls && !context) return fail(ErrorCode::config, "HTTPS needs a certificate first");
  doors.push_back(std::move(door));
  if (!accepting.joinable()) {
    accepting = std::thread([this] { run(); });
  } else {
    ring();
  }
  return {};
}

void Doors::Impl::run() {
  while (true) {
    std::vector<pollfd> polled{{wake.number(), POLLIN, 0}};
    std::vector<const Door*> open_doors;
    {
      const std::lock_guard lock(mutex);
      if (stopping) return;
      for (const Door& door : doors) {
        polled.push_back({door.socket.number(), POLLIN, 0});
        open_doors.push_back(&door);
      }
    }
    if (::poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) return;
    if ((polled[0].revents & POLLIN) != 0) {
      std::uint64_t count = 0;
      (void)!::read(wake.number(), &count, sizeof count);
      reap(false);
    }
    for (std::size_t index = 0; index < open_doors.size(); ++index) {
      if ((polled[index + 1].revents & POLLIN) != 0) welcome(*open_doors[index]);
    }
  }
}

void Doors::Impl::welcome(const Door& door) {
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): how sockets are
  Descriptor socket(::accept4(door.socket.number(), reinterpret_cast<sockaddr*>(&from), &length,
                              SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (socket.number() < 0) {
    // Out of descriptors: the client waits, others end, and it is tried again.
    if (errno == EMFILE || errno == ENFILE) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return;
  }
  Peer peer = peer_of(socket.number(), from, length);
  const std::lock_guard lock(mutex);
  if (stopping || !room_for(peer)) return;
  Guest& guest = guests.emplace_back();
  guest.connection = std::make_unique<Connection>(socket.release(), std::move(peer));
  try {
    guest.thread = std::thread(
        [this, &guest, tls = door.tls ? context : SharedContext()] { serve_guest(guest, tls); });
  } catch (const std::system_error&) {
    guests.pop_back();  // no thread can be had: the client comes again
  }
}

// With the lock held. A connection that only waits gives its place to one that wants something.
bool Doors::Impl::room_for(const Peer& peer) {
  std::size_t all = 0;
  std::size_t same = 0;
  Guest* longest = nullptr;
  Guest* longest_same = nullptr;
  const auto older = [](const Guest& one, const Guest* than) {
    const auto since = one.connection->waiting_since();
    return since != Connection::at_work &&
           (than == nullptr || since < than->connection->waiting_since());
  };
  for (Guest& guest : guests) {
    if (guest.evicted || guest.over) continue;
    ++all;
    const bool is_same = guest.connection->peer().address == peer.address;
    if (is_same) ++same;
    if (older(guest, longest)) longest = &guest;
    if (is_same && older(guest, longest_same)) longest_same = &guest;
  }
  Guest* leaving = nullptr;
  if (same >= limits::connections_per_address) {
    leaving = longest_same;
  } else if (all >= limits::connections) {
    leaving = longest;
  } else {
    return true;
  }
  // Those that were cut end at once, but their threads may need a moment.
  if (leaving == nullptr || guests.size() >= 2 * limits::connections) {
    note_refusal(peer.text(), "too many connections");
    return false;
  }
  leaving->evicted = true;
  leaving->connection->cut();
  return true;
}

void Doors::Impl::serve_guest(Guest& guest, const SharedContext& tls) {
  Connection& connection = *guest.connection;
  const bool welcome =
      !tls || connection.handshake(tls.get(), steady_clock::now() + limits::handshake);
  if (welcome) {
    serve(connection);
    connection.close_gently();
  }
  {
    const std::lock_guard lock(mutex);
    guest.over = true;
  }
  ring();
}

void Doors::Impl::reap(bool all) {
  std::list<Guest> over;
  {
    const std::lock_guard lock(mutex);
    for (auto guest = guests.begin(); guest != guests.end();) {
      const auto next = std::next(guest);
      if (all || guest->over) over.splice(over.end(), guests, guest);
      guest = next;
    }
  }
  for (Guest& guest : over) guest.thread.join();
}

void Doors::stop() {
  {
    const std::lock_guard lock(impl_->mutex);
    if (std::exchange(impl_->stopping, true)) return;
    for (auto& guest : impl_->guests) guest.connection->cut();
  }
  impl_->ring();
  if (impl_->accepting.joinable()) impl_->accepting.join();
  impl_->reap(true);
  for (const Impl::Door& door : impl_->doors) {
    struct stat there {};
    if (!door.path.empty() && ::lstat(door.path.c_str(), &there) == 0 &&
        there.st_ino == door.inode) {
      ::unlink(door.path.c_str());
    }
  }
  impl_->doors.clear();
}

}  // namespace tillbridge::http
