// The plugin's I/O thread: the link, the sticks and the till role of one RDP connection live on it
// and nowhere else.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "channel/transport/loop.hpp"
#include "plugin/configuration.hpp"
#include "plugin/log.hpp"
#include "plugin/rdp_channel.hpp"
#include "plugin/session.hpp"
#include "plugin/uplink.hpp"

namespace tillbridge::plugin {

/// FreeRDP's threads post to it and go on at once; only stop() waits, for `stop_limit` at most.
class Worker final : public std::enable_shared_from_this<Worker>, private Channels {
 public:
  /// How long a channel that is to be closed waits for FreeRDP's own thread to do it (see
  /// DvcChannel).
  static constexpr Duration close_patience = std::chrono::milliseconds(100);
  static constexpr std::chrono::seconds stop_limit{2};

  /// Starts the thread. An error is about the configuration (TLS files).
  [[nodiscard]] static Result<std::shared_ptr<Worker>> start(const Configuration& configuration,
                                                             SessionFacts facts,
                                                             std::shared_ptr<Log> log);
  explicit Worker(std::shared_ptr<Log> log);
  ~Worker() override = default;

  // From FreeRDP's receive thread, in this order for each channel.
  void opened(ChannelId id, std::shared_ptr<RdpChannel> channel);
  /// False: more than limits::plugin_queued_bytes wait already, or this side failed: the channel is
  /// to be closed.
  [[nodiscard]] bool received(ChannelId id, ByteView message);
  /// From any thread.
  void closed(ChannelId id);

  /// Ends the session and the thread. Nothing of FreeRDP is touched any more once it returns.
  void stop();

 private:
  struct Closing {
    std::shared_ptr<RdpChannel> channel;
    std::unique_ptr<transport::Timer> timer;
  };

  void post(std::function<void()> task);

  // On our thread.
  void run();
  void give_up(const char* what);
  void send(ChannelId id, Bytes message) override;
  void close(ChannelId id) override;
  void ended(ChannelId id);

  const std::shared_ptr<Log> log_;
  std::unique_ptr<Session> session_;
  std::map<ChannelId, std::shared_ptr<RdpChannel>> channels_;  ///< open ones
  std::map<ChannelId, Closing> closing_;                       ///< to be closed, and not yet so

  std::mutex mutex_;  ///< the four below
  std::condition_variable changed_;
  std::unique_ptr<transport::Loop> loop_;
  bool stop_wanted_ = false;
  bool finished_ = false;

  std::atomic<bool> failed_ = false;
  std::atomic<std::size_t> queued_bytes_ = 0;
  std::thread thread_;
};

}  // namespace tillbridge::plugin
