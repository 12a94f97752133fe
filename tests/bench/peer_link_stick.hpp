// A stick as the plugin has it, but without a session: the plugin's own uplink, import and
// pipeline. For programs that measure the leg to the USB server alone.
#pragma once

#include <deque>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "channel/transport/loop.hpp"
#include "plugin/log.hpp"
#include "plugin/stick.hpp"
#include "plugin/uplink.hpp"
#include "tests/bench/peer_stick.hpp"

namespace tillbridge::bench {

/// The first stick that the uplink offers.
class LinkStick final : public PeerStick {
 public:
  /// `till`: a configuration as for the plugin.
  LinkStick(transport::Loop& loop, const std::filesystem::path& till);
  void start(Events events) override;
  void submit(usb::Transfer transfer) override;
  void cancel(usb::TransferId id);

  /// nullptr: the stick has no pipeline.
  [[nodiscard]] const massstorage::PipelineCounters* pipeline() const {
    return stick_ ? stick_->pipeline() : nullptr;
  }

 private:
  /// Warnings and errors, on standard error.
  class QuietLog final : public plugin::Log {
   public:
    void write(plugin::Level level, const std::string& text) override;
  };

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
