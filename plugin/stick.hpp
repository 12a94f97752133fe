// One stick on its way into the session: imported over USB/IP, its descriptors read, then its
// transfers carried, those of mass storage through a pipeline.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/queue.hpp"
#include "channel/bytes/result.hpp"
#include "channel/massstorage/pipeline.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/device_reader.hpp"
#include "channel/usb/transfer.hpp"
#include "channel/usbip/importer.hpp"

namespace tillbridge::plugin {

/// Sans-I/O: the bytes of one USB/IP conversation in and out, transfers of the session in,
/// completions out.
///
/// Guarantees: `Ready` comes at most once and before any `Completed`; each submitted transfer
/// completes exactly once, also after `lost()`; after `Failed` nothing but these completions comes.
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
  /// Refused, unreadable, or the peer broke the protocol. The conversation is over.
  struct Failed {
    Error error;
  };
  using Output = std::variant<Send, Ready, Completed, Failed>;

  /// `pipeline`: for mass storage, see massstorage::Pipeline.
  Stick(const std::string& busid, bool pipeline) : importer_(busid), wants_pipeline_(pipeline) {}

  void start();  ///< sends the import request
  void receive(ByteView bytes);
  /// The conversation is dead: what still runs completes with device_gone.
  void lost();
  /// Only after Ready.
  void submit(usb::Transfer transfer);
  void cancel(usb::TransferId id);

  [[nodiscard]] std::optional<Output> poll();

  /// nullptr: transfers go to the stick one by one, as the session makes them.
  [[nodiscard]] const massstorage::PipelineCounters* pipeline() const noexcept {
    return pipeline_ ? &pipeline_->counters() : nullptr;
  }

 private:
  enum class State : std::uint8_t { importing, reading, ready, failed };

  void take(usbip::Importer::Output output);
  [[nodiscard]] bool take_from_pipeline();
  void ask_next_descriptor();
  void fail_with(Error error);

  usbip::Importer importer_;
  bool wants_pipeline_;
  std::optional<massstorage::Pipeline> pipeline_;
  std::optional<usb::DeviceReader> reader_;
  Queue<Output> outputs_;
  State state_ = State::importing;
};

}  // namespace tillbridge::plugin
