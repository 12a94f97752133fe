// What both ends say on stream 0, as JSON objects with a "type" (PROTOCOL.md lists them with
// examples).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::link {

/// till -> server, first message: what the mapping and the audit want to know of the session. Free
/// text of a person's configuration or of the RDP connection; at most limits::name_bytes each.
/// Never used as identity: that is the certificate.
struct Hello {
  std::string software;         ///< "tillbridge 0.1.0"
  std::string client_name;      ///< the thin client's name
  std::string user, domain;     ///< of the RDP session
  std::string terminal_server;  ///< the host that the thin client connects to
  /// A look at the way to the server, no session of a person: it never takes over from one. If the
  /// till has another session, Welcome says so, and this one gets no stick.
  bool examines = false;
  /// It understands Restarting, Granted::continues and Goodbye::restarting: its sticks stay in the
  /// RDP session while the server is restarted.
  bool holds = false;
};
/// server -> till, answers a hello: how long the server keeps the sticks and running transfers of a
/// till that lost its connection. 0: not at all.
struct Welcome {
  std::string software;
  std::uint32_t resume_grace_s = 0;  ///< at most limits::resume_grace_s
  bool renews = false;               ///< it answers Renew for the certificate of this till
  std::uint32_t time_s = 0;          ///< its clock, seconds since 1970; 0: it does not say
  std::string busy;                  ///< to one that examines: the till's session that goes on
};
/// server -> till: a stick is yours; import `busid` on stream `stream`.
struct Granted {
  std::uint16_t stream = 0;
  std::string busid, label, serial;
  std::string reset_policy;
  /// Mass storage: hide the link behind each SCSI command. A server that does not say has nothing
  /// against it: it takes no part in it.
  bool pipeline = true;
  /// The server was restarted, and this very session had the stick before: since then nobody else
  /// had it, and it did not leave the bus. What the till has of the device is still so. Otherwise
  /// it is another use of the stick, even if the till still has one of the same busid.
  bool continues = false;
};
/// server -> till: the admin took it away, or the stick was unplugged. The stream is dead.
struct Revoked {
  std::uint16_t stream = 0;
  std::string reason;
  bool unplugged = false;
};
/// server -> till: this till gets no stick now; `message` says why and what to do. The link stays
/// up: a stick may come.
struct NothingForYou {
  std::string message;
};
/// till -> server: done with the stick of this stream.
struct Released {
  std::uint16_t stream = 0;
};
/// till -> server: a certificate like the one that it has, for a new key. `request`: PKCS#10, DER,
/// at most certificate_bytes.
struct Renew {
  Bytes request;
};
/// server -> till, answers Renew. The session belongs to both certificates from then on.
struct Renewed {
  Bytes certificate;  ///< DER
};
/// server -> till, answers Renew; the till may ask again later.
struct NotRenewed {
  std::string reason;
};
/// server -> till that holds: the server will restart. Begin no transfer any more, let what a
/// command needs that has begun go on to its end, take back reads that only wait, then say Paused.
struct Restarting {
  std::uint16_t within_s = 0;  ///< after this long the server goes anyway
};
/// till -> server, answers Restarting: nothing of it is under way any more, on any stick.
struct Paused {};
/// either way, before closing on purpose.
struct Goodbye {
  std::string reason;
  /// From the server: it will be back in a moment. A till that holds keeps its sticks as if the
  /// connection were lost without a word.
  bool restarting = false;
};

using ControlMessage = std::variant<Hello, Welcome, Granted, Revoked, NothingForYou, Released,
                                    Goodbye, Renew, Renewed, NotRenewed, Restarting, Paused>;

/// A certificate or a request for one, in a control message.
inline constexpr std::size_t certificate_bytes = 4096;

/// Texts are cut to their limits; what is not UTF-8 in them is replaced.
[[nodiscard]] Bytes encode(const ControlMessage& message);
/// Unknown keys are ignored, missing texts are empty, control characters in texts become spaces. An
/// unknown type is an error with code `protocol` that the receiver logs and ignores; `malformed`
/// and `limit` end the link.
[[nodiscard]] Result<ControlMessage> decode_control_message(ByteView json);

}  // namespace tillbridge::link
