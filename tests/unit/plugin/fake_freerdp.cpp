#include "tests/unit/plugin/fake_freerdp.hpp"

#include <algorithm>
#include <utility>

#include <freerdp/settings.h>
#include <winpr/stream.h>

extern "C" UINT VCAPITYPE DVCPluginEntry(IDRDYNVC_ENTRY_POINTS* entry_points);

namespace tillbridge::plugin::test {

FakeFreeRdp::FakeFreeRdp(std::vector<std::string> arguments, Hooks hooks)
    : hooks_(std::move(hooks)),
      arguments_(std::move(arguments)),
      settings_(freerdp_settings_new(0)) {
  arguments_.insert(arguments_.begin(), "tillbridge");
  for (std::string& argument : arguments_) argv_.push_back(argument.data());
  argument_table_.argc = static_cast<int>(argv_.size());
  argument_table_.argv = argv_.data();

  entry_.owner = this;
  entry_.RegisterPlugin = [](IDRDYNVC_ENTRY_POINTS* entry, const char* name,
                             IWTSPlugin* plugin) -> UINT {
    auto& me = *static_cast<EntryPoints*>(entry)->owner;
    me.names_.emplace_back(name);
    me.plugins_.push_back(plugin);
    return CHANNEL_RC_OK;
  };
  entry_.GetPlugin = [](IDRDYNVC_ENTRY_POINTS* entry, const char* name) -> IWTSPlugin* {
    static IWTSPlugin somebody{};
    const auto& me = *static_cast<EntryPoints*>(entry)->owner;
    const auto found = std::find(me.names_.begin(), me.names_.end(), name);
    if (found == me.names_.end()) return nullptr;
    IWTSPlugin* plugin = me.plugins_[static_cast<std::size_t>(found - me.names_.begin())];
    return plugin == nullptr ? &somebody : plugin;
  };
  entry_.GetPluginData = [](IDRDYNVC_ENTRY_POINTS* entry) -> const ADDIN_ARGV* {
    return &static_cast<EntryPoints*>(entry)->owner->argument_table_;
  };
  entry_.GetRdpSettings = [](IDRDYNVC_ENTRY_POINTS* entry) {
    return static_cast<EntryPoints*>(entry)->owner->settings_;
  };

  manager_.owner = this;
  manager_.CreateListener = [](IWTSVirtualChannelManager* manager, const char* name, ULONG,
                               IWTSListenerCallback* callback, IWTSListener** listener) -> UINT {
    static_cast<Manager*>(manager)->owner->listeners_[name] =
        callback;  // replaces, as FreeRDP does
    if (listener != nullptr) *listener = nullptr;
    return CHANNEL_RC_OK;
  };
}

FakeFreeRdp::~FakeFreeRdp() {
  disconnect();
  hooks_.gone();
  freerdp_settings_free(settings_);
}

UINT FakeFreeRdp::connect() {
  const UINT status = DVCPluginEntry(&entry_);
  if (status != CHANNEL_RC_OK) return status;
  for (IWTSPlugin* plugin : plugins_) {
    if (plugin == nullptr) continue;
    if (const UINT initialized = plugin->Initialize(plugin, &manager_);
        initialized != CHANNEL_RC_OK)
      return initialized;
  }
  quit_ = false;
  thread_ = std::thread([this] { run(); });
  return CHANNEL_RC_OK;
}

void FakeFreeRdp::disconnect() {
  if (thread_.joinable()) {
    {
      const std::lock_guard guard(mutex_);
      quit_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  for (IWTSPlugin* plugin : std::exchange(plugins_, {})) {
    if (plugin != nullptr) plugin->Terminated(plugin);
  }
  names_.clear();
  listeners_.clear();
}

void FakeFreeRdp::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return quit_ || !tasks_.empty(); });
    if (quit_) break;  // what is still queued is dropped, as FreeRDP does
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    lock.unlock();
    task();
    lock.lock();
  }
  tasks_.clear();
  lock.unlock();
  const std::lock_guard guard(table_);
  for (;;) {
    Channel* channel = nullptr;
    {
      const std::lock_guard state(state_);
      if (channels_.empty()) break;
      channel = channels_.begin()->second;
      ++channel->references;
    }
    close_channel(channel);
    remove(channel->id, channel);  // also one that the plugin is closing in this instant
    drop(channel);
  }
}

void FakeFreeRdp::later(std::function<void()> task) {
  {
    const std::lock_guard guard(mutex_);
    tasks_.push_back(std::move(task));
  }
  changed_.notify_all();
}

void FakeFreeRdp::settle() {
  auto done = std::make_shared<std::promise<void>>();
  later([done] { done->set_value(); });
  done->get_future().wait();
}

