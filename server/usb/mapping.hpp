// Which stick belongs to which till, as the admin wrote it down.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/usb/allow_list.hpp"
#include "server/usb/stick_identity.hpp"

namespace tillbridge::server {

/// What happens when a session asks for a port reset. A real one takes the time and the self test
/// from a TSE.
enum class ResetPolicy : std::uint8_t {
  soften,  ///< mass storage: Bulk-Only reset and cleared halts; anything else: answered, not
           ///< carried out
  pass,    ///< carried out on the port
  refuse   ///< answered as refused
};
[[nodiscard]] std::string_view text(ResetPolicy policy);

/// Who a connection is for the mapping: a till's certificate, or the address of a plain USB/IP
/// client.
struct TillIdentity {
  enum class Kind : std::uint8_t { certificate, usbip_address };
  Kind kind = Kind::certificate;
  std::string name;         ///< common name, or the address without its port
  std::string fingerprint;  ///< SHA-256 of the certificate in lower-case hex
};

/// What a till says of its session: free text of the RDP connection, for conditions, display and
/// audit. Never an identity.
struct SessionFacts {
  std::string software, client_name, user, domain, terminal_server;
  /// "user LADEN\anna on ts.example from kasse-03", printable; empty if nothing was said.
  [[nodiscard]] std::string text() const;
  bool operator==(const SessionFacts&) const = default;
};

/// Who asks for a stick: a till (or a USB/IP client) in one of its sessions.
struct Claimant {
  Claimant(TillIdentity till_identity, SessionFacts session_facts = {},
           std::string session_name = {})
      : till(std::move(till_identity)),
        facts(std::move(session_facts)),
        session(std::move(session_name)) {}
  TillIdentity till;
  SessionFacts facts;
  /// Names the session for as long as it lives, reconnections included. A plain USB/IP client has
  /// none of its own: all of an address are one.
  std::string session;
};

struct Mapping {
  /// The prefix of `till` that means a plain USB/IP client: "usbip:192.0.2.7" or "usbip:*".
  static constexpr std::string_view usbip_prefix = "usbip:";
  enum class Source : std::uint8_t { file, admin };

  std::string id;  ///< names it in the interfaces; unique among the rules
  Source source = Source::file;
  StickPattern stick;
  std::string till;  ///< common name of the till's certificate, or usbip_prefix and an address
  std::string fingerprint;  ///< optional: only this very certificate
  /// Optional: only for sessions of this user ("anna", or "LADEN\\anna" with the domain) and to
  /// this terminal server. Case does not matter.
  std::string user, terminal_server;
  ResetPolicy reset = ResetPolicy::soften;
  bool pipeline = true;  ///< the till may hide the link behind each SCSI command

  /// This mapping speaks of the till, apart from a fingerprint that may not fit.
  [[nodiscard]] bool names(const TillIdentity& till_identity) const;
  [[nodiscard]] bool allows(const TillIdentity& till_identity) const;
  /// Its conditions on the session are fulfilled.
  [[nodiscard]] bool suits(const SessionFacts& facts) const;
  [[nodiscard]] bool fits(const Claimant& claimant) const {
    return allows(claimant.till) && suits(claimant.facts);
  }
  /// "for user anna on ts1"; empty without conditions.
  [[nodiscard]] std::string conditions_text() const;
};

/// What the admin decided about one stick.
struct StickDecision {
  /// Given to nobody until then; time_point::max(): until somebody unblocks it.
  std::optional<std::chrono::system_clock::time_point> blocked_until;
  /// Of its descriptors, see descriptor_fingerprint(); empty: whatever it has.
  std::string accepted_fingerprint;
};

/// All that decides who gets what; replaced as a whole whenever something of it changes.
struct Rules {
  AllowList allow;
  /// In the order in which they are looked at: for each stick the first whose till is connected and
  /// whose conditions are fulfilled.
  std::vector<Mapping> mappings;
  std::map<std::string, StickDecision> sticks;  ///< by StickIdentity::text()
  std::set<std::string> revoked;  ///< fingerprints of certificates that are not let in any more
  bool draining = false;          ///< no new leases; those that run go on
  std::string file;               ///< where the admin changes it; for messages
};

}  // namespace tillbridge::server
