#include "server/terminal/rdp/peer.hpp"

#include <array>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>

#include <freerdp/channels/channels.h>
#include <freerdp/channels/drdynvc.h>
#include <freerdp/channels/wtsvc.h>
#include <freerdp/crypto/certificate.h>
#include <freerdp/crypto/privatekey.h>
#include <freerdp/error.h>
#include <freerdp/freerdp.h>
#include <freerdp/peer.h>
#include <freerdp/settings.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <spdlog/spdlog.h>
#include <unistd.h>
#include <winpr/ssl.h>
#include <winpr/synch.h>
#include <winpr/wlog.h>
#include <winpr/wtsapi.h>

#include "channel/bytes/limits.hpp"
#include "server/terminal/rdp/dvc_guard.hpp"

namespace tillbridge::terminal {
namespace {

/// MS-RDPEUSB 2.1: the one name of control and device channels.
constexpr const char* channel_name = "URBDRC";

/// PDUs read in one service(); after that the owner looks at everything else again. A PDU is at
/// most 1.6 KiB, so a 64 KiB message passes in one go.
constexpr int pdus_per_service = 64;

/// FreeRDP's WTSOpenServer counts session ids and creates its table of sessions without a lock.
std::mutex& open_server_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::string bounded(const char* text) {
  std::string result = text == nullptr ? std::string() : std::string(text);
  if (result.size() > limits::name_bytes) result.resize(limits::name_bytes);
  // It is shown in logs, so no control characters of a client's choice.
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20U || c == 0x7F) c = '?';
  }
  return result;
}

/// Compares digests, so that neither length nor content of the password shows in the time it takes.
bool same_secret(const std::string& left, const std::string& right) {
  const auto digest = [](const std::string& text) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> result{};
    const Bytes bytes(text.begin(), text.end());
    SHA256(bytes.data(), bytes.size(), result.data());
    return result;
  };
  const auto a = digest(left);
  const auto b = digest(right);
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

/// FreeRDP's own lines. They name functions, not what a person cares about, and every client that
/// just goes away causes an error there: so they are for debugging, and a session's end is told by
/// its owner.
BOOL log_freerdp_message(const wLogMessage* message) {
  if (message != nullptr && message->TextString != nullptr) {
    spdlog::debug("FreeRDP: {}", message->TextString);
  }
  return TRUE;
}

class FreerdpPeer final : public RdpPeer {
 public:
  FreerdpPeer(std::string address, std::optional<Account> account) : account_(std::move(account)) {
    facts_.address = std::move(address);
  }
  ~FreerdpPeer() override;
  FreerdpPeer(const FreerdpPeer&) = delete;
  FreerdpPeer& operator=(const FreerdpPeer&) = delete;

  [[nodiscard]] Status start(int socket, const ServerIdentity& identity);

  void add_polled(std::vector<pollfd>& polled) const override;
  [[nodiscard]] bool input_pending() const override;
  [[nodiscard]] Status service() override;
  [[nodiscard]] std::optional<Event> poll() override;
  void open_channel(std::uint32_t ticket) override;
  void send(rdpeusb::ChannelId channel, ByteView message) override;
  void close_channel(rdpeusb::ChannelId channel) override;
  [[nodiscard]] Status flush() override;
  [[nodiscard]] bool write_blocked() const override;
  void say_goodbye() override;

 private:
  enum class ChannelState : std::uint8_t { opening, open, refused };
  struct Channel {
    HANDLE handle = nullptr;
    std::uint32_t ticket = 0;
    ChannelState state = ChannelState::opening;
  };

  static FreerdpPeer& of(freerdp_peer* peer) {
    return *static_cast<FreerdpPeer*>(peer->ContextExtra);
  }
  static BOOL capabilities(freerdp_peer* peer);
  static BOOL post_connect(freerdp_peer* peer);
  static BOOL activate(freerdp_peer* peer);
  static BOOL receive_channel_data(freerdp_peer* peer, UINT16 channel, const BYTE* data,
                                   size_t size, UINT32 flags, size_t total);
  static BOOL creation_status(void* self, UINT32 channel, INT32 status);

