#include "channel/transport/tls_context.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"
#include "channel/transport/tls_wire.hpp"

namespace tillbridge::transport {
namespace {

/// The content of a file, wiped when it goes: it may be a key.
class PemFile {
 public:
  PemFile() = default;
  PemFile(PemFile&& other) noexcept : bytes_(std::move(other.bytes_)) {}
  PemFile(const PemFile&) = delete;
  PemFile& operator=(const PemFile&) = delete;
  PemFile& operator=(PemFile&&) = delete;
  ~PemFile() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

  enum class Secrecy : std::uint8_t { open, owner_only };
  static Result<PemFile> read(const std::filesystem::path& path, const std::string& what,
                              Secrecy secrecy);

  [[nodiscard]] BioHandle bio() const {
    return BioHandle(BIO_new_mem_buf(bytes_.data(), static_cast<int>(bytes_.size())));
  }

 private:
  std::vector<char> bytes_;
};

struct FileDescriptor {
  explicit FileDescriptor(int number) : fd(number) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd >= 0) ::close(fd);
  }
  int fd;
};

std::string system_message(int error) {
  return std::generic_category().message(error);
}

Result<PemFile> PemFile::read(const std::filesystem::path& path, const std::string& what,
                              Secrecy secrecy) {
  const std::string named = what + " " + path.string();
  if (path.empty()) return fail(ErrorCode::config, "no " + what + " is configured");
  // Mode and content of the same open file: a name could change its meaning in between.
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0) {
    return fail(ErrorCode::config, "cannot read the " + named + ": " + system_message(errno));
  }
  if (!S_ISREG(status.st_mode))
    return fail(ErrorCode::config, "the " + named + " is not a regular file");
  if (secrecy == Secrecy::owner_only && (status.st_mode & 077U) != 0) {
    std::array<char, 8> mode{};
    static_cast<void>(std::snprintf(mode.data(), mode.size(), "%04o", status.st_mode & 07777U));
    return fail(ErrorCode::config, "the " + named + " may be read by others than its owner (mode " +
                                       mode.data() + "); run: chmod 600 " + path.string());
  }
  if (static_cast<std::size_t>(status.st_size) > limits::pem_file_bytes) {
    return fail(ErrorCode::config, "the " + named + " is too large for a PEM file (" +
                                       std::to_string(status.st_size) + " bytes, at most " +
                                       std::to_string(limits::pem_file_bytes) + ")");
  }
  PemFile result;
  result.bytes_.resize(static_cast<std::size_t>(status.st_size));
  std::span<char> rest(result.bytes_);
  while (!rest.empty()) {
    const ssize_t got = ::read(file.fd, rest.data(), rest.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      return fail(ErrorCode::config, "cannot read the " + named + ": " + system_message(errno));
    if (got == 0) break;
    rest = rest.subspan(static_cast<std::size_t>(got));
  }
  return result;
}

/// All certificates of a PEM file, in its order.
Result<std::vector<CertificateHandle>> read_certificates(const std::filesystem::path& path,
                                                         const std::string& what) {
  auto file = PemFile::read(path, what, PemFile::Secrecy::open);
  if (!file) return file.error();
  std::vector<CertificateHandle> result;
  const BioHandle bio = file->bio();
  ERR_clear_error();
  while (CertificateHandle certificate{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    result.push_back(std::move(certificate));
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (result.empty() || !at_end) {
    return fail(ErrorCode::config,
                "the " + what + " " + path.string() + " does not hold " +
                    (result.empty() ? "a certificate" : "only certificates") +
                    " in PEM form (-----BEGIN CERTIFICATE-----): " + openssl_error());
  }
  ERR_clear_error();
  return result;
}

int refuse_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) {
  return -1;
}

Result<KeyHandle> read_key(const std::filesystem::path& path) {
  auto file = PemFile::read(path, "key file", PemFile::Secrecy::owner_only);
  if (!file) return file.error();
  ERR_clear_error();
  const BioHandle bio = file->bio();
  KeyHandle key(PEM_read_bio_PrivateKey(bio.get(), nullptr, refuse_passphrase, nullptr));
  if (!key) {
    return fail(
        ErrorCode::config,
        "the key file " + path.string() +
            " does not hold a private key in PEM form without a passphrase: " + openssl_error());
  }
  return key;
}

/// Takes our protocol from the client's list (one length byte and a name each), or refuses with the
/// alert made for it.
int choose_alpn(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* chosen_size,
                const unsigned char* offered, unsigned int offered_size, void* argument) {
  const auto& own = *static_cast<const std::string*>(argument);
  ByteReader offers(ByteView(offered, offered_size));
  while (offers.remaining() > 0) {
    const std::uint8_t size = offers.u8();
    const ByteView name = offers.take(size);
    if (!offers.ok() || !std::equal(name.begin(), name.end(), own.begin(), own.end())) continue;
    *chosen = name.data();
    *chosen_size = size;
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

Status use_authorities(SSL_CTX& context, const std::filesystem::path& path, TlsContext::Side side) {
  auto authorities = read_certificates(path, "authority file");
  if (!authorities) return authorities.error();
  for (const CertificateHandle& authority : *authorities) {
    if (X509_check_ca(authority.get()) == 0) {
      return fail(ErrorCode::config,
                  "the authority file " + path.string() + " holds a certificate (" +
                      common_name(*authority) +
                      ") that is not a certificate authority; name the file of the authority that "
                      "signed the other end's certificate");
    }
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(&context), authority.get()) != 1) {
      return fail(ErrorCode::config,
                  "cannot use the authority file " + path.string() + ": " + openssl_error());
    }
    // Tells the client which of its certificates to use, and its user which authority is asked for.
    if (side == TlsContext::Side::server) SSL_CTX_add_client_CA(&context, authority.get());
  }
  return {};
}

Status use_own_certificate(SSL_CTX& context, const TlsFiles& files, TlsContext::Impl& impl) {
  auto chain = read_certificates(files.certificate, "certificate file");
  if (!chain) return chain.error();
  auto key = read_key(files.key);
  if (!key) return key.error();
  const CertificateHandle& own = chain->front();
  ERR_clear_error();
  if (SSL_CTX_use_certificate(&context, own.get()) != 1) {
    return fail(ErrorCode::config, "cannot use the certificate file " + files.certificate.string() +
                                       ": " + openssl_error());
  }
  if (SSL_CTX_use_PrivateKey(&context, key->get()) != 1 ||
      SSL_CTX_check_private_key(&context) != 1) {
    return fail(ErrorCode::config, "the key file " + files.key.string() +
                                       " does not belong to the certificate file " +
                                       files.certificate.string() + ": " + openssl_error());
  }
  for (std::size_t i = 1; i < chain->size(); ++i) {
    if (SSL_CTX_add1_chain_cert(&context, chain->at(i).get()) != 1) {
      return fail(ErrorCode::config, "cannot use the chain in the certificate file " +
                                         files.certificate.string() + ": " + openssl_error());
    }
  }
  impl.own_name = common_name(*own);
  impl.own_fingerprint = fingerprint(*own);
  return {};
}

}  // namespace

