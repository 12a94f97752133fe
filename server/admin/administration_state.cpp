// What is seen: the state as values and as JSON, its changes as events, and what is wrong in it.
#include <algorithm>
#include <chrono>
#include <utility>

#include "channel/usb/class_policy.hpp"
#include "server/admin/administration_impl.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::admin {

namespace {

constexpr Duration tick_every = std::chrono::seconds(2);
constexpr std::chrono::hours certificate_ends_soon{24 * 14};
/// Sticks need a moment to be found after the start; until then none is missing.
constexpr Duration sticks_found_within = std::chrono::seconds(5);
/// A log that was put aside is in order again at once, and still somebody has to see it.
constexpr std::chrono::hours put_aside_is_told{24 * 7};
constexpr std::string_view unmapped_remedy = "map it to a till";

bool contains_folded(const std::string& text, std::string_view part) {
  const auto lower = [](char character) {
    return character >= 'A' && character <= 'Z' ? static_cast<char>(character + 32) : character;
  };
  return std::search(text.begin(), text.end(), part.begin(), part.end(),
                     [&](char a, char b) { return lower(a) == b; }) != text.end();
}

// By what the stick calls itself.
std::string family_of(const std::string& manufacturer, const std::string& product) {
  const std::string both = manufacturer + " " + product;
  for (const std::string_view family : {"swissbit", "cryptovision", "diebold"}) {
    if (contains_folded(both, family)) return std::string(family);
  }
  return {};
}

StickView view_of(const store::Stick& row) {
  StickView view;
  view.id = row.id;
  view.vendor_id = row.vendor_id;
  view.product_id = row.product_id;
  view.serial = row.serial;
  view.by_port = row.by_port;
  view.label = row.label;
  view.product = row.product;
  view.manufacturer = row.manufacturer;
  view.port = row.port;
  view.first_seen = row.first_seen;
  view.last_seen = row.last_seen;
  view.fingerprint = row.fingerprint_seen;
  view.fingerprint_accepted = row.fingerprint_accepted;
  return view;
}

void look_at(StickView& view, const server::PresentStick& stick) {
  const usb::DeviceDescription& description = stick.arrival.description;
  view.vendor_id = stick.identity.vendor_id;
  view.product_id = stick.identity.product_id;
  view.serial = stick.identity.serial;
  view.by_port = stick.identity.by_port();
  view.product = server::log::printable(description.product);
  view.manufacturer = server::log::printable(description.manufacturer);
  view.port = stick.arrival.busid;
  view.present = true;
  view.fingerprint = stick.fingerprint;
  if (stick.refusal) {
    view.problem = stick.refusal->problem;
    view.remedy = stick.refusal->remedy;
  }
  view.state = stick.lease != nullptr
                   ? (stick.lease->record().away_since ? StickState::waiting : StickState::in_use)
               : stick.refusal          ? StickState::refused
               : stick.blocked_until    ? StickState::blocked
               : stick.mappings.empty() ? StickState::unmapped
               : stick.offer            ? StickState::offered
               : stick.kept             ? StickState::waiting
                                        : StickState::free;
  if (view.state == StickState::unmapped) view.remedy = unmapped_remedy;
}

// Hubs, keyboards and the like are no sticks that anybody misplaced.
bool worth_showing(const server::PresentStick& stick) {
  if (!stick.refusal || stick.refusal->kind != server::Refusal::Kind::not_allowed) return true;
  const auto refusal = usb::class_refusal(stick.arrival.description, false);
  return !refusal || refusal->naming_helps;
}

// What of a document moves all the time, and is told by "load" events instead.
Json steady(std::string_view list, Json document) {
  if (list == "leases") {
    for (const char* key : {"transfers", "errors", "bytes_in", "bytes_out", "p50_us", "p99_us",
                            "p50_all_us", "p99_all_us", "rtt_us"}) {
      document.erase(key);
    }
  } else if (list == "tills") {
    document.erase("rtt_us");
  }
  return document;
}

constexpr const char* id_key(std::string_view list) {
  return list == "tills" ? "name" : "id";
}

}  // namespace

