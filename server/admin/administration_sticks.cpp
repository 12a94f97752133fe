// Verbs on sticks and leases.
#include <algorithm>
#include <chrono>

#include "server/admin/administration_impl.hpp"
#include "server/admin/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::admin {

namespace {

using server::log::printable;

/// The row of a stick that may never have been stored (the store could not be written when it
/// came): the id is enough to keep a decision.
store::Stick row_of(const Memory& memory, const std::string& id) {
  if (const auto found = memory.sticks.find(id); found != memory.sticks.end()) {
    return found->second;
  }
  store::Stick row;
  row.id = id;
  if (const auto pattern = server::StickPattern::parse(id); pattern && pattern->identity()) {
    row.vendor_id = pattern->identity()->vendor_id;
    row.product_id = pattern->identity()->product_id;
    row.serial = pattern->identity()->serial;
    row.by_port = pattern->identity()->by_port();
    row.port = pattern->identity()->path;
  }
  return row;
}

Problem minutes_problem() {
  return {422, "invalid", "minutes must be between 1 and " + std::to_string(limits::block_minutes),
          "leave minutes out to block until somebody unblocks"};
}

}  // namespace

Outcome<Done> Administration::label_stick(const Change& change, const std::string& stick,
                                          const std::string& label) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "label a stick", stick)) return *problem;
  auto id = me.find_stick(stick);
  if (!id) return id.problem();
  store::Stick row = row_of(me.memory, *id);
  if (row.label == label) return Done{false};
  const std::string before = row.label;
  row.label = label;
  auto done = me.commit({Impl::entry(Kind::stick_labelled, change, *id, {},
                                     {{Field::label, label}, {Field::value_before, before}})},
                        [&](store::Store& store) { return store.put_stick(row); });
  if (done)
    server::log::info(change.actor.who() + " calls stick " + *id + " '" + printable(label) + "'" +
                      because(change.reason));
  return done;
}

Outcome<Done> Administration::block(const Change& change, const std::string& stick,
                                    std::optional<std::int64_t> minutes) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "block a stick", stick)) return *problem;
  if (minutes && (*minutes < 1 || *minutes > limits::block_minutes)) return minutes_problem();
  auto id = me.find_stick(stick);
  if (!id) return id.problem();
  store::Stick row = row_of(me.memory, *id);
  const Time time = Impl::now();
  const Time until = minutes ? time + std::chrono::minutes(*minutes) : Time::max();
  // Asked for twice within a moment, it is one block: its end does not creep.
  const bool forever = row.blocked_until == Time::max() || until == Time::max();
  if (row.blocked_until && *row.blocked_until > time) {
    const bool same = forever
                          ? *row.blocked_until == until
                          : std::chrono::abs(*row.blocked_until - until) < std::chrono::seconds(10);
    if (same) return Done{false};
  }
  row.blocked_until = until;
  Details details;
  if (minutes) {
    details = {{Field::minutes, *minutes}, {Field::until, audit::time_text(until)}};
  }
  auto done = me.commit({Impl::entry(Kind::stick_blocked, change, *id, {}, std::move(details))},
                        [&](store::Store& store) { return store.put_stick(row); });
  if (!done) return done;
  const std::string text = "stick " + *id + " is blocked " + server::until_text(until);
  server::log::info(change.actor.who() + ": " + text + because(change.reason));
  me.tell(Level::info, "stick_blocked", text, *id, {}, change.actor.who());
  return done;
}

Outcome<Done> Administration::unblock(const Change& change, const std::string& stick) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "unblock a stick", stick)) return *problem;
  auto id = me.find_stick(stick);
  if (!id) return id.problem();
  store::Stick row = row_of(me.memory, *id);
  const server::PresentStick* present = me.usb.registry().find(*id);
  const bool taken = present != nullptr && !present->released.empty();
  const bool blocked = row.blocked_until && *row.blocked_until > Impl::now();
  if (!blocked && !taken) return Done{false};
  row.blocked_until.reset();
  auto done = me.commit({Impl::entry(Kind::stick_unblocked, change, *id, {})},
                        [&](store::Store& store) { return store.put_stick(row); });
  if (!done) return done;
  me.usb.registry().forgive(*id);
  server::log::info(change.actor.who() + ": stick " + *id + " may be used again" +
                    because(change.reason));
  me.tell(Level::info, "stick_unblocked", "stick " + *id + " may be used again", *id, {},
          change.actor.who());
  return done;
}

Outcome<Done> Administration::accept(const Change& change, const std::string& stick) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "accept a stick", stick)) return *problem;
  auto id = me.find_stick(stick);
  if (!id) return id.problem();
  store::Stick row = row_of(me.memory, *id);
  const server::PresentStick* present = me.usb.registry().find(*id);
  const std::string seen = present != nullptr ? present->fingerprint : row.fingerprint_seen;
  if (seen.empty()) {
    return Problem{409, "not_seen",
                   "stick " + *id + " was never plugged in, so there is nothing to accept",
                   "plug it in first"};
  }
  if (present != nullptr && present->refusal &&
      present->refusal->kind != server::Refusal::Kind::descriptors_changed) {
    return Problem{409, "other_reason",
                   "stick " + *id + " is refused for another reason: " + present->refusal->problem,
                   present->refusal->remedy};
  }
  if (row.fingerprint_accepted == seen) return Done{false};
  Details details{{Field::fingerprint, seen}};
  if (!row.fingerprint_accepted.empty()) {
    details.emplace_back(Field::value_before, row.fingerprint_accepted);
  }
  row.fingerprint_accepted = row.fingerprint_seen = seen;
  auto done = me.commit({Impl::entry(Kind::stick_accepted, change, *id, {}, std::move(details))},
                        [&](store::Store& store) { return store.put_stick(row); });
  if (!done) return done;
  server::log::info(change.actor.who() + " accepts stick " + *id + " as it is" +
                    because(change.reason));
  me.tell(Level::info, "stick_accepted", "stick " + *id + " is accepted as it is", *id, {},
          change.actor.who());
  return done;
}

