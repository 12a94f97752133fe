// A stick as the plugin has it, but without a session: the plugin's own uplink, import and
// pipeline. For programs that measure the leg to the USB server alone.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "channel/transport/loop.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"
#include "plugin/configuration.hpp"
#include "plugin/log.hpp"
#include "plugin/stick.hpp"
#include "plugin/uplink.hpp"

namespace tillbridge::bench {

/// Warnings and errors, on standard error.
class QuietLog final : public plugin::Log {
 public:
  void write(plugin::Level level, const std::string& text) override;
};

/// The first stick that the uplink offers. What goes wrong is an exception: a benchmark has no use
/// for what is left then.
class LinkStick {
 public:
  struct Events {
    std::function<void(const usb::DeviceDescription&)> ready;
    std::function<void(usb::Completion)> completed;  ///< may submit
  };

  LinkStick(transport::Loop& loop, const plugin::Configuration& configuration, Events events);
  void start();
  /// After ready. Ids are the caller's, below massstorage::Pipeline::first_own_id.
  void submit(usb::Transfer transfer);
  void cancel(usb::TransferId id);

  /// nullptr: the stick has no pipeline.
  [[nodiscard]] const massstorage::PipelineCounters* pipeline() const {
    return stick_ ? stick_->pipeline() : nullptr;
  }

 private:
  void offered(const plugin::Offer& offer);
  void pump();
  void send_unsent();

  QuietLog log_;
  Events events_;
  std::unique_ptr<plugin::Uplink> uplink_;
  plugin::StickId id_ = 0;
  std::optional<plugin::Stick> stick_;
  std::deque<Bytes> unsent_;
  bool pumping_ = false;
};

}  // namespace tillbridge::bench
