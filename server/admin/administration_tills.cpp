// Verbs on tills, pending ones, and the page's users.
#include <algorithm>

#include "server/admin/administration_impl.hpp"
#include "server/admin/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::admin {

namespace {

using server::log::printable;

Problem no_authority() {
  return {409, "no_authority",
          "this server has no authority of its own, so it cannot issue certificates",
          "make the till's certificate with the authority that the configuration names, or remove "
          "certificate, key and authority from [link]"};
}

/// A name stands in certificates, paths, file names and commands.
std::optional<Problem> name_problem(const std::string& name) {
  constexpr std::string_view allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  const bool good = !name.empty() && name.size() <= 64 &&
                    name.find_first_not_of(allowed) == std::string::npos && name.front() != '.' &&
                    name.front() != '-';
  if (good) return std::nullopt;
  return Problem{422, "invalid", "'" + printable(name) + "' cannot be the name of a till or user",
                 "use up to 64 letters, digits, '.', '_' and '-', such as kasse-07, and put "
                 "anything else into the label"};
}

bool has_good_certificate(const Memory& memory, const std::string& till, Time now) {
  return std::any_of(memory.certificates.begin(), memory.certificates.end(),
                     [&](const store::Certificate& certificate) {
                       return certificate.till == till && !certificate.revoked &&
                              certificate.not_after > now;
                     });
}

}  // namespace

Outcome<Enrolment::Ticket> Administration::add_till(const Change& change, const NewTill& wanted) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "add a till", wanted.stick, wanted.name)) {
    return *problem;
  }
  if (auto problem = name_problem(wanted.name)) return *problem;
  if (me.parts.enrolment == nullptr) return no_authority();
  std::string stick;
  if (!wanted.stick.empty()) {
    auto found = me.find_stick(wanted.stick);
    if (!found) return found.problem();
    stick = *found;
  }
  const auto known = me.memory.tills.find(wanted.name);
  if (known == me.memory.tills.end() && me.memory.tills.size() >= limits::tills) {
    return Problem{422, "too_many", "too many tills are known", "remove some"};
  }
  store::Till row;
  if (known != me.memory.tills.end()) row = known->second;
  const bool added = row.name.empty();
  if (added) row.added = Impl::now();
  row.name = wanted.name;
  if (!wanted.label.empty()) row.label = wanted.label;
  std::optional<Enrolment::Ticket> ticket;
  std::vector<audit::Entry> entries;
  if (added) {
    entries.push_back(
        Impl::entry(Kind::till_added, change, stick, row.name, {{Field::label, row.label}}));
  }
  entries.push_back(Impl::entry(Kind::token_issued, change, stick, row.name));
  auto done = me.commit(std::move(entries), [&](store::Store& store) -> Status {
    if (auto status = store.put_till(row); !status) return status;
    auto issued = me.parts.enrolment->issue_token(row.name, stick, Impl::now(), wanted.address);
    if (!issued) return issued.error();
    ticket = std::move(*issued);
    return {};
  });
  if (!done) return done.problem();
  server::log::info(change.actor.who() + (added ? " adds till " : " gives a new token to till ") +
                    row.name + because(change.reason));
  me.tell(Level::info, added ? "till_added" : "token_issued", "till " + row.name + " may pair now",
          stick, row.name, change.actor.who());
  return std::move(*ticket);
}

Outcome<Enrolment::Ticket> Administration::new_token(const Change& change, const std::string& till,
                                                     const std::string& address) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "add a till", {}, till)) return *problem;
  if (!me.memory.tills.contains(till)) {
    return not_found("there is no till '" + till + "'", "add it first");
  }
  return add_till(change, {till, {}, {}, address});
}

Outcome<Done> Administration::change_till(const Change& change, const std::string& till,
                                          const TillPatch& patch) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "label a till", {}, till)) return *problem;
  const auto known = me.memory.tills.find(till);
  if (known == me.memory.tills.end()) {
    return not_found("there is no till '" + till + "'", "look at the list of tills");
  }
  store::Till row = known->second;
  if (patch.label) row.label = *patch.label;
  if (patch.note) row.note = *patch.note;
  if (row == known->second) return Done{false};
  Details details{{Field::label, row.label}, {Field::value_before, known->second.label}};
  if (patch.note) details.emplace_back(Field::text, row.note);
  auto done = me.commit({Impl::entry(Kind::till_changed, change, {}, till, std::move(details))},
                        [&](store::Store& store) { return store.put_till(row); });
  if (done) server::log::info(change.actor.who() + " labels till " + till + because(change.reason));
  return done;
}

