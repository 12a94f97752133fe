// The exporting end of a USB/IP conversation: the side that has the device.
#pragma once

#include <bitset>
#include <cstdint>
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
#include "channel/usbip/settings.hpp"

namespace tillbridge::usbip {

struct ExporterOptions {
  /// Submit isochronous transfers. Off: each is answered with -ENOSYS and well-formed packet
  /// descriptors.
  bool isochronous = false;
};

/// Sans-I/O exporter of one conversation (one TCP connection of a USB/IP peer, or one stream of the
/// link, or the socket that vhci-hcd was given). Bytes in, bytes and events out.
///
/// Two ways to start: `await_request` begins where a TCP connection begins (OP_REQ_DEVLIST or
/// OP_REQ_IMPORT); `attached` begins after the import, as vhci-hcd does.
///
/// Guarantees: nothing is submitted that the device's descriptors do not allow (unknown endpoint,
/// wrong direction, above limits.hpp: answered here with an error RET_SUBMIT); each CMD_SUBMIT is
/// answered by exactly one RET_SUBMIT, unless a CMD_UNLINK won; each CMD_UNLINK by exactly one
/// RET_UNLINK; a completion that lies (longer than asked, unknown id, wrong packet count) never
/// reaches the peer as such: it is reported as an error and noted; device and configuration
/// descriptors reach the peer only as they were described here, so a device that was let through as
/// a stick cannot show itself as a keyboard afterwards (CVE-2020-9332 is a driver without such a
/// rule).
///
/// Which of the two wins: an unlinked transfer that ends cancelled with nothing moved is answered
/// by RET_UNLINK(-ECONNRESET) alone. One that moved data or ended otherwise is answered by its
/// RET_SUBMIT, followed by RET_UNLINK(0), as if it had completed just before the CMD_UNLINK came:
/// so no byte that the device gave is lost.
class Exporter {
 public:
  enum class Start : std::uint8_t { await_request, attached };

  // What poll() hands out, in order.
  struct Send {
    Bytes bytes;
  };
  /// The peer asked for the device list: answer with devices().
  struct ListWanted {};
  /// The peer wants `busid`: answer with import_granted() or import_refused().
  struct ImportWanted {
    std::string busid;
  };
  struct Submit {
    usb::Transfer transfer;
  };
  struct Cancel {
    usb::TransferId transfer;
  };
  /// The conversation is over: the peer broke the protocol, or the exchange was a device list or a
  /// refused import. Close the transport after what was sent before. Nothing follows a Close.
  struct Close {
    std::optional<Error> error;
  };
  using Output = std::variant<Send, ListWanted, ImportWanted, Submit, Cancel, Close>;

  /// `device` is needed for Start::attached; otherwise import_granted() brings it. It is complete:
  /// with all its configurations (as usb::DeviceReader reads it).
  explicit Exporter(Start start, std::optional<usb::DeviceDescription> device = std::nullopt,
                    ExporterOptions options = {});

  /// Any number of bytes, cut anywhere.
  void receive(ByteView bytes);
  /// The device's `path` is the busid under which it can be imported. No effect unless a list is
  /// wanted.
  void devices(const std::vector<usb::DeviceDescription>& devices);
  /// No effect unless an import is wanted.
  void import_granted(usb::DeviceDescription device);
  void import_refused(OperationStatus status = OperationStatus::not_available);
  void complete(usb::Completion completion);

  [[nodiscard]] std::optional<Output> poll();

  /// Transfers submitted and not yet completed; on a lost transport the owner cancels these.
  [[nodiscard]] std::vector<usb::TransferId> running() const;

  /// What a person should read in the log: the first of each kind of refused or impossible thing.
  [[nodiscard]] std::optional<std::string> poll_notice();

 private:
  /// What the bytes that come next are.
  enum class Phase : std::uint8_t {
    operation,
    busid,
    list_wanted,    // nothing may come
    import_wanted,  // nothing may come
    command,
    payload,
    packets,
    closed
  };
  enum class Notice : std::uint8_t {
    refused,
    above_limit,
    isochronous,
    false_completion,
    other_descriptors,
    unknown_completion,
    count
  };

  /// A submitted transfer: what is needed to check and to answer its completion.
  struct Running {
    std::uint32_t sequence = 0;
    usb::TransferType type{};
    bool in = false;
    bool short_not_ok = false;
    std::uint32_t length = 0;
    std::uint32_t packet_count = 0;  // as sent by the peer
    std::vector<usb::IsochronousPacket> packets;
    std::optional<usb::HostRequest> host_request;
    std::optional<std::uint16_t> descriptor;  // wValue of a GET_DESCRIPTOR of the device
    std::vector<std::uint32_t> unlinks;       // sequences of the CMD_UNLINKs that wait for it
  };

  void advance();
  void on_operation();
  void on_busid();
  void on_command();
  void on_submit(const CmdSubmit& command);
  void on_unlink(const CmdUnlink& command);
  void on_packets();
  void finish_submit();
  void expect(Phase phase, std::size_t size);
  void attach(usb::DeviceDescription device);
  void close(std::optional<Error> error);

  // exporter_checks.cpp: what may be submitted, and what a completion may say
  struct Verdict {
    usb::Transfer transfer;    // without data and packets, which come behind the command
    std::int32_t refusal = 0;  // a negative errno: answer this instead of submitting
    bool has_packets = false;  // packet descriptors follow
  };
  [[nodiscard]] Verdict judge(const CmdSubmit& command);
  [[nodiscard]] std::int32_t judge_control(const CmdSubmit& command, usb::Transfer& transfer);
  [[nodiscard]] std::int32_t judge_packets(const std::vector<usb::IsochronousPacket>& packets);
  [[nodiscard]] std::int32_t refuse(Notice notice, std::int32_t status, const std::string& why);
  void make_honest(const Running& running, usb::Completion& completion);
  void keep_identity(const Running& running, usb::Completion& completion);
  void note(Notice notice, std::string text);

  void answer(const Running& running, usb::Completion completion);
  void answer_refused();
  void send_ret_submit(RetSubmit header, Bytes payload,
                       const std::vector<usb::IsochronousPacket>& packets);
  void send_ret_unlink(std::uint32_t sequence, std::int32_t status);

  Phase phase_ = Phase::operation;
  ExporterOptions options_;
  std::optional<Settings> settings_;
  PartReader part_;
  CmdSubmit command_;  // the CMD_SUBMIT whose payload or packets are being read
  Verdict verdict_;
  Bytes payload_;
  std::vector<usb::IsochronousPacket> packets_;

  usb::TransferId next_id_ = 1;
  using RunningTransfers = std::unordered_map<usb::TransferId, Running>;
  using Sequences = std::unordered_map<std::uint32_t, usb::TransferId>;
  RunningTransfers running_;
  SpareNodes<RunningTransfers> spare_running_;
  Sequences by_sequence_;
  SpareNodes<Sequences> spare_sequences_;
  std::uint64_t bytes_in_flight_ = 0;
  std::size_t unlinks_waiting_ = 0;

  Queue<Output> outputs_;
  Queue<std::string> notices_;
  std::bitset<static_cast<std::size_t>(Notice::count)> noted_;
};

}  // namespace tillbridge::usbip
