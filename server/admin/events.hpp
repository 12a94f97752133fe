// What viewers are told as it happens.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace tillbridge::admin {

/// One server-sent event. `data` is one line of JSON.
struct Event {
  std::uint64_t id = 0;  ///< counts from 1 at each start of the program
  std::string type;      ///< "state", "load", "log"
  std::string data;
};

/// On the loop's thread only.
class EventHub {
 public:
  /// Ends the subscription when it is destroyed; may outlive the hub.
  class Subscription {
   public:
    Subscription() = default;
    ~Subscription();
    Subscription(Subscription&& other) noexcept = default;
    Subscription& operator=(Subscription&& other) noexcept;
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

   private:
    friend class EventHub;
    std::weak_ptr<std::map<std::uint64_t, std::function<void(const Event&)>>> listeners_;
    std::uint64_t number_ = 0;
  };

  /// `heard` is called for each event from now on; it must be quick and change nothing.
  [[nodiscard]] Subscription subscribe(std::function<void(const Event&)> heard);
  /// Those after `id`, for a viewer that comes again (Last-Event-ID). Nothing: too long ago, or of
  /// another run of the program; it has to read the whole state anew.
  [[nodiscard]] std::optional<std::vector<Event>> since(std::uint64_t id) const;
  [[nodiscard]] std::uint64_t last() const noexcept { return next_ - 1; }
  [[nodiscard]] bool heard_by_anybody() const noexcept { return !listeners_->empty(); }

  void publish(std::string type, std::string data);

 private:
  std::shared_ptr<std::map<std::uint64_t, std::function<void(const Event&)>>> listeners_ =
      std::make_shared<std::map<std::uint64_t, std::function<void(const Event&)>>>();
  std::deque<Event> kept_;  // "load" is not among them: the next one says it anew
  std::uint64_t next_ = 1, next_listener_ = 1;
};

}  // namespace tillbridge::admin
