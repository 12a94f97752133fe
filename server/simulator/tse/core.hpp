// TseCore: the security module and the storage of a simulated TSE. Knows nothing of USB or of any
// vendor's protocol; front ends translate.
//
// What is stored, and how a log looks, follows BSI TR-03151 v1.0.1. Where the guideline leaves
// something to the product:
//  - Log time without a time of day: the time of the last log; before the first one, the begin of
//    the certificate. (So a login after power-up, which TR-03151 wants logged, does not look as if
//    it were from 1970.)
//  - After the certificate's end, judged by the TSE's own clock, nothing is signed any more, and
//    the time cannot be set to after it.
//  - A blocked PIN or PUK stays blocked over power cycles; a wrong try is stored before it is
//    answered.
//  - A part of the store is kept for system logs and for finishing what is open: so a TSE whose
//    store is full can still be finished, exported and emptied. What does not fit is refused whole.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/result.hpp"
#include "server/simulator/tse/store.hpp"
#include "tse/evidence/keys.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::simulator::tse {

namespace evidence = ::tillbridge::tse;

enum class LifeCycle : std::uint8_t { not_initialized, active, deactivated, disabled };
enum class User : std::uint8_t { admin, time_admin };
inline constexpr std::size_t user_count = 2;

/// Why an operation was not carried out. Nothing was stored then.
enum class Refusal : std::uint8_t {
  not_initialized,
  already_initialized,
  no_time,             ///< since power-up, or the time is older than its interval
  self_test_required,  ///< since power-up, or the last one is too old
  self_test_failed,
  not_active,  ///< deactivated
  disabled,
  certificate_expired,
  signatures_used_up,
  store_full,
  storage_failed,  ///< the machine below could not store it
  not_logged_in,
  not_authorised,  ///< logged in, but not as the right user
  unknown_client,
  too_many_clients,
  client_has_open_transactions,
  no_such_transaction,
  not_clients_transaction,
  too_many_transactions,
  open_transactions,
  unexported_data,
  no_data,  ///< nothing matches
  too_many_records,
  bad_parameter,
  pins_not_set,  ///< still in transport state
};

template <typename T>
class [[nodiscard]] Answer {
 public:
  Answer(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Answer(Refusal refusal) : state_(std::in_place_index<1>, refusal) {}
  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] T& operator*() { return std::get<0>(state_); }
  [[nodiscard]] const T& operator*() const { return std::get<0>(state_); }
  [[nodiscard]] const T* operator->() const { return &std::get<0>(state_); }
  [[nodiscard]] Refusal refusal() const { return std::get<1>(state_); }

 private:
  std::variant<T, Refusal> state_;
};
using Done = Answer<std::monostate>;
[[nodiscard]] inline Done done() {
  return Done(std::monostate{});
}

/// By User.
struct TransportCredentials {
  std::string pin[user_count], puk[user_count];
};

struct CoreOptions {
  evidence::Curve curve = evidence::Curve::p384;
  evidence::Hash hash = evidence::Hash::sha384;
  evidence::TimeFormat time_format = evidence::TimeFormat::unix_time;
  // info.csv
  std::string description = "tillbridge simulated TSE", manufacturer = "tillbridge",
              version = "1.0";
  /// One PEM file with the whole chain (Swissbit), or one DER file for each certificate.
  bool chain_in_one_pem = false;
  /// Also writes logs for what TR-03151 does not demand: registerClient, selfTest ...
  bool extended_system_logs = false;
  /// An audit log at each power-up's first command, as one recorded card does.
  bool audit_log_at_start = false;
  /// Logs hold process data in pieces of this many bytes (TransactionLog::piece_bytes).
  std::uint32_t process_data_piece_bytes = 0;

  /// PINs and PUKs of the transport state, by User; empty: there is none, the first set_pins()
  /// needs no old one.
  std::string transport_pin[user_count], transport_puk[user_count];
  /// Instead, for factory credentials that derive from the serial number. Asked once, at the first
  /// start.
  std::function<TransportCredentials(const evidence::SerialNumber&)> transport_credentials;
  std::uint8_t pin_tries = 3, puk_tries = 3;
  /// How logs name the users.
  std::string user_name[user_count] = {"Admin", "TimeAdmin"};
  /// Users that give no command for this long are logged out (TR-03151 LogOut, cause time-out); 0:
  /// never.
  Duration idle_logout{0};

  std::uint64_t most_signatures = 20'000'000;
  std::uint64_t store_bytes = 64U << 20U;
  std::uint32_t most_clients = 100, most_open_transactions = 512;
  /// Time and self test are good for this long on the TSE's own clock; 0: for ever.
  Duration time_valid{0}, self_test_valid{0};
  bool needs_self_test = false;  ///< after power-up
  /// Unix seconds. The chain is made at the first start.
  std::int64_t certificate_begin = 1'735'689'600, certificate_end = 2'051'222'400;  // 2025 to 2034
  /// Simulated seconds for each real one.
  double clock_rate = 1.0;
};

