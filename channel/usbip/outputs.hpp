// How both ends queue what they send.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <variant>

#include "channel/bytes/queue.hpp"
#include "channel/bytes/reader.hpp"

namespace tillbridge::usbip {

/// Below this it is cheaper to copy bytes behind those before them than to hand out one more piece.
inline constexpr std::size_t coalesced_bytes = 4096;

/// Queues `bytes` behind what is there. Small pieces are joined, so that a burst of answers becomes
/// one write; a large payload is moved, never copied.
template <typename Send, typename Output>
void queue_send(Queue<Output>& outputs, Bytes bytes) {
  if (bytes.empty()) return;
  if (!outputs.empty()) {
    if (auto* last = std::get_if<Send>(&outputs.back());
        last != nullptr && last->bytes.size() + bytes.size() <= coalesced_bytes) {
      last->bytes.insert(last->bytes.end(), bytes.begin(), bytes.end());
      return;
    }
  }
  outputs.push_back(Send{std::move(bytes)});
}

template <typename Output>
[[nodiscard]] std::optional<Output> take_front(Queue<Output>& outputs) {
  if (outputs.empty()) return std::nullopt;
  std::optional<Output> front(std::move(outputs.front()));
  outputs.pop_front();
  return front;
}

}  // namespace tillbridge::usbip
