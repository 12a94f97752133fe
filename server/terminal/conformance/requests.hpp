// What the cases ask of a device, each URB as Microsoft's suite builds it, and how an answer is
// judged.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "channel/bytes/writer.hpp"
#include "channel/usb/descriptors.hpp"
#include "server/terminal/conformance/server.hpp"

namespace tillbridge::terminal::conformance {

namespace urb_function = pdu::urb_function;

// --- judging. `what` names the request; each records a finding and returns whether all was well

/// URB_COMPLETION_NO_DATA, success, `accepted` bytes (0 for IN).
bool expect_done(Server& server, const Ended& ended, const std::string& what,
                 std::uint32_t accepted = 0);
/// URB_COMPLETION or IOCONTROL_COMPLETION, success, exactly `size` bytes.
bool expect_data(Server& server, const Ended& ended, const std::string& what, std::size_t size);
/// Failed in both fields, without data.
bool expect_failed(Server& server, const Ended& ended, const std::string& what);
/// Failed because it was cancelled.
bool expect_cancelled(Server& server, const Ended& ended, const std::string& what);
/// Where a device, or a client, may say no: success or a failure, nothing in between. Returns
/// whether it was a success.
bool succeeded_or_refused(Server& server, const Ended& ended, const std::string& what);
/// An I/O control whose buffer is too small for its answer: a failure, INSUFFICIENT_BUFFER or any.
void expect_too_small(Server& server, const Ended& ended, const std::string& what);

// --- asking: one request, and its completion

[[nodiscard]] Ended ask_in(Server& server, std::uint16_t function, pdu::TsUrb::Body body,
                           std::uint32_t size);
[[nodiscard]] Ended ask_out(Server& server, std::uint16_t function, pdu::TsUrb::Body body,
                            ByteView data);
[[nodiscard]] Ended ask_io_control(Server& server, std::uint32_t code, std::uint32_t size,
                                   bool internal = false);
[[nodiscard]] Ended ask_pipe(Server& server, std::uint16_t function, std::uint32_t handle);
/// GET_DESCRIPTOR_FROM_DEVICE that must succeed with 1 to `size` bytes; empty if it did not.
[[nodiscard]] Bytes get_descriptor(Server& server, std::uint8_t type, std::uint8_t index,
                                   std::uint16_t language, std::uint32_t size);
[[nodiscard]] std::uint32_t frame_number(Server& server);

// --- configurations

struct Pipe {
  usb::EndpointDescriptor endpoint;
  std::uint8_t interface_number = 0;
  std::uint32_t handle = 0;
  [[nodiscard]] bool in() const { return (endpoint.address & 0x80U) != 0; }
};

/// A configuration that was selected.
struct Selection {
  usb::DeviceDescriptor device;
  usb::Configuration configuration;
  std::uint32_t handle = 0;
  std::vector<pdu::InterfaceInformationResult> interfaces;
  std::vector<Pipe> pipes;  ///< that are open

  /// Nothing: there is none.
  [[nodiscard]] std::optional<Pipe> find(std::uint8_t endpoint) const;
  /// The first bulk or interrupt pipe of this direction.
  [[nodiscard]] std::optional<Pipe> first(bool in) const;
};

/// The suite's way: device descriptor, the configuration's first 9 bytes, all of it, then
/// SELECT_CONFIGURATION; every field of the result is checked.
[[nodiscard]] Selection configure(Server& server);
/// SELECT_CONFIGURATION alone, again; handles in `selection` become the new ones.
void select_again(Server& server, Selection& selection);
/// SELECT_INTERFACE for entry `index` of the result, with its own alternate setting; the pipes in
/// `selection` become the new ones.
void select_setting(Server& server, Selection& selection, std::size_t index, std::uint32_t request);
/// A bulk IN pipe on which the device has nothing to say, so that a read of it stays pending: what
/// cancels are tested with.
[[nodiscard]] std::optional<Pipe> silent_pipe(const Selection& selection);
/// P1 to P7, a configuration and a silent pipe of it; without one the case is inconclusive.
[[nodiscard]] Pipe bring_up_silent_pipe(Server& server);
/// Starts a read; returns its RequestId.
std::uint32_t start_read(Server& server, const Pipe& pipe, std::uint32_t size,
                         std::uint32_t flags = pdu::transfer_flag::direction_in |
                                               pdu::transfer_flag::short_transfer_ok);

/// The device halts a pipe as it was told to; a read then stalls, in every status field, until the
/// pipe is reset.
void stall_and_reset(Server& server, const Pipe& pipe);
/// An I/O request while no completion interface is registered: it is ignored.
void expect_quiet_request(Server& server);
/// Inconclusive if the device is not the board.
void require_board(Server& server);

}  // namespace tillbridge::terminal::conformance
