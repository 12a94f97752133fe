#include "plugin/freerdp/instance.hpp"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include <winpr/stream.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::plugin {
namespace {

/// No exception gets into FreeRDP's C code.
template <typename Body>
UINT guarded(Body body) noexcept {
  try {
    return body();
  } catch (...) {
    return CHANNEL_RC_NO_MEMORY;  // the only thing that is left to go wrong in these few lines
  }
}

}  // namespace

/// One accepted channel.
///
/// FreeRDP may be about to call OnDataReceived of a channel on its receive thread while OnClose
/// runs on ours. So the object outlives OnClose, until the receive thread is seen elsewhere: at the
/// next new channel, or at the end.
struct Instance::Callback {
  struct Table : IWTSVirtualChannelCallback {
    Callback* owner = nullptr;
  };

  Callback(IWTSVirtualChannel* freerdp_channel, ChannelId its_id,
           std::shared_ptr<Worker> its_worker, std::shared_ptr<Log> its_log)
      : channel(std::make_shared<DvcChannel>(freerdp_channel)),
        worker(std::move(its_worker)),
        log(std::move(its_log)),
        id(its_id) {
    table.OnOpen = on_open;
    table.OnDataReceived = on_data;
    table.OnClose = on_close;
    table.owner = this;
  }

  static Callback& self(IWTSVirtualChannelCallback* callback) {
    return *static_cast<Table*>(callback)->owner;
  }

  // FreeRDP calls this after it has answered the server's request: nothing may be written before.
  static UINT on_open(IWTSVirtualChannelCallback* callback) {
    return guarded([&]() -> UINT {
      Callback& me = self(callback);
      me.worker->opened(me.id, me.channel);
      return CHANNEL_RC_OK;
    });
  }

  // Anything but CHANNEL_RC_OK makes FreeRDP close this channel, and nothing else.
  static UINT on_data(IWTSVirtualChannelCallback* callback, wStream* data) {
    return guarded([&]() -> UINT {
      Callback& me = self(callback);
      if (me.channel->close_wanted()) return ERROR_OPERATION_ABORTED;
      // The position is 0 for a reassembled message, but behind the channel's header for one that
      // came whole.
      const std::size_t size = Stream_GetRemainingLength(data);
      if (size > limits::rdpeusb_message_bytes) {
        me.log->write(Level::error, "the terminal server sent a message of " +
                                        std::to_string(size) +
                                        " bytes, which no USB transfer needs; closing its channel");
        return ERROR_INVALID_DATA;
      }
      const ByteView message(static_cast<const std::uint8_t*>(Stream_Pointer(data)), size);
      return me.worker->received(me.id, message) ? CHANNEL_RC_OK : CHANNEL_RC_NO_BUFFER;
    });
  }

  static UINT on_close(IWTSVirtualChannelCallback* callback) {
    return guarded([&]() -> UINT {
      Callback& me = self(callback);
      me.channel->closed();
      const auto its_worker = me.worker;
      const ChannelId its_id = me.id;
      me.over = true;  // from here on it may be freed
      its_worker->closed(its_id);
      return CHANNEL_RC_OK;
    });
  }

  Table table{};
  const std::shared_ptr<DvcChannel> channel;
  const std::shared_ptr<Worker> worker;
  const std::shared_ptr<Log> log;
  const ChannelId id;
  std::atomic<bool> over = false;
};

Instance::Instance(std::shared_ptr<Worker> worker, std::shared_ptr<Log> log)
    : worker_(std::move(worker)), log_(std::move(log)) {
  // Connected and Disconnected are never called by FreeRDP; Attached and Detached are for a
  // session that is shadowed and change nothing for us. It skips what is not set.
  plugin_.Initialize = on_initialize;
  plugin_.Terminated = on_terminated;
  plugin_.owner = this;
  listener_.OnNewChannelConnection = on_new_channel;
  listener_.owner = this;
}

Instance::~Instance() {
  for (const auto& callback : callbacks_) callback->channel->closed();
  worker_->stop();
}

UINT Instance::initialize(IWTSVirtualChannelManager* manager) {
  IWTSListener* listener = nullptr;  // FreeRDP frees it after Terminated
  const UINT status = manager->CreateListener(manager, listener_name, 0, &listener_, &listener);
  if (status != CHANNEL_RC_OK) {
    log_->write(Level::error, "FreeRDP does not let us listen for " + std::string(listener_name) +
                                  " (error " + std::to_string(status) +
                                  "); no stick will appear in this session");
  }
  return CHANNEL_RC_OK;
}

UINT Instance::accept(IWTSVirtualChannel* channel, BOOL* accepted,
                      IWTSVirtualChannelCallback** callback) {
  std::erase_if(callbacks_, [](const auto& old) { return old->over.load(); });
  if (callbacks_.size() >= limits::rdpeusb_channels) {
    log_->write(Level::error, "the terminal server opened more than " +
                                  std::to_string(limits::rdpeusb_channels) +
                                  " USB channels; refusing one more");
    *accepted = FALSE;
    return CHANNEL_RC_OK;
  }
  auto created = std::make_unique<Callback>(channel, ++last_channel_, worker_, log_);
  *callback = &created->table;
  *accepted = TRUE;
  callbacks_.push_back(std::move(created));
  return CHANNEL_RC_OK;
}

UINT Instance::on_initialize(IWTSPlugin* plugin, IWTSVirtualChannelManager* manager) {
  (void)guarded([&] { return static_cast<Plugin*>(plugin)->owner->initialize(manager); });
  return CHANNEL_RC_OK;
}

UINT Instance::on_terminated(IWTSPlugin* plugin) {
  return guarded([&]() -> UINT {
    delete static_cast<Plugin*>(plugin)->owner;
    return CHANNEL_RC_OK;
  });
}

UINT Instance::on_new_channel(IWTSListenerCallback* listener, IWTSVirtualChannel* channel,
                              BYTE* /*data*/, BOOL* accepted,
                              IWTSVirtualChannelCallback** callback) {
  return guarded([&]() -> UINT {
    return static_cast<Listener*>(listener)->owner->accept(channel, accepted, callback);
  });
}

}  // namespace tillbridge::plugin
