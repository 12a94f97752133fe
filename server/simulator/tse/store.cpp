#include "server/simulator/tse/store.hpp"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>

namespace tillbridge::simulator::tse {
namespace {

class MemoryStore final : public Store {
 public:
  [[nodiscard]] const std::optional<std::string>& state() const override { return state_; }
  [[nodiscard]] std::uint64_t log_bytes() const override { return log_.size(); }

  Status read_log(std::uint64_t offset, std::span<std::uint8_t> data) override {
    const ByteView part = view({offset, data.size()});
    std::copy(part.begin(), part.end(), data.begin());
    return {};
  }

  Status commit(const std::string& state, ByteView appended) override {
    log_.insert(log_.end(), appended.begin(), appended.end());
    state_ = state;
    return {};
  }

  Status rewrite(const std::string& state, std::span<const LogRange> kept,
                 ByteView appended) override {
    Bytes log;
    for (const LogRange& range : kept) {
      const ByteView part = view(range);
      log.insert(log.end(), part.begin(), part.end());
    }
    log.insert(log.end(), appended.begin(), appended.end());
    log_ = std::move(log);
    state_ = state;
    return {};
  }

 private:
  [[nodiscard]] ByteView view(const LogRange& range) const {
    assert(range.offset <= log_.size() && range.bytes <= log_.size() - range.offset);
    return ByteView(log_).subspan(range.offset, range.bytes);
  }

  std::optional<std::string> state_;
  Bytes log_;
};

}  // namespace

std::unique_ptr<Store> make_memory_store() {
  return std::make_unique<MemoryStore>();
}

}  // namespace tillbridge::simulator::tse
