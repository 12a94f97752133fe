// One URBDRC channel of FreeRDP, shared by two threads: FreeRDP's, which receives and closes, and
// ours, which writes.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include <freerdp/dvc.h>

#include "channel/bytes/reader.hpp"

namespace tillbridge::plugin {

/// Guards the IWTSVirtualChannel, which FreeRDP frees as soon as OnClose returns, whoever is using
/// it (CVE-2026-24681 is that mistake in FreeRDP's own USB channel).
///
/// Facts about FreeRDP 3.10 that this relies on (channels/drdynvc/client/drdynvc_main.c):
///  - OnClose is called on FreeRDP's receive thread, or on ours from within Close(), or of Write()
///  of 0 bytes;
///  - at the end of a connection it is called with FreeRDP's table of channels locked: what we hold
///  while calling
///    Write() must not be held while waiting for that table. Write() does not take the table's
///    lock, Close() does;
///  - Write() only queues, so OnClose waits for it at most for the time of copying one message;
///  - Close() is not safe against FreeRDP's receive thread working on the same channel in that
///  instant. So a channel
///    is closed by that thread wherever possible: want_close() makes its next message end in an
///    error, upon which FreeRDP closes it itself. Only a channel that stays silent is closed from
///    our thread, after a while in which a close of the server that is already under way comes
///    first (Worker::close_patience).
class DvcChannel {
 public:
  enum class Written : std::uint8_t { queued, closed, failed };

  explicit DvcChannel(IWTSVirtualChannel* channel) : channel_(channel) {}
  ~DvcChannel() = default;
  DvcChannel(const DvcChannel&) = delete;
  DvcChannel& operator=(const DvcChannel&) = delete;

  /// Our thread. An empty message is not written: FreeRDP takes it for a wish to close.
  Written write(ByteView message);
  /// Any thread.
  void want_close() noexcept { close_wanted_ = true; }
  [[nodiscard]] bool close_wanted() const noexcept { return close_wanted_; }
  /// Our thread: Close(), unless FreeRDP was first.
  void close();
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
