// The network between tills and USB server: connections that carry bytes in order, as far as the
// weather lets them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/transport/stream.hpp"
#include "tests/simulation/world.hpp"

namespace tillbridge::simulation {

class Connection;

/// A link that is broken on purpose, to see that the checks notice: one data frame of a stick's
/// stream is lost, or comes twice, and the numbers behind it fit again.
enum class Sabotage : std::uint8_t { none, drop_frame, replay_frame };

/// One at a time, see network(). transport::connect() and Acceptor::listen() of this program end
/// here (virtual_stream.cpp).
class Network {
 public:
  explicit Network(World& world);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  Network(Network&&) = delete;
  Network& operator=(Network&&) = delete;

  [[nodiscard]] static Network& current();

  // --- weather
  struct Conditions {
    Duration latency_least = std::chrono::microseconds(100);
    Duration latency_most = std::chrono::milliseconds(5);
    /// Of ten connections so many are much slower than that, until they are cut.
    std::uint32_t slow_of_ten = 0;
    /// Whether who loses a connection may not hear of it, and bytes of old connections may come
    /// late.
    bool half_open = false;
    /// On their way at the same time; whoever sends more waits.
    std::size_t window = std::size_t{256} << 10U;
  };
  void set(const Conditions& conditions) { conditions_ = conditions; }
  [[nodiscard]] const Conditions& conditions() const noexcept { return conditions_; }
  /// The connections that are open now break, each after some more bytes in each direction: those
  /// of one till, or all.
  void cut(const std::string& till = {});
  /// Nothing passes for so long, and nobody is told: to and from one till, or at all.
  void swallow_for(Duration time, const std::string& till = {});
  /// From now on nothing is lost or late any more; what is cut stays cut.
  void heal();
  /// For the connections that are made from now on.
  void sabotage(Sabotage kind, std::uint32_t frame);
  [[nodiscard]] bool sabotaged() const noexcept;

  [[nodiscard]] std::size_t connections_made() const noexcept { return made_; }
  [[nodiscard]] std::size_t open_connections() const;

  // --- for the streams
  struct Listener {
    std::function<void(std::shared_ptr<Connection>)> accept;
  };
  [[nodiscard]] World& world() noexcept { return world_; }
  [[nodiscard]] std::uint16_t listen(std::uint16_t port, std::shared_ptr<Listener> listener);
  void stop_listening(std::uint16_t port, const Listener& listener);
  [[nodiscard]] std::shared_ptr<Listener> listener(std::uint16_t port) const;
  [[nodiscard]] std::shared_ptr<Connection> make(const std::string& client,
                                                 const std::string& server);
  [[nodiscard]] Instant hole_until(const std::string& till) const;
  [[nodiscard]] Bytes pass(Bytes written, std::size_t end);

 private:
  struct Saboteur;
  World& world_;
  Conditions conditions_;
  std::map<std::string, Instant> holes_;  ///< by till; "": all
  std::map<std::uint16_t, std::shared_ptr<Listener>> listeners_;
  std::vector<std::weak_ptr<Connection>> connections_;
  std::size_t made_ = 0;
  std::unique_ptr<Saboteur> saboteur_;
};

/// Both ends of one. Each end has its own idea of whether it is open.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  enum End : std::size_t { at_client = 0, at_server = 1 };

  Connection(Network& network, std::string client, std::string server);

  /// The stream of an end; it is the end's until abandon() or close().
  [[nodiscard]] std::unique_ptr<transport::Stream> stream(End end);

  void start(End end, transport::Stream::Events events);
  void write(End end, Bytes bytes);
  void pause(End end, bool paused);
  void close(End end);
  void abandon(End end);
  [[nodiscard]] std::size_t queued(End end) const { return ends_[end].waiting_bytes; }
  [[nodiscard]] const std::string& client() const noexcept { return names_[at_client]; }
  [[nodiscard]] bool is_open() const { return ends_[0].open || ends_[1].open; }

  void cut();
  void heal();

 private:
  struct Side {
    bool open = true;      ///< its owner has not closed, destroyed or lost it
    bool closing = false;  ///< close() was called: what waits goes out first
    bool paused = false;
    bool above_half = false;
    std::shared_ptr<const transport::Stream::Events> events;
    // what this end sends
    std::vector<Bytes> waiting;  ///< for the window
    std::size_t waiting_bytes = 0, under_way = 0;
    std::size_t passes = ~std::size_t{0};  ///< bytes that still get through
    Instant last_arrival{};
    bool last_word_sent = false;
    // what came for this end and is not taken yet
    std::vector<Bytes> arrived;
    bool at_end = false;
    std::optional<Error> end_error;
  };

  [[nodiscard]] Instant arrival(Side& sender);
  void pump(End sender);
  void arrive(End sender, Bytes bytes);
  void last_word(End sender, bool orderly);
  void notice(End end, Duration delay, std::optional<Error> error);
  void deliver(End end);
  void end(End end, std::optional<Error> error);
  [[nodiscard]] static End other(End end) { return end == at_client ? at_server : at_client; }

  Network& network_;
  World& world_;
  std::string names_[2];  // NOLINT(modernize-avoid-c-arrays)
  Side ends_[2];          // NOLINT(modernize-avoid-c-arrays)
  Duration slowness_{};
  bool cut_ = false;
};

}  // namespace tillbridge::simulation
