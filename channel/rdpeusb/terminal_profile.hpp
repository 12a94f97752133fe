// Whom the terminal role resembles: what it sends beyond what its owner asks for, and how.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "channel/rdpeusb/pdu/message.hpp"

namespace tillbridge::rdpeusb {

enum class Profile : std::uint8_t {
  plain,   ///< the device's name, a registration, and then only what the owner asks for
  windows  ///< the hub driver of a Windows server, as far as anybody has seen it, and odd cases
};

namespace terminal {

/// What distinguishes the profiles once a device runs. The table is in terminal_profile.cpp.
struct Habits {
  /// RequestCompletion of every device; the channel tells devices apart.
  std::uint32_t completion_interface;
  /// RequestIds: the lowest one that is free, from 0 up; otherwise counted up from 1.
  bool lowest_request_id;
  /// GET_PORT_STATUS before RESET_PORT.
  bool port_status_before_reset;
  /// At log-off: cancels, de-registration, RETRACT_DEVICE. Otherwise nothing, the channel just
  /// ends.
  bool takes_leave;
};
[[nodiscard]] const Habits& habits_of(Profile profile);

/// A completion of one of the opening's requests, as it came.
struct Answer {
  enum class Message : std::uint8_t {
    io_control_completion,
    urb_completion,
    urb_completion_no_data
  };
  Message message{};
  std::uint32_t status = 0;  ///< UsbdStatus; 0 for an I/O control
  std::uint32_t hresult = 0;
  std::uint32_t information = 0;  ///< I/O controls only
  std::uint32_t size = 0;         ///< OutputBufferSize
  bool frame_number = false;      ///< the result has a FrameNumber
  Bytes data;
};

/// What happens between ADD_DEVICE and the moment from which the owner has the device: a script,
/// sans-I/O. It says what to send next, is told the answers and judges them. Everything is answered
/// or given up at its end, so nothing of it is in the way of the owner's transfers.
class Opening {
 public:
  enum class What : std::uint8_t {
    text,               ///< QUERY_DEVICE_TEXT of type `detail`
    register_callback,  ///< REGISTER_REQUEST_CALLBACK(1, completion interface)
    unregister,         ///< REGISTER_REQUEST_CALLBACK(0)
    device_descriptor,  ///< `detail` bytes
    configuration,      ///< configuration descriptor 0: `detail` bytes; 0: wTotalLength
    os_string,          ///< string descriptor 0xEE
    os_feature,         ///< extended compatible id, its header
    port_status,        ///< GET_PORT_STATUS into `detail` bytes
    bus_time,           ///< QUERY_BUS_TIME
    frame_number,       ///< GET_CURRENT_FRAME_NUMBER
    no_ack,             ///< isochronous OUT with NoAck: must stay without an answer
    cancel_finished     ///< CANCEL_REQUEST of an id that is not outstanding
  };
  struct Step {
    What what;
    std::uint32_t detail = 0;
    std::uint32_t locale = 0x409;  ///< of a text
    bool waits = true;             ///< for its answer before the next step is sent
  };

  /// The address is the caller's to fill in, and so are request ids.
  using Request = std::variant<pdu::QueryDeviceText, pdu::RegisterRequestCallback,
                               pdu::CancelRequest, pdu::IoControl, pdu::TransferRequest>;

  explicit Opening(Profile profile);

  /// The next thing to send, or nothing while an answer is awaited. Views in it point into the
  /// opening.
  [[nodiscard]] std::optional<Request> next();
  [[nodiscard]] bool awaits_text() const noexcept { return text_awaited_; }
  /// Everything was sent, and answered or given up.
  [[nodiscard]] bool done() const noexcept;
  /// How long the answer that is awaited may take.
  [[nodiscard]] Duration patience() const noexcept;

  // The answers. What is wrong with them is said by findings().
  void text(const pdu::QueryDeviceTextResponse& response);
  /// "Function not supported" instead of a text.
  void text_unsupported();
  void answered(const Answer& answer);
  /// No answer came in time.
  void timed_out();
  /// The request that must not be answered was.
  void answered_despite_no_ack();

  /// The answer to the first question for a description; empty if there was none.
  [[nodiscard]] std::string description() const { return description_.value_or(""); }
  /// What was wrong with the answers since the last call, each naming its request.
  [[nodiscard]] std::vector<std::string> findings();

 private:
  [[nodiscard]] Request request_of(const Step& step) const;
  /// What is wrong with an answer; empty if nothing is.
  [[nodiscard]] std::string judge(const Answer& answer);
  void text_ended(const std::string& wrong);
  void find(const Step& step, const std::string& wrong);

  std::span<const Step> steps_;
  bool strict_;
  std::uint32_t completion_interface_;
  std::size_t next_ = 0;
  Step awaited_{What::text};
  bool text_awaited_ = false, completion_awaited_ = false;
  std::uint32_t total_length_ = 0;  ///< wTotalLength of configuration descriptor 0
  std::optional<std::string> description_;
  std::vector<std::string> findings_;
};

}  // namespace terminal
}  // namespace tillbridge::rdpeusb
