#include "plugin/stick.hpp"

#include <algorithm>
#include <utility>

namespace tillbridge::plugin {
namespace {

/// Of our own control transfers, one at a time, and only while nothing of the session is under way:
/// its transfer ids cannot meet this one.
constexpr usb::TransferId own_id = 1;

}  // namespace

void Stick::start() {
  importer_.start();
}

void Stick::receive(ByteView bytes) {
  if (state_ != State::failed && state_ != State::interrupted) importer_.receive(bytes);
}

void Stick::lost() {
  state_ = State::failed;
  importer_.lost();
  for (const usb::TransferId id : outbox_.clear()) end(id, usb::TransferStatus::device_gone);
  if (pipeline_) pipeline_->lost();
}

void Stick::submit(usb::Transfer transfer) {
  if (pipeline_ && pipeline_->concerns(transfer)) {
    pipeline_->submit(std::move(transfer));
  } else {
    wait(std::move(transfer));
  }
}

void Stick::cancel(usb::TransferId id) {
  if (!pipeline_ || !pipeline_->cancel(id)) withdraw(id);
}

void Stick::wait(usb::Transfer transfer) {
  const usb::TransferId id = transfer.id;
  if (state_ == State::failed) {
    end(id, usb::TransferStatus::device_gone);
  } else if (!outbox_.add(std::move(transfer))) {
    end(id, usb::TransferStatus::no_resources);
  }
}

void Stick::withdraw(usb::TransferId id) {
  if (outbox_.cancel(id)) return end(id, usb::TransferStatus::cancelled);
  for (Read& read : reads_) {
    if (read.sent.transfer.id == id) read.withdrawn = true;
  }
  importer_.cancel(id);
}

std::optional<Stick::Output> Stick::poll(bool may_begin) {
  while (outputs_.empty()) {
    if (take_from_pipeline() || let_go(may_begin)) continue;
    auto output = importer_.poll();
    if (!output) return std::nullopt;
    take(std::move(*output));
  }
  Output first = std::move(outputs_.front());
  outputs_.pop_front();
  return first;
}

bool Stick::take_from_pipeline() {
  if (!pipeline_) return false;
  auto output = pipeline_->poll();
  if (!output) return false;
  if (auto* submit = std::get_if<massstorage::Pipeline::Submit>(&*output)) {
    wait(std::move(submit->transfer));
  } else if (const auto* cancel = std::get_if<massstorage::Pipeline::Cancel>(&*output)) {
    withdraw(cancel->id);
  } else {
    outputs_.emplace_back(
        Completed{std::move(std::get<massstorage::Pipeline::Complete>(*output).completion)});
  }
  return true;
}

// --- from the outbox to the stick

bool Stick::let_go(bool may_begin) {
  if (state_ != State::ready || !may_begin || outbox_.empty()) return false;
  auto next = paused_ ? outbox_.take_for_command(*watch_) : outbox_.take();
  if (!next) return false;
  const usb::Transfer& transfer = next->transfer;
  watch_->submitted(transfer);
  if (transfer.type == usb::TransferType::control) {
    if (const auto request = usb::as_host_request(transfer.setup)) {
      host_requests_.insert_or_assign(transfer.id, *request);
    }
  } else if (transfer.in() && !watch_->concerns(transfer)) {
    reads_.push_back({*next});
  }
  importer_.submit(std::move(next->transfer));
  return true;
}

void Stick::take(usbip::Importer::Output output) {
  if (auto* send = std::get_if<usbip::Importer::Send>(&output)) {
    if (state_ != State::failed && state_ != State::interrupted) {
      outputs_.emplace_back(Send{std::move(send->bytes)});
    }
  } else if (auto* answer = std::get_if<usbip::Importer::Imported>(&output)) {
    imported(answer->device);
  } else if (auto* ended = std::get_if<usbip::Importer::Completed>(&output)) {
    completed(std::move(ended->completion));
  } else if (auto* failed = std::get_if<usbip::Importer::Failed>(&output)) {
    fail_with(std::move(failed->error));
  }
}

void Stick::completed(usb::Completion completion) {
  if (reader_) {
    reader_->complete(completion);
    if (state_ == State::reading) ask_next_descriptor();
    return;
  }
  if (std::exchange(choosing_, false)) {
    if (state_ != State::returning) return;
    if (completion.status == usb::TransferStatus::success) return choose_next_alternate();
    return fail_with(fail(ErrorCode::unavailable,
                          "it does not take the alternate setting back that the session chose"));
  }
  if (watch_) watch_->completed(completion);
  follow_settings(completion);
  if (!came_back(completion)) hand_on(std::move(completion));
}

void Stick::follow_settings(const usb::Completion& completion) {
  const auto found = host_requests_.find(completion.id);
  if (found == host_requests_.end()) return;
  const usb::HostRequest request = found->second;
  host_requests_.erase(found);
  const bool done = completion.status == usb::TransferStatus::success;
  if (const auto* configuration = std::get_if<usb::SetConfiguration>(&request)) {
    if (done) settings_ = {configuration->value, {}, true};
    if (!done && state_ == State::interrupted) settings_.known = false;
  } else if (const auto* interface = std::get_if<usb::SetInterface>(&request); interface && done) {
    settings_.alternates[interface->interface_number] = interface->alternate_setting;
  }
}

/// The end of a read. True: it is as if it had never been made, and waits for its next time.
bool Stick::came_back(usb::Completion& completion) {
  const auto found = std::find_if(reads_.begin(), reads_.end(), [&](const Read& read) {
    return read.sent.transfer.id == completion.id;
  });
  if (found == reads_.end()) return false;
  Read read = std::move(*found);
  reads_.erase(found);
  if (!read.taken_back || read.withdrawn || completion.status != usb::TransferStatus::cancelled) {
    return false;
  }
  if (completion.actual_length == 0) {
    outbox_.put_back(std::move(read.sent));
    return true;
  }
  const bool whole = completion.actual_length == read.sent.transfer.length;
  completion.status = read.sent.transfer.short_not_ok && !whole ? usb::TransferStatus::short_read
                                                                : usb::TransferStatus::success;
  return false;
}

/// To whoever made the transfer.
void Stick::hand_on(usb::Completion completion) {
  if (massstorage::Pipeline::is_own(completion.id)) {
    pipeline_->complete(std::move(completion));
  } else {
    outputs_.emplace_back(Completed{std::move(completion)});
  }
}

void Stick::end(usb::TransferId id, usb::TransferStatus status) {
  usb::Completion completion;
  completion.id = id;
  completion.status = status;
  hand_on(std::move(completion));
}

// --- the beginning

void Stick::imported(const usb::DeviceDescription& device) {
  if (state_ == State::importing) {
    state_ = State::reading;
    reader_.emplace(device.speed, device.path);
    return ask_next_descriptor();
  }
  const bool same = device.device.vendor_id == descriptor_.vendor_id &&
                    device.device.product_id == descriptor_.product_id &&
                    device.device.device_version == descriptor_.device_version;
  const bool same_configuration = device.active_configuration == settings_.configuration;
  if (!same || (settings_.known && !same_configuration)) {
    return fail_with(fail(ErrorCode::unavailable,
                          same ? "it is in another configuration than the session left it in"
                               : "it is another device than before"));
  }
  settings_.known = true;
  to_choose_ = same_configuration ? settings_.alternates : decltype(to_choose_)();
  if (!same_configuration) settings_ = {device.active_configuration, {}, true};
  choose_next_alternate();
}

void Stick::ask_next_descriptor() {
  if (auto transfer = reader_->next(own_id)) {
    importer_.submit(std::move(*transfer));
    return;
  }
  auto description = reader_->result();
  if (!description) {
    fail_with(fail(description.error().code,
                   "its descriptors cannot be read: " + description.error().message));
    return;
  }
  reader_.reset();
  state_ = State::ready;
  watch_.emplace(*description);
  descriptor_ = description->device;
  settings_.configuration = description->active_configuration;
  if (wants_pipeline_) {
    pipeline_.emplace(*description);
    if (!pipeline_->useful()) pipeline_.reset();
  }
  outputs_.emplace_back(Ready{std::move(description).value()});
}

void Stick::fail_with(Error error) {
  if (state_ == State::failed) return;
  state_ = State::failed;
  outputs_.emplace_back(Failed{std::move(error)});
}

// --- a restart of the USB server

void Stick::pause() {
  if (std::exchange(paused_, true)) return;
  // The last one first: one that goes must not leave its data to the one queued behind it.
  for (auto read = reads_.rbegin(); read != reads_.rend(); ++read) {
    if (read->withdrawn) continue;
    read->taken_back = true;
    importer_.cancel(read->sent.transfer.id);
  }
}

void Stick::go_on() {
  paused_ = false;
}

bool Stick::quiet() const noexcept {
  return state_ != State::ready || (importer_.idle() && !watch_->in_command());
}

void Stick::interrupted() {
  if (!works()) return;
  state_ = State::interrupted;
  paused_ = false;
  importer_.lost(usb::TransferStatus::error);
  watch_->forget();
}

void Stick::import_again() {
  if (state_ != State::interrupted) return;
  while (auto output = importer_.poll()) take(std::move(*output));
  state_ = State::returning;
  importer_ = usbip::Importer(busid_);
  importer_.start();
}

/// Whoever closes a device sets these to 0 (the kernel does when tillbridged dies); the rest of
/// what the session chose stays in the stick.
void Stick::choose_next_alternate() {
  while (!to_choose_.empty()) {
    const auto next = to_choose_.extract(to_choose_.begin());
    if (next.mapped() == 0) continue;
    choosing_ = true;
    importer_.submit(usb::control_transfer(own_id, usb::set_interface(next.key(), next.mapped())));
    return;
  }
  state_ = State::ready;
  outputs_.emplace_back(Returned{});
}

}  // namespace tillbridge::plugin
