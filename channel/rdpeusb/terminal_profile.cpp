#include "channel/rdpeusb/terminal_profile.hpp"

#include <array>
#include <chrono>
#include <utility>

#include "channel/bytes/reader.hpp"
#include "channel/rdpeusb/pdu/named_value.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::rdpeusb::terminal {

namespace {

using What = Opening::What;
using Step = Opening::Step;

constexpr std::uint32_t description = pdu::QueryDeviceText::description;
constexpr std::uint32_t location = pdu::QueryDeviceText::location;
constexpr std::uint32_t english = 0x409, german = 0x407, neutral = 0;

// --- the tables: who does what, and who says so --------------------------------------------------

constexpr Habits plain_habits{
    // Away from the default ids.
    pdu::interface_id::first_free,
    // 0 is legal, but an interrupt transfer under id 0 hangs some clients (FreeRDP's issue 7418).
    false, false, false};

constexpr Habits windows_habits{
    // RequestCompletion 0, though that is the capability interface's id (FreeRDP's issue 6150; the
    // completions in issue 7527 are on interface 0, mask PROXY; MS-RDPEUSB 4.1.3).
    0,
    // The first request has id 0, and long after it an interrupt read has (issue 7418), and the
    // read that is pending at a disconnect (issue 7527): so an id is used again as soon as it is
    // free, which MS-RDPEUSB 3.1.1 allows, and the lowest free one is taken.
    true,
    // Class drivers ask whether the port is still there before they reset it (usbioctl.h; the
    // driver kit's USB samples). usbstor is one of them.
    true,
    // At a disconnect what is pending is cancelled (issue 7527), a driver stack that goes takes its
    // registration back (a comment in FreeRDP's first version, fa4d8fca1), and the server says that
    // the device is no longer wanted (MS-RDPEUSB 2.2.6.9, 3.2.5.3.8).
    true};

/// A name for people, and a registration at once.
constexpr std::array plain_opening{
    Step{What::text, description, english, false},
    Step{What::register_callback},
};

/// MessageId is 0 in all of it (issue 6150), so there is at most one QUERY_DEVICE_TEXT at a time.
constexpr std::array windows_opening{
    // The texts come in pairs, the second once the first was answered, right after ADD_DEVICE
    // (issues 5647, 6153, 8416).
    Step{What::text, description, english},
    Step{What::text, location, english},
    Step{What::register_callback},
    // The hub driver's enumeration (MS-RDPEUSB 3.3.5.3.9 for the last two; for the order of the
    // others FreeRDP's issue 6150 and usbip-win's issue 99). Parts first, then the whole.
    Step{What::device_descriptor, usb::DeviceDescriptor::size},
    Step{What::configuration, 9},
    Step{What::configuration, 0},
    Step{What::os_string, 18},
    Step{What::os_feature, 16},
    Step{What::port_status, 4},
    // The odd cases that the protocol allows and a till must survive. A buffer of no size for what
    // has one: 2.2.7.1; a transfer of no length: 2.2.6.7; the two clocks: 4.1.2 and 2.2.9.8.
    Step{What::port_status, 0},
    Step{What::device_descriptor, 0},
    Step{What::bus_time, 4},
    Step{What::frame_number},
    // NoAck (2.2.9.1.1): a server may use it for isochronous writes to a till that announced a
    // jitter buffer. There must be no answer, whether it can be carried out or not.
    Step{What::no_ack},
    // A cancel that crosses the completion (2.2.6.1): the till must not answer it.
    Step{What::cancel_finished},
    // After both, anything unasked for would have come before this answer.
    Step{What::port_status, 4},
    // A driver stack that turns out to be the wrong one goes again, and the next one registers on
    // the same channel (a comment in FreeRDP's first version, fa4d8fca1). Last, because FreeRDP's
    // own redirection gives the device back when it hears this, before which it is asked the rest.
    Step{What::unregister},
    // The texts are asked for again and again (issue 8416: after 200 ms), and by a server in
    // another language under that one's locale.
    Step{What::text, description, german},
    Step{What::text, location, german},
    Step{What::text, description, neutral},
    Step{What::register_callback},
    Step{What::device_descriptor, usb::DeviceDescriptor::size},
};

// -------------------------------------------------------------------------------------------------

/// MS-RDPEUSB 3.1.2.
constexpr Duration text_patience = std::chrono::seconds(30);
/// A host may give up on a standard request after 5 s (USB 2.0, 9.2.6.4).
constexpr Duration completion_patience = std::chrono::seconds(5);

/// USBD_PORT_ENABLED and USBD_PORT_CONNECTED (usbioctl.h).
constexpr std::uint32_t port_enabled_and_connected = 3;
constexpr std::uint8_t os_string_index = 0xEE;
constexpr std::uint16_t extended_compatible_id = 4;

pdu::TransferRequest read(std::uint16_t function, pdu::TsUrb::Body body, std::uint32_t bytes) {
  pdu::TransferRequest request;
  request.in = true;
  request.urb.function = function;
  request.urb.body = std::move(body);
  request.output_buffer_size = bytes;
  return request;
}

pdu::TransferRequest get_descriptor(std::uint8_t type, std::uint8_t index, std::uint32_t bytes) {
  return read(pdu::urb_function::get_descriptor_from_device, pdu::DescriptorRequest{index, type, 0},
              bytes);
}

pdu::IoControl io_control(std::uint32_t code, std::uint32_t bytes) {
  pdu::IoControl request;
  request.code = code;
  request.output_buffer_size = bytes;
  return request;
}

/// For a finding: "GET_PORT_STATUS into 0 bytes".
std::string name_of(const Step& step) {
  const std::string into = " of " + std::to_string(step.detail) + " bytes";
  switch (step.what) {
    case What::text:
      return "QUERY_DEVICE_TEXT (type " + std::to_string(step.detail) + ", locale " +
             pdu::hex_text(step.locale, 4) + ")";
    case What::register_callback:
    case What::unregister:
      return "REGISTER_REQUEST_CALLBACK";
    case What::device_descriptor:
      return "GET_DESCRIPTOR (device)" + into;
    case What::configuration:
      return step.detail == 0 ? "GET_DESCRIPTOR (whole configuration)"
                              : "GET_DESCRIPTOR (configuration)" + into;
    case What::os_string:
      return "GET_DESCRIPTOR (OS string 0xEE)";
    case What::os_feature:
      return "GET_MS_FEATURE_DESCRIPTOR";
    case What::port_status:
      return "GET_PORT_STATUS" + into;
    case What::bus_time:
      return "QUERY_BUS_TIME";
    case What::frame_number:
      return "GET_CURRENT_FRAME_NUMBER";
    case What::no_ack:
      return "ISOCH_TRANSFER with NoAck";
    case What::cancel_finished:
      return "CANCEL_REQUEST";
  }
  return {};
}

std::string ending(const Answer& answer) {
  return pdu::usbd_status::text(answer.status) + ", " + pdu::hresult::text(answer.hresult) + ", " +
         std::to_string(answer.size) + " bytes";
}

bool failed(const Answer& answer) {
  return pdu::usbd_status::failed(answer.status) || pdu::hresult::failed(answer.hresult);
}

/// The message must fit what was returned (MS-RDPEUSB 2.2.7.2, 2.2.7.3), and a failure returns
/// nothing. That a failure has HResult 0 is FreeRDP's, and has a name of its own already.
std::string form_of(const Answer& answer) {
  const bool with_data = answer.message == Answer::Message::urb_completion;
  if (with_data && answer.size == 0) return "URB_COMPLETION without a byte";
  if (failed(answer) && answer.size != 0) return "data with a failure: " + ending(answer);
  return {};
}

std::string descriptor(const Answer& answer, std::uint8_t type, std::uint32_t bytes) {
  if (failed(answer)) return "failed: " + ending(answer);
  if (answer.size != bytes)
    return std::to_string(answer.size) + " bytes instead of " + std::to_string(bytes);
  ByteReader reader(answer.data);
  reader.skip(1);  // bLength
  if (reader.u8() != type) return "another descriptor than was asked for";
  return {};
}

std::string io_control_of(const Answer& answer, std::uint32_t hresult, std::uint32_t information,
                          std::uint32_t size) {
  if (answer.hresult == hresult && answer.information == information && answer.size == size)
    return {};
  return pdu::hresult::text(answer.hresult) + ", Information " +
         std::to_string(answer.information) + ", " + std::to_string(answer.size) +
         " bytes instead of " + pdu::hresult::text(hresult) + ", " + std::to_string(information) +
         ", " + std::to_string(size);
}

}  // namespace

