// Queue and SpareNodes: containers of what passes through, without an allocation for each element.
#pragma once

#include <cassert>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace tillbridge {

/// First in, first out. std::deque allocates anew every few elements that pass through it, however
/// few are in it at a time; this one keeps its memory, unless it was a burst's.
template <typename T>
class Queue {
  static_assert(std::is_nothrow_move_constructible_v<T>);

 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == places_.size(); }
  [[nodiscard]] std::size_t size() const noexcept { return places_.size() - first_; }
  /// `index` counts from the front.
  [[nodiscard]] T& operator[](std::size_t index) noexcept { return *places_[first_ + index]; }
  [[nodiscard]] const T& operator[](std::size_t index) const noexcept {
    return *places_[first_ + index];
  }
  [[nodiscard]] T& front() noexcept { return (*this)[0]; }
  [[nodiscard]] const T& front() const noexcept { return (*this)[0]; }
  [[nodiscard]] T& back() noexcept { return *places_.back(); }

  void push_back(T element) { emplace_back(std::move(element)); }
  template <typename... Arguments>
  T& emplace_back(Arguments&&... arguments) {
    if (places_.size() == places_.capacity() && first_ > places_.size() / 2) close_up();
    return *places_.emplace_back(std::in_place, std::forward<Arguments>(arguments)...);
  }
  void pop_front() noexcept {
    assert(!empty());
    places_[first_++].reset();
    if (empty()) clear();
  }
  void clear() noexcept {
    first_ = 0;
    places_.clear();
    if (places_.capacity() > places_kept) std::vector<std::optional<T>>().swap(places_);
  }

 private:
  static constexpr std::size_t places_kept = 64;

  /// The places before the front are used again.
  void close_up() noexcept {
    for (std::size_t i = first_; i < places_.size(); ++i)
      places_[i - first_] = std::move(places_[i]);
    places_.resize(places_.size() - first_);
    first_ = 0;
  }

  std::vector<std::optional<T>> places_;  ///< those before first_ are empty
  std::size_t first_ = 0;
};

/// Elements come and go, a few at a time: their nodes are used again.
template <typename Map>
class SpareNodes {
 public:
  /// As Map::emplace(): an element with this key stays as it is.
  typename Map::iterator insert(Map& map, typename Map::key_type key,
                                typename Map::mapped_type value) {
    if (nodes_.empty()) return map.emplace(key, std::move(value)).first;
    typename Map::node_type node = std::move(nodes_.back());
    nodes_.pop_back();
    node.key() = key;
    node.mapped() = std::move(value);
    return map.insert(std::move(node)).position;
  }
  void erase(Map& map, typename Map::iterator element) {
    if (element == map.end()) return;
    if (nodes_.size() == nodes_kept) {
      map.erase(element);
      return;
    }
    nodes_.push_back(map.extract(element));
    nodes_.back().mapped() = typename Map::mapped_type();  // keeps nothing alive
  }

 private:
  static constexpr std::size_t nodes_kept = 8;
  std::vector<typename Map::node_type> nodes_;
};

}  // namespace tillbridge
