#include "tests/unit/link/simulation.hpp"

#include <algorithm>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::test {
namespace {

using link::Endpoint;
using namespace std::chrono_literals;

constexpr std::uint8_t data_frame = 2;
constexpr std::size_t frame_header_bytes = 16;
constexpr std::size_t transfers_per_till = 40;
constexpr std::size_t transfers_at_once = 6;
constexpr Duration hello_within = 10s;

class Clock {
 public:
  [[nodiscard]] Instant now() const noexcept { return now_; }
  void after(Duration delay, std::function<void()> task) {
    tasks_.push({now_ + delay, ++order_, std::move(task)});
  }
  bool step() {
    if (tasks_.empty()) return false;
    const Task next = tasks_.top();
    tasks_.pop();
    now_ = next.when;
    next.run();
    return true;
  }

 private:
  struct Task {
    Instant when;
    std::uint64_t order = 0;
    std::function<void()> run;
    bool operator<(const Task& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };
  std::priority_queue<Task> tasks_;
  Instant now_{1s};
  std::uint64_t order_ = 0;
};

struct World {
  World(std::uint32_t seed, Weather its_weather) : random(seed), weather(its_weather) {}
  Clock clock;
  std::mt19937 random;
  Weather weather;
  SimulationOutcome outcome;
  bool healed = false;  ///< no more faults

  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random() % limit); }
  Duration between(Duration least, Duration most) {
    return least + Duration(random() % static_cast<std::uint64_t>((most - least).count() + 1));
  }
  bool one_in(std::uint32_t count) { return random() % count == 0; }
  void violation(const std::string& what) {
    if (outcome.violation.empty()) {
      outcome.violation = what + " (at " + std::to_string(clock.now().count()) + " us of the run)";
    }
  }
};

