// What the sticks and tills do by themselves, kept in the store and in the audit.
#include <utility>

#include "server/admin/administration_impl.hpp"
#include "server/admin/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::admin {

namespace {

using server::log::printable;

/// Refused connections that the audit tells one by one in a minute; the rest is counted.
constexpr unsigned refusals_per_minute = 30;

std::int64_t number(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}

std::string who(const std::string& till) {
  return "till " + printable(till);
}

Details session_details(const server::TillStatus& till) {
  return {{Field::address, till.address},
          {Field::certificate, till.till.fingerprint},
          {Field::user, till.facts.user},
          {Field::domain, till.facts.domain},
          {Field::terminal_server, till.facts.terminal_server},
          {Field::client_name, till.facts.client_name},
          {Field::software, till.facts.software}};
}

}  // namespace

// --- sticks

void Administration::Impl::put(const store::Stick& stick) {
  stored(store.put_stick(stick));
  memory.sticks[stick.id] = stick;
}

void Administration::Impl::put(const store::Till& till) {
  stored(store.put_till(till));
  memory.tills[till.name] = till;
}

void Administration::Impl::stick_seen(const server::PresentStick& stick) {
  if (stick.refusal && stick.refusal->kind == server::Refusal::Kind::not_allowed) return;
  const std::string id = stick.identity.text();
  // A second one of the same identity says nothing of the first.
  if (usb.registry().find(id) != &stick) return;
  if (!memory.sticks.contains(id) && memory.sticks.size() >= limits::sticks) return;
  seen_here.insert(id);
  store::Stick row = memory.sticks[id];
  const store::Stick before = row;
  const usb::DeviceDescription& description = stick.arrival.description;
  row.id = id;
  row.vendor_id = stick.identity.vendor_id;
  row.product_id = stick.identity.product_id;
  row.serial = stick.identity.serial;
  row.by_port = stick.identity.by_port();
  row.port = stick.arrival.busid;
  row.product = printable(description.product);
  row.manufacturer = printable(description.manufacturer);
  row.fingerprint_seen = stick.fingerprint;
  if (!row.first_seen) row.first_seen = now();
  if (!row.last_seen || !before.last_seen) row.last_seen = now();
  // Mapped before it was ever here, or by the file: as it comes first, so it is right.
  const bool first = row.fingerprint_accepted.empty() && !stick.mappings.empty() && !stick.refusal;
  if (first) row.fingerprint_accepted = stick.fingerprint;
  // Its block is over.
  if (row.blocked_until && *row.blocked_until <= now()) row.blocked_until.reset();
  if (row == before) return;
  put(row);
  if (!first) return;
  loop.post([this, living = std::weak_ptr<bool>(alive)] {
    if (!living.expired()) apply_rules();
  });
}

void Administration::Impl::stick_arrived(const server::PresentStick& stick) {
  if (stick.refusal && stick.refusal->kind == server::Refusal::Kind::not_allowed &&
      stick.mappings.empty()) {
    publish_soon();
    return;
  }
  const std::string id = stick.identity.text();
  stick_seen(stick);
  if (const auto row = memory.sticks.find(id); row != memory.sticks.end()) {
    row->second.last_seen = now();
    put(row->second);
  }
  note({stick.refusal ? Kind::stick_refused : Kind::stick_attached,
        "system",
        id,
        {},
        stick.refusal ? stick.refusal->problem : "",
        {{Field::port, stick.arrival.busid}, {Field::fingerprint, stick.fingerprint}}});
  tell(stick.refusal ? Level::warning : Level::info,
       stick.refusal ? "stick_refused" : "stick_attached",
       "stick " + printable(id) + " was plugged into port " + stick.arrival.busid +
           (stick.refusal ? " and is refused: " + stick.refusal->problem : ""),
       id, {}, "system");
  publish_soon();
}

