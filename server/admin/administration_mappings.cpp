// Verbs on mappings.
#include <algorithm>

#include "server/admin/administration_impl.hpp"
#include "server/admin/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::admin {

namespace {

using server::log::printable;

std::string words(const store::Mapping& mapping) {
  return "stick " + printable(mapping.stick) + " to till " + printable(mapping.till) +
         (mapping.user.empty() ? "" : " for user " + printable(mapping.user)) +
         (mapping.terminal_server.empty() ? "" : " on " + printable(mapping.terminal_server));
}

bool same_claim(const store::Mapping& one, const store::Mapping& other) {
  return one.till == other.till && one.user == other.user &&
         one.terminal_server == other.terminal_server;
}

bool valid_reset(const std::string& reset) {
  return reset == "soften" || reset == "pass" || reset == "refuse";
}

Problem reset_problem(const std::string& reset) {
  return {422, "invalid", "reset is '" + reset + "'", "write soften, pass or refuse"};
}

Problem file_problem(const std::string& id, const std::string& file) {
  return {409, "from_file", "mapping " + id + " is written in " + file,
          "change it there and reload (systemctl reload tillbridged)"};
}

Details details_of(const store::Mapping& mapping) {
  Details details{{Field::mapping, std::to_string(mapping.id)},
                  {Field::position, std::int64_t{mapping.position}},
                  {Field::reset, mapping.reset},
                  {Field::pipeline, mapping.pipeline}};
  if (!mapping.user.empty()) details.emplace_back(Field::user, mapping.user);
  if (!mapping.terminal_server.empty()) {
    details.emplace_back(Field::terminal_server, mapping.terminal_server);
  }
  return details;
}

void number_them(std::vector<store::Mapping>& rows) {
  std::uint32_t position = 0;
  for (store::Mapping& row : rows) row.position = ++position;
}

}  // namespace

Status Administration::Impl::put_mappings(store::Store& rows,
                                          const std::vector<store::Mapping>& before,
                                          std::vector<store::Mapping>& after) const {
  for (const store::Mapping& old : before) {
    const bool stays =
        std::any_of(after.begin(), after.end(), [&](const auto& row) { return row.id == old.id; });
    if (stays) continue;
    if (auto status = rows.remove_mapping(old.id); !status) return status;
  }
  for (store::Mapping& row : after) {
    if (row.id == 0) {
      const auto id = rows.add_mapping(row);
      if (!id) return id.error();
      row.id = *id;
      continue;
    }
    const auto old = std::find_if(before.begin(), before.end(),
                                  [&](const auto& other) { return other.id == row.id; });
    if (old != before.end() && *old == row) continue;
    if (auto status = rows.change_mapping(row); !status) return status;
  }
  return {};
}

// Whoever maps a stick for the first time looks at it as it is. Later the mapping alone does not
// accept what has changed.
void Administration::Impl::accept_when_first(store::Stick& stick, bool mapped_before) const {
  const server::PresentStick* present = usb.registry().find(stick.id);
  if (present == nullptr) return;
  if (!mapped_before && present->mappings.empty())
    stick.fingerprint_accepted = present->fingerprint;
  if (stick.fingerprint_accepted.empty()) stick.fingerprint_accepted = present->fingerprint;
}

