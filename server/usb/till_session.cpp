#include "server/usb/till_session.hpp"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>
#include <variant>

#include "channel/bytes/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

/// From the end of the TLS handshake to the till's Hello.
constexpr Duration hello_within = std::chrono::seconds(10);
/// How fresh the link's round-trip time is.
constexpr Duration measure_every = std::chrono::seconds(2);
/// For a goodbye to leave this machine.
constexpr Duration goodbye_within = std::chrono::seconds(5);
/// A session that lives through more renewals than this starts anew one day.
constexpr std::size_t certificates_most = 64;
/// Gathered before it goes to the connection, so that many small answers share one TLS record.
constexpr std::size_t gathered_bytes = 256U << 10U;

constexpr const char* restart_reason = "the USB server restarts";

// "0.4 s", "60 s"
std::string seconds_text(Duration duration) {
  const auto tenths = duration / std::chrono::milliseconds(100);
  return std::to_string(tenths / 10) +
         (tenths < 100 && tenths % 10 != 0 ? "." + std::to_string(tenths % 10) : "") + " s";
}

// Names a session for the registry.
std::string hex(const link::SessionId& id) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : id) {
    text += digits[byte >> 4U];
    text += digits[byte & 0xFU];
  }
  return text;
}

LeaseEnd lease_end(TillEnd how) {
  switch (how) {
    case TillEnd::goodbye:
      return LeaseEnd::till_left;
    case TillEnd::lost:
      return LeaseEnd::lost;
    case TillEnd::taken_over:
      return LeaseEnd::taken_over;
    case TillEnd::revoked:
      return LeaseEnd::revoked;
    case TillEnd::expired:
      return LeaseEnd::expired;
    case TillEnd::turned_out:
      return LeaseEnd::failed;
    case TillEnd::server_restarts:
      return LeaseEnd::server_restarts;
    case TillEnd::server_stopped:
      break;
  }
  return LeaseEnd::server_stopped;
}

}  // namespace

TillSession::TillSession(transport::Loop& loop, StickRegistry& registry,
                         const transport::Peer& till, Duration grace, Events events)
    : loop_(loop),
      registry_(registry),
      grace_(grace),
      events_(std::move(events)),
      link_deadline_(loop,
                     [this] {
                       endpoint_.advance(loop_.now());
                       pump();
                     }),
      pump_soon_(loop, [this] { pump(); }),
      close_timer_(loop),
      hello_timer_(loop),
      grace_timer_(loop),
      claimant_({TillIdentity::Kind::certificate, till.name, till.fingerprint}),
      certificate_end_(till.certificate_end) {
  certificates_.insert(till.fingerprint);
  endpoint_.measure_every(measure_every);
  hello_timer_.arm(loop_.now() + hello_within,
                   [this] { disconnect("it did not say hello in time"); });
}

TillSession::~TillSession() = default;

void TillSession::attach(std::unique_ptr<transport::Stream> stream, ByteView first_bytes) {
  stream_ = std::move(stream);
  reading_paused_ = false;
  address_ = stream_->peer().address;
  name_ = log::printable(claimant_.till.name) + " at " + address_;
  endpoint_.connected(loop_.now());
  stream_->start({[this](ByteView bytes) { received(bytes); },
                  [this] {
                    if (reading_paused_) {
                      reading_paused_ = false;
                      stream_->resume_reading();
                    }
                    pump();
                  },
                  [this](const std::optional<Error>& error) {
                    lost(error ? error->message : "it closed the connection without a word");
                  }});
  received(first_bytes);
}

void TillSession::received(ByteView bytes) {
  if (closing_) return;
  endpoint_.receive(bytes, loop_.now());
  pump();
}

void TillSession::resumed() {
  for (const auto& [stream, grant] : grants_) grant.conversation->till_back(address_);
  const auto since = std::exchange(waiting_since_, std::nullopt);
  grace_timer_.cancel();
  log::info("till " + name_ + " goes on with its session" +
                (since ? " after " + seconds_text(loop_.now() - *since)
                       : ", before its old connection was known to be lost"),
            about());
  events_.back();
}