/// One TCP connection. Bytes of a direction arrive in order, each piece after its own delay; after
/// `passes` more bytes nothing arrives any more. Each end has its own idea of whether it is open.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  enum End : std::size_t { at_till = 0, at_server = 1 };
  struct Handlers {
    std::function<void(ByteView)> received;
    std::function<void()> closed;
  };

  explicit Connection(World& world) : world_(world) {
    if (world.weather == Weather::half_open && world.one_in(4)) delay_ = world.between(1s, 4s);
  }
  void open(End end, Handlers handlers) { ends_.at(end) = {true, std::move(handlers)}; }
  [[nodiscard]] bool is_open(End end) const { return ends_.at(end).open; }

  void send(End from, const Bytes& bytes) {
    for (ByteReader rest(bytes); rest.remaining() > 0;) {
      const ByteView part = rest.take(std::min<std::size_t>(
          rest.remaining(), world_.one_in(8) ? world_.below(40) + 1 : world_.below(60'000) + 40));
      Direction& direction = directions_.at(from);
      Instant arrival = world_.clock.now() + world_.between(100us, 15ms);
      if (from == at_till) arrival += delay_;
      if (arrival < direction.last_arrival) arrival = direction.last_arrival;
      if (arrival < hole_until_) arrival = hole_until_ + world_.between(0us, 300ms);
      direction.last_arrival = arrival;
      world_.clock.after(arrival - world_.clock.now(),
                         [self = shared_from_this(), from, copy = Bytes(part.begin(), part.end())] {
                           self->arrive(from, copy);
                         });
    }
  }

  /// Breaks after some more bytes each way; each end notices after its delay, or never.
  void cut(std::optional<Duration> till_notices, std::optional<Duration> server_notices) {
    for (Direction& direction : directions_) {
      direction.passes = std::min<std::size_t>(
          direction.passes, world_.one_in(2) ? world_.below(200) : world_.below(100'000));
    }
    notice(at_till, till_notices);
    notice(at_server, server_notices);
  }
  void swallow_for(Duration time) { hole_until_ = world_.clock.now() + time; }
  /// This end is done with it. The other hears of it, unless the network ate that as well; what is
  /// on its way arrives first.
  void close(End end) {
    if (!ends_.at(end).open) return;
    ends_.at(end) = {};
    const bool lost = !world_.healed && world_.weather != Weather::cuts && world_.one_in(3);
    const End other = end == at_till ? at_server : at_till;
    const Duration behind =
        std::max(Duration(0us), directions_.at(end).last_arrival - world_.clock.now());
    if (!lost) notice(other, behind + world_.between(0us, 20ms));
  }

 private:
  struct Direction {
    Instant last_arrival{};
    std::size_t passes = ~std::size_t{0};
  };
  struct EndState {
    bool open = false;
    Handlers handlers;
  };

  void arrive(End from, const Bytes& bytes) {
    Direction& direction = directions_.at(from);
    const std::size_t size = std::min(bytes.size(), direction.passes);
    direction.passes -= direction.passes == ~std::size_t{0} ? 0 : size;
    const EndState receiver = ends_.at(from == at_till ? at_server : at_till);
    if (receiver.open && size > 0) receiver.handlers.received(ByteView(bytes).first(size));
  }
  void notice(End end, std::optional<Duration> delay) {
    if (!delay) return;
    world_.clock.after(*delay, [self = shared_from_this(), end] {
      if (!self->ends_.at(end).open) return;
      const auto closed = self->ends_.at(end).handlers.closed;
      self->ends_.at(end) = {};
      closed();
    });
  }

  World& world_;
  Duration delay_{};
  Instant hole_until_{};
  std::array<Direction, 2> directions_{};
  std::array<EndState, 2> ends_{};
};

using ConnectionPtr = std::shared_ptr<Connection>;

/// Drops or repeats one data frame of a connection and renumbers what follows, so that the endpoint
/// behind it cannot notice.
class Saboteur {
 public:
  Saboteur(Sabotage kind, std::uint32_t frame) : kind_(kind), left_(frame) {}
  [[nodiscard]] Bytes pass(const Bytes& output) {
    if (kind_ == Sabotage::none) return output;
    ByteWriter writer;
    for (ByteReader reader(output); reader.remaining() > 0;) {
      const ByteView header = reader.take(frame_header_bytes);
      ByteReader fields(header);
      const std::uint8_t type = fields.u8();
      const std::uint8_t flags = fields.u8();
      const std::uint16_t stream = fields.u16be();
      const std::uint32_t size = fields.u32be();
      const std::uint64_t number = fields.u64be();
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
      } else if (stream != link::control_stream && !done_ && left_-- == 0) {
        done_ = true;
        if (kind_ == Sabotage::replay_frame) {
          write(number);
          write(number + 1);
          shift_ = 1;
        } else {
          shift_ = ~std::uint64_t{0};  // -1
        }
      } else {
        write(number + shift_);
      }
    }
    return writer.finish();
  }

 private:
  Sabotage kind_;
  std::uint32_t left_;
  bool done_ = false;
  std::uint64_t shift_ = 0;
};

/// A message of the stick's stream: 4 bytes length, 4 bytes transfer, and what derives from it.
Bytes message(std::uint32_t transfer, std::size_t size, std::uint8_t salt) {
  ByteWriter writer;
  writer.u32be(static_cast<std::uint32_t>(size));
  writer.u32be(transfer);
  for (std::size_t i = 0; i < size; ++i)
    writer.u8(static_cast<std::uint8_t>(std::size_t{transfer} * 31 + i * 7 + salt));
  return writer.finish();
}
constexpr std::uint8_t asked = 1, answered = 2;

/// Takes whole messages off a stream and looks whether they are what somebody sent.
class MessageReader {
 public:
  struct Message {
    std::uint32_t transfer = 0;
    std::size_t size = 0;
  };
  MessageReader(World& world, std::uint8_t salt) : world_(world), salt_(salt) {}
  void clear() { bytes_.clear(); }
  void receive(ByteView bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  std::optional<Message> next() {
    ByteReader reader(bytes_);
    Message found;
    found.size = reader.u32be();
    found.transfer = reader.u32be();
    if (!reader.ok()) return std::nullopt;
    if (found.size > 1'000'000) {
      world_.violation("a stream is out of step");
      bytes_.clear();
      return std::nullopt;
    }
    if (reader.remaining() < found.size) return std::nullopt;
    const Bytes wanted = message(found.transfer, found.size, salt_);
    if (!std::equal(wanted.begin(), wanted.end(), bytes_.begin()))
      world_.violation("bytes of transfer " + std::to_string(found.transfer) + " are wrong");
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(wanted.size()));
    return found;
  }

 private:
  World& world_;
  std::uint8_t salt_;
  Bytes bytes_;
};

/// Lets an endpoint's deadlines come.
class Alarm {
 public:
  Alarm(World& world, std::function<void()> ring) : world_(world), ring_(std::move(ring)) {}
  void set(std::optional<Instant> when) {
    if (!when || (armed_ && *armed_ <= *when && *armed_ > world_.clock.now())) return;
    armed_ = when;
    world_.clock.after(*when - world_.clock.now(),
                       [this, alive = std::weak_ptr<bool>(alive_), planned = *when] {
                         if (alive.expired() || armed_ != planned) return;
                         armed_.reset();
                         const auto ring = ring_;  // which may end us
                         ring();
                       });
  }
  void cancel() { armed_.reset(); }

 private:
  World& world_;
  std::function<void()> ring_;
  std::optional<Instant> armed_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// A stick that is not reset between sessions, and remembers all it was asked.
struct SimulatedStick {
  std::set<std::uint32_t> seen;
  std::uint32_t last = 0;
};

// --- the server ---

class Server {
 public:
  Server(World& world, std::size_t tills, Duration grace)
      : world_(world), grace_(grace), sticks_(tills) {}

  void accept(const ConnectionPtr& connection, std::size_t till) {
    auto first = std::make_shared<Bytes>();
    const std::weak_ptr<Connection> weak(connection);
    connection->open(Connection::at_server, {[this, weak, till, first](ByteView bytes) {
                                               first->insert(first->end(), bytes.begin(),
                                                             bytes.end());
                                               const auto caller = link::identify(*first);
                                               if (!caller) return;
                                               if (!*caller)
                                                 return world_.violation("a hello is none");
                                               greet(weak.lock(), till, **caller, *first);
                                             },
                                             [] {}});
    world_.clock.after(hello_within, [weak = std::weak_ptr<Bytes>(first),
                                      other = std::weak_ptr<Connection>(connection)] {
      const auto bytes = weak.lock();
      const auto kept = other.lock();
      if (bytes && kept && bytes->size() < 48) kept->close(Connection::at_server);
    });
  }

  void restart() {
    sessions_.clear();
    generation_ += 1;
  }
  [[nodiscard]] const SimulatedStick& stick(std::size_t till) const { return sticks_.at(till); }
  [[nodiscard]] std::size_t kept_bytes() const {
    std::size_t sum = 0;
    for (const auto& session : sessions_) sum += session->endpoint.kept_bytes();
    return sum;
  }

 private:
  struct Session {
    Session(Server& server, std::size_t its_till)
        : till(its_till),
          reader(server.world_, asked),
          alarm(server.world_,
                [&server, this] {
                  endpoint.advance(server.world_.clock.now());
                  server.pump(*this);
                }),
          patience(server.world_, [&server, this] { server.end(*this); }) {}
    ~Session() {
      if (connection) connection->close(Connection::at_server);
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    Session(Session&&) = delete;
    Session& operator=(Session&&) = delete;
    std::size_t till;
    Endpoint endpoint{link::Side::server};
    ConnectionPtr connection;
    link::StreamId stream = 0;
    MessageReader reader;
    std::deque<Bytes> answers;
    Alarm alarm, patience;
    bool greeted = false;
    std::shared_ptr<bool> alive = std::make_shared<bool>(true);
  };

  void greet(const ConnectionPtr& connection, std::size_t till, const link::Caller& caller,
             const Bytes& first) {
    Session* session = nullptr;
    for (const auto& known : sessions_) {
      if (known->endpoint.session() == caller.session) session = known.get();
    }
    if (session != nullptr && session->endpoint.is_outdated(caller)) {
      connection->send(Connection::at_server, Endpoint::refusal("late"));
      connection->close(Connection::at_server);
      return;
    }
    if (session != nullptr && !session->endpoint.can_resume()) {
      end(*session);
      session = nullptr;
    }
    if (session == nullptr) {
      sessions_.push_back(std::make_unique<Session>(*this, till));
      session = sessions_.back().get();
    }
    if (session->connection) session->connection->close(Connection::at_server);
    session->connection = connection;
    session->patience.cancel();
    session->endpoint.connected(world_.clock.now());
    connection->open(Connection::at_server,
                     {[this, session, weak = std::weak_ptr<bool>(session->alive)](ByteView bytes) {
                        if (weak.expired()) return;
                        session->endpoint.receive(bytes, world_.clock.now());
                        pump(*session);
                      },
                      [this, session, weak = std::weak_ptr<bool>(session->alive)] {
                        if (!weak.expired()) lost(*session);
                      }});
    session->endpoint.receive(first, world_.clock.now());
    pump(*session);
  }

  void lost(Session& session) {
    if (session.connection) session.connection->close(Connection::at_server);
    session.connection.reset();
    session.endpoint.disconnected(world_.clock.now());
    if (!session.greeted) return end(session);
    session.patience.set(world_.clock.now() + grace_);
  }

  void end(Session& session) {
    const auto found =
        std::find_if(sessions_.begin(), sessions_.end(),
                     [&session](const auto& known) { return known.get() == &session; });
    const std::unique_ptr<Session> last = std::move(*found);
    sessions_.erase(found);
  }

  void pump(Session& session) {
    bool gone = false;
    while (auto event = session.endpoint.poll_event()) {
      if (auto* bytes = std::get_if<Endpoint::Data>(&*event)) {
        if (bytes->stream != session.stream) return world_.violation("a stream that was not given");
        session.reader.receive(bytes->bytes);
        session.endpoint.recycle(std::move(bytes->bytes));
      } else if (std::holds_alternative<Endpoint::Control>(*event)) {
        hello(session);
      } else if (auto* failed = std::get_if<Endpoint::Failed>(&*event)) {
        return world_.violation("at the server: " + failed->error.message);
      } else if (std::holds_alternative<Endpoint::Lost>(*event)) {
        gone = true;
      }
    }
    while (auto wanted = session.reader.next()) submit(session, *wanted);
    flush(session);
    if (gone) lost(session);
  }

  void hello(Session& session) {
    session.greeted = true;
    // The newest session of a till takes over.
    for (std::size_t i = 0; i < sessions_.size();) {
      Session& other = *sessions_[i];
      if (&other != &session && other.till == session.till) {
        end(other);
      } else {
        ++i;
      }
    }
    link::Granted granted;
    granted.stream = session.stream = 1;  // in each session anew
    session.endpoint.send_control(granted, world_.clock.now());
  }

  void submit(Session& session, const MessageReader::Message& wanted) {
    SimulatedStick& stick = sticks_.at(session.till);
    if (!stick.seen.insert(wanted.transfer).second)
      world_.violation("transfer " + std::to_string(wanted.transfer) + " reached the stick twice");
    if (wanted.transfer <= stick.last)
      world_.violation("transfer " + std::to_string(wanted.transfer) + " came after " +
                       std::to_string(stick.last));
    stick.last = wanted.transfer;
    world_.clock.after(world_.between(0us, 20ms),
                       [this, &session, weak = std::weak_ptr<bool>(session.alive),
                        transfer = wanted.transfer, generation = generation_] {
                         if (weak.expired() || generation != generation_) return;
                         const std::size_t size = world_.below(400);
                         session.answers.push_back(message(transfer, size, answered));
                         flush(session);
                       });
  }

  void flush(Session& session) {
    while (!session.answers.empty() && session.endpoint.can_send()) {
      session.endpoint.send(session.stream, std::move(session.answers.front()), world_.clock.now());
      session.answers.pop_front();
    }
    const Bytes output = session.endpoint.take_output();
    if (session.connection && !output.empty())
      session.connection->send(Connection::at_server, output);
    session.alarm.set(session.endpoint.next_deadline());
  }

  World& world_;
  Duration grace_;
  std::vector<SimulatedStick> sticks_;
  std::deque<std::unique_ptr<Session>> sessions_;
  std::uint64_t generation_ = 0;
};

// --- a till ---

class Till {
 public:
  Till(World& world, Server& server, std::size_t number, Duration grace, Sabotage sabotage)
      : world_(world),
        server_(server),
        number_(number),
        grace_(grace),
        saboteur_(sabotage, world.below(20) + 2),
        reader_(world, answered),
        alarm_(world,
               [this] {
                 if (!endpoint_) return;
                 endpoint_->advance(world_.clock.now());
                 pump();
               }),
        patience_(world, [this] {
          endpoint_.reset();
          withdraw();
        }) {
    dial();
    submit_later();
  }

  /// The program ends and is started again.
  void restart() {
    if (connection_) connection_->close(Connection::at_till);
    connection_.reset();
    endpoint_.reset();
    patience_.cancel();
    withdraw();
    redial();
  }
  [[nodiscard]] const ConnectionPtr& connection() const { return connection_; }
  [[nodiscard]] bool finished() const {
    return submitted_ == transfers_per_till && running_.empty() && endpoint_ &&
           endpoint_->kept_bytes() == 0;
  }
  [[nodiscard]] std::string state() const {
    return "till " + std::to_string(number_) + ": " + std::to_string(submitted_) +
           " transfers submitted, " + std::to_string(running_.size()) + " without an end, " +
           std::to_string(endpoint_ ? endpoint_->kept_bytes() : 0) + " bytes kept";
  }
  /// While set, no connection comes about.
  Instant outage_until{};

 private:
  void dial() {
    dialling_ = true;
    world_.clock.after(world_.between(500us, 30ms), [this] {
      dialling_ = false;
      if (world_.clock.now() < outage_until) return redial();
      world_.outcome.connections += 1;
      connection_ = std::make_shared<Connection>(world_);
      server_.accept(connection_, number_);
      if (!endpoint_) {
        link::SessionId id{};
        for (auto& byte : id) byte = static_cast<std::uint8_t>(world_.random() | 1U);
        endpoint_.emplace(link::Side::till, id);
      }
      endpoint_->connected(world_.clock.now());
      connection_->open(Connection::at_till,
                        {[this, mine = std::weak_ptr<Connection>(connection_)](ByteView bytes) {
                           if (!endpoint_ || mine.lock() != connection_) return;
                           endpoint_->receive(bytes, world_.clock.now());
                           pump();
                         },
                         [this, mine = std::weak_ptr<Connection>(connection_)] {
                           if (mine.lock() == connection_) lost();
                         }});
      flush();
    });
  }
  void redial() {
    if (dialling_) return;
    dialling_ = true;
    world_.clock.after(world_.between(50ms, 400ms), [this] { dial(); });
  }

  void lost() {
    if (connection_) connection_->close(Connection::at_till);
    connection_.reset();
    if (endpoint_) endpoint_->disconnected(world_.clock.now());
    if (stream_ != 0) patience_.set(world_.clock.now() + grace_);
    redial();
  }

  void pump() {
    bool gone = false;
    while (auto event = endpoint_->poll_event()) {
      if (auto* up = std::get_if<Endpoint::Established>(&*event)) {
        patience_.cancel();
        if (up->resumed) {
          world_.outcome.resumed += 1;
        } else {
          withdraw();
          endpoint_->send_control(link::Hello{}, world_.clock.now());
        }
      } else if (auto* control = std::get_if<Endpoint::Control>(&*event)) {
        stream_ = std::get<link::Granted>(control->message).stream;
      } else if (auto* bytes = std::get_if<Endpoint::Data>(&*event)) {
        if (bytes->stream == stream_) reader_.receive(bytes->bytes);
        endpoint_->recycle(std::move(bytes->bytes));
      } else if (auto* failed = std::get_if<Endpoint::Failed>(&*event)) {
        return world_.violation("at the till: " + failed->error.message);
      } else {
        gone = true;
      }
    }
    while (auto answer = reader_.next()) completed(answer->transfer);
    flush();
    if (gone) lost();
  }

  void completed(std::uint32_t transfer) {
    if (running_.erase(transfer) == 0)
      world_.violation("transfer " + std::to_string(transfer) + " completed twice");
    if (server_.stick(number_).seen.count(transfer) == 0)
      world_.violation("transfer " + std::to_string(transfer) + " completed, but never ran");
  }

  /// The stick leaves the session: what runs ends here, and is never asked for again.
  void withdraw() {
    if (stream_ != 0 && world_.weather != Weather::failures)
      world_.violation("a stick left its till");
    stream_ = 0;
    world_.outcome.failed_transfers += running_.size();
    running_.clear();
    reader_.clear();
  }

  void submit_later() {
    world_.clock.after(world_.one_in(3) ? world_.between(0us, 2ms) : world_.between(5ms, 400ms),
                       [this] {
                         submit();
                         if (submitted_ < transfers_per_till) submit_later();
                       });
  }
  void submit() {
    if (stream_ == 0 || !endpoint_ || running_.size() >= transfers_at_once ||
        !endpoint_->can_send()) {
      return;
    }
    const auto transfer = static_cast<std::uint32_t>(++submitted_);
    world_.outcome.transfers += 1;
    running_.insert(transfer);
    const std::size_t size = world_.one_in(20) ? world_.below(100'000) : world_.below(600);
    endpoint_->send(stream_, message(transfer, size, asked), world_.clock.now());
    flush();
  }

  void flush() {
    const Bytes output = saboteur_.pass(endpoint_->take_output());
    if (connection_ && !output.empty()) connection_->send(Connection::at_till, output);
    alarm_.set(endpoint_->next_deadline());
  }

  World& world_;
  Server& server_;
  std::size_t number_;
  Duration grace_;
  Saboteur saboteur_;
  ConnectionPtr connection_;
  std::optional<Endpoint> endpoint_;
  link::StreamId stream_ = 0;
  MessageReader reader_;
  Alarm alarm_, patience_;
  std::set<std::uint32_t> running_;
  std::size_t submitted_ = 0;
  bool dialling_ = false;
};

// --- the run ---

class Run {
 public:
  Run(std::uint32_t seed, Weather weather, Sabotage sabotage)
      : world_(seed, weather),
        grace_(weather == Weather::failures ? world_.between(500ms, 8s) : Duration(60s)),
        server_(world_, 2, grace_) {
    const std::size_t tills = world_.one_in(3) ? 2 : 1;
    for (std::size_t number = 0; number < tills; ++number)
      tills_.push_back(std::make_unique<Till>(world_, server_, number, grace_, sabotage));
    trouble_later();
    world_.clock.after(world_.between(2s, 40s), [this] { world_.healed = true; });
  }

  SimulationOutcome run() {
    const Instant give_up = world_.clock.now() + 400s;
    const auto finished = [this] {
      return world_.healed && server_.kept_bytes() == 0 &&
             std::all_of(tills_.begin(), tills_.end(),
                         [](const auto& till) { return till->finished(); });
    };
    while (world_.outcome.violation.empty() && !finished()) {
      if (world_.clock.now() > give_up || !world_.clock.step()) {
        for (const auto& till : tills_) {
          if (!till->finished()) world_.violation("not finished: " + till->state());
        }
        world_.violation("the server keeps bytes");
      }
    }
    return world_.outcome;
  }

 private:
  void trouble_later() {
    world_.clock.after(
        world_.weather == Weather::cuts ? world_.between(50ms, 500ms) : world_.between(50ms, 4s),
        [this] {
          if (world_.healed) return;
          for (const auto& till : tills_) trouble(*till);
          trouble_later();
        });
  }

  void trouble(Till& till) {
    const auto soon = [this] { return std::optional<Duration>(world_.between(0us, 30ms)); };
    const auto perhaps = [&] { return world_.one_in(2) ? soon() : std::nullopt; };
    const auto cut = [&](std::optional<Duration> till_notices,
                         std::optional<Duration> server_notices) {
      if (till.connection()) till.connection()->cut(till_notices, server_notices);
    };
    switch (world_.weather) {
      case Weather::cuts:
        return cut(soon(), soon());
      case Weather::half_open:
        return cut(perhaps(), perhaps());
      case Weather::holes: {
        const Duration time = world_.between(100ms, 20s);
        if (till.connection()) till.connection()->swallow_for(time);
        if (world_.one_in(2)) till.outage_until = world_.clock.now() + time;
        return;
      }
      case Weather::failures:
        break;
    }
    switch (world_.below(5)) {
      case 0:
        server_.restart();
        return;
      case 1:
        till.restart();
        return;
      case 2:  // longer than the grace time, for one end at least
        till.outage_until = world_.clock.now() + world_.between(grace_ / 2, grace_ * 2);
        return cut(perhaps(), perhaps());
      default:
        return cut(perhaps(), perhaps());
    }
  }

  World world_;
  Duration grace_;
  Server server_;
  std::vector<std::unique_ptr<Till>> tills_;
};

}  // namespace

SimulationOutcome simulate(std::uint32_t seed, Weather weather, Sabotage sabotage) {
  return Run(seed, weather, sabotage).run();
}

}  // namespace tillbridge::test
