#include "server/operations/captures.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "server/admin/limits.hpp"
#include "server/audit/entry.hpp"
#include "server/operations/limits.hpp"
#include "server/operations/usbmon_file.hpp"
#include "server/usb/usb_server.hpp"

namespace tillbridge::operations {

using admin::Problem;
using admin::Reply;
using admin::reply_to;

namespace {

UsbmonFile::Microseconds wall_clock() {
  return static_cast<UsbmonFile::Microseconds>(
      std::chrono::duration_cast<std::chrono::microseconds>(
          std::chrono::system_clock::now().time_since_epoch())
          .count());
}

/// 1 to 86400; nothing: it is no such number.
std::optional<std::int64_t> seconds_of(const std::string& text) {
  if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string::npos)
    return std::nullopt;
  const std::int64_t seconds = std::stoll(text);
  return seconds >= 1 && seconds <= 86400 ? std::optional(seconds) : std::nullopt;
}

}  // namespace

/// Between the loop and the reader's thread.
struct Captures::Pipe {
  std::mutex mutex;
  std::condition_variable news;
  std::deque<std::string> waiting;
  std::size_t bytes = 0;
  bool ended = false;

  /// False: there is no room.
  bool push(const Bytes& piece, bool always) {
    const std::lock_guard lock(mutex);
    if (!always && bytes + piece.size() > limits::capture_waiting_bytes) return false;
    bytes += piece.size();
    waiting.emplace_back(piece.begin(), piece.end());
    news.notify_one();
    return true;
  }
  void end() {
    const std::lock_guard lock(mutex);
    ended = true;
    news.notify_one();
  }
};

/// A reader may leave after the captures are gone.
struct Captures::Gate {
  std::mutex mutex;
  Captures* captures = nullptr;
  std::atomic<std::size_t> readers{0};
};

class Captures::Reader final : public admin::Download {
 public:
  Reader(std::shared_ptr<Pipe> pipe, std::shared_ptr<Gate> gate, std::uint64_t number)
      : pipe_(std::move(pipe)), gate_(std::move(gate)), number_(number) {
    gate_->readers += 1;
  }
  ~Reader() override {
    gate_->readers -= 1;
    const std::lock_guard lock(gate_->mutex);
    if (gate_->captures == nullptr) return;
    gate_->captures->loop_.post([gate = gate_, number = number_] {
      // Only the loop's own thread ever takes the captures away.
      if (gate->captures != nullptr) gate->captures->ended(number);
    });
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  Reader(Reader&&) = delete;
  Reader& operator=(Reader&&) = delete;

  std::optional<std::string> next(std::chrono::milliseconds patience) override {
    std::unique_lock lock(pipe_->mutex);
    pipe_->news.wait_for(lock, patience, [&] { return !pipe_->waiting.empty() || pipe_->ended; });
    std::string bytes;
    while (!pipe_->waiting.empty() && bytes.size() < (64U << 10U)) {
      bytes += pipe_->waiting.front();
      pipe_->bytes -= pipe_->waiting.front().size();
      pipe_->waiting.pop_front();
    }
    if (bytes.empty() && pipe_->ended) return std::nullopt;
    return bytes;
  }

 private:
  std::shared_ptr<Pipe> pipe_;
  std::shared_ptr<Gate> gate_;
  std::uint64_t number_;
};

class Captures::Capture {
 public:
  Capture(transport::Loop& loop, UsbmonFile::Settings settings, std::shared_ptr<Pipe> pipe,
          std::string asked_by)
      : timer(loop), who(std::move(asked_by)), file_(std::move(settings)), pipe_(std::move(pipe)) {
    pipe_->push(file_.begin(), true);
  }
  ~Capture() {
    pipe_->push(UsbmonFile::end(wall_clock(), events, dropped), true);
    pipe_->end();
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  Capture(Capture&&) = delete;
  Capture& operator=(Capture&&) = delete;

  void describe(const usb::DeviceDescription& device) {
    if (std::exchange(described_, true)) return;
    pipe_->push(file_.describe(device, wall_clock()), true);
  }
  void submitted(const usb::Transfer& transfer) { take(file_.submitted(transfer, wall_clock())); }
  void completed(const usb::Completion& completion) {
    take(file_.completed(completion, wall_clock()));
  }

  transport::Timer timer;
  std::string who;
  std::uint64_t events = 0, dropped = 0;

 private:
  void take(const Bytes& bytes) {
    if (bytes.empty()) return;
    events += 1;
    if (!pipe_->push(bytes, false)) dropped += 1;
  }
  UsbmonFile file_;
  std::shared_ptr<Pipe> pipe_;
  bool described_ = false;
};

/// All captures of one stick.
struct Captures::Tap final : public server::TransferTap {
  std::map<std::uint64_t, std::unique_ptr<Capture>> captures;

