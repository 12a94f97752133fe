#include "server/terminal/conformance/requests.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace tillbridge::terminal::conformance {

namespace {

std::string number(std::size_t value) {
  return std::to_string(value);
}

/// Nothing came: the finding is recorded already.
bool nothing(const Ended& ended) {
  return ended.kind == Ended::Kind::nothing;
}

}  // namespace

// --- judging -------------------------------------------------------------------------------------

bool expect_done(Server& server, const Ended& ended, const std::string& what,
                 std::uint32_t accepted) {
  if (nothing(ended)) return false;
  return server.expect(
      ended.kind == Ended::Kind::urb_no_data && ended.succeeded() && ended.size == accepted,
      what + ": expected URB_COMPLETION_NO_DATA with success and OutputBufferSize " +
          number(accepted) + ", got " + ended.text());
}

bool expect_data(Server& server, const Ended& ended, const std::string& what, std::size_t size) {
  if (nothing(ended)) return false;
  return server.expect(
      ended.kind != Ended::Kind::urb_no_data && ended.succeeded() && ended.data.size() == size,
      what + ": expected success with " + number(size) + " bytes, got " + ended.text());
}

bool expect_failed(Server& server, const Ended& ended, const std::string& what) {
  if (nothing(ended)) return false;
  return server.expect(
      ended.failed() && ended.kind != Ended::Kind::urb && ended.size == 0,
      what + ": expected a failure in every status field, without data, got " + ended.text());
}

bool expect_cancelled(Server& server, const Ended& ended, const std::string& what) {
  if (!expect_failed(server, ended, what)) return false;
  return server.expect(
      ended.kind == Ended::Kind::io_control || ended.usbd_status == pdu::usbd_status::canceled,
      what + ": expected UsbdStatus CANCELED, got " + ended.text());
}

bool succeeded_or_refused(Server& server, const Ended& ended, const std::string& what) {
  if (!nothing(ended) && !ended.succeeded()) expect_failed(server, ended, what);
  return ended.succeeded();
}

void expect_too_small(Server& server, const Ended& ended, const std::string& what) {
  if (nothing(ended)) return;
  server.expect(pdu::hresult::failed(ended.hresult),
                what + ": expected a failure, got " + ended.text());
}

// --- asking --------------------------------------------------------------------------------------

Ended ask_in(Server& server, std::uint16_t function, pdu::TsUrb::Body body, std::uint32_t size) {
  const std::uint32_t request = server.next_id();
  server.transfer_in(request, function, std::move(body), size);
  return server.completion_of(request);
}

Ended ask_out(Server& server, std::uint16_t function, pdu::TsUrb::Body body, ByteView data) {
  const std::uint32_t request = server.next_id();
  server.transfer_out(request, function, std::move(body), data);
  return server.completion_of(request);
}

Ended ask_io_control(Server& server, std::uint32_t code, std::uint32_t size, bool internal) {
  const std::uint32_t request = server.next_id();
  server.io_control(request, code, size, internal);
  return server.completion_of(request);
}

Ended ask_pipe(Server& server, std::uint16_t function, std::uint32_t handle) {
  return ask_in(server, function, pdu::PipeRequest{handle}, 0);
}

Bytes get_descriptor(Server& server, std::uint8_t type, std::uint8_t index, std::uint16_t language,
                     std::uint32_t size) {
  Ended ended = ask_in(server, urb_function::get_descriptor_from_device,
                       pdu::DescriptorRequest{index, type, language}, size);
  if (nothing(ended)) return {};
  const bool good = ended.kind == Ended::Kind::urb && ended.succeeded();
  server.expect(good, "GET_DESCRIPTOR type " + number(type) + " index " + number(index) +
                          ": expected URB_COMPLETION with success, got " + ended.text());
  return good ? std::move(ended.data) : Bytes{};
}

std::uint32_t frame_number(Server& server) {
  const Ended ended =
      ask_in(server, urb_function::get_current_frame_number, pdu::NoParameters{}, 0);
  if (!expect_done(server, ended, "GET_CURRENT_FRAME_NUMBER")) return 0;
  const auto* result = std::get_if<pdu::FrameNumberResult>(&ended.body);
  server.expect(result != nullptr,
                "GET_CURRENT_FRAME_NUMBER: expected a result of 12 bytes with the FrameNumber");
  return result == nullptr ? 0 : result->frame;
}

