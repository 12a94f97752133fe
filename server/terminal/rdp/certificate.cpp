#include "server/terminal/rdp/certificate.hpp"

#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <sstream>
#include <system_error>

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::terminal {
namespace {

template <auto function>
struct Freed {
  template <typename T>
  void operator()(T* pointer) const {
    function(pointer);
  }
};
using Certificate = std::unique_ptr<X509, Freed<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Memory = std::unique_ptr<BIO, Freed<BIO_free_all>>;

Result<std::string> read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(ErrorCode::config, path.string() + " cannot be read: " +
                                       std::error_code(errno, std::generic_category()).message());
  }
  std::string text(limits::configuration_file_bytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

Memory memory_of(const std::string& text) {
  return Memory(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string text_of(const Memory& memory) {
  std::string text(static_cast<std::size_t>(BIO_pending(memory.get())), '\0');
  const int read = BIO_read(memory.get(), text.data(), static_cast<int>(text.size()));
  text.resize(read > 0 ? static_cast<std::size_t>(read) : 0);
  return text;
}

/// The file itself is made with mode 600, so the key is at no time readable by others.
Status write_private(const std::filesystem::path& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  const bool written =
      file >= 0 && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (file >= 0) ::close(file);
  if (written) return {};
  return fail(ErrorCode::io, path.string() + " cannot be written: " +
                                 std::error_code(error, std::generic_category()).message());
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name.front() == '\0') return "localhost";
  return name.data();
}

bool add_extension(X509* certificate, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  const bool added = extension != nullptr && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

bool describe(X509* certificate, EVP_PKEY* key) {
  // Clients trust this very certificate, by its fingerprint or because they saw it first, so its
  // end protects nobody; a short one would keep all tills out at once, on the shop's busiest day.
  constexpr long ten_years_s = 3653L * 24 * 60 * 60;
  std::int64_t serial = 0;
  std::array<unsigned char, 7> random{};  // 56 bits: positive in 64
  if (RAND_bytes(random.data(), random.size()) != 1) return false;
  for (const unsigned char byte : random) serial = serial << 8 | byte;
  const std::string name = host_name();
  // X.509 limits a common name to 64 characters; the alternative name carries the whole.
  const Bytes common(name.begin(), name.begin() + static_cast<std::ptrdiff_t>(
                                                      std::min<std::size_t>(name.size(), 64)));
  X509_NAME* subject = X509_get_subject_name(certificate);
  return X509_set_version(certificate, X509_VERSION_3) == 1 &&
         ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate), serial) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -60) != nullptr &&
         X509_gmtime_adj(X509_getm_notAfter(certificate), ten_years_s) != nullptr &&
         X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, common.data(),
                                    static_cast<int>(common.size()), -1, 0) == 1 &&
         X509_set_issuer_name(certificate, subject) == 1 &&
         X509_set_pubkey(certificate, key) == 1 &&
         add_extension(certificate, NID_subject_alt_name,
                       "DNS:" + name + ",DNS:localhost,IP:127.0.0.1") &&
         add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
         X509_sign(certificate, key, EVP_sha256()) > 0;
}

}  // namespace

Result<ServerIdentity> load_identity(const std::filesystem::path& certificate_path,
                                     const std::filesystem::path& key_path) {
  struct stat status {};
  if (::stat(key_path.c_str(), &status) == 0 && (status.st_mode & 077U) != 0) {
    return fail(ErrorCode::config,
                key_path.string() + " is readable by others; run: chmod 600 " + key_path.string());
  }
  Result<std::string> certificate_text = read_file(certificate_path);
  if (!certificate_text) return certificate_text.error();
  Result<std::string> key_text = read_file(key_path);
  if (!key_text) return key_text.error();
  const Certificate certificate(
      PEM_read_bio_X509(memory_of(*certificate_text).get(), nullptr, nullptr, nullptr));
  if (!certificate) {
    return fail(ErrorCode::config, certificate_path.string() + " holds no certificate in PEM form");
  }
  const Key key(PEM_read_bio_PrivateKey(memory_of(*key_text).get(), nullptr, nullptr, nullptr));
  if (!key) {
    return fail(ErrorCode::config,
                key_path.string() + " holds no unencrypted private key in PEM form");
  }
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    return fail(ErrorCode::config, key_path.string() + " is not the key of the certificate in " +
                                       certificate_path.string());
  }
  return ServerIdentity{std::move(*certificate_text), std::move(*key_text)};
}

Result<ServerIdentity> make_identity() {
  const Key key(EVP_RSA_gen(2048));
  const Certificate certificate(X509_new());
  const Memory certificate_text(BIO_new(BIO_s_mem()));
  const Memory key_text(BIO_new(BIO_s_mem()));
  if (!key || !certificate || !certificate_text || !key_text ||
      !describe(certificate.get(), key.get()) ||
      PEM_write_bio_X509(certificate_text.get(), certificate.get()) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return fail(ErrorCode::io, "OpenSSL cannot make a certificate");
  }
  return ServerIdentity{text_of(certificate_text), text_of(key_text)};
}

Result<ServerIdentity> identity_in(const std::filesystem::path& directory) {
  const auto certificate = directory / "certificate.pem";
  const auto key = directory / "key.pem";
  std::error_code error;
  if (std::filesystem::exists(certificate, error) || std::filesystem::exists(key, error)) {
    return load_identity(certificate, key);
  }
  std::filesystem::create_directories(directory, error);
  if (error) return fail(ErrorCode::io, directory.string() + " cannot be made: " + error.message());
  Result<ServerIdentity> made = make_identity();
  if (!made) return made;
  for (const auto& [path, text] :
       {std::pair{key, made->key}, std::pair{certificate, made->certificate}}) {
    if (Status written = write_private(path, text); !written) return written.error();
  }
  return made;
}

std::string fingerprint(const ServerIdentity& identity) {
  const Certificate certificate(
      PEM_read_bio_X509(memory_of(identity.certificate).get(), nullptr, nullptr, nullptr));
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (!certificate || X509_digest(certificate.get(), EVP_sha256(), digest.data(), &size) != 1)
    return {};
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string text;
  for (const unsigned char byte : ByteView(digest).first(size)) {
    if (!text.empty()) text += ':';
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return text;
}

}  // namespace tillbridge::terminal