void TillSession::lost(const std::string& cause) {
  stream_.reset();
  if (over_) return;
  endpoint_.disconnected(loop_.now());
  link_deadline_.cancel();
  if (pausing_ && !closing_) {
    left(TillEnd::server_restarts, cause);  // it holds its sticks all the same
    over();
    return;
  }
  if (closing_ || !can_resume() || grants_.empty()) {
    if (!closing_) {
      log::info("till " + name_ + " left: " + cause, about());
      left(TillEnd::lost, cause);
    }
    over();
    return;
  }
  std::string sticks;
  for (const auto& [stream, grant] : grants_) {
    grant.conversation->till_away();
    sticks += (sticks.empty() ? "" : ", ") + log::printable(grant.busid);
  }
  waiting_since_ = loop_.now();
  log::warning("till " + name_ + ": connection lost (" + cause + "); its stick " + sticks +
                   " is kept for it for up to " + seconds_text(grace_),
               about());
  grace_timer_.arm(loop_.now() + grace_,
                   [this] { give_up("it did not come back within " + seconds_text(grace_)); });
  events_.waiting(cause);
}

void TillSession::give_up(const std::string& reason) {
  if (!waiting_since_ || over_) return;
  log::warning("till " + name_ + " is given up: " + reason, about());
  left(TillEnd::lost, reason);
  over();
}

bool TillSession::has_room() const {
  return endpoint_.can_send() &&
         (!stream_ || stream_->queued_bytes() < transport::Stream::write_queue_high_water);
}

void TillSession::pump() {
  if (over_) return;
  while (!closing_ && !held_input_.empty() && has_room()) {
    HeldInput input = std::move(held_input_.front());
    held_input_.pop_front();
    held_input_bytes_ -= input.bytes.size();
    data(input.stream, std::move(input.bytes));
    drain_conversations();
  }
  std::optional<Error> connection_error;
  while (!closing_) {
    auto event = endpoint_.poll_event();
    if (!event) break;
    if (auto* gone = std::get_if<link::Endpoint::Lost>(&*event)) {
      connection_error = std::move(gone->error);
    } else {
      handle(std::move(*event));
    }
  }
  while (const auto warning = endpoint_.poll_warning()) {
    log::debug("till " + name_ + ": " + warning->message);
  }
  if (!closing_) drain_conversations();
  flush();
  if (connection_error && !closing_) {
    if (stream_) stream_->close();  // what was said last still goes out
    lost(connection_error->message);
    return;
  }
  if (!closing_ && stream_ && !reading_paused_ &&
      stream_->queued_bytes() >= transport::Stream::write_queue_high_water) {
    reading_paused_ = true;
    stream_->pause_reading();
  }
  if (!closing_) link_deadline_.set(endpoint_.next_deadline());
}

void TillSession::handle(link::Endpoint::Event event) {
  if (auto* control = std::get_if<link::Endpoint::Control>(&event)) {
    handle_control(control->message);
  } else if (auto* stream_data = std::get_if<link::Endpoint::Data>(&event)) {
    if (held_input_.empty() && has_room()) {
      data(stream_data->stream, std::move(stream_data->bytes));
    } else {
      held_input_bytes_ += stream_data->bytes.size();
      held_input_.push_back({stream_data->stream, std::move(stream_data->bytes)});
      if (held_input_bytes_ > limits::held_input_bytes) {
        disconnect("it sends transfers without acknowledging the answers");
      }
    }
  } else if (const auto* established = std::get_if<link::Endpoint::Established>(&event)) {
    if (established->resumed) resumed();
  } else if (auto* failed = std::get_if<link::Endpoint::Failed>(&event)) {
    disconnect(failed->error.message);
  }
}

