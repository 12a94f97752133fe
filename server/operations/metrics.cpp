#include "server/operations/metrics.hpp"

#include <array>
#include <charconv>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

namespace tillbridge::operations {

namespace {

using Labels = std::vector<std::pair<std::string_view, std::string_view>>;

/// A label's value: backslash, quote and line break are escaped. What is not UTF-8 would make the
/// whole page unreadable to Prometheus.
std::string escaped(std::string_view value) {
  std::string text;
  while (!value.empty()) {
    const auto first = static_cast<unsigned char>(value.front());
    std::size_t length = first < 0x80                     ? 1
                         : first >= 0xC2 && first <= 0xDF ? 2
                         : first >= 0xE0 && first <= 0xEF ? 3
                         : first >= 0xF0 && first <= 0xF4 ? 4
                                                          : 0;
    bool whole = length > 0 && length <= value.size();
    for (std::size_t index = 1; whole && index < length; ++index) {
      whole = (static_cast<unsigned char>(value[index]) & 0xC0U) == 0x80U;
    }
    // Of the forms that are too long, surrogates and above U+10FFFF.
    if (whole && length >= 3) {
      const auto second = static_cast<unsigned char>(value[1]);
      whole = !(first == 0xE0 && second < 0xA0) && !(first == 0xED && second > 0x9F) &&
              !(first == 0xF0 && second < 0x90) && !(first == 0xF4 && second > 0x8F);
    }
    if (!whole) {
      text += '?';
      value.remove_prefix(1);
      continue;
    }
    if (first == '\\' || first == '"') {
      text += '\\';
      text += value.front();
    } else if (first == '\n') {
      text += "\\n";
    } else {
      text += value.substr(0, length);
    }
    value.remove_prefix(length);
  }
  return text;
}

std::string number(double value) {
  std::array<char, 32> digits{};
  const auto end = std::to_chars(digits.begin(), digits.end(), value);
  return {digits.begin(), end.ptr};
}

double seconds(admin::Time time) {
  return static_cast<double>(
             std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch())
                 .count()) /
         1000;
}

class Page {
 public:
  void family(std::string_view name, std::string_view type, std::string_view help) {
    name_ = name;
    text_.append("# HELP ").append(name).append(1, ' ').append(help).append("\n# TYPE ");
    text_.append(name).append(1, ' ').append(type).append(1, '\n');
  }
  void sample(const Labels& labels, const std::string& value, std::string_view suffix = {}) {
    text_.append(name_).append(suffix);
    char separator = '{';
    for (const auto& [name, content] : labels) {
      text_.append(1, separator).append(name).append("=\"").append(escaped(content)).append(1, '"');
      separator = ',';
    }
    text_.append(labels.empty() ? " " : "} ").append(value).append(1, '\n');
  }
  void sample(const Labels& labels, std::uint64_t value) { sample(labels, std::to_string(value)); }
  void sample(const Labels& labels, double value) { sample(labels, number(value)); }
  /// Buckets at 128 us, 256 us and so on to 67 s. The histogram counts whole microseconds, so what
  /// is in the buckets below 2^n of them took less than 2^n.
  void histogram(const Labels& labels, const server::LatencyHistogram& latency) {
    constexpr unsigned first = 7, last = server::LatencyHistogram::powers;
    std::uint64_t seen = 0;
    std::size_t bucket = 0;
    for (unsigned power = first; power <= last; ++power) {
      const std::uint64_t bound = std::uint64_t{1} << power;
      while (bucket + 1 < server::LatencyHistogram::buckets &&
             server::LatencyHistogram::upper_us(bucket) < bound) {
        seen += latency.at(bucket++);
      }
      const std::string edge = number(static_cast<double>(bound) / 1e6);
      Labels all = labels;
      all.emplace_back("le", edge);
      sample(all, std::to_string(seen), "_bucket");
    }
    Labels all = labels;
    all.emplace_back("le", "+Inf");
    sample(all, std::to_string(latency.count()), "_bucket");
    sample(labels, number(static_cast<double>(latency.sum_us()) / 1e6), "_sum");
    sample(labels, std::to_string(latency.count()), "_count");
  }
  [[nodiscard]] std::string text() && { return std::move(text_); }

