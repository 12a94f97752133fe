#include "server/usb/command_end.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "server/usb/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

using massstorage::DataDirection;
using usb::TransferStatus;

namespace {

/// The largest packet of a bulk endpoint (USB 3: 1024 bytes). A read of a multiple of it never
/// meets more data than it has room for.
constexpr std::uint32_t packet_bytes = 1024;
constexpr std::uint32_t read_bytes = 64U << 10U;

}  // namespace

CommandEnd::CommandEnd(transport::Loop& loop, Leftover left)
    : loop_(loop), left_(std::move(left)), timer_(loop) {}

CommandEnd::~CommandEnd() {
  left_.stick.reset();
}

void CommandEnd::start(std::function<void()> ended) {
  ended_ = std::move(ended);
  log::info("stick " + left_.name +
            ": the command that its till left unfinished is brought to its end");
  left_.events->completed = [this](const usb::Completion& completion) { completed(completion); };
  timer_.arm(loop_.now() + limits::command_end, [this] {
    abort("it was not ended within " + std::to_string(limits::command_end.count()) + " s");
  });
  next();
}

void CommandEnd::completed(const usb::Completion& completion) {
  const auto found = left_.running.find(completion.id);
  if (found == left_.running.end() || over_) return;
  const bool out = found->second;
  left_.running.erase(found);
  left_.watch.completed(completion);
  if (completion.status == TransferStatus::device_gone) return end();
  const auto& command = left_.watch.command();
  if (completion.status == TransferStatus::stall && !aborting_) {
    data_over_ = true;
    ++stalls_;
    steps_.push_back(usb::clear_halt(out ? command.out : command.in));
  } else if (completion.status != TransferStatus::success &&
             completion.status != TransferStatus::short_read && !aborting_) {
    return abort("the stick ended a transfer with \"" + std::string(usb::name(completion.status)) +
                 "\"");
  }
  next();
}

// One thing at a time, as a class driver would.
void CommandEnd::next() {
  if (over_ || !left_.running.empty()) return;
  if (!steps_.empty()) {
    const usb::SetupPacket step = steps_.front();
    steps_.pop_front();
    return submit(usb::control_transfer(0, step), !step.in());
  }
  if (aborting_ || !left_.watch.in_command()) return end();
  const auto& command = left_.watch.command();
  const bool data_missing = command.block.direction() == DataDirection::out &&
                            command.moved < command.block.data_length && !data_over_;
  if (data_missing) return abort("its till had not sent all of its data");
  if (stalls_ > 2) return abort("the stick stalls");
  read_on();
}

void CommandEnd::read_on() {
  const auto& command = left_.watch.command();
  if (++reads_ > command.block.data_length / packet_bytes + 4) {
    return abort("the stick gives no status");
  }
  const std::uint32_t wanted =
      command.block.direction() == DataDirection::in && command.moved < command.block.data_length
          ? std::min(command.block.data_length - command.moved, read_bytes)
          : packet_bytes;
  usb::Transfer read;
  read.type = usb::TransferType::bulk;
  read.endpoint = command.in;
  read.length = (wanted + packet_bytes - 1) / packet_bytes * packet_bytes;
  submit(std::move(read), false);
}

void CommandEnd::submit(usb::Transfer transfer, bool out) {
  transfer.id = ++last_id_;
  left_.running.emplace(transfer.id, out);
  left_.watch.submitted(transfer);
  left_.stick->submit(std::move(transfer));
}

void CommandEnd::abort(const std::string& why) {
  if (aborting_) return end();  // that took too long as well
  aborting_ = true;
  const auto& command = left_.watch.command();
  log::warning("stick " + left_.name + ": the command that its till left unfinished is aborted, " +
               why);
  steps_ = {usb::bulk_only_reset(command.interface), usb::clear_halt(command.in),
            usb::clear_halt(command.out)};
  timer_.arm(loop_.now() + limits::command_abort, [this] { end(); });
  std::vector<usb::TransferId> running;
  for (const auto& [id, out] : left_.running) running.push_back(id);
  for (const usb::TransferId id : running) left_.stick->cancel(id);
  next();
}

void CommandEnd::end() {
  if (std::exchange(over_, true)) return;
  timer_.cancel();
  loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) std::exchange(ended_, nullptr)();
  });
}

}  // namespace tillbridge::server
