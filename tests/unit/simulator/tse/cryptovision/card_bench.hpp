// A cryptovision stick behind a whole mass-storage stick, and a client that opens its file in each
// of the ways real clients do.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <gmock/gmock.h>

#include "channel/bytes/limits.hpp"
#include "server/simulator/tse/cryptovision_stick.hpp"
#include "tests/unit/simulator/device_driver.hpp"
#include "tests/unit/simulator/tse/cryptovision/host_volume.hpp"
#include "tse/cryptovision/der_lists.hpp"
#include "tse/cryptovision/frame.hpp"
#include "tse/evidence/archive_check.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {

namespace protocol = evidence::cryptovision;
namespace scsi = massstorage::scsi;
using massstorage::Outcome;
using protocol::CommandCode;
using protocol::Failure;
using protocol::Parameter;
using protocol::Parameters;
using protocol::ResponseState;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr std::uint64_t opening_time_s = 1'767'225'600;  // 2026-01-01
inline constexpr std::string_view admin_pin = "11111111", admin_puk = "1111111111",
                                  time_pin = "22222222", time_puk = "2222222222";

/// How clients open the file (tse/cryptovision/PROTOCOL.md).
enum class OpenStyle : std::uint8_t {
  direct,         ///< python: always 8192 bytes
  direct_zeroed,  ///< C# on Windows: zeros first, then whole blocks, reads 8192
  recreated,      ///< C# on Linux: truncates and rewrites through the cache first
  each_time,      ///< Java 10: padded to its alignment, reads 512 bytes, then the rest
  cached,         ///< old Java: pages with stale tails, and time stamps
};

struct CardSetup {
  CardSetup() {
    core.time_valid = Duration(0);
    core.audit_log_at_start = true;
  }
  CoreOptions core = cryptovision_core_options();
  CryptovisionOptions options;
  Timing timing = cryptovision_timing();
  CryptovisionDisk disk;
  StickOptions stick;
  std::uint64_t blocks = 64 * 2048;
};

/// What a command brought, as a client understands it.
struct Reply {
  ResponseState state = ResponseState::lost;
  std::optional<Failure> failure;
  Parameters parameters;
  Bytes archive;  ///< without its trailer
  int polls = 0;  ///< reads that said busy
  std::vector<std::size_t> frames;

  [[nodiscard]] bool ok() const { return state == ResponseState::data && !failure; }
};

class CardTest : public StickTest {
 protected:
  void SetUp() override { make_card({}); }

  void make_card(const CardSetup& setup) {
    bench_ = std::make_shared<Bench>(1);
    auto core = TseCore::open(setup.core, make_memory_store());
    ASSERT_TRUE(core.ok()) << core.error().message;
    auto medium = make_cryptovision_medium(std::make_unique<MemoryMedium>(setup.blocks), setup.disk,
                                           *std::move(core), setup.timing, setup.options, bench_);
    ASSERT_TRUE(medium.ok()) << medium.error().message;
    card_ = medium->get();
    make(setup.stick, *std::move(medium), bench_);
    volume_ = std::make_unique<HostVolume>(
        [this](std::uint64_t block, std::size_t count) { return read_blocks(block, count); },
        [this](std::uint64_t block, Bytes data) { write_blocks(block, std::move(data)); });
    locate();
    style_ = OpenStyle::direct;
  }
  TseCore& core() { return card_->core(); }

  // --- blocks
  Bytes read_blocks(std::uint64_t block, std::size_t count) {
    const auto result =
        run_in(scsi::read_10(static_cast<std::uint32_t>(block), static_cast<std::uint16_t>(count)),
               static_cast<std::uint32_t>(count * block_bytes));
    EXPECT_TRUE(result.good()) << result.message;
    Bytes data = result.data;
    data.resize(count * block_bytes);
    return data;
  }
  void write_blocks(std::uint64_t block, Bytes data) {
    const auto count = static_cast<std::uint16_t>(data.size() / block_bytes);
    const auto result =
        run_out(scsi::write_10(static_cast<std::uint32_t>(block), count), std::move(data));
    EXPECT_TRUE(result.good()) << result.message;
  }

