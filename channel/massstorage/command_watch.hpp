// CommandWatch: whether a SCSI command of Bulk-Only Transport has begun and not ended.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "channel/massstorage/command_block.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::massstorage {

/// Looks at the transfers that go to a stick and at their ends, in their order, and touches none.
/// Sans-I/O. Only the first interface 08/06/50 of a configuration, as Pipeline.
class CommandWatch {
 public:
  /// A command without an interface that could have one never is.
  explicit CommandWatch(const usb::DeviceDescription& device);

  /// A bulk transfer of the watched interface.
  [[nodiscard]] bool concerns(const usb::Transfer& transfer) const noexcept;
  /// An OUT transfer that the stick would take for a command block.
  [[nodiscard]] bool begins_command(const usb::Transfer& transfer) const noexcept;
  void submitted(const usb::Transfer& transfer);
  void completed(const usb::Completion& completion);
  /// Nobody knows any more what the stick waits for.
  void forget() noexcept;

  /// From the command block on its way to the stick until its status came back. Also until a reset
  /// when the host gave the command up in the middle.
  [[nodiscard]] bool in_command() const noexcept { return in_command_; }

  /// What it would take to end the command that runs. Meaningful while in_command().
  struct Command {
    CommandBlock block;
    std::uint8_t interface = 0;
    std::uint8_t in = 0, out = 0;  ///< endpoint addresses
    std::uint32_t moved = 0;       ///< bytes of its data, as far as is known
    bool data_over = false;        ///< the stick wants or has no more, and stalled to say so
    bool in_halted = false, out_halted = false;
  };
  [[nodiscard]] const Command& command() const noexcept { return command_; }

 private:
  struct Place {
    std::uint8_t configuration = 0, interface = 0, alternate = 0;
    std::uint8_t in = 0, out = 0;
  };
  enum class Kind : std::uint8_t { command_block, data_out, read, halt, reset };
  struct Running {
    usb::TransferId id = 0;
    Kind kind{};
    usb::SetupPacket setup{};
  };

  void control_submitted(const usb::Transfer& transfer);
  void configured(const usb::SetupPacket& setup);
  void use(std::uint8_t interface, std::uint8_t alternate) noexcept;

  std::vector<Place> places_;
  std::optional<Place> place_;  ///< in force
  std::uint8_t configuration_ = 0;
  std::vector<Running> running_;
  bool in_command_ = false;
  Command command_;
};

}  // namespace tillbridge::massstorage
