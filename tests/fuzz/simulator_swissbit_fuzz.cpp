// A Swissbit stick that gets anything: commands good and bad, writes and reads anywhere, faults,
// time and power cycles. It answers every read, signs without a gap, and its store stays whole.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "server/simulator/tse/swissbit_medium.hpp"

namespace simulator = tillbridge::simulator;
namespace tse = tillbridge::simulator::tse;
namespace swissbit = tillbridge::tse::swissbit;
using tillbridge::ByteReader;
using tillbridge::Bytes;
using tillbridge::ByteView;
using tillbridge::Duration;
using tillbridge::Instant;
using tillbridge::Status;

namespace {

constexpr std::uint64_t disk_blocks = 16384;
constexpr const char* till = "till-01";
constexpr const char* puk = "123456";
constexpr const char* pin = "12345";
constexpr std::uint64_t today = 1'767'225'600;

void require(bool condition) {
  if (!condition) std::abort();
}

/// What a TSE had stored: keys are made once, not for every input.
struct Snapshot {
  std::optional<std::string> state;
  Bytes log;
};

class SnapshotStore final : public tse::Store {
 public:
  explicit SnapshotStore(Snapshot& content) : content_(content) {}
  [[nodiscard]] const std::optional<std::string>& state() const override { return content_.state; }
  [[nodiscard]] std::uint64_t log_bytes() const override { return content_.log.size(); }
  [[nodiscard]] Status read_log(std::uint64_t offset, std::span<std::uint8_t> data) override {
    require(offset <= content_.log.size() && data.size() <= content_.log.size() - offset);
    const ByteView part =
        ByteView(content_.log).subspan(static_cast<std::size_t>(offset), data.size());
    std::copy(part.begin(), part.end(), data.begin());
    return {};
  }
  [[nodiscard]] Status commit(const std::string& state, ByteView appended) override {
    content_.state = state;
    content_.log.insert(content_.log.end(), appended.begin(), appended.end());
    return {};
  }
  [[nodiscard]] Status rewrite(const std::string& /*state*/,
                               std::span<const tse::LogRange> /*kept*/,
                               ByteView /*appended*/) override {
    std::abort();  // Swissbit's protocol has no deletion
  }

 private:
  Snapshot& content_;
};

class Stick {
 public:
  explicit Stick(Snapshot& content) : bench_(std::make_shared<simulator::Bench>(1)) {
    const tse::SwissbitOptions options;
    tse::CoreOptions core_options = tse::swissbit_core_options(options);
    core_options.store_bytes = 1U << 20U;
    core_options.most_clients = 5;
    core_options.most_open_transactions = 5;
    auto core = tse::TseCore::open(core_options, std::make_unique<SnapshotStore>(content));
    require(core.ok());
    auto medium =
        tse::SwissbitMedium::create(std::make_unique<simulator::MemoryMedium>(disk_blocks),
                                    std::move(*core), tse::swissbit_timing(), options, bench_);
    require(medium.ok());
    medium_ = std::move(*medium);
    first_counter_ = medium_->core().signature_counter();
  }

  void write(std::uint64_t block, const Bytes& data) {
    require(medium_->begin_command(0x2A, now_) == Duration(0));
    require(medium_->write(block, data).ok());
    settle();
  }
  Bytes read(std::uint64_t block, std::size_t count) {
    Bytes data(count * simulator::block_bytes);
    require(medium_->begin_command(0x28, now_) == Duration(0));
    require(medium_->read(block, data).ok());
    settle();
    return data;
  }
  void command(const swissbit::Command& command) {
    write(medium_->layout().comm, swissbit::encode(command));
  }
  void pass(Duration time) { now_ += time; }
  void power_cycle() { medium_->power_cycle(now_); }
  void add_fault(const simulator::Fault& fault) {
    static_cast<void>(bench_->faults.add(fault));
    faulty_ = true;
  }
  swissbit::Answer answer() {
    const auto answer = swissbit::parse_answer(read(medium_->layout().comm, 1));
    require(answer.ok() || faulty_);
    return answer.ok() ? *answer : swissbit::Answer{};
  }
  swissbit::Info info() {
    const auto info = swissbit::parse_info(read(medium_->layout().info, 1));
    require(info.ok());
    return *info;
  }
  [[nodiscard]] const tse::SwissbitLayout& layout() const { return medium_->layout(); }

