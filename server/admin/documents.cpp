#include "server/admin/documents.hpp"

#include <array>
#include <ctime>

namespace tillbridge::admin {

namespace {

Json number_or_null(const std::optional<std::uint32_t>& number) {
  return number ? Json(*number) : Json();
}

Json microseconds(const std::optional<Duration>& duration) {
  return duration ? Json(duration->count()) : Json();
}

Json facts_document(const server::SessionFacts& facts) {
  return {{"user", facts.user},
          {"domain", facts.domain},
          {"terminal_server", facts.terminal_server},
          {"client_name", facts.client_name},
          {"software", facts.software}};
}

template <typename Views, typename... More>
Json list(const Views& views, const More&... more) {
  Json all = Json::array();
  for (const auto& view : views) all.push_back(document(view, more...));
  return all;
}

// Without the time since `since`: the document is the same until something happens.
Json seconds_in(const TillTimes& times) {
  Json seconds = Json::object();
  for (std::size_t state = 0; state < till_states; ++state) {
    const auto word = std::string(text(static_cast<TillState>(state)));
    seconds[word] =
        static_cast<double>(times.before.at(state) / std::chrono::milliseconds(1)) / 1000;
  }
  return seconds;
}

}  // namespace

std::string_view text(StickState state) {
  switch (state) {
    case StickState::in_use:
      return "in_use";
    case StickState::waiting:
      return "waiting";
    case StickState::offered:
      return "offered";
    case StickState::free:
      return "free";
    case StickState::unmapped:
      return "unmapped";
    case StickState::refused:
      return "refused";
    case StickState::blocked:
      return "blocked";
    case StickState::absent:
      break;
  }
  return "absent";
}

std::string_view text(TillState state) {
  switch (state) {
    case TillState::connected:
      return "connected";
    case TillState::resuming:
      return "resuming";
    case TillState::lost:
      return "lost";
    case TillState::away:
      return "away";
    case TillState::never_seen:
      return "never_seen";
    case TillState::revoked:
      break;
  }
  return "revoked";
}

std::string rfc3339(Time time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> buffer{};
  const std::size_t size =
      std::strftime(buffer.data(), buffer.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return {buffer.data(), size};
}

Json time_or_null(const std::optional<Time>& time) {
  return time ? Json(rfc3339(*time)) : Json();
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json document(const ServerView& server, Time now) {
  return {{"name", server.name},
          {"version", server.version},
          {"started", rfc3339(server.started)},
          {"fingerprint", server.fingerprint},
          {"words", server.words},
          {"draining", server.draining},
          {"grace_s", server.grace_s},
          {"time", rfc3339(now)}};
}

Json document(const StickView& stick) {
  // "forever" is no time of RFC 3339: a block without an end says so in a word of its own.
  const bool forever = stick.blocked_until == Time::max();
  return {{"id", stick.id},
          {"vendor_id", stick.vendor_id},
          {"product_id", stick.product_id},
          {"serial", stick.serial},
          {"by_port", stick.by_port},
          {"label", stick.label},
          {"product", stick.product},
          {"manufacturer", stick.manufacturer},
          {"family", stick.family},
          {"port", stick.port},
          {"present", stick.present},
          {"first_seen", time_or_null(stick.first_seen)},
          {"last_seen", time_or_null(stick.last_seen)},
          {"state", text(stick.state)},
          {"problem", stick.problem},
          {"remedy", stick.remedy},
          {"fingerprint", stick.fingerprint},
          {"fingerprint_accepted", stick.fingerprint_accepted},
          {"blocked", stick.blocked_until.has_value()},
          {"blocked_until", forever ? Json() : time_or_null(stick.blocked_until)},
          {"mappings", stick.mappings},
          {"lease", stick.lease.empty() ? Json() : Json(stick.lease)}};
}

Json document(const TillView& till, Time now) {
  Json certificate;
  if (till.certificate) {
    const auto& end = till.certificate->not_after;
    certificate = {
        {"fingerprint", till.certificate->fingerprint},
        {"not_after", time_or_null(end)},
        {"days_left",
         end ? Json(std::chrono::duration_cast<std::chrono::hours>(*end - now).count() / 24)
             : Json()},
        {"revoked", till.certificate->revoked}};
  }
  return {{"name", till.name},
          {"label", till.label},
          {"state", text(till.state)},
          {"state_since", rfc3339(till.times.since)},
          {"seconds_in", seconds_in(till.times)},
          {"address", till.address},
          {"last_seen", time_or_null(till.last_seen)},
          {"session", till.session ? facts_document(*till.session) : Json()},
          {"certificate", certificate},
          {"rtt_us", microseconds(till.round_trip)},
          {"mappings", till.mappings},
          {"note", till.note}};
}

Json document(const MappingView& mapping) {
  return {{"id", mapping.id},
          {"stick", mapping.stick},
          {"till", mapping.till},
          {"user", mapping.user},
          {"terminal_server", mapping.terminal_server},
          {"position", mapping.position},
          {"source", mapping.from_file ? "file" : "admin"},
          {"reset", mapping.reset},
          {"pipeline", mapping.pipeline},
          {"created", time_or_null(mapping.created)},
          {"created_by", mapping.created_by},
          {"reason", mapping.reason},
          {"active", mapping.active}};
}

Json document(const LeaseView& lease) {
  return {{"id", lease.id},
          {"stick", lease.stick},
          {"till", lease.till},
          {"address", lease.address},
          {"session", facts_document(lease.session)},
          {"since", rfc3339(lease.since)},
          {"state", lease.away_since ? "away" : "active"},
          {"away_since", time_or_null(lease.away_since)},
          {"times_away", lease.times_away},
          {"transfers", lease.transfers},
          {"errors", lease.errors},
          {"bytes_in", lease.bytes_in},
          {"bytes_out", lease.bytes_out},
          {"p50_us", number_or_null(lease.p50_us)},
          {"p99_us", number_or_null(lease.p99_us)},
          {"p50_all_us", number_or_null(lease.latency.percentile(50))},
          {"p99_all_us", number_or_null(lease.latency.percentile(99))},
          {"rtt_us", microseconds(lease.round_trip)}};
}

Json document(const PendingView& pending) {
  return {{"id", pending.id},
          {"name", pending.name},
          {"address", pending.address},
          {"words", pending.words},
          {"first_seen", rfc3339(pending.first_seen)},
          {"last_seen", rfc3339(pending.last_seen)}};
}

Json document(const Alarm& alarm) {
  return {{"id", alarm.id},        {"kind", alarm.kind}, {"since", rfc3339(alarm.since)},
          {"stick", alarm.stick},  {"till", alarm.till}, {"text", alarm.text},
          {"remedy", alarm.remedy}};
}

Json document(const State& state, Time now) {
  return {{"version", state.version},         {"server", document(state.server, now)},
          {"sticks", list(state.sticks)},     {"tills", list(state.tills, now)},
          {"mappings", list(state.mappings)}, {"leases", list(state.leases)},
          {"pending", list(state.pending)},   {"alarms", list(state.alarms)}};
}

Json document(const audit::Line& line) {
  Json details = Json::object();
  for (const auto& [field, value] : line.entry.details) {
    std::visit([&, name = std::string(audit::text(field))](
                   const auto& content) { details[name] = content; },
               value);
  }
  return {{"n", line.n},
          {"time", audit::time_text(line.time)},
          {"kind", audit::text(line.entry.kind)},
          {"who", line.entry.who},
          {"stick", line.entry.stick},
          {"till", line.entry.till},
          {"reason", line.entry.reason},
          {"details", std::move(details)}};
}

Json document(const audit::Report& report) {
  return Json::parse(audit::write_report(report));
}

}  // namespace tillbridge::admin
