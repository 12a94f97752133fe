// A till in front of a simulated Diebold Nixdorf stick, down to the bulk transfers.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>

#include "server/simulator/tse/diebold_stick.hpp"
#include "tests/unit/simulator/device_driver.hpp"
#include "tse/diebold/buffer_fetch.hpp"
#include "tse/evidence/archive_check.hpp"

namespace tillbridge::simulator::tse {

namespace dn = evidence::diebold;
using dn::Command;
using dn::DeviceError;
using dn::Parameters;

inline constexpr const char* slot = "1";
inline constexpr std::int64_t some_day_s = 1'767'225'600;  // 2026-01-01

/// Self test in 25 s and a signature in 250 ms cost tests nothing: time is a parameter.
class DieboldHost {
 public:
  explicit DieboldHost(DieboldOptions options = {}, std::unique_ptr<Store> store = nullptr) {
    if (!store) store = make_memory_store();
    auto made = DieboldStick::create(std::move(options), std::move(store));
    if (!made) {
      ADD_FAILURE() << made.error().message;
      std::abort();
    }
    stick = *std::move(made);
    driver = std::make_unique<DeviceDriver>(*stick);
    open();
  }

  /// As an operating system does when the port is opened.
  void open() {
    driver->configure();
    set_terminal_ready(true);
    parser.clear();
  }
  void set_terminal_ready(bool ready) {
    EXPECT_EQ(driver->control({0x21, 0x22, static_cast<std::uint16_t>(ready ? 3 : 2), 0, 0}).status,
              usb::TransferStatus::success);
  }
  /// The stick is pulled and plugged in again.
  void replug(Duration away = std::chrono::seconds(1)) {
    read_.reset();
    driver->now += away;
    stick->power_cycle(driver->now);
    while (stick->poll_completion()) {
    }
    open();
  }
  void pass(Duration time) {
    driver->now += time;
    stick->advance(driver->now);
  }
  void fault(std::string_view text) {
    const auto parsed = parse_fault(text);
    ASSERT_TRUE(parsed.ok()) << parsed.error().message;
    ASSERT_TRUE(stick->bench().faults.add(*parsed).ok());
  }
  [[nodiscard]] const Witness& witness() { return stick->bench().witness; }

  // --- the line
  std::string new_id() { return "00000000-0000-4000-8000-" + std::to_string(100000 + ++last_id_); }
  void write(Bytes bytes) {
    const auto written = driver->submit_out(DieboldStick::data_out_endpoint, std::move(bytes));
    static_cast<void>(driver->ended(written));
  }
  void send(const dn::Request& request) {
    const auto frame = dn::encode(request);
    ASSERT_TRUE(frame.ok()) << frame.error().message;
    write(*frame);
  }
  /// The next transfer's bytes, if there are any within `timeout`.
  std::optional<Bytes> read(Duration timeout) {
    const Instant end = driver->now + timeout;
    while (true) {
      if (!read_) read_ = driver->submit_in(DieboldStick::data_in_endpoint, 4096);
      if (auto completion = driver->ended(*read_)) {
        read_.reset();
        last_status = completion->status;
        if (completion->status != usb::TransferStatus::success) return std::nullopt;
        return std::move(completion->data);
      }
      const auto deadline = stick->next_deadline();
      if (!deadline || *deadline > end) break;
      driver->now = *deadline;
    }
    driver->now = end;
    stick->advance(end);
    return std::nullopt;
  }
  std::optional<dn::ResponseParser::Event> receive(Duration timeout = std::chrono::seconds(2)) {
    const Instant end = driver->now + timeout;
    while (true) {
      ByteReader input(rest_);
      auto event = parser.next(input);
      rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(input.position()));
      if (event) return event;
      if (driver->now > end) return std::nullopt;
      auto bytes = read(end - driver->now);
      if (!bytes) return std::nullopt;
      rest_ = *std::move(bytes);
    }
  }
  /// The answer to one request. Status reports are kept aside.
  std::optional<dn::Response> ask(Command command, Parameters parameters = {},
                                  Duration timeout = std::chrono::seconds(2)) {
    const dn::Request request = dn::make_request(command, std::move(parameters), new_id());
    if (command == Command::self_test) timeout = std::chrono::seconds(120);
    send(request);
    while (auto event = receive(timeout)) {
      if (auto* response = std::get_if<dn::Response>(&*event)) {
        if (response->id == *request.id) {
          EXPECT_EQ(response->command, request.command);
          return std::move(*response);
        }
      } else if (auto* report = std::get_if<dn::StatusReport>(&*event)) {
        reports.push_back(report->text);
      }
    }
    return std::nullopt;
  }
  /// As ask(); no answer is a failed test.
  dn::Response done(Command command, Parameters parameters = {}) {
    if (auto response = ask(command, std::move(parameters))) return *std::move(response);
    ADD_FAILURE() << dn::name_of(command) << ": " << dn::text_of(error());
    return {};
  }
  /// What 001 says after a command that must not be answered.
  DeviceError error_of(Command command, Parameters parameters = {}) {
    EXPECT_FALSE(ask(command, std::move(parameters))) << dn::name_of(command);
    return error();
  }
  dn::DeviceStatus status() {
    const auto response = ask(Command::status);
    if (!response) {
      ADD_FAILURE() << "no status";
      return {};
    }
    const auto parsed = dn::parse_status(*response);
    EXPECT_TRUE(parsed.ok());
    return parsed.ok() ? *parsed : dn::DeviceStatus{};
  }
  DeviceError error() { return status().error; }
  /// Through a buffer, as exports go.
  std::optional<dn::Response> fetch(Command command, Parameters parameters,
                                    std::uint32_t buffer = 1) {
    dn::Request request = dn::make_request(command, std::move(parameters), new_id());
    request.answer = dn::AnswerMode::in_buffer;
    request.buffer = buffer;
    send(request);
    dn::BufferFetch fetch(buffer);
    for (int pieces = 0; pieces < 100000; ++pieces) {
      const auto piece = ask(Command::fetch_buffer, fetch.parameters());
      if (!piece) return std::nullopt;
      auto whole = fetch.accept(*piece);
      if (!whole) {
        ADD_FAILURE() << whole.error().message;
        return std::nullopt;
      }
      if (*whole) {
        EXPECT_EQ((*whole)->id, request.id);
        return **std::move(whole);
      }
      pass(std::chrono::milliseconds(1));
    }
    return std::nullopt;
  }
  Bytes fetch_binary(Command command, Parameters parameters) {
    const auto response = fetch(command, std::move(parameters));
    if (!response) return {};
    auto values = dn::parse_binaries(*response);
    if (!values || values->empty()) return {};
    return values->back();
  }

