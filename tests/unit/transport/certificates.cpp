#include "tests/unit/transport/certificates.hpp"

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace tillbridge::test {
namespace {

void check(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(std::string("test certificates: ") + what);
}

void extend(X509& certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context{};
  X509V3_set_ctx(&context, issuer, &certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str());
  check(extension != nullptr, value.c_str());
  X509_add_ext(&certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

std::shared_ptr<X509> make(const std::string& common_name, EVP_PKEY* key, X509* issuer, long from_s,
                           long until_s) {
  static std::atomic<long> serial{1};
  std::shared_ptr<X509> certificate(X509_new(), X509_free);
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial++);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from_s);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), until_s);
  X509_set_pubkey(certificate.get(), key);
  const std::basic_string<unsigned char> name(common_name.begin(), common_name.end());
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  check(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name.data(),
                                   static_cast<int>(name.size()), -1, 0) == 1,
        "common name");
  X509_set_issuer_name(certificate.get(),
                       issuer == nullptr ? subject : X509_get_subject_name(issuer));
  return certificate;
}

template <typename Write>
void write_pem(const std::filesystem::path& path, Write write) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  check(file != nullptr, path.c_str());
  check(write(file) == 1, path.c_str());
  std::fclose(file);
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::string name = std::filesystem::temp_directory_path() / "tillbridge-test-XXXXXX";
  check(::mkdtemp(name.data()) != nullptr, "temporary directory");
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Authority::Authority(std::filesystem::path directory, const std::string& name)
    : directory_(std::move(directory)),
      file_(directory_ / (name + ".crt")),
      key_(EVP_EC_gen("P-256"), EVP_PKEY_free) {
  certificate_ = make(name, key_.get(), nullptr, -7200, 7200);
  extend(*certificate_, certificate_.get(), NID_basic_constraints, "critical,CA:TRUE");
  extend(*certificate_, certificate_.get(), NID_key_usage, "critical,keyCertSign");
  check(X509_sign(certificate_.get(), key_.get(), EVP_sha256()) > 0, "sign");
  write_pem(file_, [this](std::FILE* file) { return PEM_write_X509(file, certificate_.get()); });
}

transport::TlsFiles Authority::issue(const CertificateWish& wish) const {
  const std::shared_ptr<EVP_PKEY> key(EVP_EC_gen("P-256"), EVP_PKEY_free);
  const std::shared_ptr<X509> certificate =
      make(wish.common_name, key.get(), certificate_.get(), wish.valid_from_s, wish.valid_until_s);
  extend(*certificate, certificate_.get(), NID_ext_key_usage, wish.purpose);
  if (!wish.alternative_names.empty()) {
    extend(*certificate, certificate_.get(), NID_subject_alt_name, wish.alternative_names);
  }
  check(X509_sign(certificate.get(), key_.get(), EVP_sha256()) > 0, "sign");
  transport::TlsFiles files;
  files.certificate = directory_ / (wish.common_name + ".crt");
  files.key = directory_ / (wish.common_name + ".key");
  files.authorities = file_;
  write_pem(files.certificate,
            [&](std::FILE* file) { return PEM_write_X509(file, certificate.get()); });
  write_pem(files.key, [&](std::FILE* file) {
    return PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  });
  std::filesystem::permissions(
      files.key, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  return files;
}

}  // namespace tillbridge::test
