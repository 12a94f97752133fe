#include <algorithm>
#include <chrono>
#include <utility>

#include "server/admin/administration_impl.hpp"
#include "server/audit/reading.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::admin {

namespace {

/// Beyond this many unwritten entries the oldest are given up: the disk has been full for long.
constexpr std::size_t most_unwritten = 10000;
/// The entries of the last change, in the same transaction as the change itself: if the program
/// dies before they are in the audit, the next start puts them there.
constexpr const char* outbox_key = "audit.outbox";
constexpr const char* draining_key = "draining";

Json to_json(const audit::Entry& entry) {
  Json details = Json::array();
  for (const auto& [field, value] : entry.details) {
    std::visit(
        [&, name = audit::text(field)](const auto& content) {
          details.push_back(Json::array({name, content}));
        },
        value);
  }
  return {{"kind", audit::text(entry.kind)},
          {"who", entry.who},
          {"stick", entry.stick},
          {"till", entry.till},
          {"reason", entry.reason},
          {"details", details}};
}

std::optional<audit::Entry> entry_of(const Json& json) {
  audit::Entry entry;
  const auto kind = audit::kind_of(json.value("kind", ""));
  if (!kind) return std::nullopt;
  entry.kind = *kind;
  entry.who = json.value("who", "");
  entry.stick = json.value("stick", "");
  entry.till = json.value("till", "");
  entry.reason = json.value("reason", "");
  for (const Json& detail : json.value("details", Json::array())) {
    const auto field = audit::field_of(detail.at(0).get<std::string>());
    const Json& value = detail.at(1);
    if (!field) continue;
    if (value.is_boolean()) {
      entry.details.emplace_back(*field, value.get<bool>());
    } else if (value.is_number_integer()) {
      entry.details.emplace_back(*field, value.get<std::int64_t>());
    } else if (value.is_string()) {
      entry.details.emplace_back(*field, value.get<std::string>());
    }
  }
  return entry;
}

bool same(const audit::Entry& one, const audit::Entry& other) {
  return one.kind == other.kind && one.who == other.who && one.stick == other.stick &&
         one.till == other.till;
}

}  // namespace

Problem problem_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::limit:
      return {422, "too_long", error.message, "shorten it"};
    case ErrorCode::refused:
      return {409, "conflict", error.message, "look at the state again, then repeat the request"};
    case ErrorCode::config:
    case ErrorCode::malformed:
    case ErrorCode::protocol:
      return {422, "invalid", error.message, "correct it and repeat the request"};
    case ErrorCode::io:
    case ErrorCode::unavailable:
      break;
  }
  return {503, "not_written", error.message,
          "make room on the disk of the state folder or repair it; nothing was changed"};
}

Problem not_found(const std::string& what, const std::string& remedy) {
  return {404, "not_found", what, remedy};
}

std::string because(const std::string& reason) {
  return reason.empty() ? "" : " (" + server::log::printable(reason) + ")";
}

const store::Mapping* Memory::mapping(const std::string& id) const {
  const auto found = std::find_if(mappings.begin(), mappings.end(), [&](const auto& mapping) {
    return std::to_string(mapping.id) == id;
  });
  return found == mappings.end() ? nullptr : std::to_address(found);
}

std::vector<store::Mapping> Memory::mappings_of(const std::string& stick) const {
  std::vector<store::Mapping> all;
  for (const store::Mapping& mapping : mappings) {
    if (mapping.stick == stick) all.push_back(mapping);
  }
  return all;
}

Administration::Impl::Impl(Parts given)
    : parts(std::move(given)),
      loop(parts.loop),
      store(parts.store),
      usb(parts.usb),
      began(loop.now()),
      tick_timer(loop) {}

// --- start and end

Status Administration::start() {
  Impl& me = *impl_;
  if (auto status = me.load(); !status) return status;
  me.recover_outbox();
  me.note({Kind::server_started, "system", {}, {}, {}, {{Field::version, TILLBRIDGE_VERSION}}});
  if (auto status = me.flush(audit::AuditLog::Sign::now); !status) return status;
  if (me.memory.draining) {
    server::log::warning(
        "maintenance (drain) is still on: no till gets a stick until an administrator ends it");
  }
  me.usb.observe(me);
  me.keep_open_leases();
  me.usb.on_rules([&me](server::Rules rules) {
    const bool again = !me.file_rules.file.empty();
    me.file_rules = std::move(rules);
    me.apply_rules();
    if (again) {
      me.note(
          {Kind::configuration_read, "system", {}, {}, {}, {{Field::file, "tillbridged.toml"}}});
    }
  });
  me.tick();
  return {};
}

