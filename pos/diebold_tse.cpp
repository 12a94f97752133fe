#include "pos/diebold_tse.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "channel/bytes/limits.hpp"
#include "pos/archives.hpp"
#include "tse/diebold/base64.hpp"

namespace tillbridge::pos {
namespace {

namespace dn = diebold;
using dn::Command;

constexpr const char* slot = "1";
/// A fresh stick knows this client only; its first self test needs one.
constexpr const char* production_client = "DN TSEProduction ef82abcedf";
/// Who asks when no till's name is at hand: some queries want a client to be set.
constexpr const char* asking_client = "tillbridge-pos";
/// A stick that just got power does not answer at once; one that was there before may come back.
constexpr Duration first_patience = std::chrono::seconds(15);
constexpr Duration return_patience = std::chrono::seconds(60);
constexpr Duration return_interval = std::chrono::milliseconds(500);
/// Between the last known signature and a later one whose fate is asked for.
constexpr std::int64_t look_back_s = 3600;

class DieboldTse final : public Tse {
 public:
  DieboldTse(DieboldLine line, Clock& clock, DieboldUsers users)
      : line_(std::move(line)), clock_(clock), users_(std::move(users)) {}

  [[nodiscard]] Family family() const override { return Family::diebold; }
  [[nodiscard]] std::string place() const override { return line_.place(); }

  [[nodiscard]] Deed connect() override {
    const Instant begun = clock_.now();
    const Duration patience = connected_before_ ? return_patience : first_patience;
    while (true) {
      Deed greeted = greet();
      if (greeted) {
        connected_before_ = true;
        return done();
      }
      const Trouble what = greeted.failure().what;
      const bool may_come = what == Trouble::asleep || (is_away(what) && connected_before_);
      if (!may_come || clock_.now() - begun >= patience) return greeted;
      clock_.wait(return_interval);
    }
  }

  [[nodiscard]] Outcome<TseStatus> status() override;
  [[nodiscard]] Deed set_up(const std::string& client, Access& access, const Told& told) override;
  [[nodiscard]] Deed make_ready(const std::string& client, Access& access,
                                const Told& told) override;

  [[nodiscard]] Outcome<Signature> start(const std::string& client, ByteView data,
                                         std::string_view type) override {
    return sign(Command::start, Command::start_end, 0, client, data, type);
  }
  [[nodiscard]] Outcome<Signature> finish(std::uint64_t transaction, const std::string& client,
                                          ByteView data, std::string_view type) override {
    return sign(Command::finish, Command::finish_end, transaction, client, data, type);
  }

  [[nodiscard]] Outcome<VerifyingKey> key() override;
  [[nodiscard]] Outcome<std::uint64_t> signature_counter() override {
    const Outcome<std::optional<evidence::LogMessage>> log = last_log();
    if (!log) return log.failure();
    return *log ? (*log)->counter : std::uint64_t{0};
  }
  [[nodiscard]] Outcome<std::vector<std::uint64_t>> open_transactions() override;
  [[nodiscard]] Outcome<std::vector<evidence::LogMessage>> logs_above(
      std::uint64_t counter) override;
  [[nodiscard]] Deed export_archive(const ArchiveSink& sink) override;

 private:
  [[nodiscard]] Deed greet();
  [[nodiscard]] Deed act(Command command, dn::Parameters parameters);
  [[nodiscard]] Deed be(const std::string& client);
  [[nodiscard]] Deed ask_as_somebody();
  [[nodiscard]] Outcome<dn::SlotInfo> slot_info();
  [[nodiscard]] Outcome<std::uint64_t> number(Command command);
  [[nodiscard]] Outcome<std::vector<Bytes>> binaries(Command command, dn::Parameters parameters);
  [[nodiscard]] Outcome<std::optional<evidence::LogMessage>> last_log();
  [[nodiscard]] Outcome<evidence::SerialNumber> serial();