  // --- the file
  void locate() {
    const std::uint32_t cluster = volume_->find("TSE-IO  BIN");
    ASSERT_GE(cluster, 2U);
    file_ = volume_->block_of(cluster);
  }
  void open_file(OpenStyle style) {
    style_ = style;
    if (style == OpenStyle::direct_zeroed) write_blocks(file_, Bytes(protocol::file_bytes));
    if (style == OpenStyle::recreated) {
      // Somewhere else each time, and the zeros go out as two pages' writes.
      file_ = volume_->move_to(next_cluster_ += 100, protocol::file_bytes);
      write_blocks(file_, Bytes(4096));
      write_blocks(file_ + 8, Bytes(4096));
    }
  }
  void write_request(const protocol::RequestFrame& request) {
    switch (style_) {
      case OpenStyle::direct:
        write_blocks(file_, protocol::encode(request, protocol::file_bytes));
        return;
      case OpenStyle::direct_zeroed:
      case OpenStyle::recreated:
        write_blocks(file_, protocol::encode(request));
        return;
      case OpenStyle::each_time:
        locate();
        write_blocks(file_, protocol::encode(
                                request, std::max<std::uint32_t>(8192, volume_->cluster_bytes())));
        return;
      case OpenStyle::cached: {
        constexpr std::size_t page_bytes = 4096;
        const Bytes frame = protocol::encode(request, 1);
        const std::size_t pages = (frame.size() + page_bytes - 1) / page_bytes;
        Bytes cache = read_blocks(file_, pages * 8);
        std::copy(frame.begin(), frame.end(), cache.begin());
        write_blocks(file_, std::move(cache));
        volume_->touch(++clock_);
        return;
      }
    }
  }
  Bytes read_file() {
    if (style_ != OpenStyle::each_time) return read_blocks(file_, 16);
    Bytes file = read_blocks(file_, 1);
    const Bytes rest = read_blocks(file_ + 1, 15);
    file.insert(file.end(), rest.begin(), rest.end());
    return file;
  }

  // --- the protocol
  protocol::RequestFrame request_of(Bytes data, protocol::Mode mode = protocol::Mode::normal) {
    // Java has another token.
    const bool java = style_ == OpenStyle::each_time || style_ == OpenStyle::cached;
    return {java ? 0xDEADBEAFU : protocol::usual_token, mode, std::move(data)};
  }
  /// Reads until something other than busy stands there; at most `most_polls` times.
  protocol::ResponseFrame await(const protocol::RequestFrame& request, Reply& reply,
                                int most_polls = 10000) {
    for (int i = 0; i < most_polls; ++i) {
      const auto frame = protocol::parse_response(read_file(), request.token);
      EXPECT_TRUE(frame.ok());
      if (!frame.ok() || frame->state != ResponseState::busy) {
        return frame.ok() ? *frame : protocol::ResponseFrame{};
      }
      ++reply.polls;
      driver_->now += milliseconds(10);
    }
    protocol::ResponseFrame busy;
    busy.state = ResponseState::busy;
    return busy;
  }
  Reply exchange(const protocol::RequestFrame& request, int most_polls = 10000) {
    write_request(request);
    return collect(request, most_polls);
  }
  Reply collect(const protocol::RequestFrame& request, int most_polls = 10000) {
    Reply reply;
    protocol::AnswerAssembler assembler(limits::tse_archive_bytes);
    protocol::ResponseFrame frame = await(request, reply, most_polls);
    while (true) {
      reply.state = frame.state;
      if (frame.state != ResponseState::data) return reply;
      reply.frames.push_back(frame.data.size());
      const Status added = assembler.add(frame.data);
      EXPECT_TRUE(added.ok()) << (added.ok() ? "" : added.error().message);
      if (!added.ok()) return reply;
      if (assembler.complete()) break;
      const auto more = request_of({protocol::fetch_more});
      write_request(more);
      frame = await(more, reply, most_polls);
    }
    if (assembler.kind() == protocol::AnswerAssembler::Kind::failure) {
      reply.failure = assembler.failure();
    } else if (assembler.kind() == protocol::AnswerAssembler::Kind::bulk) {
      reply.archive = assembler.data();
    } else {
      const auto parameters = assembler.parameters();
      EXPECT_TRUE(parameters.ok());
      if (parameters.ok()) reply.parameters = *parameters;
    }
    return reply;
  }
  Reply command(CommandCode code, const Parameters& parameters = {}) {
    return exchange(request_of(protocol::encode_command(code, parameters)));
  }
  void expect_ok(CommandCode code, const Parameters& parameters = {}) {
    const Reply reply = command(code, parameters);
    EXPECT_TRUE(reply.ok()) << protocol::name_of(code) << ": "
                            << (reply.failure ? protocol::text_of(*reply.failure) : "no answer");
  }
  void expect_failure(Failure failure, CommandCode code, const Parameters& parameters = {}) {
    const Reply reply = command(code, parameters);
    ASSERT_TRUE(reply.failure) << protocol::name_of(code) << " instead of "
                               << protocol::text_of(failure);
    EXPECT_EQ(*reply.failure, failure)
        << protocol::name_of(code) << ": " << protocol::text_of(*reply.failure);
  }
  static Parameter bytes(std::string_view text) {
    return Parameter::bytes(Bytes(text.begin(), text.end()));
  }
  Parameter serial() { return Parameter::bytes(core().serial()); }