void Administration::stop() {
  Impl& me = *impl_;
  if (std::exchange(me.stopped, true)) return;
  me.tick_timer.cancel();
  me.note({Kind::server_stopped, "system", {}, {}, {}, {}});
  if (auto status = me.flush(audit::AuditLog::Sign::now); !status) {
    server::log::error("the audit log's end cannot be written: " + status.error().message);
  }
}

Status Administration::Impl::load() {
  Memory fresh;
  auto sticks = store.sticks();
  if (!sticks) return sticks.error();
  for (store::Stick& stick : *sticks) {
    std::string id = stick.id;
    fresh.sticks.emplace(std::move(id), std::move(stick));
  }
  auto tills = store.tills();
  if (!tills) return tills.error();
  for (store::Till& till : *tills) {
    std::string name = till.name;
    fresh.tills.emplace(std::move(name), std::move(till));
  }
  auto mappings = store.mappings();
  if (!mappings) return mappings.error();
  fresh.mappings = std::move(*mappings);
  auto certificates = store.certificates();
  if (!certificates) return certificates.error();
  fresh.certificates = std::move(*certificates);
  auto waiting = store.pending();
  if (!waiting) return waiting.error();
  fresh.pending = std::move(*waiting);
  auto draining = store.setting(draining_key);
  if (!draining) return draining.error();
  fresh.draining = draining->has_value();
  memory = std::move(fresh);
  return {};
}

void Administration::Impl::apply_rules() {
  server::Rules rules = file_rules;
  for (const store::Mapping& row : memory.mappings) {
    auto pattern = server::StickPattern::parse(row.stick);
    if (!pattern) continue;  // map() does not let such a one in
    server::Mapping mapping;
    mapping.id = std::to_string(row.id);
    mapping.source = server::Mapping::Source::admin;
    mapping.stick = std::move(*pattern);
    mapping.till = row.till;
    mapping.user = row.user;
    mapping.terminal_server = row.terminal_server;
    mapping.reset = row.reset == "pass"     ? server::ResetPolicy::pass
                    : row.reset == "refuse" ? server::ResetPolicy::refuse
                                            : server::ResetPolicy::soften;
    mapping.pipeline = row.pipeline;
    rules.mappings.push_back(std::move(mapping));
  }
  for (const auto& [id, stick] : memory.sticks) {
    if (!stick.blocked_until && stick.fingerprint_accepted.empty()) continue;
    rules.sticks[id] = {stick.blocked_until, stick.fingerprint_accepted};
  }
  for (const store::Certificate& certificate : memory.certificates) {
    if (certificate.revoked) rules.revoked.insert(certificate.fingerprint);
  }
  rules.draining = memory.draining;
  usb.apply(std::move(rules));
  publish_soon();
}

// --- the audit

void Administration::Impl::note(audit::Entry fresh) {
  if (unwritten.size() >= most_unwritten) unwritten.pop_front();
  unwritten.emplace_back(std::move(fresh), now());
  if (flush_posted || stopped) return;
  flush_posted = true;
  loop.post([this, living = std::weak_ptr<bool>(alive)] {
    if (living.expired()) return;
    flush_posted = false;
    (void)flush(audit::AuditLog::Sign::when_due);
  });
}

Status Administration::Impl::flush(audit::AuditLog::Sign sign) {
  for (const auto& [fresh, time] : unwritten) parts.audit.add(fresh, time);
  auto status = parts.audit.flush(now(), sign);
  const bool was_broken = audit_fault.has_value();
  if (status) {
    unwritten.clear();
    audit_fault.reset();
  } else {
    if (!was_broken)
      server::log::error("the audit log cannot be written: " + status.error().message);
    audit_fault = status.error().message;
  }
  if (was_broken != audit_fault.has_value()) publish_soon();
  return status;
}

