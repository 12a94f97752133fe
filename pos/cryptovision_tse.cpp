#include "pos/cryptovision_tse.hpp"

#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "pos/archives.hpp"
#include "pos/cryptovision_card.hpp"
#include "tse/cryptovision/der_lists.hpp"

namespace tillbridge::pos {
namespace {

namespace cv = cryptovision;
using cv::CommandCode;
using cv::Parameter;
using cv::Parameters;

constexpr std::size_t pin_bytes = 8, puk_bytes = 10;
/// A card behind a reader without enough current needs several attempts to start.
constexpr Duration start_patience = std::chrono::seconds(60);
constexpr Duration start_interval = std::chrono::milliseconds(500);
/// An export that the card was silent about must be left alone for this long before it is asked
/// again.
constexpr Duration export_silence = std::chrono::seconds(65);
constexpr std::uint32_t export_records = 10'000;

Failure unexpected(CommandCode code) {
  return trouble(Trouble::garbled, std::string("the stick's answer to ") + cv::name_of(code) +
                                       " is not what its protocol says");
}

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

const char* user_id(User user) {
  return user == User::admin ? "Admin" : "TimeAdmin";
}

class CryptovisionTse final : public Tse {
 public:
  CryptovisionTse(std::unique_ptr<StickVolume> volume, OpenStyle style, Clock& clock)
      : card_(std::move(volume), style, clock), clock_(clock) {}

  [[nodiscard]] Family family() const override { return Family::cryptovision; }
  [[nodiscard]] std::string place() const override { return card_.place(); }

  [[nodiscard]] Deed connect() override {
    const Instant begun = clock_.now();
    while (true) {
      Deed started = start_card();
      if (started) return done();
      const Trouble what = started.failure().what;
      // A stick that was there before may be on its way back; one that never was is not waited for.
      const bool may_come = what == Trouble::asleep || (is_away(what) && connected_before_);
      if (!may_come || clock_.now() - begun >= start_patience) return started;
      clock_.wait(start_interval);
    }
  }

  [[nodiscard]] Outcome<TseStatus> status() override;
  [[nodiscard]] Deed set_up(const std::string& client, Access& access, const Told& told) override;
  [[nodiscard]] Deed make_ready(const std::string& client, Access& access,
                                const Told& told) override;

  [[nodiscard]] Outcome<Signature> start(const std::string& client, ByteView data,
                                         std::string_view type) override {
    return sign(CommandCode::start_transaction, 0,
                {Parameter::text(client), Parameter::bytes(data), Parameter::text(type),
                 Parameter::bytes({})});
  }

  [[nodiscard]] Outcome<Signature> finish(std::uint64_t transaction, const std::string& client,
                                          ByteView data, std::string_view type) override {
    return sign(CommandCode::finish_transaction, transaction,
                {Parameter::big_endian(transaction, 4), Parameter::text(client),
                 Parameter::bytes(data), Parameter::text(type), Parameter::bytes({})});
  }

  [[nodiscard]] Outcome<VerifyingKey> key() override;
  [[nodiscard]] Outcome<std::uint64_t> signature_counter() override {
    return key_number(cv::KeyItem::signature_counter);
  }
  [[nodiscard]] Outcome<std::vector<std::uint64_t>> open_transactions() override;
  [[nodiscard]] Outcome<std::vector<evidence::LogMessage>> logs_above(
      std::uint64_t counter) override;
  [[nodiscard]] Deed export_archive(const ArchiveSink& sink) override;

 private:
  [[nodiscard]] Deed start_card();
  [[nodiscard]] Outcome<Signature> sign(CommandCode code, std::uint64_t transaction,
                                        const Parameters& parameters);
  /// A query. One that finds the card asleep wakes it and asks once more.
  [[nodiscard]] Outcome<Parameters> ask(CommandCode code, const Parameters& parameters = {});
  [[nodiscard]] Outcome<std::uint64_t> ask_number(CommandCode code, const Parameters& parameters);
  [[nodiscard]] Outcome<std::uint64_t> status_number(cv::StatusItem item) {
    return ask_number(CommandCode::get_status,
                      {Parameter::number(static_cast<std::uint16_t>(item))});
  }
  [[nodiscard]] Outcome<std::uint64_t> key_number(cv::KeyItem item);
  [[nodiscard]] Outcome<Bytes> ask_bytes(CommandCode code, const Parameters& parameters = {});
  [[nodiscard]] Outcome<cv::LifeCycle> life_cycle();
  [[nodiscard]] Outcome<evidence::SerialNumber> serial();
  [[nodiscard]] Outcome<std::vector<std::string>> clients();
  [[nodiscard]] Deed change(CommandCode code, const Parameters& parameters);