  void submitted(const usb::Transfer& transfer) override {
    for (const auto& [number, capture] : captures) capture->submitted(transfer);
  }
  void completed(const usb::Completion& completion) override {
    for (const auto& [number, capture] : captures) capture->completed(completion);
  }
};

Captures::Captures(admin::Administration& administration, transport::Loop& loop)
    : admin_(administration), loop_(loop), gate_(std::make_shared<Gate>()) {
  gate_->captures = this;
}

Captures::~Captures() {
  const std::lock_guard lock(gate_->mutex);
  gate_->captures = nullptr;
}

void Captures::stop() {
  {
    const std::lock_guard lock(gate_->mutex);
    gate_->captures = nullptr;
  }
  for (const auto& [stick, tap] : taps_) admin_.usb().registry().tap(stick, nullptr);
  taps_.clear();
}

std::size_t Captures::readers() const noexcept {
  return gate_->readers;
}

std::size_t Captures::running() const noexcept {
  std::size_t count = 0;
  for (const auto& [stick, tap] : taps_) count += tap->captures.size();
  return count;
}

Reply Captures::handle(const admin::Request& request) {
  if (request.method != "GET")
    return reply_to({405, "method", "this address takes GET", "use GET"});
  const auto parameter = [&](const char* name) {
    const auto found = request.query.find(name);
    return found == request.query.end() ? std::string() : found->second;
  };
  const std::string wanted = parameter("stick");
  if (auto allowed = admin_.check(request.actor, "capture", wanted); !allowed) {
    return reply_to(allowed.problem());
  }
  if (wanted.empty()) {
    return reply_to({422, "invalid", "'stick' is missing", "add it: ?stick=1209:0001:5A2F"});
  }
  const std::string payloads = parameter("payloads");
  if (!payloads.empty() && payloads != "0" && payloads != "1") {
    return reply_to({422, "invalid", "'payloads' is neither 0 nor 1", "write one of the two"});
  }
  const std::string seconds = parameter("seconds");
  const auto length = seconds_of(seconds);
  if (!seconds.empty() && !length) {
    return reply_to({422, "invalid", "'seconds' is no number from 1 to 86400", "correct it"});
  }
  const auto stick = admin_.find_stick(wanted);
  if (!stick) return reply_to(stick.problem());
  if (running() >= limits::captures) {
    return reply_to({429, "too_many",
                     std::to_string(limits::captures) + " captures run, which is the most",
                     "end one of them"});
  }

  const std::uint64_t number = next_++;
  const auto pipe = std::make_shared<Pipe>();
  auto capture = std::make_unique<Capture>(
      loop_, UsbmonFile::Settings{*stick, "tillbridged " TILLBRIDGE_VERSION, payloads == "1"}, pipe,
      request.actor.who());
  if (const server::PresentStick* present = admin_.usb().registry().find(*stick)) {
    capture->describe(present->arrival.description);
  }
  if (length) {
    capture->timer.arm(loop_.now() + std::chrono::seconds(*length),
                       [this, number] { ended(number); });
  }
  std::unique_ptr<Tap>& tap = taps_[*stick];
  if (!tap) {
    tap = std::make_unique<Tap>();
    admin_.usb().registry().tap(*stick, tap.get());
  }
  tap->captures[number] = std::move(capture);

  audit::Entry entry;
  entry.kind = audit::Kind::capture_begun;
  entry.who = request.actor.who();
  entry.stick = *stick;
  entry.reason = parameter("reason").substr(0, admin::limits::reason_bytes);
  entry.details = {{audit::Field::payloads, payloads == "1"}};
  admin_.record(std::move(entry));
  admin_.tell(admin::Administration::Level::info, "capture_begun",
              request.actor.who() + " captures the transfers of stick " + *stick +
                  (payloads == "1" ? ", with payloads" : ""),
              *stick, {}, request.actor.who());

  Reply reply;
  reply.content_type = "application/x-pcapng";
  reply.file_name = "tillbridge.pcapng";
  reply.download = std::make_shared<Reader>(pipe, gate_, number);
  return reply;
}

void Captures::lease_begun(const server::PresentStick& stick) {
  const auto tap = taps_.find(stick.identity.text());
  if (tap == taps_.end()) return;
  for (const auto& [number, capture] : tap->second->captures) {
    capture->describe(stick.arrival.description);
  }
}

void Captures::ended(std::uint64_t number) {
  for (auto place = taps_.begin(); place != taps_.end(); ++place) {
    const auto found = place->second->captures.find(number);
    if (found == place->second->captures.end()) continue;
    const std::string stick = place->first;
    audit::Entry entry;
    entry.kind = audit::Kind::capture_ended;
    entry.who = found->second->who;
    entry.stick = stick;
    entry.details = {{audit::Field::count, static_cast<std::int64_t>(found->second->events)}};
    // A timer's callback may be what runs here: what it is part of goes once that has returned.
    loop_.post([gone = std::shared_ptr<Capture>(std::move(found->second))] {});
    place->second->captures.erase(found);
    if (place->second->captures.empty()) {
      admin_.usb().registry().tap(stick, nullptr);
      taps_.erase(place);
    }
    admin_.record(std::move(entry));
    admin_.tell(admin::Administration::Level::info, "capture_ended",
                "the capture of stick " + stick + " has ended", stick, {}, {});
    return;
  }
}

}  // namespace tillbridge::operations
