#include "server/usb/simulation_control.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <system_error>
#include <thread>
#include <utility>

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/transport/stream.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

constexpr std::size_t connections_at_a_time = 8;
constexpr std::size_t line_bytes = 512;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  [[nodiscard]] int get() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string system_error_text() {
  return std::generic_category().message(errno);
}

Result<Descriptor> listen_at(const std::filesystem::path& path) {
  const auto failed = [&](const std::string& what) {
    return fail(ErrorCode::io, "[simulation] control = \"" + path.string() + "\": " + what);
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = path.string();
  if (name.size() >= sizeof(address.sun_path)) return failed("the path is too long for a socket");
  std::memcpy(&address.sun_path, name.data(), name.size());

  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return failed(system_error_text());
  // Linux makes the socket's file with the mode of the descriptor, so there is no moment in which
  // others may enter.
  if (::fchmod(socket.get(), S_IRUSR | S_IWUSR) != 0) return failed(system_error_text());
  // bind() and connect() take every kind of address through one type: sockets were made so.
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (std::filesystem::is_socket(path)) {
    const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (::connect(probe.get(), generic, sizeof(address)) == 0)
      return failed("somebody else listens there");
    std::error_code ignored;
    std::filesystem::remove(path, ignored);  // left over from a process that was killed
  }
  if (::bind(socket.get(), generic, sizeof(address)) != 0) return failed(system_error_text());
  if (::listen(socket.get(), 4) != 0) return failed(system_error_text());
  return socket;
}

}  // namespace

struct SimulationControl::Impl : std::enable_shared_from_this<SimulationControl::Impl> {
  struct Connection {
    std::unique_ptr<transport::Stream> stream;
    std::string line;
  };

  Impl(transport::Loop& the_loop, SimulatedSource& the_source, std::filesystem::path the_path)
      : loop(the_loop), source(the_source), path(std::move(the_path)) {}

  // The only thing that runs on the thread: what it accepts goes to the loop.
  void accept_connections(const std::weak_ptr<Impl>& self) const {
    std::array<pollfd, 2> waiting{pollfd{listener.get(), POLLIN, 0}, pollfd{stop.get(), POLLIN, 0}};
    while (true) {
      if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
      if (waiting[1].revents != 0) return;
      if (waiting[0].revents == 0) continue;
      auto accepted =
          std::make_shared<Descriptor>(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (accepted->get() < 0) continue;
      loop.post([self, accepted] {
        if (const auto impl = self.lock()) impl->serve(std::move(*accepted));
      });
    }
  }

  void serve(Descriptor socket) {
    if (connections.size() >= connections_at_a_time) return;
    const int key = next_key++;
    Connection& connection = connections[key];
    connection.stream = transport::adopt_socket(loop, socket.release());
    connection.stream->start({[this, key](ByteView bytes) { received(key, bytes); },
                              {},
                              [this, key](const std::optional<Error>&) { forget(key); }});
  }

  void received(int key, ByteView bytes) {
    const auto found = connections.find(key);
    if (found == connections.end()) return;
    for (const std::uint8_t byte : bytes) {
      if (byte != '\n') {
        found->second.line += static_cast<char>(byte);
        if (found->second.line.size() <= line_bytes) continue;
        forget(key);
        return;
      }
      const std::string answer = execute(std::exchange(found->second.line, {}));
      found->second.stream->write(Bytes(answer.begin(), answer.end()));
    }
  }

  void forget(int key) {
    const auto found = connections.find(key);
    if (found == connections.end()) return;
    // May be called from a callback of this very stream.
    loop.post([stream = std::shared_ptr<transport::Stream>(std::move(found->second.stream))] {});
    connections.erase(found);
  }

  std::string execute(const std::string& line) {
    std::string rest = line;
    const auto next = [&rest] {
      const std::size_t space = std::min(rest.find(' '), rest.size());
      std::string word = rest.substr(0, space);
      rest.erase(0, space + 1);
      return word;
    };
    const std::string command = next();
    if (command == "list") return list();
    const std::string name = next();
    if (command == "plug") return said(source.plug(name));
    if (command == "unplug") return said(source.unplug(name));
    if (command == "power-cycle") return said(source.power_cycle(name));
    if (command == "switches") return said(set_switches(name, rest));
    if (command == "fault") return said(source.add_fault(name, rest));
    if (command == "heal") return said(source.clear_faults(name));
    if (command == "witness") {
      const auto witness = source.witness(name);
      return witness ? *witness + "\nok\n" : said(witness.error());
    }
    return "error: unknown command; write list, or one of plug, unplug, power-cycle, heal, witness "
           "and a SERIAL, or switches SERIAL POSITIONS, or fault SERIAL POINT ACTION ...\n";
  }

  Status set_switches(const std::string& name, std::string_view text) {
    const bool hexadecimal = text.substr(0, 2) == "0x";
    if (hexadecimal) text.remove_prefix(2);
    std::uint8_t positions = 0;
    const auto* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, positions, hexadecimal ? 16 : 10);
    if (read.ec != std::errc() || read.ptr != end) {
      return fail(ErrorCode::config, "the positions are a number from 0 to 255 or 0x00 to 0xFF");
    }
    return source.set_switches(name, positions);
  }

  std::string list() {
    std::string answer;
    for (const SimulatedSource::State& state : source.list()) {
      answer += (state.serial.empty() ? "-" : state.serial) + " " + state.busid +
                (state.plugged ? " plugged\n" : " unplugged\n");
    }
    return answer + "ok\n";
  }

  static std::string said(const Status& status) {
    return status ? "ok\n" : "error: " + status.error().message + "\n";
  }

  transport::Loop& loop;
  SimulatedSource& source;
  std::filesystem::path path;
  Descriptor listener, stop;
  std::thread thread;
  std::map<int, Connection> connections;
  int next_key = 0;
};

Result<std::unique_ptr<SimulationControl>> SimulationControl::listen(
    transport::Loop& loop, SimulatedSource& source, const std::filesystem::path& path) {
  auto listener = listen_at(path);
  if (!listener) return listener.error();
  auto impl = std::make_shared<Impl>(loop, source, path);
  impl->listener = std::move(*listener);
  impl->stop = Descriptor(::eventfd(0, EFD_CLOEXEC));
  if (impl->stop.get() < 0) return fail(ErrorCode::io, "eventfd: " + system_error_text());
  impl->thread = std::thread(
      [raw = impl.get(), self = std::weak_ptr<Impl>(impl)] { raw->accept_connections(self); });
  log::warning("simulated sticks can be pulled and plugged through " + path.string() +
               ": for test benches only");
  return std::make_unique<SimulationControl>(std::move(impl));
}

SimulationControl::SimulationControl(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

SimulationControl::~SimulationControl() {
  const std::uint64_t one = 1;
  if (::write(impl_->stop.get(), &one, sizeof(one)) < 0) {
    log::error("the simulation's control cannot be stopped: " + system_error_text());
  }
  impl_->thread.join();
  std::error_code ignored;
  std::filesystem::remove(impl_->path, ignored);
}

}  // namespace tillbridge::server
