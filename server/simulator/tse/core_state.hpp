// What TseCore is made of. For core*.cpp only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/simulator/tse/core.hpp"

namespace tillbridge::simulator::tse {

struct Account {
  std::string pin, puk;                       ///< empty: none
  bool pin_set = false, puk_set = false;      ///< by a person; otherwise still in transport state
  std::uint8_t pin_tries = 0, puk_tries = 0;  ///< left
};

/// What outlives a power failure, besides the key and the logs.
struct Kept {
  LifeCycle life_cycle = LifeCycle::not_initialized;
  std::uint64_t signature_counter = 0, transaction_counter = 0;
  std::uint64_t last_time_s = 0;  ///< of the last log
  std::uint64_t exported_counter = 0;
  std::uint32_t front_end_flags = 0;
  std::array<Account, user_count> accounts;
  std::vector<std::string> clients;
  std::vector<OpenTransaction> open_transactions;
};

/// What does not.
struct Powered {
  struct TimeOfDay {
    std::uint64_t unix_s = 0;
    Duration set_at{0};  ///< simulated
  };
  std::optional<TimeOfDay> time;  ///< stays when it is too old, for the logs
  enum class SelfTest : std::uint8_t { not_done, passed, failed } self_test = SelfTest::not_done;
  Duration self_test_at{0};  ///< simulated
  std::array<bool, user_count> logged_in{};
  bool audit_log_due = false;
  Instant last_command{0};
};

struct StoredState {
  evidence::SigningKey key;
  std::uint64_t head_bytes = 0;
  Kept kept;
};
/// A JSON text. `key_pem` is the same for each commit, so its caller keeps it.
[[nodiscard]] std::string state_text(const Kept& kept, const CoreOptions& options,
                                     const std::string& key_pem, std::uint64_t head_bytes);
/// ErrorCode::config, for a person. Any text is safe.
[[nodiscard]] Result<StoredState> parse_state(const std::string& text, const CoreOptions& options);

/// info.csv and certificates. ErrorCode::config when they do not fit their blocks.
[[nodiscard]] Result<Bytes> make_head(const CoreOptions& options, const std::vector<Bytes>& chain,
                                      const evidence::SerialNumber& serial);
[[nodiscard]] Result<std::vector<Bytes>> chain_of_head(ByteView head);
/// Reads every log behind the head.
[[nodiscard]] Result<std::vector<StoredLog>> read_index(Store& store, std::uint64_t head_bytes,
                                                        const evidence::SerialNumber& serial);
[[nodiscard]] StoredLog index_entry(const evidence::LogMessage& message, std::uint64_t offset,
                                    std::size_t tar_bytes);

struct TseCore::State {
  State(CoreOptions with_options, std::unique_ptr<Store> with_store, evidence::SigningKey with_key);
  /// On a fresh store, on a used one.
  [[nodiscard]] static Result<std::unique_ptr<State>> make(CoreOptions options,
                                                           std::unique_ptr<Store> store);
  [[nodiscard]] static Result<std::unique_ptr<State>> load(CoreOptions options,
                                                           std::unique_ptr<Store> store);

  CoreOptions options;
  std::unique_ptr<Store> store;
  evidence::SigningKey key;
  std::string key_pem;
  evidence::SerialNumber serial;
  Bytes head;
  std::vector<Bytes> chain;
  std::int64_t certificate_end_s = 0;
  std::vector<StoredLog> logs;
  Kept kept;
  std::uint64_t deletions = 0;  ///< ends exports that are under way
  Powered powered;

  // --- clock
  double clock_rate;
  Duration simulated_base{0};
  Instant real_base{0};
  [[nodiscard]] Duration simulated(Instant now) const;
  /// What is left of `validity` since `since`.
  [[nodiscard]] Duration left(Duration since, Duration validity, Instant now) const;
  [[nodiscard]] bool has_time(Instant now) const;
  [[nodiscard]] bool self_test_passed(Instant now) const;
  /// Also without a valid time.
  [[nodiscard]] std::uint64_t log_time_s(Instant now) const;

  // --- rules that several operations share
  /// Comes first in every operation that changes something: idle users, the audit log.
  void begin(Instant now);
  [[nodiscard]] std::optional<Refusal> self_test_refusal(Instant now) const;
  [[nodiscard]] std::optional<Refusal> admin_refusal() const;
  /// Nothing is signed now, whatever it is?
  [[nodiscard]] std::optional<Refusal> signing_refusal(std::uint64_t time_s) const;

  // --- signing
  using Content = std::variant<evidence::TransactionLog, evidence::SystemLog, evidence::AuditLog>;
  enum class Room : std::uint8_t { whole, without_reserve };
  struct NewLog {
    evidence::LogMessage message;
    Bytes entry;  ///< of the archive
  };
  /// Signs, and counts it in `next`; stores nothing. `used_bytes` of the store are taken.
  [[nodiscard]] Answer<NewLog> make_log(Kept& next, Content content, std::uint64_t time_s,
                                        Room room, std::uint64_t used_bytes) const;
  /// Signs `content` and stores the log together with `next`, which becomes `kept`. Refused:
  /// nothing changed.
  [[nodiscard]] Answer<Signed> sign(Kept next, Content content, std::uint64_t time_s, Room room);
  [[nodiscard]] Done sign_system(Kept next, const char* operation, Bytes data, Instant now);
  /// A log that TR-03151 does not demand: only with the option, otherwise as commit().
  [[nodiscard]] Done sign_extended(Kept next, const char* operation, Bytes data, Instant now);
  [[nodiscard]] LoginResult secret_changed(Kept next, LoginResult::What what, User user,
                                           const char* operation, Instant now);

  // --- transactions
  [[nodiscard]] std::optional<Refusal> transaction_refusal(std::string_view client, ByteView data,
                                                           std::string_view type,
                                                           Instant now) const;
  [[nodiscard]] Answer<Signed> continue_transaction(evidence::TransactionStep step,
                                                    std::uint64_t number, std::string_view client,
                                                    ByteView data, std::string_view type,
                                                    Instant now);
  [[nodiscard]] Answer<Signed> sign_transaction(Kept next, evidence::TransactionStep step,
                                                std::uint64_t number, std::string_view client,
                                                ByteView data, std::string_view type, Instant now);

  /// `next` becomes `kept`, without a log.
  [[nodiscard]] Done commit(Kept next);
};

/// The inner TLVs of system logs.
void append_tlv(Bytes& to, std::uint8_t tag, ByteView value);
[[nodiscard]] Bytes tlv(std::uint8_t tag, std::string_view value);
[[nodiscard]] Bytes raw_time(std::uint64_t unix_s);
/// 1 to 30 printable ASCII characters.
[[nodiscard]] bool is_client_id(std::string_view text);

}  // namespace tillbridge::simulator::tse
