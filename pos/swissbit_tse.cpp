#include "pos/swissbit_tse.hpp"

#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "pos/archives.hpp"
#include "pos/swissbit_stick.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::pos {
namespace {

namespace sb = swissbit;

constexpr Duration wake_patience = std::chrono::seconds(60);
constexpr Duration return_interval = std::chrono::milliseconds(500);
/// The stick may say for a while that it has not got the process data yet.
constexpr unsigned close_attempts = 40;
constexpr Duration close_interval = std::chrono::milliseconds(150);
constexpr std::size_t export_piece_bytes = 256U << 10U;
/// How far back from the store's end the last logs are looked for, at most.
constexpr std::uint64_t most_tail_blocks = 16384;

sb::User user_of(User user) {
  return user == User::admin ? sb::User::admin : sb::User::time_admin;
}

class SwissbitTse final : public Tse {
 public:
  SwissbitTse(std::unique_ptr<StickVolume> volume, OpenStyle style, Clock& clock, std::string seed)
      : stick_(std::move(volume), style, clock), clock_(clock), seed_(std::move(seed)) {}

  [[nodiscard]] Family family() const override { return Family::swissbit; }
  [[nodiscard]] std::string place() const override { return stick_.place(); }

  [[nodiscard]] Deed connect() override {
    const Instant begun = clock_.now();
    while (true) {
      Deed opened = stick_.open();
      if (opened) {
        connected_before_ = true;
        return done();
      }
      const Trouble what = opened.failure().what;
      const bool may_come = what == Trouble::asleep || (is_away(what) && connected_before_);
      if (!may_come || clock_.now() - begun >= wake_patience) return opened;
      clock_.wait(return_interval);
    }
  }

  [[nodiscard]] Outcome<TseStatus> status() override;
  [[nodiscard]] Deed set_up(const std::string& client, Access& access, const Told& told) override;
  [[nodiscard]] Deed make_ready(const std::string& client, Access& access,
                                const Told& told) override;

  [[nodiscard]] Outcome<Signature> start(const std::string& client, ByteView data,
                                         std::string_view type) override {
    return sign(sb::Step::start, 0, client, data, type);
  }
  [[nodiscard]] Outcome<Signature> finish(std::uint64_t transaction, const std::string& client,
                                          ByteView data, std::string_view type) override {
    return sign(sb::Step::finish, transaction, client, data, type);
  }

  [[nodiscard]] Outcome<VerifyingKey> key() override;
  [[nodiscard]] Outcome<std::uint64_t> signature_counter() override;
  [[nodiscard]] Outcome<std::vector<std::uint64_t>> open_transactions() override;
  [[nodiscard]] Outcome<std::vector<evidence::LogMessage>> logs_above(
      std::uint64_t counter) override;
  [[nodiscard]] Deed export_archive(const ArchiveSink& sink) override;

 private:
  [[nodiscard]] Outcome<Signature> sign(sb::Step step, std::uint64_t transaction,
                                        const std::string& client, ByteView data,
                                        std::string_view type);
  [[nodiscard]] Deed act(const sb::Command& command);
  [[nodiscard]] Outcome<std::vector<std::string>> clients();
  [[nodiscard]] Deed replace_transport_pins(const sb::Info& info, Access& access, const Told& told);
  [[nodiscard]] Deed login(User user, Access& access, const std::string& purpose, Trouble missing);
  [[nodiscard]] Outcome<LoginResult> credentials_answer(const sb::Command& command);
  [[nodiscard]] Deed self_test(const std::string& client, const Told& told);
  [[nodiscard]] Deed set_time(Access& access, const Told& told);
  /// The last whole files of the store, `blocks` before its end at most; `all`: back to its begin.
  struct Tail {
    std::vector<evidence::TarEntry> entries;
    bool all = false;
  };
  [[nodiscard]] Outcome<Tail> tail(std::uint64_t blocks);

