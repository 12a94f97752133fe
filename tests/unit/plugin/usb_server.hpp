// The USB server's end for tests: a link (or a plain USB/IP listener) with simulated sticks behind
// it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/link/endpoint.hpp"
#include "channel/transport/stream.hpp"
#include "channel/usbip/exporter.hpp"
#include "server/simulator/device.hpp"

namespace tillbridge::plugin::test {

/// One stick and the USB/IP conversation about it.
class ExportedStick {
 public:
  /// `send` gets the bytes of the conversation; `close` is called when the exporter wants to close
  /// it.
  ExportedStick(transport::Loop& loop, std::string busid, std::unique_ptr<simulator::Device> device,
                std::function<void(Bytes)> send, std::function<void()> close);
  void receive(ByteView bytes);
  void lost();
  /// What the server leaves behind when it dies: a device that nobody waits at.
  [[nodiscard]] std::unique_ptr<simulator::Device> abandon();
  [[nodiscard]] std::size_t running() const { return exporter_.running().size(); }
  [[nodiscard]] int cancels() const { return cancels_; }
  [[nodiscard]] bool imported() const { return imported_; }

 private:
  void pump();

  transport::Loop& loop_;
  std::string busid_;
  std::unique_ptr<simulator::Device> device_;
  std::function<void(Bytes)> send_;
  std::function<void()> close_;
  usbip::Exporter exporter_;
  transport::Timer timer_;
  int cancels_ = 0;
  bool imported_ = false;
};

/// An echo device: what is written to its bulk OUT endpoint is read from its bulk IN endpoint; a
/// read waits for it.
std::unique_ptr<simulator::Device> echo_device(const std::string& path);

/// Serves one till at a time and grants it sticks "simulated-1".."simulated-N". On the loop's
/// thread.
class UsbServer {
 public:
  explicit UsbServer(transport::Loop& loop, std::uint16_t port = 0, int sticks_at_hello = 1);
  [[nodiscard]] std::uint16_t port() const { return acceptor_->port(); }

  void grant(link::StreamId stream);
  void revoke(link::StreamId stream, const std::string& reason, bool unplugged);
  void say(const link::ControlMessage& message);
  /// Cuts the connection without a word. The session and its sticks stay if resume_grace_s says so.
  void cut();
  /// Knows nothing of the session any more.
  void forget();
  /// Closes it in order, after what was said.
  void close();
  /// Dies and is there again at once, with the same sticks. The next grant of each says whether the
  /// session goes on with it.
  void restart(bool continues);

  int connections = 0;  ///< whose hello came
  std::optional<link::Hello> hello;
  std::vector<link::StreamId> released;
  std::optional<std::string> goodbye;
  int paused = 0;
  std::map<link::StreamId, std::unique_ptr<ExportedStick>> sticks;
  int refused = 0;
  bool grant_at_hello = true;
  std::uint32_t resume_grace_s = 0;
  int resumed = 0;

 private:
  void accept(std::unique_ptr<transport::Stream> stream);
  void take(link::Endpoint::Event event);
  void flush();

  transport::Loop& loop_;
  int sticks_at_hello_;
  std::map<link::StreamId, std::unique_ptr<simulator::Device>> abandoned_;
  bool continues_ = false;
  std::unique_ptr<transport::Acceptor> acceptor_;
  std::unique_ptr<transport::Stream> stream_;
  std::optional<link::Endpoint> endpoint_;
  transport::Timer timer_;
};

/// A plain USB/IP listener with one stick "1-1"; refuses to export it while `busy`.
class Usbipd {
 public:
  explicit Usbipd(transport::Loop& loop);
  [[nodiscard]] std::uint16_t port() const { return acceptor_->port(); }
  void cut();

  bool busy = false;
  int connections = 0;
  std::unique_ptr<ExportedStick> stick;

 private:
  transport::Loop& loop_;
  std::unique_ptr<transport::Acceptor> acceptor_;
  std::unique_ptr<transport::Stream> stream_;
};

}  // namespace tillbridge::plugin::test