void Administration::Impl::stick_left(const server::PresentStick& stick) {
  publish_soon();
  const std::string id = stick.identity.text();
  const auto row = memory.sticks.find(id);
  if (row == memory.sticks.end()) return;
  row->second.last_seen = now();
  put(row->second);
  note({Kind::stick_detached, "system", id, {}, {}, {{Field::port, stick.arrival.busid}}});
  tell(Level::info, "stick_detached",
       "stick " + printable(id) + " was unplugged from port " + stick.arrival.busid, id, {},
       "system");
}

void Administration::Impl::stick_judged(const server::PresentStick& stick) {
  stick_seen(stick);
  if (stick.refusal && stick.refusal->kind != server::Refusal::Kind::not_allowed) {
    note({Kind::stick_refused,
          "system",
          stick.identity.text(),
          {},
          stick.refusal->problem,
          {{Field::port, stick.arrival.busid}, {Field::fingerprint, stick.fingerprint}}});
  }
  publish_soon();
}

void Administration::Impl::stick_offered(const server::PresentStick& /*stick*/) {
  publish_soon();
}

// --- tills

void Administration::Impl::till_connected(const server::TillStatus& till) {
  publish_soon();
  const std::string& name = till.till.name;
  lost_tills.erase(name);
  if (memory.tills.contains(name) || memory.tills.size() < limits::tills) {
    const bool known = memory.tills.contains(name);
    store::Till row = memory.tills[name];
    row.name = name;
    if (!known) row.added = now();
    row.last_address = till.address;
    row.last_seen = now();
    row.state = store::TillState::enrolled;
    put(row);
  }
  bool issued_here = false;
  for (const store::Certificate& certificate : memory.certificates) {
    issued_here = issued_here || certificate.fingerprint == till.till.fingerprint;
  }
  if (!issued_here) {
    // Of the authority that the configuration names. Kept so that it can be revoked here; when it
    // ends is its authority's affair.
    store::Certificate certificate;
    certificate.serial = till.till.fingerprint;
    certificate.till = name;
    certificate.fingerprint = till.till.fingerprint;
    certificate.not_before = certificate.issued = now();
    certificate.not_after = Time::max();
    stored(store.put_certificate(certificate));
    memory.certificates.push_back(std::move(certificate));
  }
  note({Kind::till_connected, who(name), {}, name, {}, session_details(till)});
  tell(Level::info, "till_connected", "till " + printable(name) + " connected from " + till.address,
       {}, name, who(name));
}

void Administration::Impl::till_lost(const server::TillStatus& till, const std::string& cause) {
  publish_soon();
  const std::string& name = till.till.name;
  note({Kind::till_lost, who(name), {}, name, cause, {{Field::address, till.address}}});
  tell(Level::warning, "till_lost",
       "the connection of till " + printable(name) + " is lost, and it is waited for", {}, name,
       who(name));
}

void Administration::Impl::till_back(const server::TillStatus& till) {
  publish_soon();
  counts.reconnects += 1;
  const std::string& name = till.till.name;
  note({Kind::till_connected,
        who(name),
        {},
        name,
        "goes on with its session",
        {{Field::address, till.address}}});
  tell(Level::info, "till_back", "till " + printable(name) + " is back from " + till.address, {},
       name, who(name));
}

void Administration::Impl::till_left(const server::TillStatus& till, server::TillEnd how,
                                     const std::string& why) {
  publish_soon();
  const std::string& name = till.till.name;
  if (const auto row = memory.tills.find(name); row != memory.tills.end()) {
    row->second.last_seen = now();
    put(row->second);
  }
  if (how == server::TillEnd::lost) lost_tills[name] = why;
  note({Kind::till_left,
        who(name),
        {},
        name,
        why,
        {{Field::text, std::string(server::text(how))}, {Field::address, till.address}}});
  const bool wanted = how == server::TillEnd::goodbye || how == server::TillEnd::taken_over ||
                      how == server::TillEnd::server_stopped ||
                      how == server::TillEnd::server_restarts;
  tell(wanted ? Level::info : Level::warning, "till_left",
       "till " + printable(name) + " left: " + printable(why), {}, name, who(name));
}

