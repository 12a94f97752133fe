#include "server/http/outflow.hpp"

#include <utility>

namespace tillbridge::http {

Outflow::Outflow(std::size_t most_bytes, std::string pulse)
    : most_bytes_(most_bytes), pulse_(std::move(pulse)) {}

bool Outflow::push(const std::string& piece) {
  const std::lock_guard lock(mutex_);
  if (waiting_.size() + piece.size() > most_bytes_) over_ = true;
  if (!over_) waiting_ += piece;
  changed_.notify_one();
  return !over_;
}

void Outflow::cut() {
  const std::lock_guard lock(mutex_);
  over_ = true;
  changed_.notify_one();
}

bool Outflow::over() const {
  const std::lock_guard lock(mutex_);
  return over_;
}

std::optional<std::string> Outflow::next(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, patience, [&] { return !waiting_.empty() || over_; });
  if (over_) return std::nullopt;
  return waiting_.empty() ? pulse_ : std::exchange(waiting_, {});
}

}  // namespace tillbridge::http