  [[nodiscard]] Deed set_pins(Access& access, const Told& told);
  [[nodiscard]] Deed set_pins_one_by_one(const std::string& admin_puk, const std::string& admin_pin,
                                         const std::string& time_puk, const std::string& time_pin);
  [[nodiscard]] Deed login(User user, Access& access, const std::string& purpose, Trouble missing);
  [[nodiscard]] Deed set_time(Access& access, const Told& told);
  [[nodiscard]] Deed export_in_steps(const ArchiveSink& sink);

  CryptovisionCard card_;
  Clock& clock_;
  bool connected_before_ = false;
  std::string firmware_, unique_id_;
  std::optional<evidence::SerialNumber> serial_;
};

Deed CryptovisionTse::start_card() {
  if (Deed opened = card_.open(); !opened) return opened;
  const Outcome<Parameters> answer = card_.command(CommandCode::start);
  if (!answer) return answer.failure();
  cv::ParameterReader reader(*answer);
  firmware_ = reader.text();
  unique_id_ = hexadecimal(reader.bytes());
  if (!reader.ok()) return unexpected(CommandCode::start);
  connected_before_ = true;
  return done();
}

Outcome<Parameters> CryptovisionTse::ask(CommandCode code, const Parameters& parameters) {
  Outcome<Parameters> answer = card_.command(code, parameters);
  if (answer || answer.failure().what != Trouble::asleep) return answer;
  if (Deed awake = connect(); !awake) return awake.failure();
  return card_.command(code, parameters);
}

Outcome<std::uint64_t> CryptovisionTse::ask_number(CommandCode code, const Parameters& parameters) {
  const Outcome<Parameters> answer = ask(code, parameters);
  if (!answer) return answer.failure();
  cv::ParameterReader reader(*answer);
  std::uint64_t number = 0;
  if (reader.next_type() == Parameter::Type::byte) {
    number = reader.byte();
  } else {
    number = reader.big_endian();
  }
  if (!reader.ok()) return unexpected(code);
  return number;
}

Outcome<Bytes> CryptovisionTse::ask_bytes(CommandCode code, const Parameters& parameters) {
  const Outcome<Parameters> answer = ask(code, parameters);
  if (!answer) return answer.failure();
  cv::ParameterReader reader(*answer);
  Bytes bytes = reader.bytes();
  if (!reader.ok()) return unexpected(code);
  return bytes;
}

Outcome<std::uint64_t> CryptovisionTse::key_number(cv::KeyItem item) {
  const Outcome<evidence::SerialNumber> key = serial();
  if (!key) return key.failure();
  return ask_number(CommandCode::get_key_data,
                    {Parameter::number(static_cast<std::uint16_t>(item)), Parameter::bytes(*key)});
}

Outcome<cv::LifeCycle> CryptovisionTse::life_cycle() {
  const Outcome<std::uint64_t> number = status_number(cv::StatusItem::life_cycle);
  if (!number) return number.failure();
  if (*number < 1 || *number > 5) return unexpected(CommandCode::get_status);
  return static_cast<cv::LifeCycle>(*number);
}

Outcome<evidence::SerialNumber> CryptovisionTse::serial() {
  if (serial_) return *serial_;
  const Outcome<Bytes> der = ask_bytes(CommandCode::get_serial_numbers);
  if (!der) return der.failure();
  const Result<std::vector<cv::KeyUse>> keys = cv::parse_key_uses(*der);
  if (!keys) return trouble(Trouble::failed, keys.error().message);
  const auto key = std::find_if(keys->begin(), keys->end(),
                                [](const cv::KeyUse& use) { return use.transaction_logs; });
  if (key == keys->end())
    return trouble(Trouble::failed, "the stick has no key that signs transactions");
  serial_ = key->serial;
  return *serial_;
}

Outcome<std::vector<std::string>> CryptovisionTse::clients() {
  const Outcome<Bytes> der = ask_bytes(CommandCode::get_ers_mappings);
  if (!der) return der.failure();
  const Result<std::vector<cv::ClientMapping>> mappings = cv::parse_client_mappings(*der);
  if (!mappings) return trouble(Trouble::failed, mappings.error().message);
  std::vector<std::string> names;
  for (const cv::ClientMapping& mapping : *mappings) names.push_back(mapping.client);
  return names;
}

Outcome<TseStatus> CryptovisionTse::status() {
  TseStatus status;
  status.firmware = firmware_;
  const Outcome<cv::LifeCycle> state = life_cycle();
  if (!state) return state.failure();
  switch (*state) {
    case cv::LifeCycle::not_initialized:
      status.life_cycle = LifeCycle::not_initialized;
      break;
    case cv::LifeCycle::no_time:
    case cv::LifeCycle::active:
      status.life_cycle = LifeCycle::active;
      status.has_time = *state == cv::LifeCycle::active;
      break;
    case cv::LifeCycle::deactivated:
      status.life_cycle = LifeCycle::deactivated;
      break;
    case cv::LifeCycle::disabled:
      status.life_cycle = LifeCycle::disabled;
      break;
  }
  // A stick that is not set up refuses some of these: then there is nothing to say.
  std::optional<Failure> lost;
  const auto note = [&](const auto& answer, auto& place) {
    if (answer) {
      place = *answer;
    } else if (is_loss(answer.failure().what)) {
      lost = answer.failure();
    }
  };
  note(serial(), status.serial);
  if (const Outcome<Parameters> answer =
          ask(CommandCode::get_config_data,
              {Parameter::number(static_cast<std::uint16_t>(cv::ConfigItem::certification_id))})) {
    status.certification_id = cv::ParameterReader(*answer).text();
  }
  note(status_number(cv::StatusItem::log_memory_bytes), status.store_bytes);
  note(status_number(cv::StatusItem::free_log_memory_bytes), status.store_bytes_free);
  note(status_number(cv::StatusItem::transaction_counter), status.transaction_counter);
  note(key_number(cv::KeyItem::signature_counter), status.signature_counter);
  note(key_number(cv::KeyItem::certificate_expiry), status.certificate_end_s);
  // It names the first second after the certificate's end.
  if (status.certificate_end_s) --*status.certificate_end_s;
  note(clients(), status.clients);
  note(open_transactions(), status.open_transactions);
  if (lost) return *lost;
  if (status.clients) status.client_count = status.clients->size();
  return status;
}

// --- set up and getting ready

Deed CryptovisionTse::change(CommandCode code, const Parameters& parameters) {
  const Outcome<Parameters> answer = card_.command(code, parameters);
  if (!answer) return answer.failure();
  return done();
}

Deed CryptovisionTse::login(User user, Access& access, const std::string& purpose,
                            Trouble missing) {
  const Outcome<std::string> pin =
      access.secret(user == User::admin ? Secret::admin_pin : Secret::time_pin, purpose, missing);
  if (!pin) return pin.failure();
  if (pin->size() != pin_bytes) {
    return trouble(Trouble::usage, std::string("a PIN of a cryptovision stick has 8 characters; "
                                               "the one given for the ") +
                                       name_of(user) + " has not, so it was not tried");
  }
  return access.login(unique_id_, user, std::nullopt, [&]() -> Outcome<LoginResult> {
    const Outcome<Parameters> answer =
        card_.command(CommandCode::authenticate_user,
                      {Parameter::text(user_id(user)), Parameter::bytes(bytes_of(*pin))});
    if (!answer) return answer.failure();
    cv::ParameterReader reader(*answer);
    const auto outcome = static_cast<cv::LoginOutcome>(reader.byte());
    const std::uint16_t tries_left = reader.number();
    if (!reader.ok()) return unexpected(CommandCode::authenticate_user);
    switch (outcome) {
      case cv::LoginOutcome::ok:
        return LoginResult{LoginResult::What::ok, std::nullopt};
      case cv::LoginOutcome::failed:
        return LoginResult{LoginResult::What::wrong, tries_left};
      case cv::LoginOutcome::blocked:
        return LoginResult{LoginResult::What::blocked, 0};
      case cv::LoginOutcome::unknown_user:
      case cv::LoginOutcome::error:
        break;
    }
    return trouble(Trouble::failed,
                   "the stick could not log the user in (not a matter of the PIN)");
  });
}

Deed CryptovisionTse::set_pins(Access& access, const Told& told) {
  const Outcome<Parameters> answer = ask(CommandCode::get_pin_states);
  if (!answer) return answer.failure();
  const Result<cv::PinStates> states = cv::parse_pin_states(*answer);
  if (!states) return unexpected(CommandCode::get_pin_states);
  if (!states->admin_pin && !states->admin_puk && !states->time_admin_pin &&
      !states->time_admin_puk) {
    return done();
  }
  const std::string purpose = "setting the stick's first PINs";
  std::vector<std::string> values;
  for (const Secret secret :
       {Secret::admin_puk, Secret::admin_pin, Secret::time_puk, Secret::time_pin}) {
    Outcome<std::string> value = access.secret(secret, purpose);
    if (!value) return value.failure();
    const bool is_pin = secret == Secret::admin_pin || secret == Secret::time_pin;
    if (value->size() != (is_pin ? pin_bytes : puk_bytes)) {
      return trouble(Trouble::usage, std::string("a cryptovision stick wants PINs of 8 and PUKs of "
                                                 "10 characters; the ") +
                                         name_of(secret) + " given has another length");
    }
    values.push_back(std::move(*value));
  }
  Parameters all;
  for (const std::string& value : values) all.push_back(Parameter::bytes(bytes_of(value)));
  Deed set = change(CommandCode::initialize_pins, all);
  // Newer firmware takes one user at a time and says that these parameters do not match.
  if (!set && set.failure().what == Trouble::failed)
    set = set_pins_one_by_one(values[0], values[1], values[2], values[3]);
  if (!set) return set;
  told("PINs and PUKs set");
  return done();
}

Deed CryptovisionTse::set_pins_one_by_one(const std::string& admin_puk,
                                          const std::string& admin_pin, const std::string& time_puk,
                                          const std::string& time_pin) {
  for (const User user : {User::admin, User::time_admin}) {
    const Bytes puk = bytes_of(user == User::admin ? admin_puk : time_puk);
    const Bytes pin = bytes_of(user == User::admin ? admin_pin : time_pin);
    Deed step = change(CommandCode::initialize_pins,
                       {Parameter::text(user_id(user)), Parameter::bytes(puk)});
    if (!step) return step;
    const Outcome<Parameters> answer = card_.command(
        CommandCode::unblock_user,
        {Parameter::text(user_id(user)), Parameter::bytes(puk), Parameter::bytes(pin)});
    if (!answer) return answer.failure();
    cv::ParameterReader reader(*answer);
    if (reader.byte() != 0 || !reader.ok())
      return trouble(Trouble::failed,
                     std::string("the stick did not take the PIN of the ") + name_of(user));
  }
  return done();
}

Deed CryptovisionTse::set_time(Access& access, const Told& told) {
  const bool as_time_admin = access.has(Secret::time_pin) || !access.has(Secret::admin_pin);
  const User user = as_time_admin ? User::time_admin : User::admin;
  if (Deed in = login(user, access, "setting the stick's time", Trouble::no_time); !in) return in;
  Deed set = change(CommandCode::update_time, {Parameter::big_endian(clock_.unix_s(), 4)});
  Deed out = change(CommandCode::logout, {Parameter::text(user_id(user))});
  if (!set) return set;
  if (!out) return out;
  told("time set");
  return done();
}

Deed CryptovisionTse::set_up(const std::string& client, Access& access, const Told& told) {
  if (Deed pins = set_pins(access, told); !pins) return pins;
  Outcome<cv::LifeCycle> state = life_cycle();
  if (!state) return state.failure();
  if (*state == cv::LifeCycle::deactivated || *state == cv::LifeCycle::disabled)
    return trouble(Trouble::disabled, "the stick is deactivated or was put out of service");
  const std::string purpose = "setting the stick up";
  bool logged_in = false;
  const auto as_admin = [&]() -> Deed {
    if (logged_in) return done();
    Deed in = login(User::admin, access, purpose, Trouble::usage);
    logged_in = in.ok();
    return in;
  };

  if (*state == cv::LifeCycle::not_initialized) {
    if (Deed in = as_admin(); !in) return in;
    if (Deed initialized = change(CommandCode::initialize, {}); !initialized) return initialized;
    told("initialised");
    state = life_cycle();
    if (!state) return state.failure();
  }
  if (*state == cv::LifeCycle::no_time) {
    if (Deed set = set_time(access, told); !set) return set;
    logged_in = false;
  }
  const Outcome<std::vector<std::string>> registered = clients();
  if (!registered) return registered.failure();
  if (std::find(registered->begin(), registered->end(), client) == registered->end()) {
    const Outcome<evidence::SerialNumber> key = serial();
    if (!key) return key.failure();
    if (Deed in = as_admin(); !in) return in;
    if (Deed mapped =
            change(CommandCode::map_ers_to_key, {Parameter::text(client), Parameter::bytes(*key)});
        !mapped) {
      return mapped;
    }
    told("client " + client + " registered");
  }
  if (logged_in) return change(CommandCode::logout, {Parameter::text(user_id(User::admin))});
  return done();
}

Deed CryptovisionTse::make_ready(const std::string& /*client*/, Access& access, const Told& told) {
  const Outcome<cv::LifeCycle> state = life_cycle();
  if (!state) return state.failure();
  switch (*state) {
    case cv::LifeCycle::active:
      return done();
    case cv::LifeCycle::no_time:
      return set_time(access, told);
    case cv::LifeCycle::not_initialized:
      return trouble(Trouble::not_set_up, "the stick is not set up yet: run setup first");
    case cv::LifeCycle::deactivated:
    case cv::LifeCycle::disabled:
      break;
  }
  return trouble(Trouble::disabled, "the stick is deactivated or was put out of service");
}

// --- transactions

Outcome<Signature> CryptovisionTse::sign(CommandCode code, std::uint64_t transaction,
                                         const Parameters& parameters) {
  const Outcome<Parameters> answer = card_.command(code, parameters);
  if (!answer) return answer.failure();
  const Result<cv::SignedAnswer> made =
      cv::parse_signed_answer(*answer, code == CommandCode::start_transaction);
  // The stick signed, whatever it then said: the log has to tell.
  if (!made) return trouble(Trouble::garbled, made.error().message);
  return Signature{made->transaction.value_or(static_cast<std::uint32_t>(transaction)),
                   made->counter, made->time_s, made->signature};
}

Outcome<VerifyingKey> CryptovisionTse::key() {
  const Outcome<evidence::SerialNumber> number = serial();
  if (!number) return number.failure();
  const Outcome<Bytes> content =
      ask_bytes(CommandCode::get_key_data,
                {Parameter::number(static_cast<std::uint16_t>(cv::KeyItem::public_key)),
                 Parameter::bytes(*number)});
  if (!content) return content.failure();
  VerifyingKey key;
  // Old firmware wraps the point in other bytes: it is what the serial number is the hash of.
  key.point = point_of_serial(*content, *number);
  if (key.point.empty())
    return trouble(Trouble::failed, "the stick's public key does not fit its serial number");

  const auto configuration = [](cv::ConfigItem item) {
    return Parameters{Parameter::number(static_cast<std::uint16_t>(item))};
  };
  const Outcome<Bytes> algorithm =
      ask_bytes(CommandCode::get_config_data, configuration(cv::ConfigItem::signature_algorithm));
  if (!algorithm) return algorithm.failure();
  const Result<evidence::Hash> hash = cv::parse_signature_algorithm(*algorithm);
  if (!hash) return trouble(Trouble::failed, hash.error().message);
  key.hash = *hash;

  const Outcome<std::uint64_t> format =
      ask_number(CommandCode::get_config_data, configuration(cv::ConfigItem::time_format));
  if (!format) return format.failure();
  // The variants of TR-03151's SE API: 0 none, 1 UTC time, 2 generalized time, 3 Unix time.
  key.time_format = *format == 1   ? evidence::TimeFormat::utc_time
                    : *format == 2 ? evidence::TimeFormat::generalized_time
                                   : evidence::TimeFormat::unix_time;
  return key;
}

Outcome<std::vector<std::uint64_t>> CryptovisionTse::open_transactions() {
  const Outcome<Parameters> answer =
      ask(CommandCode::get_status,
          {Parameter::number(static_cast<std::uint16_t>(cv::StatusItem::open_transactions))});
  if (!answer) return answer.failure();
  cv::ParameterReader reader(*answer);
  if (!reader.next_type()) return std::vector<std::uint64_t>();
  const std::vector<std::uint32_t> numbers = reader.numbers();
  if (!reader.ok()) return unexpected(CommandCode::get_status);
  return std::vector<std::uint64_t>(numbers.begin(), numbers.end());
}

// --- logs

Outcome<std::vector<evidence::LogMessage>> CryptovisionTse::logs_above(std::uint64_t counter) {
  const Outcome<evidence::SerialNumber> key = serial();
  if (!key) return key.failure();
  const Outcome<std::uint64_t> last = signature_counter();
  if (!last) return last.failure();
  if (*last <= counter) return std::vector<evidence::LogMessage>();
  Bytes archive;
  Deed exported = card_.bulk(CommandCode::export_more_data,
                             {Parameter::bytes(*key), Parameter::big_endian(counter, 4),
                              Parameter::big_endian(limits::pos_recent_logs, 4)},
                             [&](ByteView piece) -> Status {
                               if (archive.size() + piece.size() > limits::tse_archive_bytes)
                                 return fail(ErrorCode::limit, "the stick's archive is too large");
                               archive.insert(archive.end(), piece.begin(), piece.end());
                               return {};
                             });
  if (!exported) return exported.failure();
  return transaction_logs(archive);
}

Deed CryptovisionTse::export_archive(const ArchiveSink& sink) {
  bool begun = false;
  const Instant asked = clock_.now();
  Deed exported =
      card_.bulk(CommandCode::export_data, parameters_of(cv::ExportRequest{}), [&](ByteView piece) {
        begun = true;
        return sink(piece);
      });
  if (exported || begun || exported.failure().what != Trouble::asleep) return exported;
  // A large store: the card is silent for longer than a client may wait. It wants to be left alone,
  // and then gives its logs in steps.
  const Instant ready = asked + export_silence;
  if (clock_.now() < ready) clock_.wait(ready - clock_.now());
  if (Deed awake = connect(); !awake) return awake;
  return export_in_steps(sink);
}

Deed CryptovisionTse::export_in_steps(const ArchiveSink& sink) {
  const Outcome<evidence::SerialNumber> key = serial();
  if (!key) return key.failure();
  const Outcome<std::uint64_t> last = signature_counter();
  if (!last) return last.failure();
  ArchiveJoiner joiner(sink);
  while (joiner.last_counter() < *last) {
    const std::uint64_t before = joiner.last_counter();
    Bytes archive;
    Deed exported =
        card_.bulk(CommandCode::export_more_data,
                   {Parameter::bytes(*key), Parameter::big_endian(before, 4),
                    Parameter::big_endian(export_records, 4)},
                   [&](ByteView piece) -> Status {
                     if (archive.size() + piece.size() > limits::tse_archive_bytes)
                       return fail(ErrorCode::limit, "the stick's archive is too large");
                     archive.insert(archive.end(), piece.begin(), piece.end());
                     return {};
                   });
    if (!exported) return exported;
    if (Status joined = joiner.add(archive); !joined) return from_io(joined.error());
    if (joiner.last_counter() == before) break;
  }
  return done();
}

}  // namespace

std::unique_ptr<Tse> make_cryptovision_tse(std::unique_ptr<StickVolume> volume, OpenStyle style,
                                           Clock& clock) {
  return std::make_unique<CryptovisionTse>(std::move(volume), style, clock);
}

}  // namespace tillbridge::pos
