// usb::Transfer to TS_URB and TS_URB_RESULT to usb::Completion, the terminal server's direction
// (rdpeusb.md 2.11, 2.14). Pure functions: what is outstanding and what is selected lives in
// terminal_device.hpp.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/pdu/completion.hpp"
#include "channel/rdpeusb/pdu/device.hpp"
#include "channel/rdpeusb/terminal_quirks.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"

namespace tillbridge::rdpeusb::terminal {

/// An open pipe, as a select result told.
struct Pipe {
  std::uint8_t endpoint = 0;  ///< bEndpointAddress
  std::uint8_t interface_number = 0;
  std::uint32_t handle = 0;
  usb::TransferType type = usb::TransferType::control;
  std::uint16_t max_packet_size =
      0;  ///< bytes, without the high-bandwidth bits; from the descriptor
};

// --- transfers to requests. Address and request id are the caller's to fill in; views point into
// the argument. ------

/// A control transfer that simply goes to the device. Standard, class and vendor requests become
/// their typed function, because Windows' client refuses them as CONTROL_TRANSFER; what has no
/// typed form becomes one.
[[nodiscard]] pdu::TransferRequest control_request(const usb::Transfer& transfer);
/// Bulk or interrupt. IN always allows short transfers: without that flag Windows' client throws a
/// short read's data away, so short_not_ok is judged here, by finish().
[[nodiscard]] pdu::TransferRequest pipe_transfer(const usb::Transfer& transfer,
                                                 std::uint32_t pipe_handle);
/// The zero-length packet behind an OUT transfer.
[[nodiscard]] pdu::TransferRequest zero_length_packet(std::uint32_t pipe_handle);
/// With the whole descriptor, and one entry per interface number in its first alternate setting.
[[nodiscard]] pdu::TransferRequest select_configuration(const usb::Configuration& configuration);
[[nodiscard]] pdu::TransferRequest unconfigure();
[[nodiscard]] pdu::TransferRequest select_interface(std::uint32_t configuration_handle,
                                                    const usb::InterfaceDescriptor& interface);
/// SYNC_RESET_PIPE_AND_CLEAR_STALL.
[[nodiscard]] pdu::TransferRequest clear_stall(std::uint32_t pipe_handle);
[[nodiscard]] pdu::TransferRequest get_configuration_descriptor(std::uint8_t index,
                                                                std::uint16_t length);

/// The settings that select_configuration() asks for, in its order.
[[nodiscard]] std::vector<const usb::InterfaceDescriptor*> selected_settings(
    const usb::Configuration& configuration);

// --- completions to outcomes
// ---------------------------------------------------------------------------------------

/// What was asked for, as far as judging the answer needs it.
struct Asked {
  bool in = false;
  bool control = false;  ///< endpoint 0 or an action of the host stack
  std::uint32_t output_buffer_size = 0;
};

struct Outcome {
  usb::TransferStatus status = usb::TransferStatus::success;
  std::uint32_t actual_length = 0;
  ByteView data;  ///< IN; actual_length bytes
  std::vector<Quirk> quirks;
};

/// Errors: the completion lies (more than was asked for, data where none may be); the channel has
/// to be closed.
[[nodiscard]] Result<Outcome> outcome_of(const Asked& asked, const pdu::UrbCompletion& completion);
[[nodiscard]] Result<Outcome> outcome_of(const Asked& asked,
                                         const pdu::UrbCompletionNoData& completion);
[[nodiscard]] Result<Outcome> outcome_of(const Asked& asked,
                                         const pdu::IoControlCompletion& completion);

/// The pipes of one selected interface, each checked against its descriptor.
[[nodiscard]] Result<std::vector<Pipe>> pipes_of(const pdu::InterfaceInformationResult& result,
                                                 const usb::InterfaceDescriptor& interface);

/// The completion of `transfer` for an outcome; applies short_not_ok.
[[nodiscard]] usb::Completion finish(const usb::Transfer& transfer, const Outcome& outcome);

}  // namespace tillbridge::rdpeusb::terminal
