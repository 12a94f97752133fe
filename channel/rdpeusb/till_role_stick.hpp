// One stick as the till role sees it: its descriptors, the configuration in force, and every
// transfer that is out. It outlives the channels that it is announced on.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "channel/bytes/queue.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::rdpeusb::till {

using Outputs = Queue<TillRole::Output>;

class Stick {
 public:
  /// A transfer that was submitted and has not completed.
  struct Flight {
    /// RequestId that it serves; nothing once nobody waits for it any more.
    std::optional<std::uint32_t> request;
    std::uint32_t length = 0;
    /// What the stick's state becomes if it succeeds.
    std::optional<usb::HostRequest> host_request;
    bool cancel_sent = false;
  };

  /// @param by_path see identity_of()
  Stick(DeviceId id, TillDevice device, bool by_path, Outputs& outputs);

  [[nodiscard]] DeviceId id() const noexcept { return id_; }
  [[nodiscard]] const usb::DeviceDescription& description() const noexcept {
    return device_.description;
  }
  [[nodiscard]] ResetPolicy reset_policy() const noexcept { return device_.reset; }
  [[nodiscard]] bool named_by_path() const noexcept { return by_path_; }
  [[nodiscard]] std::string label() const { return device_.description.label(); }
  /// A new description of the same stick, which is being offered anew.
  void describe(TillDevice device);

  // --- the configuration in force
  /// nullptr: unconfigured.
  [[nodiscard]] const usb::Configuration* configuration() const noexcept;
  [[nodiscard]] std::uint8_t alternate_setting(std::uint8_t interface_number) const noexcept;
  /// Whether the current alternate settings have this endpoint (endpoint 0 is always there).
  [[nodiscard]] bool has_endpoint(std::uint8_t address) const noexcept;

  // --- Microsoft OS descriptors: asked for at most once per stick (rdpeusb.md 4.6)
  enum class OsDescriptor : std::uint8_t { unknown, none, known };
  OsDescriptor os_descriptor = OsDescriptor::unknown;
  std::uint8_t os_vendor_code = 0;  ///< if known

  // --- transfers
  /// Sends the transfer on its way under an id of its own.
  usb::TransferId submit(std::uint32_t request, usb::Transfer transfer);
  /// Asks for its end; at most one Cancel goes out for it.
  void cancel(usb::TransferId id);
  /// Cancels all that is out; nobody waits for any of it any more.
  void abandon_all();
  /// A completion came. Nothing if no such transfer is out. The stick's state follows a host
  /// request that succeeded, waited for or not.
  std::optional<Flight> land(const usb::Completion& completion);

  [[nodiscard]] bool idle() const noexcept { return flights_.empty(); }
  /// Transfers nobody waits for, which still take up the stick.
  [[nodiscard]] std::size_t abandoned() const noexcept { return abandoned_; }
  [[nodiscard]] std::size_t abandoned_bytes() const noexcept { return abandoned_bytes_; }
  /// Whether one of them may still change the configuration, so that nobody knows which is in
  /// force.
  [[nodiscard]] bool unsettled() const noexcept { return abandoned_host_requests_ != 0; }

 private:
  DeviceId id_;
  TillDevice device_;
  bool by_path_;
  Outputs& outputs_;
  std::uint8_t active_configuration_;
  std::map<std::uint8_t, std::uint8_t> alternate_settings_;  ///< non-zero ones, by interface number
  using Flights = std::map<usb::TransferId, Flight>;
  Flights flights_;
  SpareNodes<Flights> spare_flights_;
  usb::TransferId last_transfer_ = 0;
  std::size_t abandoned_ = 0;
  std::size_t abandoned_bytes_ = 0;
  std::size_t abandoned_host_requests_ = 0;
};

}  // namespace tillbridge::rdpeusb::till
