// Connected byte streams: TLS 1.3 with certificates at both ends, plain TCP, or one half of a
// socket pair.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"
#include "channel/transport/loop.hpp"

namespace tillbridge::transport {

/// Who is at the other end, for mapping, logs and error messages.
struct Peer {
  std::string address;  ///< "192.0.2.7:51344"
  std::string name;     ///< common name of the peer's certificate; empty without TLS
  std::string
      fingerprint;  ///< SHA-256 of the peer's certificate, lower-case hex; empty without one
  /// When the peer's certificate ends; time_point::max() without one. The handshake looked at it
  /// once: how long it counts after that is the owner's affair.
  std::chrono::system_clock::time_point certificate_end =
      std::chrono::system_clock::time_point::max();
  /// SHA-256 of the authority that the peer's certificate comes from; only with
  /// TlsContext::trusting(), where it was not known before.
  std::string authority;
  std::string protocol;  ///< the ALPN that was agreed upon; empty without TLS
  /// 32 bytes that only the two ends of this very connection know (RFC 9266, tls-exporter): what is
  /// proved together with them cannot be carried over to another connection. Empty without TLS.
  Bytes binding;
};

/// A connected stream. Owned by whoever uses it; destroying it closes it silently (no callback any
/// more): at once, or, after close(), in the background once what was queued is sent. No callback
/// comes from within a call to the stream.
class Stream {
 public:
  struct Events {
    /// The view is valid during the call only.
    std::function<void(ByteView)> received;
    /// The write queue was at least half of `write_queue_high_water` and fell below it.
    std::function<void()> drained;
    /// Once, and nothing after it. No error: the peer or close() closed in an orderly way. A TLS
    /// client whose certificate the server refuses learns it here: in TLS 1.3 its own handshake is
    /// over before the server looks.
    std::function<void(std::optional<Error>)> closed;
  };
  static constexpr std::size_t write_queue_high_water = 4U << 20U;
  /// For a peer that does not read: after this long close() gives up on what is queued, and
  /// closed() says so.
  static constexpr std::chrono::seconds close_timeout{5};

  virtual ~Stream() = default;
  /// Begins reading; a new owner calls it again, in a callback too. Callbacks may destroy it.
  virtual void start(Events events) = 0;
  /// Queues and gathers; never blocks. Above write_queue_high_water the owner should pause its
  /// source until drained(). An owner that does not, ends at limits::stream_write_queue_bytes: the
  /// stream closes with an error.
  virtual void write(Bytes bytes) = 0;
  [[nodiscard]] virtual std::size_t queued_bytes() const = 0;
  /// While paused, the end of the connection goes unnoticed as well.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  /// Sends what is queued, then closes; closed() is called then. received() is not called any more.
  virtual void close() = 0;
  [[nodiscard]] virtual const Peer& peer() const = 0;
};

/// PEM files of one end. Errors name the file.
struct TlsFiles {
  std::filesystem::path certificate;  ///< own certificate, chain appended
  std::filesystem::path key;          ///< own key; refused if others may read it (mode & 077)
  std::filesystem::path authorities;  ///< the CA that the other end's certificate must come from
  std::vector<std::filesystem::path> more_authorities{};  ///< or one of these
};

/// TLS 1.3 only, the same ALPN at both ends, no session tickets. Certificates at both ends, but for
/// the two kinds that say otherwise. Copyable handle.
class TlsContext {
 public:
  enum class Side : std::uint8_t { client, server };
  [[nodiscard]] static Result<TlsContext> load(const TlsFiles& files, Side side,
                                               const std::string& alpn);
  /// A server that asks nobody for a certificate. `authorities` is not looked at.
  [[nodiscard]] static Result<TlsContext> load_for_strangers(const TlsFiles& files,
                                                             const std::string& alpn);
  /// A client without a certificate, which trusts the server whose chain ends in the authority with
  /// this SHA-256 or the beginning of it. Empty: in any; then somebody has to compare
  /// Peer::authority.
  [[nodiscard]] static Result<TlsContext> trusting(ByteView authority, const std::string& alpn);
  /// At a server: who asks for the ALPN of `other` is served by that one, with its certificate and
  /// its demands.
  void also_serve(const TlsContext& other);
  struct Impl;
  [[nodiscard]] const std::shared_ptr<Impl>& impl() const noexcept { return impl_; }

 private:
  explicit TlsContext(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<Impl> impl_;
};

/// What an acceptor lets strangers hold.
struct AcceptorLimits {
  std::chrono::milliseconds handshake_timeout = std::chrono::seconds(10);
  std::size_t unauthenticated_connections = limits::unauthenticated_connections;
};

/// Listens on one IP address. Connections that have not finished their TLS handshake in time, or
/// that are too many, are dropped and reported through `refused`, which says why: no certificate,
/// unknown authority, expired, ... Callbacks may destroy the acceptor.
class Acceptor {
 public:
  struct Events {
    std::function<void(std::unique_ptr<Stream>)> accepted;
    std::function<void(const std::string& peer_address, const Error&)> refused;
  };
  /// `tls` absent: plain TCP. Port 0: the system chooses, see port().
  [[nodiscard]] static Result<std::unique_ptr<Acceptor>> listen(
      Loop& loop, const std::string& address, std::uint16_t port, std::optional<TlsContext> tls,
      Events events, AcceptorLimits strangers = {});
  virtual ~Acceptor() = default;
  [[nodiscard]] virtual std::uint16_t port() const = 0;
  /// For the connections that come from now on, e.g. after a certificate was renewed.
  virtual void use(TlsContext tls) = 0;
};

/// A connection being made; destroying it gives up silently.
class Connecting {
 public:
  static constexpr std::chrono::seconds resolve_timeout{10};
  static constexpr std::chrono::seconds handshake_timeout{10};
  /// For each of the addresses of a name, of which the first `addresses_tried` are tried in turn.
  static constexpr std::chrono::seconds connect_timeout{5};
  static constexpr std::size_t addresses_tried = 8;
  virtual ~Connecting() = default;
};

/// Resolves, connects, and with `tls` does the handshake and checks that the server's certificate
/// is for `server_name` (subject alternative name; DNS or IP). `done` is called once, never from
/// within connect(). Errors are for a person: "USB server tse.example:4711 does not answer:
/// connection refused; ...".
[[nodiscard]] std::unique_ptr<Connecting> connect(
    Loop& loop, const std::string& host, std::uint16_t port, std::optional<TlsContext> tls,
    const std::string& server_name, std::function<void(Result<std::unique_ptr<Stream>>)> done);

/// Takes over an open, connected stream socket (e.g. one end of socketpair()) and closes it in the
/// end.
[[nodiscard]] std::unique_ptr<Stream> adopt_socket(Loop& loop, int fd);

}  // namespace tillbridge::transport