 private:
  std::string name_, text_;
};

/// One series for each word that a state may be.
template <typename State, std::size_t count>
void states(Page& page, const Labels& labels, State now, const std::array<State, count>& all) {
  for (const State state : all) {
    Labels with = labels;
    with.emplace_back("state", admin::text(state));
    page.sample(with, std::uint64_t{state == now ? 1U : 0U});
  }
}

void server_part(Page& page, const admin::State& state,
                 const admin::Administration::Counts& counts) {
  page.family("tillbridge_build_info", "gauge", "The version that runs; always 1.");
  page.sample({{"version", state.server.version}}, std::uint64_t{1});
  page.family("tillbridge_start_time_seconds", "gauge", "When the server was started, Unix time.");
  page.sample({}, seconds(state.server.started));
  page.family("tillbridge_draining", "gauge", "1 while no stick is given out (tillbridge drain).");
  page.sample({}, std::uint64_t{state.server.draining ? 1U : 0U});
  page.family("tillbridge_leases_begun_total", "counter", "Leases that have begun.");
  page.sample({}, counts.leases);
  page.family("tillbridge_refused_connections_total", "counter",
              "Connections to the tills' port that were refused.");
  page.sample({}, counts.refused_connections);
  page.family("tillbridge_changes_total", "counter", "Changes that administrators made.");
  page.sample({}, counts.changes);
  page.family("tillbridge_pending_tills", "gauge", "Tills that wait to be approved.");
  page.sample({}, std::uint64_t{state.pending.size()});

  // Every kind that an alarm may have, so that an expression over it never finds nothing.
  std::map<std::string, std::uint64_t> kinds;
  for (const char* kind :
       {"stick_gone", "wrong_stick", "descriptors_changed", "stick_twin", "till_lost",
        "certificate_ending", "store_unwritable", "audit_unwritable", "audit_damaged"}) {
    kinds[kind] = 0;
  }
  for (const admin::Alarm& alarm : state.alarms) kinds[alarm.kind] += 1;
  page.family("tillbridge_alarms", "gauge", "Alarms that are on, by kind.");
  for (const auto& [kind, number_of_them] : kinds) page.sample({{"kind", kind}}, number_of_them);
}

void sticks_part(Page& page, const admin::State& state) {
  using admin::StickState;
  constexpr std::array<StickState, 8> all{
      StickState::in_use,   StickState::waiting, StickState::offered, StickState::free,
      StickState::unmapped, StickState::refused, StickState::blocked, StickState::absent};
  page.family("tillbridge_stick_info", "gauge", "What a stick is; always 1.");
  for (const admin::StickView& stick : state.sticks) {
    page.sample({{"stick", stick.id},
                 {"label", stick.label},
                 {"product", stick.product},
                 {"family", stick.family},
                 {"port", stick.port}},
                std::uint64_t{1});
  }
  page.family("tillbridge_stick_state", "gauge",
              "1 for the state that a stick is in, otherwise 0.");
  for (const admin::StickView& stick : state.sticks) {
    states(page, {{"stick", stick.id}}, stick.state, all);
  }
  page.family("tillbridge_stick_present", "gauge", "1 while a stick is plugged in.");
  for (const admin::StickView& stick : state.sticks) {
    page.sample({{"stick", stick.id}}, std::uint64_t{stick.present ? 1U : 0U});
  }
}

void counts_of_tills(Page& page, const admin::State& state,
                     const std::map<std::string, std::uint64_t>& counts) {
  for (const admin::TillView& till : state.tills) {
    const auto found = counts.find(till.name);
    page.sample({{"till", till.name}}, found == counts.end() ? 0 : found->second);
  }
}

void tills_part(Page& page, const admin::State& state, const Totals& totals, admin::Time now) {
  using admin::TillState;
  constexpr std::array<TillState, 6> all{TillState::connected,  TillState::resuming,
                                         TillState::lost,       TillState::away,
                                         TillState::never_seen, TillState::revoked};
  page.family("tillbridge_till_state", "gauge", "1 for the state that a till is in, otherwise 0.");
  for (const admin::TillView& till : state.tills) {
    states(page, {{"till", till.name}}, till.state, all);
  }
  // Each till has its line, also one without a lease, so that a rule can say which has none.
  std::map<std::string, std::uint64_t> leases;
  for (const admin::LeaseView& lease : state.leases) leases[lease.till] += 1;
  page.family("tillbridge_till_sticks", "gauge", "How many sticks a till has now.");
  counts_of_tills(page, state, leases);
  page.family("tillbridge_till_state_seconds_total", "counter",
              "How long a till has been in each state since the server's start.");
  for (const admin::TillView& till : state.tills) {
    for (const TillState each : all) {
      Duration spent = till.times.before.at(static_cast<std::size_t>(each));
      if (each == till.state) spent += till.times.now;
      page.sample({{"till", till.name}, {"state", admin::text(each)}},
                  static_cast<double>(spent.count()) / 1e6);
    }
  }
  page.family("tillbridge_till_reconnects_total", "counter",
              "How often a till's connection was lost and its session went on.");
  counts_of_tills(page, state, totals.reconnects());
  page.family("tillbridge_till_losses_total", "counter",
              "How often a till's connection was lost and the till did not come back in time.");
  counts_of_tills(page, state, totals.losses());
  page.family("tillbridge_till_round_trip_seconds", "gauge",
              "The link's round-trip time, as last measured.");
  for (const admin::TillView& till : state.tills) {
    if (!till.round_trip) continue;
    page.sample({{"till", till.name}}, static_cast<double>(till.round_trip->count()) / 1e6);
  }
  page.family("tillbridge_till_certificate_expiry_timestamp_seconds", "gauge",
              "When a till's certificate ends, Unix time.");
  const auto each_end = [&](const auto& look) {
    for (const admin::TillView& till : state.tills) {
      if (till.certificate && till.certificate->not_after) {
        look(till, *till.certificate->not_after);
      }
    }
  };
  each_end([&](const admin::TillView& till, admin::Time end) {
    page.sample({{"till", till.name}}, seconds(end));
  });
  page.family("tillbridge_till_certificate_remaining_seconds", "gauge",
              "How long a till's certificate is still good, below 0 once it has ended; 86400 are "
              "a day.");
  each_end([&](const admin::TillView& till, admin::Time end) {
    page.sample({{"till", till.name}}, seconds(end) - seconds(now));
  });
}

void transfers_part(Page& page, const admin::State& state, const Totals& totals) {
  std::map<Totals::Pair, Total> pairs = totals.ended();
  for (const admin::LeaseView& lease : state.leases) {
    Total& total = pairs[{lease.stick, lease.till}];
    total.leases += 1;
    total.transfers += lease.transfers;
    total.errors += lease.errors;
    total.bytes_in += lease.bytes_in;
    total.bytes_out += lease.bytes_out;
    total.latency.add(lease.latency);
  }
  const auto each = [&](std::uint64_t Total::*member) {
    for (const auto& [pair, total] : pairs) {
      page.sample({{"stick", pair.first}, {"till", pair.second}}, total.*member);
    }
  };
  page.family("tillbridge_leases_total", "counter", "How often a till had a stick.");
  each(&Total::leases);
  page.family("tillbridge_transfers_total", "counter", "USB transfers that have ended.");
  each(&Total::transfers);
  page.family("tillbridge_transfer_errors_total", "counter",
              "USB transfers that failed; a stall is an answer and a cancel a wish.");
  each(&Total::errors);
  page.family("tillbridge_received_bytes_total", "counter", "Bytes that came from a stick.");
  each(&Total::bytes_in);
  page.family("tillbridge_sent_bytes_total", "counter", "Bytes that went to a stick.");
  each(&Total::bytes_out);
  page.family("tillbridge_transfer_duration_seconds", "histogram",
              "From a transfer's arrival at the server to the stick's answer.");
  for (const auto& [pair, total] : pairs) {
    page.histogram({{"stick", pair.first}, {"till", pair.second}}, total.latency);
  }
}

}  // namespace

std::string metrics(const admin::State& state, const Totals& totals,
                    const admin::Administration::Counts& counts, admin::Time now) {
  Page page;
  server_part(page, state, counts);
  sticks_part(page, state);
  tills_part(page, state, totals, now);
  transfers_part(page, state, totals);
  return std::move(page).text();
}

}  // namespace tillbridge::operations
