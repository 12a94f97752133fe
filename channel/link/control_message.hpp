// What both ends say on stream 0, as JSON objects with a "type" (PROTOCOL.md lists them with
// examples).
#pragma once

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
};
/// server -> till, answers a hello: how long the server keeps the sticks and running transfers of a
/// till that lost its connection. 0: not at all.
struct Welcome {
  std::string software;
  std::uint32_t resume_grace_s = 0;  ///< at most limits::resume_grace_s
};
/// server -> till: a stick is yours; import `busid` on stream `stream`.
struct Granted {
  std::uint16_t stream = 0;
  std::string busid, label, serial;
  std::string reset_policy;
  /// Mass storage: hide the link behind each SCSI command. A server that does not say has nothing
  /// against it: it takes no part in it.
  bool pipeline = true;
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
/// either way, before closing on purpose.
struct Goodbye {
  std::string reason;
};

using ControlMessage =
    std::variant<Hello, Welcome, Granted, Revoked, NothingForYou, Released, Goodbye>;

/// Texts are cut to their limits; what is not UTF-8 in them is replaced.
[[nodiscard]] Bytes encode(const ControlMessage& message);
/// Unknown keys are ignored, missing texts are empty, control characters in texts become spaces. An
/// unknown type is an error with code `protocol` that the receiver logs and ignores; `malformed`
/// and `limit` end the link.
[[nodiscard]] Result<ControlMessage> decode_control_message(ByteView json);

}  // namespace tillbridge::link