  // --- what a till does
  void login(const char* user = "1", const char* pin = "12345") {
    const auto answer = dn::parse_login(done(Command::login, {slot, user, pin}));
    ASSERT_TRUE(answer.ok());
    EXPECT_EQ(answer->result, dn::LoginResult::ok);
  }
  void logout(const char* user = "1") { done(Command::logout, {slot, user}); }
  void self_test(const std::string& client) {
    done(Command::set_client, {client});
    EXPECT_EQ(*dn::parse_self_test(done(Command::self_test, {slot})), dn::SelfTestResult::passed);
  }
  void set_time(std::int64_t unix_s = some_day_s) {
    done(Command::set_time, {dn::time_text(unix_s)});
  }
  /// In the order of the known client.
  void set_up() {
    done(Command::set_status_reports, {"0"});
    self_test("DN TSEProduction ef82abcedf");
    login();
    done(Command::set_client, {"till-01"});
    done(Command::register_client, {slot});
    self_test("till-01");
    done(Command::initialize, {slot, ""});
    set_time();
    logout();
  }
  /// After power came back: self test and time.
  void make_ready(std::int64_t unix_s = some_day_s) {
    self_test("till-01");
    login("2");
    set_time(unix_s);
    logout("2");
  }
  void send_step(Command begin, Parameters parameters, std::string_view data) {
    parameters.insert(parameters.end(), {std::to_string(data.size()), "Kassenbeleg-V1", "0"});
    done(begin, std::move(parameters));
    for (Parameters& packet : dn::process_data_packets(Bytes(data.begin(), data.end()))) {
      done(Command::process_data, std::move(packet));
    }
  }
  dn::Signature start(std::string_view data = "") {
    send_step(Command::start, {}, data);
    return signature(done(Command::start_end));
  }
  dn::Signature step(Command begin, std::uint64_t transaction, std::string_view data) {
    send_step(begin, {std::to_string(transaction)}, data);
    return signature(done(begin == Command::update ? Command::update_end : Command::finish_end));
  }
  dn::Signature finish(std::uint64_t transaction,
                       std::string_view data = "Beleg^0.00_2.55_0.00_0.00_0.00^2.55:Bar") {
    return step(Command::finish, transaction, data);
  }
  static dn::Signature signature(const dn::Response& response) {
    auto parsed = dn::parse_signature(response);
    EXPECT_TRUE(parsed.ok());
    return parsed.ok() ? *std::move(parsed) : dn::Signature{};
  }
  evidence::ArchiveReport check_export() {
    const Bytes archive = fetch_binary(Command::export_all, {slot});
    EXPECT_FALSE(archive.empty()) << dn::text_of(error());
    return evidence::check_archive(archive);
  }

  std::unique_ptr<DieboldStick> stick;
  std::unique_ptr<DeviceDriver> driver;
  dn::ResponseParser parser;
  std::vector<std::string> reports;
  usb::TransferStatus last_status{};

 private:
  std::optional<usb::TransferId> read_;
  Bytes rest_;
  int last_id_ = 0;
};

}  // namespace tillbridge::simulator::tse
