#include "server/usb/till_session.hpp"

#include <chrono>
#include <utility>
#include <variant>

#include "channel/bytes/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

/// From the end of the TLS handshake to the till's Hello.
constexpr Duration hello_within = std::chrono::seconds(10);
/// For a goodbye to leave this machine.
constexpr Duration goodbye_within = std::chrono::seconds(5);
/// Gathered before it goes to the connection, so that many small answers share one TLS record.
constexpr std::size_t gathered_bytes = 256U << 10U;

void append(std::string& text, const std::string& separator, const std::string& more) {
  if (more.empty()) return;
  if (!text.empty()) text += separator;
  text += log::printable(more);
}

// "0.4 s", "60 s"
std::string seconds_text(Duration duration) {
  const auto tenths = duration / std::chrono::milliseconds(100);
  return std::to_string(tenths / 10) +
         (tenths < 100 && tenths % 10 != 0 ? "." + std::to_string(tenths % 10) : "") + " s";
}

std::string session_text(const link::Hello& hello) {
  std::string user;
  append(user, "", hello.domain);
  append(user, "\\", hello.user);
  std::string text;
  if (!user.empty()) text = "user " + user;
  if (!hello.terminal_server.empty()) {
    text += (text.empty() ? "on " : " on ") + log::printable(hello.terminal_server);
  }
  if (!hello.client_name.empty()) {
    text += (text.empty() ? "from " : " from ") + log::printable(hello.client_name);
  }
  return text;
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
      grace_timer_(loop) {
  till_ = {TillIdentity::Kind::certificate, till.name, till.fingerprint};
  hello_timer_.arm(loop_.now() + hello_within,
                   [this] { disconnect("it did not say hello in time"); });
}

TillSession::~TillSession() = default;

void TillSession::attach(std::unique_ptr<transport::Stream> stream, ByteView first_bytes) {
  stream_ = std::move(stream);
  reading_paused_ = false;
  address_ = stream_->peer().address;
  name_ = log::printable(till_.name) + " at " + address_;
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
                   : ", before its old connection was known to be lost"));
}

void TillSession::lost(const std::string& cause) {
  stream_.reset();
  if (over_) return;
  endpoint_.disconnected(loop_.now());
  link_deadline_.cancel();
  if (closing_ || !can_resume() || grants_.empty()) {
    if (!closing_) log::info("till " + name_ + " left: " + cause);
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
               " is kept for it for up to " + seconds_text(grace_));
  grace_timer_.arm(loop_.now() + grace_,
                   [this] { give_up("it did not come back within " + seconds_text(grace_)); });
  events_.waiting();
}

void TillSession::give_up(const std::string& reason) {
  if (!waiting_since_ || over_) return;
  log::warning("till " + name_ + " is given up: " + reason);
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
  } else if (const auto* goodbye = std::get_if<link::Goodbye>(&message)) {
    log::info("till " + name_ + " left: " + log::printable(goodbye->reason));
    grants_.clear();
    closing_ = true;
    close_stream();
  } else {
    disconnect("it sent a message that only the USB server sends");
  }
}