void TillSession::handle_control(const link::ControlMessage& message) {
  if (const auto* greeting = std::get_if<link::Hello>(&message)) {
    hello(*greeting);
  } else if (const auto* released = std::get_if<link::Released>(&message)) {
    const auto found = grants_.find(released->stream);
    if (found == grants_.end()) return;  // revoked at the same moment
    given_back_.insert(found->second.stay);
    grants_.erase(found);
  } else if (const auto* request = std::get_if<link::Renew>(&message)) {
    renew(*request);
  } else if (std::holds_alternative<link::Paused>(message)) {
    if (pausing_) close(TillEnd::server_restarts, restart_reason);
  } else if (const auto* goodbye = std::get_if<link::Goodbye>(&message)) {
    log::info("till " + name_ + " left: " + log::printable(goodbye->reason), about());
    left(TillEnd::goodbye, log::printable(goodbye->reason));
    closing_ = true;
    close_stream();
  } else {
    disconnect("it sent a message that only the USB server sends");
  }
}

void TillSession::hello(const link::Hello& message) {
  claimant_.facts = {message.software, message.client_name, message.user, message.domain,
                     message.terminal_server};
  claimant_.session = hex(endpoint_.session());
  if (!greeted_) {
    greeted_ = true;
    examines_ = message.examines;
    holds_ = message.holds;
    hello_timer_.cancel();
    const std::string session = claimant_.facts.text();
    log::info("till " + name_ + " connected" + (session.empty() ? "" : " (" + session + ")") +
                  (message.software.empty() ? "" : ", " + log::printable(message.software)),
              about());
    events_.greeted();
  }
  link::Welcome welcome;
  welcome.software = "tillbridged " TILLBRIDGE_VERSION;
  welcome.resume_grace_s = static_cast<std::uint32_t>(grace_ / std::chrono::seconds(1));
  welcome.time_s =
      static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(
                                     std::chrono::system_clock::now().time_since_epoch())
                                     .count());
  welcome.busy = busy_;
  welcome.renews = events_.renews && events_.renews(claimant_.till);
  endpoint_.send_control(welcome, loop_.now());
  given_back_.clear();
  last_nothing_.clear();
  registry_.notify();
}

void TillSession::renew(const link::Renew& message) {
  if (!greeted_) return disconnect("it asked for a certificate before it said hello");
  if (!events_.renew || certificates_.size() > certificates_most) {
    endpoint_.send_control(link::NotRenewed{"this server does not issue certificates to this till"},
                           loop_.now());
    return;
  }
  const auto renewal = events_.renew(claimant_.till, message.request);
  if (!renewal) {
    log::warning("till " + name_ + ": its certificate is not renewed: " + renewal.error().message,
                 about());
    endpoint_.send_control(link::NotRenewed{renewal.error().message}, loop_.now());
    return;
  }
  log::info("till " + name_ + ": its certificate is renewed", about());
  certificates_.insert(renewal->fingerprint);
  claimant_.till.fingerprint = renewal->fingerprint;
  certificate_end_ = renewal->end;
  endpoint_.send_control(link::Renewed{renewal->certificate}, loop_.now());
}

void TillSession::data(link::StreamId stream, Bytes bytes) {
  const auto found = grants_.find(stream);
  if (found != grants_.end()) {
    found->second.conversation->receive(bytes);
    endpoint_.recycle(std::move(bytes));
  } else if (stream >= next_stream_) {
    disconnect("it used stream " + std::to_string(stream) + ", which it was not given");
  }
  // A stream that was revoked: the till had sent this before it heard of it.
}

void TillSession::withdraw() {
  if (!greeted_ || closing_ || over_) return;
  for (auto item = grants_.begin(); item != grants_.end();) {
    const link::StreamId stream = item->first;
    Grant& grant = item->second;
    ++item;
    const PresentStick* stick = registry_.find(grant.stay);
    if (stick == nullptr || !stick->exported_to(claimant_)) {
      revoke(stream, withdrawal_of(stick, claimant_));
    } else if (registry_.rules().draining && !grant.conversation->leased() && !stick->kept) {
      revoke(stream, {LeaseEnd::given_back, "the USB server is being prepared for maintenance"});
    } else {
      grant.conversation->follow(*stick);
    }
  }
}

