#include "channel/rdpeusb/till_role_stick.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace tillbridge::rdpeusb::till {
namespace {

/// Half of the ids are for transfers that somebody between here and the stick makes.
constexpr usb::TransferId last_session_id = 0x7FFFFFFF;

}  // namespace

Stick::Stick(DeviceId id, TillDevice device, bool by_path, Outputs& outputs)
    : id_(id),
      device_(std::move(device)),
      by_path_(by_path),
      outputs_(outputs),
      active_configuration_(device_.description.active_configuration) {}

void Stick::describe(TillDevice device) {
  device_ = std::move(device);
  active_configuration_ = device_.description.active_configuration;
  alternate_settings_.clear();
  os_descriptor = OsDescriptor::unknown;
}

const usb::Configuration* Stick::configuration() const noexcept {
  if (active_configuration_ == 0) return nullptr;
  return device_.description.find_configuration(active_configuration_);
}

std::uint8_t Stick::alternate_setting(std::uint8_t interface_number) const noexcept {
  const auto found = alternate_settings_.find(interface_number);
  return found == alternate_settings_.end() ? std::uint8_t{0} : found->second;
}

bool Stick::has_endpoint(std::uint8_t address) const noexcept {
  if ((address & 0x7FU) == 0) return true;
  const auto* active = configuration();
  if (active == nullptr) return false;
  return std::any_of(
      active->interfaces.begin(), active->interfaces.end(), [&](const auto& interface) {
        return interface.alternate_setting == alternate_setting(interface.number) &&
               std::any_of(interface.endpoints.begin(), interface.endpoints.end(),
                           [&](const auto& endpoint) { return endpoint.address == address; });
      });
}

usb::TransferId Stick::submit(std::uint32_t request, usb::Transfer transfer) {
  do {
    last_transfer_ = last_transfer_ % last_session_id + 1;
  } while (flights_.count(last_transfer_) != 0);
  transfer.id = last_transfer_;

  Flight flight{request, transfer.length, std::nullopt, false};
  if (transfer.type == usb::TransferType::control) {
    flight.host_request = usb::as_host_request(transfer.setup);
  }
  spare_flights_.insert(flights_, transfer.id, flight);
  outputs_.emplace_back(TillRole::Submit{id_, std::move(transfer)});
  return last_transfer_;
}

void Stick::cancel(usb::TransferId id) {
  const auto found = flights_.find(id);
  if (found == flights_.end() || found->second.cancel_sent) return;
  found->second.cancel_sent = true;
  outputs_.emplace_back(TillRole::Cancel{id_, id});
}

void Stick::abandon_all() {
  for (auto& [id, flight] : flights_) {
    cancel(id);
    if (!flight.request) continue;
    flight.request.reset();
    ++abandoned_;
    abandoned_bytes_ += flight.length;
    if (flight.host_request) ++abandoned_host_requests_;
  }
}

std::optional<Stick::Flight> Stick::land(const usb::Completion& completion) {
  const auto found = flights_.find(completion.id);
  if (found == flights_.end()) return std::nullopt;
  const Flight flight = found->second;
  spare_flights_.erase(flights_, found);
  if (!flight.request) {
    --abandoned_;
    abandoned_bytes_ -= flight.length;
    if (flight.host_request) --abandoned_host_requests_;
  }
  if (completion.status == usb::TransferStatus::success && flight.host_request) {
    if (const auto* configuration = std::get_if<usb::SetConfiguration>(&*flight.host_request)) {
      active_configuration_ = configuration->value;
      alternate_settings_.clear();
    } else if (const auto* interface = std::get_if<usb::SetInterface>(&*flight.host_request)) {
      alternate_settings_[interface->interface_number] = interface->alternate_setting;
    }
  }
  return flight;
}

}  // namespace tillbridge::rdpeusb::till
