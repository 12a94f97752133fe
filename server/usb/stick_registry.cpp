#include "server/usb/stick_registry.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

std::string name_of(const StickIdentity& identity) {
  return log::printable(identity.text());
}

// "2 h 03 min", "41 s"
std::string duration_text(std::chrono::system_clock::duration duration) {
  const auto seconds =
      std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::seconds>(duration).count());
  if (seconds < 60) return std::to_string(seconds) + " s";
  if (seconds < 3600) return std::to_string(seconds / 60) + " min";
  return std::to_string(seconds / 3600) + " h " + std::to_string(seconds / 60 % 60) + " min";
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<const char*, 4> units{"KiB", "MiB", "GiB", "TiB"};
  if (bytes < 1024) return std::to_string(bytes) + " bytes";
  std::uint64_t tenths = bytes * 10 / 1024;
  std::size_t unit = 0;
  while (tenths >= 10240 && unit + 1 < units.size()) {
    tenths /= 1024;
    ++unit;
  }
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " " + units.at(unit);
}

}  // namespace

StickRegistry::StickRegistry(transport::Loop& loop) : loop_(loop) {}

StickRegistry::~StickRegistry() = default;

void StickRegistry::add(std::unique_ptr<StickSource> source) {
  sources_.push_back(std::move(source));
}

void StickRegistry::start() {
  for (const auto& source : sources_) {
    source->start(
        {[this, &source = *source](const Arrival& arrival) { arrived(source, arrival); },
         [this, &source = *source](const std::string& busid) { departed(source, busid); }});
  }
}

void StickRegistry::apply(Rules rules) {
  rules_ = std::move(rules);
  judge_all();
}

std::vector<const PresentStick*> StickRegistry::sticks() const {
  std::vector<const PresentStick*> sticks;
  sticks.reserve(entries_.size());
  for (const auto& [stay, entry] : entries_) sticks.push_back(&entry.stick);
  return sticks;
}

const PresentStick* StickRegistry::find(StayId stay) const {
  const auto found = entries_.find(stay);
  return found == entries_.end() ? nullptr : &found->second.stick;
}

Result<std::unique_ptr<Lease>> StickRegistry::lease(StayId stay, const TillIdentity& till,
                                                    LeaseRecord record, Stick::Events events) {
  const auto found = entries_.find(stay);
  if (found == entries_.end()) return fail(ErrorCode::unavailable, "the stick was unplugged");
  Entry& entry = found->second;
  const std::string name = name_of(entry.stick.identity);
  if (entry.stick.refusal) {
    return fail(ErrorCode::refused, "stick " + name + ": " + *entry.stick.refusal);
  }
  if (!entry.stick.mapping) {
    return fail(ErrorCode::refused,
                "stick " + name + " is mapped to no till; map it in " + rules_.file);
  }
  if (!entry.stick.mapping->allows(till)) {
    return fail(ErrorCode::refused, "stick " + name + " is mapped to till " +
                                        log::printable(entry.stick.mapping->till) +
                                        "; unmap it in " + rules_.file + " or map another one");
  }
  if (entry.stick.lease != nullptr) {
    return fail(ErrorCode::refused, "stick " + name + " is in use by till " +
                                        entry.stick.lease->record().till + " at " +
                                        entry.stick.lease->record().address +
                                        "; it is free again when that one lets go");
  }
  record.since = std::chrono::system_clock::now();
  log::info("lease begun: stick " + name + " for till " + record.till + " at " + record.address +
            (record.session.empty() ? "" : " (" + record.session + ")"));
  auto lease = std::make_unique<Lease>(
      loop_, name, *entry.stick.mapping, std::move(record),
      [this, stay, name](const LeaseRecord& ended) { lease_ended(stay, name, ended); });
  entry.stick.lease = lease.get();
  lease->start(*entry.source, entry.stick.arrival.busid, std::move(events));
  return lease;
}

std::size_t StickRegistry::leases() const {
  return static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [](const auto& item) { return item.second.stick.lease != nullptr; }));
}

void StickRegistry::lease_ended(StayId stay, const std::string& name, const LeaseRecord& record) {
  log::info("lease ended: stick " + name + " of till " + record.till + " after " +
            duration_text(std::chrono::system_clock::now() - record.since) + ", " +
            std::to_string(record.transfers) + " transfers, " + size_text(record.bytes_in) +
            " read, " + size_text(record.bytes_out) + " written" +
            (record.times_away == 0
                 ? ""
                 : ", " + std::to_string(record.times_away) +
                       (record.times_away == 1 ? " time" : " times") + " without a connection, " +
                       duration_text(record.time_away) + " in all"));
  const auto found = entries_.find(stay);
  if (found == entries_.end()) return;
  found->second.stick.lease = nullptr;
  notify();
}

