// Which stick it is, whatever port it is in.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::server {

/// VID, PID and serial. A stick without a serial can only be told by the port it is in; such an
/// identity moves to whatever is plugged in there next, so logs say so.
struct StickIdentity {
  std::uint16_t vendor_id = 0, product_id = 0;
  std::string serial;
  std::string path;  ///< only without a serial

  [[nodiscard]] static StickIdentity of(const usb::DeviceDescription& description);
  [[nodiscard]] bool by_port() const noexcept { return serial.empty(); }
  /// "1209:0001:5A2F..." or, by port, "1209:0001@1-1.4": what a person writes into the
  /// configuration.
  [[nodiscard]] std::string text() const;
  /// The same in at most 31 characters of [A-Za-z0-9:@._-], as USB/IP's busid field (32 bytes with
  /// its NUL) holds. A longer or stranger identity is shortened and ends in a hash of the whole.
  [[nodiscard]] std::string busid() const;

  bool operator==(const StickIdentity&) const = default;
};

/// How a configuration names a stick: "VID:PID:SERIAL", "VID:PID@PORT", or just "SERIAL".
class StickPattern {
 public:
  [[nodiscard]] static Result<StickPattern> parse(std::string_view text);
  [[nodiscard]] bool matches(const StickIdentity& identity) const;
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// The one stick that it names; nothing for a bare serial.
  [[nodiscard]] std::optional<StickIdentity> identity() const {
    return any_model_ ? std::nullopt : std::optional<StickIdentity>(identity_);
  }
  /// The port that it names; empty for a pattern with a serial.
  [[nodiscard]] const std::string& port() const noexcept { return identity_.path; }
  /// "VID:PID" alone is not a pattern for a stick, but is what the allow-list holds.
  struct Model {
    std::uint16_t vendor_id = 0, product_id = 0;
    bool operator==(const Model&) const = default;
    bool operator<(const Model& other) const {
      return std::tie(vendor_id, product_id) < std::tie(other.vendor_id, other.product_id);
    }
  };
  [[nodiscard]] static Result<Model> parse_model(std::string_view text);

 private:
  std::string text_;
  bool any_model_ = false;
  StickIdentity identity_;
};

}  // namespace tillbridge::server