State Administration::Impl::state() const {
  State state;
  state.version = version;
  state.server = {parts.server_name,
                  TILLBRIDGE_VERSION,
                  started,
                  {},
                  {},
                  memory.draining,
                  static_cast<std::uint32_t>(usb.config().link.resume_grace.count())};
  if (parts.enrolment != nullptr) {
    const auto identity = parts.enrolment->identity();
    state.server.fingerprint = identity.fingerprint;
    state.server.words = identity.words;
  }
  const std::vector<server::TillStatus> sessions = usb.tills();

  std::map<std::string, StickView> sticks;
  for (const auto& [id, row] : memory.sticks) sticks.emplace(id, view_of(row));
  for (const server::PresentStick* stick : usb.registry().sticks()) {
    if (!worth_showing(*stick)) continue;
    StickView& view = sticks[stick->identity.text()];
    if (view.present) {  // a second one of the same identity: what is wrong with it is worth seeing
      if (stick->refusal && view.problem.empty()) {
        view.problem = "a second stick with this identity is at port " + stick->arrival.busid;
        view.remedy = stick->refusal->remedy;
      }
      continue;
    }
    view.id = stick->identity.text();
    look_at(view, *stick);
    if (view.state == StickState::free && memory.draining) {
      view.problem = "maintenance (drain) is on: no till gets a stick now";
      view.remedy = "end it when the work is done";
    }
  }
  for (auto& [id, view] : sticks) {
    const auto row = memory.sticks.find(id);
    if (row != memory.sticks.end() && row->second.blocked_until &&
        *row->second.blocked_until > now()) {
      view.blocked_until = row->second.blocked_until;
    }
    view.family = family_of(view.manufacturer, view.product);
  }

  std::map<std::uint64_t, server::LeaseRecord> records;
  std::set<std::string> active;
  for (const auto& [number, running] : leases) {
    server::Lease* lease = usb.registry().find_lease(number);
    if (lease == nullptr) continue;
    const server::LeaseRecord& record = lease->record();
    const server::LatencyHistogram minute = lease->last_minute();
    LeaseView view;
    view.id = running.id;
    view.stick = record.stick;
    view.till = record.till;
    view.address = record.address;
    view.session = record.facts;
    view.since = record.since;
    view.away_since = record.away_since;
    view.times_away = record.times_away;
    view.transfers = record.transfers;
    view.errors = record.errors;
    view.bytes_in = record.bytes_in;
    view.bytes_out = record.bytes_out;
    view.latency = record.latency;
    view.p50_us = minute.percentile(50);
    view.p99_us = minute.percentile(99);
    for (const server::TillStatus& session : sessions) {
      if (session.session == record.session) view.round_trip = session.round_trip;
    }
    active.insert(record.mapping);
    if (const auto stick = sticks.find(view.stick); stick != sticks.end()) {
      stick->second.lease = view.id;
    }
    state.leases.push_back(std::move(view));
  }

  // Mappings in the order in which they count: the file's first.
  std::map<std::string, std::vector<std::string>> of_till;
  std::map<std::string, std::uint32_t> positions;
  for (const server::Mapping& rule : usb.registry().rules().mappings) {
    MappingView view;
    view.id = rule.id;
    view.from_file = rule.source == server::Mapping::Source::file;
    view.stick = rule.stick.text();
    for (auto& [id, stick] : sticks) {
      const server::StickIdentity identity{stick.vendor_id, stick.product_id, stick.serial,
                                           stick.by_port ? stick.port : ""};
      if (!rule.stick.matches(identity)) continue;
      view.stick = id;
      stick.mappings.push_back(rule.id);
    }
    view.till = rule.till;
    view.user = rule.user;
    view.terminal_server = rule.terminal_server;
    view.position = ++positions[view.stick];
    view.reset = std::string(server::text(rule.reset));
    view.pipeline = rule.pipeline;
    if (const store::Mapping* row = view.from_file ? nullptr : memory.mapping(rule.id)) {
      view.created = row->created;
      view.created_by = row->created_by;
      view.reason = row->reason;
    }
    view.active = active.contains(rule.id);
    of_till[view.till].push_back(view.id);
    state.mappings.push_back(std::move(view));
  }
  for (auto& [id, stick] : sticks) {
    if (stick.state == StickState::absent && stick.blocked_until) stick.state = StickState::blocked;
    state.sticks.push_back(std::move(stick));
  }

  for (const auto& [name, row] : memory.tills) {
    TillView view;
    view.name = name;
    view.label = row.label;
    view.note = row.note;
    view.address = row.last_address;
    view.last_seen = row.last_seen;
    view.state = row.state == store::TillState::revoked ? TillState::revoked
                 : lost_tills.contains(name)            ? TillState::lost
                 : row.last_seen                        ? TillState::away
                                                        : TillState::never_seen;
    std::string fingerprint;
    for (const server::TillStatus& session : sessions) {
      if (session.till.name != name) continue;
      view.state = session.waiting ? TillState::resuming : TillState::connected;
      view.address = session.address;
      view.session = session.facts;
      view.round_trip = session.round_trip;
      fingerprint = session.till.fingerprint;
    }
    // Every change of a state is published, and so comes by here.
    StateClock& clock = clocks[name];
    clock.enter(view.state, loop.now(), now());
    view.times = clock.times(loop.now());
    for (const store::Certificate& certificate : memory.certificates) {
      if (certificate.till != name) continue;
      if (!fingerprint.empty() && certificate.fingerprint != fingerprint) continue;
      view.certificate = CertificateView{certificate.fingerprint,
                                         certificate.not_after == Time::max()
                                             ? std::nullopt
                                             : std::optional<Time>(certificate.not_after),
                                         certificate.revoked.has_value()};
    }
    if (const auto found = of_till.find(name); found != of_till.end())
      view.mappings = found->second;
    state.tills.push_back(std::move(view));
  }

  std::erase_if(clocks, [&](const auto& item) { return !memory.tills.contains(item.first); });

  for (const store::Pending& row : memory.pending) {
    if (row.state != store::PendingState::waiting) continue;
    state.pending.push_back({row.key_fingerprint, server::log::printable(row.name), row.address,
                             parts.enrolment == nullptr ? "" : parts.enrolment->words_of(row),
                             row.first_seen, row.last_seen});
  }
  for (const auto& [id, alarm] : alarms) state.alarms.push_back(alarm);
  return state;
}