void Administration::Impl::connection_refused(const std::string& address,
                                              const server::TillIdentity& till,
                                              const std::string& why, bool news) {
  counts.refused_connections += 1;
  if (!news) return;
  if (loop.now() - refusals_since > std::chrono::minutes(1)) {
    refusals_since = loop.now();
    refusals = 0;
  }
  if (++refusals > refusals_per_minute) {
    refusals_untold += 1;
    return;
  }
  Details details{{Field::address, address}};
  if (!till.fingerprint.empty()) details.emplace_back(Field::certificate, till.fingerprint);
  if (refusals_untold > 0) {
    details.emplace_back(Field::count, number(std::exchange(refusals_untold, 0)));
  }
  const std::string peer = till.name.empty() ? "stranger" : "till " + printable(till.name);
  note({Kind::till_refused, peer, {}, till.name, why, std::move(details)});
  tell(Level::warning, "till_refused",
       "a connection of " + peer + " from " + address + " was refused: " + printable(why), {},
       till.name, peer);
}

// --- leases

// What an earlier run of the program left behind, whether it died or was restarted in good order.
void Administration::Impl::keep_open_leases() {
  const auto open = store.open_leases();
  if (!open) return;
  std::vector<server::KeptLease> waiting;
  for (const store::Lease& row : *open) {
    if (row.session.empty()) {
      end_kept(row, "server_died", "the server ended without a word; when is not known");
      continue;
    }
    if (const auto older = kept_leases.find(row.stick); older != kept_leases.end()) {
      end_kept(older->second, "server_died", "a newer lease of the stick ran as well");
      kept_leases.erase(older);
    }
    kept_leases.emplace(row.stick, row);
  }
  for (const auto& [stick, row] : kept_leases) {
    waiting.push_back({row.stick, row.till, row.session, row.continuity});
    note({Kind::lease_away,
          who(row.till),
          row.stick,
          row.till,
          "the server was restarted; the stick is kept for the till",
          {{Field::lease, std::to_string(row.id)}}});
  }
  usb.keep(waiting);
}

void Administration::Impl::end_kept(store::Lease row, const std::string& why,
                                    const std::string& text) {
  row.ended = now();
  row.why = why;
  stored(store.change_lease(row));
  note({Kind::lease_ended,
        "system",
        row.stick,
        row.till,
        text,
        {{Field::lease, std::to_string(row.id)}}});
}

void Administration::Impl::kept_ended(const server::KeptLease& lease, server::LeaseEnd how) {
  publish_soon();
  const auto found = kept_leases.find(lease.stick);
  if (found == kept_leases.end()) return;
  const store::Lease row = found->second;
  kept_leases.erase(found);
  if (how == server::LeaseEnd::mapping_changed) {
    end_kept(row, std::string(server::text(how)),
             "the stick is not mapped any more to the till that had it before the restart");
    return;
  }
  end_kept(row, std::string(server::text(how)),
           "the session that had the stick before the server was restarted did not come back");
  tell(Level::warning, "lease_ended",
       "till " + printable(row.till) + " did not come back for stick " + printable(row.stick) +
           " after the restart",
       row.stick, row.till, "system");
}

void Administration::Impl::kept_goes_on(const server::LeaseRecord& record) {
  RunningLease running;
  running.row = running.before = kept_leases.extract(record.stick).mapped();
  running.stored = running.row.id;
  running.id = std::to_string(running.row.id);
  note({Kind::lease_back,
        who(record.till),
        record.stick,
        record.till,
        "goes on after the restart of the server",
        {{Field::lease, running.id}, {Field::address, record.address}}});
  tell(Level::info, "lease_back",
       "till " + printable(record.till) + " goes on with stick " + printable(record.stick) +
           " after the restart",
       record.stick, record.till, who(record.till));
  leases.insert_or_assign(record.id, std::move(running));
}

