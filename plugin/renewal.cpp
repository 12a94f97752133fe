#include "plugin/renewal.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "channel/link/endpoint.hpp"
#include "channel/pairing/limits.hpp"
#include "till/identity.hpp"

namespace tillbridge::plugin {
namespace {

/// The clock may be set, and another session may have renewed.
constexpr Duration look_at_least_every = std::chrono::hours(1);

std::string date_text(pairing::Time time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &utc)};
}

}  // namespace

Renewal::Renewal(transport::Loop& loop, ServerSource source, Log& log)
    : loop_(loop), source_(std::move(source)), log_(log), timer_(loop) {
  if (const auto facts = till::read_identity(source_.certificate)) in_use_ = facts->fingerprint;
}

void Renewal::welcomed(bool renews) {
  asked_for_.reset();
  renews_ = renews;
  timer_.cancel();
  if (renews_) look_in(Duration(0));
}

void Renewal::session_ended() {
  renews_ = false;
  asked_for_.reset();
  timer_.cancel();
}

void Renewal::look_in(Duration wait) {
  timer_.arm(loop_.now() + std::min(wait, look_at_least_every), [this] { look(); });
}

void Renewal::look() {
  if (!renews_ || asked_for_) return;
  const auto facts = till::read_identity(source_.certificate);
  if (!facts) {
    report(Level::warning, "the certificate cannot be renewed: " + facts.error().message);
    return look_in(look_at_least_every);
  }
  if (in_use_ && *in_use_ != facts->fingerprint) {
    if (auto status = use_file(); !status) report(Level::warning, status.error().message);
  }
  const auto left = facts->renew_at() - std::chrono::system_clock::now();
  if (left > std::chrono::system_clock::duration::zero()) {
    // A little later than rather than before it.
    return look_in(std::chrono::ceil<std::chrono::milliseconds>(left));
  }
  if (source_.certificate != source_.key) {
    report(Level::warning,
           "the certificate ends " + date_text(facts->not_after) +
               " and is not renewed by itself, since certificate and key are two files; put both "
               "into one and name it for both in [tls], or pair this till anew (tillbridge pair)");
    return look_in(look_at_least_every);
  }
  asked_for_ = pairing::TillKey::make();
  events_.ask(asked_for_->request(facts->name));
}

void Renewal::renewed(ByteView certificate) {
  if (!asked_for_) return;
  Status status = keep(certificate);
  asked_for_.reset();
  if (status) status = use_file();
  if (!status) {
    report(Level::error, "the renewed certificate cannot be used: " + status.error().message +
                             "; the old one stays in use until its end");
    return look_in(again_after);
  }
  last_report_.clear();
  const auto facts = till::read_identity(source_.certificate);
  log_.write(Level::info, "the certificate of this till is renewed" +
                              (facts ? "; it is good until " + date_text(facts->not_after) : ""));
  if (!facts) return look_in(again_after);
  // With a clock that is far ahead every certificate looks old.
  const auto pause = std::min<std::chrono::system_clock::duration>(
      again_after, (facts->not_after - facts->not_before) / 6);
  const auto left = std::max<std::chrono::system_clock::duration>(
      facts->renew_at() - std::chrono::system_clock::now(), pause);
  look_in(std::chrono::ceil<std::chrono::milliseconds>(left));
}

Status Renewal::keep(ByteView certificate) const {
  const auto facts = pairing::facts_of(certificate);
  if (!facts) return facts.error();
  const auto before = till::read_identity(source_.certificate);
  if (!before) return before.error();
  if (facts->key != asked_for_->fingerprint() || facts->name != before->name) {
    return fail(ErrorCode::refused, "the server sent one for another key or another till");
  }
  const auto authorities = till::read_whole(source_.authority, pairing::limits::authorities_bytes);
  if (!authorities) return authorities.error();
  if (auto status = pairing::check_issuer(certificate, *authorities); !status) return status;
  const auto text = till::identity_text(certificate, *asked_for_);
  if (!text) return text.error();
  return till::write_whole(source_.certificate, *text, 0600);
}

Status Renewal::use_file() {
  auto tls = transport::TlsContext::load(
      {.certificate = source_.certificate, .key = source_.key, .authorities = source_.authority},
      transport::TlsContext::Side::client, link::alpn);
  if (!tls) return tls.error();
  const auto facts = till::read_identity(source_.certificate);
  if (facts) in_use_ = facts->fingerprint;
  events_.use(std::move(*tls));
  return {};
}

void Renewal::refused(const std::string& reason) {
  if (!asked_for_) return;
  asked_for_.reset();
  report(Level::warning, "the USB server does not renew the certificate of this till: " + reason);
  look_in(again_after);
}

void Renewal::report(Level level, const std::string& text) {
  const bool news = text != last_report_;
  last_report_ = text;
  log_.write(news ? level : Level::debug, text);
}

}  // namespace tillbridge::plugin
