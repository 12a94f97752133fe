// The importing end of a USB/IP conversation: the side that wants the device.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "channel/bytes/queue.hpp"
#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"
#include "channel/usbip/codec.hpp"
#include "channel/usbip/part_reader.hpp"

namespace tillbridge::usbip {

/// Sans-I/O importer of one conversation. It works against tillbridged and against a stock usbipd
/// alike.
///
/// Guarantees: each submitted transfer is completed exactly once, also when the transport is lost
/// (lost() completes all running ones with device_gone); an answer that lies (longer than asked,
/// unknown sequence number, isochronous counts; CVE-2016-3955, CVE-2026-31607) ends the
/// conversation with Failed and never reaches a transfer. Before a Failed all running transfers are
/// completed with device_gone; those submitted after it are at once.
class Importer {
 public:
  struct Send {
    Bytes bytes;
  };
  /// The import was granted. `device` holds what OP_REP_IMPORT tells: ids, speed, path; no strings,
  /// no endpoints (use usb::DeviceReader for those).
  struct Imported {
    usb::DeviceDescription device;
    std::string busid;
  };
  struct Completed {
    usb::Completion completion;
  };
  /// The conversation is over: refused, or the peer broke the protocol. Close the transport.
  struct Failed {
    Error error;
  };
  using Output = std::variant<Send, Imported, Completed, Failed>;

  /// `busid`: at most 31 bytes; one that is longer exists at no server and is refused on start().
  explicit Importer(std::string busid);

  void start();  ///< sends OP_REQ_IMPORT
  /// Any number of bytes, cut anywhere.
  void receive(ByteView bytes);
  /// The transport is gone for good: completes all running transfers with `status`. No Failed
  /// follows.
  void lost(usb::TransferStatus status = usb::TransferStatus::device_gone);
  /// Ids are the caller's and unique while running. Above limits.hpp it completes with
  /// no_resources; when there is no imported device (any more), with device_gone.
  void submit(usb::Transfer transfer);
  /// Unknown or finished ids are ignored: that is the ordinary race. Ends in exactly one
  /// completion: `cancelled`, or the true result if that was faster.
  void cancel(usb::TransferId id);

  [[nodiscard]] std::optional<Output> poll();

  /// Nothing runs: each transfer has completed, and each cancel was answered.
  [[nodiscard]] bool idle() const noexcept {
    return running_.empty() && unlinks_.empty() && !answering_;
  }

 private:
  enum class Phase : std::uint8_t {
    not_started,
    reply,   // OP_REP_IMPORT's header
    record,  // and the device in it
    command,
    payload,
    packets,
    closed
  };

  /// A submitted transfer: what is needed to check and to hand on its answer.
  struct Running {
    usb::TransferId id = 0;
    usb::TransferType type{};
    bool in = false;
    bool short_not_ok = false;
    bool unlinked = false;  // a CMD_UNLINK is on its way
    std::uint32_t length = 0;
    std::vector<usb::IsochronousPacket> packets;
  };

  void advance();
  void on_reply();
  void on_record();
  void on_command();
  void on_ret_submit(const RetSubmit& command);
  void on_ret_unlink(const RetUnlink& command);
  void finish_ret_submit();
  [[nodiscard]] bool unpack(Running& running, usb::Completion& completion);

  void expect(Phase phase, std::size_t size);
  [[nodiscard]] std::uint32_t next_sequence();
  [[nodiscard]] std::uint32_t wire_interval(const usb::Transfer& transfer) const;
  [[nodiscard]] std::optional<Running> take_running(std::uint32_t sequence);
  void remember_unlinked(std::uint32_t sequence, Running running);
  void complete_at_once(usb::TransferId id, usb::TransferStatus status);
  void fail_with(Error error);
  void broke_protocol(const std::string& how);

  Phase phase_ = Phase::not_started;
  std::string busid_;
  PartReader part_;
  usb::Speed speed_ = usb::Speed::unknown;
  std::uint32_t device_id_ = 0;

  std::uint32_t last_sequence_ = 0;
  using RunningTransfers = std::unordered_map<std::uint32_t, Running>;
  using Sequences = std::unordered_map<usb::TransferId, std::uint32_t>;
  RunningTransfers running_;  // by sequence of the CMD_SUBMIT
  SpareNodes<RunningTransfers> spare_running_;
  Sequences by_id_;  // sequence of the CMD_SUBMIT
  SpareNodes<Sequences> spare_sequences_;
  std::unordered_map<std::uint32_t, std::uint32_t>
      unlinks_;  // CMD_UNLINK's sequence → CMD_SUBMIT's
  /// Transfers that a RET_UNLINK(0) ended without their RET_SUBMIT: it may still come (see
  /// on_ret_unlink). Oldest first.
  std::deque<std::pair<std::uint32_t, Running>> unlinked_early_;
  std::uint64_t bytes_in_flight_ = 0;

  // The RET_SUBMIT whose payload or packets are being read.
  RetSubmit answer_;
  Running answered_;
  bool answering_ = false;  // answered_ has not been completed yet; false also for a late answer,
                            // which is dropped
  Bytes payload_;

  Queue<Output> outputs_;
};

}  // namespace tillbridge::usbip