Outcome<Done> Administration::revoke_till(const Change& change, const std::string& till) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "revoke a till", {}, till)) return *problem;
  const auto known = me.memory.tills.find(till);
  if (known == me.memory.tills.end()) {
    return not_found("there is no till '" + till + "'", "look at the list of tills");
  }
  store::Till row = known->second;
  std::vector<store::Certificate> certificates;
  std::vector<audit::Entry> entries;
  const Time time = Impl::now();
  for (store::Certificate certificate : me.memory.certificates) {
    if (certificate.till != till || certificate.revoked) continue;
    certificate.revoked = time;
    certificate.why = change.reason;
    entries.push_back(Impl::entry(Kind::certificate_revoked, change, {}, till,
                                  {{Field::certificate, certificate.fingerprint}}));
    certificates.push_back(std::move(certificate));
  }
  if (row.state == store::TillState::revoked && certificates.empty()) return Done{false};
  row.state = store::TillState::revoked;
  entries.insert(entries.begin(), Impl::entry(Kind::till_revoked, change, {}, till));
  auto done = me.commit(std::move(entries), [&](store::Store& store) -> Status {
    for (const store::Certificate& certificate : certificates) {
      if (auto status = store.put_certificate(certificate); !status) return status;
    }
    if (auto status = store.remove_tokens_of(till); !status) return status;
    return store.put_till(row);
  });
  if (!done) return done;
  me.lost_tills.erase(till);
  // The rules cut the sessions of its certificates; whatever else claims its name goes as well.
  me.usb.cut(till, server::TillEnd::revoked, "the administrator revoked this till");
  server::log::info(change.actor.who() + " revokes till " + till + because(change.reason));
  me.tell(Level::warning, "till_revoked", "till " + till + " is revoked", {}, till,
          change.actor.who());
  return done;
}

Outcome<Done> Administration::remove_till(const Change& change, const std::string& till) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "remove a till", {}, till)) return *problem;
  if (!me.memory.tills.contains(till)) return Done{false};
  std::vector<audit::Entry> entries;
  std::vector<store::Mapping> gone;
  for (const store::Mapping& mapping : me.memory.mappings) {
    if (mapping.till != till) continue;
    entries.push_back(Impl::entry(Kind::mapping_removed, change, mapping.stick, till,
                                  {{Field::mapping, std::to_string(mapping.id)}}));
    gone.push_back(mapping);
  }
  std::vector<store::Certificate> certificates;
  for (store::Certificate certificate : me.memory.certificates) {
    if (certificate.till != till || certificate.revoked) continue;
    certificate.revoked = Impl::now();
    certificate.why = change.reason;
    entries.push_back(Impl::entry(Kind::certificate_revoked, change, {}, till,
                                  {{Field::certificate, certificate.fingerprint}}));
    certificates.push_back(std::move(certificate));
  }
  entries.push_back(Impl::entry(Kind::till_removed, change, {}, till));
  auto done = me.commit(std::move(entries), [&](store::Store& store) -> Status {
    for (const store::Mapping& mapping : gone) {
      if (auto status = store.remove_mapping(mapping.id); !status) return status;
    }
    for (const store::Certificate& certificate : certificates) {
      if (auto status = store.put_certificate(certificate); !status) return status;
    }
    if (auto status = store.remove_tokens_of(till); !status) return status;
    return store.remove_till(till);
  });
  if (!done) return done;
  me.lost_tills.erase(till);
  me.usb.cut(till, server::TillEnd::revoked, "the administrator removed this till");
  // Whatever the session's end wrote of it is gone with it.
  (void)me.store.remove_till(till);
  me.stored(me.load());
  server::log::info(change.actor.who() + " removes till " + till + because(change.reason));
  me.tell(Level::info, "till_removed", "till " + till + " is removed", {}, till,
          change.actor.who());
  return done;
}

// --- pending tills

