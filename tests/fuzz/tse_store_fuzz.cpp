// A simulated TSE is opened on whatever a folder may hold: state.json and log.tar, damaged or made
// up. It either says what is wrong or works.

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/reader.hpp"
#include "server/simulator/tse/core.hpp"
#include "server/simulator/tse/folder_state.hpp"

namespace tse = tillbridge::simulator::tse;
using tillbridge::ByteReader;
using tillbridge::Bytes;
using tillbridge::ByteView;
using tillbridge::Instant;
using tillbridge::Status;

namespace {

class GivenStore final : public tse::Store {
 public:
  GivenStore(std::string state, ByteView log)
      : state_(std::move(state)), log_(log.begin(), log.end()) {}
  [[nodiscard]] const std::optional<std::string>& state() const override { return state_; }
  [[nodiscard]] std::uint64_t log_bytes() const override { return log_.size(); }
  Status read_log(std::uint64_t offset, std::span<std::uint8_t> data) override {
    if (offset > log_.size() || data.size() > log_.size() - offset) std::abort();
    std::copy_n(log_.begin() + static_cast<std::ptrdiff_t>(offset), data.size(), data.begin());
    return {};
  }
  Status commit(const std::string& state, ByteView appended) override {
    state_ = state;
    log_.insert(log_.end(), appended.begin(), appended.end());
    return {};
  }
  Status rewrite(const std::string& state, std::span<const tse::LogRange> kept,
                 ByteView appended) override {
    Bytes log;
    for (const tse::LogRange& range : kept) {
      Bytes part(range.bytes);
      static_cast<void>(read_log(range.offset, part));
      log.insert(log.end(), part.begin(), part.end());
    }
    log.insert(log.end(), appended.begin(), appended.end());
    log_ = std::move(log);
    state_ = state;
    return {};
  }

 private:
  std::optional<std::string> state_;
  Bytes log_;
};

void use(tse::TseCore& core) {
  const Instant now{0};
  const std::uint64_t counter = core.signature_counter();
  static_cast<void>(core.login(tse::User::admin, "12345678", now));
  static_cast<void>(core.set_time(1'767'225'600, now));
  for (const auto& open : core.open_transactions())
    static_cast<void>(core.finish(open.number, open.client, {}, "t", now));
  if (!core.clients().empty()) static_cast<void>(core.start(core.clients()[0], {}, "", now));
  static_cast<void>(core.last_log());
  static_cast<void>(core.certificate_archive());
  const auto archive = core.export_logs({});
  static_cast<void>(core.delete_up_to(core.signature_counter(), now));
  if (core.signature_counter() < counter) std::abort();
  if (archive.ok() && archive->size() < core.head_bytes()) std::abort();
}

}  // namespace

// Input: u32le length of the state file's text, the text, the log.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader reader(ByteView(data, size));
  const std::size_t text_bytes = reader.u32le();
  if (!reader.ok() || text_bytes > reader.remaining()) return 0;
  const ByteView text = reader.take(text_bytes);
  const ByteView log = reader.rest();
  auto folder = tse::parse_folder_state(std::string(text.begin(), text.end()));
  if (!folder || !folder->state || folder->log_bytes > log.size()) return 0;

  tse::CoreOptions options;
  options.curve = tse::evidence::Curve::p256;
  options.hash = tse::evidence::Hash::sha256;
  options.store_bytes = 1U << 20U;
  auto core = tse::TseCore::open(
      options, std::make_unique<GivenStore>(*folder->state, log.first(folder->log_bytes)));
  if (core) use(**core);
  return 0;
}
