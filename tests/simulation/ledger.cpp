#include "tests/simulation/ledger.hpp"

#include <algorithm>

namespace tillbridge::simulation {
namespace {

/// Less than this is no data of a disk, but a command block.
constexpr std::size_t disk_block_bytes = 512;

/// Bulk-Only Transport 5.3.4: mass storage reset, then CLEAR_FEATURE(HALT) of both endpoints.
constexpr std::uint8_t bulk_only_reset_type = 0x21, bulk_only_reset = 0xFF,
                       clear_feature_type = 0x02, clear_feature = 0x01;

}  // namespace

bool Ledger::counts(const usb::Transfer& transfer) const {
  if (reads_count_ && transfer.type != usb::TransferType::control) return true;
  if (transfer.type == usb::TransferType::control)
    return (transfer.setup.request_type & 0x80U) == 0;
  return (transfer.endpoint & 0x80U) == 0;
}

Ledger::Line Ledger::line(const usb::Transfer& transfer) {
  Line line;
  std::uint64_t digest = 14695981039346656037U;
  const auto add = [&](std::uint64_t value) { digest = (digest ^ value) * 1099511628211U; };
  if (transfer.type == usb::TransferType::control) {
    const usb::SetupPacket& setup = transfer.setup;
    for (const std::uint32_t field :
         {std::uint32_t{setup.request_type}, std::uint32_t{setup.request},
          std::uint32_t{setup.value}, std::uint32_t{setup.index}}) {
      add(field);
    }
    line.ends_command =
        (setup.request_type == bulk_only_reset_type && setup.request == bulk_only_reset) ||
        (setup.request_type == clear_feature_type && setup.request == clear_feature);
    line.what = "request " + std::to_string(setup.request_type) + "/" +
                std::to_string(setup.request) + " value " + std::to_string(setup.value);
  } else {
    add(transfer.endpoint);
    line.what = std::to_string(transfer.data.size()) + " bytes for endpoint " +
                std::to_string(transfer.endpoint);
  }
  for (const std::uint8_t byte : transfer.data) add(byte);
  line.digest = digest;
  line.id = transfer.id;
  return line;
}

void Ledger::arrived(const std::string& till) {
  User& user = users_[till];
  // Of what was asked of it before nothing may reach it any more.
  lost_ += static_cast<std::uint64_t>(std::count_if(
      user.asked.begin(), user.asked.end(), [](const Line& asked) { return !asked.taken_back; }));
  user.asked.clear();
  user.current = true;
}

void Ledger::asked(const std::string& till, const usb::Transfer& transfer) {
  if (!counts(transfer)) return;
  std::deque<Line>& asked = users_[till].asked;
  asked.push_back(line(transfer));
  asked.back().number = ++last_number_;
  if (calm_) {
    world_.after(at_once, [this, &asked, number = last_number_] {
      const bool waits = std::any_of(asked.begin(), asked.end(),
                                     [&](const Line& each) { return each.number == number; });
      if (waits) world_.violation("does not reach the stick");
    });
  }
  if (transfer.data.size() < disk_block_bytes) return;
  if (asked.back().digest == last_data_) asked_again_ += 1;
  last_data_ = asked.back().digest;
}

void Ledger::answered(const std::string& till, const usb::Completion& completion) {
  using usb::TransferStatus;
  if (completion.status == TransferStatus::success ||
      completion.status == TransferStatus::short_read) {
    return;  // or will be: the pipeline answers early
  }
  // Ids begin anew with each client of the session: the last one is meant.
  std::deque<Line>& asked = users_[till].asked;
  const auto found = std::find_if(asked.rbegin(), asked.rend(),
                                  [&](const Line& each) { return each.id == completion.id; });
  if (found == asked.rend()) return;
  if (completion.status == TransferStatus::cancelled) {
    found->taken_back = true;
    return;
  }
  if (strict_) world_.violation("reported as failed, and never tried: " + found->what);
  failed_ += 1;
  asked.erase(std::next(found).base());
}

std::uint64_t Ledger::digest_of(ByteView bytes) {
  std::uint64_t digest = 14695981039346656037U;
  for (const std::uint8_t byte : bytes) digest = (digest ^ byte) * 1099511628211U;
  return digest;
}

void Ledger::gave(ByteView answer) {
  if (reads_count_ && !answer.empty()) answers_.push_back(digest_of(answer));
}

void Ledger::got(ByteView answer) {
  const auto found = std::find(answers_.begin(), answers_.end(), digest_of(answer));
  if (found == answers_.end()) return;  // of endpoint 0
  if (found != answers_.begin()) world_.violation("an answer of the stick was lost");
  answers_.erase(answers_.begin(), found + 1);
}

void Ledger::pulled() {
  pulls_ += 1;
  for (auto& [till, user] : users_) user.current = false;
}

void Ledger::reached_stick(const usb::Transfer& transfer) {
  if (!counts(transfer)) return;
  const Line arrived = line(transfer);
  const std::string till = holder_();
  User& user = users_[till];
  const auto found = std::find_if(user.asked.begin(), user.asked.end(), [&](const Line& asked) {
    return asked.digest == arrived.digest;
  });
  if (found == user.asked.end() && arrived.ends_command && command_ends_allowed_) {
    command_ends_ += 1;
    return;
  }
  if (found == user.asked.end()) {
    world_.violation(
        "the stick got what nobody asked of it, or got it twice, or after it had "
        "failed: " +
        arrived.what);
    return;
  }
  if (!user.current) world_.violation("goes on with a stick that is not what it was: " + till);
  for (auto& [other, its] : users_) {
    if (other != till) its.current = false;
  }
  reached_ += 1;
  if (found->taken_back) {
    // Of two that are alike the one that was not taken back is the one that came.
    const auto twin = std::find_if(found, user.asked.end(), [&](const Line& asked) {
      return asked.digest == arrived.digest && !asked.taken_back;
    });
    if (twin != user.asked.end()) twin->taken_back = true;
  }
  for (auto missing = user.asked.begin(); missing != found; ++missing) {
    if (missing->taken_back) continue;
    lost_ += 1;
    if (strict_) world_.violation("lost on the way to the stick: " + missing->what);
  }
  user.asked.erase(user.asked.begin(), found + 1);
}

void LentDevice::die() {
  dead_ = true;
  for (const auto& [id, reads] : running_) device_->cancel(id, world_.now());
  while (device_->poll_completion()) {
  }
  running_.clear();
}

void LentDevice::submit(usb::Transfer transfer, Instant now) {
  if (dead_) return;
  const bool reads = transfer.type == usb::TransferType::bulk && transfer.in();
  if (!running_.emplace(transfer.id, reads).second) {
    world_.violation("a transfer was submitted to the stick twice");
  }
  ledger_.reached_stick(transfer);
  device_->submit(std::move(transfer), now);
}

void LentDevice::reset(Instant now) {
  if (dead_) return;
  world_.violation("the stick was reset");
  device_->reset(now);
}

void LentDevice::power_cycle(Instant now) {
  ledger_.pulled();
  device_->power_cycle(now);
}

std::optional<usb::Completion> LentDevice::poll_completion() {
  if (dead_) return std::nullopt;
  auto completion = device_->poll_completion();
  if (!completion) return completion;
  const auto found = running_.find(completion->id);
  if (found == running_.end()) {
    world_.violation("the stick completed a transfer twice");
    return completion;
  }
  if (found->second) ledger_.gave(completion->data);
  running_.erase(found);
  return completion;
}

}  // namespace tillbridge::simulation
