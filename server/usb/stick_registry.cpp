#include "server/usb/stick_registry.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "server/usb/descriptor_fingerprint.hpp"
#include "server/usb/limits.hpp"
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

std::string clock_text(std::chrono::system_clock::time_point when) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(when);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t size = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts);
  return {text.data(), size};
}

}  // namespace

std::string until_text(std::chrono::system_clock::time_point when) {
  return when == std::chrono::system_clock::time_point::max() ? "until somebody unblocks it"
                                                              : "until " + clock_text(when);
}

std::string kept_since(const PresentStick& stick) {
  return stick.kept->left_bus ? "it left the bus a moment ago" : "the USB server was restarted";
}

bool PresentStick::mapped_to(const std::string& till) const {
  return std::any_of(mappings.begin(), mappings.end(),
                     [&](const Mapping& mapping) { return mapping.till == till; });
}

const Mapping* PresentStick::mapping_for(const Claimant& claimant) const {
  const auto found = std::find_if(mappings.begin(), mappings.end(),
                                  [&](const Mapping& mapping) { return mapping.fits(claimant); });
  return found == mappings.end() ? nullptr : std::to_address(found);
}

Withdrawal withdrawal_of(const PresentStick* stick, const Claimant& claimant) {
  if (stick == nullptr) {
    return {LeaseEnd::unplugged, "the stick was unplugged from the USB server"};
  }
  if (stick->refusal) {
    return {LeaseEnd::refused, "the stick is refused: " + stick->refusal->text()};
  }
  if (stick->blocked_until) {
    return {LeaseEnd::blocked,
            "the administrator blocked the stick " + until_text(*stick->blocked_until)};
  }
  if (stick->mapping_for(claimant) != nullptr) {
    return {LeaseEnd::released, "the administrator ended the use of the stick in this session"};
  }
  const auto names = [&](const Mapping& mapping) { return mapping.names(claimant.till); };
  const auto found = std::find_if(stick->mappings.begin(), stick->mappings.end(), names);
  const std::string reason =
      stick->mappings.empty()          ? "the stick is not mapped to this till any more"
      : found == stick->mappings.end() ? "the stick is mapped to another till now"
      : !found->allows(claimant.till)
          ? "the mapping now wants another certificate of this till"
          : "the stick is now mapped to this till only " + found->conditions_text();
  return {LeaseEnd::mapping_changed, reason};
}

Offer::Offer(StickRegistry& registry, StayId stay) : registry_(registry), stay_(stay) {}

Offer::~Offer() {
  registry_.offer_ended(stay_);
}

StickRegistry::StickRegistry(transport::Loop& loop)
    : loop_(loop), block_timer_(loop), kept_timer_(loop) {}

StickRegistry::~StickRegistry() = default;

void StickRegistry::add(std::unique_ptr<StickSource> source) {
  sources_.push_back(std::move(source));
}

void StickRegistry::keep(const std::vector<KeptLease>& leases, Duration duration) {
  for (const KeptLease& lease : leases) {
    log::info("stick " + log::printable(lease.stick) + " is kept for till " + lease.till +
                  ", which had it when the server was restarted",
              {lease.stick, lease.till});
    keep(lease, duration);
  }
}

void StickRegistry::keep(const KeptLease& lease, Duration duration) {
  kept_[lease.stick] = {lease, loop_.now() + duration};
  look_at_kept();
}

