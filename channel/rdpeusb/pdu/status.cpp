#include "channel/rdpeusb/pdu/status.hpp"

#include <array>

#include "channel/rdpeusb/pdu/named_value.hpp"

namespace tillbridge::rdpeusb::pdu {

std::string hresult::text(std::uint32_t value) {
  static constexpr std::array names{
      NamedValue{ok, "S_OK"},
      NamedValue{out_of_memory, "E_OUTOFMEMORY"},
      NamedValue{general_failure, "ERROR_GEN_FAILURE"},
      NamedValue{not_supported, "ERROR_NOT_SUPPORTED"},
      NamedValue{invalid_argument, "E_INVALIDARG"},
      NamedValue{timeout, "ERROR_SEM_TIMEOUT"},
      NamedValue{insufficient_buffer, "ERROR_INSUFFICIENT_BUFFER"},
      NamedValue{aborted, "ERROR_OPERATION_ABORTED"},
      NamedValue{device_not_connected, "ERROR_DEVICE_NOT_CONNECTED"},
  };
  return named_value_text(names, value, 8);
}

std::string usbd_status::text(std::uint32_t value) {
  static constexpr std::array names{
      NamedValue{success, "SUCCESS"},
      NamedValue{pending, "PENDING"},
      NamedValue{crc, "CRC"},
      NamedValue{bit_stuffing, "BTSTUFF"},
      NamedValue{data_toggle_mismatch, "DATA_TOGGLE_MISMATCH"},
      NamedValue{stall_pid, "STALL_PID"},
      NamedValue{device_not_responding, "DEV_NOT_RESPONDING"},
      NamedValue{pid_check_failure, "PID_CHECK_FAILURE"},
      NamedValue{unexpected_pid, "UNEXPECTED_PID"},
      NamedValue{data_overrun, "DATA_OVERRUN"},
      NamedValue{data_underrun, "DATA_UNDERRUN"},
      NamedValue{buffer_overrun, "BUFFER_OVERRUN"},
      NamedValue{buffer_underrun, "BUFFER_UNDERRUN"},
      NamedValue{not_accessed, "NOT_ACCESSED"},
      NamedValue{fifo, "FIFO"},
      NamedValue{transaction_error, "XACT_ERROR"},
      NamedValue{babble_detected, "BABBLE_DETECTED"},
      NamedValue{data_buffer_error, "DATA_BUFFER_ERROR"},
      NamedValue{endpoint_halted, "ENDPOINT_HALTED"},
      NamedValue{no_memory, "NO_MEMORY"},
      NamedValue{invalid_urb_function, "INVALID_URB_FUNCTION"},
      NamedValue{invalid_parameter, "INVALID_PARAMETER"},
      NamedValue{error_busy, "ERROR_BUSY"},
      NamedValue{request_failed, "REQUEST_FAILED"},
      NamedValue{invalid_pipe_handle, "INVALID_PIPE_HANDLE"},
      NamedValue{no_bandwidth, "NO_BANDWIDTH"},
      NamedValue{internal_hc_error, "INTERNAL_HC_ERROR"},
      NamedValue{error_short_transfer, "ERROR_SHORT_TRANSFER"},
      NamedValue{bad_start_frame, "BAD_START_FRAME"},
      NamedValue{isoch_request_failed, "ISOCH_REQUEST_FAILED"},
      NamedValue{frame_control_owned, "FRAME_CONTROL_OWNED"},
      NamedValue{frame_control_not_owned, "FRAME_CONTROL_NOT_OWNED"},
      NamedValue{not_supported, "NOT_SUPPORTED"},
      NamedValue{invalid_configuration_descriptor, "INVALID_CONFIGURATION_DESCRIPTOR"},
      NamedValue{insufficient_resources, "INSUFFICIENT_RESOURCES"},
      NamedValue{set_config_failed, "SET_CONFIG_FAILED"},
      NamedValue{buffer_too_small, "BUFFER_TOO_SMALL"},
      NamedValue{interface_not_found, "INTERFACE_NOT_FOUND"},
      NamedValue{invalid_pipe_flags, "INVALID_PIPE_FLAGS"},
      NamedValue{timeout, "TIMEOUT"},
      NamedValue{device_gone, "DEVICE_GONE"},
      NamedValue{status_not_mapped, "STATUS_NOT_MAPPED"},
      NamedValue{canceled, "CANCELED"},
      NamedValue{iso_not_accessed_by_hardware, "ISO_NOT_ACCESSED_BY_HW"},
      NamedValue{iso_td_error, "ISO_TD_ERROR"},
      NamedValue{iso_na_late_usbport, "ISO_NA_LATE_USBPORT"},
      NamedValue{iso_not_accessed_late, "ISO_NOT_ACCESSED_LATE"},
  };
  return named_value_text(names, value, 8);
}

}  // namespace tillbridge::rdpeusb::pdu
