// A Swissbit stick on a simulated bus, and a host that speaks to it as a POS does: through SCSI, by
// the blocks that the stick points to.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "server/simulator/tse/swissbit_medium.hpp"
#include "tests/unit/simulator/device_driver.hpp"
#include "tse/evidence/archive_check.hpp"
#include "tse/evidence/log_message.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {

using namespace std::chrono_literals;
namespace wire = ::tillbridge::tse::swissbit;
using wire::AnswerState;
using wire::CommandStatus;

class SwissbitTest : public StickTest {
 protected:
  static constexpr const char* till = "till-01";
  static constexpr const char* puk = "123456";
  static constexpr const char* admin_pin = "11111";
  static constexpr const char* time_pin = "22222";
  static constexpr std::uint64_t today = 1'767'225'600;  // 2026-01-01
  static constexpr std::uint64_t small_disk = 32768;     // 16 MiB

  void SetUp() override { plug({}); }

  struct Setting {
    std::uint64_t disk_blocks = small_disk;
    SwissbitOptions options;
    Timing timing = swissbit_timing();
    std::uint64_t most_signatures = 20'000'000, store_bytes = 0;
    std::uint32_t most_clients = 100, most_open_transactions = 512;
    std::int64_t certificate_end = 2'051'222'400;
  };
  /// A stick as it comes from the factory.
  void plug(const Setting& setting) {
    bench_ = std::make_shared<Bench>(3);
    CoreOptions core_options = swissbit_core_options(setting.options);
    const auto room = swissbit_store_bytes(setting.disk_blocks, setting.options);
    ASSERT_TRUE(room.ok()) << room.error().message;
    core_options.store_bytes = setting.store_bytes == 0 ? *room : setting.store_bytes;
    core_options.most_signatures = setting.most_signatures;
    core_options.most_clients = setting.most_clients;
    core_options.most_open_transactions = setting.most_open_transactions;
    core_options.certificate_end = setting.certificate_end;
    auto core = TseCore::open(core_options, make_memory_store());
    ASSERT_TRUE(core.ok()) << core.error().message;
    core_ = core->get();
    auto medium = SwissbitMedium::create(std::make_unique<MemoryMedium>(setting.disk_blocks),
                                         std::move(*core), setting.timing, setting.options, bench_);
    ASSERT_TRUE(medium.ok()) << medium.error().message;
    tse_ = medium->get();
    StickOptions stick;
    stick.inquiry_vendor = "SWISSBIT";
    make(stick, std::move(*medium), bench_);
    ASSERT_TRUE(host_->read_capacity().ok());
    ASSERT_TRUE(driver_->run(*host_).good());
    find_places();
  }
  void find_places() {
    const auto pointers = wire::parse_pointers(read_blocks(wire::pointer_block, 1));
    ASSERT_TRUE(pointers.ok());
    places_ = *pointers;
  }

  // --- blocks
  massstorage::CommandResult try_read(std::uint64_t block, std::size_t count) {
    EXPECT_TRUE(
        host_->read(static_cast<std::uint32_t>(block), static_cast<std::uint16_t>(count)).ok());
    return driver_->run(*host_);
  }
  Bytes read_blocks(std::uint64_t block, std::size_t count) {
    Bytes all;
    while (count > 0) {
      const std::size_t now = std::min<std::size_t>(count, 64);
      const auto result = try_read(block, now);
      EXPECT_TRUE(result.good()) << result.message;
      all.insert(all.end(), result.data.begin(), result.data.end());
      block += now;
      count -= now;
    }
    return all;
  }
  massstorage::CommandResult try_write(std::uint64_t block, Bytes data) {
    EXPECT_TRUE(host_->write(static_cast<std::uint32_t>(block), std::move(data)).ok());
    return driver_->run(*host_);
  }
  void write_blocks(std::uint64_t block, Bytes data) {
    const auto result = try_write(block, std::move(data));
    EXPECT_TRUE(result.good()) << result.message;
  }

  // --- commands
  wire::Info info() {
    const auto info = wire::parse_info(read_blocks(places_.info, 1));
    EXPECT_TRUE(info.ok());
    return info.ok() ? *info : wire::Info{};
  }
  wire::Answer answer() {
    const auto answer = wire::parse_answer(read_blocks(places_.comm, 1));
    EXPECT_TRUE(answer.ok());
    return answer.ok() ? *answer : wire::Answer{};
  }
  void send(const wire::Command& command) { write_blocks(places_.comm, wire::encode(command)); }
  void send_raw(Bytes head) {
    head.resize(512);
    write_blocks(places_.comm, std::move(head));
  }
  /// Polls until the stick is no longer busy, at most two minutes.
  wire::Answer wait() {
    for (int polls = 0; polls < 2400; ++polls) {
      const wire::Answer now = answer();
      if (now.state != AnswerState::busy) return now;
      driver_->now += 50ms;
    }
    ADD_FAILURE() << "busy for ever";
    return {};
  }
  wire::Answer ask(const wire::Command& command) {
    const std::uint32_t before = answer().counter;
    send(command);
    wire::Answer answer = wait();
    EXPECT_EQ(answer.counter, before + 1) << "the command was not taken";
    if (answer.state == AnswerState::waits_for_fetch) {
      send(wire::FetchAnswer{});
      answer = wait();
    }
    EXPECT_EQ(answer.state, AnswerState::complete);
    return answer;
  }
  CommandStatus status(const wire::Command& command) { return ask(command).status; }

