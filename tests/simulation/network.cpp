#include "tests/simulation/network.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "channel/link/endpoint.hpp"

namespace tillbridge::simulation {
namespace {

using namespace std::chrono_literals;
using transport::Stream;

Network* the_network = nullptr;

constexpr std::size_t half_full = Stream::write_queue_high_water / 2;

}  // namespace

/// Drops or repeats one data frame and renumbers what follows, so that the endpoint behind it
/// cannot notice.
struct Network::Saboteur {
  static constexpr std::uint8_t data_frame = 2;
  static constexpr std::size_t header_bytes = 16;

  Saboteur(World& its_world, Sabotage its_kind, std::uint32_t frame)
      : world(its_world), kind(its_kind), left(frame) {}

  [[nodiscard]] Bytes pass(const Bytes& written, std::size_t end) {
    ByteWriter writer;
    for (ByteReader reader(written); reader.remaining() > 0;) {
      ByteReader header(reader.take(header_bytes));
      const std::uint8_t type = header.u8();
      const std::uint8_t flags = header.u8();
      const std::uint16_t stream = header.u16be();
      const std::uint32_t size = header.u32be();
      const std::uint64_t number = header.u64be();
      const ByteView payload = reader.take(size);
      const auto write = [&](std::uint64_t its_number) {
        writer.u8(type);
        writer.u8(flags);
        writer.u16be(stream);
        writer.u32be(size);
        writer.u64be(its_number);
        writer.bytes(payload);
      };
      if (type != data_frame) {
        write(number);
      } else if (stream != link::control_stream && !done && left-- == 0) {
        done = true;
        world.tell("saboteur", (kind == Sabotage::replay_frame ? "repeats " : "drops ") +
                                   std::to_string(size) + " bytes that were to leave the " +
                                   (end == 0 ? "till" : "server"));
        if (kind == Sabotage::replay_frame) {
          write(number);
          write(number + 1);
          shift.at(end) = 1;
        } else {
          shift.at(end) = ~std::uint64_t{0};  // -1
        }
      } else {
        write(number + shift.at(end));
      }
    }
    return writer.finish();
  }

  World& world;
  Sabotage kind;
  std::uint32_t left;
  bool done = false;
  std::array<std::uint64_t, 2> shift{};
};

Network::Network(World& world) : world_(world) {
  if (the_network != nullptr) throw std::logic_error("one network at a time");
  the_network = this;
}

Network::~Network() {
  the_network = nullptr;
}

Network& Network::current() {
  if (the_network == nullptr) throw std::logic_error("there is no network");
  return *the_network;
}

void Network::cut(const std::string& till) {
  for (const auto& weak : connections_) {
    const auto connection = weak.lock();
    if (connection && (till.empty() || connection->client() == till)) connection->cut();
  }
}

void Network::swallow_for(Duration time, const std::string& till) {
  Instant& until = holes_[till];
  until = std::max(until, world_.now() + time);
}

Instant Network::hole_until(const std::string& till) const {
  Instant until{};
  for (const auto& name : {std::string(), till}) {
    const auto found = holes_.find(name);
    if (found != holes_.end()) until = std::max(until, found->second);
  }
  return until;
}

void Network::heal() {
  conditions_ = {};
  for (const auto& weak : connections_) {
    if (const auto connection = weak.lock()) connection->heal();
  }
}

void Network::sabotage(Sabotage kind, std::uint32_t frame) {
  saboteur_ = std::make_unique<Saboteur>(world_, kind, frame);
}

bool Network::sabotaged() const noexcept {
  return saboteur_ && saboteur_->done;
}

Bytes Network::pass(Bytes written, std::size_t end) {
  return saboteur_ ? saboteur_->pass(written, end) : std::move(written);
}

std::size_t Network::open_connections() const {
  return static_cast<std::size_t>(
      std::count_if(connections_.begin(), connections_.end(), [](const auto& weak) {
        const auto connection = weak.lock();
        return connection && connection->is_open();
      }));
}

std::uint16_t Network::listen(std::uint16_t port, std::shared_ptr<Listener> listener) {
  while (port == 0 || listeners_.contains(port)) ++port;
  listeners_.emplace(port, std::move(listener));
  return port;
}

void Network::stop_listening(std::uint16_t port, const Listener& listener) {
  const auto found = listeners_.find(port);
  if (found != listeners_.end() && found->second.get() == &listener) listeners_.erase(found);
}

std::shared_ptr<Network::Listener> Network::listener(std::uint16_t port) const {
  const auto found = listeners_.find(port);
  return found == listeners_.end() ? nullptr : found->second;
}

std::shared_ptr<Connection> Network::make(const std::string& client, const std::string& server) {
  made_ += 1;
  connections_.erase(std::remove_if(connections_.begin(), connections_.end(),
                                    [](const auto& weak) { return weak.expired(); }),
                     connections_.end());
  auto connection = std::make_shared<Connection>(*this, client, server);
  connections_.push_back(connection);
  return connection;
}

// --- one connection

namespace {

transport::Peer peer_named(const std::string& name, const std::string& address) {
  transport::Peer peer;
  peer.address = address;
  peer.name = name;
  peer.protocol = link::alpn;
  // 64 digits that belong to the name alone.
  constexpr std::string_view digits = "0123456789abcdef";
  std::uint64_t value = 14695981039346656037U;
  while (peer.fingerprint.size() < 64) {
    for (const char character : name)
      value = (value ^ static_cast<std::uint8_t>(character)) * 1099511628211U;
    peer.fingerprint += digits[(value >> 32U) % 16];
  }
  return peer;
}

class EndStream final : public Stream {
 public:
  EndStream(std::shared_ptr<Connection> connection, Connection::End end, transport::Peer peer)
      : connection_(std::move(connection)), end_(end), peer_(std::move(peer)) {}
  ~EndStream() override { connection_->abandon(end_); }
  EndStream(const EndStream&) = delete;
  EndStream& operator=(const EndStream&) = delete;
  EndStream(EndStream&&) = delete;
  EndStream& operator=(EndStream&&) = delete;