// --- configurations ------------------------------------------------------------------------------

std::optional<Pipe> Selection::find(std::uint8_t endpoint) const {
  const auto found = std::find_if(pipes.begin(), pipes.end(), [&](const Pipe& pipe) {
    return pipe.endpoint.address == endpoint;
  });
  return found == pipes.end() ? std::nullopt : std::optional(*found);
}

std::optional<Pipe> Selection::first(bool in) const {
  const auto found = std::find_if(pipes.begin(), pipes.end(), [&](const Pipe& pipe) {
    const auto type = pipe.endpoint.type();
    return pipe.in() == in &&
           (type == usb::TransferType::bulk || type == usb::TransferType::interrupt);
  });
  return found == pipes.end() ? std::nullopt : std::optional(*found);
}

namespace {

/// High-bandwidth endpoints: Windows' drivers multiply the additional transactions out, the
/// specification says nothing; either is taken.
bool packet_size_fits(std::uint16_t reported, const usb::EndpointDescriptor& endpoint) {
  const unsigned size = endpoint.max_packet_size & 0x7FFU;
  const unsigned transactions = 1 + ((endpoint.max_packet_size >> 11U) & 3U);
  return reported == size || reported == size * transactions ||
         reported == endpoint.max_packet_size;
}

void check_interface(Server& server, const pdu::InterfaceInformationResult& result,
                     const usb::InterfaceDescriptor& expected, const std::string& what) {
  const std::string name = what + ", interface " + number(expected.number) + " setting " +
                           number(expected.alternate_setting);
  server.expect(result.interface_number == expected.number &&
                    result.alternate_setting == expected.alternate_setting,
                name + ": got interface " + number(result.interface_number) + " setting " +
                    number(result.alternate_setting));
  server.expect(result.interface_class == expected.interface_class &&
                    result.interface_subclass == expected.interface_subclass &&
                    result.interface_protocol == expected.interface_protocol,
                name + ": expected Class, SubClass and Protocol of its descriptor, got others");
  if (!server.expect(result.pipes.size() == expected.endpoints.size(),
                     name + ": expected NumberOfPipes " + number(expected.endpoints.size()) +
                         ", got " + number(result.pipes.size()))) {
    return;
  }
  for (std::size_t i = 0; i < result.pipes.size(); ++i) {
    const pdu::PipeInformationResult& pipe = result.pipes[i];
    const usb::EndpointDescriptor& endpoint = expected.endpoints[i];
    const std::string which = name + ", pipe " + number(i);
    server.expect(pipe.endpoint == endpoint.address,
                  which + ": expected EndpointAddress " + pdu::hex_text(endpoint.address, 2) +
                      ", got " + pdu::hex_text(pipe.endpoint, 2));
    server.expect(pipe.interval == endpoint.interval, which + ": expected Interval " +
                                                          number(endpoint.interval) + ", got " +
                                                          number(pipe.interval));
    server.expect(pipe.type == static_cast<std::uint32_t>(endpoint.type()),
                  which + ": expected PipeType " + number(static_cast<unsigned>(endpoint.type())) +
                      ", got " + number(pipe.type));
    server.expect(packet_size_fits(pipe.maximum_packet_size, endpoint),
                  which + ": expected MaximumPacketSize of wMaxPacketSize " +
                      pdu::hex_text(endpoint.max_packet_size, 4) + ", got " +
                      number(pipe.maximum_packet_size));
    server.expect(pipe.flags == 0,
                  which + ": expected PipeFlags 0 as asked for, got " + number(pipe.flags));
  }
}

/// One entry for each interface descriptor, alternate settings included; no preferences.
pdu::SelectConfiguration select_all(Server& server, const usb::Configuration& configuration) {
  pdu::SelectConfiguration select;
  select.descriptor_valid = 1;
  for (std::uint8_t& byte : select.padding) byte = static_cast<std::uint8_t>(server.noise());
  for (const auto& interface : configuration.interfaces) {
    pdu::InterfaceInformation information;
    information.pipes_expected = static_cast<std::uint16_t>(interface.endpoints.size());
    information.interface_number = interface.number;
    information.alternate_setting = interface.alternate_setting;
    information.padding = static_cast<std::uint16_t>(server.noise());
    information.pipes.resize(interface.endpoints.size());
    for (auto& pipe : information.pipes) pipe.padding = static_cast<std::uint16_t>(server.noise());
    select.interfaces.push_back(std::move(information));
  }
  select.descriptor = configuration.raw;
  return select;
}

/// Of several entries for one interface number the last one is in force.
void open_pipes(Server& server, Selection& selection) {
  selection.pipes.clear();
  std::map<std::uint8_t, const pdu::InterfaceInformationResult*> in_force;
  for (const auto& interface : selection.interfaces) {
    in_force[interface.interface_number] = &interface;
  }
  std::map<std::uint32_t, std::uint8_t> endpoints;
  for (const auto& [interface_number, interface] : in_force) {
    const auto* descriptor =
        selection.configuration.find(interface_number, interface->alternate_setting);
    if (descriptor == nullptr || descriptor->endpoints.size() != interface->pipes.size()) continue;
    for (std::size_t i = 0; i < interface->pipes.size(); ++i) {
      const std::uint32_t handle = interface->pipes[i].handle;
      const bool fresh = endpoints.emplace(handle, descriptor->endpoints[i].address).second;
      server.expect(fresh, "expected a PipeHandle of its own for each pipe, got " +
                               pdu::hex_text(handle, 8) + " twice");
      selection.pipes.push_back({descriptor->endpoints[i], interface_number, handle});
    }
  }
}

}  // namespace