Outcome<Done> Administration::approve(const Change& change, const std::string& pending,
                                      const std::string& till, const std::string& stick) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "approve a till", stick, till)) return *problem;
  if (me.parts.enrolment == nullptr) return no_authority();
  const auto found =
      std::find_if(me.memory.pending.begin(), me.memory.pending.end(),
                   [&](const store::Pending& row) { return row.key_fingerprint == pending; });
  if (found == me.memory.pending.end()) {
    return not_found("no till asks with this key any more",
                     "let the till ask again, and compare the words anew");
  }
  store::Pending row = *found;
  const std::string name = till.empty() ? row.name : till;
  if (auto problem = name_problem(name)) return *problem;
  if (row.state == store::PendingState::approved) {
    if (row.till == name) return Done{false};
    return Problem{409, "approved", "this till was approved as '" + row.till + "' already",
                   "revoke that one first"};
  }
  if (has_good_certificate(me.memory, name, Impl::now())) {
    return Problem{
        409, "name_taken",
        "till '" + name + "' has a certificate already; another device may pretend to be it",
        "approve this one under another name, or revoke till " + name + " first"};
  }
  std::string mapped;
  if (!stick.empty()) {
    auto id = me.find_stick(stick);
    if (!id) return id.problem();
    mapped = *id;
  }
  row.state = store::PendingState::approved;
  row.till = name;
  store::Till till_row;
  if (const auto known = me.memory.tills.find(name); known != me.memory.tills.end()) {
    till_row = known->second;
  } else {
    till_row.added = Impl::now();
  }
  till_row.name = name;
  till_row.state = store::TillState::awaited;
  auto done = me.commit({Impl::entry(Kind::pending_approved, change, mapped, name,
                                     {{Field::key, row.key_fingerprint},
                                      {Field::words, me.parts.enrolment->words_of(row)}})},
                        [&](store::Store& store) -> Status {
                          if (auto status = store.put_till(till_row); !status) return status;
                          return store.put_pending(row);
                        });
  if (!done) return done;
  if (!mapped.empty()) {
    NewMapping mapping;
    mapping.stick = mapped;
    mapping.till = name;
    if (auto outcome = map(change, mapping); !outcome) return outcome.problem();
  }
  me.parts.enrolment->approved(row);
  server::log::info(change.actor.who() + " approves till " + name + because(change.reason));
  me.tell(Level::info, "pending_approved", "till " + name + " is approved", mapped, name,
          change.actor.who());
  return done;
}

Outcome<Done> Administration::ignore(const Change& change, const std::string& pending) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "ignore a till")) return *problem;
  const auto found =
      std::find_if(me.memory.pending.begin(), me.memory.pending.end(),
                   [&](const store::Pending& row) { return row.key_fingerprint == pending; });
  if (found == me.memory.pending.end() || found->state == store::PendingState::ignored) {
    return Done{false};
  }
  store::Pending row = *found;
  if (row.state == store::PendingState::approved) {
    return Problem{409, "approved", "this till was approved as '" + row.till + "' already",
                   "revoke that one instead"};
  }
  row.state = store::PendingState::ignored;
  auto done =
      me.commit({Impl::entry(Kind::pending_ignored, change, {}, {},
                             {{Field::key, row.key_fingerprint}, {Field::address, row.address}})},
                [&](store::Store& store) { return store.put_pending(row); });
  if (!done) return done;
  if (me.parts.enrolment != nullptr) me.parts.enrolment->ignored(row);
  server::log::info(change.actor.who() + " ignores the till " + printable(row.name) + " at " +
                    row.address + because(change.reason));
  return done;
}

Status Administration::enrolled(const store::Certificate& certificate, const std::string& stick,
                                const audit::Entry& entry) {
  Impl& me = *impl_;
  store::Till row;
  if (const auto known = me.memory.tills.find(certificate.till); known != me.memory.tills.end()) {
    row = known->second;
  } else {
    row.added = Impl::now();
  }
  row.name = certificate.till;
  row.state = store::TillState::enrolled;
  auto done = me.commit({entry}, [&](store::Store& store) -> Status {
    if (auto status = store.put_till(row); !status) return status;
    return store.put_certificate(certificate);
  });
  if (!done) return fail(ErrorCode::io, done.problem().message);
  if (stick.empty()) return {};
  // The admin said so when the token was made.
  NewMapping mapping;
  mapping.stick = stick;
  mapping.till = certificate.till;
  const Change change{{"token", Role::admin, {}}, "mapped when the till was added"};
  if (auto outcome = map(change, mapping); !outcome) {
    return fail(ErrorCode::refused, outcome.problem().message);
  }
  return {};
}