  void start(Events events) override { connection_->start(end_, std::move(events)); }
  void write(Bytes bytes) override { connection_->write(end_, std::move(bytes)); }
  [[nodiscard]] std::size_t queued_bytes() const override { return connection_->queued(end_); }
  void pause_reading() override { connection_->pause(end_, true); }
  void resume_reading() override { connection_->pause(end_, false); }
  void close() override { connection_->close(end_); }
  [[nodiscard]] const transport::Peer& peer() const override { return peer_; }

 private:
  std::shared_ptr<Connection> connection_;
  Connection::End end_;
  transport::Peer peer_;
};

}  // namespace

Connection::Connection(Network& network, std::string client, std::string server)
    : network_(network), world_(network.world()), names_{std::move(client), std::move(server)} {
  if (world_.below(10) < network_.conditions().slow_of_ten) {
    slowness_ = world_.between(200ms, 4s);
  }
}

std::unique_ptr<Stream> Connection::stream(End end) {
  const std::string port = std::to_string(40'000 + network_.connections_made());
  return std::make_unique<EndStream>(
      shared_from_this(), end,
      peer_named(names_[other(end)], end == at_server ? "192.0.2.7:" + port : "192.0.2.1:4711"));
}

void Connection::start(End end, Stream::Events events) {
  Side& side = ends_[end];
  side.events = std::make_shared<const Stream::Events>(std::move(events));
  if (side.arrived.empty() && !side.at_end) return;
  world_.after(0us, [self = shared_from_this(), end] { self->deliver(end); });
}

void Connection::pause(End end, bool paused) {
  ends_[end].paused = paused;
  if (paused) return;
  world_.after(0us, [self = shared_from_this(), end] { self->deliver(end); });
}

void Connection::write(End end, Bytes bytes) {
  Side& side = ends_[end];
  if (!side.open || side.closing || bytes.empty()) return;
  bytes = network_.pass(std::move(bytes), end);
  side.waiting_bytes += bytes.size();
  if (side.waiting_bytes >= half_full) side.above_half = true;
  side.waiting.push_back(std::move(bytes));
  if (side.waiting_bytes > limits::stream_write_queue_bytes) {
    notice(end, 0us, fail(ErrorCode::limit, "too much waits to be written"));
    return;
  }
  pump(end);
}

Instant Connection::arrival(Side& sender) {
  const Network::Conditions& conditions = network_.conditions();
  Instant when =
      world_.now() + slowness_ + world_.between(conditions.latency_least, conditions.latency_most);
  // What was lost in a hole is sent again some time after it.
  const Instant hole = network_.hole_until(client());
  if (when < hole) when = hole + world_.between(0us, 1s);
  sender.last_arrival = std::max(sender.last_arrival, when);
  return sender.last_arrival;
}

void Connection::pump(End sender) {
  Side& side = ends_[sender];
  while (!side.waiting.empty() && side.under_way < network_.conditions().window) {
    // In pieces that begin and end anywhere.
    Bytes whole = std::move(side.waiting.front());
    side.waiting.erase(side.waiting.begin());
    side.waiting_bytes -= whole.size();
    side.under_way += whole.size();
    for (ByteReader rest(whole); rest.remaining() > 0;) {
      const std::size_t most = world_.one_in(8) ? 1 + world_.below(40) : 40 + world_.below(60'000);
      const ByteView piece = rest.take(std::min(rest.remaining(), most));
      world_.at(arrival(side), [self = shared_from_this(), sender,
                                copy = Bytes(piece.begin(), piece.end())]() mutable {
        self->arrive(sender, std::move(copy));
      });
    }
  }
  if (side.above_half && side.waiting_bytes < half_full) {
    side.above_half = false;
    world_.after(0us, [self = shared_from_this(), sender] {
      Side& now = self->ends_[sender];
      const auto events = now.events;
      if (now.open && !now.closing && events && events->drained) events->drained();
    });
  }
  if (side.waiting.empty() && (side.closing || !side.open) && !side.last_word_sent) {
    last_word(sender, true);
  }
}

void Connection::arrive(End sender, Bytes bytes) {
  Side& from = ends_[sender];
  Side& to = ends_[other(sender)];
  if (from.passes < bytes.size()) {
    bytes.resize(from.passes);
    from.passes = 0;  // and what does not pass is under way for ever
  } else if (from.passes != ~std::size_t{0}) {
    from.passes -= bytes.size();
  }
  if (bytes.empty()) return;
  if (!to.open || to.closing) {
    from.under_way -= bytes.size();
    return pump(sender);
  }
  to.arrived.push_back(std::move(bytes));
  deliver(other(sender));
}

void Connection::deliver(End end) {
  const auto self = shared_from_this();
  Side& side = ends_[end];
  while (side.open && !side.paused && side.events && !side.arrived.empty()) {
    const Bytes bytes = std::move(side.arrived.front());
    side.arrived.erase(side.arrived.begin());
    ends_[other(end)].under_way -= bytes.size();
    pump(other(end));
    const auto events = side.events;
    if (!side.closing && events->received) events->received(bytes);
  }
  const bool taken = side.arrived.empty() || side.closing;
  if (side.open && side.at_end && taken && (side.events || side.closing)) {
    this->end(end, side.end_error);
  }
}

void Connection::last_word(End sender, bool orderly) {
  Side& side = ends_[sender];
  side.last_word_sent = true;
  if (cut_) return;  // see cut(): it decides who hears of the end
  // The network may eat that as well.
  if (network_.conditions().half_open && world_.one_in(3)) return;
  world_.at(arrival(side), [self = shared_from_this(), sender, orderly] {
    Side& to = self->ends_[other(sender)];
    if (self->ends_[sender].passes != ~std::size_t{0}) return;
    to.at_end = true;
    if (!orderly && !to.end_error) to.end_error = fail(ErrorCode::io, "connection reset by peer");
    self->deliver(other(sender));
  });
}

void Connection::close(End end) {
  Side& side = ends_[end];
  if (!side.open || side.closing) return;
  side.closing = true;
  pump(end);
  world_.after(Stream::close_timeout, [self = shared_from_this(), end] {
    const bool all = self->ends_[end].waiting.empty();
    self->end(end,
              all ? std::nullopt
                  : std::optional(fail(ErrorCode::io, "the peer did not take the last bytes")));
  });
}

void Connection::abandon(End end) {
  Side& side = ends_[end];
  side.events.reset();
  if (!side.open) return;
  side.open = false;
  if (side.closing) return;  // goes on in the background
  // What the program had not handed over is gone, and of the rest as much arrives as happens to.
  side.waiting.clear();
  side.waiting_bytes = 0;
  if (!side.arrived.empty()) side.passes = std::min<std::size_t>(side.passes, world_.below(2000));
  last_word(end, false);
}

void Connection::cut() {
  if (cut_) return;
  cut_ = true;
  const bool may_miss = network_.conditions().half_open;
  for (const End end : {at_client, at_server}) {
    Side& side = ends_[end];
    side.passes = std::min<std::size_t>(side.passes, world_.below(world_.one_in(2) ? 200 : 20'000));
    if (may_miss && world_.one_in(3)) continue;
    notice(end, world_.between(0us, may_miss ? 3s : 50ms),
           world_.one_in(4) ? std::nullopt
                            : std::optional(fail(ErrorCode::io, "connection reset by peer")));
  }
}

void Connection::heal() {
  slowness_ = {};
}

void Connection::notice(End end, Duration delay, std::optional<Error> error) {
  world_.after(delay, [self = shared_from_this(), end, error = std::move(error)] {
    Side& side = self->ends_[end];
    side.at_end = true;
    if (!side.end_error) side.end_error = error;
    self->deliver(end);
  });
}

void Connection::end(End end, std::optional<Error> error) {
  Side& side = ends_[end];
  if (!side.open) return;
  side.open = false;
  side.waiting.clear();
  side.waiting_bytes = 0;
  if (!side.last_word_sent) last_word(end, true);
  const auto events = std::exchange(side.events, nullptr);
  if (events && events->closed) events->closed(std::move(error));
}

}  // namespace tillbridge::simulation
