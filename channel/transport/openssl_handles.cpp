#include "channel/transport/openssl_handles.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <span>
#include <string_view>

#include <asio/ip/address.hpp>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::transport {
namespace {

std::string printable(std::string_view text) {
  std::string result(text.substr(0, limits::name_bytes));
  std::replace_if(
      result.begin(), result.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return result;
}

std::string text_of(const ASN1_STRING* string) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, string);
  if (size < 0) return {};
  const std::span<const unsigned char> bytes(utf8, static_cast<std::size_t>(size));
  std::string result = printable(std::string(bytes.begin(), bytes.end()));
  OPENSSL_free(utf8);
  return result;
}

std::string text_of_address(const ASN1_OCTET_STRING* address) {
  const std::span<const unsigned char> bytes(ASN1_STRING_get0_data(address),
                                             static_cast<std::size_t>(ASN1_STRING_length(address)));
  if (asio::ip::address_v4::bytes_type v4{}; bytes.size() == v4.size()) {
    std::copy(bytes.begin(), bytes.end(), v4.begin());
    return asio::ip::address_v4(v4).to_string();
  }
  if (asio::ip::address_v6::bytes_type v6{}; bytes.size() == v6.size()) {
    std::copy(bytes.begin(), bytes.end(), v6.begin());
    return asio::ip::address_v6(v6).to_string();
  }
  return "?";
}

}  // namespace

std::string common_name(const X509& certificate) {
  const X509_NAME* subject = X509_get_subject_name(&certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return {};
  return text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
}

std::string fingerprint(const X509& certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  if (X509_digest(&certificate, EVP_sha256(), digest.data(), &size) != 1) return {};
  constexpr std::string_view digits = "0123456789abcdef";
  std::string result;
  for (const unsigned char byte : std::span(digest).first(size)) {
    result += digits[byte >> 4U];
    result += digits[byte & 0xFU];
  }
  return result;
}

std::chrono::system_clock::time_point end_of(const X509& certificate) {
  std::tm utc{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(&certificate), &utc) != 1) {
    return std::chrono::system_clock::time_point::min();
  }
  return std::chrono::system_clock::from_time_t(::timegm(&utc));
}

std::string alternative_names(const X509& certificate) {
  std::string result;
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    int type = 0;
    const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
    std::string name;
    if (type == GEN_DNS) name = text_of(static_cast<const ASN1_STRING*>(value));
    if (type == GEN_IPADD) name = text_of_address(static_cast<const ASN1_OCTET_STRING*>(value));
    if (name.empty()) continue;
    if (!result.empty()) result += ", ";
    result += name;
    if (result.size() > limits::link_text_bytes) break;
  }
  GENERAL_NAMES_free(names);
  return result;
}

std::string printed_time(const ASN1_TIME* time) {
  std::tm utc{};
  std::array<char, 32> text{};
  if (ASN1_TIME_to_tm(time, &utc) != 1) return "an unreadable date";
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &utc);
  return {text.data(), size};
}

std::string openssl_error() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

}  // namespace tillbridge::transport
