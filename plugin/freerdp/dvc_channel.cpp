#include "plugin/freerdp/dvc_channel.hpp"

#include <limits>
#include <utility>

namespace tillbridge::plugin {

DvcChannel::Written DvcChannel::write(ByteView message) {
  const std::lock_guard guard(mutex_);
  if (channel_ == nullptr) return Written::closed;
  if (message.empty()) return Written::queued;
  if (message.size() > std::numeric_limits<ULONG>::max()) return Written::failed;
  const UINT status =
      channel_->Write(channel_, static_cast<ULONG>(message.size()), message.data(), nullptr);
  return status == CHANNEL_RC_OK ? Written::queued : Written::failed;
}

void DvcChannel::close() {
  std::unique_lock lock(mutex_);
  IWTSVirtualChannel* channel = std::exchange(channel_, nullptr);
  if (channel == nullptr) return;
  closing_thread_ = std::this_thread::get_id();
  lock.unlock();  // it takes FreeRDP's locks, and OnClose is called under these
  close_channel(*channel);
  lock.lock();
  closing_thread_ = {};
  lock.unlock();
  out_of_close_.notify_all();
}

void DvcChannel::closed() {
  std::unique_lock lock(mutex_);
  channel_ = nullptr;
  if (closing_thread_ == std::this_thread::get_id()) return;
  // FreeRDP's thread was first by a hair, and frees the channel when this returns. In FreeRDP 3 the
  // channel is marked as closed by now, so ours returns at once; the limit only keeps a defect of
  // FreeRDP from hanging the RDP session. In FreeRDP 2 ours may wait for the table that is locked
  // while this waits; it has long done with the channel itself then, and finds it gone from the
  // table afterwards. Nothing tells that from the instant before, so the limit is what ends it.
  out_of_close_.wait_for(lock, longest_close,
                         [this] { return closing_thread_ == std::thread::id{}; });
}

}  // namespace tillbridge::plugin