Outcome<std::string> Administration::identify(const Change& change, const std::string& stick) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "identify a stick", stick)) return *problem;
  auto id = me.find_stick(stick);
  if (!id) return id.problem();
  const server::PresentStick* present = me.usb.registry().find(*id);
  if (present == nullptr) {
    const auto row = me.memory.sticks.find(*id);
    const bool known = row != me.memory.sticks.end() && !row->second.port.empty();
    return Problem{409, "absent",
                   "stick " + *id + " is not plugged in" +
                       (known ? "; it was last at port " + row->second.port : ""),
                   "plug it in"};
  }
  return Problem{409, "no_light",
                 "stick " + *id + " is at port " + present->arrival.busid +
                     ". It has no light that a program may switch, and reading it or cutting its "
                     "power to make it blink could disturb or lock a TSE",
                 "follow the port: the first number is the bus, then the hub's ports in their "
                 "order; or label each stick by its serial"};
}

Outcome<Done> Administration::forget_stick(const Change& change, const std::string& stick) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "forget a stick", stick)) return *problem;
  auto id = me.find_stick(stick);
  if (!id) {
    return id.problem().status == 404 ? Outcome<Done>(Done{false}) : Outcome<Done>(id.problem());
  }
  if (me.usb.registry().find(*id) != nullptr) {
    return Problem{409, "present", "stick " + *id + " is plugged in",
                   "unplug it first; a stick that is there is always listed"};
  }
  if (!me.memory.mappings_of(*id).empty()) {
    return Problem{409, "mapped", "stick " + *id + " is mapped to a till", "unmap it first"};
  }
  if (!me.memory.sticks.contains(*id)) return Done{false};
  auto done = me.commit({Impl::entry(Kind::stick_forgotten, change, *id, {})},
                        [&](store::Store& store) { return store.remove_stick(*id); });
  if (done)
    server::log::info(change.actor.who() + " forgets stick " + *id + because(change.reason));
  return done;
}

Outcome<Done> Administration::end_lease(const Change& change, const std::string& lease,
                                        std::int64_t block_minutes) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "end a lease")) return *problem;
  if (block_minutes != 0 && (block_minutes < 1 || block_minutes > limits::block_minutes)) {
    return minutes_problem();
  }
  const auto found = std::find_if(me.leases.begin(), me.leases.end(),
                                  [&](const auto& item) { return item.second.id == lease; });
  if (found == me.leases.end()) {
    std::int64_t number = 0;
    for (const char digit : lease) {
      if (digit < '0' || digit > '9' || number > 1'000'000'000'000) number = -1;
      if (number < 0) break;
      number = number * 10 + (digit - '0');
    }
    const auto row = me.store.lease(number);
    if (row && row->has_value()) return Done{false};  // it has ended already
    return not_found("there is no lease '" + lease + "'", "look at the list of leases");
  }
  const std::uint64_t number = found->first;
  server::Lease* running = me.usb.registry().find_lease(number);
  const server::LeaseRecord* record = running == nullptr ? nullptr : &running->record();
  if (record == nullptr) return Done{false};  // it is ending at this moment
  const std::string stick = record->stick;
  const std::string session = record->session;
  const std::string till = record->till;
  if (me.usb.registry().find(stick) == nullptr) return Done{false};
  if (block_minutes == 0 && me.usb.registry().find(stick)->released.contains(session)) {
    return Done{false};
  }
  store::Stick row = row_of(me.memory, stick);
  Details details{{Field::lease, lease}};
  if (block_minutes > 0) {
    row.blocked_until = Impl::now() + std::chrono::minutes(block_minutes);
    details.emplace_back(Field::minutes, block_minutes);
    details.emplace_back(Field::until, audit::time_text(*row.blocked_until));
    running->ends_because(server::LeaseEnd::released);
  }
  auto done = me.commit(
      {Impl::entry(Kind::lease_released, change, stick, till, std::move(details))},
      [&](store::Store& store) { return block_minutes > 0 ? store.put_stick(row) : Status(); });
  if (!done) return done;
  if (block_minutes == 0) me.usb.registry().release(stick, session);
  const std::string text =
      "the use of stick " + stick + " by till " + printable(till) + " is ended" +
      (block_minutes > 0 ? ", and it is blocked " + server::until_text(*row.blocked_until) : "");
  server::log::info(change.actor.who() + ": " + text + because(change.reason));
  me.tell(Level::info, "lease_released", text, stick, till, change.actor.who());
  return done;
}

}  // namespace tillbridge::admin