  [[nodiscard]] bool configure(const ServerIdentity& identity);
  void begin_dynamic_channels();
  void read_channels();
  [[nodiscard]] bool read_channel(rdpeusb::ChannelId id, const Channel& channel);
  [[nodiscard]] Error ended() const;

  freerdp_peer* peer_ = nullptr;
  HANDLE channels_manager_ = nullptr;
  DWORD session_ = 0;
  psPeerReceiveChannelData checked_receive_ = nullptr;
  int socket_ = -1;  ///< FreeRDP's; only polled here

  std::optional<Account> account_;
  PeerFacts facts_;
  DvcGuard guard_;
  std::map<rdpeusb::ChannelId, Channel> channels_;
  std::deque<Event> events_;
  std::optional<Error> error_;  ///< found in a callback; ends the session
  bool activated_ = false;
  bool manager_opened_ = false;
  bool channels_ready_ = false;
};

FreerdpPeer::~FreerdpPeer() {
  // The manager's channels point into the peer's context, so they go first.
  if (channels_manager_ != nullptr) WTSCloseServer(channels_manager_);
  if (peer_ != nullptr) {
    if (peer_->context != nullptr) {
      peer_->Disconnect(peer_);
      freerdp_peer_context_free(peer_);
    }
    freerdp_peer_free(peer_);
  }
}

Status FreerdpPeer::start(int socket, const ServerIdentity& identity) {
  socket_ = socket;
  peer_ = freerdp_peer_new(socket);
  if (peer_ == nullptr) {
    ::close(socket);
    return fail(ErrorCode::io, "no memory for another session");
  }
  peer_->ContextExtra = this;
  if (freerdp_peer_context_new(peer_) == FALSE) {
    return fail(ErrorCode::io, "FreeRDP cannot set up a session");
  }
  {
    const std::lock_guard lock(open_server_mutex());
    // FreeRDP's signature is that of Windows, its argument the peer's context.
    channels_manager_ = WTSOpenServerA(reinterpret_cast<LPSTR>(peer_->context));
  }
  if (channels_manager_ == nullptr || channels_manager_ == INVALID_HANDLE_VALUE) {
    channels_manager_ = nullptr;
    return fail(ErrorCode::io, "FreeRDP cannot set up virtual channels");
  }
  LPSTR id = nullptr;
  DWORD id_size = 0;
  if (WTSQuerySessionInformationA(channels_manager_, WTS_CURRENT_SESSION, WTSSessionId, &id,
                                  &id_size) == FALSE) {
    return fail(ErrorCode::io, "FreeRDP does not tell the session's number");
  }
  session_ = *reinterpret_cast<const DWORD*>(id);
  WTSFreeMemory(id);

  checked_receive_ = peer_->ReceiveChannelData;
  peer_->ReceiveChannelData = receive_channel_data;
  WTSVirtualChannelManagerSetDVCCreationCallback(channels_manager_, creation_status, this);
  peer_->Capabilities = capabilities;
  peer_->PostConnect = post_connect;
  peer_->Activate = activate;
  if (!configure(identity)) {
    return fail(ErrorCode::config, "the certificate or its key cannot be used for TLS");
  }
  if (peer_->Initialize(peer_) == FALSE)
    return fail(ErrorCode::io, "FreeRDP cannot start the session");
  return {};
}

