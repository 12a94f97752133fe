#include "server/enrolment/desk.hpp"

#include <algorithm>
#include <utility>

#include "channel/pairing/line.hpp"
#include "channel/pairing/till_key.hpp"
#include "server/authority/limits.hpp"
#include "server/enrolment/qr.hpp"
#include "server/enrolment/visitor.hpp"
#include "server/files/private_folder.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::enrolment {

namespace limits = authority::limits;
namespace log = server::log;
using audit::Field;
using audit::Kind;

namespace {

constexpr Duration housekeeping_every = std::chrono::hours(1);
/// Kept so that who comes late hears that the token has run out, and not that there is none.
constexpr auto token_kept = std::chrono::hours(24);
constexpr auto certificate_kept = std::chrono::hours(24 * 30);
/// A till that renews in time has two.
constexpr std::ptrdiff_t certificates_of_till = 8;
/// Refusals that the audit tells one by one in a minute.
constexpr std::size_t audited_in_total = 30;

}  // namespace

Result<std::unique_ptr<Desk>> Desk::open(transport::Loop& loop, store::Store& store,
                                         const std::filesystem::path& folder, Options options) {
  auto authority = authority::Authority::open(folder, now());
  if (!authority) return authority.error();
  if (authority->made_now()) {
    log::info("first start: this server has an authority of its own now, SHA-256 fingerprint " +
              authority->fingerprint() + ", in words: " + authority->words());
  }
  auto renewed = authority->renew_server(options.names, now());
  if (!renewed) return renewed.error();
  std::string authorities = authority->pem();
  if (!options.other_authority.empty()) {
    // Where it is missing, the link says so when it needs it, a moment from now.
    const auto other = files::read_file(options.other_authority, limits::key_file_bytes);
    if (other) authorities += *other;
  }
  std::unique_ptr<Desk> desk(new Desk(loop, store, std::move(options), std::move(*authority)));
  desk->authorities_ = std::move(authorities);
  return desk;
}

Desk::Desk(transport::Loop& loop, store::Store& store, Options options,
           authority::Authority authority)
    : loop_(loop),
      store_(store),
      options_(std::move(options)),
      authority_(std::move(authority)),
      asks_(limits::asks_per_address, limits::asks_in_total, limits::guess_window),
      guesses_(limits::guesses_per_address, limits::guesses_in_total, limits::guess_window),
      audited_(audited_in_total, audited_in_total, limits::guess_window),
      housekeeping_timer_(loop) {}

Desk::~Desk() = default;

void Desk::serve(server::UsbServer& usb, admin::Administration& administration) {
  usb_ = &usb;
  administration_ = &administration;
  server::OwnAuthority own;
  own.files = {authority_.server_certificate_file(),
               authority_.server_key_file(),
               authority_.certificate_file(),
               {}};
  own.pair = [this](std::unique_ptr<transport::Stream> stream) { accept(std::move(stream)); };
  own.renews = [this](const server::TillIdentity& till) { return renews(till); };
  own.renew = [this](const server::TillIdentity& till, ByteView request) {
    return renew(till, request);
  };
  usb.use(std::move(own));
  housekeeping();
}

void Desk::stop() {
  housekeeping_timer_.cancel();
  visitors_.clear();
}

void Desk::housekeeping() {
  housekeeping_timer_.arm(loop_.now() + housekeeping_every, [this] { housekeeping(); });
  const store::Time time = now();
  for (const Status& status : {store_.remove_tokens_expired_before(time - token_kept),
                               store_.remove_pending_last_seen_before(time - limits::pending_kept),
                               store_.remove_certificates_ended_before(time - certificate_kept)}) {
    if (!status) log::warning("old entries stay in the store: " + status.error().message);
  }
  const auto renewed = authority_.renew_server(options_.names, time);
  if (!renewed) {
    log::error("the server's certificate cannot be renewed: " + renewed.error().message);
    return;
  }
  if (!*renewed) return;
  log::info("the server's certificate is renewed");
  if (auto status = usb_->reload_certificate(); !status) log::error(status.error().message);
  if (renewed_) renewed_();
}

// --- what the administration asks for

admin::Enrolment::Identity Desk::identity() const {
  return {authority_.fingerprint(), authority_.words()};
}

