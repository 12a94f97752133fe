// All that there is to be seen, at one moment, as values: for the state document, metrics, and
// whoever else looks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "server/store/rows.hpp"
#include "server/usb/latency.hpp"
#include "server/usb/mapping.hpp"

namespace tillbridge::admin {

using store::Time;

enum class StickState : std::uint8_t {
  in_use,
  waiting,  ///< its till's connection is lost and waited for
  offered,
  free,  ///< mapped, but no till there that it is for
  unmapped,
  refused,
  blocked,
  absent
};
[[nodiscard]] std::string_view text(StickState state);

enum class TillState : std::uint8_t {
  connected,
  resuming,  ///< its connection is lost, and it is waited for
  lost,      ///< it did not come back in time
  away,      ///< it said goodbye
  never_seen,
  revoked
};
inline constexpr std::size_t till_states = 6;
[[nodiscard]] std::string_view text(TillState state);

struct StickView {
  std::string id;  ///< server::StickIdentity::text()
  std::uint16_t vendor_id = 0, product_id = 0;
  std::string serial;
  bool by_port = false;
  std::string label, product, manufacturer;
  /// "swissbit", "cryptovision", "diebold" if the model is known as one; empty otherwise.
  std::string family;
  std::string port;
  bool present = false;
  std::optional<Time> first_seen, last_seen;
  StickState state = StickState::absent;
  std::string problem, remedy;  ///< why a till does not get it; empty if nothing is wrong
  std::string fingerprint, fingerprint_accepted;
  std::optional<Time> blocked_until;  ///< Time::max(): until somebody unblocks it
  std::vector<std::string> mappings;  ///< ids, in their order
  std::string lease;                  ///< id; empty: none
};

struct CertificateView {
  std::string fingerprint;
  std::optional<Time> not_after;  ///< not known of a certificate that another authority issued
  bool revoked = false;
};

/// Since the program's start, or since the till became known.
struct TillTimes {
  Time since{};                                ///< of the state that it is in
  std::array<Duration, till_states> before{};  ///< in each state, until then
  Duration now{};                              ///< in this one, since then
};

struct TillView {
  std::string name, label, address, note;
  TillState state = TillState::never_seen;
  TillTimes times;
  std::optional<Time> last_seen;
  std::optional<server::SessionFacts> session;
  std::optional<CertificateView> certificate;
  std::optional<Duration> round_trip;
  std::vector<std::string> mappings;  ///< ids
};

struct MappingView {
  std::string id;     ///< "12"; "file-3" for those of the configuration file
  std::string stick;  ///< id of the stick, or what the file calls it
  std::string till, user, terminal_server;
  std::uint32_t position = 1;
  bool from_file = false;
  std::string reset;
  bool pipeline = true;
  std::optional<Time> created;
  std::string created_by, reason;
  bool active = false;  ///< a lease runs by it
};

struct LeaseView {
  std::string id, stick, till, address;
  server::SessionFacts session;
  Time since;
  std::optional<Time> away_since;
  std::uint32_t times_away = 0;
  std::uint64_t transfers = 0, errors = 0, bytes_in = 0, bytes_out = 0;
  server::LatencyHistogram latency;             ///< of the whole lease
  std::optional<std::uint32_t> p50_us, p99_us;  ///< of the last minute
  std::optional<Duration> round_trip;
};

struct PendingView {
  std::string id;  ///< fingerprint of its key
  std::string name, address, words;
  Time first_seen, last_seen;
};

/// Something that somebody should look at. `kind` is stable: stick_gone, wrong_stick,
/// descriptors_changed, stick_twin, till_lost, certificate_ending, store_unwritable,
/// audit_unwritable, audit_damaged.
struct Alarm {
  std::string id, kind;
  Time since;
  std::string stick, till;  ///< may be empty
  std::string text, remedy;
  bool operator==(const Alarm&) const = default;
};

struct ServerView {
  std::string name, version;
  Time started;
  std::string fingerprint, words;  ///< of its authority; empty without one
  bool draining = false;
  std::uint32_t grace_s = 0;
};

struct State {
  std::uint64_t version = 0;
  ServerView server;
  std::vector<StickView> sticks;
  std::vector<TillView> tills;
  std::vector<MappingView> mappings;
  std::vector<LeaseView> leases;
  std::vector<PendingView> pending;
  std::vector<Alarm> alarms;
};

}  // namespace tillbridge::admin
