// Connections that want to be paired, from their first byte to their certificate.
#include <algorithm>
#include <utility>

#include "channel/pairing/limits.hpp"
#include "channel/pairing/line.hpp"
#include "server/authority/limits.hpp"
#include "server/enrolment/visitor.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::enrolment {

namespace limits = authority::limits;
namespace log = server::log;
using audit::Field;
using audit::Kind;
using authority::Verdict;
using pairing::Refusal;

namespace {

bool can_be_a_name(const std::string& name) {
  constexpr std::string_view allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  return !name.empty() && name.size() <= pairing::limits::till_name_bytes &&
         name.find_first_not_of(allowed) == std::string::npos && name.front() != '.' &&
         name.front() != '-';
}

std::string seconds_text(Duration wait) {
  return std::to_string(wait / std::chrono::seconds(1) + 1) + " s";
}

std::string remedy(Verdict verdict) {
  switch (verdict) {
    case Verdict::other_till:
      return "it is for a till of another name; leave out --name, or ask for a token for this one";
    case Verdict::expired:
      return "it has run out; ask the administrator for a new one (tillbridge till add)";
    case Verdict::used:
      return "it was used already, and works once only; ask the administrator for a new one, and "
             "to look who used this one";
    default:
      return "the server does not know it; copy the line as a whole, or ask the administrator for "
             "a new one";
  }
}

}  // namespace

void Desk::accept(std::unique_ptr<transport::Stream> stream) {
  if (visitors_.size() >= limits::conversations) {
    log::warning("pairing: a connection from " + stream->peer().address +
                 " is turned away: " + std::to_string(visitors_.size()) + " are open already");
    stream->write(pairing::encode(
        pairing::Refused{Refusal::limit, "the server is busy with pairing; try again later"}));
    stream->close();
    return;
  }
  const auto place =
      visitors_.insert(visitors_.end(), std::make_unique<Visitor>(loop_, std::move(stream)));
  (*place)->stream->start(
      {[this, place](ByteView bytes) {
         (*place)->conversation.receive(bytes, loop_.now());
         pump(place);
       },
       {},
       [this, place](const std::optional<Error>& /*error*/) { visitors_.erase(place); }});
  pump(place);
}

void Desk::pump(Place place) {
  Visitor& visitor = **place;
  while (auto event = visitor.conversation.poll_event()) {
    if (auto* question = std::get_if<authority::Conversation::Asked>(&*event)) {
      visitor.key = pairing::hex(question->request.fingerprint);
      visitor.asked = std::move(*question);
      asked(visitor);
    } else if (std::holds_alternative<authority::Conversation::Stored>(*event)) {
      stored(visitor);
    } else {
      log::info("pairing: " + visitor.address + ": " +
                std::get<authority::Conversation::Broken>(*event).error.message);
    }
  }
  if (Bytes output = visitor.conversation.take_output(); !output.empty()) {
    visitor.stream->write(std::move(output));
  }
  if (visitor.conversation.over()) {
    visitor.stream->close();  // goes on in the background
    visitors_.erase(place);
    return;
  }
  const auto deadline = visitor.conversation.next_deadline();
  if (!deadline) return;
  visitor.timer.arm(*deadline, [this, place] {
    (*place)->conversation.advance(loop_.now());
    pump(place);
  });
}

void Desk::asked(Visitor& visitor) {
  const pairing::Ask& ask = visitor.asked->ask;
  if (const auto wait = asks_.wait(visitor.network, loop_.now())) {
    return refuse(visitor, Refusal::limit, "too many attempts; try again in " + seconds_text(*wait),
                  "too many attempts", {});
  }
  asks_.count(visitor.network, loop_.now());
  if (!can_be_a_name(ask.name) && !(ask.name.empty() && !ask.proof.empty())) {
    return refuse(visitor, Refusal::not_allowed,
                  "'" + log::printable(ask.name) +
                      "' cannot be the name of a till: use --name with up to 64 letters, digits, "
                      "'.', '_' and '-', such as kasse-07",
                  "a name that cannot be one", {});
  }
  if (key_was_revoked(visitor.key)) {
    return refuse(visitor, Refusal::not_allowed,
                  "the administrator revoked this till's key; pair with a new one",
                  "its key was revoked", {});
  }
  if (ask.proof.empty()) {
    asked_without_token(visitor);
  } else {
    asked_with_token(visitor);
  }
}

