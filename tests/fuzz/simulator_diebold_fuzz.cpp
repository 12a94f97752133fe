// A simulated Diebold Nixdorf stick gets anything, at any time, with any fault: every transfer ends
// at most once, and no signature counter is lost or doubled.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "channel/usb/requests.hpp"
#include "server/simulator/tse/diebold_stick.hpp"

namespace usb = tillbridge::usb;
namespace simulator = tillbridge::simulator;
namespace tse = tillbridge::simulator::tse;
namespace dn = tillbridge::tse::diebold;
using tillbridge::ByteReader;
using tillbridge::Bytes;
using tillbridge::ByteView;
using tillbridge::Instant;
using tillbridge::Status;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

/// In memory, and can be copied: making a key for every input would take too long.
struct Content {
  std::optional<std::string> state;
  Bytes log;
};
class ContentStore final : public tse::Store {
 public:
  explicit ContentStore(std::shared_ptr<Content> content) : content_(std::move(content)) {}
  [[nodiscard]] const std::optional<std::string>& state() const override { return content_->state; }
  [[nodiscard]] std::uint64_t log_bytes() const override { return content_->log.size(); }
  [[nodiscard]] Status read_log(std::uint64_t offset, std::span<std::uint8_t> data) override {
    const ByteView part = ByteView(content_->log).subspan(offset, data.size());
    std::copy(part.begin(), part.end(), data.begin());
    return {};
  }
  [[nodiscard]] Status commit(const std::string& state, ByteView appended) override {
    content_->state = state;
    content_->log.insert(content_->log.end(), appended.begin(), appended.end());
    return {};
  }
  [[nodiscard]] Status rewrite(const std::string& state, std::span<const tse::LogRange> kept,
                               ByteView appended) override {
    Bytes log;
    for (const tse::LogRange& range : kept) {
      const ByteView part = ByteView(content_->log).subspan(range.offset, range.bytes);
      log.insert(log.end(), part.begin(), part.end());
    }
    log.insert(log.end(), appended.begin(), appended.end());
    content_->state = state;
    content_->log = std::move(log);
    return {};
  }

 private:
  std::shared_ptr<Content> content_;
};

tse::DieboldOptions options() {
  tse::DieboldOptions options;
  options.core.curve = tillbridge::tse::Curve::p256;
  options.core.hash = tillbridge::tse::Hash::sha256;
  options.core.most_clients = 3;
  options.core.most_open_transactions = 3;
  options.buffer_packet_bytes = 700;
  return options;
}

/// A stick that was set up, with one client.
Content prepared() {
  auto content = std::make_shared<Content>();
  auto core = tse::TseCore::open(options().core, std::make_unique<ContentStore>(content));
  require(core.ok());
  const Instant now{1};
  require((*core)->self_test(now).ok());
  require((*core)->login(tse::User::admin, "12345", now).what == tse::LoginResult::What::ok);
  require((*core)->register_client("t", now).ok());
  require((*core)->initialize(now).ok());
  return *content;
}

class Bench {
 public:
  explicit Bench(ByteView input) : input_(input) {
    static const Content content = prepared();
    auto made = tse::DieboldStick::create(
        options(), std::make_unique<ContentStore>(std::make_shared<Content>(content)));
    require(made.ok());
    stick_ = *std::move(made);
    open();
  }

  void run() {
    while (input_.remaining() > 0) {
      act();
      poll();
    }
    while (!running_.empty()) {
      stick_->cancel(running_.begin()->first, now_);
      poll();
    }
    require(stick_->bench().witness.counter_gaps() == 0);
    std::uint64_t counter = 0;
    for (const tse::StoredLog& log : stick_->core().logs()) {
      require(counter == 0 || log.counter == counter + 1);
      counter = log.counter;
    }
  }

 private:
  void open() {
    submit(usb::control_transfer(1, usb::set_configuration(1)));
    submit(usb::control_transfer(1, {0x21, 0x22, 1, 0, 0}));  // DTR
  }
  void submit(usb::Transfer transfer) {
    transfer.id = ++next_id_;
    running_.emplace(next_id_, transfer.length);
    stick_->submit(std::move(transfer), now_);
  }
  void bulk(std::uint8_t endpoint, std::uint32_t length, Bytes data) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = endpoint;
    transfer.length = length;
    transfer.data = std::move(data);
    submit(std::move(transfer));
  }
  void poll() {
    while (const auto completion = stick_->poll_completion()) {
      const auto found = running_.find(completion->id);
      require(found != running_.end());
      require(completion->actual_length <= found->second);
      running_.erase(found);
    }
    static_cast<void>(stick_->poll_departure());
  }
  std::string text() {
    const ByteView bytes =
        input_.take(std::min<std::size_t>(input_.u8() % 16U, input_.remaining()));
    return {bytes.begin(), bytes.end()};
  }

  void act() {
    switch (input_.u8() % 9) {
      case 0: {
        const ByteView bytes = input_.take(std::min<std::size_t>(input_.u8(), input_.remaining()));
        bulk(0x02, static_cast<std::uint32_t>(bytes.size()), Bytes(bytes.begin(), bytes.end()));
        break;
      }
      case 1:
      case 2:
        request();
        break;
      case 3:
        bulk(0x81, input_.u16le() % 6000U, {});
        break;
      case 4:
        now_ += std::chrono::milliseconds(input_.u16le());
        stick_->advance(now_);
        break;
      case 5:
        submit(usb::control_transfer(1, {0x21, 0x22, input_.u8(), 0, 0}));
        break;
      case 6:
        stick_->cancel(next_id_ - input_.u8() % 4U, now_);
        break;
      case 7:
        if (input_.u8() % 2 == 0) {
          stick_->power_cycle(now_);
        } else {
          stick_->reset(now_);
        }
        open();
        break;
      default: {
        simulator::Fault fault;
        fault.point = static_cast<simulator::FaultPoint>(input_.u8() % 7);
        fault.action = static_cast<simulator::FaultAction>(input_.u8() % 17);
        fault.amount_ms = input_.u8();
        static_cast<void>(stick_->bench().faults.add(fault));
        break;
      }
    }
  }
  /// With texts that mean something, which random bytes seldom do.
  void request() {
    static const char* const texts[] = {
        "1", "0", "t", "12345",  "01.01.2026 00:00:00",        "QUJD", "",
        "2", "3", "u", "123456", "DN TSEProduction ef82abcedf"};
    dn::Request request;
    request.command = static_cast<std::uint16_t>(input_.u8() % 6U * 100U + input_.u8() % 13U);
    for (std::uint8_t count = input_.u8() % 5; count > 0; --count) {
      const std::uint8_t which = input_.u8();
      request.parameters.push_back(which < std::size(texts) ? texts[which] : text());
    }
    request.answer = static_cast<dn::AnswerMode>(input_.u8() % 3);
    request.buffer = input_.u8() % 12;
    if (request.command % 7 != 0) request.id = std::to_string(++next_request_);
    if (const auto frame = dn::encode(request)) {
      bulk(0x02, static_cast<std::uint32_t>(frame->size()), *frame);
    }
  }

  ByteReader input_;
  std::unique_ptr<tse::DieboldStick> stick_;
  Instant now_{1};
  usb::TransferId next_id_ = 0;
  std::uint64_t next_request_ = 0;
  std::map<usb::TransferId, std::uint32_t> running_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bench(ByteView(data, size)).run();
  return 0;
}
