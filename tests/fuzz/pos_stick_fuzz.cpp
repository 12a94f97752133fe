// The POS against a stick that answers with whatever bytes come: it ends, says something, and never
// asks without end.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <sstream>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/writer.hpp"
#include "pos/access.hpp"
#include "pos/cashier.hpp"
#include "pos/cryptovision_tse.hpp"
#include "pos/diebold_tse.hpp"
#include "pos/swissbit_tse.hpp"
#include "tse/cryptovision/frame.hpp"
#include "tse/diebold/frame.hpp"

namespace tillbridge::pos {
namespace {

namespace diebold = ::tillbridge::tse::diebold;

class FuzzClock final : public Clock {
 public:
  [[nodiscard]] Instant now() override { return now_; }
  void wait(Duration duration) override { now_ += duration; }
  [[nodiscard]] std::uint64_t unix_s() override { return 1'767'225'600; }

 private:
  Instant now_{0};
};

/// What the stick says next. Used up: zeros, which no protocol takes for an answer.
class Script {
 public:
  Script(ByteView bytes, FuzzClock& clock) : reader_(bytes), clock_(clock) {}

  /// Each piece has its length in front.
  [[nodiscard]] ByteView next() {
    clock_.wait(std::chrono::milliseconds(1));
    if (++asked_ > most_questions) std::abort();
    return reader_.take(std::min<std::size_t>(reader_.u16be(), reader_.remaining()));
  }
  /// Nobody who waits for 90 s in steps of 10 ms asks more often than this for the few commands of
  /// a run.
  static constexpr std::size_t most_questions = 2'000'000;

 private:
  ByteReader reader_;
  FuzzClock& clock_;
  std::size_t asked_ = 0;
};

class FuzzFile final : public StickFile {
 public:
  FuzzFile(Script& script, bool frames) : script_(script), frames_(frames) {}
  [[nodiscard]] std::uint64_t size() const override { return 1U << 20U; }
  [[nodiscard]] Status read(std::uint64_t /*offset*/, std::span<std::uint8_t> data) override {
    std::fill(data.begin(), data.end(), std::uint8_t{0});
    const ByteView piece = script_.next();
    ByteWriter content;
    // A fuzzer does not find 28 magic bytes each time.
    if (frames_ && !piece.empty()) {
      content.bytes(tse::cryptovision::magic);
      content.u32be(0);
    }
    content.bytes(piece);
    const std::size_t size = std::min(data.size(), content.size());
    std::copy_n(content.view().begin(), size, data.begin());
    return {};
  }
  [[nodiscard]] Status write(std::uint64_t /*offset*/, ByteView /*data*/) override { return {}; }

 private:
  Script& script_;
  bool frames_;
};

class FuzzVolume final : public StickVolume {
 public:
  FuzzVolume(Script& script, bool frames) : script_(script), frames_(frames) {}
  [[nodiscard]] std::string name() const override { return "fuzz"; }
  [[nodiscard]] Result<std::vector<std::string>> list() override {
    return std::vector<std::string>{};
  }
  [[nodiscard]] Result<std::unique_ptr<StickFile>> open(std::string_view /*file*/,
                                                        OpenStyle /*style*/) override {
    return std::unique_ptr<StickFile>(std::make_unique<FuzzFile>(script_, frames_));
  }

 private:
  Script& script_;
  bool frames_;
};

/// Answers each request under its own id.
class FuzzLine final : public SerialLine {
 public:
  FuzzLine(Script& script, FuzzClock& clock) : script_(script), clock_(clock) {}
  [[nodiscard]] std::string name() const override { return "fuzz"; }
  [[nodiscard]] Status write(ByteView data) override {
    diebold::RequestParser parser;
    ByteReader input(data);
    if (auto event = parser.next(input)) {
      if (auto* request = std::get_if<diebold::Request>(&*event)) request_ = std::move(*request);
    }
    return {};
  }
  [[nodiscard]] Result<Bytes> read(Duration timeout) override {
    ByteReader piece(script_.next());
    if (piece.remaining() == 0) {
      clock_.wait(timeout);
      return Bytes();
    }
    diebold::Response response;
    response.command = request_.command;
    response.id = request_.id.value_or("");
    // Parameters, cut at the byte 0.
    response.parameters.emplace_back();
    while (piece.remaining() > 0 && response.parameters.size() < 16) {
      const auto letter = static_cast<char>(piece.u8());
      if (letter == 0) {
        response.parameters.emplace_back();
      } else {
        response.parameters.back().push_back(letter);
      }
    }
    return diebold::encode(response);
  }

 private:
  Script& script_;
  FuzzClock& clock_;
  diebold::Request request_;
};

std::unique_ptr<Tse> make_tse(unsigned family, Script& script, FuzzClock& clock) {
  switch (family) {
    case 0:
      return make_cryptovision_tse(std::make_unique<FuzzVolume>(script, true), OpenStyle::direct,
                                   clock);
    case 1:
      return make_swissbit_tse(std::make_unique<FuzzVolume>(script, false), OpenStyle::direct,
                               clock);
    default:
      return make_diebold_tse(
          [&]() -> Result<std::unique_ptr<SerialLine>> {
            return std::unique_ptr<SerialLine>(std::make_unique<FuzzLine>(script, clock));
          },
          "fuzz", clock);
  }
}

void run(ByteView data) {
  ByteReader reader(data);
  const unsigned family = reader.u8() % 3U, verb = reader.u8() % 5U;
  FuzzClock clock;
  Script script(reader.rest(), clock);
  const std::unique_ptr<Tse> tse = make_tse(family, script, clock);
  Access::Settings settings;
  settings.environment = false;
  const std::string pin = family == 0 ? "11111111" : "11111",
                    puk = family == 0 ? "1111111111" : "111111";
  settings.secrets = {{Secret::admin_pin, pin},
                      {Secret::admin_puk, puk},
                      {Secret::time_pin, pin},
                      {Secret::time_puk, puk}};
  Access access(std::move(settings));
  const Told told = [](const std::string&) {};
  if (!tse->connect()) return;
  switch (verb) {
    case 0:
      (void)tse->status();
      break;
    case 1:
      (void)tse->set_up("K", access, told);
      break;
    case 2: {
      Cashier cashier(*tse, access, told);
      if (cashier.open("K")) (void)cashier.sign({"K", "Kassenbeleg-V1", "Beleg^1"});
      break;
    }
    case 3: {
      std::uint64_t taken = 0;
      (void)tse->export_archive([&](ByteView piece) -> Status {
        taken += piece.size();
        if (taken > (8U << 20U)) return fail(ErrorCode::limit, "enough");
        return {};
      });
      break;
    }
    default:
      (void)tse->logs_above(0);
      break;
  }
}

}  // namespace
}  // namespace tillbridge::pos

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tillbridge::pos::run(tillbridge::ByteView(data, size));
  return 0;
}
