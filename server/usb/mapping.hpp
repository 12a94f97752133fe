// Which stick belongs to which till, as the admin wrote it down.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
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

struct Mapping {
  /// The prefix of `till` that means a plain USB/IP client: "usbip:192.0.2.7" or "usbip:*".
  static constexpr std::string_view usbip_prefix = "usbip:";

  StickPattern stick;
  std::string till;  ///< common name of the till's certificate, or usbip_prefix and an address
  std::string fingerprint;  ///< optional: only this very certificate
  ResetPolicy reset = ResetPolicy::soften;
  bool pipeline = true;  ///< the till may hide the link behind each SCSI command

  /// This mapping speaks of the till, apart from a fingerprint that may not fit.
  [[nodiscard]] bool names(const TillIdentity& till_identity) const;
  [[nodiscard]] bool allows(const TillIdentity& till_identity) const;
  [[nodiscard]] bool same_till(const Mapping& other) const;
};

/// All that decides who gets what; replaced as a whole when the configuration is read again.
struct Rules {
  AllowList allow;
  std::vector<Mapping> mappings;
  std::string file;  ///< where the admin changes it; for messages
};

}  // namespace tillbridge::server
