// MassStorageStick: a USB stick: enumeration, Bulk-Only Transport with its thirteen cases, a SCSI
// disk behind it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "channel/massstorage/command_block.hpp"
#include "server/simulator/endpoint_device.hpp"
#include "server/simulator/medium.hpp"
#include "server/simulator/scsi_disk.hpp"

namespace tillbridge::simulator {

struct StickOptions {
  std::uint16_t vendor_id = 0x1209, product_id = 0x0001;  ///< pid.codes' id for tests
  std::string manufacturer = "tillbridge", product = "Simulated stick";
  std::string serial = "000000000001";
  std::string path = "simulated-1";
  usb::Speed speed = usb::Speed::high;  ///< high or full
  std::string inquiry_vendor = "TILLBRDG", inquiry_product = "Simulated stick",
              inquiry_revision = "1.00";
  bool write_protected = false;
  Duration delay{0};
  /// How the stick ends data that is shorter than the host expects (cases 4 and 5): with a halted
  /// pipe, as Bulk-Only Transport 6.7.2 asks for, or with a short packet only, as many real sticks
  /// do.
  bool halts_on_short_data = true;
  /// What a port reset does to a TSE behind the disk is not known of any stick: nothing, or the
  /// same as a loss of power.
  bool port_reset_cuts_power = false;
};

class MassStorageStick final : public EndpointDevice {
 public:
  static constexpr std::uint8_t in_endpoint = 0x81, out_endpoint = 0x02;

  /// `medium` has 1 to 2^32 - 1 blocks. `bench`: shared with a front end behind the medium.
  MassStorageStick(std::unique_ptr<Medium> medium, const StickOptions& options,
                   std::shared_ptr<Bench> bench = nullptr);

  [[nodiscard]] Medium& medium() { return *medium_; }

 private:
  enum class Phase : std::uint8_t { command, data_in, data_out, status };
  /// How a command goes on after a fault.
  enum class Course : std::uint8_t { on, hold, stall };
  /// What faults do to the running command.
  struct Mischief {
    bool data_struck = false, status_struck = false;  ///< each point is passed once a command
    bool stalls_status = false, wrong_residue = false, phase_error = false;
    bool short_data = false, bit_flip = false;
    std::optional<Fault> torn_write;
  };

  [[nodiscard]] ControlAnswer class_request(const usb::SetupPacket& setup, ByteView data) override;
  [[nodiscard]] bool ready(std::uint8_t endpoint) const override;
  [[nodiscard]] std::optional<Ending> serve(PendingTransfer& pending) override;
  void restarted(bool bus_reset) override;
  void halt_cleared(std::uint8_t endpoint) override;
  void powered_up(Instant now) override;
  void bus_was_reset(Instant now) override;

  [[nodiscard]] Course suffer(const Fault& fault);
  [[nodiscard]] Course pass(FaultPoint point, bool& struck);
  void heed_demand();
  void flip_a_bit(Bytes& data);

  [[nodiscard]] std::optional<Ending> take_command(const PendingTransfer& pending);
  void begin();
  [[nodiscard]] std::optional<Ending> take_data(PendingTransfer& pending);
  [[nodiscard]] std::optional<Ending> take_part(ByteView bytes);
  [[nodiscard]] std::optional<Ending> send(const usb::Transfer& transfer);
  [[nodiscard]] Ending stall_data(std::uint8_t pipe);
  [[nodiscard]] bool send_data(std::size_t room, Bytes& data);
  void end_data();
  [[nodiscard]] Bytes take_status();

  std::unique_ptr<Medium> medium_;
  ScsiDisk disk_;
  bool halts_on_short_data_, port_reset_cuts_power_;

  Phase phase_ = Phase::command;
  /// After an invalid CBW both pipes stay halted until reset recovery, CLEAR_FEATURE or not
  /// (6.6.1).
  bool needs_reset_recovery_ = false;
  massstorage::CommandBlock command_;
  bool phase_error_ = false;
  std::uint64_t intended_ = 0;  ///< bytes of the data stage that the command makes use of
  std::uint64_t moved_ = 0;     ///< bytes of it that went over the bus
  bool owes_empty_packet_ = false;
  Mischief mischief_;
  bool silent_ = false;  ///< by a fault, until a reset
};

}  // namespace tillbridge::simulator