Result<admin::Enrolment::Ticket> Desk::issue_token(const std::string& till,
                                                   const std::string& stick, store::Time time,
                                                   const std::string& address) {
  std::string host = options_.host;
  std::uint16_t port = options_.port != 0 ? options_.port : usb_->link_port();
  if (!address.empty()) {
    const auto asked = pairing::parse_line(address);
    if (!asked || !asked->authority.empty() || address.find('/') != std::string::npos) {
      return fail(ErrorCode::config, "'" + server::log::printable(address) +
                                         "' is no address: write HOST or HOST:PORT");
    }
    // A port that is not named is the one that the server listens on, whatever the usual one is.
    const std::size_t brackets = address.front() == '[' ? 2 : 0;
    const bool port_named = address.size() > asked->host.size() + brackets;
    if (port_named) port = asked->port;
    host = asked->host;
  }
  authority::NewToken token = authority::make_token(till, stick, time, options_.token_life);
  if (auto status = store_.remove_tokens_of(till); !status) return status.error();
  if (auto status = store_.put_token(token.row); !status) return status.error();
  pairing::Line line;
  line.host = std::move(host);
  line.port = port;
  line.authority.assign(authority_.digest().begin(),
                        authority_.digest().begin() + pairing::line_fingerprint_bytes);
  line.token = std::move(token.secret);
  const std::string text = pairing::text(line);
  auto qr = draw_qr(text);
  if (!qr) return qr.error();
  return Ticket{"tillbridge pair " + text, std::move(qr->svg), std::move(qr->text),
                token.row.expires};
}

std::string Desk::words_of(const store::Pending& pending) const {
  const auto key = pairing::from_hex(pending.key_fingerprint, pairing::Digest().size());
  if (!key) return {};
  return pairing::words_of(pairing::words_digest(*key, authority_.digest()));
}

// --- renewal

bool Desk::renews(const server::TillIdentity& till) const {
  const auto row = store_.certificate(till.fingerprint);
  // One of another authority has a row as well, without its key.
  return row && row->has_value() && !(*row)->key_fingerprint.empty();
}

Result<server::TillSession::Renewal> Desk::renew(const server::TillIdentity& till,
                                                 ByteView request_bytes) {
  const auto row = store_.certificate(till.fingerprint);
  if (!row) return row.error();
  if (!row->has_value() || (*row)->key_fingerprint.empty() || (*row)->revoked ||
      (*row)->till != till.name) {
    return fail(ErrorCode::refused, "this server did not issue the certificate of this till");
  }
  const auto till_row = store_.till(till.name);
  if (!till_row) return till_row.error();
  if (!till_row->has_value() || (*till_row)->state == store::TillState::revoked) {
    return fail(ErrorCode::refused, "the administrator revoked this till");
  }
  const auto request = authority::parse_request(request_bytes);
  if (!request) return request.error();
  const std::string key = pairing::hex(request->fingerprint);
  if (key_was_revoked(key)) return fail(ErrorCode::refused, "this key was revoked");
  const store::Time time = now();
  const auto certificates = store_.certificates_of(till.name);
  if (!certificates) return certificates.error();
  const auto good = std::count_if(certificates->begin(), certificates->end(),
                                  [&](const store::Certificate& certificate) {
                                    return !certificate.revoked && certificate.not_after > time &&
                                           !certificate.key_fingerprint.empty();
                                  });
  if (good >= certificates_of_till) {
    return fail(ErrorCode::limit, "this till has " + std::to_string(good) +
                                      " good certificates already; it can renew when some of them "
                                      "have ended");
  }
  auto issued = authority_.issue_till(*request, till.name, time, options_.till_life);
  if (!issued) return issued.error();
  audit::Entry entry{Kind::certificate_renewed, "till " + till.name, {}, till.name, {}, {}};
  entry.details = {{Field::certificate, issued->row.fingerprint},
                   {Field::key, key},
                   {Field::value_before, till.fingerprint},
                   {Field::not_after, audit::time_text(issued->row.not_after)}};
  if (auto status = administration_->enrolled(issued->row, {}, entry); !status) {
    return status.error();
  }
  return server::TillSession::Renewal{std::move(issued->der), issued->row.fingerprint,
                                      issued->row.not_after};
}

bool Desk::key_was_revoked(const std::string& key_fingerprint) const {
  const auto certificates = store_.certificates();
  // What cannot be looked up is not let in.
  return !certificates ||
         std::any_of(certificates->begin(), certificates->end(),
                     [&](const store::Certificate& certificate) {
                       return certificate.revoked && certificate.key_fingerprint == key_fingerprint;
                     });
}

}  // namespace tillbridge::enrolment