void Desk::asked_with_token(Visitor& visitor) {
  const pairing::Ask& ask = visitor.asked->ask;
  if (const auto wait = guesses_.wait(visitor.network, loop_.now())) {
    return refuse(visitor, Refusal::limit,
                  "too many wrong tokens; try again in " + seconds_text(*wait),
                  "too many wrong tokens", {});
  }
  const auto tokens = store_.tokens();
  if (!tokens) {
    return refuse(visitor, Refusal::limit, "the server cannot read its store; try again later",
                  tokens.error().message, {});
  }
  auto token = authority::find_token(*tokens, ask);
  const Verdict verdict = authority::judge(token, ask, visitor.stream->peer().binding, now());
  if (verdict != Verdict::good) {
    if (authority::is_guess(verdict)) guesses_.count(visitor.network, loop_.now());
    if (verdict == Verdict::wrong) {
      token->tries += 1;
      if (auto status = store_.put_token(*token); !status) log::error(status.error().message);
    }
    return refuse(visitor, Refusal::token, "the token is refused: " + remedy(verdict),
                  authority::text(verdict), token ? token->till : "");
  }
  // Before anything else: whatever goes wrong from here on, nobody uses it again.
  token->used = now();
  if (auto status = store_.put_token(*token); !status) {
    return refuse(visitor, Refusal::limit, "the server cannot write its store; try again later",
                  status.error().message, token->till);
  }
  grant(visitor, token->till, token->stick, token);
}

void Desk::asked_without_token(Visitor& visitor) {
  const pairing::Ask& ask = visitor.asked->ask;
  auto known = store_.pending(visitor.key);
  const auto all = known ? store_.pending() : Result<std::vector<store::Pending>>(known.error());
  if (!all) {
    return refuse(visitor, Refusal::limit, "the server cannot read its store; try again later",
                  all.error().message, {});
  }
  const bool fresh = !known->has_value();
  store::Pending row;
  if (!fresh) row = **known;
  if (fresh) {
    const auto near = std::count_if(all->begin(), all->end(), [&](const store::Pending& other) {
      return guessing::network_of(other.address) == visitor.network;
    });
    if (all->size() >= limits::pending ||
        static_cast<std::size_t>(near) >= limits::pending_per_address) {
      return refuse(visitor, Refusal::limit,
                    "too many tills wait for the administrator; ask for a token, or try again when "
                    "he has looked at those",
                    "too many pending tills", {});
    }
    row.key_fingerprint = visitor.key;
    row.first_seen = now();
  }
  row.last_seen = now();
  row.address = visitor.address;
  if (row.state == store::PendingState::waiting) {
    row.name = ask.name;
    row.request = visitor.asked->request.der;
  }
  if (auto status = store_.put_pending(row); !status) {
    return refuse(visitor, Refusal::limit, "the server cannot write its store; try again later",
                  status.error().message, {});
  }
  switch (row.state) {
    case store::PendingState::approved:
      return grant(visitor, row.till, {}, std::nullopt);
    case store::PendingState::ignored:
      return refuse(visitor, Refusal::not_allowed,
                    "the administrator does not want this till; ask for a token (tillbridge till "
                    "add)",
                    "an administrator ignores it", {});
    case store::PendingState::waiting:
      break;
  }
  visitor.conversation.hold("an administrator has to approve this till: he compares the four words",
                            loop_.now());
  administration_->changed();
  if (!fresh) return;
  const std::string words = words_of(row);
  log::info("pairing: a till that calls itself " + log::printable(ask.name) + " at " +
            visitor.address + " asks to be approved; its words: " + words);
  administration_->record({Kind::pending_seen,
                           "stranger",
                           {},
                           {},
                           {},
                           {{Field::address, visitor.address},
                            {Field::client_name, log::printable(ask.name)},
                            {Field::key, visitor.key},
                            {Field::words, words}}});
  administration_->tell(admin::Administration::Level::warning, "pending_seen",
                        "a till that calls itself " + log::printable(ask.name) + " at " +
                            visitor.address + " asks to be approved",
                        {}, {}, "stranger");
}