  void set_up() {
    const auto act = [this](const swissbit::Command& next) {
      command(next);
      pass(std::chrono::seconds(30));
      command(swissbit::FetchAnswer{});
      pass(std::chrono::seconds(1));
    };
    const auto factory = swissbit::factory_credentials(info().serial);
    act(swissbit::SelfTest{till});
    act(swissbit::ChangePuk{factory.puk, puk});
    act(swissbit::ChangePin{swissbit::User::admin, factory.admin_pin, pin});
    act(swissbit::ChangePin{swissbit::User::time_admin, factory.time_admin_pin, pin});
    act(swissbit::Login{swissbit::User::admin, pin});
    act(swissbit::SetTime{today});
    act(swissbit::RegisterClient{till});
    act(swissbit::SelfTest{till});
    act(swissbit::EnableCtss{});
    act(swissbit::Initialize{});
    require(info().state == swissbit::State::initialized);
  }

  void check() {
    const swissbit::Info now = info();
    require(now.signatures == medium_->core().signature_counter());
    require(bench_->witness.signatures() == now.signatures - first_counter_);
    require(bench_->witness.counter_gaps() == 0);
    const Bytes end = read(layout().store + now.used_blocks, 1);
    const bool zeros = std::all_of(end.begin(), end.end(), [](auto byte) { return byte == 0; });
    require(zeros || now.import_running);
  }

 private:
  /// As the device does it.
  void settle() {
    const auto demand = bench_->take_demand();
    if (demand) medium_->power_cycle(now_);
  }

  std::shared_ptr<simulator::Bench> bench_;
  std::unique_ptr<tse::SwissbitMedium> medium_;
  Instant now_{0};
  bool faulty_ = false;
  std::uint64_t first_counter_ = 0;
};

const Snapshot& prepared(bool set_up) {
  static const Snapshot fresh = [] {
    Snapshot snapshot;
    const Stick stick(snapshot);
    return snapshot;
  }();
  static const Snapshot ready = [] {
    Snapshot snapshot = fresh;
    Stick stick(snapshot);
    stick.set_up();
    return snapshot;
  }();
  return set_up ? ready : fresh;
}

class Driver {
 public:
  Driver(ByteReader& input, Stick& stick) : input_(input), stick_(stick) {}

  void step() {
    switch (input_.u8() % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
        stick_.command(sensible());
        stick_.pass(std::chrono::milliseconds(300));
        break;
      case 4:
        stick_.pass(std::chrono::seconds(30));
        stick_.command(swissbit::FetchAnswer{});
        break;
      case 5:
      case 6:
        write_data();
        break;
      case 7:
        stick_.write(stick_.layout().comm, block());
        break;
      case 8: {  // a command with parameters from the input
        Bytes raw{0, 0};
        const ByteView bytes = input_.take(std::min<std::size_t>(input_.remaining(), input_.u8()));
        raw.insert(raw.end(), bytes.begin(), bytes.end());
        raw[1] = static_cast<std::uint8_t>(bytes.size());
        raw.resize(simulator::block_bytes);
        stick_.write(stick_.layout().comm, raw);
        break;
      }
      case 9:
        stick_.write(place(), block());
        break;
      case 10:
        static_cast<void>(stick_.read(place(), 1U + input_.u8() % 16U));
        break;
      case 11:
        static_cast<void>(stick_.answer());
        break;
      case 12:
        static_cast<void>(stick_.info());
        break;
      case 13:
        stick_.pass(Duration(std::int64_t{input_.u16le()} << (input_.u8() % 24U)));
        break;
      case 14:
        if (input_.u8() % 8 == 0) stick_.power_cycle();
        break;
      default:
        fault();
        break;
    }
  }

