// With pos/usbip_socket.hpp once more: a program that links this file takes nothing of the real
// one.
#include "tests/simulation/pos_host.hpp"

#include <stdexcept>
#include <utility>

#include "pos/usbip_socket.hpp"

namespace tillbridge::simulation {
namespace {

thread_local PosHost* the_host = nullptr;

}  // namespace

PosHost::Here::Here(PosHost& host) : before_(std::exchange(the_host, &host)) {}

PosHost::Here::~Here() {
  the_host = before_;
}

PosHost& PosHost::current() {
  if (the_host == nullptr) throw std::logic_error("there is no POS");
  return *the_host;
}

int PosHost::connect() {
  if (terminal_ == nullptr) return -1;
  open_[++last_] = {terminal_->connect(), terminal_};
  return last_;
}

Status PosHost::send(int socket, ByteView bytes) {
  const Open& open = open_.at(socket);
  if (open.socket->ended) return fail(ErrorCode::unavailable, "the session ended the connection");
  open.terminal->from_pos(open.socket, bytes);
  return {};
}

Result<Bytes> PosHost::receive(int socket, Duration patience) {
  const std::shared_ptr<PosSocket> its = open_.at(socket).socket;
  world_.run_until([&] { return !its->to_pos.empty() || its->ended; }, world_.now() + patience);
  if (!its->to_pos.empty()) return std::exchange(its->to_pos, {});
  if (its->ended) return fail(ErrorCode::unavailable, "the session ended the connection");
  return Bytes{};
}

void PosHost::close(int socket) {
  const auto found = open_.find(socket);
  if (found == open_.end()) return;
  const Open open = found->second;
  open_.erase(found);
  // A session that is over has ended all its sockets.
  if (open.terminal == terminal_) open.terminal->abandon(open.socket);
}

}  // namespace tillbridge::simulation

namespace tillbridge::pos {

using simulation::PosHost;

std::string UsbipAddress::text() const {
  return host + ":" + std::to_string(port);
}

Result<UsbipSocket> UsbipSocket::connect(const UsbipAddress& address) {
  const int socket = PosHost::current().connect();
  if (socket >= 0) return UsbipSocket(socket);
  return fail(ErrorCode::unavailable, "the USB/IP server " + address.text() + " does not answer");
}

UsbipSocket::UsbipSocket(int connected_socket) : socket_(connected_socket) {}

UsbipSocket::~UsbipSocket() {
  if (socket_ >= 0) PosHost::current().close(socket_);
}

UsbipSocket::UsbipSocket(UsbipSocket&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)) {}

UsbipSocket& UsbipSocket::operator=(UsbipSocket&& other) noexcept {
  std::swap(socket_, other.socket_);
  return *this;
}

Status UsbipSocket::send(ByteView bytes) {
  return PosHost::current().send(socket_, bytes);
}

Result<Bytes> UsbipSocket::receive(Duration patience) {
  return PosHost::current().receive(socket_, patience);
}

Instant steady_now() {
  return PosHost::current().now();
}

}  // namespace tillbridge::pos