void StickRegistry::look_at_kept() {
  kept_timer_.cancel();
  std::optional<Instant> next;
  std::vector<Kept> over;
  for (auto item = kept_.begin(); item != kept_.end();) {
    if (item->second.until <= loop_.now()) {
      over.push_back(std::move(item->second));
      item = kept_.erase(item);
      continue;
    }
    if (!next || item->second.until < *next) next = item->second.until;
    ++item;
  }
  if (next) kept_timer_.arm(*next, [this] { look_at_kept(); });
  for (const auto& [lease, until, end] : over) {
    for (auto& [stay, entry] : entries_) {
      if (entry.stick.identity.text() == lease.stick) entry.stick.kept.reset();
    }
    if (lease.left_bus) continue;  // its lease has ended already
    log::warning("stick " + log::printable(lease.stick) + " is not kept any longer for till " +
                     lease.till +
                     (end == LeaseEnd::lost ? ", which did not come back after the restart"
                                            : ", to which it is not mapped any more"),
                 {lease.stick, lease.till});
    observer_->kept_ended(lease, end);
  }
  if (!over.empty()) notify();
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

const PresentStick* StickRegistry::find(const std::string& identity) const {
  for (const auto& [stay, entry] : entries_) {
    if (entry.stick.identity.text() == identity) return &entry.stick;
  }
  return nullptr;
}

std::unique_ptr<Offer> StickRegistry::offer(StayId stay, const Claimant& claimant) {
  const auto found = entries_.find(stay);
  if (found == entries_.end()) return nullptr;
  PresentStick& stick = found->second.stick;
  if (stick.offer || !may_lease(stick, claimant)) return nullptr;
  stick.offer = OfferRecord{claimant.till.name, claimant.session, stick.mapping_for(claimant)->id,
                            loop_.now()};
  observer_->stick_offered(stick);
  return std::make_unique<Offer>(*this, stay);
}

void StickRegistry::offer_ended(StayId stay) {
  const auto found = entries_.find(stay);
  if (found == entries_.end()) return;
  found->second.stick.offer.reset();
  observer_->stick_offered(found->second.stick);
  notify();
}

Status StickRegistry::may_lease(const PresentStick& stick, const Claimant& claimant) const {
  const std::string name = "stick " + name_of(stick.identity);
  if (stick.refusal) return fail(ErrorCode::refused, name + ": " + stick.refusal->text());
  if (stick.mappings.empty()) {
    return fail(ErrorCode::refused, name + " is mapped to no till; map it in " + rules_.file);
  }
  if (stick.mapping_for(claimant) == nullptr) {
    std::string tills;
    for (const Mapping& mapping : stick.mappings) {
      const std::string conditions = mapping.conditions_text();
      tills += (tills.empty() ? "" : ", ") + log::printable(mapping.till) +
               (conditions.empty() ? "" : " " + conditions);
    }
    return fail(ErrorCode::refused, name + " is mapped to till " + tills + "; unmap it in " +
                                        rules_.file + " or map another one");
  }
  if (stick.blocked_until) {
    return fail(ErrorCode::refused,
                name + " is blocked by the administrator " + until_text(*stick.blocked_until));
  }
  if (stick.released.contains(claimant.session)) {
    return fail(ErrorCode::refused,
                name + " was taken from this session by the administrator, who can give it back");
  }
  if (stick.lease != nullptr) {
    return fail(ErrorCode::refused, name + " is in use by till " + stick.lease->record().till +
                                        " at " + stick.lease->record().address +
                                        "; it is free again when that one lets go");
  }
  if (stick.offer && stick.offer->session != claimant.session) {
    return fail(ErrorCode::refused, name + " is offered to till " +
                                        log::printable(stick.offer->till) +
                                        "; it is free again when that one lets go");
  }
  if (!stick.waits_for(claimant.till)) {
    return fail(ErrorCode::refused, name + " is kept for till " + stick.kept->till +
                                        ", which had it when " + kept_since(stick) +
                                        "; it is free again when that one does not come back");
  }
  if (rules_.draining && !stick.kept) {
    return fail(ErrorCode::refused,
                name +
                    " is not given out: the USB server is being prepared for maintenance "
                    "(drain); what is in use goes on");
  }
  return {};
}

Result<std::unique_ptr<Lease>> StickRegistry::lease(StayId stay, const Claimant& claimant,
                                                    LeaseRecord record, Stick::Events events) {
  const auto found = entries_.find(stay);
  if (found == entries_.end()) return fail(ErrorCode::unavailable, "the stick was unplugged");
  Entry& entry = found->second;
  if (auto allowed = may_lease(entry.stick, claimant); !allowed) return allowed.error();
  const Mapping& mapping = *entry.stick.mapping_for(claimant);
  const std::string name = name_of(entry.stick.identity);
  record.id = next_lease_++;
  record.stick = entry.stick.identity.text();
  record.mapping = mapping.id;
  record.facts = claimant.facts;
  record.session = claimant.session;
  record.continuity = entry.stick.continuity;
  record.continues = entry.stick.continues(claimant);
  record.since = std::chrono::system_clock::now();
  const std::string session = record.facts.text();
  if (const auto kept = std::exchange(entry.stick.kept, std::nullopt)) {
    kept_.erase(record.stick);
    if (!record.continues && !kept->left_bus) observer_->kept_ended(*kept, LeaseEnd::taken_over);
  }
  log::info(std::string(record.continues ? "lease goes on" : "lease begun") + ": stick " + name +
                " for till " + record.till + " at " + record.address +
                (session.empty() ? "" : " (" + session + ")"),
            {record.stick, record.till});
  auto lease = std::make_unique<Lease>(
      loop_, name, mapping, std::move(record),
      [this, stay](const LeaseRecord& ended, std::optional<CommandEnd::Leftover> left) {
        lease_ended(stay, ended, std::move(left));
      });
  entry.stick.lease = lease.get();
  entry.lease = lease.get();
  if (const auto tap = taps_.find(lease->record().stick); tap != taps_.end()) {
    lease->set_tap(tap->second);
  }
  entry.begin = [&lease = *lease, &entry, wanted = std::move(events)] {
    lease.start(*entry.source, entry.stick.arrival.busid, wanted);
  };
  if (!entry.unfinished) std::exchange(entry.begin, nullptr)();
  observer_->lease_begun(entry.stick);
  return lease;
}

Lease* StickRegistry::find_lease(std::uint64_t id) {
  for (auto& [stay, entry] : entries_) {
    if (entry.lease != nullptr && entry.lease->record().id == id) return entry.lease;
  }
  return nullptr;
}

void StickRegistry::lease_changed(const Lease& lease) {
  observer_->lease_changed(lease.record());
}

void StickRegistry::release(const std::string& identity, const std::string& session) {
  released_[identity].insert(session);
  for (auto& [stay, entry] : entries_) {
    if (entry.stick.identity.text() != identity) continue;
    entry.stick.released.insert(session);
    if (entry.lease != nullptr && entry.lease->record().session == session) {
      entry.lease->ends_because(LeaseEnd::released);
    }
  }
  notify();
}

bool StickRegistry::forgive(const std::string& identity) {
  if (released_.erase(identity) == 0) return false;
  for (auto& [stay, entry] : entries_) {
    if (entry.stick.identity.text() == identity) entry.stick.released.clear();
  }
  notify();
  return true;
}

void StickRegistry::forget_session(const std::string& session) {
  for (auto sessions = released_.begin(); sessions != released_.end();) {
    sessions->second.erase(session);
    sessions = sessions->second.empty() ? released_.erase(sessions) : std::next(sessions);
  }
  for (auto& [stay, entry] : entries_) entry.stick.released.erase(session);
}

void StickRegistry::tap(const std::string& identity, TransferTap* tap) {
  if (tap == nullptr) {
    taps_.erase(identity);
  } else {
    taps_[identity] = tap;
  }
  for (auto& [stay, entry] : entries_) {
    if (entry.lease != nullptr && entry.lease->record().stick == identity) {
      entry.lease->set_tap(tap);
    }
  }
}

std::size_t StickRegistry::leases() const {
  return static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [](const auto& item) { return item.second.stick.lease != nullptr; }));
}