// A check that could not be made says nothing about the log; what was known before stays so.
void Administration::Impl::audit_checked(const Result<audit::Report>& report) {
  if (!report) {
    server::log::error("the audit log cannot be checked: " + report.error().message);
    return;
  }
  audit_put_aside = report->damaged_at;
  audit_damage.reset();
  if (!report->intact()) {
    const audit::Finding& first = report->findings.front();
    const std::size_t more = report->findings.size() - 1 + report->findings_more;
    audit_damage =
        (first.file.empty()
             ? ""
             : first.file + (first.line == 0 ? "" : ":" + std::to_string(first.line)) + ": ") +
        first.what + (more == 0 ? "" : " (and " + std::to_string(more) + " more)");
  }
  publish_soon();
}

void Administration::Impl::stored(const Status& status) {
  const bool was_broken = store_fault.has_value();
  if (status) {
    store_fault.reset();
  } else {
    if (!was_broken) server::log::error("the store cannot be written: " + status.error().message);
    store_fault = status.error().message;
  }
  if (was_broken != store_fault.has_value()) publish_soon();
}

void Administration::Impl::recover_outbox() {
  const auto kept = store.setting(outbox_key);
  if (!kept || !kept->has_value()) return;
  const Json outbox = Json::parse(**kept, nullptr, false);
  if (!outbox.is_object()) return;
  audit::Query query;
  query.limit = 200;
  const auto lines = audit::read(parts.audit.folder(), query);
  if (!lines) return;
  const auto after = outbox.value("after", std::uint64_t{0});
  std::vector<audit::Entry> missing;
  for (const Json& json : outbox.value("entries", Json::array())) {
    const auto lost = entry_of(json);
    if (!lost) continue;
    const bool there = std::any_of(lines->begin(), lines->end(), [&](const audit::Line& line) {
      return line.n > after && same(line.entry, *lost);
    });
    if (!there) missing.push_back(*lost);
  }
  for (audit::Entry& lost : missing) {
    server::log::warning("the last change before the program died is put into the audit log now: " +
                         std::string(audit::text(lost.kind)));
    note(std::move(lost));
  }
}

// --- changes

Outcome<Done> Administration::Impl::commit(std::vector<audit::Entry> entries, const Work& work) {
  // An audit that cannot be written is known before anything is changed.
  if (auto status = flush(audit::AuditLog::Sign::when_due); !status) {
    return Problem{503, "not_written", "the audit log cannot be written: " + status.error().message,
                   "make room on the disk of the state folder or repair it; nothing was changed"};
  }
  Json outbox = {{"after", parts.audit.head().n}, {"entries", Json::array()}};
  for (const audit::Entry& fresh : entries) outbox["entries"].push_back(to_json(fresh));
  auto transaction = store.begin();
  Status status = transaction ? Status() : Status(transaction.error());
  if (status) status = work(store);
  if (status) status = store.put_setting(outbox_key, dump(outbox));
  if (status) status = transaction->commit();
  if (!status) {
    if (status.error().code == ErrorCode::io) stored(status);
    return problem_of(status.error());
  }
  stored({});
  for (audit::Entry& fresh : entries) unwritten.emplace_back(std::move(fresh), now());
  // If this fails there is an alarm, and it is tried again; the change itself is done.
  (void)flush(audit::AuditLog::Sign::now);
  stored(load());
  counts.changes += 1;
  apply_rules();
  return Done{};
}

std::optional<Problem> Administration::Impl::refused(const Actor& actor, const std::string& action,
                                                     const std::string& stick,
                                                     const std::string& till) {
  if (actor.role == Role::admin) return std::nullopt;
  note({Kind::action_refused,
        actor.who(),
        stick,
        till,
        {},
        {{Field::action, action}, {Field::address, actor.address}}});
  tell(Level::warning, "action_refused", actor.who() + " may not " + action, stick, till,
       actor.who());
  return Problem{403, "not_allowed", "a viewer may look at everything and change nothing",
                 "ask an administrator to do it, or to give this user the role admin"};
}

audit::Entry Administration::Impl::entry(Kind kind, const Change& change, const std::string& stick,
                                         const std::string& till, Details details) {
  if (!change.actor.address.empty()) details.emplace_back(Field::address, change.actor.address);
  return {kind, change.actor.who(), stick, till, change.reason, std::move(details)};
}