// --- alarms

std::vector<Alarm> Administration::Impl::alarms_now(Time time) const {
  std::vector<Alarm> all;
  const auto raise = [&](const std::string& kind, const std::string& stick, const std::string& till,
                         const std::string& text, const std::string& remedy) {
    all.push_back(
        {kind + ":" + (stick.empty() ? till : stick), kind, time, stick, till, text, remedy});
  };
  const auto name_of = [&](const std::string& id) {
    const auto row = memory.sticks.find(id);
    return row != memory.sticks.end() && !row->second.label.empty()
               ? row->second.label + " (" + id + ")"
               : id;
  };
  const std::vector<const server::PresentStick*> present = usb.registry().sticks();
  for (const server::PresentStick* stick : present) {
    if (!stick->refusal) continue;
    const std::string id = stick->identity.text();
    const std::string text = "stick " + name_of(id) + " at port " + stick->arrival.busid +
                             " is refused: " + stick->refusal->problem;
    switch (stick->refusal->kind) {
      case server::Refusal::Kind::descriptors_changed:
        raise("descriptors_changed", id, {}, text, stick->refusal->remedy);
        break;
      case server::Refusal::Kind::wrong_stick:
        raise("wrong_stick", id, {}, text, stick->refusal->remedy);
        break;
      case server::Refusal::Kind::twin:
      case server::Refusal::Kind::ambiguous:
        raise("stick_twin", id, {}, text, stick->refusal->remedy);
        break;
      case server::Refusal::Kind::not_allowed:
        if (!stick->mappings.empty()) raise("wrong_stick", id, {}, text, stick->refusal->remedy);
        break;
    }
  }
  for (const auto& [id, row] : memory.sticks) {
    if (usb.registry().find(id) != nullptr || !row.last_seen) continue;
    if (loop.now() < began + sticks_found_within && !seen_here.contains(id)) continue;
    const server::StickIdentity identity{row.vendor_id, row.product_id, row.serial,
                                         row.by_port ? row.port : ""};
    const auto& mappings = usb.registry().rules().mappings;
    const auto mapping = std::find_if(mappings.begin(), mappings.end(), [&](const auto& candidate) {
      return candidate.stick.matches(identity);
    });
    if (mapping == mappings.end()) continue;
    raise("stick_gone", id, mapping->till,
          "stick " + name_of(id) + " of till " + server::log::printable(mapping->till) +
              " is not plugged in",
          "plug it in again (it was last at port " + row.port +
              "), or map another stick to the till");
  }
  for (const auto& [name, why] : lost_tills) {
    raise("till_lost", {}, name,
          "till " + server::log::printable(name) + " was lost and did not come back: " + why,
          "look whether it is switched on and has a network; it comes back by itself");
  }
  std::map<std::string, Time> ends;  // of the best certificate of each till
  for (const store::Certificate& certificate : memory.certificates) {
    if (certificate.revoked) continue;
    Time& end = ends.try_emplace(certificate.till, Time::min()).first->second;
    end = std::max(end, certificate.not_after);
  }
  for (const auto& [name, end] : ends) {
    const auto till = memory.tills.find(name);
    if (till == memory.tills.end() || till->second.state != store::TillState::enrolled) continue;
    if (end > time + certificate_ends_soon) continue;
    raise("certificate_ending", {}, name,
          "the certificate of till " + server::log::printable(name) +
              (end > time ? " ends on " : " ended on ") + rfc3339(end),
          end > time ? "connect the till: it renews its certificate by itself"
                     : "pair the till anew (tillbridge till add " + name + ")");
  }
  if (store_fault) {
    raise("store_unwritable", {}, {}, "the server's database cannot be written: " + *store_fault,
          "make room on the disk of the state folder or repair it");
  }
  const auto& unsigned_head = parts.audit.head_problem();
  if (!audit_fault && unsigned_head) {
    raise("audit_unwritable", {}, {},
          "the audit log's end cannot be signed: " + unsigned_head->message,
          "make room on the disk of the state folder or repair it");
  }
  if (audit_fault) {
    raise("audit_unwritable", {}, {}, "the audit log cannot be written: " + *audit_fault,
          "make room on the disk of the state folder or repair it; until then nothing can be "
          "changed");
  }
  if (audit_damage) {
    raise("audit_damaged", {}, {}, "the audit log is not in order: " + *audit_damage,
          "keep a copy of the state folder as it is, and find out who could write there; "
          "tillbridge audit verify tells all that is wrong");
  }
  // An alarm of its own: damage of today must not hide behind that of last week.
  if (audit_put_aside && time < *audit_put_aside + put_aside_is_told) {
    all.push_back({"audit_damaged:put_aside", "audit_damaged", time, "", "",
                   "the audit log was found changed at the start of " + rfc3339(*audit_put_aside) +
                       ", and put aside",
                   "find out who could write into the state folder; tillbridge audit verify tells "
                   "what is wrong in what was put aside; this alarm ends after a week"});
  }
  return all;
}

