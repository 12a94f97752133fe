// Users, set-up, lists and INFO.

#include "server/simulator/tse/swissbit_card.hpp"

#include <algorithm>
#include <limits>

#include "server/simulator/tse/swissbit_status.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {
namespace {

using swissbit::CommandStatus;
using swissbit::sector_bytes;

/// TseCore::front_end_flags().
constexpr std::uint32_t flag_ctss_active = 1U << 0U;

constexpr Duration second{1'000'000};

User user_of(swissbit::User user) {
  return user == swissbit::User::admin ? User::admin : User::time_admin;
}

/// Of a list, what fits a page.
template <typename T>
std::vector<T> page_of(const std::vector<T>& all, std::uint32_t skip, std::size_t most) {
  if (skip >= all.size()) return {};
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(skip);
  const auto count = std::min<std::size_t>(most, all.size() - skip);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

std::uint32_t narrow(std::uint64_t number) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(number, std::numeric_limits<std::uint32_t>::max()));
}

}  // namespace

CoreOptions swissbit_core_options(const SwissbitOptions& options) {
  CoreOptions core;
  core.curve = evidence::Curve::p384;
  core.hash = evidence::Hash::sha384;
  core.description = "tillbridge simulated Swissbit TSE";
  core.chain_in_one_pem = true;
  core.extended_system_logs = true;
  core.needs_self_test = true;
  core.time_valid = 30 * 60 * second;
  core.self_test_valid = 25 * 60 * 60 * second;
  core.transport_credentials = [seed = options.seed](const evidence::SerialNumber& serial) {
    const swissbit::FactoryCredentials factory = swissbit::factory_credentials(serial, seed);
    TransportCredentials credentials;
    credentials.pin[static_cast<std::size_t>(User::admin)] = factory.admin_pin;
    credentials.puk[static_cast<std::size_t>(User::admin)] = factory.puk;
    credentials.pin[static_cast<std::size_t>(User::time_admin)] = factory.time_admin_pin;
    return credentials;
  };
  return core;
}