void Administration::Impl::tell(Level level, const std::string& kind, const std::string& text,
                                const std::string& stick, const std::string& till,
                                const std::string& who) {
  const char* word = level == Level::error ? "error" : level == Level::warning ? "warning" : "info";
  events.publish("log", dump({{"time", rfc3339(now())},
                              {"level", word},
                              {"kind", kind},
                              {"text", text},
                              {"stick", stick},
                              {"till", till},
                              {"who", who}}));
}

Outcome<std::string> Administration::Impl::find_stick(const std::string& name) const {
  if (memory.sticks.contains(name)) return name;
  std::string found;
  const auto look = [&](const std::string& id, const std::string& serial) -> bool {
    if (serial.empty() || serial != name) return true;
    if (!found.empty() && found != id) return false;
    found = id;
    return true;
  };
  bool one = true;
  for (const auto& [id, stick] : memory.sticks) one = look(id, stick.serial) && one;
  for (const server::PresentStick* stick : usb.registry().sticks()) {
    const std::string id = stick->identity.text();
    if (id == name) return name;
    one = look(id, stick->identity.serial) && one;
  }
  if (!one) {
    return Problem{409, "ambiguous", "more than one stick has the serial '" + name + "'",
                   "write VID:PID:SERIAL, as the list of sticks shows it"};
  }
  if (!found.empty()) return found;
  const auto pattern = server::StickPattern::parse(name);
  if (pattern && pattern->identity()) {
    const std::string canonical = pattern->identity()->text();
    if (memory.sticks.contains(canonical) || usb.registry().find(canonical) != nullptr) {
      return canonical;
    }
  }
  return not_found("no stick '" + name + "' was ever plugged into this server",
                   "plug it in, or look at the list of sticks (tillbridge stick list)");
}

// --- the outside

Administration::Administration(Parts parts) : impl_(std::make_unique<Impl>(std::move(parts))) {}
Administration::~Administration() = default;

Outcome<Done> Administration::check(const Actor& actor, const std::string& action,
                                    const std::string& stick, const std::string& till) {
  if (auto problem = impl_->refused(actor, action, stick, till)) return *problem;
  return Done{false};
}

Outcome<std::string> Administration::find_stick(const std::string& name) const {
  return impl_->find_stick(name);
}

void Administration::record(audit::Entry entry) {
  impl_->note(std::move(entry));
}

std::function<void(const Result<audit::Report>&)> Administration::audit_check_heard() {
  return [&loop = impl_->loop, me = impl_.get(),
          living = std::weak_ptr<bool>(impl_->alive)](const Result<audit::Report>& report) {
    loop.post([me, living, report] {
      if (!living.expired()) me->audit_checked(report);
    });
  };
}

Status Administration::flush_audit() {
  return impl_->flush(audit::AuditLog::Sign::now);
}

void Administration::tell(Level level, const std::string& kind, const std::string& text,
                          const std::string& stick, const std::string& till,
                          const std::string& who) {
  impl_->tell(level, kind, text, stick, till, who);
}

void Administration::changed() {
  impl_->stored(impl_->load());
  impl_->publish_soon();
}

Outcome<Done> Administration::drain(const Change& change, bool on) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "drain")) return *problem;
  if (me.memory.draining == on) return Done{false};
  auto done = me.commit({Impl::entry(on ? Kind::drain_begun : Kind::drain_ended, change, {}, {})},
                        [&](store::Store& store) {
                          return on ? store.put_setting(draining_key, rfc3339(Impl::now()))
                                    : store.remove_setting(draining_key);
                        });
  if (!done) return done;
  server::log::info(change.actor.who() + (on ? " begins" : " ends") + " maintenance (drain)" +
                    because(change.reason));
  me.tell(Level::info, on ? "drain_begun" : "drain_ended",
          on ? "maintenance has begun: no new leases" : "maintenance is over", {}, {},
          change.actor.who());
  return done;
}

EventHub& Administration::events() {
  return impl_->events;
}
store::Store& Administration::store() {
  return impl_->store;
}
audit::AuditLog& Administration::audit() {
  return impl_->parts.audit;
}
server::Observer& Administration::observer() {
  return *impl_;
}

server::UsbServer& Administration::usb() {
  return impl_->usb;
}
void Administration::on_alarm(std::function<void(const Alarm&, bool)> heard) {
  impl_->alarm_heard = std::move(heard);
}
Administration::Counts Administration::counts() const {
  return impl_->counts;
}

}  // namespace tillbridge::admin