void Administration::Impl::renew_alarms() {
  std::map<std::string, Alarm> fresh;
  for (Alarm& alarm : alarms_now(now())) {
    if (const auto old = alarms.find(alarm.id); old != alarms.end())
      alarm.since = old->second.since;
    fresh.emplace(alarm.id, std::move(alarm));
  }
  const auto say = [&](const Alarm& alarm, bool raised) {
    note({raised ? Kind::alarm_raised : Kind::alarm_cleared,
          "system",
          alarm.stick,
          alarm.till,
          alarm.text,
          {{Field::alarm, alarm.kind}}});
    (raised ? server::log::warning : server::log::info)(
        (raised ? "alarm: " : "alarm is over: ") + alarm.text, {alarm.stick, alarm.till});
    tell(raised ? Level::warning : Level::info, raised ? "alarm_raised" : "alarm_cleared",
         (raised ? "" : "over: ") + alarm.text, alarm.stick, alarm.till, "system");
    if (!alarm_heard) return;
    loop.post([this, living = std::weak_ptr<bool>(alive), alarm, raised] {
      if (!living.expired() && alarm_heard) alarm_heard(alarm, raised);
    });
  };
  const auto before = std::exchange(alarms, std::move(fresh));
  for (const auto& [id, alarm] : before) {
    if (!alarms.contains(id)) say(alarm, false);
  }
  for (const auto& [id, alarm] : alarms) {
    if (!before.contains(id)) say(alarm, true);
  }
}