Timing swissbit_timing() {
  Timing timing;
  timing.signing = Duration(250'000);
  timing.self_test = 25 * second;
  return timing;
}

SwissbitCard::Outcome SwissbitCard::run(const swissbit::Command& command, Instant now) {
  struct Running {
    SwissbitCard& card;
    Instant now;
    Outcome operator()(const swissbit::Login& c) const { return card.login(c, now); }
    Outcome operator()(const swissbit::Logout& c) const { return card.logout(c, now); }
    Outcome operator()(const swissbit::ChangePuk& c) const { return card.change_puk(c, now); }
    Outcome operator()(const swissbit::ChangePin& c) const { return card.change_pin(c, now); }
    Outcome operator()(const swissbit::SelfTest& c) const { return card.self_test(c, now); }
    Outcome operator()(const swissbit::RegisterClient& c) const {
      if (const Status no = card.admin_ready(now); no != Status::ok) return ends(no);
      return ends(status_of(card.core_->register_client(c.client, now)));
    }
    Outcome operator()(const swissbit::DeregisterClient& c) const {
      if (const Status no = card.admin_ready(now); no != Status::ok) return ends(no);
      return ends(status_of(card.core_->deregister_client(c.client, now)));
    }
    Outcome operator()(const swissbit::ListClients& c) const { return card.list_clients(c); }
    Outcome operator()(const swissbit::EnableCtss&) const { return card.set_ctss(true, now); }
    Outcome operator()(const swissbit::DisableCtss&) const { return card.set_ctss(false, now); }
    Outcome operator()(const swissbit::Initialize&) const { return card.initialize(now); }
    Outcome operator()(const swissbit::Decommission&) const { return card.decommission(now); }
    Outcome operator()(const swissbit::SetTime& c) const {
      if (const Status no = card.self_test_done(now); no != Status::ok) return ends(no);
      if (const Status no = card.credentials_changed(); no != Status::ok) return ends(no);
      return ends(status_of(card.core_->set_time(c.unix_s, now)));
    }
    Outcome operator()(const swissbit::FetchAnswer&) const {
      return ends(Status::nothing_to_fetch);
    }
    Outcome operator()(const swissbit::ListTransactions& c) const {
      return card.list_transactions(c);
    }
    Outcome operator()(const swissbit::ReadCertificate& c) const {
      return card.read_certificate(c);
    }
    Outcome operator()(const swissbit::OpenStep& c) const { return card.open_step(c, now); }
    Outcome operator()(const swissbit::CloseStep&) const { return card.close_step(now); }
  };
  return std::visit(Running{*this, now}, command);
}

void SwissbitCard::power_cycle() {
  core_->power_cycle();
  self_test_ = SelfTest::none;
  import_.reset();
}

// --- what stands in the way

/// After power-up, and when it is too old, a self test has to be run before most commands. That it
/// passes is asked for only by those that sign: a new stick has no client, and without a registered
/// client it fails.
SwissbitCard::Status SwissbitCard::self_test_done(Instant now) const {
  if (core_->life_cycle() == LifeCycle::disabled) return Status::decommissioned;
  const bool expired = self_test_ == SelfTest::passed && !core_->self_test_passed(now);
  return self_test_ == SelfTest::none || expired ? Status::self_test_required : Status::ok;
}

SwissbitCard::Status SwissbitCard::self_test_passed(Instant now) const {
  const Status done = self_test_done(now);
  if (done != Status::ok) return done;
  return self_test_ == SelfTest::failed ? Status::self_test_not_passed : Status::ok;
}

SwissbitCard::Status SwissbitCard::credentials_changed() const {
  if (core_->puk_in_transport_state(User::admin)) return Status::puk_must_be_changed;
  if (core_->in_transport_state(User::admin) || core_->in_transport_state(User::time_admin)) {
    return Status::pin_must_be_changed;
  }
  return Status::ok;
}

SwissbitCard::Status SwissbitCard::admin_ready(Instant now) const {
  if (const Status status = self_test_done(now); status != Status::ok) return status;
  if (const Status status = credentials_changed(); status != Status::ok) return status;
  return core_->logged_in(User::admin) ? Status::ok : Status::not_authorised;
}

SwissbitCard::Status SwissbitCard::may_sign(Instant now) const {
  if (const Status status = self_test_passed(now); status != Status::ok) return status;
  if (core_->life_cycle() == LifeCycle::not_initialized) return Status::not_initialized;
  if (!ctss_active()) return Status::ctss_off;
  return core_->has_time(now) ? Status::ok : Status::no_time;
}

bool SwissbitCard::knows(const std::string& client) const {
  const std::vector<std::string>& clients = core_->clients();
  return std::find(clients.begin(), clients.end(), client) != clients.end();
}

bool SwissbitCard::ctss_active() const {
  return (core_->front_end_flags() & flag_ctss_active) != 0;
}

// --- users

SwissbitCard::Outcome SwissbitCard::login(const swissbit::Login& command, Instant now) {
  if (const Status no = self_test_done(now); no != Status::ok) return ends(no);
  // A PIN of the wrong length cannot be the right one; it costs no try (inferred).
  if (command.pin.size() != swissbit::pin_digits) return ends(Status::bad_parameter);
  return ends(status_of(core_->login(user_of(command.user), command.pin, now)));
}

SwissbitCard::Outcome SwissbitCard::logout(const swissbit::Logout& command, Instant now) {
  const User user = user_of(command.user);
  if (!core_->logged_in(user)) return ends(Status::not_logged_in);
  return ends(status_of(core_->logout(user, now)));
}

SwissbitCard::Outcome SwissbitCard::change_puk(const swissbit::ChangePuk& command, Instant now) {
  if (const Status no = self_test_done(now); no != Status::ok) return ends(no);
  if (command.old_puk.size() != swissbit::puk_digits ||
      command.new_puk.size() != swissbit::puk_digits) {
    return ends(Status::bad_parameter);
  }
  return ends(status_of(core_->change_puk(User::admin, command.old_puk, command.new_puk, now)));
}

SwissbitCard::Outcome SwissbitCard::change_pin(const swissbit::ChangePin& command, Instant now) {
  if (const Status no = self_test_done(now); no != Status::ok) return ends(no);
  if (command.old_pin.size() != swissbit::pin_digits ||
      command.new_pin.size() != swissbit::pin_digits) {
    return ends(Status::bad_parameter);
  }
  const User user = user_of(command.user);
  return ends(status_of(core_->change_pin(user, command.old_pin, command.new_pin, now)));
}

// --- set-up

SwissbitCard::Outcome SwissbitCard::self_test(const swissbit::SelfTest& command, Instant now) {
  if (core_->life_cycle() == LifeCycle::disabled) return ends(Status::decommissioned);
  // A new stick has no client yet, so its first self test fails for want of one; its parts are
  // sound all the same, and set-up can go on.
  const bool known = knows(command.client);
  const Done result = core_->self_test(now);
  self_test_ = result && known ? SelfTest::passed : SelfTest::failed;
  return ends(known ? status_of(result) : Status::unknown_client);
}

SwissbitCard::Outcome SwissbitCard::failing_self_test(Instant now) {
  static_cast<void>(core_->self_test(now, true));
  self_test_ = SelfTest::failed;
  constexpr std::uint16_t signing_part = 1;
  return ends(static_cast<Status>(number_of(Status::self_test_part_failed) + signing_part));
}

SwissbitCard::Outcome SwissbitCard::set_ctss(bool active, Instant now) {
  if (const Status no = self_test_passed(now); no != Status::ok) return ends(no);
  if (const Status no = admin_ready(now); no != Status::ok) return ends(no);
  const std::uint32_t flags = core_->front_end_flags();
  return ends(status_of(
      core_->set_front_end_flags(active ? flags | flag_ctss_active : flags & ~flag_ctss_active)));
}

SwissbitCard::Outcome SwissbitCard::initialize(Instant now) {
  if (const Status no = self_test_passed(now); no != Status::ok) return ends(no);
  if (core_->life_cycle() != LifeCycle::not_initialized) return ends(Status::already_initialized);
  if (const Status no = admin_ready(now); no != Status::ok) return ends(no);
  if (!ctss_active()) return ends(Status::ctss_off);
  if (!core_->has_time(now)) return ends(Status::no_time);
  return ends(status_of(core_->initialize(now)));
}

SwissbitCard::Outcome SwissbitCard::decommission(Instant now) {
  if (const Status no = self_test_done(now); no != Status::ok) return ends(no);
  if (core_->life_cycle() == LifeCycle::not_initialized) return ends(Status::not_initialized);
  if (const Status no = admin_ready(now); no != Status::ok) return ends(no);
  if (!core_->open_transactions().empty()) return ends(Status::open_transactions);
  return ends(status_of(core_->disable(now)));
}

// --- lists

SwissbitCard::Outcome SwissbitCard::list_clients(const swissbit::ListClients& command) const {
  const auto page = page_of(core_->clients(), command.skip, swissbit::clients_per_page);
  return {Status::ok, swissbit::encode_clients(page)};
}

SwissbitCard::Outcome SwissbitCard::list_transactions(
    const swissbit::ListTransactions& command) const {
  if (!command.client.empty() && !knows(command.client)) {
    return ends(Status::unknown_client);
  }
  std::vector<std::uint64_t> numbers;
  for (const OpenTransaction& open : core_->open_transactions()) {
    if (command.client.empty() || open.client == command.client) numbers.push_back(open.number);
  }
  const auto page = page_of(numbers, command.skip, swissbit::transactions_per_page);
  return {Status::ok, swissbit::encode_transactions(page)};
}

SwissbitCard::Outcome SwissbitCard::read_certificate(
    const swissbit::ReadCertificate& command) const {
  std::string pem;
  for (const Bytes& certificate : core_->chain()) pem += evidence::certificate_pem(certificate);
  if (command.offset > pem.size()) return ends(Status::bad_parameter);
  const std::string chunk = pem.substr(command.offset, swissbit::certificate_chunk_bytes);
  return {Status::ok, swissbit::encode_certificate_chunk(Bytes(chunk.begin(), chunk.end()))};
}

// --- INFO

swissbit::Info SwissbitCard::info(std::uint64_t capacity_blocks, Instant now) const {
  swissbit::Info info;
  info.customization = options_.customization;
  info.capacity_blocks = narrow(capacity_blocks);
  info.used_blocks = narrow(blocks_of(core_->store_bytes_used()));
  info.time_valid = core_->has_time(now);
  info.self_test_passed = self_test_passed(now) == Status::ok;
  info.ctss_active = ctss_active();
  info.state = swissbit::State::initialized;
  if (core_->life_cycle() == LifeCycle::not_initialized)
    info.state = swissbit::State::uninitialized;
  if (core_->life_cycle() == LifeCycle::disabled) info.state = swissbit::State::decommissioned;
  info.import_running = step_open();
  info.puk_changed = !core_->puk_in_transport_state(User::admin);
  info.admin_pin_changed = !core_->in_transport_state(User::admin);
  info.time_admin_pin_changed = !core_->in_transport_state(User::time_admin);
  info.seconds_to_self_test = info.self_test_passed ? core_->seconds_to_self_test(now) : 0;
  info.seconds_to_time = core_->seconds_to_time(now);
  info.open_transactions = narrow(core_->open_transactions().size());
  info.most_open_transactions = core_->options().most_open_transactions;
  info.signatures = narrow(core_->signature_counter());
  info.most_signatures = narrow(core_->options().most_signatures);
  info.clients = narrow(core_->clients().size());
  info.most_clients = core_->options().most_clients;
  info.certificate_end_s = static_cast<std::uint64_t>(core_->certificate_end());
  info.export_bytes = core_->store_bytes_used() + evidence::tar_trailer_bytes;
  info.hardware_version = options_.hardware_version;
  info.firmware_version = options_.firmware_version;
  info.public_point = core_->public_key().point();
  info.serial = core_->serial();
  info.certification_id = options_.certification_id;
  return info;
}

}  // namespace tillbridge::simulator::tse