const Habits& habits_of(Profile profile) {
  return profile == Profile::windows ? windows_habits : plain_habits;
}

Opening::Opening(Profile profile)
    : steps_(profile == Profile::windows ? std::span<const Step>(windows_opening)
                                         : std::span<const Step>(plain_opening)),
      strict_(profile == Profile::windows),
      completion_interface_(habits_of(profile).completion_interface) {}

std::optional<Opening::Request> Opening::next() {
  const bool waiting = (text_awaited_ || completion_awaited_) && awaited_.waits;
  if (waiting || next_ == steps_.size()) return std::nullopt;
  const Step& step = steps_[next_++];
  switch (step.what) {
    case What::text:
      text_awaited_ = true;
      awaited_ = step;
      break;
    case What::register_callback:
    case What::unregister:
    case What::no_ack:
    case What::cancel_finished:
      break;
    default:
      completion_awaited_ = true;
      awaited_ = step;
      break;
  }
  return request_of(step);
}

Opening::Request Opening::request_of(const Step& step) const {
  namespace type = usb::descriptor_type;
  switch (step.what) {
    case What::text:
      return pdu::QueryDeviceText{{}, step.detail, step.locale};
    case What::unregister:
      return pdu::RegisterRequestCallback{{}, 0, 0};
    case What::device_descriptor:
      return get_descriptor(type::device, 0, step.detail);
    case What::configuration:
      return get_descriptor(type::configuration, 0, step.detail != 0 ? step.detail : total_length_);
    case What::os_string:
      return get_descriptor(type::string, os_string_index, step.detail);
    case What::os_feature: {
      pdu::OsFeatureDescriptorRequest body;
      body.feature_descriptor_index = extended_compatible_id;
      return read(pdu::urb_function::get_ms_feature_descriptor, body, step.detail);
    }
    case What::port_status:
      return io_control(pdu::io_control_code::get_port_status, step.detail);
    case What::bus_time: {
      pdu::IoControl request = io_control(pdu::io_control_code::query_bus_time, step.detail);
      request.internal = true;
      return request;
    }
    case What::frame_number:
      return read(pdu::urb_function::get_current_frame_number, pdu::NoParameters{}, 0);
    case What::no_ack: {
      pdu::IsochronousTransfer body;
      body.flags = pdu::transfer_flag::start_isochronous_asap;
      body.packets.resize(1);
      pdu::TransferRequest request;
      request.in = false;
      request.urb.function = pdu::urb_function::isochronous_transfer;
      request.urb.no_ack = true;
      request.urb.body = std::move(body);
      return request;
    }
    case What::cancel_finished:
      return pdu::CancelRequest{};
    case What::register_callback:
      break;
  }
  return pdu::RegisterRequestCallback{{}, 1, completion_interface_};
}