  static Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }
  wire::Answer open_step(wire::Step step, const std::string& client, std::uint64_t transaction,
                         std::size_t data_bytes, bool opcode_91 = false) {
    return ask(wire::OpenStep{step, client, transaction, data_bytes, "Kassenbeleg-V1", opcode_91});
  }
  void write_data(std::uint64_t store_block, Bytes data) {
    if (data.empty()) return;
    data.resize((data.size() + 511) / 512 * 512);
    write_blocks(places_.store + store_block, std::move(data));
  }
  /// Both halves of a step; a status other than ok ends it.
  std::pair<CommandStatus, wire::ClosedStep> sign(wire::Step step, std::uint64_t transaction,
                                                  const Bytes& data,
                                                  const std::string& client = till) {
    const wire::Answer opened = open_step(step, client, transaction, data.size());
    if (opened.status != CommandStatus::ok) return {opened.status, {}};
    const auto place = wire::parse_opened_step(opened.data);
    EXPECT_TRUE(place.ok());
    write_data(place->block, data);
    const wire::Answer closed = ask(wire::CloseStep{});
    if (closed.status != CommandStatus::ok) return {closed.status, {}};
    const auto signature = wire::parse_closed_step(closed.data);
    EXPECT_TRUE(signature.ok());
    return {CommandStatus::ok, *signature};
  }
  wire::ClosedStep start(const std::string& client = till) {
    const auto [status, closed] = sign(wire::Step::start, 0, {}, client);
    EXPECT_EQ(status, CommandStatus::ok) << wire::text_of(status);
    return closed;
  }
  wire::ClosedStep finish(std::uint64_t transaction, const Bytes& data = Bytes(40, 'x')) {
    const auto [status, closed] = sign(wire::Step::finish, transaction, data);
    EXPECT_EQ(status, CommandStatus::ok) << wire::text_of(status);
    return closed;
  }
  void receipt() { finish(start().transaction); }

  // --- life
  wire::FactoryCredentials factory() { return wire::factory_credentials(info().serial); }
  void expect_ok(const wire::Command& command) {
    const CommandStatus got = status(command);
    EXPECT_EQ(got, CommandStatus::ok) << wire::text_of(got);
  }
  void replace_transport_pins() {
    EXPECT_EQ(status(wire::SelfTest{"nobody"}), CommandStatus::unknown_client);
    const auto factory_pins = factory();
    expect_ok(wire::ChangePuk{factory_pins.puk, puk});
    expect_ok(wire::ChangePin{wire::User::admin, factory_pins.admin_pin, admin_pin});
    expect_ok(wire::ChangePin{wire::User::time_admin, factory_pins.time_admin_pin, time_pin});
  }
  void set_up() {
    replace_transport_pins();
    expect_ok(wire::Login{wire::User::admin, admin_pin});
    expect_ok(wire::SetTime{today});
    expect_ok(wire::RegisterClient{till});
    expect_ok(wire::SelfTest{till});
    expect_ok(wire::EnableCtss{});
    expect_ok(wire::Initialize{});
  }
  /// What a POS does after each power-up.
  void wake_up(std::uint64_t time = today + 86400) {
    expect_ok(wire::SelfTest{till});
    expect_ok(wire::Login{wire::User::time_admin, time_pin});
    expect_ok(wire::SetTime{time});
  }
  /// Unplugged and plugged in again: the host enumerates it anew.
  void replug() {
    stick_->power_cycle(driver_->now);
    driver_->configure();
    auto host = massstorage::BulkOnlyHost::create(stick_->description());
    ASSERT_TRUE(host.ok());
    host_ = std::make_unique<massstorage::BulkOnlyHost>(*host);
    ASSERT_TRUE(host_->test_unit_ready().ok());
    EXPECT_EQ(driver_->run(*host_).sense, massstorage::scsi::sense::reset_occurred);
    ASSERT_TRUE(host_->read_capacity().ok());
    ASSERT_TRUE(driver_->run(*host_).good());
    find_places();
  }

  Bytes export_archive() {
    const std::uint64_t size = info().export_bytes;
    Bytes archive = read_blocks(places_.store, static_cast<std::size_t>((size + 511) / 512));
    archive.resize(static_cast<std::size_t>(size));
    return archive;
  }
  /// Exports, and lets the auditor's check look for what is missing or wrong.
  ::tillbridge::tse::ArchiveReport audit() {
    auto report = ::tillbridge::tse::check_archive(export_archive());
    for (const auto& finding : report.findings) {
      EXPECT_FALSE(::tillbridge::tse::is_error(finding.what)) << finding.text;
    }
    EXPECT_EQ(report.first_counter, 1U);
    EXPECT_EQ(report.last_counter, info().signatures);
    EXPECT_EQ(report.logs, report.last_counter);
    EXPECT_EQ(bench_->witness.signatures(), report.last_counter);
    EXPECT_EQ(bench_->witness.counter_gaps(), 0U);
    EXPECT_EQ(bench_->witness.repeated_frames(), 0U);
    return report;
  }
  void strike(const char* text) {
    const auto fault = parse_fault(text);
    ASSERT_TRUE(fault.ok()) << fault.error().message;
    ASSERT_TRUE(bench_->faults.add(*fault).ok());
  }

  std::shared_ptr<Bench> bench_;
  TseCore* core_ = nullptr;
  SwissbitMedium* tse_ = nullptr;
  wire::Pointers places_;
};

}  // namespace tillbridge::simulator::tse