bool TillSession::accepts(const PresentStick& stick, const Mapping& mapping) const {
  return greeted_ && !closing_ && !over_ && !pausing_ && !looks_only() && mapping.fits(claimant_) &&
         stick.waits_for(claimant_.till) && stick.exported_to(claimant_) &&
         !given_back_.contains(stick.stay);
}

void TillSession::retract(StayId stay, const std::string& reason) {
  for (const auto& [stream, grant] : grants_) {
    if (grant.stay != stay) continue;
    given_back_.insert(stay);
    revoke(stream, {LeaseEnd::given_back, reason});
    return;
  }
}

void TillSession::settle() {
  if (!greeted_ || closing_ || over_) return;
  if (grants_.empty() && !looks_only()) say_nothing_for_you();
  pump_soon_.ask();
}

void TillSession::offer(const PresentStick& stick) {
  if (grants_.size() >= limits::sticks_per_till || next_stream_ == 0) {
    given_back_.insert(stick.stay);
    log::warning("till " + name_ + " is not offered stick " +
                     log::printable(stick.identity.text()) + ": it has " +
                     std::to_string(grants_.size()) + " sticks, and at most " +
                     std::to_string(limits::sticks_per_till) + " are handled",
                 about(stick.identity.text()));
    return;
  }
  const Mapping& mapping = *stick.mapping_for(claimant_);
  Grant grant;
  grant.stay = stick.stay;
  grant.busid = stick.identity.busid();
  grant.offer = registry_.offer(stick.stay, claimant_);
  if (!grant.offer) return;
  grant.conversation = std::make_unique<Conversation>(
      registry_, claimant_,
      Conversation::Owner{
          [this] { pump_soon_.ask(); }, [this] { return lease_record(); },
          // The only device on this stream is the granted one.
          [this, stay = grant.stay] {
            std::vector<usb::DeviceDescription> devices;
            if (const PresentStick* present = registry_.find(stay)) {
              devices.push_back(present->arrival.description);
              devices.back().path = present->identity.busid();
            }
            return devices;
          },
          [stay = grant.stay, granted = grant.busid](const std::string& busid) -> Result<StayId> {
            if (busid == granted) return stay;
            return fail(ErrorCode::refused, "stick " + granted +
                                                " was granted on this stream, not '" +
                                                log::printable(busid) + "'");
          }});
  const link::StreamId stream = next_stream_++;
  link::Granted message;
  message.stream = stream;
  message.busid = grant.busid;
  message.label = stick.arrival.description.label();
  message.serial = stick.identity.serial;
  message.reset_policy = std::string(text(mapping.reset));
  message.pipeline = mapping.pipeline;
  message.continues = stick.continues(claimant_);
  grants_.emplace(stream, std::move(grant));
  endpoint_.send_control(message, loop_.now());
  last_nothing_.clear();
}

void TillSession::revoke(link::StreamId stream, const Withdrawal& why) {
  const auto found = grants_.find(stream);
  if (found == grants_.end()) return;
  // What the stick answered last, such as "gone" to all that ran, is still for the till.
  while (endpoint_.can_send()) {
    auto bytes = found->second.conversation->output();
    if (!bytes) break;
    endpoint_.send(stream, std::move(*bytes), loop_.now());
  }
  const bool unplugged = why.end == LeaseEnd::unplugged;
  if (!unplugged) {
    log::info("till " + name_ + " loses stick " + found->second.busid + ": " + why.reason,
              about(stick_name(found->second.stay)));
  }
  found->second.conversation->ends_because(why.end);
  grants_.erase(found);
  endpoint_.send_control(link::Revoked{stream, why.reason, unplugged}, loop_.now());
}