namespace {

Result<std::shared_ptr<TlsContext::Impl>> bare(TlsContext::Side side, const std::string& alpn) {
  auto impl = std::make_shared<TlsContext::Impl>();
  impl->side = side;
  impl->alpn = alpn;
  impl->context.reset(
      SSL_CTX_new(side == TlsContext::Side::client ? TLS_client_method() : TLS_server_method()));
  if (!impl->context)
    return fail(ErrorCode::io, "OpenSSL cannot make a TLS context: " + openssl_error());
  SSL_CTX& context = *impl->context;

  // Also against a system-wide OpenSSL configuration that says otherwise.
  SSL_CTX_set_min_proto_version(&context, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(&context, TLS1_3_VERSION);
  SSL_CTX_set_options(&context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(&context, 0);
  SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(&context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Several records in one read of the socket.
  SSL_CTX_set_read_ahead(&context, 1);
  SSL_CTX_set_default_read_buffer_len(&context, std::size_t{64} << 10U);
  if (side == TlsContext::Side::server) {
    SSL_CTX_set_alpn_select_cb(&context, choose_alpn, &impl->alpn);
    SSL_CTX_set_client_hello_cb(&context, TlsWire::greeted, nullptr);
  } else {
    std::vector<unsigned char> wire{static_cast<unsigned char>(alpn.size())};
    wire.insert(wire.end(), alpn.begin(), alpn.end());
    if (SSL_CTX_set_alpn_protos(&context, wire.data(), static_cast<unsigned int>(wire.size())) !=
        0) {
      return fail(ErrorCode::io, "OpenSSL does not take the ALPN " + alpn);
    }
  }
  return impl;
}

}  // namespace

Result<TlsContext> TlsContext::load(const TlsFiles& files, Side side, const std::string& alpn) {
  auto impl = bare(side, alpn);
  if (!impl) return impl.error();
  SSL_CTX& context = *(*impl)->context;
  (*impl)->authorities = files.authorities;
  if (Status status = use_authorities(context, files.authorities, side); !status)
    return status.error();
  for (const std::filesystem::path& more : files.more_authorities) {
    if (Status status = use_authorities(context, more, side); !status) return status.error();
  }
  if (Status status = use_own_certificate(context, files, **impl); !status) return status.error();
  return TlsContext(std::move(*impl));
}

Result<TlsContext> TlsContext::load_for_strangers(const TlsFiles& files, const std::string& alpn) {
  auto impl = bare(Side::server, alpn);
  if (!impl) return impl.error();
  (*impl)->trust = Impl::Trust::anybody;
  if (Status status = use_own_certificate(*(*impl)->context, files, **impl); !status)
    return status.error();
  return TlsContext(std::move(*impl));
}

Result<TlsContext> TlsContext::trusting(ByteView authority, const std::string& alpn) {
  auto impl = bare(Side::client, alpn);
  if (!impl) return impl.error();
  (*impl)->trust = Impl::Trust::pinned;
  (*impl)->pinned.assign(authority.begin(), authority.end());
  SSL_CTX_set_cert_verify_callback((*impl)->context.get(), TlsWire::verify_pinned, nullptr);
  return TlsContext(std::move(*impl));
}

void TlsContext::also_serve(const TlsContext& other) {
  impl_->others.push_back(other.impl());
}

}  // namespace tillbridge::transport