  // --- what a till does
  void start_up() {
    EXPECT_EQ(exchange(request_of({0, 0}, protocol::Mode::forbid_suspend)).state,
              ResponseState::acknowledged);
    expect_ok(CommandCode::start);
  }
  void log_in(std::string_view user, std::string_view pin) {
    const Reply reply =
        command(CommandCode::authenticate_user, {Parameter::text(user), bytes(pin)});
    EXPECT_THAT(reply.parameters, testing::ElementsAre(Parameter::byte(0), Parameter::number(3)));
  }
  void log_out(std::string_view user) { expect_ok(CommandCode::logout, {Parameter::text(user)}); }
  void set_time(std::uint64_t unix_s) {
    log_in("TimeAdmin", time_pin);
    expect_ok(CommandCode::update_time, {Parameter::big_endian(unix_s, 4)});
    log_out("TimeAdmin");
  }
  void initialize_pins() {
    expect_ok(CommandCode::initialize_pins,
              {bytes(admin_puk), bytes(admin_pin), bytes(time_puk), bytes(time_pin)});
  }
  void set_up() {
    start_up();
    initialize_pins();
    log_in("Admin", admin_pin);
    expect_ok(CommandCode::initialize);
    expect_ok(CommandCode::map_ers_to_key, {Parameter::text("till-1"), serial()});
    log_out("Admin");
    set_time(opening_time_s);
  }
  static Parameters start_parameters(std::string_view client = "till-1") {
    return {Parameter::text(client), Parameter::bytes({}), Parameter::text(""),
            Parameter::bytes({})};
  }
  static Parameters finish_parameters(std::uint32_t number, std::string_view client = "till-1") {
    return {Parameter::big_endian(number, 4), Parameter::text(client),
            bytes("Beleg^1.19_0.00_0.00_0.00_0.00^1.19:Bar"), Parameter::text("Kassenbeleg-V1"),
            Parameter::bytes({})};
  }
  std::optional<protocol::SignedAnswer> start_transaction() {
    const auto answer = protocol::parse_signed_answer(
        command(CommandCode::start_transaction, start_parameters()).parameters, true);
    EXPECT_TRUE(answer.ok());
    return answer.ok() ? std::optional(*answer) : std::nullopt;
  }
  std::optional<protocol::SignedAnswer> finish_transaction(std::uint32_t number) {
    const auto answer = protocol::parse_signed_answer(
        command(CommandCode::finish_transaction, finish_parameters(number)).parameters, false);
    EXPECT_TRUE(answer.ok());
    return answer.ok() ? std::optional(*answer) : std::nullopt;
  }
  /// One receipt; its finish's signature counter.
  std::uint64_t receipt() {
    const auto started = start_transaction();
    if (!started) return 0;
    const auto finished = finish_transaction(*started->transaction);
    return finished ? finished->counter : 0;
  }
  protocol::LifeCycle life_cycle() {
    const Reply reply = command(CommandCode::get_status, {Parameter::number(4)});
    protocol::ParameterReader reader(reply.parameters);
    return static_cast<protocol::LifeCycle>(reader.big_endian());
  }
  static Parameters all() { return protocol::parameters_of(protocol::ExportRequest{}); }
  /// The archive is good and its counters end with the core's.
  void expect_good(Bytes archive) {
    archive.resize(archive.size() + evidence::tar_trailer_bytes);
    const auto report = evidence::check_archive(archive);
    for (const auto& finding : report.findings) {
      if (evidence::is_error(finding.what)) ADD_FAILURE() << finding.where << ": " << finding.text;
    }
    EXPECT_TRUE(report.good());
    EXPECT_EQ(report.last_counter, core().signature_counter());
  }
  void strike(const char* text) {
    const auto fault = parse_fault(text);
    ASSERT_TRUE(fault.ok()) << fault.error().message;
    ASSERT_TRUE(bench_->faults.add(*fault).ok());
  }
  /// Unplugged and plugged in again: the host enumerates, the client starts over.
  void plug_in() {
    stick_->power_cycle(driver_->now);
    (void)driver_->ended(0);
    driver_->configure();
    EXPECT_EQ(run_none(scsi::test_unit_ready()).sense, scsi::sense::reset_occurred);
  }
  void expect_quiet_witness() {
    EXPECT_EQ(bench_->witness.counter_gaps(), 0U);
    EXPECT_EQ(bench_->witness.repeated_frames(), 0U);
    EXPECT_EQ(bench_->witness.signatures(), core().signature_counter());
  }

  std::shared_ptr<Bench> bench_;
  CryptovisionMedium* card_ = nullptr;
  std::unique_ptr<HostVolume> volume_;
  std::uint64_t file_ = 0;  ///< first block
  OpenStyle style_ = OpenStyle::direct;
  std::uint32_t next_cluster_ = 1000;
  std::uint16_t clock_ = 0;
};

}  // namespace tillbridge::simulator::tse