Outcome<std::string> Administration::map(const Change& change, const NewMapping& wanted) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "map a stick", wanted.stick, wanted.till)) {
    return *problem;
  }
  if (wanted.reset && !valid_reset(*wanted.reset)) return reset_problem(*wanted.reset);
  auto found = me.find_stick(wanted.stick);
  std::string id;
  store::Stick stick;
  if (found) {
    id = *found;
  } else {
    // One that is still in its box may be mapped by its full name.
    const auto pattern = server::StickPattern::parse(wanted.stick);
    if (found.problem().status != 404 || !pattern || !pattern->identity()) return found.problem();
    id = pattern->identity()->text();
    if (me.memory.sticks.size() >= limits::sticks) {
      return Problem{422, "too_many", "too many sticks are known", "forget some that are gone"};
    }
  }
  if (const auto row = me.memory.sticks.find(id); row != me.memory.sticks.end()) {
    stick = row->second;
  } else if (const auto pattern = server::StickPattern::parse(id); pattern && pattern->identity()) {
    stick.id = id;
    stick.vendor_id = pattern->identity()->vendor_id;
    stick.product_id = pattern->identity()->product_id;
    stick.serial = pattern->identity()->serial;
    stick.by_port = pattern->identity()->by_port();
    stick.port = pattern->identity()->path;
  }
  const bool usbip = wanted.till.rfind(server::Mapping::usbip_prefix, 0) == 0;
  if (usbip && !me.usb.config().usbip_listen) {
    return Problem{422, "usbip_off", "plain USB/IP is not switched on",
                   "add [usbip] listen = \"127.0.0.1:3240\" to " + me.file_rules.file +
                       " and restart, or map the stick to a till"};
  }
  if (!usbip && !me.memory.tills.contains(wanted.till)) {
    return not_found("there is no till '" + wanted.till + "'",
                     "add it first (tillbridge till add " + wanted.till + ")");
  }

  const std::vector<store::Mapping> before = me.memory.mappings_of(id);
  store::Mapping row;
  row.stick = id;
  row.till = wanted.till;
  row.user = wanted.user;
  row.terminal_server = wanted.terminal_server;
  const auto old = std::find_if(before.begin(), before.end(),
                                [&](const auto& other) { return same_claim(other, row); });
  if (old != before.end()) row = *old;
  if (wanted.reset) row.reset = *wanted.reset;
  if (wanted.pipeline) row.pipeline = *wanted.pipeline;
  std::vector<store::Mapping> after;
  if (wanted.also) {
    for (const store::Mapping& other : before) {
      if (!same_claim(other, row)) after.push_back(other);
    }
  }
  if (after.size() >= limits::mappings_per_stick || me.memory.mappings.size() >= limits::mappings) {
    return Problem{422, "too_many", "stick " + id + " has too many mappings", "unmap some"};
  }
  std::size_t place = after.size();
  if (wanted.position) place = std::min<std::size_t>(*wanted.position - 1, after.size());
  if (!wanted.position && old != before.end()) {
    place = std::min<std::size_t>(static_cast<std::size_t>(old - before.begin()), after.size());
  }
  if (row.id == 0) {
    row.created = Impl::now();
    row.created_by = change.actor.name;
    row.reason = change.reason;
  }
  after.insert(after.begin() + static_cast<std::ptrdiff_t>(place), row);
  number_them(after);
  if (after == before) return std::to_string(row.id);

  std::vector<audit::Entry> entries;
  for (const store::Mapping& gone : before) {
    if (std::any_of(after.begin(), after.end(),
                    [&](const auto& kept) { return kept.id == gone.id; }))
      continue;
    entries.push_back(Impl::entry(Kind::mapping_removed, change, id, gone.till, details_of(gone)));
  }
  row.position = static_cast<std::uint32_t>(place + 1);
  Details details = details_of(row);
  if (row.id == 0) details.erase(details.begin());  // its id comes with the row
  entries.push_back(Impl::entry(row.id == 0 ? Kind::mapping_added : Kind::mapping_changed, change,
                                id, row.till, std::move(details)));
  const bool again = stick.fingerprint_accepted.empty() ? false : !before.empty();
  me.accept_when_first(stick, again);
  auto done = me.commit(std::move(entries), [&](store::Store& store) -> Status {
    if (usbip && !me.memory.tills.contains(wanted.till)) {
      store::Till till;
      till.name = wanted.till;
      till.added = Impl::now();
      till.note = "a plain USB/IP client";
      if (auto status = store.put_till(till); !status) return status;
    }
    if (auto status = store.put_stick(stick); !status) return status;
    return me.put_mappings(store, before, after);
  });
  if (!done) return done.problem();
  // Whoever maps a stick wants it used: what was taken from a session is given back.
  me.usb.registry().forgive(id);
  const std::string text = words(row);
  server::log::info(change.actor.who() + " maps " + text + because(change.reason));
  me.tell(Level::info, "mapping_added", text, id, row.till, change.actor.who());
  return std::to_string(after.at(place).id);
}

