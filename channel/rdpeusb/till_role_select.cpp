// DeviceChannel: handles, and the results of the select requests (rdpeusb.md 2.10, 2.12).
#include <algorithm>
#include <utility>

#include "channel/rdpeusb/pdu/urb_function.hpp"
#include "channel/rdpeusb/till_role_device.hpp"

namespace tillbridge::rdpeusb::till {

namespace {

/// With the additional transactions per microframe of high-bandwidth endpoints multiplied out, as
/// Windows' own bus drivers report it.
std::uint16_t maximum_packet_size(const usb::EndpointDescriptor& endpoint) {
  const bool periodic = endpoint.type() == usb::TransferType::interrupt ||
                        endpoint.type() == usb::TransferType::isochronous;
  const unsigned size = endpoint.max_packet_size & 0x7FFU;
  const unsigned additional = periodic ? (endpoint.max_packet_size >> 11U) & 3U : 0U;
  return static_cast<std::uint16_t>(size * (1 + additional));
}

pdu::InterfaceInformationResult describe(const usb::InterfaceDescriptor& interface,
                                         const pdu::InterfaceInformation& asked) {
  pdu::InterfaceInformationResult result;
  result.interface_number = interface.number;
  result.alternate_setting = interface.alternate_setting;
  result.interface_class = interface.interface_class;
  result.interface_subclass = interface.interface_subclass;
  result.interface_protocol = interface.interface_protocol;
  for (std::size_t i = 0; i < interface.endpoints.size(); ++i) {
    const auto& endpoint = interface.endpoints[i];
    const pdu::PipeInformation wanted =
        i < asked.pipes.size() ? asked.pipes[i] : pdu::PipeInformation{};
    pdu::PipeInformationResult pipe;
    pipe.maximum_packet_size = maximum_packet_size(endpoint);
    pipe.endpoint = endpoint.address;
    pipe.interval = endpoint.interval;
    pipe.type = static_cast<std::uint32_t>(endpoint.type());
    pipe.maximum_transfer_size = wanted.maximum_transfer_size;
    pipe.flags = wanted.flags;
    result.pipes.push_back(pipe);
  }
  return result;
}

}  // namespace

std::uint32_t DeviceChannel::new_handle() {
  do {
    ++last_handle_;
  } while (last_handle_ == 0 || pipes_.count(last_handle_) != 0 ||
           last_handle_ == configuration_handle_);
  return last_handle_;
}

std::set<std::uint32_t> DeviceChannel::take_pipes(std::optional<std::uint8_t> interface_number) {
  std::set<std::uint32_t> taken;
  for (auto pipe = pipes_.begin(); pipe != pipes_.end();) {
    if (interface_number && pipe->second.interface_number != *interface_number) {
      ++pipe;
      continue;
    }
    taken.insert(pipe->first);
    pipe = pipes_.erase(pipe);
  }
  return taken;
}

pdu::InterfaceInformationResult DeviceChannel::open_interface(
    const usb::InterfaceDescriptor& interface, const pdu::InterfaceInformation& asked) {
  pdu::InterfaceInformationResult result = describe(interface, asked);
  result.handle = new_handle();
  for (std::size_t i = 0; i < result.pipes.size(); ++i) {
    result.pipes[i].handle = new_handle();
    pipes_[result.pipes[i].handle] = Pipe{interface.number, interface.endpoints[i], false};
  }
  return result;
}

/// One result for each entry asked for, in order. Windows lists each interface once; Microsoft's
/// test suite lists each alternate setting, so an interface may be there several times. The last
/// entry is in force. An earlier one is described as it was asked for; those of its endpoints that
/// the setting in force has as well carry that one's handles, the others a handle that opens
/// nothing.
pdu::SelectConfigurationResult DeviceChannel::configuration_result(
    const SelectConfigurationPlan& plan) {
  pdu::SelectConfigurationResult result;
  const auto* configuration = stick_.configuration();
  if (!plan.value || configuration == nullptr) return result;
  configuration_handle_ = new_handle();
  result.configuration_handle = configuration_handle_;

  std::map<std::uint8_t, std::size_t> in_force;
  for (std::size_t i = 0; i < plan.interfaces.size(); ++i) {
    in_force[plan.interfaces[i].interface_number] = i;
  }
  result.interfaces.resize(plan.interfaces.size());
  for (const auto& [number, i] : in_force) {
    const auto& asked = plan.interfaces[i];
    const auto* interface = configuration->find(number, asked.alternate_setting);
    if (interface != nullptr) result.interfaces[i] = open_interface(*interface, asked);
  }
  for (std::size_t i = 0; i < plan.interfaces.size(); ++i) {
    const auto& asked = plan.interfaces[i];
    const std::size_t winner = in_force[asked.interface_number];
    if (i == winner) continue;
    const auto* interface = configuration->find(asked.interface_number, asked.alternate_setting);
    if (interface == nullptr) continue;
    auto& described = result.interfaces[i];
    described = describe(*interface, asked);
    described.handle = new_handle();
    for (auto& pipe : described.pipes) {
      const auto& open = result.interfaces[winner].pipes;
      const auto same = std::find_if(open.begin(), open.end(), [&](const auto& other) {
        return other.endpoint == pipe.endpoint;
      });
      pipe.handle = same != open.end() ? same->handle : new_handle();
    }
  }
  return result;
}

pdu::TsUrbResult::Body DeviceChannel::success_body(const Request& request) {
  if (const auto* plan = std::get_if<SelectConfigurationPlan>(&request.plan)) {
    return configuration_result(*plan);
  }
  if (const auto* plan = std::get_if<SelectInterfacePlan>(&request.plan)) {
    const auto* configuration = stick_.configuration();
    const auto& asked = plan->interface;
    const auto* interface = configuration == nullptr ? nullptr
                                                     : configuration->find(asked.interface_number,
                                                                           asked.alternate_setting);
    if (interface != nullptr) return pdu::SelectInterfaceResult{open_interface(*interface, asked)};
  }
  return std::monostate{};
}

/// A failure has the shape of its function's result too, with nothing in it. The specification
/// names one result for each function and no exception (2.2.10); IronRDP's server takes nothing
/// else, and whoever looks at the status first never gets to the rest.
pdu::TsUrbResult::Body DeviceChannel::failed_body(const Request& request) {
  if (request.io_control) return std::monostate{};
  switch (pdu::body_of(request.function)) {
    case pdu::UrbBody::select_configuration:
      return pdu::SelectConfigurationResult{};
    case pdu::UrbBody::select_interface:
      return pdu::SelectInterfaceResult{};
    case pdu::UrbBody::isochronous:
      return pdu::IsochronousResult{};
    default:
      if (request.function == pdu::urb_function::get_current_frame_number)
        return pdu::FrameNumberResult{};
      return std::monostate{};
  }
}

}  // namespace tillbridge::rdpeusb::till