void Administration::Impl::lease_begun(const server::PresentStick& stick) {
  publish_soon();
  counts.leases += 1;
  const server::LeaseRecord& record = stick.lease->record();
  if (record.continues && kept_leases.contains(record.stick)) return kept_goes_on(record);
  store::Lease row;
  row.stick = record.stick;
  row.till = record.till;
  row.address = record.address;
  row.user = printable(record.facts.user);
  row.domain = printable(record.facts.domain);
  row.terminal_server = printable(record.facts.terminal_server);
  row.client_name = printable(record.facts.client_name);
  row.software = printable(record.facts.software);
  row.since = record.since;
  row.session = record.session;
  row.continuity = record.continuity;
  const auto id = store.add_lease(row);
  stored(id ? Status() : Status(id.error()));
  RunningLease running{"r" + std::to_string(record.id), row, std::nullopt, {}};
  if (id) {
    running.stored = *id;
    running.row.id = *id;
    running.id = std::to_string(*id);
  }
  note({Kind::lease_begun,
        who(record.till),
        record.stick,
        record.till,
        {},
        {{Field::lease, running.id},
         {Field::mapping, record.mapping},
         {Field::address, record.address},
         {Field::user, record.facts.user},
         {Field::domain, record.facts.domain},
         {Field::terminal_server, record.facts.terminal_server},
         {Field::client_name, record.facts.client_name}}});
  tell(Level::info, "lease_begun",
       "till " + printable(record.till) + " has stick " + printable(record.stick), record.stick,
       record.till, who(record.till));
  leases.insert_or_assign(record.id, std::move(running));
}

void Administration::Impl::lease_changed(const server::LeaseRecord& record) {
  publish_soon();
  const auto running = leases.find(record.id);
  if (running == leases.end()) return;
  const bool away = record.away_since.has_value();
  note({away ? Kind::lease_away : Kind::lease_back,
        who(record.till),
        record.stick,
        record.till,
        {},
        {{Field::lease, running->second.id}, {Field::address, record.address}}});
}

void Administration::Impl::lease_ended(const server::LeaseRecord& record) {
  publish_soon();
  const auto found = leases.find(record.id);
  if (found == leases.end()) return;
  RunningLease running = std::move(found->second);
  leases.erase(found);
  store::Lease& row = running.row;
  const store::Lease& before = running.before;
  const bool again = before.id != 0;  // the restart was an absence as well
  row.address = record.address;
  row.times_away = before.times_away + record.times_away + (again ? 1 : 0);
  row.transfers = before.transfers + record.transfers;
  row.errors = before.errors + record.errors;
  row.bytes_in = before.bytes_in + record.bytes_in;
  row.bytes_out = before.bytes_out + record.bytes_out;
  row.p50_us = record.latency.percentile(50);
  row.p99_us = record.latency.percentile(99);
  if (record.end == server::LeaseEnd::server_restarts && running.stored) {
    stored(store.change_lease(row));  // open: the next run of the program goes on with it
    return;
  }
  row.ended = now();
  row.why = std::string(server::text(record.end));
  if (running.stored) stored(store.change_lease(row));
  Details details{{Field::lease, running.id},
                  {Field::transfers, number(row.transfers)},
                  {Field::errors, number(row.errors)},
                  {Field::bytes_in, number(row.bytes_in)},
                  {Field::bytes_out, number(row.bytes_out)},
                  {Field::times_away, std::int64_t{row.times_away}}};
  if (row.p50_us) details.emplace_back(Field::p50_us, std::int64_t{*row.p50_us});
  if (row.p99_us) details.emplace_back(Field::p99_us, std::int64_t{*row.p99_us});
  note({Kind::lease_ended, who(record.till), record.stick, record.till, row.why,
        std::move(details)});
  tell(Level::info, "lease_ended",
       "till " + printable(record.till) + " has stick " + printable(record.stick) +
           " no more: " + row.why,
       record.stick, record.till, who(record.till));
}

}  // namespace tillbridge::admin
