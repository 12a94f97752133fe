// TS_URB to what has to be done, and what came of it back to USBD_STATUS and HRESULT: the pure part
// of the translation, which knows neither the stick's descriptors nor the state of its pipes.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "channel/rdpeusb/pdu/device.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "channel/rdpeusb/pdu/ts_urb_result.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::rdpeusb::till {

/// How a request ends when it does not succeed: both fields always agree (rdpeusb.md 2.14).
struct Failure {
  std::uint32_t usbd_status = 0;
  std::uint32_t hresult = 0;
};

namespace failure {
inline constexpr Failure invalid_parameter{pdu::usbd_status::invalid_parameter,
                                           pdu::hresult::invalid_argument};
inline constexpr Failure invalid_pipe_handle{pdu::usbd_status::invalid_pipe_handle,
                                             pdu::hresult::invalid_argument};
inline constexpr Failure not_supported{pdu::usbd_status::not_supported,
                                       pdu::hresult::not_supported};
inline constexpr Failure no_resources{pdu::usbd_status::insufficient_resources,
                                      pdu::hresult::out_of_memory};
inline constexpr Failure cancelled{pdu::usbd_status::canceled, pdu::hresult::aborted};
inline constexpr Failure timed_out{pdu::usbd_status::timeout, pdu::hresult::timeout};
inline constexpr Failure pipe_halted{pdu::usbd_status::endpoint_halted,
                                     pdu::hresult::general_failure};
inline constexpr Failure short_transfer{pdu::usbd_status::error_short_transfer,
                                        pdu::hresult::general_failure};
inline constexpr Failure babble{pdu::usbd_status::babble_detected, pdu::hresult::general_failure};
inline constexpr Failure interface_not_found{pdu::usbd_status::interface_not_found,
                                             pdu::hresult::invalid_argument};
inline constexpr Failure bad_configuration{pdu::usbd_status::invalid_configuration_descriptor,
                                           pdu::hresult::invalid_argument};
}  // namespace failure

// --- what a request asks for
// ---------------------------------------------------------------------------------------

/// One control transfer on endpoint 0.
struct ControlPlan {
  usb::SetupPacket setup;
  Bytes data;  ///< OUT
  bool short_ok = true;
  std::uint32_t timeout_ms = 0;  ///< 0: none, as for all but CONTROL_TRANSFER_EX
};
struct PipeTransferPlan {
  std::uint32_t pipe = 0;
  bool in = true;
  std::uint32_t length = 0;
  bool short_ok = true;
  Bytes data;  ///< OUT
};
struct AbortPipePlan {
  std::uint32_t pipe = 0;
};
struct ResetPipePlan {
  std::uint32_t pipe = 0;
  bool on_device = true;  ///< CLEAR_FEATURE(ENDPOINT_HALT); else only the host's own halted state
};
struct SelectConfigurationPlan {
  std::optional<std::uint8_t> value;  ///< nothing: unconfigure
  std::vector<pdu::InterfaceInformation> interfaces;
};
struct SelectInterfacePlan {
  std::uint32_t configuration_handle = 0;
  pdu::InterfaceInformation interface;
};
struct FrameNumberPlan {};
/// GET_MS_FEATURE_DESCRIPTOR: `setup` still lacks the vendor code as its bRequest.
struct OsDescriptorPlan {
  usb::SetupPacket setup;
};
/// RESET_PORT or CYCLE_PORT.
struct PortResetPlan {};

using Plan = std::variant<Failure, ControlPlan, PipeTransferPlan, AbortPipePlan, ResetPipePlan,
                          SelectConfigurationPlan, SelectInterfacePlan, FrameNumberPlan,
                          OsDescriptorPlan, PortResetPlan>;

/// The request's function by the table of rdpeusb.md 2.11; copies the data of an OUT.
[[nodiscard]] Plan plan_of(const pdu::TransferRequest& request);

/// GET_DESCRIPTOR of the Microsoft OS string descriptor, index 0xEE (rdpeusb.md 4.6).
[[nodiscard]] usb::SetupPacket os_string_descriptor_request();
/// The vendor code in an OS string descriptor, or nothing if it is none.
[[nodiscard]] std::optional<std::uint8_t> os_vendor_code(ByteView descriptor);

// --- what came of it
// -----------------------------------------------------------------------------------------------

/// How a request ended, ready to become a completion.
struct Outcome {
  Failure status;              ///< zeros: success
  std::uint32_t accepted = 0;  ///< OUT: bytes that the device took
  Bytes data;                  ///< IN
  pdu::TsUrbResult::Body body{};
};

/// What a failed transfer says; zeros for success. A short read is a failure here, too.
[[nodiscard]] Failure failure_of(usb::TransferStatus status) noexcept;

/// @param in        the request's direction, which decides over data or count
/// @param length    the request's OutputBufferSize
/// @param short_ok  USBD_SHORT_TRANSFER_OK; without it a short IN fails but its data is delivered
[[nodiscard]] Outcome outcome_of(usb::Completion completion, bool in, std::uint32_t length,
                                 bool short_ok);

}  // namespace tillbridge::rdpeusb::till
