#include "server/usb/conversation.hpp"

#include <utility>
#include <variant>

#include "server/usb/log.hpp"

namespace tillbridge::server {

Conversation::Conversation(StickRegistry& registry, Claimant claimant, Owner owner)
    : registry_(registry), claimant_(std::move(claimant)), owner_(std::move(owner)) {}

Conversation::~Conversation() = default;

void Conversation::receive(ByteView bytes) {
  if (!ended_) exporter_.receive(bytes);
}

std::optional<Bytes> Conversation::output() {
  if (refused_) {
    ends_because(LeaseEnd::failed);
    lease_.reset();  // a stick that could not be opened; not from within its own callback
  }
  while (!ended_) {
    auto next = exporter_.poll();
    while (const auto notice = exporter_.poll_notice()) {
      log::warning("till " + owner_.who().till + ", stick " + log::printable(busid_) + ": " +
                   log::printable(*notice));
    }
    if (!next) return std::nullopt;
    if (auto* send = std::get_if<usbip::Exporter::Send>(&*next)) return std::move(send->bytes);
    if (auto* submit = std::get_if<usbip::Exporter::Submit>(&*next)) {
      lease_->submit(std::move(submit->transfer));
    } else if (auto* cancel = std::get_if<usbip::Exporter::Cancel>(&*next)) {
      lease_->cancel(cancel->transfer);
    } else if (std::holds_alternative<usbip::Exporter::ListWanted>(*next)) {
      exporter_.devices(owner_.list());
    } else if (auto* wanted = std::get_if<usbip::Exporter::ImportWanted>(&*next)) {
      import(wanted->busid);
    } else if (auto* close = std::get_if<usbip::Exporter::Close>(&*next)) {
      ended_ = Ended{refused_ ? refused_ : std::move(close->error)};
    }
  }
  return std::nullopt;
}

void Conversation::till_away() {
  if (!lease_) return;
  lease_->till_away();
  registry_.lease_changed(*lease_);
}

void Conversation::till_back(const std::string& address) {
  if (!lease_) return;
  lease_->till_back(address);
  registry_.lease_changed(*lease_);
}

void Conversation::ends_because(LeaseEnd end) {
  if (lease_) lease_->ends_because(end);
}

void Conversation::follow(const PresentStick& stick) {
  if (!lease_) return;
  for (const Mapping& mapping : stick.mappings) {
    if (mapping.id == lease_->record().mapping) return;
  }
  if (const Mapping* mapping = stick.mapping_for(claimant_)) lease_->follow(*mapping);
}

void Conversation::import(const std::string& busid) {
  auto stay = owner_.choose(busid);
  busid_ = busid;
  if (!stay) {
    refuse(stay.error(), usbip::OperationStatus::no_such_device);
    return;
  }
  auto lease = registry_.lease(*stay, claimant_, owner_.who(),
                               {[this](const Status& status) { opened(status); },
                                [this](usb::Completion completion) {
                                  exporter_.complete(std::move(completion));
                                  owner_.wake();
                                }});
  if (!lease) {
    refuse(lease.error(), usbip::OperationStatus::busy);
    return;
  }
  lease_ = std::move(*lease);
}

void Conversation::opened(const Status& status) {
  if (status) {
    // An importer checks that the reply names the busid that it asked for.
    usb::DeviceDescription description = lease_->description();
    description.path = busid_;
    exporter_.import_granted(std::move(description));
  } else {
    refuse(status.error(), usbip::OperationStatus::device_error);
  }
  owner_.wake();
}

void Conversation::refuse(const Error& error, usbip::OperationStatus status) {
  refused_ = error;
  exporter_.import_refused(status);
}

}  // namespace tillbridge::server
