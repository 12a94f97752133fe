#include "server/usb/bulk_only_order.hpp"

#include <algorithm>
#include <set>

#include "channel/usb/bulk_only.hpp"

namespace tillbridge::server {

BulkOnlyOrder::BulkOnlyOrder(const usb::DeviceDescription& device) {
  for (const usb::Configuration& configuration : device.configurations) {
    std::set<std::uint8_t> others;
    for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
      if (!usb::is_bulk_only(interface)) others.insert(interface.number);
    }
    for (const usb::InterfaceDescriptor& interface : configuration.interfaces) {
      if (others.contains(interface.number)) continue;
      const Place place{configuration.value, interface.number};
      interfaces_[place];
      for (const usb::EndpointDescriptor& endpoint : interface.endpoints) {
        if (endpoint.type() == usb::TransferType::bulk) places_.emplace(endpoint.address, place);
      }
    }
  }
}

std::optional<usb::Transfer> BulkOnlyOrder::admit(usb::Transfer transfer) {
  Interface* const interface = interface_of(transfer);
  if (interface == nullptr) return transfer;
  if (transfer.in() && !interface->running.empty()) {
    interface->kept.push_back(std::move(transfer));
    return std::nullopt;
  }
  interface->running.push_back(transfer.id);
  return transfer;
}

void BulkOnlyOrder::ended(usb::TransferId id) {
  for (auto& [place, interface] : interfaces_) std::erase(interface.running, id);
}

std::optional<usb::Transfer> BulkOnlyOrder::next() {
  for (auto& [place, interface] : interfaces_) {
    if (interface.kept.empty() || !interface.running.empty()) continue;
    usb::Transfer transfer = std::move(interface.kept.front());
    interface.kept.pop_front();
    interface.running.push_back(transfer.id);
    return transfer;
  }
  return std::nullopt;
}

bool BulkOnlyOrder::cancel(usb::TransferId id) {
  for (auto& [place, interface] : interfaces_) {
    const auto kept =
        std::find_if(interface.kept.begin(), interface.kept.end(),
                     [id](const usb::Transfer& transfer) { return transfer.id == id; });
    if (kept == interface.kept.end()) continue;
    interface.kept.erase(kept);
    return true;
  }
  return false;
}

std::vector<usb::TransferId> BulkOnlyOrder::clear() {
  std::vector<usb::TransferId> ids;
  for (auto& [place, interface] : interfaces_) {
    for (const usb::Transfer& transfer : interface.kept) ids.push_back(transfer.id);
    interface.kept.clear();
    interface.running.clear();
  }
  return ids;
}

BulkOnlyOrder::Interface* BulkOnlyOrder::interface_of(const usb::Transfer& transfer) {
  if (transfer.type != usb::TransferType::bulk) return nullptr;
  const auto place = places_.find(transfer.endpoint);
  return place == places_.end() ? nullptr : &interfaces_.at(place->second);
}

}  // namespace tillbridge::server