void TillSession::say_nothing_for_you() {
  std::string message = nothing_message();
  if (message.empty() || message == last_nothing_) return;
  log::warning("till " + name_ + " gets no stick: " + message, about());
  endpoint_.send_control(link::NothingForYou{message}, loop_.now());
  last_nothing_ = std::move(message);
}

// What this till is told about a stick that is mapped to it and that it does not get; empty if it
// gave it back itself.
std::string TillSession::refusal_for_me(const PresentStick& stick) const {
  const std::string name = "stick " + log::printable(stick.identity.text()) + " of this till";
  if (stick.refusal) return name + " is refused: " + stick.refusal->text();
  if (stick.mapping_for(claimant_) == nullptr) {
    const auto mine = [&](const Mapping& mapping) { return mapping.allows(claimant_.till); };
    const auto found = std::find_if(stick.mappings.begin(), stick.mappings.end(), mine);
    if (found == stick.mappings.end()) return {};
    const std::string session = claimant_.facts.text();
    return name + " is mapped to it only " + found->conditions_text() + ", but this session is " +
           (session.empty() ? "without a name" : "of " + session) +
           "; log in as that user, or change the mapping on the USB server";
  }
  if (stick.blocked_until) {
    return name + " is blocked by the administrator " + until_text(*stick.blocked_until);
  }
  if (stick.released.contains(claimant_.session)) {
    return name + " was taken from this session by the administrator, who can give it back";
  }
  if (stick.lease != nullptr) {
    return name + " is still in use at " + stick.lease->record().address +
           (stick.lease->record().away_since
                ? ", whose connection is lost; it comes when that one is given up"
                : "; it comes as soon as that connection has ended");
  }
  if (!stick.waits_for(claimant_.till)) {
    return name + " is kept for till " + log::printable(stick.kept->till) + ", which had it when " +
           kept_since(stick) + "; it comes if that one does not come back";
  }
  if (given_back_.contains(stick.stay)) return {};  // it knows
  if (stick.offer) {
    return name + " is offered to till " + log::printable(stick.offer->till) +
           "; it comes if that one does not take it";
  }
  if (registry_.rules().draining) {
    return name +
           " is not given out now: the USB server is being prepared for maintenance; it comes "
           "when that is over";
  }
  return {};
}

std::string TillSession::nothing_message() const {
  const Rules& rules = registry_.rules();
  const std::string till_name = log::printable(claimant_.till.name);
  for (const PresentStick* stick : registry_.sticks()) {
    const auto names = [&](const Mapping& mapping) { return mapping.names(claimant_.till); };
    const auto allows = [&](const Mapping& mapping) { return mapping.allows(claimant_.till); };
    const auto& mappings = stick->mappings;
    if (std::none_of(mappings.begin(), mappings.end(), names)) continue;
    if (!stick->refusal && std::none_of(mappings.begin(), mappings.end(), allows)) continue;
    return refusal_for_me(*stick);
  }
  std::string waiting;
  for (const Mapping& mapping : rules.mappings) {
    if (!mapping.names(claimant_.till)) continue;
    if (!mapping.allows(claimant_.till)) {
      return "stick " + log::printable(mapping.stick.text()) + " is mapped to till " + till_name +
             " with the certificate " + mapping.fingerprint + ", but this till came with " +
             claimant_.till.fingerprint + "; correct fingerprint in " + rules.file +
             " on the USB server and reload";
    }
    if (!waiting.empty()) waiting += ", ";
    waiting += log::printable(mapping.stick.text());
  }
  const std::string command = "tillbridge map STICK " + till_name;
  if (!waiting.empty()) {
    return "stick " + waiting + " of till " + till_name +
           " is not plugged in; plug it into the USB server, or map another one there: " + command;
  }
  return "no stick is mapped to till " + till_name + "; on the USB server: " + command;
}

