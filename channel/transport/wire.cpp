#include "channel/transport/wire.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

namespace tillbridge::transport {

void WriteQueue::push(Bytes bytes) {
  if (bytes.empty()) return;
  size_ += bytes.size();
  buffers_.push_back(std::move(bytes));
}

void WriteQueue::pop(std::size_t size) {
  size_ -= size;
  front_written_ += size;
  while (!buffers_.empty() && front_written_ >= buffers_.front().size()) {
    front_written_ -= buffers_.front().size();
    buffers_.pop_front();
  }
}

void WriteQueue::clear() {
  buffers_.clear();
  front_written_ = 0;
  size_ = 0;
}

namespace {

SocketResult result_of(ssize_t moved) {
  if (moved >= 0) return {WireStatus::done, static_cast<std::size_t>(moved), 0};
  if (errno == EAGAIN || errno == EWOULDBLOCK) return {WireStatus::would_block, 0, 0};
  return {WireStatus::failed, 0, errno};
}

}  // namespace

SocketResult socket_receive(int fd, std::span<std::uint8_t> into) {
  ssize_t got = 0;
  do {
    got = ::recv(fd, into.data(), into.size(), 0);
  } while (got < 0 && errno == EINTR);
  SocketResult result = result_of(got);
  if (got == 0) result.status = WireStatus::closed;
  return result;
}

SocketResult socket_send(int fd, ByteView bytes) {
  ssize_t sent = 0;
  do {
    sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return result_of(sent);
}

Error lost(const std::string& peer, int error) {
  return fail(ErrorCode::io,
              "the connection to " + peer + " was lost: " + std::generic_category().message(error));
}

WireResult PlainWire::read(std::span<std::uint8_t> into) {
  const SocketResult got = socket_receive(fd_, into);
  if (got.status == WireStatus::failed) return {got.status, 0, lost(peer_, got.error)};
  return {got.status, got.bytes, std::nullopt};
}

WireResult PlainWire::write(WriteQueue& queue) {
  while (!queue.empty()) {
    std::array<iovec, 64> vectors{};
    std::size_t count = 0;
    for (; count < std::min(queue.buffers().size(), vectors.size()); ++count) {
      const ByteView bytes = count == 0 ? queue.front() : ByteView(queue.buffers()[count]);
      // sendmsg() only reads, but its iovec is the one of recvmsg() as well.
      vectors.at(count) = {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    const SocketResult result = result_of(sent);
    if (result.status == WireStatus::failed) return {result.status, 0, lost(peer_, result.error)};
    if (result.status == WireStatus::would_block) return {result.status, 0, std::nullopt};
    queue.pop(result.bytes);
  }
  return {};
}

}  // namespace tillbridge::transport
