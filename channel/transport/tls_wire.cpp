#include "channel/transport/tls_wire.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <string_view>
#include <utility>

#include <asio/ip/address.hpp>
#include <openssl/err.h>
#include <openssl/x509v3.h>

namespace tillbridge::transport {
namespace {

/// Records are collected up to here, then sent.
constexpr std::size_t output_wanted = std::size_t{256} << 10U;
/// A peer that makes us answer without reading (key updates) is not read from any more above this.
constexpr std::size_t output_limit = std::size_t{1} << 20U;
/// The largest plaintext of one record, RFC 8446 section 5.1.
constexpr std::size_t record_bytes = std::size_t{16} << 10U;

std::string named(const X509& certificate) {
  return std::string(1, '"') + common_name(certificate) + "\", SHA-256 fingerprint " +
         fingerprint(certificate);
}

}  // namespace

/// The BIO below OpenSSL: reads from the socket, writes into TlsWire::output_. Its own instead of
/// OpenSSL's socket BIO, because that one writes record by record and raises SIGPIPE, which a
/// plugin must not do to its host.
struct SocketBio {
  static int read(BIO* bio, char* data, std::size_t size, std::size_t* got) {
    auto& wire = *static_cast<TlsWire*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    *got = 0;
    if (wire.held_bytes() >= output_limit || std::exchange(wire.socket_empty_, false)) {
      BIO_set_retry_read(bio);
      return 0;
    }
    const SocketResult result =
        socket_receive(wire.fd_, std::span(reinterpret_cast<std::uint8_t*>(data), size));
    *got = result.bytes;
    wire.socket_empty_ = result.bytes != 0 && result.bytes < size;
    if (result.status == WireStatus::would_block) BIO_set_retry_read(bio);
    if (result.status == WireStatus::closed) wire.at_end_ = true;
    if (result.status == WireStatus::failed) wire.socket_error_ = result.error;
    return result.status == WireStatus::done ? 1 : 0;
  }

  static int write(BIO* bio, const char* data, std::size_t size, std::size_t* written) {
    auto& wire = *static_cast<TlsWire*>(BIO_get_data(bio));
    // As the vector's own type: from char the library copies byte by byte.
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(data), size);
    wire.output_.insert(wire.output_.end(), bytes.begin(), bytes.end());
    *written = size;
    return 1;
  }

  static long control(BIO* bio, int command, long /*number*/, void* /*pointer*/) {
    if (command == BIO_CTRL_EOF) return static_cast<TlsWire*>(BIO_get_data(bio))->at_end_ ? 1 : 0;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static const BIO_METHOD* method() {
    struct Free {
      void operator()(BIO_METHOD* method) const { BIO_meth_free(method); }
    };
    static const std::unique_ptr<BIO_METHOD, Free> method = [] {
      std::unique_ptr<BIO_METHOD, Free> made(
          BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tillbridge"));
      BIO_meth_set_read_ex(made.get(), read);
      BIO_meth_set_write_ex(made.get(), write);
      BIO_meth_set_ctrl(made.get(), control);
      return made;
    }();
    return method.get();
  }
};

TlsWire::TlsWire(int fd, std::shared_ptr<TlsContext::Impl> context, std::string peer,
                 const std::string& server_name)
    : fd_(fd),
      context_(std::move(context)),
      peer_(std::move(peer)),
      server_name_(server_name),
      ssl_(SSL_new(context_->context.get())) {
  BIO* bio = BIO_new(SocketBio::method());
  if (!ssl_ || bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_app_data(ssl_.get(), this);
  demand_certificate();
  if (!is_client()) {
    SSL_set_accept_state(ssl_.get());
    return;
  }
  SSL_set_connect_state(ssl_.get());
  // The name must stand among the subject alternative names; the common name is no name of a server
  // (RFC 9525).
  SSL_set_hostflags(ssl_.get(),
                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  asio::error_code not_an_address;
  asio::ip::make_address(server_name_, not_an_address);
  int set = 0;
  if (not_an_address) {
    set = SSL_set1_host(ssl_.get(), server_name_.c_str());
    // The macro of this name casts the old way.
    SSL_ctrl(ssl_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             server_name_.data());
  } else {
    set = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), server_name_.c_str());
  }
  name_usable_ = set == 1 && !server_name_.empty();
}

TlsWire::~TlsWire() = default;

void TlsWire::demand_certificate() {
  const bool of_anybody = context_->trust == TlsContext::Impl::Trust::anybody;
  SSL_set_verify(ssl_.get(),
                 of_anybody ? SSL_VERIFY_NONE : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                 verified);
}

int TlsWire::greeted(SSL* ssl, int* alert, void* /*argument*/) {
  auto& wire = *static_cast<TlsWire*>(SSL_get_app_data(ssl));
  const unsigned char* extension = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &extension,
                                &size) != 1) {
    *alert = SSL_AD_NO_APPLICATION_PROTOCOL;
    return SSL_CLIENT_HELLO_ERROR;
  }
  const auto offers = [&](const std::string& alpn) {
    ByteReader list(ByteView(extension, size));
    list.skip(2);  // its length
    while (list.remaining() > 0) {
      const ByteView name = list.take(list.u8());
      if (list.ok() && std::equal(name.begin(), name.end(), alpn.begin(), alpn.end())) return true;
    }
    return false;
  };
  if (offers(wire.context_->alpn)) return SSL_CLIENT_HELLO_SUCCESS;
  for (const auto& other : wire.context_->others) {
    if (!offers(other->alpn)) continue;
    // The certificate goes over with it, what is asked of the client does not.
    SSL_set_SSL_CTX(ssl, other->context.get());
    wire.context_ = std::shared_ptr<TlsContext::Impl>(other);
    wire.demand_certificate();
    break;
  }
  return SSL_CLIENT_HELLO_SUCCESS;
}