// --- users

Outcome<Done> Administration::add_user(const Change& change, const std::string& name, Role role,
                                       const std::string& password) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "add a user")) return *problem;
  if (auto problem = name_problem(name)) return *problem;
  if (me.parts.accounts == nullptr) return not_found("this server has no logins", "use the socket");
  const auto known = me.store.user(name);
  if (!known) return problem_of(known.error());
  if (known->has_value()) return change_user(change, name, {role, password});
  const auto users = me.store.users();
  if (users && users->size() >= limits::users) {
    return Problem{422, "too_many", "there are too many users", "remove some"};
  }
  auto hash = me.parts.accounts->hashed(password);
  if (!hash) {
    return Problem{422, "weak_password", hash.error().message, "choose a longer one"};
  }
  store::User row;
  row.name = name;
  row.role = role;
  row.password = *hash;
  row.created = Impl::now();
  const char* role_text = role == Role::admin ? "admin" : "viewer";
  auto done = me.commit({Impl::entry(Kind::user_added, change, {}, {},
                                     {{Field::user, name}, {Field::role, std::string(role_text)}})},
                        [&](store::Store& store) -> Status {
                          if (auto status = Impl::use_up(store, change); !status) return status;
                          return store.put_user(row);
                        });
  if (done) server::log::info(change.actor.who() + " adds user " + name + " as " + role_text);
  return done;
}

Outcome<Done> Administration::change_user(const Change& change, const std::string& name,
                                          const UserPatch& patch) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "change a user")) return *problem;
  const auto known = me.store.user(name);
  if (!known) return problem_of(known.error());
  if (!known->has_value()) return not_found("there is no user '" + name + "'", "add it first");
  store::User row = **known;
  if (patch.role && row.role == Role::admin && *patch.role != Role::admin && me.last_admin(name)) {
    return Problem{409, "last_admin", "'" + name + "' is the only administrator",
                   "make somebody else one first"};
  }
  std::string changed;
  if (patch.role && *patch.role != row.role) {
    row.role = *patch.role;
    changed = "role";
  }
  if (patch.password) {
    if (me.parts.accounts == nullptr)
      return not_found("this server has no logins", "use the socket");
    auto hash = me.parts.accounts->hashed(*patch.password);
    if (!hash) return Problem{422, "weak_password", hash.error().message, "choose a longer one"};
    row.password = *hash;
    changed += changed.empty() ? "password" : ", password";
  }
  if (changed.empty()) return Done{false};
  auto done = me.commit(
      {Impl::entry(Kind::user_changed, change, {}, {},
                   {{Field::user, name},
                    {Field::changed, changed},
                    {Field::role, std::string(row.role == Role::admin ? "admin" : "viewer")}})},
      [&](store::Store& store) -> Status {
        if (auto status = Impl::use_up(store, change); !status) return status;
        if (auto status = store.remove_web_sessions_of(name); !status) return status;
        return store.put_user(row);
      });
  if (!done) return done;
  if (me.parts.accounts != nullptr) me.parts.accounts->logins_end(name);
  server::log::info(change.actor.who() + " changes user " + name + ": " + changed);
  return done;
}

Outcome<Done> Administration::remove_user(const Change& change, const std::string& name) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "remove a user")) return *problem;
  const auto known = me.store.user(name);
  if (!known) return problem_of(known.error());
  if (!known->has_value()) return Done{false};
  if ((*known)->role == Role::admin && me.last_admin(name)) {
    return Problem{409, "last_admin", "'" + name + "' is the only administrator",
                   "make somebody else one first"};
  }
  auto done = me.commit({Impl::entry(Kind::user_removed, change, {}, {}, {{Field::user, name}})},
                        [&](store::Store& store) { return store.remove_user(name); });
  if (!done) return done;
  if (me.parts.accounts != nullptr) me.parts.accounts->logins_end(name);
  server::log::info(change.actor.who() + " removes user " + name);
  return done;
}

bool Administration::Impl::last_admin(const std::string& name) const {
  const auto users = store.users();
  if (!users) return true;
  return std::none_of(users->begin(), users->end(), [&](const store::User& user) {
    return user.name != name && user.role == Role::admin;
  });
}

}  // namespace tillbridge::admin
