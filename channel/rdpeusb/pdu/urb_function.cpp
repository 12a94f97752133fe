#include "channel/rdpeusb/pdu/urb_function.hpp"

#include <algorithm>
#include <array>

#include "channel/rdpeusb/pdu/named_value.hpp"

namespace tillbridge::rdpeusb::pdu {

namespace {

struct Row {
  std::uint16_t function;
  UrbBody body;
  UrbDirection direction;
  ControlForm form;
  const char* name;
};

// bmRequestType of the form columns: bits 5-6 the type (0x20 class, 0x40 vendor), bits 0-1 the
// recipient, bit 7 where the function itself fixes it as IN. bRequest from USB 2.0, table 9-4.
constexpr std::array rows{
    Row{urb_function::select_configuration,
        UrbBody::select_configuration,
        UrbDirection::in,
        {},
        "SELECT_CONFIGURATION"},
    Row{urb_function::select_interface,
        UrbBody::select_interface,
        UrbDirection::in,
        {},
        "SELECT_INTERFACE"},
    Row{urb_function::abort_pipe, UrbBody::pipe_request, UrbDirection::in, {}, "ABORT_PIPE"},
    Row{urb_function::get_current_frame_number,
        UrbBody::no_parameters,
        UrbDirection::in,
        {},
        "GET_CURRENT_FRAME_NUMBER"},
    Row{urb_function::control_transfer,
        UrbBody::control_transfer,
        UrbDirection::by_flag,
        {},
        "CONTROL_TRANSFER"},
    Row{urb_function::bulk_or_interrupt_transfer,
        UrbBody::bulk_or_interrupt,
        UrbDirection::by_flag,
        {},
        "BULK_OR_INTERRUPT_TRANSFER"},
    Row{urb_function::isochronous_transfer,
        UrbBody::isochronous,
        UrbDirection::by_flag,
        {},
        "ISOCH_TRANSFER"},
    Row{urb_function::get_descriptor_from_device,
        UrbBody::descriptor,
        UrbDirection::in,
        {0x80, 6},
        "GET_DESCRIPTOR_FROM_DEVICE"},
    Row{urb_function::set_descriptor_to_device,
        UrbBody::descriptor,
        UrbDirection::out,
        {0x00, 7},
        "SET_DESCRIPTOR_TO_DEVICE"},
    Row{urb_function::set_feature_to_device,
        UrbBody::feature,
        UrbDirection::in,
        {0x00, 3},
        "SET_FEATURE_TO_DEVICE"},
    Row{urb_function::set_feature_to_interface,
        UrbBody::feature,
        UrbDirection::in,
        {0x01, 3},
        "SET_FEATURE_TO_INTERFACE"},
    Row{urb_function::set_feature_to_endpoint,
        UrbBody::feature,
        UrbDirection::in,
        {0x02, 3},
        "SET_FEATURE_TO_ENDPOINT"},
    Row{urb_function::clear_feature_to_device,
        UrbBody::feature,
        UrbDirection::in,
        {0x00, 1},
        "CLEAR_FEATURE_TO_DEVICE"},
    Row{urb_function::clear_feature_to_interface,
        UrbBody::feature,
        UrbDirection::in,
        {0x01, 1},
        "CLEAR_FEATURE_TO_INTERFACE"},
    Row{urb_function::clear_feature_to_endpoint,
        UrbBody::feature,
        UrbDirection::in,
        {0x02, 1},
        "CLEAR_FEATURE_TO_ENDPOINT"},
    Row{urb_function::get_status_from_device,
        UrbBody::status,
        UrbDirection::in,
        {0x80, 0},
        "GET_STATUS_FROM_DEVICE"},
    Row{urb_function::get_status_from_interface,
        UrbBody::status,
        UrbDirection::in,
        {0x81, 0},
        "GET_STATUS_FROM_INTERFACE"},
    Row{urb_function::get_status_from_endpoint,
        UrbBody::status,
        UrbDirection::in,
        {0x82, 0},
        "GET_STATUS_FROM_ENDPOINT"},
    Row{urb_function::vendor_device,
        UrbBody::vendor_or_class,
        UrbDirection::by_flag,
        {0x40, 0},
        "VENDOR_DEVICE"},
    Row{urb_function::vendor_interface,
        UrbBody::vendor_or_class,
        UrbDirection::by_flag,
        {0x41, 0},
        "VENDOR_INTERFACE"},
    Row{urb_function::vendor_endpoint,
        UrbBody::vendor_or_class,
        UrbDirection::by_flag,
        {0x42, 0},
        "VENDOR_ENDPOINT"},
    Row{urb_function::class_device,
        UrbBody::vendor_or_class,
        UrbDirection::by_flag,
        {0x20, 0},
        "CLASS_DEVICE"},
    Row{urb_function::class_interface,
        UrbBody::vendor_or_class,
        UrbDirection::by_flag,
        {0x21, 0},
        "CLASS_INTERFACE"},
    Row{urb_function::class_endpoint,
        UrbBody::vendor_or_class,
        UrbDirection::by_flag,
        {0x22, 0},
        "CLASS_ENDPOINT"},
    Row{urb_function::sync_reset_pipe_and_clear_stall,
        UrbBody::pipe_request,
        UrbDirection::in,
        {},
        "SYNC_RESET_PIPE_AND_CLEAR_STALL"},
    Row{urb_function::class_other,
        UrbBody::vendor_or_class,
        UrbDirection::by_flag,
        {0x23, 0},
        "CLASS_OTHER"},
    Row{urb_function::vendor_other,
        UrbBody::vendor_or_class,
        UrbDirection::by_flag,
        {0x43, 0},
        "VENDOR_OTHER"},
    Row{urb_function::get_status_from_other,
        UrbBody::status,
        UrbDirection::in,
        {0x83, 0},
        "GET_STATUS_FROM_OTHER"},
    Row{urb_function::clear_feature_to_other,
        UrbBody::feature,
        UrbDirection::in,
        {0x03, 1},
        "CLEAR_FEATURE_TO_OTHER"},
    Row{urb_function::set_feature_to_other,
        UrbBody::feature,
        UrbDirection::in,
        {0x03, 3},
        "SET_FEATURE_TO_OTHER"},
    Row{urb_function::get_descriptor_from_endpoint,
        UrbBody::descriptor,
        UrbDirection::in,
        {0x82, 6},
        "GET_DESCRIPTOR_FROM_ENDPOINT"},
    Row{urb_function::set_descriptor_to_endpoint,
        UrbBody::descriptor,
        UrbDirection::out,
        {0x02, 7},
        "SET_DESCRIPTOR_TO_ENDPOINT"},
    Row{urb_function::get_configuration,
        UrbBody::no_parameters,
        UrbDirection::in,
        {0x80, 8},
        "GET_CONFIGURATION"},
    Row{urb_function::get_interface,
        UrbBody::get_interface,
        UrbDirection::in,
        {0x81, 10},
        "GET_INTERFACE"},
    Row{urb_function::get_descriptor_from_interface,
        UrbBody::descriptor,
        UrbDirection::in,
        {0x81, 6},
        "GET_DESCRIPTOR_FROM_INTERFACE"},
    Row{urb_function::set_descriptor_to_interface,
        UrbBody::descriptor,
        UrbDirection::out,
        {0x01, 7},
        "SET_DESCRIPTOR_TO_INTERFACE"},
    Row{urb_function::get_ms_feature_descriptor,
        UrbBody::os_feature_descriptor,
        UrbDirection::in,
        {},
        "GET_MS_FEATURE_DESCRIPTOR"},
    Row{urb_function::sync_reset_pipe,
        UrbBody::pipe_request,
        UrbDirection::in,
        {},
        "SYNC_RESET_PIPE"},
    Row{urb_function::sync_clear_stall,
        UrbBody::pipe_request,
        UrbDirection::in,
        {},
        "SYNC_CLEAR_STALL"},
    Row{urb_function::control_transfer_ex,
        UrbBody::control_transfer_ex,
        UrbDirection::by_flag,
        {},
        "CONTROL_TRANSFER_EX"},
};

const Row* row_of(std::uint16_t function) noexcept {
  const auto* const found = std::find_if(
      rows.begin(), rows.end(), [function](const Row& row) { return row.function == function; });
  return found == rows.end() ? nullptr : found;
}

}  // namespace

UrbBody body_of(std::uint16_t function) noexcept {
  const Row* row = row_of(function);
  return row == nullptr ? UrbBody::none : row->body;
}

UrbDirection direction_of(std::uint16_t function) noexcept {
  const Row* row = row_of(function);
  return row == nullptr ? UrbDirection::by_flag : row->direction;
}

ControlForm control_form_of(std::uint16_t function) noexcept {
  const Row* row = row_of(function);
  return row == nullptr ? ControlForm{} : row->form;
}

std::string urb_function_text(std::uint16_t function) {
  const Row* row = row_of(function);
  if (row == nullptr) return hex_text(function, 4);
  return std::string(row->name) + " (" + hex_text(function, 4) + ")";
}

}  // namespace tillbridge::rdpeusb::pdu