bool FreerdpPeer::configure(const ServerIdentity& identity) {
  rdpSettings* settings = peer_->context->settings;
  // The settings own what they are given, so each session gets its own copy.
  rdpPrivateKey* key = freerdp_key_new_from_pem(identity.key.c_str());
  if (key == nullptr ||
      freerdp_settings_set_pointer_len(settings, FreeRDP_RdpServerRsaKey, key, 1) == FALSE) {
    return false;
  }
  rdpCertificate* certificate = freerdp_certificate_new_from_pem(identity.certificate.c_str());
  if (certificate == nullptr ||
      freerdp_settings_set_pointer_len(settings, FreeRDP_RdpServerCertificate, certificate, 1) ==
          FALSE) {
    return false;
  }
  struct Setting {
    FreeRDP_Settings_Keys_Bool key;
    bool value;
  };
  // Only TLS: RDP's own encryption is broken, and NLA needs password hashes on this machine.
  // WaitForOutputBufferFlush would make a write wait for a client that does not read, while that
  // client may be waiting for us to read: a deadlock. Without it FreeRDP buffers, and
  // write_blocked() stops our source. The rest is what a session without a picture does not need.
  constexpr std::array wanted = {
      Setting{FreeRDP_TlsSecurity, true},
      Setting{FreeRDP_RdpSecurity, false},
      Setting{FreeRDP_NlaSecurity, false},
      Setting{FreeRDP_WaitForOutputBufferFlush, false},
      Setting{FreeRDP_NetworkAutoDetect, false},
      Setting{FreeRDP_SupportMultitransport, false},
      Setting{FreeRDP_SupportHeartbeatPdu, false},
      Setting{FreeRDP_SupportGraphicsPipeline, false},
      Setting{FreeRDP_SupportMonitorLayoutPdu, false},
  };
  for (const Setting& setting : wanted) {
    if (freerdp_settings_set_bool(settings, setting.key, setting.value ? TRUE : FALSE) == FALSE) {
      return false;
    }
  }
  return freerdp_settings_set_uint32(settings, FreeRDP_ColorDepth, 32) == TRUE;
}

// --- callbacks: all of them from within service(), on the owner's thread
// -------------------------------------

/// With TLS the client's user and password come in its info packet, after FreeRDP's Logon callback,
/// which sees an empty identity and cannot refuse. This is the first callback behind the info
/// packet that can.
BOOL FreerdpPeer::capabilities(freerdp_peer* peer) {
  FreerdpPeer& self = of(peer);
  const rdpSettings* settings = peer->context->settings;
  self.facts_.user = bounded(freerdp_settings_get_string(settings, FreeRDP_Username));
  self.facts_.domain = bounded(freerdp_settings_get_string(settings, FreeRDP_Domain));
  self.facts_.client_name = bounded(freerdp_settings_get_string(settings, FreeRDP_ClientHostname));
  if (!self.account_) return TRUE;
  const char* password = freerdp_settings_get_string(settings, FreeRDP_Password);
  const bool right_password =
      same_secret(self.account_->password, password == nullptr ? "" : password);
  const bool right_user = self.facts_.user == self.account_->user;
  if (right_user && right_password) return TRUE;
  self.error_ = fail(ErrorCode::refused, "wrong user or password (user \"" + self.facts_.user +
                                             "\", client " + self.facts_.client_name + ")");
  return FALSE;
}

BOOL FreerdpPeer::post_connect(freerdp_peer* /*peer*/) {
  return TRUE;
}

/// Also called after each deactivation and reactivation; the session begins with the first.
BOOL FreerdpPeer::activate(freerdp_peer* peer) {
  FreerdpPeer& self = of(peer);
  if (!self.activated_) {
    self.activated_ = true;
    self.events_.emplace_back(Activated{self.facts_});
  }
  return TRUE;
}

BOOL FreerdpPeer::receive_channel_data(freerdp_peer* peer, UINT16 channel, const BYTE* data,
                                       size_t size, UINT32 flags, size_t total) {
  FreerdpPeer& self = of(peer);
  // Clipboard, sound and the like: nothing here listens to them, so they are dropped without a
  // word.
  if (channel != WTSChannelGetId(peer, DRDYNVC_SVC_CHANNEL_NAME)) return TRUE;
  const Result<std::optional<ByteView>> pdu = self.guard_.chunk(ByteView(data, size), flags, total);
  if (!pdu) {
    self.error_ = pdu.error();
    return FALSE;
  }
  if (!pdu.value()) return TRUE;
  const ByteView whole = *pdu.value();
  return self.checked_receive_(peer, channel, whole.data(), whole.size(),
                               DvcGuard::flag_first | DvcGuard::flag_last, whole.size());
}

