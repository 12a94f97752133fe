// A decoded message as its name and its fields under the specification's names, for transcripts
// and for tests.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "channel/rdpeusb/pdu/message.hpp"

namespace tillbridge::rdpeusb::pdu {

struct Field;
using Fields = std::vector<Field>;

/// Bytes that the protocol itself defines or that every host reads: paddings, setup packets,
/// configuration descriptors.
struct Opaque {
  Bytes bytes;
};

/// InputBuffer and OutputBuffer: what the device and its driver say to each other. A TSE's data and
/// PINs are in here, so whoever writes it down must have been asked to.
struct Payload {
  ByteView bytes;  ///< into the message
};

/// One field of a message. Strings have {cch, text}, multi-strings {cch, list}, as structures.
struct Field {
  using Value = std::variant<std::uint32_t, std::string, std::vector<std::string>, Opaque, Payload,
                             Fields, std::vector<Fields>>;
  std::string name;
  Value value;
};

struct Description {
  /// "TRANSFER_IN_REQUEST"; for what is no message "IGNORED", "UNKNOWN_FUNCTION", "BAD_REQUEST".
  std::string name;
  /// What it is about, for a person: the URB function, the I/O control code, how a request ended;
  /// the reason for what is no message. Often empty.
  std::string detail;
  /// In the order of the wire, lengths and counts included; what is no message has none but what
  /// names the request.
  Fields fields;
  bool is_message = true;
};

/// The views in `message` must still be valid, and so must the message while the description is
/// used.
[[nodiscard]] Description describe(const FromServer& message);
[[nodiscard]] Description describe(const FromTill& message);

}  // namespace tillbridge::rdpeusb::pdu
