// One stick on its way into the session: imported over USB/IP, its descriptors read, then its
// transfers carried, those of mass storage through a pipeline; imported again after its server was
// restarted.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "channel/bytes/queue.hpp"
#include "channel/bytes/result.hpp"
#include "channel/massstorage/command_watch.hpp"
#include "channel/massstorage/pipeline.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/device_reader.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usb/transfer.hpp"
#include "channel/usbip/importer.hpp"
#include "plugin/outbox.hpp"

namespace tillbridge::plugin {

/// Sans-I/O: the bytes of USB/IP conversations in and out, one after the other; transfers of the
/// session in, completions out.
///
/// Guarantees: `Ready` comes at most once and before any `Completed`; each submitted transfer
/// completes exactly once, also after `lost()`; after `Failed` nothing but these completions comes;
/// no transfer goes to the stick twice, but for a read that was taken back without having brought
/// anything.
class Stick {
 public:
  struct Send {
    Bytes bytes;
  };
  /// All descriptors are read: it can be offered to the session.
  struct Ready {
    usb::DeviceDescription description;
  };
  struct Completed {
    usb::Completion completion;
  };
  /// After import_again(): the stick is as the session left it, and goes on.
  struct Returned {};
  /// Refused, unreadable, not as it was, or the peer broke the protocol. The conversation is over.
  struct Failed {
    Error error;
  };
  using Output = std::variant<Send, Ready, Completed, Returned, Failed>;

  /// `pipeline`: for mass storage, see massstorage::Pipeline.
  Stick(const std::string& busid, bool pipeline)
      : busid_(busid), importer_(busid), wants_pipeline_(pipeline) {}

  void start();  ///< sends the import request
  void receive(ByteView bytes);
  /// The conversation is dead: what still runs, and what waits, completes with device_gone.
  void lost();
  /// Only after Ready.
  void submit(usb::Transfer transfer);
  void cancel(usb::TransferId id);

  /// `may_begin`: a transfer may leave the till now. Otherwise those that have not left wait here.
  [[nodiscard]] std::optional<Output> poll(bool may_begin = true);

  // --- a restart of the USB server
  /// Between Ready and an end: the only state in which a stick survives one.
  [[nodiscard]] bool works() const noexcept { return state_ >= State::ready; }
  /// It announced itself: nothing leaves any more but what a SCSI command needs that has begun, and
  /// reads that wait for the stick are taken back.
  void pause();
  /// It does not come about.
  void go_on();
  /// Nothing is under way, and no SCSI command has been begun and not ended.
  [[nodiscard]] bool quiet() const noexcept;
  /// The server knows nothing of the conversation any more. What left and has no answer completes
  /// with `error` and is never repeated; what did not leave waits.
  void interrupted();
  /// The same stick, untouched since, on a new conversation: ends in Returned or Failed. It is
  /// imported, and gets back the alternate settings that the session had chosen.
  void import_again();

  /// nullptr: transfers go to the stick one by one, as the session makes them.
  [[nodiscard]] const massstorage::PipelineCounters* pipeline() const noexcept {
    return pipeline_ ? &pipeline_->counters() : nullptr;
  }

 private:
  enum class State : std::uint8_t {
    importing,
    reading,
    failed,
    ready,
    interrupted,  ///< works, but for the server
    returning     ///< imported again, or about to be
  };
  /// What the session chose, so that it can be checked or chosen again.
  struct Settings {
    std::uint8_t configuration = 0;
    std::map<std::uint8_t, std::uint8_t> alternates;  ///< by interface; those that are not 0
    bool known = true;                                ///< false: a SET_CONFIGURATION got no answer
  };
  /// A read that only waits until the stick says something.
  struct Read {
    Outbox::Waiting sent;
    bool taken_back = false;  ///< by us, for a restart: it comes again
    bool withdrawn = false;   ///< by the session: it ends, whatever else happens
  };

  void take(usbip::Importer::Output output);
  void imported(const usb::DeviceDescription& device);
  void completed(usb::Completion completion);
  void follow_settings(const usb::Completion& completion);
  [[nodiscard]] bool came_back(usb::Completion& completion);
  void hand_on(usb::Completion completion);
  void end(usb::TransferId id, usb::TransferStatus status);
  void wait(usb::Transfer transfer);
  void withdraw(usb::TransferId id);
  [[nodiscard]] bool take_from_pipeline();
  [[nodiscard]] bool let_go(bool may_begin);
  void ask_next_descriptor();
  void choose_next_alternate();
  void fail_with(Error error);

  std::string busid_;
  usbip::Importer importer_;
  bool wants_pipeline_;
  std::optional<massstorage::Pipeline> pipeline_;
  std::optional<usb::DeviceReader> reader_;
  Queue<Output> outputs_;
  State state_ = State::importing;

  Outbox outbox_;
  bool paused_ = false;
  std::optional<massstorage::CommandWatch> watch_;             ///< from Ready on
  std::vector<Read> reads_;                                    ///< under way, oldest first
  std::map<usb::TransferId, usb::HostRequest> host_requests_;  ///< under way
  usb::DeviceDescriptor descriptor_;
  Settings settings_;
  std::map<std::uint8_t, std::uint8_t> to_choose_;  ///< alternates, while returning
  bool choosing_ = false;                           ///< one of them is under way
};

}  // namespace tillbridge::plugin
