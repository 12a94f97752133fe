// The commands of the cryptovision card, one by one.

#include <algorithm>
#include <optional>
#include <utility>

#include "server/simulator/tse/cryptovision_card.hpp"
#include "tse/cryptovision/der_lists.hpp"

namespace tillbridge::simulator::tse {
namespace {

namespace protocol = evidence::cryptovision;
using protocol::CommandCode;
using protocol::Failure;
using protocol::LoginOutcome;
using protocol::Parameter;
using protocol::Parameters;

constexpr std::size_t pin_bytes = 8, puk_bytes = 10;
/// TR-03151 lets a client id be longer; the vendor's clients stop at 30.
constexpr std::size_t most_client_bytes = 30;

/// What `failed` stands for: the command's own error code where it has one.
Failure failure_of(Refusal refusal, Failure failed) {
  switch (refusal) {
    case Refusal::not_initialized:
      return Failure::not_initialized;
    case Refusal::no_time:
      return Failure::time_not_set;
    case Refusal::self_test_required:
    case Refusal::self_test_failed:
      return Failure::element_communication;
    case Refusal::not_active:
      return Failure::deactivated;
    case Refusal::disabled:
      return Failure::disabled;
    case Refusal::certificate_expired:
      return Failure::certificate_expired;
    case Refusal::store_full:
    case Refusal::storage_failed:
      return Failure::storage;
    case Refusal::not_logged_in:
      return Failure::not_authenticated;
    case Refusal::not_authorised:
    case Refusal::pins_not_set:
      return Failure::not_authorised;
    case Refusal::unknown_client:
      return Failure::unknown_client;
    case Refusal::no_such_transaction:
    case Refusal::not_clients_transaction:
      return Failure::no_such_transaction;
    case Refusal::open_transactions:
    case Refusal::unexported_data:
      return Failure::unexported_data;
    case Refusal::no_data:
      return Failure::no_data;
    case Refusal::too_many_records:
      return Failure::too_many_records;
    case Refusal::bad_parameter:
      return Failure::parameter_mismatch;
    case Refusal::already_initialized:
    case Refusal::signatures_used_up:
    case Refusal::too_many_clients:
    case Refusal::client_has_open_transactions:
    case Refusal::too_many_transactions:
      break;
  }
  return failed;
}

std::optional<User> user_of(const std::string& name) {
  if (name == "Admin") return User::admin;
  if (name == "TimeAdmin") return User::time_admin;
  return std::nullopt;
}

std::string text(const Bytes& bytes) {
  return {bytes.begin(), bytes.end()};
}

Parameter outcome(LoginOutcome value) {
  return Parameter::byte(static_cast<std::uint8_t>(value));
}

/// Nothing: it was not even looked at.
std::optional<LoginOutcome> outcome_of(const LoginResult& result) {
  switch (result.what) {
    case LoginResult::What::ok:
      return LoginOutcome::ok;
    case LoginResult::What::wrong:
      return LoginOutcome::failed;
    case LoginResult::What::blocked:
      return LoginOutcome::blocked;
    case LoginResult::What::unknown_user:
      return LoginOutcome::unknown_user;
    case LoginResult::What::refused:
      break;
  }
  return std::nullopt;
}

Parameters nothing() {
  return {};
}

/// Success without data, or the refusal as a failure.
std::variant<Parameters, Failure, Export> answered(const Done& done, Failure failed) {
  if (!done) return failure_of(done.refusal(), failed);
  return nothing();
}

}  // namespace

// --- start and end

CryptovisionCard::Reply CryptovisionCard::start() {
  started_ = true;
  const evidence::SerialNumber serial = core_->serial();
  constexpr std::size_t id_bytes = 16;
  return Parameters{Parameter::text(options_.firmware),
                    Parameter::bytes(ByteView(serial).first(id_bytes))};
}

/// The secure element goes off: logins end as if the users had logged out, time goes on.
CryptovisionCard::Reply CryptovisionCard::shut_down(Instant now) {
  for (const User user : {User::admin, User::time_admin}) {
    if (!core_->logged_in(user)) continue;
    const Done done = core_->logout(user, now);
    if (!done) return failure_of(done.refusal(), Failure::system_operation_signing);
  }
  started_ = false;
  return nothing();
}

// --- users

CryptovisionCard::Reply CryptovisionCard::pin_states() const {
  protocol::PinStates states;
  states.admin_pin = core_->in_transport_state(User::admin);
  states.admin_puk = core_->puk_in_transport_state(User::admin);
  states.time_admin_pin = core_->in_transport_state(User::time_admin);
  states.time_admin_puk = core_->puk_in_transport_state(User::time_admin);
  return protocol::parameters_of(states);
}

CryptovisionCard::Reply CryptovisionCard::initialize_pins(const Parameters& parameters,
                                                          Instant now) {
  ParameterReader reader(parameters);
  if (reader.next_type() == Parameter::Type::text) {  // second firmware: one PUK
    const auto user = user_of(reader.text());
    const Bytes puk = reader.bytes();
    if (!reader.finished() || puk.size() != puk_bytes) return Failure::parameter_mismatch;
    if (!user) return Failure::unknown_user;
    return answered(core_->set_pins(*user, text(puk), {}, now), Failure::not_authorised);
  }
  struct Pair {
    User user{};
    Bytes puk, pin;
  };
  Pair pairs[] = {{User::admin, {}, {}}, {User::time_admin, {}, {}}};
  for (Pair& pair : pairs) {
    pair.puk = reader.bytes();
    pair.pin = reader.bytes();
    if (pair.puk.size() != puk_bytes || pair.pin.size() != pin_bytes) {
      return Failure::parameter_mismatch;
    }
  }
  if (!reader.finished()) return Failure::parameter_mismatch;
  // Both or none, also when power fails in between: a user who is done already is left alone, but
  // not when both are.
  bool any = false;
  for (const Pair& pair : pairs) {
    if (!core_->puk_in_transport_state(pair.user)) continue;
    const Done done = core_->set_pins(pair.user, text(pair.puk), text(pair.pin), now);
    if (!done) return failure_of(done.refusal(), Failure::not_authorised);
    any = true;
  }
  if (!any) return Failure::not_authorised;
  return nothing();
}

CryptovisionCard::Reply CryptovisionCard::authenticate(ParameterReader reader, Instant now) {
  const std::string name = reader.text();
  const Bytes pin = reader.bytes();
  if (!reader.finished() || pin.size() != pin_bytes) return Failure::parameter_mismatch;
  const auto user = user_of(name);
  if (!user) return Parameters{outcome(LoginOutcome::unknown_user), Parameter::number(0)};
  const LoginResult result = core_->login(*user, text(pin), now);
  const auto told = outcome_of(result);
  if (!told) return failure_of(result.refusal, Failure::system_operation_signing);
  return Parameters{outcome(*told), Parameter::number(result.tries_left)};
}

CryptovisionCard::Reply CryptovisionCard::unblock(ParameterReader reader, Instant now) {
  const std::string name = reader.text();
  const Bytes puk = reader.bytes(), pin = reader.bytes();
  if (!reader.finished() || puk.size() != puk_bytes || pin.size() != pin_bytes) {
    return Failure::parameter_mismatch;
  }
  const auto user = user_of(name);
  if (!user) return Parameters{outcome(LoginOutcome::unknown_user)};
  const LoginResult result = core_->unblock(*user, text(puk), text(pin), now);
  const auto told = outcome_of(result);
  if (!told) return failure_of(result.refusal, Failure::system_operation_signing);
  return Parameters{outcome(*told)};
}

CryptovisionCard::Reply CryptovisionCard::log_out(ParameterReader reader, Instant now) {
  const std::string name = reader.text();
  if (!reader.finished()) return Failure::parameter_mismatch;
  const auto user = user_of(name);
  if (!user) return Failure::unknown_user;
  return answered(core_->logout(*user, now), Failure::system_operation_signing);
}

// --- life cycle and time

CryptovisionCard::Reply CryptovisionCard::initialize(Instant now) {
  return answered(core_->initialize(now), Failure::system_operation_signing);
}

CryptovisionCard::Reply CryptovisionCard::update_time(ParameterReader reader, Instant now) {
  const std::uint64_t unix_s = reader.big_endian();
  if (!reader.finished()) return Failure::parameter_mismatch;
  const Done done = core_->set_time(unix_s, now);
  if (!done && done.refusal() == Refusal::bad_parameter) return Failure::time_update;
  return answered(done, Failure::time_update);
}

CryptovisionCard::Reply CryptovisionCard::deactivate(Instant now) {
  return answered(core_->deactivate(now), Failure::system_operation_signing);
}

CryptovisionCard::Reply CryptovisionCard::activate(Instant now) {
  if (core_->life_cycle() == LifeCycle::active) return Failure::not_deactivated;
  return answered(core_->activate(now), Failure::system_operation_signing);
}

CryptovisionCard::Reply CryptovisionCard::disable(Instant now) {
  return answered(core_->disable(now), Failure::system_operation_signing);
}

/// Certificates and firmware come signed by the vendor, and nobody can sign any for this card.
CryptovisionCard::Reply CryptovisionCard::vendor_update() const {
  if (!core_->logged_in(User::admin)) {
    return core_->logged_in(User::time_admin) ? Failure::not_authorised
                                              : Failure::not_authenticated;
  }
  return Failure::parameter_mismatch;
}

// --- keys and clients

bool CryptovisionCard::is_our_key(const Bytes& serial) const {
  const evidence::SerialNumber ours = core_->serial();
  return std::equal(serial.begin(), serial.end(), ours.begin(), ours.end());
}

CryptovisionCard::Reply CryptovisionCard::serial_numbers() const {
  return Parameters{
      Parameter::bytes(protocol::encode({protocol::KeyUse{core_->serial(), true, true, true}}))};
}

CryptovisionCard::Reply CryptovisionCard::map_client(ParameterReader reader, Instant now) {
  const std::string client = reader.text();
  const Bytes serial = reader.bytes();
  if (!reader.finished() || client.empty() || client.size() > most_client_bytes) {
    return Failure::parameter_mismatch;
  }
  if (serial.empty()) {
    return answered(core_->deregister_client(client, now), Failure::parameter_mismatch);
  }
  if (!is_our_key(serial)) return Failure::no_key;
  return answered(core_->register_client(client, now), Failure::storage);
}

CryptovisionCard::Reply CryptovisionCard::mappings() const {
  std::vector<protocol::ClientMapping> mappings;
  mappings.reserve(core_->clients().size());
  for (const std::string& client : core_->clients()) mappings.push_back({client, core_->serial()});
  return Parameters{Parameter::bytes(protocol::encode(mappings, options_.wrong_mapping_length))};
}

// --- transactions

CryptovisionCard::Reply CryptovisionCard::start_transaction(ParameterReader reader, Instant now) {
  const std::string client = reader.text();
  const Bytes data = reader.bytes();
  const std::string type = reader.text();
  (void)reader.bytes();  // additional data: reserved by TR-03151, not signed by hardware
  if (!reader.finished()) return Failure::parameter_mismatch;
  const auto made = core_->start(client, data, type, now);
  if (!made) return failure_of(made.refusal(), Failure::start_failed);
  protocol::SignedAnswer answer;
  answer.transaction = static_cast<std::uint32_t>(made->transaction);
  answer.counter = made->counter;
  answer.time_s = made->time_s;
  answer.signature = made->signature;
  const evidence::SerialNumber serial = core_->serial();
  answer.serial.assign(serial.begin(), serial.end());
  return protocol::parameters_of(answer);
}

CryptovisionCard::Reply CryptovisionCard::continue_transaction(CommandCode code,
                                                               ParameterReader reader,
                                                               Instant now) {
  const bool finishes = code == CommandCode::finish_transaction;
  const std::uint64_t number = reader.big_endian();
  const std::string client = reader.text();
  const Bytes data = reader.bytes();
  const std::string type = reader.text();
  if (finishes) (void)reader.bytes();
  if (!reader.finished()) return Failure::parameter_mismatch;
  const auto made = finishes ? core_->finish(number, client, data, type, now)
                             : core_->update(number, client, data, type, now);
  if (!made) {
    return failure_of(made.refusal(), finishes ? Failure::finish_failed : Failure::update_failed);
  }
  protocol::SignedAnswer answer;
  answer.counter = made->counter;
  answer.time_s = made->time_s;
  answer.signature = made->signature;
  const evidence::SerialNumber serial = core_->serial();
  answer.serial.assign(serial.begin(), serial.end());
  return protocol::parameters_of(answer);
}

// --- the store

CryptovisionCard::Reply CryptovisionCard::export_data(const Parameters& parameters) {
  const auto request = protocol::parse_export_request(parameters);
  if (!request) return Failure::parameter_mismatch;
  const bool one = request->transaction != protocol::ExportRequest::any_transaction;
  if (one && (request->from || request->to)) return Failure::parameter_mismatch;
  if (request->from && request->to && *request->from > *request->to) {
    return Failure::parameter_mismatch;
  }
  ExportFilter filter;
  if (!request->client.empty()) filter.client = request->client;
  if (one) filter.first_transaction = filter.last_transaction = request->transaction;
  if (request->from) filter.first_transaction = *request->from;
  if (request->to) filter.last_transaction = *request->to;
  filter.from_time_s = request->from_time_s;
  filter.to_time_s = request->to_time_s;
  filter.most_records = request->most_records;
  auto archive = core_->open_export(filter);
  if (archive) return *std::move(archive);
  if (archive.refusal() == Refusal::no_data && filter.client) return Failure::id_not_found;
  if (archive.refusal() == Refusal::no_data && filter.first_transaction) {
    return Failure::transaction_number_not_found;
  }
  return failure_of(archive.refusal(), Failure::log_retrieval);
}

CryptovisionCard::Reply CryptovisionCard::export_more(ParameterReader reader) {
  const Bytes serial = reader.bytes();
  const Bytes counter = reader.bytes(), records = reader.bytes();
  if (!reader.finished()) return Failure::parameter_mismatch;
  if (!is_our_key(serial)) return Failure::no_key;
  // Java sends nothing for "from the beginning" and for "all of it".
  const auto above = counter.empty() ? 0U : protocol::number_of(counter);
  const auto most = records.empty() ? 0U : protocol::number_of(records);
  if (!above || !most || *most > UINT32_MAX) return Failure::parameter_mismatch;
  ExportFilter filter;
  filter.above_counter = *above;
  filter.most_records = *most == UINT32_MAX ? 0 : static_cast<std::uint32_t>(*most);
  filter.cut_at_most_records = true;
  auto archive = core_->open_export(filter);
  if (!archive) return failure_of(archive.refusal(), Failure::log_retrieval);
  return *std::move(archive);
}

CryptovisionCard::Reply CryptovisionCard::last_log() {
  const auto log = core_->last_log();
  if (!log) return Failure::log_retrieval;
  return Parameters{Parameter::bytes(*log)};
}

CryptovisionCard::Reply CryptovisionCard::erase(Instant now) {
  return answered(core_->delete_up_to(core_->signature_counter(), now), Failure::storage);
}

CryptovisionCard::Reply CryptovisionCard::delete_up_to(ParameterReader reader, Instant now) {
  const Bytes serial = reader.bytes();
  const std::uint64_t counter = reader.big_endian();
  if (!reader.finished()) return Failure::parameter_mismatch;
  if (!is_our_key(serial)) return Failure::no_key;
  return answered(core_->delete_up_to(counter, now), Failure::storage);
}

// --- facts. The widths are what some clients can read, see PROTOCOL.md.

CryptovisionCard::Reply CryptovisionCard::config_data(ParameterReader reader) const {
  using protocol::ConfigItem;
  const std::uint16_t item = reader.number();
  if (!reader.finished()) return Failure::parameter_mismatch;
  const CoreOptions& core = core_->options();
  switch (static_cast<ConfigItem>(item)) {
    case ConfigItem::version:
      return Parameters{Parameter::big_endian(0x0203, 2)};
    case ConfigItem::signature_algorithm:
      return Parameters{Parameter::bytes(protocol::encode_signature_algorithm(core.hash))};
    case ConfigItem::update_variants:  // 0: signed updates only
      return Parameters{Parameter::big_endian(0, 2)};
    case ConfigItem::most_keys:
      return Parameters{Parameter::big_endian(1, 2)};
    case ConfigItem::most_clients:
      return Parameters{Parameter::big_endian(core.most_clients, 4)};
    case ConfigItem::most_transactions:
      return Parameters{Parameter::big_endian(core.most_open_transactions, 4)};
    case ConfigItem::time_sync_interval: {
      constexpr std::int64_t most = UINT16_MAX;
      const auto seconds =
          std::chrono::duration_cast<std::chrono::seconds>(core.time_valid).count();
      const std::int64_t told = seconds == 0 ? most : std::min(seconds, most);
      return Parameters{Parameter::big_endian(static_cast<std::uint64_t>(told), 2)};
    }
    case ConfigItem::time_format: {
      // 1 utcTime, 2 generalizedTime, 3 unixTime
      const std::uint64_t format = core.time_format == evidence::TimeFormat::utc_time           ? 1
                                   : core.time_format == evidence::TimeFormat::generalized_time ? 2
                                                                                                : 3;
      return Parameters{Parameter::big_endian(format, 2)};
    }
    case ConfigItem::certification_id:
      return Parameters{Parameter::text(options_.certification_id)};
  }
  return Failure::id_not_found;
}

CryptovisionCard::Reply CryptovisionCard::status(ParameterReader reader, Instant now) const {
  using protocol::StatusItem;
  const std::uint16_t item = reader.number();
  if (!reader.finished()) return Failure::parameter_mismatch;
  const std::vector<OpenTransaction> open = core_->open_transactions();
  const std::uint64_t memory = core_->options().store_bytes;
  switch (static_cast<StatusItem>(item)) {
    case StatusItem::clients:
      return Parameters{Parameter::big_endian(core_->clients().size(), 4)};
    case StatusItem::open_transaction_count:
      return Parameters{Parameter::big_endian(open.size(), 4)};
    case StatusItem::open_transactions: {
      std::vector<std::uint32_t> numbers;
      numbers.reserve(open.size());
      for (const OpenTransaction& one : open) {
        numbers.push_back(static_cast<std::uint32_t>(one.number));
      }
      return Parameters{Parameter::numbers(std::move(numbers))};
    }
    case StatusItem::transaction_counter:
      return Parameters{Parameter::big_endian(core_->transaction_counter(), 4)};
    case StatusItem::life_cycle:
      return Parameters{Parameter::big_endian(static_cast<std::uint64_t>(life_cycle(now)), 1)};
    case StatusItem::log_memory_bytes:
      return Parameters{Parameter::big_endian(memory, 8)};
    case StatusItem::free_log_memory_bytes:
      return Parameters{
          Parameter::big_endian(memory - std::min(memory, core_->store_bytes_used()), 8)};
  }
  return Failure::id_not_found;
}

protocol::LifeCycle CryptovisionCard::life_cycle(Instant now) const {
  switch (core_->life_cycle()) {
    case LifeCycle::not_initialized:
      return protocol::LifeCycle::not_initialized;
    case LifeCycle::active:
      break;
    case LifeCycle::deactivated:
      return protocol::LifeCycle::deactivated;
    case LifeCycle::disabled:
      return protocol::LifeCycle::disabled;
  }
  return core_->has_time(now) ? protocol::LifeCycle::active : protocol::LifeCycle::no_time;
}

CryptovisionCard::Reply CryptovisionCard::key_data(ParameterReader reader) const {
  using protocol::KeyItem;
  const std::uint16_t item = reader.number();
  const Bytes serial = reader.bytes();
  if (!reader.finished()) return Failure::parameter_mismatch;
  if (!is_our_key(serial)) return Failure::no_key;
  switch (static_cast<KeyItem>(item)) {
    case KeyItem::signature_counter:
      return Parameters{Parameter::big_endian(core_->signature_counter(), 4)};
    case KeyItem::certificate_expiry: {
      // The vendor's clients say: notAfter and one second.
      const std::int64_t end = std::max<std::int64_t>(core_->certificate_end(), 0);
      return Parameters{Parameter::big_endian(static_cast<std::uint64_t>(end) + 1, 8)};
    }
    case KeyItem::public_key: {
      const Bytes& point = core_->public_key().point();
      constexpr std::size_t p256_point_bytes = 65, long_bytes = 254, key_at = 188;
      if (!options_.long_public_key || point.size() != p256_point_bytes) {
        return Parameters{Parameter::bytes(point)};
      }
      Bytes object(long_bytes);
      std::copy(point.begin(), point.end(), object.begin() + key_at);
      return Parameters{Parameter::bytes(object)};
    }
  }
  return Failure::id_not_found;
}

/// Percent of the signatures that a card makes in its life.
CryptovisionCard::Reply CryptovisionCard::wear_indicator() const {
  const std::uint64_t most = core_->options().most_signatures;
  const std::uint64_t made = most - std::min(most, core_->signatures_left());
  return Parameters{Parameter::number(most == 0 ? std::uint16_t{100}
                                                : static_cast<std::uint16_t>(made * 100 / most))};
}

}  // namespace tillbridge::simulator::tse
