#include "tests/unit/plugin/fake_freerdp.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include <winpr/stream.h>

extern "C" UINT VCAPITYPE DVCPluginEntry(IDRDYNVC_ENTRY_POINTS* entry_points);

namespace tillbridge::plugin::test {
namespace {

// What the generations behave like differently; plugin/freerdp/generation.hpp lists it.
constexpr bool table_locked_at_every_close = freerdp_generation == 2;
constexpr bool first_listener_counts = freerdp_generation == 2;

/// The same members return other types in each.
template <typename Member>
using ResultOf = std::invoke_result_t<Member, IDRDYNVC_ENTRY_POINTS*>;
using PluginData = ResultOf<decltype(IDRDYNVC_ENTRY_POINTS::GetPluginData)>;
using Settings = ResultOf<decltype(IDRDYNVC_ENTRY_POINTS::GetRdpSettings)>;

}  // namespace

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
  entry_.GetPluginData = [](IDRDYNVC_ENTRY_POINTS* entry) -> PluginData {
    return &static_cast<EntryPoints*>(entry)->owner->argument_table_;
  };
  entry_.GetRdpSettings = [](IDRDYNVC_ENTRY_POINTS* entry) -> Settings {
    return static_cast<EntryPoints*>(entry)->owner->settings_;
  };

  manager_.owner = this;
  manager_.CreateListener = [](IWTSVirtualChannelManager* manager, const char* name, ULONG,
                               IWTSListenerCallback* callback, IWTSListener** listener) -> UINT {
    auto& listeners = static_cast<Manager*>(manager)->owner->listeners_;
    if (first_listener_counts) {
      listeners.emplace(name, callback);
    } else {
      listeners[name] = callback;
    }
    if (listener != nullptr) *listener = nullptr;
    return CHANNEL_RC_OK;
  };
}

FakeFreeRdp::~FakeFreeRdp() {
  disconnect();
  hooks_.gone();
  freerdp_settings_free(settings_);
}

void FakeFreeRdp::add_dynamic_channel(const char* name) {
  // Freed with the settings, by free().
  auto* arguments = static_cast<ADDIN_ARGV*>(std::calloc(1, sizeof(ADDIN_ARGV)));
  arguments->argv = static_cast<char**>(std::calloc(1, sizeof(char*)));
  arguments->argv[0] = strdup(name);
  arguments->argc = 1;
  freerdp_dynamic_channel_collection_add(settings_, arguments);
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
    channel->table.Close = close;
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
  std::unique_lock table(table_, std::defer_lock);
  if (table_locked_at_every_close) table.lock();
  IWTSVirtualChannelCallback* callback = nullptr;
  {
    const std::lock_guard state(state_);
    if (!std::exchange(channel->running, false)) return;
    callback = std::exchange(channel->callback, nullptr);
  }
  const std::uint32_t id = channel->id;
  ++closes_begun;
  (void)callback->OnClose(callback);
  {
    const std::lock_guard state(state_);
    channel->over = true;
  }
  hooks_.closed(id);
  remove(id, channel);
}

FakeFreeRdp::Channel* FakeFreeRdp::alive(IWTSVirtualChannel* table) {
  const std::lock_guard state(state_);
  // A channel that is being closed still takes what it gets, until OnClose returned.
  auto* channel = reinterpret_cast<Channel*>(table);  // its first member, as in FreeRDP
  if (alive_.count(table) != 0 && !channel->over) {
    ++channel->references;
    return channel;
  }
  ++misuses;
  return nullptr;
}

UINT FakeFreeRdp::write(IWTSVirtualChannel* table, ULONG size, const BYTE* buffer,
                        void* /*reserved*/) {
  FakeFreeRdp& me = *reinterpret_cast<Channel*>(table)->owner;
  Channel* channel = me.alive(table);
  if (channel == nullptr) return CHANNEL_RC_BAD_CHANNEL;
  if (size != 0) {
    me.hooks_.written(channel->id, Bytes(buffer, buffer + size));
  } else if (closed_by_empty_write) {
    me.close_by_plugin(channel);
  } else {
    ++me.misuses;  // 3 would close as well: nobody means that
  }
  me.drop(channel);
  return size != 0 ? CHANNEL_RC_OK : CHANNEL_RC_BAD_INIT_HANDLE;
}

UINT FakeFreeRdp::close(IWTSVirtualChannel* table) {
  FakeFreeRdp& me = *reinterpret_cast<Channel*>(table)->owner;
  Channel* channel = me.alive(table);
  if (channel == nullptr) return CHANNEL_RC_BAD_CHANNEL;
  if (closed_by_empty_write) {
    ++me.misuses;  // it does nothing there
  } else {
    me.close_by_plugin(channel);
  }
  me.drop(channel);
  return CHANNEL_RC_OK;
}

void FakeFreeRdp::close_by_plugin(Channel* channel) {
  ++closed_by_plugin;
  if (hooks_.plugin_closes) hooks_.plugin_closes(channel->id);
  close_channel(channel);
}

}  // namespace tillbridge::plugin::test
