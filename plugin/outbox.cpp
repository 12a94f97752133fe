#include "plugin/outbox.hpp"

#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"

namespace tillbridge::plugin {
namespace {

/// Of memory: a read waits without its data.
std::size_t bytes_of(const usb::Transfer& transfer) {
  return transfer.data.size();
}

}  // namespace

bool Outbox::add(usb::Transfer&& transfer) {
  if (waiting_.size() >= limits::transfers_in_flight_per_device ||
      bytes_ + bytes_of(transfer) > limits::transfer_bytes_in_flight_per_device) {
    return false;
  }
  bytes_ += bytes_of(transfer);
  waiting_.push_back({++last_, std::move(transfer)});
  return true;
}

void Outbox::put_back(Waiting waiting) {
  bytes_ += bytes_of(waiting.transfer);
  const auto place = std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& each) {
    return each.ticket > waiting.ticket;
  });
  waiting_.insert(place, std::move(waiting));
}

Outbox::Waiting Outbox::take_at(Place place) {
  Waiting taken = std::move(*place);
  waiting_.erase(place);
  bytes_ -= bytes_of(taken.transfer);
  return taken;
}

std::optional<Outbox::Waiting> Outbox::take() {
  if (waiting_.empty()) return std::nullopt;
  return take_at(waiting_.begin());
}

std::optional<Outbox::Waiting> Outbox::take_for_command(const massstorage::CommandWatch& watch) {
  if (!watch.in_command()) return std::nullopt;
  for (auto place = waiting_.begin(); place != waiting_.end(); ++place) {
    const usb::Transfer& transfer = place->transfer;
    // What clears a halt or resets in the middle is a part of it.
    if (transfer.type == usb::TransferType::control) return take_at(place);
    if (!watch.concerns(transfer)) continue;
    if (watch.begins_command(transfer)) return std::nullopt;
    return take_at(place);
  }
  return std::nullopt;
}

bool Outbox::cancel(usb::TransferId id) {
  const auto place = std::find_if(waiting_.begin(), waiting_.end(),
                                  [id](const Waiting& each) { return each.transfer.id == id; });
  if (place == waiting_.end()) return false;
  static_cast<void>(take_at(place));
  return true;
}

std::vector<usb::TransferId> Outbox::clear() {
  std::vector<usb::TransferId> ids;
  ids.reserve(waiting_.size());
  for (const Waiting& each : waiting_) ids.push_back(each.transfer.id);
  waiting_.clear();
  bytes_ = 0;
  return ids;
}

}  // namespace tillbridge::plugin
