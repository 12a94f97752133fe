// FreeRDP's dynamic channels for tests: its C tables, its threads and its rules of who frees what,
// as of 2.11 or 3.10, whichever this is built for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "plugin/freerdp/generation.hpp"

namespace tillbridge::plugin::test {

/// One RDP connection. A thread of its own calls the plugin, as FreeRDP's receive thread does: all
/// that arrives from the terminal server comes through create(), data() and close() and is worked
/// off there, in order.
///
/// It is as strict as FreeRDP is careless: a channel is freed right after OnClose returned, and a
/// call on a freed one is counted in `misuses` (and a report of AddressSanitizer). Where a close by
/// the plugin races with FreeRDP's own receive thread, this one locks: the plugin is on trial here.
class FakeFreeRdp {
 public:
  struct Hooks {
    std::function<void(std::uint32_t channel, Bytes)> written;  ///< by the plugin; on its thread
    std::function<void(std::uint32_t channel)> closed;  ///< by the plugin; on whichever thread
    /// The plugin closes a channel; on its thread, before anything else comes of it.
    std::function<void(std::uint32_t channel)> plugin_closes{};
    std::function<void()> gone;  ///< by the destructor; returns when nobody calls this any more
  };

  FakeFreeRdp(std::vector<std::string> arguments, Hooks hooks);
  ~FakeFreeRdp();
  FakeFreeRdp(const FakeFreeRdp&) = delete;
  FakeFreeRdp& operator=(const FakeFreeRdp&) = delete;

  /// CHANNEL_EVENT_CONNECTED: DVCPluginEntry, then Initialize.
  UINT connect();
  /// CHANNEL_EVENT_DISCONNECTED: the receive thread closes what is open and ends, then Terminated.
  void disconnect();

  // As the terminal server sends them; from any thread.
  /// `done` gets the new channel's id, or 0 if the plugin (or nobody) did not accept; on the
  /// receive thread.
  void create(const std::string& name, std::function<void(std::uint32_t)> done);
  /// The message stands behind `position` other bytes of the stream, as an unfragmented one does.
  void data(std::uint32_t channel, Bytes message, std::size_t position = 5);
  void close(std::uint32_t channel);
  /// Waits until all of the above is worked off.
  void settle();

  [[nodiscard]] bool has_listener(const std::string& name);
  [[nodiscard]] std::size_t open_channels();
  [[nodiscard]] int plugins() const { return static_cast<int>(plugins_.size()); }
  [[nodiscard]] rdpSettings* settings() const { return settings_; }
  /// As /dvc:NAME or FreeRDP's own options do it.
  void add_dynamic_channel(const char* name);
  /// As if another plugin had registered under this name before.
  void pretend_loaded(const std::string& name) {
    names_.push_back(name);
    plugins_.push_back(nullptr);
  }

  std::atomic<int> misuses = 0;
  std::atomic<int> closes_begun = 0;      ///< calls of OnClose
  std::atomic<int> closed_by_error = 0;   ///< OnDataReceived returned an error
  std::atomic<int> closed_by_plugin = 0;  ///< the plugin called what closes in this generation

 private:
  struct Channel {
    IWTSVirtualChannel table{};
    FakeFreeRdp* owner = nullptr;
    std::uint32_t id = 0;
    bool running = false;
    bool over = false;  ///< OnClose returned: FreeRDP may free it any time
    IWTSVirtualChannelCallback* callback = nullptr;
    int references = 1;  ///< the table's, and one for each call that works with it
  };

  void run();
  void later(std::function<void()> task);
  Channel* take(std::uint32_t id);
  void drop(Channel* channel);
  void remove(std::uint32_t id, Channel* channel);
  void close_channel(Channel* channel);
  void close_by_plugin(Channel* channel);
  [[nodiscard]] Channel* alive(IWTSVirtualChannel* table);

  static UINT write(IWTSVirtualChannel* channel, ULONG size, const BYTE* buffer, void* reserved);
  static UINT close(IWTSVirtualChannel* channel);

  struct EntryPoints : IDRDYNVC_ENTRY_POINTS {
    FakeFreeRdp* owner;
  };
  struct Manager : IWTSVirtualChannelManager {
    FakeFreeRdp* owner;
  };

  Hooks hooks_;
  std::vector<std::string> arguments_;
  std::vector<char*> argv_;
  ADDIN_ARGV argument_table_{};
  rdpSettings* settings_;
  EntryPoints entry_{};
  Manager manager_{};
  std::vector<std::string> names_;
  std::vector<IWTSPlugin*> plugins_;
  std::map<std::string, IWTSListenerCallback*> listeners_;

  /// As FreeRDP's: taken to look up and to remove a channel, held while OnClose is called (by 3
  /// only at the end of a connection), and not taken by Write() of something.
  std::recursive_mutex table_;
  std::mutex state_;  ///< the four below; never held while the plugin is called
  std::map<std::uint32_t, Channel*> channels_;
  std::set<const IWTSVirtualChannel*> alive_;
  std::uint32_t last_id_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool quit_ = false;
  std::thread thread_;
};

}  // namespace tillbridge::plugin::test