BOOL FreerdpPeer::creation_status(void* self_pointer, UINT32 id, INT32 status) {
  FreerdpPeer& self = *static_cast<FreerdpPeer*>(self_pointer);
  const auto found = self.channels_.find(id);
  if (found == self.channels_.end()) return TRUE;
  Channel& channel = found->second;
  if (channel.state != ChannelState::opening) return TRUE;  // a second answer does not count
  if (status >= 0) {
    channel.state = ChannelState::open;
    self.events_.emplace_back(ChannelOpened{channel.ticket, id});
  } else {
    // The handle is still in use by FreeRDP's reader, which called us: read_channels() closes it
    // after that.
    channel.state = ChannelState::refused;
    self.events_.emplace_back(ChannelRefused{channel.ticket, status});
  }
  return TRUE;
}

// --- servicing
// -------------------------------------------------------------------------------------------------

void FreerdpPeer::add_polled(std::vector<pollfd>& polled) const {
  std::array<HANDLE, 16> handles{};
  const DWORD count = peer_->GetEventHandles(peer_, handles.data(), handles.size());
  for (DWORD i = 0; i < count; ++i) {
    polled.push_back(pollfd{GetEventFileDescriptor(handles.at(i)), POLLIN, 0});
  }
  // FreeRDP's events never wait for the socket to take more, so that is asked for here.
  if (write_blocked()) polled.push_back(pollfd{socket_, POLLOUT, 0});
}

bool FreerdpPeer::input_pending() const {
  return peer_->HasMoreToRead(peer_) == TRUE;
}

bool FreerdpPeer::write_blocked() const {
  return peer_->IsWriteBlocked(peer_) == TRUE;
}

Error FreerdpPeer::ended() const {
  if (error_) return *error_;
  const rdpContext* context = peer_->context;
  if (freerdp_shall_disconnect_context(context) == TRUE) {
    return fail(ErrorCode::unavailable, "the client logged off");
  }
  return fail(ErrorCode::unavailable, activated_
                                          ? "the client disconnected"
                                          : "the client went away before the session was set up");
}

Status FreerdpPeer::service() {
  if (write_blocked() && peer_->DrainOutputBuffer(peer_) < 0) return ended();
  for (int i = 0; i < pdus_per_service; ++i) {
    const bool going_on = peer_->CheckFileDescriptor(peer_) == TRUE && !error_ &&
                          freerdp_shall_disconnect_context(peer_->context) == FALSE;
    read_channels();  // what came before the end still counts
    if (!going_on) return ended();
    if (!input_pending()) break;
  }
  if (activated_ && !channels_ready_) begin_dynamic_channels();
  return flush();
}

/// FreeRDP sends the dynamic channels' capabilities as soon as it is asked to open their manager;
/// before the activation the client would drop the connection because of them.
void FreerdpPeer::begin_dynamic_channels() {
  if (!manager_opened_) {
    manager_opened_ = true;
    if (WTSVirtualChannelManagerIsChannelJoined(channels_manager_, DRDYNVC_SVC_CHANNEL_NAME) ==
        FALSE) {
      channels_ready_ = true;
      events_.emplace_back(ChannelsMissing{});
      return;
    }
    if (WTSVirtualChannelManagerOpen(channels_manager_) == FALSE) {
      error_ = fail(ErrorCode::io, "FreeRDP cannot open the dynamic channels");
      return;
    }
  }
  if (WTSVirtualChannelManagerGetDrdynvcState(channels_manager_) == DRDYNVC_STATE_READY) {
    channels_ready_ = true;
    events_.emplace_back(ChannelsReady{});
  }
}

/// Messages only ever arrive within CheckFileDescriptor on this thread, so the channels' own event
/// handles need no waiting for: looking once after each PDU is enough.
void FreerdpPeer::read_channels() {
  for (auto entry = channels_.begin(); entry != channels_.end();) {
    const auto& [id, channel] = *entry;
    const bool closed = channel.state == ChannelState::open && !read_channel(id, channel);
    if (closed) events_.emplace_back(ChannelClosed{id});
    if (!closed && channel.state != ChannelState::refused) {
      ++entry;
      continue;
    }
    WTSVirtualChannelClose(channel.handle);
    entry = channels_.erase(entry);
  }
}