 private:
  swissbit::Command sensible() {
    const std::uint8_t which = input_.u8(), detail = input_.u8();
    const auto user = (detail & 1U) != 0 ? swissbit::User::admin : swissbit::User::time_admin;
    const std::string client = (detail & 2U) != 0 ? till : "till-" + std::to_string(detail % 7U);
    switch (which % 18) {
      case 0:
        return swissbit::Login{user, (detail & 0xF0U) == 0 ? "00000" : pin};
      case 1:
        return swissbit::Logout{user};
      case 2:
        return swissbit::ChangePin{user, pin, pin};
      case 3:
        return swissbit::ChangePuk{puk, puk};
      case 4:
        return swissbit::SelfTest{client};
      case 5:
        return swissbit::RegisterClient{client};
      case 6:
        return swissbit::DeregisterClient{client};
      case 7:
        return swissbit::ListClients{detail};
      case 8:
        return swissbit::ListTransactions{detail, client};
      case 9:
        return swissbit::ReadCertificate{std::uint32_t{detail} * 16U};
      case 10:
        return swissbit::SetTime{today + detail};
      case 11:
        if ((detail & 1U) != 0) return swissbit::EnableCtss{};
        return swissbit::DisableCtss{};
      case 12:
        if (detail == 0xFF) return swissbit::Decommission{};
        return swissbit::Initialize{};
      case 13:
      case 14:
      case 15:
        return swissbit::OpenStep{static_cast<swissbit::Step>(detail % 3U),
                                  client,
                                  which % 8U,
                                  std::uint64_t{detail} * 13U,
                                  "Kassenbeleg-V1",
                                  (detail & 1U) != 0};
      default:
        return swissbit::CloseStep{};
    }
  }
  Bytes block() {
    const ByteView bytes = input_.take(std::min<std::size_t>(input_.remaining(), input_.u8()));
    Bytes block(bytes.begin(), bytes.end());
    block.resize(simulator::block_bytes);
    return block;
  }
  /// Where the announced block will mostly be.
  void write_data() {
    const std::uint64_t end = stick_.info().used_blocks;
    const std::uint8_t where = input_.u8();
    const std::uint64_t block = where == 0 ? 0 : end + where % 4U;
    stick_.write(stick_.layout().store + block,
                 Bytes((1U + where % 8U) * simulator::block_bytes, where));
  }
  std::uint64_t place() {
    const tse::SwissbitLayout& layout = stick_.layout();
    const std::uint8_t near = input_.u8();
    const std::uint64_t places[] = {0,
                                    swissbit::pointer_block,
                                    layout.info,
                                    layout.comm,
                                    layout.store,
                                    layout.store + layout.store_blocks};
    const std::uint64_t block = places[near % 6U] + near / 16U;
    return std::min(block > 8 ? block - 8 : block, disk_blocks - 17);
  }
  void fault() {
    simulator::Fault fault;
    constexpr simulator::FaultPoint points[] = {
        simulator::FaultPoint::before_command, simulator::FaultPoint::after_command,
        simulator::FaultPoint::between_steps, simulator::FaultPoint::answer};
    fault.point = points[input_.u8() % 4U];
    fault.action = static_cast<simulator::FaultAction>(
        input_.u8() % (static_cast<unsigned>(simulator::FaultAction::torn_write) + 1));
    fault.amount_ms = input_.u16le();
    stick_.add_fault(fault);
  }

  ByteReader& input_;
  Stick& stick_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(ByteView(data, size));
  Snapshot snapshot = prepared((input.u8() & 1U) != 0);
  Stick stick(snapshot);
  Driver driver(input, stick);
  while (input.remaining() > 0) driver.step();
  stick.check();
  return 0;
}