int TlsWire::verify_pinned(X509_STORE_CTX* store, void* /*argument*/) {
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& wire = *static_cast<TlsWire*>(SSL_get_app_data(ssl));
  const Bytes& wanted = wire.context_->pinned;
  STACK_OF(X509)* shown = X509_STORE_CTX_get0_untrusted(store);
  X509* authority = nullptr;
  for (int i = 0; i < sk_X509_num(shown) && authority == nullptr; ++i) {
    X509* certificate = sk_X509_value(shown, i);
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    if (X509_check_ca(certificate) == 0 ||
        X509_digest(certificate, EVP_sha256(), digest.data(), &size) != 1 || wanted.size() > size ||
        !std::equal(wanted.begin(), wanted.end(), digest.begin())) {
      continue;
    }
    authority = certificate;
  }
  if (authority == nullptr) {
    X509* own = X509_STORE_CTX_get0_cert(store);
    if (own != nullptr) X509_up_ref(own);
    wire.unverified_.reset(own);
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_UNTRUSTED);
    return 0;
  }
  STACK_OF(X509)* trusted = sk_X509_new_null();
  if (trusted == nullptr || sk_X509_push(trusted, authority) <= 0) {
    sk_X509_free(trusted);
    X509_STORE_CTX_set_error(store, X509_V_ERR_OUT_OF_MEM);
    return 0;
  }
  X509_STORE_CTX_set0_trusted_stack(store, trusted);
  const int good = X509_verify_cert(store);
  sk_X509_free(trusted);
  if (good == 1) wire.authority_ = fingerprint(*authority);
  return good;
}

int TlsWire::verified(int ok, X509_STORE_CTX* store) {
  if (ok == 1) return 1;
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto& wire = *static_cast<TlsWire*>(SSL_get_app_data(ssl));
  const int error = X509_STORE_CTX_get_error(store);
  const bool of_its_dates =
      error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
  X509* certificate =
      of_its_dates ? X509_STORE_CTX_get_current_cert(store) : X509_STORE_CTX_get0_cert(store);
  if (certificate != nullptr) X509_up_ref(certificate);
  wire.unverified_.reset(certificate);
  return 0;
}

WireResult TlsWire::handshake() {
  ERR_clear_error();
  if (is_client() && !name_usable_) {
    return {WireStatus::failed, 0,
            fail(ErrorCode::config, "\"" + server_name_ + "\" cannot be the name of a server")};
  }
  WireResult result = result_of(SSL_do_handshake(ssl_.get()));
  WireResult flushed = flush();
  if (result.status == WireStatus::done) {
    const unsigned char* alpn = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &alpn, &size);
    const std::span<const unsigned char> selected(alpn, size);
    if (!std::equal(selected.begin(), selected.end(), context_->alpn.begin(),
                    context_->alpn.end())) {
      return {WireStatus::failed, 0,
              fail(ErrorCode::refused, peer_ + " does not speak " + context_->alpn +
                                           "; is it the link port of a tillbridge USB server?")};
    }
    handshaken_ = true;
  }
  if (result.status == WireStatus::would_block && flushed.status == WireStatus::failed)
    return flushed;
  return result;
}