Outcome<Done> Administration::change_mapping(const Change& change, const std::string& id,
                                             const MappingPatch& patch) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "change a mapping")) return *problem;
  if (id.rfind("file-", 0) == 0) return file_problem(id, me.file_rules.file);
  if (patch.reset && !valid_reset(*patch.reset)) return reset_problem(*patch.reset);
  const store::Mapping* old = me.memory.mapping(id);
  if (old == nullptr)
    return not_found("there is no mapping '" + id + "'", "look at the list of mappings");
  if (patch.till && !me.memory.tills.contains(*patch.till)) {
    return not_found("there is no till '" + *patch.till + "'",
                     "add it first (tillbridge till add " + *patch.till + ")");
  }
  store::Mapping row = *old;
  if (patch.till) row.till = *patch.till;
  if (patch.user) row.user = *patch.user;
  if (patch.terminal_server) row.terminal_server = *patch.terminal_server;
  if (patch.reset) row.reset = *patch.reset;
  if (patch.pipeline) row.pipeline = *patch.pipeline;
  const std::vector<store::Mapping> before = me.memory.mappings_of(row.stick);
  std::vector<store::Mapping> after;
  std::size_t place = 0;
  for (const store::Mapping& other : before) {
    if (other.id == row.id) {
      place = after.size();
      continue;
    }
    if (same_claim(other, row)) {
      return Problem{409, "twice", "mapping " + std::to_string(other.id) + " says the same",
                     "remove one of the two"};
    }
    after.push_back(other);
  }
  if (patch.position) place = std::min<std::size_t>(*patch.position - 1, after.size());
  after.insert(after.begin() + static_cast<std::ptrdiff_t>(place), row);
  number_them(after);
  if (after == before) return Done{false};
  const std::uint32_t position_before = old->position;
  row.position = static_cast<std::uint32_t>(place + 1);
  Details details = details_of(row);
  details.emplace_back(Field::value_before, std::to_string(position_before));
  if (row.till != old->till) details.emplace_back(Field::till_before, old->till);
  auto done = me.commit(
      {Impl::entry(Kind::mapping_changed, change, row.stick, row.till, std::move(details))},
      [&](store::Store& store) { return me.put_mappings(store, before, after); });
  if (!done) return done;
  server::log::info(change.actor.who() + " changes mapping " + id + ": " + words(row) +
                    " at place " + std::to_string(row.position) + because(change.reason));
  me.tell(Level::info, "mapping_changed", words(row), row.stick, row.till, change.actor.who());
  return done;
}

Outcome<Done> Administration::unmap(const Change& change, const std::string& id) {
  Impl& me = *impl_;
  if (auto problem = me.refused(change.actor, "unmap a stick")) return *problem;
  if (id.rfind("file-", 0) == 0) return file_problem(id, me.file_rules.file);
  const store::Mapping* old = me.memory.mapping(id);
  if (old == nullptr) return Done{false};
  const store::Mapping gone = *old;
  const std::vector<store::Mapping> before = me.memory.mappings_of(gone.stick);
  std::vector<store::Mapping> after;
  for (const store::Mapping& other : before) {
    if (other.id != gone.id) after.push_back(other);
  }
  number_them(after);
  auto done = me.commit(
      {Impl::entry(Kind::mapping_removed, change, gone.stick, gone.till, details_of(gone))},
      [&](store::Store& store) { return me.put_mappings(store, before, after); });
  if (!done) return done;
  server::log::info(change.actor.who() + " unmaps " + words(gone) + because(change.reason));
  me.tell(Level::info, "mapping_removed", words(gone), gone.stick, gone.till, change.actor.who());
  return done;
}

}  // namespace tillbridge::admin