std::size_t StickRegistry::unfinished() const {
  return static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(),
                    [](const auto& item) { return item.second.unfinished != nullptr; }));
}

void StickRegistry::finished(StayId stay) {
  const auto found = entries_.find(stay);
  if (found == entries_.end()) return;
  found->second.unfinished.reset();
  if (found->second.begin) std::exchange(found->second.begin, nullptr)();
  notify();
}

void StickRegistry::lease_ended(StayId stay, const LeaseRecord& record,
                                std::optional<CommandEnd::Leftover> left) {
  log::info("lease ended: stick " + log::printable(record.stick) + " of till " + record.till +
                " after " + duration_text(std::chrono::system_clock::now() - record.since) + ", " +
                std::to_string(record.transfers) + " transfers, " + size_text(record.bytes_in) +
                " read, " + size_text(record.bytes_out) + " written" +
                (record.times_away == 0
                     ? ""
                     : ", " + std::to_string(record.times_away) +
                           (record.times_away == 1 ? " time" : " times") +
                           " without a connection, " + duration_text(record.time_away) + " in all"),
            {record.stick, record.till});
  const auto found = entries_.find(stay);
  if (found != entries_.end()) {
    found->second.stick.lease = nullptr;
    found->second.lease = nullptr;
    found->second.begin = nullptr;
    if (left) {
      found->second.unfinished = std::make_unique<CommandEnd>(loop_, std::move(*left));
      found->second.unfinished->start([this, stay] { finished(stay); });
    }
  }
  observer_->lease_ended(record);
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
  entry.stick.fingerprint = descriptor_fingerprint(arrival.description);
  if (!arrival.enumeration.empty()) {
    entry.stick.continuity = entry.stick.fingerprint + "/" + arrival.enumeration;
  }
  if (const auto kept = kept_.find(entry.stick.identity.text()); kept != kept_.end()) {
    entry.stick.kept = kept->second.lease;
  }
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
  const PresentStick stick = found->second.stick;
  log::info(
      "stick " + name_of(stick.identity) + " unplugged from port " + busid +
          (stick.lease != nullptr ? " while in use by till " + stick.lease->record().till : ""),
      {stick.identity.text(), stick.lease != nullptr ? stick.lease->record().till : ""});
  if (Lease* lease = found->second.lease; lease != nullptr) {
    lease->ends_because(LeaseEnd::unplugged);
    const LeaseRecord& record = lease->record();
    if (!record.session.empty()) {
      keep({record.stick, record.till, record.session, {}, true}, limits::enumerates_within);
    }
  }
  entries_.erase(found);
  observer_->stick_left(stick);
  judge_all();
}

