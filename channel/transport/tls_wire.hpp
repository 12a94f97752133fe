// A TLS connection over a non-blocking socket, with its failures in words.
#pragma once

#include <memory>
#include <string>

#include "channel/transport/tls_context.hpp"
#include "channel/transport/wire.hpp"

namespace tillbridge::transport {

/// OpenSSL reads from the socket itself, but writes into a buffer here, so that many records go out
/// in one send().
class TlsWire final : public Wire {
 public:
  /// `peer`: the other end as messages call it, e.g. "USB server tse.example:4711". `server_name`:
  /// at the client, whom to expect.
  TlsWire(int fd, std::shared_ptr<TlsContext::Impl> context, std::string peer,
          const std::string& server_name);
  TlsWire(const TlsWire&) = delete;
  TlsWire& operator=(const TlsWire&) = delete;
  ~TlsWire() override;

  /// would_block: call again when the socket is readable, or writable while held_bytes() is not 0.
  WireResult handshake();
  /// After the handshake.
  void describe_peer(Peer& peer) const;

  WireResult read(std::span<std::uint8_t> into) override;
  WireResult write(WriteQueue& queue) override;
  void finish() override;
  [[nodiscard]] std::size_t held_bytes() const override { return output_.size() - output_sent_; }
  /// Sends what is held, e.g. the alert that explains a failed handshake.
  WireResult flush();

 private:
  friend struct SocketBio;
  static int verified(int ok, X509_STORE_CTX* store);
  /// What the result code of an SSL function means.
  WireResult result_of(int code);
  [[nodiscard]] Error failure();
  [[nodiscard]] Error verify_failure() const;
  [[nodiscard]] Error alert_received(int alert) const;
  [[nodiscard]] bool is_client() const noexcept {
    return context_->side == TlsContext::Side::client;
  }

  int fd_;
  std::shared_ptr<TlsContext::Impl> context_;
  std::string peer_;
  std::string server_name_;
  SslHandle ssl_;
  bool name_usable_ = true;  ///< an empty or impossible name would switch the check off
  bool handshaken_ = false;
  CertificateHandle unverified_;  ///< the peer's certificate that did not pass, for the message
  std::optional<WireResult> read_failure_;  ///< met behind bytes that were to be delivered first

  // Of the socket, for what OpenSSL only calls "system call failed".
  bool at_end_ = false;
  int socket_error_ = 0;
  /// The last recv() had room for more: the next one would only say that nothing is there. Whoever
  /// hears "would block" waits for the socket anew, and that tells what has come since.
  bool socket_empty_ = false;

  Bytes output_;  ///< records for the socket
  std::size_t output_sent_ = 0;
};

}  // namespace tillbridge::transport
