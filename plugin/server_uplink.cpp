#include "plugin/server_uplink.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "channel/bytes/limits.hpp"

namespace tillbridge::plugin {
namespace {

link::SessionId new_session(transport::Loop& loop) {
  link::SessionId session{};
  for (auto& byte : session) byte = static_cast<std::uint8_t>(loop.random() & 0xFFU);
  return session;
}

rdpeusb::ResetPolicy reset_policy(const std::string& name) {
  if (name == "pass") return rdpeusb::ResetPolicy::pass;
  if (name == "refuse") return rdpeusb::ResetPolicy::refuse;
  return rdpeusb::ResetPolicy::soften;  // also for a word of a newer server: the one that cannot
                                        // lock a TSE
}

/// "0.4 s", "60 s"
std::string seconds_text(Duration duration) {
  const auto tenths = duration / std::chrono::milliseconds(100);
  std::string text = std::to_string(tenths / 10);
  if (tenths < 100 && tenths % 10 != 0) text.append(1, '.').append(std::to_string(tenths % 10));
  return text + " s";
}

/// How much longer than it said a server that restarts may take before its sticks go on.
constexpr Duration restart_margin = std::chrono::seconds(5);

Dialer::Target target_of(const ServerSource& source, transport::TlsContext tls) {
  return {source.host, source.port, std::move(tls), source.name};
}

}  // namespace

ServerUplink::ServerUplink(transport::Loop& loop, ServerSource source, transport::TlsContext tls,
                           SessionFacts facts, Log& log)
    : loop_(loop),
      source_(std::move(source)),
      facts_(std::move(facts)),
      log_(log),
      dialer_(loop, target_of(source_, std::move(tls)), log),
      renewal_(loop, source_, log),
      deadline_(loop,
                [this] {
                  if (!endpoint_) return;
                  endpoint_->advance(loop_.now());
                  take_events();
                }),
      stopping_(loop),
      patience_(loop),
      held_(loop),
      unpause_(loop) {}

void ServerUplink::start(Events events) {
  events_ = std::move(events);
  renewal_.start({.ask =
                      [this](Bytes request) {
                        if (!endpoint_ || stopped_) return;
                        endpoint_->send_control(link::Renew{std::move(request)}, loop_.now());
                        flush();
                      },
                  .use = [this](transport::TlsContext fresh) { dialer_.use(std::move(fresh)); }});
  dialer_.start([this](std::unique_ptr<transport::Stream> stream) { greet(std::move(stream)); });
}

void ServerUplink::greet(std::unique_ptr<transport::Stream> stream) {
  stream_ = std::move(stream);
  if (!endpoint_) endpoint_.emplace(link::Side::till, new_session(loop_));
  established_ = false;
  goodbye_.reset();
  endpoint_->connected(loop_.now());
  stream_->start({.received = [this](ByteView bytes) { receive(bytes); },
                  .drained = [this] { tell_if_writable(); },
                  .closed = [this](const std::optional<Error>& error) { closed(error); }});
  flush();
}

void ServerUplink::receive(ByteView bytes) {
  if (stopped_) return;
  endpoint_->receive(bytes, loop_.now());
  take_events();
}

void ServerUplink::take_events() {
  // A callback may end the connection: ask for it anew each time.
  while (endpoint_ && !broken_) {
    auto event = endpoint_->poll_event();
    if (!event) break;
    take(std::move(*event));
  }
  while (endpoint_) {
    const auto warning = endpoint_->poll_warning();
    if (!warning) break;
    log_.write(Level::debug, "link to USB server " + dialer_.address() + ": " + warning->message);
  }
  if (broken_) {
    const std::string why = std::exchange(broken_, std::nullopt)->message;
    end_session(Level::warning, "the link to USB server " + dialer_.address() + " failed: " + why +
                                    "; connecting again");
    return;
  }
  if (cut_) {
    const std::string why = std::exchange(cut_, std::nullopt)->message;
    lose_connection(Level::warning, "lost the connection to USB server " + dialer_.address() +
                                        ": " + why + "; connecting again");
    return;
  }
  flush();
  tell_if_writable();
}

void ServerUplink::take(link::Endpoint::Event event) {
  if (auto* data = std::get_if<link::Endpoint::Data>(&event)) {
    if (const auto stick = stick_of(data->stream)) events_.received(*stick, data->bytes);
    if (endpoint_) endpoint_->recycle(std::move(data->bytes));
  } else if (auto* control = std::get_if<link::Endpoint::Control>(&event)) {
    take(control->message);
  } else if (auto* failed = std::get_if<link::Endpoint::Failed>(&event)) {
    broken_ = std::move(failed->error);
  } else if (auto* lost = std::get_if<link::Endpoint::Lost>(&event)) {
    cut_ = std::move(lost->error);
  } else {
    established(std::get<link::Endpoint::Established>(event).resumed);
  }
}

void ServerUplink::established(bool resumed) {
  established_ = true;
  patience_.cancel();
  const auto lost_since = std::exchange(lost_since_, std::nullopt);
  if (resumed) {
    dialer_.resumed();
    log_.write(Level::info,
               "connected to USB server " + dialer_.address() + " again" +
                   (lost_since ? " after " + seconds_text(loop_.now() - *lost_since) : "") +
                   "; the session goes on");
    return;
  }
  dialer_.works();
  hold_sticks(lost_since.value_or(loop_.now()));
  log_.write(Level::info, "connected to USB server " + dialer_.address() +
                              (sticks_.empty() ? ""
                                               : ", which was restarted; its sticks stay in the "
                                                 "session until it grants them again"));
  if (sticks_.empty()) grace_ = {};
  endpoint_->send_control(link::Hello{.software = "tillbridge " TILLBRIDGE_VERSION,
                                      .client_name = facts_.client_name,
                                      .user = facts_.user,
                                      .domain = facts_.domain,
                                      .terminal_server = facts_.terminal_server,
                                      .holds = true},
                          loop_.now());
}

void ServerUplink::take(const link::ControlMessage& message) {
  if (const auto* grant = std::get_if<link::Granted>(&message)) {
    granted(*grant);
  } else if (const auto* welcome = std::get_if<link::Welcome>(&message)) {
    grace_ = std::chrono::seconds(welcome->resume_grace_s);
    renewal_.welcomed(welcome->renews);
  } else if (const auto* renewed = std::get_if<link::Renewed>(&message)) {
    renewal_.renewed(renewed->certificate);
  } else if (const auto* not_renewed = std::get_if<link::NotRenewed>(&message)) {
    renewal_.refused(not_renewed->reason);
  } else if (const auto* revocation = std::get_if<link::Revoked>(&message)) {
    revoked(*revocation);
  } else if (const auto* nothing = std::get_if<link::NothingForYou>(&message)) {
    dialer_.report(Level::warning, "USB server " + dialer_.address() +
                                       " has no stick for this till now: " + nothing->message);
  } else if (const auto* goodbye = std::get_if<link::Goodbye>(&message)) {
    goodbye_ = *goodbye;
  } else if (const auto* announcement = std::get_if<link::Restarting>(&message)) {
    restarting(*announcement);
  } else {
    log_.write(Level::debug,
               "USB server " + dialer_.address() + " sent a message that only tills send; ignored");
  }
}

void ServerUplink::granted(const link::Granted& grant) {
  if (grant.stream == link::control_stream || stick_of(grant.stream)) {
    broken_ = fail(ErrorCode::protocol, "it granted a stick on stream " +
                                            std::to_string(grant.stream) + ", which is in use");
    return;
  }
  if (takes_back(grant)) return;
  if (sticks_.size() >= limits::sticks_per_till) {
    log_.write(Level::warning, "stick " + grant.label + " is one more than the " +
                                   std::to_string(limits::sticks_per_till) +
                                   " that a till can have; map fewer sticks to this till");
    endpoint_->send_control(link::Released{grant.stream}, loop_.now());
    return;
  }
  const StickId stick = ++last_stick_;
  sticks_.emplace(stick, Taken{grant.busid, grant.stream});
  events_.offered({.stick = stick,
                   .busid = grant.busid,
                   .label = grant.label.empty() ? grant.busid : grant.label,
                   .reset = reset_policy(grant.reset_policy),
                   .pipeline = grant.pipeline});
}

void ServerUplink::revoked(const link::Revoked& revocation) {
  const auto stick = stick_of(revocation.stream);
  if (!stick) return;  // released a moment ago
  sticks_.erase(*stick);
  events_.withdrawn(
      *stick, revocation.unplugged ? "it was unplugged from the USB server" : revocation.reason);
}

std::optional<StickId> ServerUplink::stick_of(link::StreamId stream) const {
  for (const auto& [stick, taken] : sticks_) {
    if (!taken.held_until && taken.stream == stream) return stick;
  }
  return std::nullopt;
}

void ServerUplink::closed(const std::optional<Error>& error) {
  if (stopped_) {
    finish_stop();
    return;
  }
  const std::string cause = error ? error->message : "it closed the connection";
  if (goodbye_ && goodbye_->restarting) {
    dialer_.restarts();
    lose_connection(Level::info, "USB server " + dialer_.address() + " restarts; connecting again");
  } else if (goodbye_) {
    end_session(Level::warning,
                "USB server " + dialer_.address() + " ended the link: " + goodbye_->reason);
  } else if (established_) {
    lose_connection(Level::warning, "lost the connection to USB server " + dialer_.address() +
                                        ": " + cause + "; connecting again");
  } else if (error && error->code == ErrorCode::refused) {
    // With TLS 1.3 a server refuses the till's certificate only after the till thinks that the
    // handshake is over; transport says who refused what.
    lose_connection(Level::error,
                    cause + " (certificate file " + source_.certificate.string() + ")");
  } else {
    lose_connection(Level::warning, "USB server " + dialer_.address() +
                                        " ended the connection before it said anything: " + cause +
                                        "; its log says why");
  }
}

void ServerUplink::lose_connection(Level level, const std::string& why) {
  if (stopped_) {
    finish_stop();
    return;
  }
  if (grace_ == Duration(0)) return end_session(level, why);
  cut_.reset();
  stream_.reset();
  established_ = false;
  deadline_.cancel();
  endpoint_->disconnected(loop_.now());
  blocked_ = true;  // less is taken without a connection: tell when there is one again
  std::string kept;
  if (!lost_since_) {
    lost_since_ = loop_.now();
    patience_.arm(loop_.now() + grace_, [this] { give_up(); });
    if (!sticks_.empty()) kept = "; its sticks wait for up to " + seconds_text(grace_);
  }
  dialer_.lost(level, why + kept);
}

void ServerUplink::end_session(Level level, const std::string& why) {
  if (stopped_) {
    finish_stop();
    return;
  }
  flush();  // an endpoint that failed tells the server why
  if (stream_) stream_->close();
  stream_.reset();
  endpoint_.reset();
  renewal_.session_ended();
  established_ = false;
  cut_.reset();
  deadline_.cancel();
  patience_.cancel();
  unpause_.cancel();
  lost_since_.reset();
  grace_ = {};
  withdraw_sticks("the link to the USB server is lost");
  dialer_.lost(level, why);
}

void ServerUplink::give_up() {
  // The dialer goes on; a connection that is being greeted right now begins anew as well.
  if (!sticks_.empty()) {
    log_.write(Level::warning, "USB server " + dialer_.address() + " was not reached for " +
                                   seconds_text(grace_) + "; its sticks are given up");
  }
  endpoint_.reset();
  renewal_.session_ended();
  lost_since_.reset();
  grace_ = {};
  deadline_.cancel();
  unpause_.cancel();
  withdraw_sticks("the USB server is not reached");
  if (!stream_) return;
  stream_.reset();
  dialer_.lost(Level::debug, "the session is given up; connecting again");
}

void ServerUplink::withdraw_sticks(const std::string& why) {
  held_.cancel();
  const auto sticks = std::exchange(sticks_, {});
  for (const auto& [stick, taken] : sticks) events_.withdrawn(stick, why);
}

// --- a restart of the server

void ServerUplink::restarting(const link::Restarting& announcement) {
  log_.write(Level::info, "USB server " + dialer_.address() +
                              " is about to restart; what has begun comes to its end first");
  unpause_.arm(loop_.now() + std::chrono::seconds(announcement.within_s) + restart_margin,
               [this] { events_.going_on(); });
  events_.pausing();
}

void ServerUplink::paused() {
  if (!endpoint_ || stopped_) return;
  endpoint_->send_control(link::Paused{}, loop_.now());
}

void ServerUplink::hold_sticks(Instant lost_since) {
  unpause_.cancel();
  std::vector<StickId> fresh;
  for (auto& [stick, taken] : sticks_) {
    if (taken.held_until) continue;
    taken.stream = link::control_stream;
    taken.held_until = lost_since + grace_;
    fresh.push_back(stick);
  }
  for (const StickId stick : fresh) events_.interrupted(stick);
  look_at_held();
}

/// A stick that the till still has from before the restart.
bool ServerUplink::takes_back(const link::Granted& grant) {
  const auto found = std::find_if(sticks_.begin(), sticks_.end(), [&](const auto& item) {
    return item.second.held_until && item.second.busid == grant.busid;
  });
  if (found == sticks_.end()) return false;
  const StickId stick = found->first;
  if (!grant.continues) {
    sticks_.erase(found);
    look_at_held();
    events_.withdrawn(stick,
                      "it was unplugged, or had another user, since the USB server was restarted");
    return false;
  }
  found->second.stream = grant.stream;
  found->second.held_until.reset();
  look_at_held();
  events_.restored(stick);
  return true;
}

void ServerUplink::look_at_held() {
  held_.cancel();
  std::optional<Instant> next;
  std::vector<StickId> late;
  for (const auto& [stick, taken] : sticks_) {
    if (!taken.held_until) continue;
    if (*taken.held_until <= loop_.now()) {
      late.push_back(stick);
    } else if (!next || *taken.held_until < *next) {
      next = taken.held_until;
    }
  }
  if (next) held_.arm(*next, [this] { look_at_held(); });
  for (const StickId stick : late) {
    sticks_.erase(stick);
    events_.withdrawn(stick, "the restarted USB server did not grant it again in time");
  }
}

bool ServerUplink::can_send() const {
  // What is not sent while there is no connection can wait for the next server as well.
  return established_ && endpoint_ && endpoint_->can_send() &&
         (!stream_ || stream_->queued_bytes() < transport::Stream::write_queue_high_water);
}

void ServerUplink::tell_if_writable() {
  if (stopped_) return;
  const bool writable = can_send();
  if (writable && blocked_) events_.writable();
  blocked_ = !can_send();
}

void ServerUplink::send(StickId stick, Bytes bytes) {
  const auto found = sticks_.find(stick);
  if (found == sticks_.end() || found->second.held_until || !endpoint_) return;
  endpoint_->send(found->second.stream, std::move(bytes), loop_.now());
  blocked_ = !can_send();
}

void ServerUplink::usable(StickId /*stick*/) {}

void ServerUplink::release(StickId stick) {
  const auto found = sticks_.find(stick);
  if (found == sticks_.end()) return;
  const Taken taken = found->second;
  sticks_.erase(found);
  if (!endpoint_ || taken.held_until) return;
  endpoint_->send_control(link::Released{taken.stream}, loop_.now());
  flush();
}

void ServerUplink::refuse(StickId stick, const std::string& why) {
  dialer_.report(Level::error, why);
  release(stick);
}

void ServerUplink::stop(std::function<void()> stopped) {
  dialer_.stop();
  renewal_.session_ended();
  patience_.cancel();
  held_.cancel();
  unpause_.cancel();
  if (!stream_ || !endpoint_ || !established_) {
    stream_.reset();
    stopped();
    return;
  }
  const auto sticks = std::exchange(sticks_, {});
  for (const auto& [stick, taken] : sticks) {
    if (!taken.held_until) endpoint_->send_control(link::Released{taken.stream}, loop_.now());
  }
  endpoint_->send_control(link::Goodbye{"the RDP session ended"}, loop_.now());
  flush();
  stopped_ = std::move(stopped);
  deadline_.cancel();
  stopping_.arm(loop_.now() + stop_patience, [this] { finish_stop(); });
  stream_->close();
}

void ServerUplink::finish_stop() {
  stopping_.cancel();
  stream_.reset();
  endpoint_.reset();
  if (stopped_) std::exchange(stopped_, nullptr)();
}

void ServerUplink::flush() {
  if (!stream_ || !endpoint_) return;
  Bytes output = endpoint_->take_output();
  if (!output.empty()) stream_->write(std::move(output));
  deadline_.set(endpoint_->next_deadline());
}

}  // namespace tillbridge::plugin