void FakeFreeRdp::create(const std::string& name, std::function<void(std::uint32_t)> done) {
  later([this, name, done = std::move(done)] {
    const auto listener = listeners_.find(name);
    if (listener == listeners_.end()) return done(0);
    auto* channel = new Channel;
    channel->owner = this;
    channel->table.Write = write;
    channel->table.Close = close_by_plugin;
    {
      const std::lock_guard state(state_);
      channel->id = ++last_id_;
      channels_[channel->id] = channel;
      alive_.insert(&channel->table);
      ++channel->references;
    }
    BOOL accepted = TRUE;
    IWTSVirtualChannelCallback* callback = nullptr;
    const UINT status = listener->second->OnNewChannelConnection(listener->second, &channel->table,
                                                                 nullptr, &accepted, &callback);
    const std::uint32_t id = channel->id;
    const bool open = status == CHANNEL_RC_OK && accepted != FALSE;
    if (open) {
      const std::lock_guard state(state_);
      channel->callback = callback;
      channel->running = true;
    } else {
      remove(id, channel);
    }
    done(open ? id : 0);  // the answer to the server goes out before OnOpen
    if (open) (void)callback->OnOpen(callback);
    drop(channel);
  });
}

void FakeFreeRdp::data(std::uint32_t id, Bytes message, std::size_t position) {
  later([this, id, message = std::move(message), position] {
    Channel* channel = take(id);
    if (channel == nullptr) return;
    IWTSVirtualChannelCallback* callback = nullptr;
    {
      const std::lock_guard state(state_);
      if (channel->running) callback = channel->callback;
    }
    if (callback != nullptr) {
      wStream* stream = Stream_New(nullptr, position + message.size() + 1);
      Stream_Zero(stream, position);
      Stream_Write(stream, message.data(), message.size());
      Stream_SealLength(stream);
      Stream_SetPosition(stream, position);
      const UINT status = callback->OnDataReceived(callback, stream);
      Stream_Free(stream, TRUE);
      if (status != CHANNEL_RC_OK) {
        ++closed_by_error;
        close_channel(channel);
      }
    }
    drop(channel);
  });
}

void FakeFreeRdp::close(std::uint32_t id) {
  later([this, id] {
    Channel* channel = take(id);
    if (channel == nullptr) return;
    close_channel(channel);
    drop(channel);
  });
}

bool FakeFreeRdp::has_listener(const std::string& name) {
  return listeners_.count(name) != 0;
}

std::size_t FakeFreeRdp::open_channels() {
  const std::lock_guard state(state_);
  return channels_.size();
}

FakeFreeRdp::Channel* FakeFreeRdp::take(std::uint32_t id) {
  const std::lock_guard guard(table_);
  const std::lock_guard state(state_);
  const auto found = channels_.find(id);
  if (found == channels_.end()) return nullptr;
  ++found->second->references;
  return found->second;
}

void FakeFreeRdp::drop(Channel* channel) {
  const std::lock_guard state(state_);
  if (--channel->references > 0) return;
  alive_.erase(&channel->table);
  delete channel;
}

void FakeFreeRdp::remove(std::uint32_t id, Channel* channel) {
  {
    const std::lock_guard guard(table_);
    const std::lock_guard state(state_);
    if (channels_.erase(id) == 0) return;
  }
  drop(channel);
}

void FakeFreeRdp::close_channel(Channel* channel) {
  IWTSVirtualChannelCallback* callback = nullptr;
  {
    const std::lock_guard state(state_);
    if (!std::exchange(channel->running, false)) return;
    callback = std::exchange(channel->callback, nullptr);
  }
  const std::uint32_t id = channel->id;
  (void)callback->OnClose(callback);
  {
    const std::lock_guard state(state_);
    channel->over = true;
  }
  hooks_.closed(id);
  remove(id, channel);
}

UINT FakeFreeRdp::write(IWTSVirtualChannel* table, ULONG size, const BYTE* buffer,
                        void* /*reserved*/) {
  auto* channel = reinterpret_cast<Channel*>(table);  // its first member, as in FreeRDP
  FakeFreeRdp& me = *channel->owner;
  std::uint32_t id = 0;
  {
    const std::lock_guard state(me.state_);
    // A channel that is being closed still takes what it gets, until OnClose returned.
    if (me.alive_.count(table) == 0 || channel->over) {
      ++me.misuses;
      return CHANNEL_RC_BAD_CHANNEL;
    }
    id = channel->id;
  }
  if (size == 0) {
    ++me.misuses;  // FreeRDP would close the channel
    return CHANNEL_RC_OK;
  }
  me.hooks_.written(id, Bytes(buffer, buffer + size));
  return CHANNEL_RC_OK;
}

UINT FakeFreeRdp::close_by_plugin(IWTSVirtualChannel* table) {
  auto* channel = reinterpret_cast<Channel*>(table);
  FakeFreeRdp& me = *channel->owner;
  {
    const std::lock_guard state(me.state_);
    if (me.alive_.count(table) == 0 || channel->over) {
      ++me.misuses;
      return CHANNEL_RC_BAD_CHANNEL;
    }
    ++channel->references;
  }
  ++me.closed_by_plugin;
  me.close_channel(channel);
  me.drop(channel);
  return CHANNEL_RC_OK;
}

}  // namespace tillbridge::plugin::test