void TillSession::drain_conversations() {
  // One answer of each stick in turn, also across calls: one answer may take all the room there is,
  // and a busy stick shall not starve another.
  auto next = grants_.upper_bound(last_served_);
  std::size_t idle = 0;
  std::size_t gathered = 0;
  while (idle < grants_.size() && has_room()) {
    if (next == grants_.end()) next = grants_.begin();
    const link::StreamId stream = next->first;
    auto bytes = next->second.conversation->output();
    ++next;
    if (!bytes) {
      ++idle;
      continue;
    }
    idle = 0;
    last_served_ = stream;
    gathered += bytes->size();
    endpoint_.send(stream, std::move(*bytes), loop_.now());
    if (gathered >= gathered_bytes) {
      flush();
      gathered = 0;
    }
  }
  for (auto grant = grants_.begin(); grant != grants_.end();) {
    const link::StreamId stream = grant->first;
    const Grant& current = grant->second;
    ++grant;
    const auto& ended = current.conversation->ended();
    if (!ended) continue;
    const std::string reason = ended->error ? ended->error->message : "the conversation is over";
    given_back_.insert(current.stay);
    revoke(stream, {ended->error ? LeaseEnd::failed : LeaseEnd::given_back, reason});
  }
}

void TillSession::flush() {
  if (!stream_) return;
  Bytes bytes = endpoint_.take_output();
  if (!bytes.empty()) stream_->write(std::move(bytes));
}

void TillSession::close(TillEnd how, const std::string& reason) {
  if (closing_ || over_) return;
  left(how, reason);
  closing_ = true;
  hello_timer_.cancel();
  endpoint_.send_control(link::Goodbye{reason, how == TillEnd::server_restarts}, loop_.now());
  flush();
  close_stream();
}

void TillSession::close_for_restart(std::chrono::seconds within) {
  if (closing_ || over_) return;
  if (greeted_ && !holds_) return close(TillEnd::server_stopped, "the USB server is shut down");
  // One that did not say hello yet may hold sticks from before an earlier restart.
  if (!greeted_ || !stream_ || grants_.empty()) {
    return close(TillEnd::server_restarts, restart_reason);
  }
  pausing_ = true;
  endpoint_.send_control(link::Restarting{static_cast<std::uint16_t>(within.count())}, loop_.now());
  pump_soon_.ask();
}

void TillSession::drop_grants(LeaseEnd why) {
  for (auto& [stream, grant] : grants_) grant.conversation->ends_because(why);
  grants_.clear();
}

// The sticks are free, and whoever keeps account hears of the till's end after that of its leases.
void TillSession::left(TillEnd how, const std::string& why) {
  if (std::exchange(left_, true)) return;
  drop_grants(lease_end(how));
  if (greeted_) registry_.forget_session(claimant_.session);
  events_.left(how, why);
}

void TillSession::close_stream() {
  if (!stream_) {
    over();
    return;
  }
  // A till that does not read any more does not keep its connection.
  link_deadline_.cancel();
  close_timer_.arm(loop_.now() + goodbye_within, [this] { over(); });
  stream_->close();
}

void TillSession::disconnect(const std::string& reason) {
  if (closing_ || over_) return;
  log::warning("till " + name_ + " is disconnected: " + reason, about());
  close(TillEnd::turned_out, reason);
}

void TillSession::over() {
  if (over_) return;
  left(TillEnd::lost, "its connection ended");
  over_ = true;
  closing_ = true;
  link_deadline_.cancel();
  close_timer_.cancel();
  hello_timer_.cancel();
  grace_timer_.cancel();
  // A copy of the callback: it destroys this object and with it the original.
  loop_.post([alive = std::weak_ptr<bool>(alive_), closed = events_.closed] {
    if (!alive.expired()) closed();
  });
}

LeaseRecord TillSession::lease_record() const {
  LeaseRecord record;
  record.till = log::printable(claimant_.till.name);
  record.address = address_;
  return record;
}

TillStatus TillSession::status() const {
  return {claimant_.till,  claimant_.session,          address_,
          claimant_.facts, waiting_since_.has_value(), endpoint_.round_trip()};
}

}  // namespace tillbridge::server