/// Of whatever asks for a PIN or PUK; tries_left counts that one's.
struct LoginResult {
  enum class What : std::uint8_t {
    ok,
    wrong,    ///< tries_left 0: and now it is blocked
    blocked,  ///< it was already; what was given was not looked at
    unknown_user,
    refused,  ///< not looked at either: `refusal` says why
  } what{};
  std::uint8_t tries_left = 0;
  Refusal refusal{};
};

/// What one signature brought.
struct Signed {
  std::uint64_t transaction = 0, counter = 0;
  std::uint64_t time_s = 0;
  Bytes signature;
};

struct OpenTransaction {
  std::uint64_t number = 0;
  std::string client;
  std::uint64_t start_time_s = 0;
};

/// One log message in the store.
struct StoredLog {
  std::uint64_t counter = 0;
  std::optional<std::uint64_t> transaction;
  std::string client;  ///< of transaction logs
  std::uint64_t time_s = 0;
  std::uint64_t offset = 0;  ///< of its TAR header in the store
  std::uint32_t tar_bytes = 0;
};

/// What an export selects; all conditions hold together.
struct ExportFilter {
  std::optional<std::string> client;
  std::optional<std::uint64_t> first_transaction, last_transaction;
  std::optional<std::uint64_t> from_time_s, to_time_s;
  std::optional<std::uint64_t> above_counter;
  std::uint32_t most_records = 0;    ///< 0: any number
  bool cut_at_most_records = false;  ///< the first ones only, rather than too_many_records
};

/// An export that is read in pieces. What it holds is what was stored when it was opened, whatever
/// is signed meanwhile; only a deletion ends it.
class Export {
 public:
  /// Head and selected logs, without trailer.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t records() const { return records_; }

 private:
  friend class TseCore;
  struct Piece {
    std::uint64_t export_offset, store_offset, bytes;
  };
  std::vector<Piece> pieces_;
  std::uint64_t bytes_ = 0, records_ = 0, deletions_ = 0;
  /// Once read to its end, everything up to `exported_to_` is exported if it was up to
  /// `exported_from_` before.
  std::uint64_t exported_from_ = 0, exported_to_ = 0;
};

/// The store is at every moment a TAR archive without its trailer: info.csv, the certificates, then
/// one file for each log by rising counter.
///
/// Time of day: unknown after power-up. set_time() sets it, from then on it advances with `now`.
/// Every method takes `now` and first looks what has expired. A successful change is in the Store
/// before the method returns.
class TseCore {
 public:
  /// A fresh store gets a key and a chain; a used one is continued (its options' curve and hash
  /// must be the ones it was made with). ErrorCode::config or io, for a person.
  [[nodiscard]] static Result<std::unique_ptr<TseCore>> open(CoreOptions options,
                                                             std::unique_ptr<Store> store);
  ~TseCore();
  TseCore(const TseCore&) = delete;
  TseCore& operator=(const TseCore&) = delete;
  TseCore(TseCore&&) = delete;
  TseCore& operator=(TseCore&&) = delete;

  /// Logins, time and self test are lost; everything else stays.
  void power_cycle();
  /// Another speed of the TSE's clock from now on.
  void set_clock_rate(double rate, Instant now);

  // --- state
  [[nodiscard]] LifeCycle life_cycle() const;
  [[nodiscard]] bool has_time(Instant now) const;
  [[nodiscard]] std::optional<std::uint64_t> time_s(Instant now) const;
  [[nodiscard]] bool self_test_passed(Instant now) const;
  /// Seconds of the TSE's clock until it must be done again; 0: now; UINT32_MAX: never.
  [[nodiscard]] std::uint32_t seconds_to_time(Instant now) const;
  [[nodiscard]] std::uint32_t seconds_to_self_test(Instant now) const;
  [[nodiscard]] std::uint64_t signature_counter() const;
  [[nodiscard]] std::uint64_t transaction_counter() const;
  [[nodiscard]] std::uint64_t signatures_left() const;
  [[nodiscard]] const std::vector<std::string>& clients() const;
  [[nodiscard]] std::vector<OpenTransaction> open_transactions() const;
  [[nodiscard]] const evidence::PublicKey& public_key() const;
  [[nodiscard]] evidence::SerialNumber serial() const;
  /// Leaf to root, DER.
  [[nodiscard]] const std::vector<Bytes>& chain() const;
  [[nodiscard]] std::int64_t certificate_end() const;
  [[nodiscard]] const CoreOptions& options() const;

