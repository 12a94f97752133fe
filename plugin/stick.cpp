#include "plugin/stick.hpp"

#include <utility>

namespace tillbridge::plugin {
namespace {

/// Descriptors are read one at a time and before the session knows the stick, so its transfer ids
/// cannot meet this one.
constexpr usb::TransferId reading_id = 1;

}  // namespace

void Stick::start() {
  importer_.start();
}

void Stick::receive(ByteView bytes) {
  if (state_ != State::failed) importer_.receive(bytes);
}

void Stick::lost() {
  importer_.lost();
  if (pipeline_) pipeline_->lost();
}

void Stick::submit(usb::Transfer transfer) {
  if (pipeline_ && pipeline_->concerns(transfer)) {
    pipeline_->submit(std::move(transfer));
  } else {
    importer_.submit(std::move(transfer));
  }
}

void Stick::cancel(usb::TransferId id) {
  if (!pipeline_ || !pipeline_->cancel(id)) importer_.cancel(id);
}

std::optional<Stick::Output> Stick::poll() {
  while (outputs_.empty()) {
    if (take_from_pipeline()) continue;
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
    importer_.submit(std::move(submit->transfer));
  } else if (const auto* cancel = std::get_if<massstorage::Pipeline::Cancel>(&*output)) {
    importer_.cancel(cancel->id);
  } else {
    outputs_.emplace_back(
        Completed{std::move(std::get<massstorage::Pipeline::Complete>(*output).completion)});
  }
  return true;
}

void Stick::take(usbip::Importer::Output output) {
  if (auto* send = std::get_if<usbip::Importer::Send>(&output)) {
    if (state_ != State::failed) outputs_.emplace_back(Send{std::move(send->bytes)});
  } else if (auto* imported = std::get_if<usbip::Importer::Imported>(&output)) {
    state_ = State::reading;
    reader_.emplace(imported->device.speed, imported->device.path);
    ask_next_descriptor();
  } else if (auto* completed = std::get_if<usbip::Importer::Completed>(&output)) {
    if (massstorage::Pipeline::is_own(completed->completion.id)) {
      pipeline_->complete(std::move(completed->completion));
    } else if (reader_) {
      reader_->complete(completed->completion);
      if (state_ == State::reading) ask_next_descriptor();
    } else {
      outputs_.emplace_back(Completed{std::move(completed->completion)});
    }
  } else if (auto* failed = std::get_if<usbip::Importer::Failed>(&output)) {
    fail_with(std::move(failed->error));
  }
}

void Stick::ask_next_descriptor() {
  if (auto transfer = reader_->next(reading_id)) {
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

}  // namespace tillbridge::plugin
