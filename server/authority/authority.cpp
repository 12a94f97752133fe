#include "server/authority/authority.hpp"

#include <algorithm>
#include <utility>

#include "channel/pairing/line.hpp"
#include "channel/pairing/message.hpp"
#include "channel/pairing/till_key.hpp"
#include "server/authority/limits.hpp"
#include "server/files/private_folder.hpp"

namespace tillbridge::authority {
namespace {

Error damaged(const std::filesystem::path& file, const std::string& why) {
  return fail(ErrorCode::config,
              file.string() + ": " + why +
                  ". Put it back from a backup; or remove authority.key and authority.crt, which "
                  "makes a new authority with which every till has to pair anew.");
}

}  // namespace

Authority::Authority(std::filesystem::path folder, Key key, Certificate certificate, bool made_now)
    : folder_(std::move(folder)),
      key_(std::move(key)),
      certificate_(std::move(certificate)),
      pem_(pem_of(certificate_)),
      digest_(pairing::sha256(der_of(certificate_))),
      made_now_(made_now) {}

Result<Authority> Authority::open(const std::filesystem::path& folder, Time now) {
  const std::filesystem::path key_file = folder / "authority.key";
  const std::filesystem::path certificate_file = folder / "authority.crt";
  auto certificate_text = files::read_file(certificate_file, limits::key_file_bytes);
  if (certificate_text) {
    if (auto status = files::check_private_file(key_file); !status) {
      return damaged(key_file, status.error().message);
    }
    auto key_text = files::read_file(key_file, limits::key_file_bytes);
    if (!key_text) return damaged(key_file, key_text.error().message);
    auto key = key_from_pem(*key_text);
    if (!key) return damaged(key_file, key.error().message);
    auto certificate = certificate_from_pem(*certificate_text);
    if (!certificate) return damaged(certificate_file, certificate.error().message);
    if (!belongs(*certificate, *key)) {
      return damaged(key_file, "this key is not that of authority.crt");
    }
    return Authority(folder, std::move(*key), std::move(*certificate), false);
  }
  if (certificate_text.error().code != ErrorCode::unavailable) return certificate_text.error();
  // The certificate is written last: a key without one is what a crash in between left.
  const Key key = new_key();
  Wish wish;
  wish.common_name = "tillbridge authority " + pairing::hex(pairing::random_bytes(4));
  wish.use = Wish::Use::authority;
  wish.not_before = now - limits::begins_before;
  wish.not_after = now + limits::authority_life;
  auto certificate = make_certificate(wish, key, nullptr, key);
  if (!certificate) return certificate.error();
  if (auto status = files::write_file(key_file, pem_of(key)); !status) return status.error();
  if (auto status = files::write_file(certificate_file, pem_of(*certificate), 0644); !status) {
    return status.error();
  }
  return Authority(folder, key, std::move(*certificate), true);
}

std::string Authority::fingerprint() const {
  return pairing::hex(digest_);
}

std::string Authority::words() const {
  return pairing::words_of(digest_);
}

Result<Issued> Authority::issue_till(const Request& request, const std::string& name, Time now,
                                     std::chrono::seconds life) const {
  Wish wish;
  wish.common_name = name;
  // Not longer ago: two thirds of a life begin to count when it begins.
  wish.not_before = now - std::min(limits::begins_before, life / 100);
  wish.not_after = now + life;
  auto certificate = make_certificate(wish, request.key, certificate_, key_);
  if (!certificate) return certificate.error();
  Issued issued;
  issued.der = der_of(*certificate);
  issued.row.serial = serial_of(*certificate);
  issued.row.till = name;
  issued.row.fingerprint = pairing::hex(pairing::sha256(issued.der));
  issued.row.key_fingerprint = pairing::hex(request.fingerprint);
  issued.row.not_before = wish.not_before;
  issued.row.not_after = wish.not_after;
  issued.row.issued = now;
  return issued;
}

bool Authority::server_is_good(const std::vector<std::string>& names, Time now) const {
  const auto certificate_text = files::read_file(server_certificate_file(), limits::key_file_bytes);
  const auto key_text = files::read_file(server_key_file(), limits::key_file_bytes);
  if (!certificate_text || !key_text || !files::check_private_file(server_key_file())) return false;
  const auto certificate = certificate_from_pem(*certificate_text);
  const auto key = key_from_pem(*key_text);
  // Two files cannot be replaced at once; a pair that does not fit is what a crash left.
  if (!certificate || !key || !belongs(*certificate, *key)) return false;
  const Bytes der = der_of(*certificate);
  const auto facts = pairing::facts_of(der);
  if (!facts || now < facts->not_before || now >= facts->renew_at() ||
      !pairing::check_issuer(der, pem_)) {
    return false;
  }
  const std::vector<std::string> there = names_of(*certificate);
  return std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    return std::binary_search(there.begin(), there.end(), name);
  });
}

Result<bool> Authority::renew_server(const std::vector<std::string>& names, Time now) {
  std::vector<std::string> all{pairing::server_name};
  for (const std::string& name : names) {
    if (all.size() < limits::server_names) all.push_back(name);
  }
  if (server_is_good(all, now)) return false;
  const Key key = new_key();
  Wish wish;
  wish.common_name =
      names.empty() ? std::string(pairing::server_name) : names.front().substr(0, 64);
  wish.use = Wish::Use::server;
  wish.names = std::move(all);
  wish.not_before = now - limits::begins_before;
  wish.not_after = now + limits::server_life;
  auto certificate = make_certificate(wish, key, certificate_, key_);
  if (!certificate) return certificate.error();
  if (auto status = files::write_file(server_key_file(), pem_of(key)); !status) {
    return status.error();
  }
  if (auto status = files::write_file(server_certificate_file(), pem_of(*certificate) + pem_, 0644);
      !status) {
    return status.error();
  }
  return true;
}

}  // namespace tillbridge::authority