  // --- users
  /// True until set_pins() (or change_pin) replaced the transport PIN of that user.
  [[nodiscard]] bool in_transport_state(User user) const;
  [[nodiscard]] bool puk_in_transport_state(User user) const;
  /// First setting of PUK and PIN; `already_initialized` once one of them was set. An empty PIN
  /// stays unset until unblock() sets it.
  [[nodiscard]] Done set_pins(User user, std::string_view puk, std::string_view pin, Instant now);
  /// A user who has no PIN yet is refused with pins_not_set.
  [[nodiscard]] LoginResult login(User user, std::string_view pin, Instant now);
  [[nodiscard]] Done logout(User user, Instant now);
  [[nodiscard]] bool logged_in(User user) const;
  /// Tries of the PIN, or PUK, that are left.
  [[nodiscard]] std::uint8_t tries_left(User user) const;
  [[nodiscard]] std::uint8_t puk_tries_left(User user) const;
  /// Sets a new PIN and gives it back all its tries. Does not log in.
  [[nodiscard]] LoginResult unblock(User user, std::string_view puk, std::string_view new_pin,
                                    Instant now);
  [[nodiscard]] LoginResult change_pin(User user, std::string_view old_pin,
                                       std::string_view new_pin, Instant now);
  [[nodiscard]] LoginResult change_puk(User user, std::string_view old_puk,
                                       std::string_view new_puk, Instant now);

  // --- administration. Who must be logged in: the admin; for set_time the admin or the time admin.
  // Life cycle is asked for only where it decides: time, self test and clients may be set before
  // initialize(), as Swissbit's set-up does. A front end whose product wants another order looks at
  // life_cycle() first.
  [[nodiscard]] Done initialize(Instant now);
  /// 1 to UINT32_MAX: UpdateTime logs hold 4 bytes.
  [[nodiscard]] Done set_time(std::uint64_t unix_s, Instant now);
  /// Needs no login. `fails`: a test bench wants it to.
  [[nodiscard]] Done self_test(Instant now, bool fails = false);
  /// 1 to 30 printable ASCII characters. Again: done, nothing changes.
  [[nodiscard]] Done register_client(std::string_view client, Instant now);
  [[nodiscard]] Done deregister_client(std::string_view client, Instant now);
  [[nodiscard]] Done deactivate(Instant now);
  [[nodiscard]] Done activate(Instant now);
  /// For good.
  [[nodiscard]] Done disable(Instant now);

  /// 32 bits that outlive power failures and whose meaning is the front end's.
  [[nodiscard]] std::uint32_t front_end_flags() const;
  [[nodiscard]] Done set_front_end_flags(std::uint32_t flags);

  // --- transactions: without any login
  [[nodiscard]] Answer<Signed> start(std::string_view client, ByteView data, std::string_view type,
                                     Instant now);
  [[nodiscard]] Answer<Signed> update(std::uint64_t transaction, std::string_view client,
                                      ByteView data, std::string_view type, Instant now);
  [[nodiscard]] Answer<Signed> finish(std::uint64_t transaction, std::string_view client,
                                      ByteView data, std::string_view type, Instant now);

  // --- the store
  [[nodiscard]] const std::vector<StoredLog>& logs() const;
  [[nodiscard]] std::uint64_t store_bytes_used() const;
  /// The archive as it stands: info.csv, certificates, logs. `offset + data.size() <=
  /// store_bytes_used()`.
  [[nodiscard]] Status read_store(std::uint64_t offset, std::span<std::uint8_t> data);
  /// info.csv and the certificates: how every export begins.
  [[nodiscard]] std::uint64_t head_bytes() const;
  /// The certificates alone as an archive without trailer.
  [[nodiscard]] Bytes certificate_archive() const;
  /// A filter for clients or transactions selects transaction logs only. no_data,
  /// too_many_records.
  [[nodiscard]] Answer<Export> open_export(const ExportFilter& filter) const;
  /// `offset + data.size() <= bytes()`. Reading the last byte counts as having exported it all.
  /// ErrorCode::unavailable after a deletion.
  [[nodiscard]] Status read_export(const Export& from, std::uint64_t offset,
                                   std::span<std::uint8_t> data);
  /// All of it at once, at most limits::tse_archive_bytes (too_many_records).
  [[nodiscard]] Answer<Bytes> export_logs(const ExportFilter& filter);
  /// For hosts that read the store itself: what they have read is exported up to this counter.
  void mark_exported(std::uint64_t counter);
  /// Every log up to this counter was handed out. Stored with the next change, so a power failure
  /// right after an export may ask for it once more.
  [[nodiscard]] std::uint64_t exported_counter() const;
  /// The last message signed, as it is in the store, without its TAR header.
  [[nodiscard]] Answer<Bytes> last_log();
  /// Deletes what was exported: all logs up to this counter. By the admin, only without open
  /// transactions, and only what an export handed out (unexported_data).
  [[nodiscard]] Done delete_up_to(std::uint64_t counter, Instant now);

 private:
  struct State;
  explicit TseCore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace tillbridge::simulator::tse
