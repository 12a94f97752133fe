#include "server/admin/events.hpp"

#include <utility>

#include "server/admin/limits.hpp"

namespace tillbridge::admin {

EventHub::Subscription::~Subscription() {
  if (const auto listeners = listeners_.lock()) listeners->erase(number_);
}

EventHub::Subscription& EventHub::Subscription::operator=(Subscription&& other) noexcept {
  if (const auto listeners = listeners_.lock()) listeners->erase(number_);
  listeners_ = std::exchange(other.listeners_, {});
  number_ = other.number_;
  return *this;
}

EventHub::Subscription EventHub::subscribe(std::function<void(const Event&)> heard) {
  Subscription subscription;
  subscription.listeners_ = listeners_;
  subscription.number_ = next_listener_++;
  listeners_->emplace(subscription.number_, std::move(heard));
  return subscription;
}

std::optional<std::vector<Event>> EventHub::since(std::uint64_t id) const {
  const std::uint64_t first = kept_.empty() ? next_ : kept_.front().id;
  if (id >= next_ || id + 1 < first) return std::nullopt;
  std::vector<Event> events;
  for (const Event& event : kept_) {
    if (event.id > id) events.push_back(event);
  }
  return events;
}

void EventHub::publish(std::string type, std::string data) {
  // Figures that are said again every two seconds have the id of what was before them.
  const bool passing = type == "load";
  Event event{passing ? next_ - 1 : next_++, std::move(type), std::move(data)};
  // A copy: a listener may end its own subscription.
  const auto listeners = *listeners_;
  for (const auto& [number, heard] : listeners) heard(event);
  if (passing) return;
  kept_.push_back(std::move(event));
  if (kept_.size() > limits::events_kept) kept_.pop_front();
}

}  // namespace tillbridge::admin