void StickRegistry::judge_all() {
  for (auto& [stay, entry] : entries_) judge(entry);
  // What a stick that lost its till holds must be free before another one is told of it.
  for (auto& [stay, entry] : entries_) {
    const bool wanted = !entry.stick.mappings.empty() && !entry.stick.refusal;
    if (wanted == entry.held) continue;
    entry.held = wanted;
    if (wanted) {
      entry.source->hold(entry.stick.arrival.busid);
    } else {
      entry.source->let_go(entry.stick.arrival.busid);
    }
  }
  for (auto& [stay, entry] : entries_) tell(entry);
  wait_for_block_ends();
  notify();
}

void StickRegistry::judge(Entry& entry) {
  PresentStick& stick = entry.stick;
  stick.mappings.clear();
  for (const Mapping& mapping : rules_.mappings) {
    if (mapping.stick.matches(stick.identity)) stick.mappings.push_back(mapping);
  }
  const std::string identity = stick.identity.text();
  const auto released = released_.find(identity);
  stick.released = released == released_.end() ? std::set<std::string>() : released->second;
  stick.blocked_until.reset();
  const auto decision = rules_.sticks.find(identity);
  if (decision != rules_.sticks.end() && decision->second.blocked_until &&
      *decision->second.blocked_until > std::chrono::system_clock::now()) {
    stick.blocked_until = decision->second.blocked_until;
  }
  stick.refusal = refusal_of(entry);
  follow(entry);
  if (!stick.kept || stick.mapped_to(stick.kept->till)) return;
  const auto kept = kept_.find(identity);
  if (kept == kept_.end()) return;
  kept->second.until = loop_.now();
  kept->second.end = LeaseEnd::mapping_changed;
  kept_timer_.arm(kept->second.until, [this] { look_at_kept(); });
}

// A lease goes on by another mapping of its till if that fits as well.
void StickRegistry::follow(Entry& entry) {
  if (entry.lease == nullptr) return;
  for (const Mapping& mapping : entry.stick.mappings) {
    if (mapping.id == entry.lease->record().mapping) {
      entry.lease->follow(mapping);
      return;
    }
  }
}