  [[nodiscard]] const std::string& name_for_stick(User user) const {
    return user == User::admin ? users_.admin : users_.time_admin;
  }
  [[nodiscard]] Deed login(User user, Access& access, const std::string& purpose, Trouble missing);
  [[nodiscard]] Outcome<LoginResult> credentials_answer(Command command, dn::Parameters parameters);
  [[nodiscard]] Deed replace_transport_pins(Access& access, const Told& told);
  [[nodiscard]] Deed logout(User user);
  [[nodiscard]] Deed send_time();
  [[nodiscard]] Deed set_time(Access& access, const Told& told);
  [[nodiscard]] Deed self_test(const std::string& client, const Told& told);
  [[nodiscard]] Outcome<Signature> sign(Command begin, Command end, std::uint64_t transaction,
                                        const std::string& client, ByteView data,
                                        std::string_view type);
  [[nodiscard]] Deed send_step(Command begin, std::uint64_t transaction, ByteView data,
                               std::string_view type);

  DieboldLine line_;
  Clock& clock_;
  DieboldUsers users_;
  bool connected_before_ = false;
  std::string client_;  ///< that was set
  /// The stick has no way to say whether it has the time, but refuses to sign without.
  bool time_missing_ = false;
  std::optional<evidence::SerialNumber> serial_;
};

Deed DieboldTse::greet() {
  if (Deed opened = line_.open(); !opened) return opened;
  client_.clear();
  const Outcome<dn::DeviceStatus> status = line_.status();
  if (!status) return status.failure();
  if (Deed quiet = act(Command::set_status_reports, {"0"}); !quiet) return quiet;
  // Of a till that went away in the middle: nothing was signed yet, and nothing will be.
  if ((status->state & dn::state_bit::command_open) != 0) return act(Command::abandon, {});
  return done();
}

Deed DieboldTse::act(Command command, dn::Parameters parameters) {
  const Outcome<dn::Response> answer = line_.request(command, std::move(parameters));
  if (!answer) return answer.failure();
  return done();
}

Deed DieboldTse::be(const std::string& client) {
  if (client_ == client) return done();
  client_.clear();
  if (Deed set = act(Command::set_client, {client}); !set) return set;
  client_ = client;
  return done();
}

Deed DieboldTse::ask_as_somebody() {
  return client_.empty() ? be(asking_client) : done();
}

Outcome<dn::SlotInfo> DieboldTse::slot_info() {
  if (Deed somebody = ask_as_somebody(); !somebody) return somebody.failure();
  const Outcome<dn::Response> answer = line_.request(Command::slot_info, {slot});
  if (!answer) return answer.failure();
  Result<dn::SlotInfo> info = dn::parse_slot_info(*answer);
  if (!info) return trouble(Trouble::garbled, info.error().message);
  return std::move(*info);
}

Outcome<std::uint64_t> DieboldTse::number(Command command) {
  if (Deed somebody = ask_as_somebody(); !somebody) return somebody.failure();
  const Outcome<dn::Response> answer = line_.request(command);
  if (!answer) return answer.failure();
  const Result<std::uint64_t> value = dn::parse_single_number(*answer);
  if (!value) return trouble(Trouble::garbled, value.error().message);
  return *value;
}

Outcome<std::vector<Bytes>> DieboldTse::binaries(Command command, dn::Parameters parameters) {
  if (Deed somebody = ask_as_somebody(); !somebody) return somebody.failure();
  const Outcome<dn::Response> answer = line_.through_buffer(command, std::move(parameters));
  if (!answer) return answer.failure();
  Result<std::vector<Bytes>> values = dn::parse_binaries(*answer);
  if (!values) return trouble(Trouble::garbled, values.error().message);
  return std::move(*values);
}

Outcome<std::optional<evidence::LogMessage>> DieboldTse::last_log() {
  const Outcome<std::vector<Bytes>> values = binaries(Command::export_last_log, {slot});
  if (!values) {
    // A stick that never signed anything has none, and says so.
    const Outcome<dn::DeviceStatus> status = line_.status();
    if (status && status->error == dn::DeviceError::no_log)
      return std::optional<evidence::LogMessage>();
    return values.failure();
  }
  if (values->empty()) return std::optional<evidence::LogMessage>();
  Result<evidence::ParsedLog> log = evidence::parse_log(values->front());
  if (!log) return trouble(Trouble::garbled, log.error().message);
  return std::optional<evidence::LogMessage>(std::move(log->message));
}

Outcome<evidence::SerialNumber> DieboldTse::serial() {
  if (serial_) return *serial_;
  const Outcome<std::vector<Bytes>> values = binaries(Command::export_serials, {slot});
  if (!values) return values.failure();
  evidence::SerialNumber serial{};
  if (values->empty() || values->front().size() != serial.size())
    return trouble(Trouble::garbled, "the stick's serial number has not 32 bytes");
  std::copy(values->front().begin(), values->front().end(), serial.begin());
  serial_ = serial;
  return serial;
}

Outcome<TseStatus> DieboldTse::status() {
  TseStatus status;
  const Outcome<dn::SlotInfo> info = slot_info();
  if (!info) return info.failure();
  const bool initialized = (info->tse & dn::tse_bit::initialized) != 0;
  status.life_cycle = (info->tse & dn::tse_bit::disabled) != 0 ? LifeCycle::disabled
                      : initialized                            ? LifeCycle::active
                                                               : LifeCycle::not_initialized;
  status.certification_id = info->description;
  status.certificate_end_s = info->certificate_end_s;
  status.signatures_left = info->signatures_left;
  if (info->capacity != 0) {
    status.store_bytes = info->capacity;
    status.store_bytes_free = info->free;
  }
  const Outcome<dn::Response> firmware = line_.request(Command::firmware_info);
  if (firmware) {
    if (const Result<dn::FirmwareInfo> parsed = dn::parse_firmware_info(*firmware)) {
      status.firmware = std::to_string(parsed->major) + '.' + std::to_string(parsed->minor) + '.' +
                        std::to_string(parsed->build);
    }
  }
  std::optional<Failure> lost;
  const auto note = [&](const auto& answer, auto& place) {
    if (answer) {
      place = *answer;
    } else if (is_loss(answer.failure().what)) {
      lost = answer.failure();
    }
  };
  note(number(Command::seconds_to_self_test), status.seconds_to_self_test);
  if (status.seconds_to_self_test) status.self_test_passed = *status.seconds_to_self_test != 0;
  note(serial(), status.serial);
  if (initialized) {
    note(signature_counter(), status.signature_counter);
    note(open_transactions(), status.open_transactions);
    if (const Outcome<dn::Response> answer = line_.request(Command::client_count)) {
      if (const Result<dn::Count> count = dn::parse_count(*answer))
        status.client_count = count->current;
    }
    // Names are for the admin only, on some firmware: nobody is logged in for a look.
    if (Outcome<dn::Response> names = line_.through_buffer(Command::clients, {slot}))
      status.clients = std::move(names->parameters);
  }
  if (lost) return *lost;
  return status;
}

// --- set up and getting ready

Deed DieboldTse::login(User user, Access& access, const std::string& purpose, Trouble missing) {
  const Outcome<std::string> pin =
      access.secret(user == User::admin ? Secret::admin_pin : Secret::time_pin, purpose, missing);
  if (!pin) return pin.failure();
  const Outcome<evidence::SerialNumber> number = serial();
  if (!number) return number.failure();
  return access.login(hexadecimal(*number), user, std::nullopt, [&] {
    return credentials_answer(Command::login, {slot, name_for_stick(user), *pin});
  });
}

Outcome<LoginResult> DieboldTse::credentials_answer(Command command, dn::Parameters parameters) {
  const Outcome<dn::Response> answer = line_.request(command, std::move(parameters));
  if (!answer) return answer.failure();
  const Result<dn::LoginAnswer> login = dn::parse_login(*answer);
  if (!login) return trouble(Trouble::garbled, login.error().message);
  switch (login->result) {
    case dn::LoginResult::ok:
      return LoginResult{LoginResult::What::ok, std::nullopt};
    case dn::LoginResult::wrong:
      return LoginResult{
          LoginResult::What::wrong,
          static_cast<std::uint32_t>(std::min<std::uint64_t>(login->tries_left, 255))};
    case dn::LoginResult::blocked:
      break;
  }
  return LoginResult{LoginResult::What::blocked, 0};
}

/// A fresh stick's PINs are the same for both users; who has none to replace uses the stick's own.
Deed DieboldTse::replace_transport_pins(Access& access, const Told& told) {
  if (!access.has(Secret::transport_pin)) return done();
  const std::string purpose = "setting the stick's first PINs";
  const Outcome<std::string> old_pin = access.secret(Secret::transport_pin, purpose);
  if (!old_pin) return old_pin.failure();
  const Outcome<evidence::SerialNumber> number = serial();
  if (!number) return number.failure();
  for (const User user : {User::admin, User::time_admin}) {
    const Outcome<std::string> new_pin =
        access.secret(user == User::admin ? Secret::admin_pin : Secret::time_pin, purpose);
    if (!new_pin) return new_pin.failure();
    Deed changed = access.login(hexadecimal(*number), user, std::nullopt, [&] {
      return credentials_answer(Command::change_pin,
                                {slot, name_for_stick(user), *old_pin, *new_pin});
    });
    if (!changed) return changed;
  }
  told("PINs set");
  return done();
}

Deed DieboldTse::logout(User user) {
  return act(Command::logout, {slot, name_for_stick(user)});
}

Deed DieboldTse::send_time() {
  Deed set = act(Command::set_time, {dn::time_text(static_cast<std::int64_t>(clock_.unix_s()))});
  if (set) time_missing_ = false;
  return set;
}

Deed DieboldTse::set_time(Access& access, const Told& told) {
  const bool as_time_admin = access.has(Secret::time_pin) || !access.has(Secret::admin_pin);
  const User user = as_time_admin ? User::time_admin : User::admin;
  if (Deed in = login(user, access, "setting the stick's time", Trouble::no_time); !in) return in;
  Deed set = send_time();
  Deed out = logout(user);
  if (!set) return set;
  if (!out) return out;
  told("time set");
  return done();
}

Deed DieboldTse::self_test(const std::string& client, const Told& told) {
  const auto run = [&](const std::string& as) -> Outcome<dn::SelfTestResult> {
    if (Deed set = be(as); !set) return set.failure();
    const Outcome<dn::Response> answer = line_.request(Command::self_test, {slot});
    if (!answer) return answer.failure();
    const Result<dn::SelfTestResult> result = dn::parse_self_test(*answer);
    if (!result) return trouble(Trouble::garbled, result.error().message);
    return *result;
  };
  told("self test runs; it may take a minute");
  Outcome<dn::SelfTestResult> result = run(client);
  if (result && *result == dn::SelfTestResult::unknown_client) result = run(production_client);
  if (!result) return result.failure();
  if (*result != dn::SelfTestResult::passed) {
    return trouble(Trouble::self_test,
                   "the stick's self test failed. Unplug it, wait a minute and try again; if it "
                   "keeps failing the stick is broken");
  }
  told("self test passed");
  return done();
}

Deed DieboldTse::set_up(const std::string& client, Access& access, const Told& told) {
  const Outcome<dn::SlotInfo> info = slot_info();
  if (!info) return info.failure();
  if ((info->tse & dn::tse_bit::disabled) != 0)
    return trouble(Trouble::disabled, "the stick was put out of service for good");
  const bool initialized = (info->tse & dn::tse_bit::initialized) != 0;
  const Outcome<std::uint64_t> seconds = number(Command::seconds_to_self_test);
  if (!seconds) return seconds.failure();
  if (*seconds == 0) {
    if (Deed tested = self_test(client, told); !tested) return tested;
  }
  if (initialized) {
    const Outcome<dn::Response> names = line_.through_buffer(Command::clients, {slot});
    if (!names && is_loss(names.failure().what)) return names.failure();
    if (names && std::find(names->parameters.begin(), names->parameters.end(), client) !=
                     names->parameters.end()) {
      return done();
    }
  }
  if (Deed set = be(client); !set) return set;
  if (!initialized) {
    if (Deed pins = replace_transport_pins(access, told); !pins) return pins;
  }
  if (Deed in = login(User::admin, access, "setting the stick up", Trouble::usage); !in) return in;
  const auto steps = [&]() -> Deed {
    if (initialized) {
      if (Deed time = send_time(); !time) return time;
    }
    if (Deed registered = act(Command::register_client, {slot}); !registered) return registered;
    told("client " + client + " registered");
    if (initialized) return done();
    if (Deed done_so = act(Command::initialize, {slot, ""}); !done_so) return done_so;
    told("initialised");
    if (Deed time = send_time(); !time) return time;
    told("time set");
    return done();
  };
  Deed result = steps();
  Deed out = logout(User::admin);
  if (!result) return result;
  return out;
}

Deed DieboldTse::make_ready(const std::string& client, Access& access, const Told& told) {
  const Outcome<dn::DeviceStatus> status = line_.status();
  if (!status) return status.failure();
  if ((status->state & dn::state_bit::fiscal_mode) == 0) {
    const Outcome<dn::SlotInfo> info = slot_info();
    if (!info) return info.failure();
    if ((info->tse & dn::tse_bit::disabled) != 0)
      return trouble(Trouble::disabled, "the stick was put out of service for good");
    return trouble(Trouble::not_set_up, "the stick is not set up yet: run setup first");
  }
  const Outcome<std::uint64_t> seconds = number(Command::seconds_to_self_test);
  if (!seconds) return seconds.failure();
  if (*seconds == 0) {
    if (Deed tested = self_test(client, told); !tested) return tested;
    time_missing_ = true;  // it had no power, or it was a day ago
  }
  if (time_missing_) return set_time(access, told);
  return done();
}

// --- transactions

Deed DieboldTse::send_step(Command begin, std::uint64_t transaction, ByteView data,
                           std::string_view type) {
  dn::Parameters parameters;
  if (begin != Command::start) parameters.push_back(std::to_string(transaction));
  parameters.push_back(std::to_string(data.size()));
  parameters.emplace_back(type);
  parameters.emplace_back("0");  // of additional data
  if (Deed begun = act(begin, std::move(parameters)); !begun) return begun;
  for (dn::Parameters& packet : dn::process_data_packets(data)) {
    if (Deed sent = act(Command::process_data, std::move(packet)); !sent) return sent;
  }
  return done();
}

Outcome<Signature> DieboldTse::sign(Command begin, Command end, std::uint64_t transaction,
                                    const std::string& client, ByteView data,
                                    std::string_view type) {
  const auto attempt = [&]() -> Outcome<Signature> {
    if (Deed set = be(client); !set) return set.failure();
    if (Deed sent = send_step(begin, transaction, data, type); !sent) return sent.failure();
    const Outcome<dn::Response> answer = line_.request(end);
    if (!answer) return answer.failure();
    const Result<dn::Signature> made = dn::parse_signature(*answer);
    // The stick signed, whatever it then said: the log has to tell.
    if (!made) return trouble(Trouble::garbled, made.error().message);
    return Signature{begin == Command::start ? made->transaction : transaction, made->counter,
                     static_cast<std::uint64_t>(made->time_s), made->signature};
  };
  Outcome<Signature> result = attempt();
  if (result || is_loss(result.failure().what)) return result;
  if (result.failure().what == Trouble::no_time) time_missing_ = true;
  // A refused step may still be open, and would be in the way of the next one.
  const Outcome<dn::DeviceStatus> status = line_.status();
  if (status && (status->state & dn::state_bit::command_open) != 0) {
    if (Deed abandoned = act(Command::abandon, {}); !abandoned) return abandoned.failure();
  }
  return result;
}

Outcome<VerifyingKey> DieboldTse::key() {
  const Outcome<std::vector<Bytes>> values = binaries(Command::export_public_key, {slot});
  if (!values) return values.failure();
  const Outcome<evidence::SerialNumber> number = serial();
  if (!number) return number.failure();
  VerifyingKey key;
  for (const Bytes& value : *values) {
    if (key.point.empty()) key.point = point_of_serial(value, *number);
  }
  if (key.point.empty())
    return trouble(Trouble::failed, "the stick's public key does not fit its serial number");
  const Outcome<std::optional<evidence::LogMessage>> log = last_log();
  if (!log) return log.failure();
  if (*log) {
    key.hash = (*log)->hash;
    key.time_format = (*log)->time_format;
  }
  return key;
}

Outcome<std::vector<std::uint64_t>> DieboldTse::open_transactions() {
  if (Deed somebody = ask_as_somebody(); !somebody) return somebody.failure();
  const Outcome<dn::Response> answer = line_.through_buffer(Command::open_transactions);
  if (!answer) return answer.failure();
  Result<std::vector<std::uint64_t>> numbers = dn::parse_numbers(*answer);
  if (!numbers) return trouble(Trouble::garbled, numbers.error().message);
  return std::move(*numbers);
}

// --- logs

Outcome<std::vector<evidence::LogMessage>> DieboldTse::logs_above(std::uint64_t counter) {
  using Logs = std::vector<evidence::LogMessage>;
  const Outcome<std::optional<evidence::LogMessage>> last = last_log();
  if (!last) return last.failure();
  if (!*last || (*last)->counter <= counter) return Logs();
  const evidence::LogMessage& log = **last;
  const bool of_transaction = std::holds_alternative<evidence::TransactionLog>(log.content);
  if (log.counter == counter + 1) return of_transaction ? Logs{log} : Logs();
  const auto time = static_cast<std::int64_t>(log.time_s);
  const Outcome<std::vector<Bytes>> values = binaries(
      Command::export_period, {slot, dn::time_text(time - look_back_s), dn::time_text(time), ""});
  if (!values) return values.failure();
  if (values->empty()) return trouble(Trouble::garbled, "the stick's export is empty");
  Outcome<Logs> logs = transaction_logs(values->front());
  if (!logs) return logs;
  logs->erase(
      std::remove_if(logs->begin(), logs->end(),
                     [&](const evidence::LogMessage& one) { return one.counter <= counter; }),
      logs->end());
  return logs;
}

Deed DieboldTse::export_archive(const ArchiveSink& sink) {
  Outcome<std::vector<Bytes>> values = binaries(Command::export_all, {slot});
  // As real clients do: an export that is left open gets into the way of later ones.
  Deed reset = act(Command::reset_export, {slot});
  if (!values) return values.failure();
  if (!reset && is_loss(reset.failure().what)) return reset;
  if (values->empty()) return trouble(Trouble::garbled, "the stick's export is empty");
  if (Status taken = sink(values->front()); !taken) return from_io(taken.error());
  return done();
}

}  // namespace

std::unique_ptr<Tse> make_diebold_tse(OpenLine open, std::string place, Clock& clock,
                                      DieboldUsers users, Duration patience) {
  return std::make_unique<DieboldTse>(
      DieboldLine(std::move(open), std::move(place), clock, patience), clock, std::move(users));
}

}  // namespace tillbridge::pos