// --- events

void Administration::Impl::publish_soon() {
  if (publish_posted || stopped) return;
  publish_posted = true;
  loop.post([this, living = std::weak_ptr<bool>(alive)] {
    if (living.expired()) return;
    publish_posted = false;
    publish();
  });
}

void Administration::Impl::publish() {
  renew_alarms();
  const State current = state();
  const Json whole = document(current, now());
  Json changed = Json::object();
  Json removed = Json::object();
  for (const char* list : {"sticks", "tills", "mappings", "leases", "pending", "alarms"}) {
    auto& known = published[list];
    std::map<std::string, Json> fresh;
    for (const Json& item : whole.at(list)) {
      const auto id = item.at(id_key(list)).get<std::string>();
      Json content = steady(list, item);
      const auto old = known.find(id);
      if (old == known.end() || old->second != content) changed[list].push_back(item);
      fresh.emplace(id, std::move(content));
    }
    for (const auto& [id, content] : known) {
      if (!fresh.contains(id)) removed[list].push_back(id);
    }
    known = std::move(fresh);
  }
  Json server = whole.at("server");
  server.erase("time");
  if (server != published_server) {
    changed["server"] = server;
    published_server = std::move(server);
  }
  if (changed.empty() && removed.empty()) return;
  version += 1;
  events.publish("state", dump({{"version", version}, {"changed", changed}, {"removed", removed}}));
}

void Administration::Impl::publish_load() {
  if (!events.heard_by_anybody()) return;
  Json all = Json::array();
  for (const LeaseView& lease : state().leases) {
    const Json whole = document(lease);
    Json item = Json::object();
    for (const char* key :
         {"id", "transfers", "errors", "bytes_in", "bytes_out", "p50_us", "p99_us", "rtt_us"}) {
      item[key] = whole.at(key);
    }
    all.push_back(std::move(item));
  }
  events.publish("load", dump({{"leases", std::move(all)}}));
}

// What only time brings: figures, certificates that end, a disk that has room again.
void Administration::Impl::tick() {
  tick_timer.arm(loop.now() + tick_every, [this] { tick(); });
  if (audit_fault || !unwritten.empty()) (void)flush(audit::AuditLog::Sign::when_due);
  if (store_fault) stored(store.put_setting("probe", rfc3339(now())));
  publish();
  publish_load();
}

State Administration::state() const {
  return impl_->state();
}

std::string Administration::state_document() const {
  return dump(document(impl_->state(), Impl::now()));
}

std::optional<std::string> Administration::stick_document(const std::string& id) const {
  const State state = impl_->state();
  for (const StickView& stick : state.sticks) {
    if (stick.id == id) return dump(document(stick));
  }
  return std::nullopt;
}

std::optional<std::string> Administration::till_document(const std::string& name) const {
  const State state = impl_->state();
  for (const TillView& till : state.tills) {
    if (till.name == name) return dump(document(till, Impl::now()));
  }
  return std::nullopt;
}

std::optional<std::string> Administration::mapping_document(const std::string& id) const {
  const State state = impl_->state();
  for (const MappingView& mapping : state.mappings) {
    if (mapping.id == id) return dump(document(mapping));
  }
  return std::nullopt;
}

}  // namespace tillbridge::admin
