// The pairing protocol's messages; PROTOCOL.md says when they are sent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::pairing {

/// ALPN of the TLS connection below.
inline constexpr const char* alpn = "tillbridge-pair/1";
/// A name that every certificate of a server of this kind has, so that tills find it under whatever
/// address it has.
inline constexpr const char* server_name = "server.tillbridge.internal";

/// till -> server, first: give me a certificate.
struct Ask {
  std::string name;      ///< what the till wants to be called; may be empty with a token
  std::string software;  ///< "tillbridge 0.1.0"
  Bytes request;         ///< PKCS#10, DER, signed with the till's key
  Bytes token_id;        ///< which token; empty: without one
  Bytes proof;           ///< that the till knows it; see proof.hpp
};
/// server -> till: here it is.
struct Granted {
  std::string name;         ///< what the till is called from now on
  Bytes certificate;        ///< DER
  std::string authorities;  ///< PEM: whom the till shall trust
  std::string server_name;  ///< that the link's certificate is for; empty: the host of the line
  Bytes proof;              ///< with a token: that the server knows it
};
/// server -> till: an administrator has to approve this; wait, or come again with the same key.
struct Pending {
  std::string message;
};
enum class Refusal : std::uint8_t {
  token = 1,    ///< unknown, used, run out, or of another till
  not_allowed,  ///< an administrator said no, or this server does not do it
  limit,        ///< too many of them: come again later
  malformed     ///< it does not understand the till
};
/// server -> till, last.
struct Refused {
  Refusal why = Refusal::malformed;
  std::string message;  ///< for a person, with what to do
};
/// till -> server, last: certificate and key are on the disk.
struct Stored {};

using Message = std::variant<Ask, Granted, Pending, Refused, Stored>;

[[nodiscard]] Bytes encode(const Message& message);

/// Who reads: each end takes only what the other one sends.
enum class Reader : std::uint8_t { till, server };
/// The first whole message of `bytes`, and its size. Nothing: more is needed. Errors: `malformed`,
/// `limit`, `protocol` (a message of the wrong direction).
struct Decoded {
  Message message;
  std::size_t size = 0;
};
[[nodiscard]] Result<std::optional<Decoded>> decode(ByteView bytes, Reader reader);

}  // namespace tillbridge::pairing
