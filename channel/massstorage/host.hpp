// BulkOnlyHost: a class driver for Bulk-Only mass storage without a kernel: SCSI commands in, USB
// transfers out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/massstorage/command_block.hpp"
#include "channel/massstorage/scsi.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::massstorage {

struct HostOptions {
  /// Most data of one command; read() and write() of more are refused, so that the caller splits
  /// them. Windows' usbstor uses 64 KiB unless told otherwise, Linux 120 KiB.
  std::uint32_t max_command_bytes = 64U << 10U;
  /// A command's data is split into bulk transfers of this size, one after the other, as Linux does
  /// with scattered memory. A multiple of 1024 (of every packet size). Windows moves it all in one
  /// transfer.
  std::uint32_t max_transfer_bytes = 64U << 10U;
  /// REQUEST SENSE follows a failed command by itself; its result is in CommandResult::sense.
  bool automatic_sense = true;
  usb::TransferId first_transfer_id = 1;
};

/// One SCSI command. For `in`, `length` is what is wanted; for `out`, `data` is what is sent.
struct Command {
  Cdb cdb;
  DataDirection direction = DataDirection::none;
  std::uint32_t length = 0;
  Bytes data;
  std::uint8_t lun = 0;
};

enum class Outcome : std::uint8_t {
  good,
  check_condition,    ///< the device says no; `sense` says why
  phase_error,        ///< device and host disagree about the data; reset recovery was done
  transport_failure,  ///< transfers failed or the status was no status; reset recovery was done
  aborted,            ///< by abort(); reset recovery was done
  device_gone,        ///< unplugged; no further transfer makes sense
};

/// The end of a command. There is exactly one for each command that was started.
struct CommandResult {
  Outcome outcome = Outcome::good;
  std::optional<scsi::Sense> sense;  ///< after check_condition, if the device told it
  Bytes data;                        ///< IN: what means something; padding is cut off
  /// Bytes asked for minus bytes that the device says it processed.
  std::uint32_t residue = 0;
  std::uint8_t max_lun = 0;  ///< after get_max_lun()
  /// Reset recovery failed too: only a reset of the port may help.
  bool needs_port_reset = false;
  std::string message;  ///< for a person; empty after good

  [[nodiscard]] bool good() const noexcept { return outcome == Outcome::good; }
};

/// Sans-I/O. The device must be configured (configuration_value()) before the first command. One
/// command at a time:
///   host.read(0, 8);
///   while (!(result = host.poll_result())) {
///     while (auto transfer = host.poll_transfer()) submit(*transfer);
///     while (auto id = host.poll_cancel()) cancel(*id);
///     host.complete(wait_for_completion());
///   }
/// Behaves as the class drivers of Windows and Linux do: command block, data, status; a stall in
/// the data clears the halt and goes on to the status; a stalled status is read once more;
/// everything else that is not a valid status ends in reset recovery (Bulk-Only Transport 5.3.4).
/// It knows no time: a caller that gives up calls abort().
class BulkOnlyHost {
 public:
  /// Looks for the first interface 08/06/50 of the active configuration (of the first one while
  /// unconfigured).
  [[nodiscard]] static Result<BulkOnlyHost> create(const usb::DeviceDescription& device,
                                                   const HostOptions& options = {});

  /// Starts a command. An error means that nothing was started: one is running, or its lengths make
  /// no sense.
  [[nodiscard]] Status execute(Command command);
  [[nodiscard]] Status get_max_lun();
  [[nodiscard]] Status inquiry();
  [[nodiscard]] Status test_unit_ready();
  [[nodiscard]] Status request_sense();
  /// When it ends well, block_count() and block_size() are known and used by read() and write().
  [[nodiscard]] Status read_capacity();
  [[nodiscard]] Status read(std::uint32_t block, std::uint16_t count);
  /// `data` is a whole number of blocks.
  [[nodiscard]] Status write(std::uint32_t block, Bytes data);
  [[nodiscard]] Status synchronize_cache();

  /// Gives up the running command: cancels its transfer, then reset recovery. Does nothing when
  /// idle.
  void abort();

  /// The next transfer to submit; never more than one is outstanding.
  [[nodiscard]] std::optional<usb::Transfer> poll_transfer();
  /// A transfer to cancel; its completion is still awaited.
  [[nodiscard]] std::optional<usb::TransferId> poll_cancel();
  /// The end of a transfer. One that was not asked for is ignored.
  void complete(const usb::Completion& completion);
  [[nodiscard]] std::optional<CommandResult> poll_result();

  /// A command was started and its result not yet taken.
  [[nodiscard]] bool busy() const noexcept { return phase_ != Phase::idle || result_.has_value(); }
  [[nodiscard]] std::uint8_t configuration_value() const noexcept { return configuration_value_; }
  [[nodiscard]] std::uint8_t interface_number() const noexcept { return interface_number_; }
  [[nodiscard]] std::uint8_t in_endpoint() const noexcept { return in_endpoint_; }
  [[nodiscard]] std::uint8_t out_endpoint() const noexcept { return out_endpoint_; }
  [[nodiscard]] std::uint32_t block_size() const noexcept { return capacity_.block_size; }
  /// 0 before read_capacity().
  [[nodiscard]] std::uint64_t block_count() const noexcept { return capacity_.block_count; }

 private:
  enum class Phase : std::uint8_t {
    idle,
    max_lun,
    command,
    data,
    data_clear_halt,
    status,
    status_clear_halt,
    recovery_reset,
    recovery_clear_in,
    recovery_clear_out,
  };
  /// The transfer that is queued for poll_transfer() or outstanding.
  struct Running {
    usb::TransferId id = 0;
    std::uint32_t length = 0;
    bool in = false;
  };

  explicit BulkOnlyHost(const HostOptions& options) : options_(options) {}

  [[nodiscard]] Status may_start() const;
  [[nodiscard]] Status start_in(const Cdb& cdb, std::uint32_t length);
  void begin(Command command);
  void send(usb::Transfer transfer, Phase phase);
  void send_bulk_in(std::uint32_t length, Phase phase);
  void send_clear_halt(std::uint8_t endpoint, Phase phase);
  void next_data();
  void read_status();

  void command_sent(const usb::Completion& completion);
  void data_moved(const usb::Completion& completion);
  void status_read(const usb::Completion& completion);
  void max_lun_read(const usb::Completion& completion);
  void recovery_step(const usb::Completion& completion);

  void command_ended(const StatusBlock& status);
  void sense_ended(const StatusBlock& status);
  void recover(Outcome outcome, std::string message);
  void finish();

  HostOptions options_;
  std::uint8_t configuration_value_ = 0, interface_number_ = 0;
  std::uint8_t in_endpoint_ = 0, out_endpoint_ = 0;
  scsi::Capacity capacity_{0, 512};

  Phase phase_ = Phase::idle;
  bool aborting_ = false;
  bool learns_capacity_ = false;  ///< the running command is read_capacity()'s
  bool sensing_ =
      false;  ///< the running exchange is the automatic REQUEST SENSE of a failed command
  Command command_;
  CommandBlock block_;
  Bytes received_;
  std::uint32_t moved_ = 0;  ///< data bytes of the exchange, either direction
  bool status_retried_ = false, status_skipped_empty_ = false;

  usb::TransferId next_id_ = 0;
  std::uint32_t next_tag_ = 1;
  std::optional<Running> running_;
  std::optional<usb::Transfer> queued_;
  std::optional<usb::TransferId> cancel_;
  CommandResult pending_;  ///< grows until finish() hands it out
  std::optional<CommandResult> result_;
};

}  // namespace tillbridge::massstorage
