// How a log comes into being, and what has to hold for that.

#include <algorithm>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "server/simulator/tse/core_state.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {
namespace {

/// What a transaction's log must leave free: some thirty system logs, and enough to finish what is
/// open afterwards (a TAR header and up to 1536 bytes each). So whatever was started can be
/// finished, and then exported and deleted.
std::uint64_t reserve_bytes(const CoreOptions& options, const Kept& afterwards) {
  constexpr std::uint64_t system_logs_bytes = 32U << 10U,
                          finish_bytes = 4 * evidence::tar_block_bytes;
  return std::min(system_logs_bytes, options.store_bytes / 8) +
         afterwards.open_transactions.size() * finish_bytes;
}

Bytes audit_data() {
  Bytes data = tlv(0x81, "Unidentified");
  append_tlv(data, 0x82, Bytes{0x01});
  append_tlv(data, 0x83, Bytes{0x00, 0x58});
  append_tlv(data, 0x84, {});
  return data;
}

}  // namespace

Answer<TseCore::State::NewLog> TseCore::State::make_log(Kept& next, Content content,
                                                        std::uint64_t time_s, Room room,
                                                        std::uint64_t used_bytes) const {
  if (const auto refusal = signing_refusal(time_s)) return *refusal;
  NewLog log;
  log.message.content = std::move(content);
  log.message.serial = serial;
  log.message.hash = options.hash;
  log.message.counter = next.signature_counter + 1;
  log.message.time_format = options.time_format;
  log.message.time_s = time_s;
  evidence::sign(log.message, key);
  log.entry = evidence::tar_entry(
      {evidence::file_name(log.message), evidence::encode(log.message), time_s});

  const std::uint64_t reserved = room == Room::whole ? 0 : reserve_bytes(options, next);
  if (used_bytes + log.entry.size() + reserved > options.store_bytes) return Refusal::store_full;
  next.signature_counter = log.message.counter;
  next.last_time_s = time_s;
  return log;
}

Answer<Signed> TseCore::State::sign(Kept next, Content content, std::uint64_t time_s, Room room) {
  const std::uint64_t offset = store->log_bytes();
  const auto log = make_log(next, std::move(content), time_s, room, offset);
  if (!log) return log.refusal();
  if (!store->commit(state_text(next, options, key_pem, head.size()), log->entry))
    return Refusal::storage_failed;
  kept = std::move(next);
  logs.push_back(index_entry(log->message, offset, log->entry.size()));
  return Signed{logs.back().transaction.value_or(0), logs.back().counter, time_s,
                log->message.signature};
}

Done TseCore::State::sign_system(Kept next, const char* operation, Bytes data, Instant now) {
  const auto log = sign(std::move(next), evidence::SystemLog{operation, std::move(data), {}},
                        log_time_s(now), Room::whole);
  return log ? done() : Done(log.refusal());
}

Done TseCore::State::sign_extended(Kept next, const char* operation, Bytes data, Instant now) {
  if (!options.extended_system_logs) return commit(std::move(next));
  return sign_system(std::move(next), operation, std::move(data), now);
}

Done TseCore::State::commit(Kept next) {
  if (!store->commit(state_text(next, options, key_pem, head.size()), {}))
    return Refusal::storage_failed;
  kept = std::move(next);
  return done();
}

void TseCore::State::begin(Instant now) {
  const Duration command_at = simulated(now);
  const bool idle =
      options.idle_logout.count() > 0 && command_at - powered.last_command >= options.idle_logout;
  powered.last_command = command_at;
  for (std::size_t user = 0; idle && user < user_count; ++user) {
    if (!std::exchange(powered.logged_in[user], false)) continue;
    Bytes data = tlv(0x81, options.user_name[user]);
    append_tlv(data, 0x82, Bytes{1});  // TR-03151: cause time-out
    // Without room for its log the user is logged out all the same.
    static_cast<void>(sign_system(kept, "LogOut", std::move(data), now));
  }
  const bool in_use =
      kept.life_cycle == LifeCycle::active || kept.life_cycle == LifeCycle::deactivated;
  if (in_use && std::exchange(powered.audit_log_due, false))
    static_cast<void>(sign(kept, evidence::AuditLog{audit_data()}, log_time_s(now), Room::whole));
}

std::optional<Refusal> TseCore::State::signing_refusal(std::uint64_t time_s) const {
  if (kept.life_cycle == LifeCycle::disabled) return Refusal::disabled;
  if (certificate_end_s < 0 || time_s > static_cast<std::uint64_t>(certificate_end_s))
    return Refusal::certificate_expired;
  if (kept.signature_counter >= options.most_signatures) return Refusal::signatures_used_up;
  return std::nullopt;
}

std::optional<Refusal> TseCore::State::self_test_refusal(Instant now) const {
  if (self_test_passed(now)) return std::nullopt;
  if (powered.self_test == Powered::SelfTest::failed) return Refusal::self_test_failed;
  return Refusal::self_test_required;
}

std::optional<Refusal> TseCore::State::admin_refusal() const {
  if (kept.life_cycle == LifeCycle::disabled) return Refusal::disabled;
  if (powered.logged_in[static_cast<std::size_t>(User::admin)]) return std::nullopt;
  if (powered.logged_in[static_cast<std::size_t>(User::time_admin)]) return Refusal::not_authorised;
  return Refusal::not_logged_in;
}

// --- the content of system logs

void append_tlv(Bytes& to, std::uint8_t tag, ByteView value) {
  ByteWriter head;
  head.u8(tag);
  if (value.size() < 0x80) {
    head.u8(static_cast<std::uint8_t>(value.size()));
  } else {
    head.u8(0x82);  // names of a configuration: never near 64 KiB
    head.u16be(static_cast<std::uint16_t>(value.size()));
  }
  head.bytes(value);
  to.insert(to.end(), head.view().begin(), head.view().end());
}

Bytes tlv(std::uint8_t tag, std::string_view value) {
  Bytes element;
  append_tlv(element, tag, Bytes(value.begin(), value.end()));
  return element;
}

Bytes raw_time(std::uint64_t unix_s) {
  ByteWriter time;
  time.u32be(static_cast<std::uint32_t>(std::min<std::uint64_t>(unix_s, UINT32_MAX)));
  return time.finish();
}

bool is_client_id(std::string_view text) {
  return !text.empty() && text.size() <= limits::tse_client_id_bytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace tillbridge::simulator::tse