Selection configure(Server& server) {
  Selection selection;
  const Bytes device =
      get_descriptor(server, usb::descriptor_type::device, 0, 0, usb::DeviceDescriptor::size);
  if (server.over()) return selection;
  const auto parsed_device = usb::parse_device_descriptor(device);
  if (!parsed_device) {
    server.give_up("expected a device descriptor: " + parsed_device.error().message);
    return selection;
  }
  selection.device = *parsed_device;

  constexpr std::uint32_t head_size = 9;
  const Bytes head = get_descriptor(server, usb::descriptor_type::configuration, 0, 0, head_size);
  if (server.over()) return selection;
  ByteReader reader(head);
  reader.skip(2);
  const std::uint16_t total = reader.u16le();
  if (!reader.ok() || head.size() != head_size || total < head_size) {
    server.give_up("expected the 9 bytes of a configuration descriptor, got " +
                   number(head.size()));
    return selection;
  }
  const Bytes whole = get_descriptor(server, usb::descriptor_type::configuration, 0, 0, total);
  if (server.over()) return selection;
  const auto parsed = usb::parse_configuration(whole);
  if (!parsed) {
    server.give_up("expected the whole configuration descriptor of " + number(total) +
                   " bytes: " + parsed.error().message);
    return selection;
  }
  selection.configuration = *parsed;
  select_again(server, selection);
  return selection;
}

void select_again(Server& server, Selection& selection) {
  const std::string what = "SELECT_CONFIGURATION";
  const usb::Configuration& configuration = selection.configuration;
  const Ended ended =
      ask_in(server, urb_function::select_configuration, select_all(server, configuration), 0);
  if (server.over()) return;
  const auto* result = std::get_if<pdu::SelectConfigurationResult>(&ended.body);
  if (!expect_done(server, ended, what) || result == nullptr) {
    server.give_up(what + ": expected TS_URB_SELECT_CONFIGURATION_RESULT, got " + ended.text());
    return;
  }
  selection.handle = result->configuration_handle;
  selection.interfaces = result->interfaces;
  if (result->interfaces.size() != configuration.interfaces.size()) {
    server.give_up(what + ": expected NumInterfaces " + number(configuration.interfaces.size()) +
                   ", got " + number(result->interfaces.size()));
    return;
  }
  for (std::size_t i = 0; i < result->interfaces.size(); ++i) {
    check_interface(server, result->interfaces[i], configuration.interfaces[i], what);
  }
  open_pipes(server, selection);
}

