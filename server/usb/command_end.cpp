#include "server/usb/command_end.hpp"

#include <algorithm>
#include <utility>

#include "server/usb/limits.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

using massstorage::DataDirection;
using usb::TransferStatus;

namespace {

/// The largest packet of a bulk endpoint (USB 3).
constexpr std::uint32_t packet_bytes = 1024;
/// The usual one of full speed, of which those of the other speeds are multiples.
constexpr std::uint32_t smallest_packet = 64;
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
  if (left_.running.erase(completion.id) == 0 || over_) return;
  left_.watch.completed(completion);
  if (completion.status == TransferStatus::device_gone) return end();
  const bool halted = completion.status == TransferStatus::stall && completion.id != control_;
  if (!halted && completion.status != TransferStatus::success &&
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
    return submit(usb::control_transfer(0, step));
  }
  if (aborting_ || !left_.watch.in_command()) return end();
  const auto& command = left_.watch.command();
  const bool data_missing = command.block.direction() == DataDirection::out &&
                            command.moved < command.block.data_length && !command.data_over;
  if (data_missing) return abort("its till had not sent all of its data");
  for (const auto& [halted, endpoint] :
       {std::pair(command.in_halted, command.in), std::pair(command.out_halted, command.out)}) {
    if (!halted) continue;
    if (++cleared_ > 2) return abort("the stick stalls");
    return submit(usb::control_transfer(0, usb::clear_halt(endpoint)));
  }
  read_on();
}

void CommandEnd::read_on() {
  const auto& command = left_.watch.command();
  if (++reads_ > command.block.data_length / packet_bytes + 4) {
    return abort("the stick gives no status");
  }
  // What is left of its data and no packet more: data in whole packets has no end of its own, and a
  // longer read would wait for what does not come. Not less than a status either.
  const bool data = command.block.direction() == DataDirection::in && !command.data_over &&
                    command.moved < command.block.data_length;
  usb::Transfer read;
  read.type = usb::TransferType::bulk;
  read.endpoint = command.in;
  read.length = data ? (std::min(command.block.data_length - command.moved, read_bytes) +
                        smallest_packet - 1) /
                           smallest_packet * smallest_packet
                     : packet_bytes;
  submit(std::move(read));
}

void CommandEnd::submit(usb::Transfer transfer) {
  transfer.id = ++last_id_;
  if (transfer.type == usb::TransferType::control) control_ = transfer.id;
  left_.running.insert(transfer.id);
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
  const auto running = left_.running;
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