  SwissbitStick stick_;
  Clock& clock_;
  std::string seed_;
  bool connected_before_ = false;
};

Deed SwissbitTse::act(const sb::Command& command) {
  const Outcome<Bytes> answer = stick_.command(command);
  if (!answer) return answer.failure();
  return done();
}

Outcome<std::vector<std::string>> SwissbitTse::clients() {
  std::vector<std::string> all;
  while (all.size() < limits::swissbit_listed) {
    const Outcome<Bytes> data =
        stick_.command(sb::ListClients{static_cast<std::uint32_t>(all.size())});
    if (!data) return data.failure();
    const Result<std::vector<std::string>> page = sb::parse_clients(*data);
    if (!page) return trouble(Trouble::failed, page.error().message);
    if (page->empty()) break;
    all.insert(all.end(), page->begin(), page->end());
  }
  return all;
}

Outcome<std::vector<std::uint64_t>> SwissbitTse::open_transactions() {
  const Outcome<std::vector<std::string>> registered = clients();
  if (!registered) return registered.failure();
  std::vector<std::uint64_t> all;
  for (const std::string& client : *registered) {
    std::uint32_t skip = 0;
    while (all.size() < limits::swissbit_listed) {
      const Outcome<Bytes> data = stick_.command(sb::ListTransactions{skip, client});
      if (!data) return data.failure();
      const Result<std::vector<std::uint64_t>> page = sb::parse_transactions(*data);
      if (!page) return trouble(Trouble::failed, page.error().message);
      if (page->empty()) break;
      skip += static_cast<std::uint32_t>(page->size());
      all.insert(all.end(), page->begin(), page->end());
    }
  }
  std::sort(all.begin(), all.end());
  return all;
}

Outcome<TseStatus> SwissbitTse::status() {
  const Outcome<sb::Info> info = stick_.info();
  if (!info) return info.failure();
  TseStatus status;
  status.firmware = hexadecimal({{static_cast<std::uint8_t>(info->firmware_version >> 24U),
                                  static_cast<std::uint8_t>(info->firmware_version >> 16U),
                                  static_cast<std::uint8_t>(info->firmware_version >> 8U),
                                  static_cast<std::uint8_t>(info->firmware_version)}});
  status.certification_id = info->certification_id;
  status.serial = info->serial;
  status.life_cycle = info->state == sb::State::uninitialized ? LifeCycle::not_initialized
                      : info->state == sb::State::initialized ? LifeCycle::active
                                                              : LifeCycle::disabled;
  status.has_time = info->time_valid;
  status.self_test_passed = info->self_test_passed;
  status.seconds_to_time = info->seconds_to_time;
  status.seconds_to_self_test = info->seconds_to_self_test;
  status.signature_counter = info->signatures;
  if (info->most_signatures >= info->signatures)
    status.signatures_left = info->most_signatures - info->signatures;
  if (info->capacity_blocks != 0 && info->capacity_blocks >= info->used_blocks) {
    status.store_bytes = std::uint64_t{info->capacity_blocks} * sb::sector_bytes;
    status.store_bytes_free =
        std::uint64_t{info->capacity_blocks - info->used_blocks} * sb::sector_bytes;
  }
  status.certificate_end_s = static_cast<std::int64_t>(info->certificate_end_s);
  status.client_count = info->clients;
  if (info->state == sb::State::initialized && info->self_test_passed) {
    const Outcome<std::vector<std::string>> registered = clients();
    if (registered) status.clients = *registered;
    const Outcome<std::vector<std::uint64_t>> open = open_transactions();
    if (open) status.open_transactions = *open;
    for (const Failure* failure :
         {registered ? nullptr : &registered.failure(), open ? nullptr : &open.failure()}) {
      if (failure != nullptr && is_loss(failure->what)) return *failure;
    }
  }
  return status;
}

// --- set up and getting ready

Deed SwissbitTse::login(User user, Access& access, const std::string& purpose, Trouble missing) {
  const Outcome<sb::Info> info = stick_.info();
  if (!info) return info.failure();
  const Outcome<std::string> pin =
      access.secret(user == User::admin ? Secret::admin_pin : Secret::time_pin, purpose, missing);
  if (!pin) return pin.failure();
  if (pin->size() != sb::pin_digits) {
    return trouble(Trouble::usage, std::string("a PIN of a Swissbit stick has 5 digits; the one "
                                               "given for the ") +
                                       name_of(user) + " has not, so it was not tried");
  }
  return access.login(hexadecimal(info->serial), user, std::nullopt, [&] {
    return credentials_answer(sb::Login{user_of(user), *pin});
  });
}

Outcome<LoginResult> SwissbitTse::credentials_answer(const sb::Command& command) {
  const Outcome<SwissbitStick::Reply> answer = stick_.reply(command);
  if (!answer) return answer.failure();
  if (answer->status == sb::CommandStatus::ok)
    return LoginResult{LoginResult::What::ok, std::nullopt};
  if (answer->status == sb::CommandStatus::pin_blocked)
    return LoginResult{LoginResult::What::blocked, 0};
  if (const auto left = sb::tries_left(answer->status))
    return LoginResult{LoginResult::What::wrong, *left};
  return SwissbitStick::refused(answer->status);
}

Deed SwissbitTse::self_test(const std::string& client, const Told& told) {
  told("self test runs; it may take a minute");
  Deed tested = act(sb::SelfTest{client});
  if (tested) told("self test passed");
  if (!tested && tested.failure().what == Trouble::self_test) {
    return trouble(Trouble::self_test,
                   tested.failure().message +
                       ". Unplug the stick, wait a minute and try again; if it keeps failing the "
                       "stick is broken");
  }
  return tested;
}

Deed SwissbitTse::set_time(Access& access, const Told& told) {
  const bool as_time_admin = access.has(Secret::time_pin) || !access.has(Secret::admin_pin);
  const User user = as_time_admin ? User::time_admin : User::admin;
  if (Deed in = login(user, access, "setting the stick's time", Trouble::no_time); !in) return in;
  Deed set = act(sb::SetTime{clock_.unix_s()});
  Deed out = act(sb::Logout{user_of(user)});
  if (!set) return set;
  // That there is a log-out command is inferred: a stick that has none stays logged in.
  if (!out && is_loss(out.failure().what)) return out;
  told("time set");
  return done();
}

/// The transport state's PINs are known to everybody who can read the serial number.
Deed SwissbitTse::replace_transport_pins(const sb::Info& info, Access& access, const Told& told) {
  if (info.puk_changed && info.admin_pin_changed && info.time_admin_pin_changed) return done();
  const std::string purpose = "setting the stick's first PINs";
  const Outcome<std::string> puk = access.secret(Secret::admin_puk, purpose);
  if (!puk) return puk.failure();
  const Outcome<std::string> admin_pin = access.secret(Secret::admin_pin, purpose);
  if (!admin_pin) return admin_pin.failure();
  const Outcome<std::string> time_pin = access.secret(Secret::time_pin, purpose);
  if (!time_pin) return time_pin.failure();
  if (puk->size() != sb::puk_digits || admin_pin->size() != sb::pin_digits ||
      time_pin->size() != sb::pin_digits) {
    return trouble(Trouble::usage,
                   "a Swissbit stick wants a PUK (admin-puk) of 6 and PINs of 5 digits");
  }
  const sb::FactoryCredentials old = sb::factory_credentials(
      info.serial, seed_.empty() ? sb::default_seed : std::string_view(seed_));
  // A wrong seed uses up tries as a wrong PIN does: each run of setup would.
  const std::string stick = hexadecimal(info.serial);
  const auto change = [&](bool already, const std::string& key, User user,
                          const sb::Command& command) -> Deed {
    if (already) return done();
    Deed changed =
        access.login(key, user, std::nullopt, [&] { return credentials_answer(command); });
    if (changed || is_loss(changed.failure().what)) return changed;
    return trouble(
        changed.failure().what,
        changed.failure().message +
            ". The stick's transport PINs are not the usual ones; ask the seller for its "
            "seed and give --seed");
  };
  if (Deed step =
          change(info.puk_changed, stick + ":puk", User::admin, sb::ChangePuk{old.puk, *puk});
      !step) {
    return step;
  }
  if (Deed step = change(info.admin_pin_changed, stick, User::admin,
                         sb::ChangePin{sb::User::admin, old.admin_pin, *admin_pin});
      !step) {
    return step;
  }
  if (Deed step = change(info.time_admin_pin_changed, stick, User::time_admin,
                         sb::ChangePin{sb::User::time_admin, old.time_admin_pin, *time_pin});
      !step) {
    return step;
  }
  told("PUK and PINs set");
  return done();
}

Deed SwissbitTse::set_up(const std::string& client, Access& access, const Told& told) {
  Outcome<sb::Info> info = stick_.info();
  if (!info) return info.failure();
  if (info->state == sb::State::decommissioned)
    return trouble(Trouble::disabled, "the stick was put out of service for good");
  if (!info->self_test_passed) {
    // Fails on a fresh stick, which does not know the client yet, but is wanted all the same.
    Deed tested = self_test(client, told);
    if (!tested && is_loss(tested.failure().what)) return tested;
  }
  if (Deed pins = replace_transport_pins(*info, access, told); !pins) return pins;

  bool logged_in = false;
  const auto as_admin = [&]() -> Deed {
    if (logged_in) return done();
    Deed in = login(User::admin, access, "setting the stick up", Trouble::usage);
    logged_in = in.ok();
    return in;
  };
  if (!info->time_valid) {
    if (Deed in = as_admin(); !in) return in;
    if (Deed set = act(sb::SetTime{clock_.unix_s()}); !set) return set;
    told("time set");
  }
  const Outcome<std::vector<std::string>> registered = clients();
  const bool known =
      registered && std::find(registered->begin(), registered->end(), client) != registered->end();
  if (!registered && is_loss(registered.failure().what)) return registered.failure();
  if (!known) {
    if (Deed in = as_admin(); !in) return in;
    if (Deed done_so = act(sb::RegisterClient{client}); !done_so) return done_so;
    told("client " + client + " registered");
  }
  info = stick_.info();
  if (!info) return info.failure();
  if (!info->self_test_passed) {
    if (Deed tested = self_test(client, told); !tested) return tested;
  }
  if (!info->ctss_active) {
    if (Deed in = as_admin(); !in) return in;
    const Outcome<SwissbitStick::Reply> enabled = stick_.reply(sb::EnableCtss{});
    if (!enabled) return enabled.failure();
    // Whether it is on already is a flag whose place is inferred.
    if (enabled->status != sb::CommandStatus::ok &&
        enabled->status != sb::CommandStatus::not_allowed) {
      return SwissbitStick::refused(enabled->status);
    }
    told("signing interface on");
  }
  if (info->state == sb::State::uninitialized) {
    if (Deed in = as_admin(); !in) return in;
    if (Deed initialized = act(sb::Initialize{}); !initialized) return initialized;
    told("initialised");
  }
  if (logged_in) {
    Deed out = act(sb::Logout{sb::User::admin});
    if (!out && is_loss(out.failure().what)) return out;
  }
  return done();
}

Deed SwissbitTse::make_ready(const std::string& client, Access& access, const Told& told) {
  const Outcome<sb::Info> info = stick_.info();
  if (!info) return info.failure();
  if (info->state == sb::State::decommissioned)
    return trouble(Trouble::disabled, "the stick was put out of service for good");
  if (info->state == sb::State::uninitialized)
    return trouble(Trouble::not_set_up, "the stick is not set up yet: run setup first");
  if (!info->self_test_passed) {
    if (Deed tested = self_test(client, told); !tested) return tested;
  }
  if (!info->time_valid) return set_time(access, told);
  return done();
}

// --- transactions

Outcome<Signature> SwissbitTse::sign(sb::Step step, std::uint64_t transaction,
                                     const std::string& client, ByteView data,
                                     std::string_view type) {
  sb::OpenStep open;
  open.step = step;
  open.client = client;
  open.transaction = transaction;
  open.data_bytes = data.size();
  open.type = std::string(type);
  const Outcome<Bytes> opened = stick_.command(open);
  if (!opened) return opened.failure();
  const Result<sb::OpenedStep> place = sb::parse_opened_step(*opened);
  if (!place) return trouble(Trouble::failed, place.error().message);
  if (!data.empty()) {
    Bytes blocks(data.begin(), data.end());
    blocks.resize((data.size() + sb::sector_bytes - 1) / sb::sector_bytes * sb::sector_bytes);
    if (Deed written = stick_.write_store(place->block, blocks); !written) return written.failure();
  }
  for (unsigned attempt = 1;; ++attempt) {
    const Outcome<SwissbitStick::Reply> answer = stick_.reply(sb::CloseStep{});
    if (!answer) return answer.failure();
    if (answer->status == sb::CommandStatus::data_missing && attempt < close_attempts) {
      stick_.wait(close_interval);
      continue;
    }
    // Opened, and forgotten by the time it was closed: the stick lost power in between.
    if (answer->status == sb::CommandStatus::no_step_open)
      return trouble(Trouble::asleep, "the stick lost power between the two steps of signing");
    if (answer->status != sb::CommandStatus::ok) return SwissbitStick::refused(answer->status);
    const Result<sb::ClosedStep> made = sb::parse_closed_step(answer->data);
    // The stick signed, whatever it then said: the log has to tell.
    if (!made) return trouble(Trouble::garbled, made.error().message);
    return Signature{made->transaction, made->counter, made->time_s, made->signature};
  }
}

Outcome<std::uint64_t> SwissbitTse::signature_counter() {
  const Outcome<sb::Info> info = stick_.info();
  if (!info) return info.failure();
  return std::uint64_t{info->signatures};
}

Outcome<VerifyingKey> SwissbitTse::key() {
  const Outcome<sb::Info> info = stick_.info();
  if (!info) return info.failure();
  VerifyingKey key;
  key.point = info->public_point;
  // INFO does not say with which hash: every log does.
  const Outcome<Tail> last = tail(256);
  if (!last) return last.failure();
  for (const evidence::TarEntry& entry : last->entries) {
    if (const Result<evidence::ParsedLog> log = evidence::parse_log(entry.content)) {
      key.hash = log->message.hash;
      key.time_format = log->message.time_format;
    }
  }
  return key;
}

// --- the store

Outcome<SwissbitTse::Tail> SwissbitTse::tail(std::uint64_t blocks) {
  const Outcome<sb::Info> info = stick_.info();
  if (!info) return info.failure();
  const std::uint64_t used = info->used_blocks;
  const std::uint64_t first = used > blocks ? used - blocks : 0;
  Bytes content(static_cast<std::size_t>((used - first) * sb::sector_bytes));
  if (Deed read = stick_.read_store(first, content); !read) return read.failure();
  // Where a file begins is not known: where the rest reads as whole files up to the end.
  const auto is_header = [&](std::size_t begin) {
    constexpr std::string_view mark = "ustar";
    const ByteView place = ByteView(content).subspan(begin + 257, mark.size());
    return std::equal(mark.begin(), mark.end(), place.begin());
  };
  for (std::size_t begin = 0; begin < content.size(); begin += sb::sector_bytes) {
    if (!is_header(begin)) continue;
    Result<std::vector<evidence::TarEntry>> entries =
        evidence::read_tar(ByteView(content).subspan(begin));
    if (entries) return Tail{std::move(*entries), first == 0 && begin == 0};
  }
  return Tail{{}, first == 0};
}

Outcome<std::vector<evidence::LogMessage>> SwissbitTse::logs_above(std::uint64_t counter) {
  for (std::uint64_t blocks = 512;; blocks *= 4) {
    const Outcome<Tail> last = tail(blocks);
    if (!last) return last.failure();
    std::vector<evidence::LogMessage> logs;
    bool complete = last->all;
    for (const evidence::TarEntry& entry : last->entries) {
      Result<evidence::ParsedLog> log = evidence::parse_log(entry.content);
      if (!log) continue;  // info.csv, certificates
      complete = complete || log->message.counter <= counter + 1;
      if (log->message.counter > counter &&
          std::holds_alternative<evidence::TransactionLog>(log->message.content)) {
        logs.push_back(std::move(log->message));
      }
    }
    if (complete || blocks >= most_tail_blocks) return logs;
  }
}

Deed SwissbitTse::export_archive(const ArchiveSink& sink) {
  const Outcome<sb::Info> info = stick_.info();
  if (!info) return info.failure();
  Bytes piece(export_piece_bytes);
  std::uint64_t block = 0;
  while (block < info->used_blocks) {
    const auto count = static_cast<std::size_t>(
        std::min<std::uint64_t>(export_piece_bytes / sb::sector_bytes, info->used_blocks - block));
    const std::span<std::uint8_t> part = std::span(piece).first(count * sb::sector_bytes);
    if (Deed read = stick_.read_store(block, part); !read) return read;
    if (Status taken = sink(part); !taken) return from_io(taken.error());
    block += count;
  }
  return done();
}

}  // namespace

std::unique_ptr<Tse> make_swissbit_tse(std::unique_ptr<StickVolume> volume, OpenStyle style,
                                       Clock& clock, const std::string& seed) {
  return std::make_unique<SwissbitTse>(std::move(volume), style, clock, seed);
}

}  // namespace tillbridge::pos
