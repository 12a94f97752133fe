// What FreeRDP sees of us: one IWTSPlugin for each RDP connection, and the callbacks of its
// channels.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "plugin/freerdp/dvc_channel.hpp"
#include "plugin/freerdp/generation.hpp"
#include "plugin/log.hpp"
#include "plugin/worker.hpp"

namespace tillbridge::plugin {

/// FreeRDP (2.11 and 3.10) calls DVCPluginEntry for each RDP connection, also for one that is
/// re-established automatically, and Terminated when it ends. So an instance lives as long as one
/// connection, and nothing outlives it in this library.
///
/// No C++ exception leaves a callback, and no callback fails the RDP session: an error of
/// DVCPluginEntry or Initialize would make FreeRDP give up the whole connection.
class Instance {
 public:
  /// The name of every channel of MS-RDPEUSB.
  static constexpr const char* listener_name = "URBDRC";

  Instance(std::shared_ptr<Worker> worker, std::shared_ptr<Log> log);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  /// To be registered. FreeRDP owns the instance from then on: Terminated deletes it.
  [[nodiscard]] IWTSPlugin* plugin() noexcept { return &plugin_; }

 private:
  struct Callback;
  struct Plugin : IWTSPlugin {
    Instance* owner = nullptr;
  };
  struct Listener : IWTSListenerCallback {
    Instance* owner = nullptr;
  };

  UINT initialize(IWTSVirtualChannelManager* manager);
  UINT accept(IWTSVirtualChannel* channel, BOOL* accepted, IWTSVirtualChannelCallback** callback);

  static UINT on_initialize(IWTSPlugin* plugin, IWTSVirtualChannelManager* manager);
  static UINT on_terminated(IWTSPlugin* plugin);
  static UINT on_new_channel(IWTSListenerCallback* listener, IWTSVirtualChannel* channel,
                             BYTE* data, BOOL* accepted, IWTSVirtualChannelCallback** callback);

  Plugin plugin_{};
  Listener listener_{};
  const std::shared_ptr<Worker> worker_;
  const std::shared_ptr<Log> log_;
  /// Touched on FreeRDP's receive thread only, and at the end.
  std::vector<std::unique_ptr<Callback>> callbacks_;
  ChannelId last_channel_ = 0;
};

}  // namespace tillbridge::plugin