void TlsWire::describe_peer(Peer& peer) const {
  peer.protocol = context_->alpn;
  peer.authority = authority_;
  constexpr std::string_view label = "EXPORTER-Channel-Binding";  // RFC 9266
  peer.binding.resize(32);
  if (SSL_export_keying_material(ssl_.get(), peer.binding.data(), peer.binding.size(), label.data(),
                                 label.size(), nullptr, 0, 0) != 1) {
    throw std::bad_alloc();  // nothing else can go wrong after a handshake
  }
  const CertificateHandle certificate(SSL_get1_peer_certificate(ssl_.get()));
  if (!certificate) return;
  peer.name = common_name(*certificate);
  peer.fingerprint = fingerprint(*certificate);
  peer.certificate_end = end_of(*certificate);
}

WireResult TlsWire::read(std::span<std::uint8_t> into) {
  if (read_failure_) return *read_failure_;
  WireResult result;
  while (result.bytes < into.size()) {
    const std::span<std::uint8_t> rest = into.subspan(result.bytes);
    std::size_t got = 0;
    ERR_clear_error();
    const int code = SSL_read_ex(ssl_.get(), rest.data(), rest.size(), &got);
    result.bytes += got;
    if (code == 1) continue;
    WireResult stopped = result_of(code);
    result.status = stopped.status;
    if (stopped.status != WireStatus::would_block) {
      read_failure_ = stopped;
      if (result.bytes > 0) {
        result.status = WireStatus::done;
      } else {
        result.error = std::move(stopped.error);
      }
    }
    break;
  }
  return result;
}

WireResult TlsWire::write(WriteQueue& queue) {
  for (;;) {
    while (!queue.empty() && held_bytes() < output_wanted) {
      const ByteView next = queue.front().first(std::min(queue.front().size(), record_bytes));
      std::size_t written = 0;
      ERR_clear_error();
      const int code = SSL_write_ex(ssl_.get(), next.data(), next.size(), &written);
      if (code != 1) return result_of(code);
      queue.pop(written);
    }
    WireResult flushed = flush();
    if (flushed.status != WireStatus::done || queue.empty()) return flushed;
  }
}

WireResult TlsWire::flush() {
  while (held_bytes() > 0) {
    const SocketResult sent = socket_send(fd_, ByteView(output_).subspan(output_sent_));
    if (sent.status == WireStatus::would_block) return {WireStatus::would_block, 0, std::nullopt};
    if (sent.status == WireStatus::failed) return {WireStatus::failed, 0, lost(peer_, sent.error)};
    output_sent_ += sent.bytes;
  }
  output_.clear();
  output_sent_ = 0;
  return {};
}

void TlsWire::finish() {
  ERR_clear_error();
  if (handshaken_) SSL_shutdown(ssl_.get());
  static_cast<void>(flush());
}

WireResult TlsWire::result_of(int code) {
  switch (SSL_get_error(ssl_.get(), code)) {
    case SSL_ERROR_NONE:
      return {};
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return {WireStatus::would_block, 0, std::nullopt};
    case SSL_ERROR_ZERO_RETURN:
      return {WireStatus::closed, 0, std::nullopt};
    default:
      return {WireStatus::failed, 0, failure()};
  }
}

