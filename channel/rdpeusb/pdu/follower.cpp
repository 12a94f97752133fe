#include "channel/rdpeusb/pdu/follower.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "channel/bytes/limits.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

/// Twice what a terminal role keeps outstanding on one channel; one that sends more is no role of
/// ours, and only its completions are described less well.
constexpr std::size_t most_asked =
    2 * (limits::transfers_in_flight_per_device + limits::rdpeusb_abandoned_requests);

/// Whether the data of a function is between a driver and its device. Descriptors, states and
/// numbers are what every host reads.
bool carries_payload(std::uint16_t function) {
  switch (body_of(function)) {
    case UrbBody::descriptor:
    case UrbBody::status:
    case UrbBody::get_interface:
    case UrbBody::no_parameters:
    case UrbBody::os_feature_descriptor:
      return false;
    default:
      return true;
  }
}

void show(Fields& fields) {
  for (Field& field : fields) {
    if (const auto* data = std::get_if<Payload>(&field.value))
      field.value = Opaque{Bytes(data->bytes.begin(), data->bytes.end())};
  }
}

std::optional<std::uint32_t> completed_request(const FromTill& message) {
  if (const auto* pdu = std::get_if<IoControlCompletion>(&message)) return pdu->request;
  if (const auto* pdu = std::get_if<UrbCompletion>(&message)) return pdu->request;
  if (const auto* pdu = std::get_if<UrbCompletionNoData>(&message)) return pdu->request;
  return std::nullopt;
}

}  // namespace

Result<Description> Follower::from_server(ByteView message) {
  const Result<FromServer> decoded = decode_from_server(message, till_);
  if (!decoded) return decoded.error();
  Description description = describe(*decoded);
  if (std::holds_alternative<CapabilityRequest>(*decoded)) {
    terminal_.capability_outstanding = true;
  } else if (const auto* query = std::get_if<QueryInterface>(&*decoded)) {
    terminal_.interface_query = query->address;
  } else if (const auto* text = std::get_if<QueryDeviceText>(&*decoded)) {
    terminal_.text_query = text->address;
  } else if (const auto* callback = std::get_if<RegisterRequestCallback>(&*decoded)) {
    terminal_.request_completion.reset();
    if (callback->count != 0) terminal_.request_completion = callback->request_completion;
  } else if (const auto* io_control = std::get_if<IoControl>(&*decoded)) {
    if (asked_.size() < most_asked) {
      asked_[io_control->request] = Asked{
          {true, 0, io_control->output_buffer_size}, false, io_control_text(io_control->code)};
    }
  } else if (const auto* transfer = std::get_if<TransferRequest>(&*decoded)) {
    const bool payload = carries_payload(transfer->urb.function);
    if (!payload) show(description.fields);
    if (!transfer->urb.no_ack && asked_.size() < most_asked) {
      asked_[transfer->urb.request] =
          Asked{{false, transfer->urb.function, transfer->output_buffer_size},
                payload,
                urb_function_text(transfer->urb.function)};
    }
  }
  return description;
}

Result<Description> Follower::from_till(ByteView message) {
  terminal_.outstanding = [this](std::uint32_t request) -> std::optional<OutstandingRequest> {
    const auto found = asked_.find(request);
    if (found == asked_.end()) return std::nullopt;
    return found->second.request;
  };
  const Result<FromTill> decoded = decode_from_till(message, terminal_);
  if (!decoded) return decoded.error();
  Description description = describe(*decoded);
  if (std::holds_alternative<CapabilityResponse>(*decoded)) {
    terminal_.capability_outstanding = false;
  } else if (const auto* device = std::get_if<AddDevice>(&*decoded)) {
    if (!till_.usb_device) till_.usb_device = device->usb_device;
  } else if (const auto request = completed_request(*decoded)) {
    const auto found = asked_.find(*request);
    description.detail = found->second.name + ": " + description.detail;
    if (!found->second.payload) show(description.fields);
    asked_.erase(found);
  }
  return description;
}

}  // namespace tillbridge::rdpeusb::pdu