void select_setting(Server& server, Selection& selection, std::size_t index,
                    std::uint32_t request) {
  const std::string what = "SELECT_INTERFACE";
  if (server.over()) return;
  if (index >= selection.interfaces.size()) {
    server.inconclusive("the configuration has no interface");
    return;
  }
  const pdu::InterfaceInformationResult before = selection.interfaces[index];
  pdu::SelectInterface select;
  select.configuration_handle = selection.handle;
  select.interface.pipes_expected = static_cast<std::uint16_t>(before.pipes.size());
  select.interface.interface_number = before.interface_number;
  select.interface.alternate_setting = before.alternate_setting;
  select.interface.padding = static_cast<std::uint16_t>(server.noise());
  for (const auto& pipe : before.pipes) {
    select.interface.pipes.push_back({pipe.maximum_packet_size,
                                      static_cast<std::uint16_t>(server.noise()),
                                      pipe.maximum_transfer_size, pipe.flags});
  }
  const auto* expected =
      selection.configuration.find(before.interface_number, before.alternate_setting);
  server.transfer_in(request, urb_function::select_interface, std::move(select), 0);
  const Ended ended = server.completion_of(request);
  if (server.over()) return;
  const auto* result = std::get_if<pdu::SelectInterfaceResult>(&ended.body);
  if (!expect_done(server, ended, what) || result == nullptr || expected == nullptr) {
    server.give_up(what + ": expected TS_URB_SELECT_INTERFACE_RESULT, got " + ended.text());
    return;
  }
  check_interface(server, result->interface, *expected, what);
  // Its other settings, which Microsoft's way of selecting lists as well, are not in force.
  auto& interfaces = selection.interfaces;
  interfaces.erase(std::remove_if(interfaces.begin(), interfaces.end(),
                                  [&](const auto& interface) {
                                    return interface.interface_number == before.interface_number;
                                  }),
                   interfaces.end());
  interfaces.insert(interfaces.begin(), result->interface);
  open_pipes(server, selection);
}

std::optional<Pipe> silent_pipe(const Selection& selection) {
  // Interrupt pipes speak whenever they like, bulk pipes when they are asked to.
  for (const Pipe& pipe : selection.pipes) {
    if (pipe.in() && pipe.endpoint.type() == usb::TransferType::bulk) return pipe;
  }
  return std::nullopt;
}

Pipe bring_up_silent_pipe(Server& server) {
  server.bring_up();
  const auto pipe = silent_pipe(configure(server));
  if (!pipe) server.inconclusive("the device has no bulk IN pipe");
  return pipe.value_or(Pipe{});
}

std::uint32_t start_read(Server& server, const Pipe& pipe, std::uint32_t size,
                         std::uint32_t flags) {
  const std::uint32_t request = server.next_id();
  server.transfer_in(request, urb_function::bulk_or_interrupt_transfer,
                     pdu::BulkOrInterruptTransfer{pipe.handle, flags}, size);
  return request;
}

void stall_and_reset(Server& server, const Pipe& pipe) {
  const std::uint32_t size = pipe.endpoint.max_packet_size;
  // Features travel as TRANSFER_IN, whatever they do on the bus.
  expect_done(server,
              ask_in(server, urb_function::set_feature_to_endpoint,
                     pdu::FeatureRequest{0 /* ENDPOINT_HALT */, pipe.endpoint.address}, 0),
              "SET_FEATURE(ENDPOINT_HALT)");
  const Ended stalled = server.completion_of(start_read(server, pipe, size));
  if (expect_failed(server, stalled, "a read of the halted pipe")) {
    server.expect(
        stalled.usbd_status == pdu::usbd_status::stall_pid,
        "a read of the halted pipe: expected UsbdStatus STALL_PID, got " + stalled.text());
  }
  expect_failed(server, server.completion_of(start_read(server, pipe, size)),
                "another read of the halted pipe");
  expect_done(server, ask_pipe(server, urb_function::sync_reset_pipe_and_clear_stall, pipe.handle),
              "SYNC_RESET_PIPE_AND_CLEAR_STALL");
}

void expect_quiet_request(Server& server) {
  const std::uint32_t request = server.next_id();
  server.transfer_in(request, urb_function::get_descriptor_from_device,
                     pdu::DescriptorRequest{0, usb::descriptor_type::device, 0},
                     usb::DeviceDescriptor::size);
  server.expect_silence("a request while nothing is registered");
  server.forget(request);
}

void require_board(Server& server) {
  constexpr std::uint16_t vendor_id = 0x0547, product_id = 0x1002;
  if (server.over() || server.device_is(vendor_id, product_id)) return;
  server.inconclusive("the device is no OSR USB-FX2 learning board (0547:1002)");
}

}  // namespace tillbridge::terminal::conformance