bool Opening::done() const noexcept {
  return next_ == steps_.size() && !text_awaited_ && !completion_awaited_;
}

Duration Opening::patience() const noexcept {
  return text_awaited_ ? text_patience : completion_patience;
}

void Opening::text(const pdu::QueryDeviceTextResponse& response) {
  if (!text_awaited_) return;
  const bool failed = pdu::hresult::failed(response.result);
  if (!description_ && !failed) description_ = response.text;
  if (failed) return text_ended("failed: " + pdu::hresult::text(response.result));
  text_ended(response.text.empty() ? "an empty text" : "");
}

void Opening::text_unsupported() {
  if (text_awaited_) text_ended("\"function not supported\"");
}

void Opening::text_ended(const std::string& wrong) {
  text_awaited_ = false;
  if (!wrong.empty()) find(awaited_, wrong);
}

void Opening::answered(const Answer& answer) {
  if (!completion_awaited_) return;
  completion_awaited_ = false;
  if (const std::string wrong = judge(answer); !wrong.empty()) find(awaited_, wrong);
  // Without its header there is no length to ask for.
  const bool header = awaited_.what == What::configuration && awaited_.detail != 0;
  if (header && total_length_ == 0) ++next_;
}

std::string Opening::judge(const Answer& answer) {
  namespace type = usb::descriptor_type;
  if (std::string wrong = form_of(answer); !wrong.empty()) return wrong;
  switch (awaited_.what) {
    case What::device_descriptor:
      // A device that refuses a transfer of no length is no fault of the till.
      if (awaited_.detail == 0) return answer.size == 0 ? "" : ending(answer);
      return descriptor(answer, type::device, awaited_.detail);
    case What::configuration: {
      const bool whole = awaited_.detail == 0;
      std::string wrong =
          descriptor(answer, type::configuration, whole ? total_length_ : awaited_.detail);
      if (wrong.empty() && !whole) {
        ByteReader reader(answer.data);
        reader.skip(2);
        total_length_ = reader.u16le();
      }
      return wrong;
    }
    case What::port_status:
      if (awaited_.detail == 0)
        return io_control_of(answer, pdu::hresult::insufficient_buffer, sizeof(std::uint32_t), 0);
      if (std::string wrong =
              io_control_of(answer, pdu::hresult::ok, awaited_.detail, awaited_.detail);
          !wrong.empty()) {
        return wrong;
      } else {
        ByteReader reader(answer.data);
        const std::uint32_t port = reader.u32le();
        const bool up = (port & port_enabled_and_connected) == port_enabled_and_connected;
        return up ? "" : "a port that is not enabled and connected: " + pdu::hex_text(port, 8);
      }
    case What::bus_time:
      return io_control_of(answer, pdu::hresult::ok, awaited_.detail, awaited_.detail);
    case What::frame_number:
      return !failed(answer) && answer.frame_number ? "" : "no frame number: " + ending(answer);
    default:
      return {};  // a device may have no OS descriptors, and then stalls
  }
}

void Opening::timed_out() {
  const bool text = std::exchange(text_awaited_, false);
  const bool completion = std::exchange(completion_awaited_, false);
  if (!text && !completion) return;
  find(awaited_, "no answer");
  const bool header = awaited_.what == What::configuration && awaited_.detail != 0;
  if (header && total_length_ == 0) ++next_;
}

void Opening::answered_despite_no_ack() {
  find(Step{What::no_ack}, "an answer");
}

void Opening::find(const Step& step, const std::string& wrong) {
  if (strict_) findings_.push_back("wrong answer to " + name_of(step) + ": " + wrong);
}

std::vector<std::string> Opening::findings() {
  return std::exchange(findings_, {});
}

}  // namespace tillbridge::rdpeusb::terminal