void StickRegistry::arrived(StickSource& source, const Arrival& arrival) {
  if (entries_.size() >= limits::sticks_per_server) {
    log::error("stick at " + arrival.busid + " is ignored: " + std::to_string(entries_.size()) +
               " sticks are plugged in, which is the most that one server handles");
    return;
  }
  Entry entry;
  entry.stick.stay = next_stay_++;
  entry.stick.arrival = arrival;
  entry.stick.identity = StickIdentity::of(arrival.description);
  entry.source = &source;
  const StayId stay = entry.stick.stay;
  entries_.emplace(stay, std::move(entry));
  judge_all();
}

void StickRegistry::departed(StickSource& source, const std::string& busid) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& item) {
    return item.second.source == &source && item.second.stick.arrival.busid == busid;
  });
  if (found == entries_.end()) return;
  const PresentStick& stick = found->second.stick;
  log::info("stick " + name_of(stick.identity) + " unplugged from port " + busid +
            (stick.lease != nullptr ? " while in use by till " + stick.lease->record().till : ""));
  entries_.erase(found);
  judge_all();
}

void StickRegistry::judge_all() {
  for (auto& [stay, entry] : entries_) judge(entry);
  // What a stick that lost its till holds must be free before another one is told of it.
  for (auto& [stay, entry] : entries_) {
    const bool wanted = entry.stick.mapping && !entry.stick.refusal;
    if (wanted == entry.held) continue;
    entry.held = wanted;
    if (wanted) {
      entry.source->hold(entry.stick.arrival.busid);
    } else {
      entry.source->let_go(entry.stick.arrival.busid);
    }
  }
  for (auto& [stay, entry] : entries_) tell(entry);
  notify();
}

void StickRegistry::judge(Entry& entry) {
  PresentStick& stick = entry.stick;
  stick.refusal = rules_.allow.refusal(stick.arrival.description);
  stick.mapping.reset();
  const auto mapping = std::find_if(
      rules_.mappings.begin(), rules_.mappings.end(),
      [&](const Mapping& candidate) { return candidate.stick.matches(stick.identity); });
  if (mapping != rules_.mappings.end()) stick.mapping = *mapping;
  if (stick.refusal) return;

  // Of two sticks that claim to be one, the first keeps the name: the other may be a copy, or a
  // mix-up that would let a till sign with another till's certificate.
  for (const auto& [stay, other] : entries_) {
    if (stay >= stick.stay) break;
    const bool same_identity = other.stick.identity == stick.identity;
    const bool same_mapping =
        mapping != rules_.mappings.end() && mapping->stick.matches(other.stick.identity);
    if (!same_identity && !same_mapping) continue;
    stick.refusal =
        same_identity
            ? "another stick with the same identity is plugged in at port " +
                  other.stick.arrival.busid +
                  "; one of the two is a copy or has a serial that is not unique: unplug one"
            : "stick " + name_of(other.stick.identity) + " at port " + other.stick.arrival.busid +
                  " has the same serial and the mapping says only \"" +
                  log::printable(mapping->stick.text()) + "\"; write VID:PID:SERIAL in " +
                  rules_.file;
    return;
  }
}

// One line for each stick on arrival, and one whenever what becomes of it changes.
void StickRegistry::tell(Entry& entry) {
  const PresentStick& stick = entry.stick;
  std::string verdict;
  log::Level level = log::Level::info;
  if (stick.refusal) {
    verdict = "is refused: " + *stick.refusal;
    // Every keyboard of the machine is refused; only a stick that somebody waits for is worth a
    // warning.
    if (stick.mapping) level = log::Level::warning;
  } else if (stick.mapping) {
    verdict = "belongs to till " + log::printable(stick.mapping->till);
  } else {
    verdict = "belongs to no till; to map it, add [[map]] stick = \"" + name_of(stick.identity) +
              "\" and till = \"NAME\" to " + rules_.file + " and reload";
  }
  if (verdict == entry.told) return;
  const std::string& product = stick.arrival.description.product;
  const std::string line =
      "stick " + name_of(stick.identity) + " at port " + stick.arrival.busid +
      (entry.told.empty() && !product.empty() ? " (" + log::printable(product) + ") arrived and "
                                              : " ") +
      verdict +
      (entry.told.empty() && stick.identity.by_port()
           ? "; it has no serial, so whatever is plugged in at this port counts as this stick"
           : "");
  entry.told = verdict;
  if (level == log::Level::warning) {
    log::warning(line);
  } else {
    log::info(line);
  }
}

void StickRegistry::notify() {
  if (notifying_ || !changed_) return;
  notifying_ = true;
  loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    notifying_ = false;
    changed_();
  });
}

}  // namespace tillbridge::server