void TillSession::hello(const link::Hello& message) {
  session_ = session_text(message);
  if (!greeted_) {
    greeted_ = true;
    hello_timer_.cancel();
    log::info("till " + name_ + " connected" + (session_.empty() ? "" : " (" + session_ + ")") +
              (message.software.empty() ? "" : ", " + log::printable(message.software)));
    events_.greeted();
  }
  link::Welcome welcome;
  welcome.software = "tillbridged " TILLBRIDGE_VERSION;
  welcome.resume_grace_s = static_cast<std::uint32_t>(grace_ / std::chrono::seconds(1));
  endpoint_.send_control(welcome, loop_.now());
  given_back_.clear();
  last_nothing_.clear();
  refresh();
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

void TillSession::refresh() {
  if (!greeted_ || closing_ || over_) return;
  for (auto grant = grants_.begin(); grant != grants_.end();) {
    const link::StreamId stream = grant->first;
    const StayId stay = grant->second.stay;
    ++grant;
    const PresentStick* stick = registry_.find(stay);
    if (stick == nullptr) {
      revoke(stream, "the stick was unplugged from the USB server", true);
    } else if (!stick->exported_to(till_)) {
      revoke(stream,
             stick->refusal ? "the stick is refused: " + *stick->refusal
             : stick->mapping && stick->mapping->names(till_)
                 ? "the mapping now wants another certificate of this till"
             : stick->mapping ? "the stick is mapped to another till now"
                              : "the stick is not mapped to this till any more",
             false);
    }
  }
  for (const PresentStick* stick : registry_.sticks()) {
    if (stick->exported_to(till_) && stick->lease == nullptr) offer(*stick);
  }
  if (grants_.empty()) say_nothing_for_you();
  pump_soon_.ask();
}

void TillSession::offer(const PresentStick& stick) {
  if (given_back_.contains(stick.stay)) return;
  for (const auto& [stream, grant] : grants_) {
    if (grant.stay == stick.stay) return;
  }
  if (grants_.size() >= limits::sticks_per_till || next_stream_ == 0) {
    log::warning("till " + name_ + " is not offered stick " +
                 log::printable(stick.identity.text()) + ": it has " +
                 std::to_string(grants_.size()) + " sticks, and at most " +
                 std::to_string(limits::sticks_per_till) + " are handled");
    return;
  }
  const link::StreamId stream = next_stream_++;
  Grant grant;
  grant.stay = stick.stay;
  grant.busid = stick.identity.busid();
  grant.conversation = std::make_unique<Conversation>(
      registry_, till_,
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
  link::Granted message;
  message.stream = stream;
  message.busid = grant.busid;
  message.label = stick.arrival.description.label();
  message.serial = stick.identity.serial;
  message.reset_policy = std::string(text(stick.mapping->reset));
  message.pipeline = stick.mapping->pipeline;
  grants_.emplace(stream, std::move(grant));
  endpoint_.send_control(message, loop_.now());
  last_nothing_.clear();
}

void TillSession::revoke(link::StreamId stream, const std::string& reason, bool unplugged) {
  const auto found = grants_.find(stream);
  if (found == grants_.end()) return;
  // What the stick answered last, such as "gone" to all that ran, is still for the till.
  while (endpoint_.can_send()) {
    auto bytes = found->second.conversation->output();
    if (!bytes) break;
    endpoint_.send(stream, std::move(*bytes), loop_.now());
  }
  if (!unplugged) {
    log::info("till " + name_ + " loses stick " + found->second.busid + ": " + reason);
  }
  grants_.erase(found);
  endpoint_.send_control(link::Revoked{stream, reason, unplugged}, loop_.now());
}

void TillSession::say_nothing_for_you() {
  std::string message = nothing_message();
  if (message.empty() || message == last_nothing_) return;
  log::warning("till " + name_ + " gets no stick: " + message);
  endpoint_.send_control(link::NothingForYou{message}, loop_.now());
  last_nothing_ = std::move(message);
}

std::string TillSession::nothing_message() const {
  const Rules& rules = registry_.rules();
  const std::string till_name = log::printable(till_.name);
  for (const PresentStick* stick : registry_.sticks()) {
    if (!stick->mapping || !stick->mapping->names(till_)) continue;
    const std::string stick_name = "stick " + log::printable(stick->identity.text());
    if (stick->refusal) return stick_name + " of this till is refused: " + *stick->refusal;
    if (!stick->mapping->allows(till_)) continue;
    if (stick->lease != nullptr) {
      return stick_name + " of this till is still in use at " + stick->lease->record().address +
             (stick->lease->record().away_since
                  ? ", whose connection is lost; it comes when that one is given up"
                  : "; it comes as soon as that connection has ended");
    }
    return {};  // given back by this till itself: it knows
  }
  std::string waiting;
  for (const Mapping& mapping : rules.mappings) {
    if (!mapping.names(till_)) continue;
    if (!mapping.allows(till_)) {
      return "stick " + log::printable(mapping.stick.text()) + " is mapped to till " + till_name +
             " with the certificate " + mapping.fingerprint + ", but this till came with " +
             till_.fingerprint + "; correct fingerprint in " + rules.file +
             " on the USB server and reload";
    }
    if (!waiting.empty()) waiting += ", ";
    waiting += log::printable(mapping.stick.text());
  }
  if (!waiting.empty()) {
    return "stick " + waiting + " of till " + till_name +
           " is not plugged in; plug it into the USB server, or map another one in " + rules.file;
  }
  return "no stick is mapped to till " + till_name +
         "; on the USB server, add [[map]] stick = \"VID:PID:SERIAL\" and till = \"" + till_name +
         "\" to " + rules.file + " and reload (systemctl reload tillbridged)";
}

void TillSession::drain_conversations() {
  // One answer of each stick in turn, so that a busy one does not starve another.
  bool progress = true;
  std::size_t gathered = 0;
  while (progress && has_room()) {
    progress = false;
    for (auto& [stream, grant] : grants_) {
      if (!has_room()) break;
      auto bytes = grant.conversation->output();
      if (!bytes) continue;
      gathered += bytes->size();
      endpoint_.send(stream, std::move(*bytes), loop_.now());
      progress = true;
      if (gathered >= gathered_bytes) {
        flush();
        gathered = 0;
      }
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
    revoke(stream, reason, false);
  }
}

void TillSession::flush() {
  if (!stream_) return;
  Bytes bytes = endpoint_.take_output();
  if (!bytes.empty()) stream_->write(std::move(bytes));
}

void TillSession::close(const std::string& reason) {
  if (closing_ || over_) return;
  closing_ = true;
  hello_timer_.cancel();
  grants_.clear();
  endpoint_.send_control(link::Goodbye{reason}, loop_.now());
  flush();
  close_stream();
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
  log::warning("till " + name_ + " is disconnected: " + reason);
  close(reason);
}

void TillSession::over() {
  if (over_) return;
  over_ = true;
  closing_ = true;
  grants_.clear();
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
  record.till = log::printable(till_.name);
  record.address = address_;
  record.session = session_;
  return record;
}

}  // namespace tillbridge::server