/// False if the client closed the channel.
bool FreerdpPeer::read_channel(rdpeusb::ChannelId id, const Channel& channel) {
  for (;;) {
    // Asked with no buffer, FreeRDP tells the size of the next message and keeps it.
    ULONG size = 0;
    SetLastError(ERROR_SUCCESS);
    if (WTSVirtualChannelRead(channel.handle, 0, nullptr, 0, &size) == FALSE) {
      return GetLastError() ==
             ERROR_NO_DATA;  // anything else is FreeRDP's mark for "closed by the client"
    }
    Bytes message(size);
    ULONG read = 0;
    // An empty message must be fetched with a buffer as well, or it stays first in the queue for
    // ever.
    std::array<char, 1> nothing{};
    char* buffer = message.empty() ? nothing.data() : reinterpret_cast<char*>(message.data());
    const ULONG space = message.empty() ? 1 : size;
    if (WTSVirtualChannelRead(channel.handle, 0, buffer, space, &read) == FALSE) return false;
    events_.emplace_back(Message{id, std::move(message)});
  }
}

std::optional<RdpPeer::Event> FreerdpPeer::poll() {
  if (events_.empty()) return std::nullopt;
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

// --- channels
// ----------------------------------------------------------------------------------------------------

void FreerdpPeer::open_channel(std::uint32_t ticket) {
  HANDLE handle = nullptr;
  if (channels_.size() < limits::rdpeusb_channels + 1 /* the control channel */) {
    std::string name = channel_name;  // the API wants it writable and leaves it alone
    handle = WTSVirtualChannelOpenEx(session_, name.data(), WTS_CHANNEL_OPTION_DYNAMIC);
  }
  if (handle == nullptr) {
    events_.emplace_back(ChannelRefused{ticket, -1});
    return;
  }
  // FreeRDP counts dynamic channels up and never reuses a number within a session.
  channels_.emplace(WTSChannelGetIdByHandle(handle), Channel{handle, ticket});
}

void FreerdpPeer::send(rdpeusb::ChannelId channel, ByteView message) {
  const auto found = channels_.find(channel);
  if (found == channels_.end() || found->second.state != ChannelState::open) return;
  ULONG written = 0;
  // The API wants it writable and leaves it alone.
  auto* data = reinterpret_cast<char*>(const_cast<std::uint8_t*>(message.data()));
  if (WTSVirtualChannelWrite(found->second.handle, data, static_cast<ULONG>(message.size()),
                             &written) == FALSE) {
    error_ = fail(ErrorCode::io, "FreeRDP cannot queue a channel message");
  }
}

void FreerdpPeer::close_channel(rdpeusb::ChannelId channel) {
  const auto found = channels_.find(channel);
  if (found == channels_.end()) return;
  WTSVirtualChannelClose(found->second.handle);
  channels_.erase(found);
}

Status FreerdpPeer::flush() {
  if (error_) return *error_;
  if (manager_opened_ &&
      WTSVirtualChannelManagerCheckFileDescriptorEx(channels_manager_, FALSE) == FALSE) {
    return ended();
  }
  return {};
}

void FreerdpPeer::say_goodbye() {
  if (activated_ && freerdp_shall_disconnect_context(peer_->context) == FALSE) peer_->Close(peer_);
}

}  // namespace

void initialise_rdp() {
  // FreeRDP makes no session where there is no home, as for a service of systemd. A server keeps
  // nothing there.
  ::setenv("HOME", "/", 0);
  winpr_InitializeSSL(WINPR_SSL_INIT_DEFAULT);
  WTSRegisterWtsApiFunctionTable(FreeRDP_InitWtsApi());
  wLog* root = WLog_GetRoot();
  if (WLog_SetLogAppenderType(root, WLOG_APPENDER_CALLBACK) == TRUE) {
    static wLogCallbacks callbacks{};
    callbacks.message = log_freerdp_message;
    WLog_ConfigureAppender(WLog_GetLogAppender(root), "callbacks", &callbacks);
    WLog_OpenAppender(root);
  }
}

Result<std::unique_ptr<RdpPeer>> RdpPeer::adopt(int socket, std::string address,
                                                const ServerIdentity& identity,
                                                std::optional<Account> account) {
  auto peer = std::make_unique<FreerdpPeer>(std::move(address), std::move(account));
  if (Status started = peer->start(socket, identity); !started) return started.error();
  return std::unique_ptr<RdpPeer>(std::move(peer));
}

}  // namespace tillbridge::terminal
