// One URBDRC channel of FreeRDP, shared by two threads: FreeRDP's, which receives and closes, and
// ours, which writes.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "plugin/freerdp/generation.hpp"
#include "plugin/rdp_channel.hpp"

namespace tillbridge::plugin {

/// Guards the IWTSVirtualChannel, which FreeRDP frees as soon as OnClose returns, whoever is using
/// it (CVE-2026-24681 is that mistake in FreeRDP's own USB channel).
///
/// Facts about FreeRDP 2.11 and 3.10 that this relies on (channels/drdynvc/client/drdynvc_main.c);
/// generation.hpp says in what they differ:
///  - OnClose is called on FreeRDP's receive thread, or on ours from within close_channel();
///  - it may be called with FreeRDP's table of channels locked: what we hold while calling Write()
///    must not be held while waiting for that table. Write() of something does not take the table's
///    lock, close_channel() does;
///  - Write() only queues, so OnClose waits for it at most for the time of copying one message;
///  - close_channel() is not safe against FreeRDP's receive thread working on the same channel in
///    that instant. So a channel is closed by that thread wherever possible: want_close() makes its
///    next message end in an error, upon which FreeRDP closes it itself. Only a channel that stays
///    silent is closed from our thread, after a while in which a close of the server that is
///    already under way comes first (Worker::close_patience).
class DvcChannel final : public RdpChannel {
 public:
  explicit DvcChannel(IWTSVirtualChannel* channel) : channel_(channel) {}

  /// An empty message is not written: FreeRDP takes it for a wish to close.
  Written write(ByteView message) override;
  void want_close() noexcept override { close_wanted_ = true; }
  [[nodiscard]] bool close_wanted() const noexcept { return close_wanted_; }
  void close() override;
  /// OnClose: when it returns, our thread does not use the channel any more.
  void closed();

 private:
  static constexpr std::chrono::seconds longest_close{1};

  // Recursive, because FreeRDP may call OnClose from within what we call.
  std::recursive_mutex mutex_;
  std::condition_variable_any out_of_close_;
  IWTSVirtualChannel* channel_;
  std::thread::id closing_thread_;
  std::atomic<bool> close_wanted_ = false;
};

}  // namespace tillbridge::plugin