void Desk::refuse(Visitor& visitor, Refusal why, const std::string& message,
                  const std::string& audited, const std::string& till) {
  visitor.conversation.refuse(why, message);
  // A flood of strangers fills neither the disk nor the journal.
  if (audited_.wait({}, loop_.now())) return;
  audited_.count({}, loop_.now());
  log::warning("pairing: " + visitor.address + " is refused: " + audited);
  administration_->record({Kind::pairing_refused,
                           "stranger",
                           {},
                           till,
                           audited,
                           {{Field::address, visitor.address}, {Field::key, visitor.key}}});
  administration_->tell(admin::Administration::Level::warning, "pairing_refused",
                        "pairing from " + visitor.address + " was refused: " + audited, {}, till,
                        "stranger");
}

void Desk::grant(Visitor& visitor, const std::string& till, const std::string& stick,
                 const std::optional<store::Token>& token) {
  const auto row = store_.till(till);
  const bool revoked = row && row->has_value() && (*row)->state == store::TillState::revoked;
  // With a token, the administrator has decided anew.
  if (!row || (revoked && !token)) {
    return refuse(visitor, Refusal::not_allowed,
                  "the administrator revoked this till; ask for a token", "the till is revoked",
                  till);
  }
  const auto issued =
      authority_.issue_till(visitor.asked->request, till, now(), options_.till_life);
  if (!issued) {
    return refuse(visitor, Refusal::limit, issued.error().message, issued.error().message, till);
  }
  audit::Entry entry{Kind::pairing_done,
                     "till " + till,
                     stick,
                     till,
                     token ? "with a token" : "approved by an administrator",
                     {}};
  entry.details = {{Field::address, visitor.address},
                   {Field::certificate, issued->row.fingerprint},
                   {Field::key, visitor.key},
                   {Field::not_after, audit::time_text(issued->row.not_after)},
                   {Field::software, log::printable(visitor.asked->ask.software)}};
  const auto enrolled = administration_->enrolled(issued->row, stick, entry);
  if (!enrolled && enrolled.error().code == ErrorCode::io) {
    return refuse(visitor, Refusal::limit,
                  "the server cannot write its store: " + enrolled.error().message,
                  enrolled.error().message, till);
  }
  if (!enrolled) {
    log::warning("pairing: till " + till + " is paired, but stick " + log::printable(stick) +
                 " is not mapped to it: " + enrolled.error().message);
  }
  pairing::Granted granted;
  granted.name = till;
  granted.certificate = issued->der;
  granted.authorities = authorities_;
  granted.server_name = options_.other_authority.empty() ? pairing::server_name : "";
  if (token) {
    granted.proof = pairing::proof(token->hash, pairing::Prover::server,
                                   visitor.stream->peer().binding, issued->der);
  }
  visitor.conversation.grant(std::move(granted), loop_.now());
  visitor.granted = till;
  log::info("pairing: till " + till + " at " + visitor.address + " has its certificate");
  administration_->tell(admin::Administration::Level::info, "pairing_done",
                        "till " + till + " at " + visitor.address + " is paired", stick, till,
                        "till " + till);
}

void Desk::stored(const Visitor& visitor) {
  const auto row = store_.pending(visitor.key);
  if (!row || !row->has_value()) return;
  if (auto status = store_.remove_pending(visitor.key); !status) {
    log::warning("pairing: " + status.error().message);
  }
  administration_->changed();
}

// --- what the admin decides while they wait

void Desk::approved(const store::Pending& pending) {
  for (auto place = visitors_.begin(); place != visitors_.end();) {
    const auto next = std::next(place);
    if ((*place)->key == pending.key_fingerprint && !(*place)->granted) {
      grant(**place, pending.till, {}, std::nullopt);
      pump(place);
    }
    place = next;
  }
}

void Desk::ignored(const store::Pending& pending) {
  for (auto place = visitors_.begin(); place != visitors_.end();) {
    const auto next = std::next(place);
    if ((*place)->key == pending.key_fingerprint && !(*place)->granted) {
      refuse(**place, Refusal::not_allowed, "the administrator does not want this till",
             "an administrator ignores it", {});
      pump(place);
    }
    place = next;
  }
}

}  // namespace tillbridge::enrolment