std::optional<Refusal> StickRegistry::refusal_of(const Entry& entry) const {
  const PresentStick& stick = entry.stick;
  if (const auto refused = rules_.allow.refusal(stick.arrival.description)) {
    const std::size_t remedy = refused->find("; ");
    return Refusal{Refusal::Kind::not_allowed, refused->substr(0, remedy),
                   remedy == std::string::npos ? "" : refused->substr(remedy + 2)};
  }
  if (auto twin = twin_of(entry)) return twin;
  const auto decision = rules_.sticks.find(stick.identity.text());
  if (decision != rules_.sticks.end() && !decision->second.accepted_fingerprint.empty() &&
      decision->second.accepted_fingerprint != stick.fingerprint) {
    return Refusal{Refusal::Kind::descriptors_changed,
                   "its descriptors are not those that it had when it was mapped: another device "
                   "with the same serial, other firmware, or the stick is in a port of another "
                   "USB speed than before",
                   "look at the stick, and accept it if it is the right one (tillbridge stick "
                   "accept)"};
  }
  if (!stick.mappings.empty()) return std::nullopt;
  for (const Mapping& mapping : rules_.mappings) {
    if (mapping.stick.port().empty() || mapping.stick.port() != stick.arrival.busid) continue;
    return Refusal{Refusal::Kind::wrong_stick,
                   "port " + stick.arrival.busid + " is mapped for another stick, " +
                       log::printable(mapping.stick.text()),
                   "plug the right stick into this port, or map this one by its serial"};
  }
  return std::nullopt;
}

// Of two sticks that claim to be one, the first keeps the name: the other may be a copy, or a
// mix-up that would let a till sign with another till's certificate.
std::optional<Refusal> StickRegistry::twin_of(const Entry& entry) const {
  const PresentStick& stick = entry.stick;
  for (const auto& [stay, other] : entries_) {
    if (stay >= stick.stay) break;
    if (other.stick.identity == stick.identity) {
      return Refusal{
          Refusal::Kind::twin,
          "another stick with the same identity is plugged in at port " + other.stick.arrival.busid,
          "one of the two is a copy or has a serial that is not unique: unplug one"};
    }
    for (const Mapping& mapping : stick.mappings) {
      if (!mapping.stick.matches(other.stick.identity)) continue;
      return Refusal{Refusal::Kind::ambiguous,
                     "stick " + name_of(other.stick.identity) + " at port " +
                         other.stick.arrival.busid +
                         " has the same serial and the mapping says only \"" +
                         log::printable(mapping.stick.text()) + "\"",
                     "write VID:PID:SERIAL in " + rules_.file};
    }
  }
  return std::nullopt;
}

// One line for each stick on arrival, and one whenever what becomes of it changes.
void StickRegistry::tell(Entry& entry) {
  const PresentStick& stick = entry.stick;
  std::string verdict;
  log::Level level = log::Level::info;
  if (stick.refusal) {
    verdict = "is refused: " + stick.refusal->text();
    // Every keyboard of the machine is refused; only a stick that somebody waits for is worth a
    // warning.
    if (!stick.mappings.empty() || stick.refusal->kind != Refusal::Kind::not_allowed) {
      level = log::Level::warning;
    }
  } else if (!stick.mappings.empty()) {
    verdict = "belongs to till ";
    for (const Mapping& mapping : stick.mappings) {
      const std::string conditions = mapping.conditions_text();
      verdict += (&mapping == &stick.mappings.front() ? "" : ", then to till ") +
                 log::printable(mapping.till) + (conditions.empty() ? "" : " " + conditions);
    }
    if (stick.blocked_until) verdict += "; blocked " + until_text(*stick.blocked_until);
  } else {
    verdict = "belongs to no till; to map it: tillbridge map " + name_of(stick.identity) + " TILL";
    if (stick.blocked_until) verdict += "; blocked " + until_text(*stick.blocked_until);
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
  const bool first = entry.told.empty();
  entry.told = verdict;
  if (level == log::Level::warning) {
    log::warning(line, {stick.identity.text(), {}});
  } else {
    log::info(line, {stick.identity.text(), {}});
  }
  if (first) {
    observer_->stick_arrived(stick);
  } else {
    observer_->stick_judged(stick);
  }
}

void StickRegistry::wait_for_block_ends() {
  std::optional<std::chrono::system_clock::time_point> next;
  for (const auto& [stay, entry] : entries_) {
    const auto& until = entry.stick.blocked_until;
    if (until && *until != until->max() && (!next || *until < *next)) next = until;
  }
  block_timer_.cancel();
  if (!next) return;
  // Looked at every minute, since somebody may set the clock.
  const auto left = std::chrono::duration_cast<Duration>(*next - std::chrono::system_clock::now());
  const Duration wait = std::clamp<Duration>(left, Duration(0), std::chrono::minutes(1));
  block_timer_.arm(loop_.now() + wait + std::chrono::milliseconds(1), [this] { judge_all(); });
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
