// Every error that the stick can report, each by the way in which a till meets it.
#include <set>

#include "channel/bytes/limits.hpp"
#include "tests/unit/simulator/tse/diebold/diebold_host.hpp"

namespace tillbridge::simulator::tse {
namespace {

/// A machine whose disk gives up.
class FailingStore final : public Store {
 public:
  struct Switches {
    bool write_fails = false, read_fails = false;
  };
  explicit FailingStore(Switches& switches) : switches_(switches) {}
  [[nodiscard]] const std::optional<std::string>& state() const override { return good_->state(); }
  [[nodiscard]] std::uint64_t log_bytes() const override { return good_->log_bytes(); }
  [[nodiscard]] Status read_log(std::uint64_t offset, std::span<std::uint8_t> data) override {
    if (switches_.read_fails) return fail(ErrorCode::io, "cannot read");
    return good_->read_log(offset, data);
  }
  [[nodiscard]] Status commit(const std::string& state, ByteView appended) override {
    if (switches_.write_fails) return fail(ErrorCode::io, "cannot write");
    return good_->commit(state, appended);
  }
  [[nodiscard]] Status rewrite(const std::string& state, std::span<const LogRange> kept,
                               ByteView appended) override {
    return good_->rewrite(state, kept, appended);
  }

 private:
  Switches& switches_;
  std::unique_ptr<Store> good_ = make_memory_store();
};

Bytes raw(std::string_view text) {
  return {text.begin(), text.end()};
}

class DieboldErrors : public testing::Test {
 protected:
  void see(DeviceError expected, DeviceError seen) {
    EXPECT_EQ(seen, expected) << dn::text_of(expected) << ", not " << dn::text_of(seen);
    seen_.insert(seen);
  }
  std::set<DeviceError> seen_;
};

TEST_F(DieboldErrors, AreAllReachable) {
  {  // before anything was done
    DieboldHost host;
    see(DeviceError::unknown_command, host.error_of(static_cast<Command>(105)));
    host.write(raw("\x1B\x90" + std::string(limits::diebold_request_bytes, '1')));
    see(DeviceError::command_too_long, host.error());
    host.write(
        raw("\x1B\x90"
            "000\x1B\x9F"));
    see(DeviceError::bad_end, host.error());
    see(DeviceError::wrong_order, host.error_of(Command::start_end));
    see(DeviceError::parameter_count, host.error_of(Command::set_time));
    see(DeviceError::parameter_value, host.error_of(Command::set_time, {"now"}));
    see(DeviceError::card_missing, host.error_of(Command::slot_info, {"2"}));
    see(DeviceError::command_failed, host.error_of(Command::update_firmware));
    see(DeviceError::no_data, [&] {
      host.done(Command::country_info);  // a command that worked clears the error
      return host.error_of(Command::fetch_buffer, {"1", "0"});
    }());
    see(DeviceError::no_log, host.error_of(Command::export_last_log, {slot}));
    see(DeviceError::client_not_set, host.error_of(Command::register_client, {slot}));
    host.done(Command::set_client, {"till-01"});
    see(DeviceError::not_authenticated, host.error_of(Command::register_client, {slot}));
    see(DeviceError::unknown_user, host.error_of(Command::login, {slot, "9", "12345"}));
    host.login("2");
    see(DeviceError::not_authorised, host.error_of(Command::register_client, {slot}));
    host.login();
    see(DeviceError::self_test_required, host.error_of(Command::register_client, {slot}));
    see(DeviceError::description_given, host.error_of(Command::initialize, {slot, "mine"}));
    host.done(Command::start, {"0", "", "0"});
    see(DeviceError::not_initialized, host.error_of(Command::start_end));
  }
  {
    DieboldOptions options;
    options.description_by_manufacturer = false;
    DieboldHost host(options);
    see(DeviceError::description_missing, host.error_of(Command::initialize, {slot, ""}));
  }
  {
    DieboldOptions options;
    options.card = DieboldOptions::Card::unsupported;
    DieboldHost host(options);
    see(DeviceError::unsupported_card, host.error_of(Command::slot_info, {slot}));
  }
  {  // in daily life
    DieboldOptions options;
    options.core.most_open_transactions = 1;
    options.core.most_clients = 1;
    FailingStore::Switches switches;
    DieboldHost host(options, std::make_unique<FailingStore>(switches));
    host.set_up();
    host.done(Command::set_client, {"nobody"});
    host.done(Command::start, {"0", "", "0"});
    see(DeviceError::unknown_client, host.error_of(Command::start_end));
    host.done(Command::abandon);
    host.login();
    see(DeviceError::too_many_clients, host.error_of(Command::register_client, {slot}));
    host.done(Command::set_client, {"till-01"});
    host.start();
    see(DeviceError::client_has_open_transactions,
        host.error_of(Command::deregister_client, {slot}));
    const Bytes archive = host.fetch_binary(Command::export_all, {slot});
    see(DeviceError::open_transactions,
        host.error_of(Command::delete_exported, {slot, std::to_string(archive.size())}));
    host.done(Command::start, {"0", "", "0"});
    see(DeviceError::too_many_transactions, host.error_of(Command::start_end));
    host.done(Command::abandon);
    see(DeviceError::no_transaction, host.error_of(Command::update, {"9", "0", "", "0"}));

    switches.read_fails = true;
    see(DeviceError::log_not_read, host.error_of(Command::export_last_log, {slot}));
    switches = {true, false};
    see(DeviceError::system_log_failed, host.error_of(Command::logout, {slot, "1"}));
    host.done(Command::finish, {"1", "0", "", "0"});
    see(DeviceError::storage_failed, host.error_of(Command::finish_end));
    switches = {};
    host.done(Command::finish_end);  // it stayed open, and works now

    for (int receipt = 0; receipt < 30; ++receipt) host.finish(host.start().transaction);
    see(DeviceError::general, host.error_of(Command::export_all, {slot}));
    host.fault("after-command power-cycle code=112");
    EXPECT_FALSE(host.ask(Command::self_test, {slot}));
    see(DeviceError::power_failed, host.error());
    host.self_test("till-01");
    host.done(Command::start, {"0", "", "0"});
    see(DeviceError::time_not_set, host.error_of(Command::start_end));
    host.login();
    see(DeviceError::certificate_expired,
        host.error_of(Command::set_time,
                      {dn::time_text(host.stick->core().certificate_end() + 86400)}));
    host.done(Command::disable, {slot});
    EXPECT_EQ(host.status().state & dn::state_bit::fiscal_mode, 0);
    see(DeviceError::disabled, host.error_of(Command::set_time, {dn::time_text(some_day_s)}));
  }
  {
    DieboldOptions options;
    options.core.most_signatures = 5;
    DieboldHost host(options);
    host.set_up();
    const std::uint64_t used = host.stick->core().signature_counter();
    for (std::uint64_t i = used; i < 5; ++i) host.start();
    host.done(Command::start, {"0", "", "0"});
    see(DeviceError::signatures_used_up, host.error_of(Command::start_end));
  }
  // All that have a text, but "no error".
  std::set<DeviceError> all;
  for (std::uint16_t number = 1; number <= 0x0200; ++number) {
    const auto error = static_cast<DeviceError>(number);
    if (std::string_view(dn::text_of(error)) != "unknown error") all.insert(error);
  }
  EXPECT_EQ(all.size(), 34U);
  for (const DeviceError error : all) {
    EXPECT_TRUE(seen_.contains(error)) << dn::text_of(error);
  }
}

TEST_F(DieboldErrors, StayUntilACommandWorks) {
  DieboldHost host;
  EXPECT_EQ(host.error_of(Command::start_end), DeviceError::wrong_order);
  EXPECT_EQ(host.error(), DeviceError::wrong_order) << "asking does not clear it";
  host.done(Command::country_info);
  EXPECT_EQ(host.error(), DeviceError::none);
}

TEST_F(DieboldErrors, WhatIsAllowedDependsOnTheOrder) {
  DieboldHost host;
  host.set_up();
  host.done(Command::start, {"600", "", "0"});
  EXPECT_EQ(host.error_of(Command::start, {"0", "", "0"}), DeviceError::wrong_order);
  EXPECT_EQ(host.error_of(Command::start_end), DeviceError::wrong_order) << "data is missing";
  const auto packets = dn::process_data_packets(Bytes(600, 'x'));
  EXPECT_EQ(host.error_of(Command::process_data, packets[1]), DeviceError::wrong_order);
  host.done(Command::process_data, packets[0]);
  EXPECT_EQ(
      host.error_of(Command::process_data, {"1", dn::process_data_packets(Bytes(89, 'x'))[0][1]}),
      DeviceError::parameter_value)
      << "more than was announced";
  EXPECT_EQ(host.error_of(Command::process_data, {"1", "not base64"}),
            DeviceError::parameter_value);
  host.done(Command::process_data, packets[1]);
  EXPECT_EQ(host.error_of(Command::finish_end), DeviceError::wrong_order) << "it is a start";
  EXPECT_EQ(host.signature(host.done(Command::start_end)).transaction, 1U);
  EXPECT_EQ(host.error_of(Command::abandon), DeviceError::wrong_order);
  EXPECT_EQ(host.error_of(Command::start, {"65537", "", "0"}), DeviceError::parameter_value);
  EXPECT_EQ(host.error_of(Command::start, {"0", "", "1"}), DeviceError::parameter_value);
  EXPECT_EQ(host.error_of(Command::set_status_reports, {"2"}), DeviceError::parameter_value);
  EXPECT_EQ(host.error_of(Command::set_client, {""}), DeviceError::parameter_value);
  EXPECT_EQ(host.error_of(Command::slot_info, {"0"}), DeviceError::parameter_value);
}

}  // namespace
}  // namespace tillbridge::simulator::tse