Error TlsWire::failure() {
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_LIB(code) == ERR_LIB_SSL ? ERR_GET_REASON(code) : 0;
  if (socket_error_ != 0) return lost(peer_, socket_error_);
  if (at_end_ && (reason == 0 || reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)) {
    ERR_clear_error();
    if (handshaken_) {
      return fail(ErrorCode::io,
                  "the connection to " + peer_ + " was lost: closed without a goodbye");
    }
    return fail(ErrorCode::unavailable,
                peer_ + " closed the connection during the TLS handshake" +
                    (is_client() ? "; is it the link port of a tillbridge USB server?" : ""));
  }
  if (reason > SSL_AD_REASON_OFFSET) {
    ERR_clear_error();
    return alert_received(reason - SSL_AD_REASON_OFFSET);
  }
  switch (reason) {
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      ERR_clear_error();
      return verify_failure();
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      ERR_clear_error();
      return fail(ErrorCode::refused,
                  peer_ + " showed no certificate; a till needs one from the authority file " +
                      context_->authorities.string());
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
      ERR_clear_error();
      return fail(ErrorCode::refused,
                  peer_ + " offers only TLS 1.2 or older; the link needs TLS 1.3");
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_BAD_RECORD_TYPE:
      if (handshaken_) break;
      ERR_clear_error();
      return fail(ErrorCode::refused, peer_ + " does not speak TLS");
    case SSL_R_CALLBACK_FAILED:
    case SSL_R_NO_APPLICATION_PROTOCOL:
      ERR_clear_error();
      return fail(ErrorCode::refused, peer_ + " does not offer the protocol " + context_->alpn +
                                          " (ALPN); it is no tillbridge till of this version");
    default:
      break;
  }
  return fail(ErrorCode::io, "TLS with " + peer_ + " failed: " + openssl_error());
}

Error TlsWire::verify_failure() const {
  const long why = SSL_get_verify_result(ssl_.get());
  const CertificateHandle& shown = unverified_;
  const std::string certificate =
      "the certificate of " + peer_ + (shown ? " (" + named(*shown) + ")" : "");
  switch (why) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
      if (context_->trust == TlsContext::Impl::Trust::pinned) {
        return fail(ErrorCode::refused,
                    certificate +
                        " is not from the authority that the pairing line names: the line is for "
                        "another server, or somebody stands between here and there; ask the "
                        "administrator for a new line");
      }
      return fail(ErrorCode::refused, certificate + " is not from the configured authority file " +
                                          context_->authorities.string() +
                                          "; use the file of the authority that " +
                                          "issued it, or have a new certificate issued");
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return fail(ErrorCode::refused,
                  certificate + " has expired" +
                      (shown ? " on " + printed_time(X509_get0_notAfter(shown.get())) : "") +
                      "; have a new one issued (or set this machine's clock right)");
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return fail(ErrorCode::refused,
                  certificate + " is not valid before " +
                      (shown ? printed_time(X509_get0_notBefore(shown.get())) : "a later date") +
                      "; check the clocks of both machines");
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return fail(ErrorCode::refused,
                  certificate + " is for " + (shown ? alternative_names(*shown) : "another name") +
                      ", not for " + server_name_ +
                      "; connect by a name of the certificate or have one issued for this name");
    case X509_V_ERR_INVALID_PURPOSE:
      return fail(ErrorCode::refused,
                  certificate + (is_client() ? " is not a server's" : " is not a till's") +
                      " (extended key usage); configure the right certificate there");
    default:
      return fail(ErrorCode::refused,
                  certificate + " is refused: " + X509_verify_cert_error_string(why));
  }
}

Error TlsWire::alert_received(int alert) const {
  const std::string own =
      "subject \"" + context_->own_name + "\", SHA-256 fingerprint " + context_->own_fingerprint;
  const std::string what = peer_;
  switch (alert) {
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_CERTIFICATE_REQUIRED:
    case SSL_AD_DECRYPT_ERROR:
      if (!is_client()) {
        return fail(ErrorCode::refused,
                    what + " does not accept this server's certificate (" + own +
                        "); compare the authority file and the server name configured there");
      }
      return fail(ErrorCode::refused,
                  what + " does not know this till's certificate (" + own +
                      "): add it there, or install a certificate of the server's authority here");
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_REVOKED:
      return fail(ErrorCode::refused,
                  what + " refuses this " + (is_client() ? "till's" : "server's") +
                      " certificate as expired or revoked (" + own + "): have a new one issued" +
                      (is_client() ? " (tillbridge pair)" : "") +
                      ", and check the clocks of both machines");
    case SSL_AD_NO_APPLICATION_PROTOCOL:
      return fail(ErrorCode::refused,
                  what + " does not speak " + context_->alpn +
                      "; is it the link port of a tillbridge USB server of this version?");
    case SSL_AD_PROTOCOL_VERSION:
      return fail(ErrorCode::refused, what + " does not speak TLS 1.3");
    default:
      return fail(ErrorCode::refused,
                  what + " ended TLS with the alert \"" + SSL_alert_desc_string_long(alert) + "\"");
  }
}

}  // namespace tillbridge::transport
