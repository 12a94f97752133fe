// The server's side of a conformance case: the steps that all cases share, what came back, and what
// was wrong with it (rdpeusb.md 5.2).
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "channel/rdpeusb/pdu/message.hpp"
#include "channel/rdpeusb/pdu/named_value.hpp"
#include "server/terminal/conformance/case.hpp"

namespace tillbridge::terminal::conformance {

namespace pdu = rdpeusb::pdu;

/// How a request ended, as the server reads it.
struct Ended {
  enum class Kind : std::uint8_t {
    nothing,  ///< no completion came; the finding is recorded already
    io_control,
    urb,
    urb_no_data
  };
  Kind kind = Kind::nothing;
  std::uint32_t request = 0;
  std::uint32_t usbd_status = 0;  ///< not of an I/O control
  std::uint32_t hresult = 0;
  std::uint32_t information = 0;  ///< I/O control only
  std::uint32_t size = 0;         ///< OutputBufferSize
  Bytes data;
  pdu::TsUrbResult::Body body;

  [[nodiscard]] bool succeeded() const {
    return kind != Kind::nothing && usbd_status == pdu::usbd_status::success &&
           hresult == pdu::hresult::ok;
  }
  [[nodiscard]] bool failed() const {
    return kind != Kind::nothing && pdu::hresult::failed(hresult) &&
           (kind == Kind::io_control || pdu::usbd_status::failed(usbd_status));
  }
  /// "URB_COMPLETION with status STALL_PID (0xC0000004), HResult 0x8007001F, 0 bytes".
  [[nodiscard]] std::string text() const;
};

/// Says what a case wants said, and records a finding for everything that comes back wrong. When
/// going on makes no sense (a channel that was not opened, an answer that did not come), it is
/// over(): it then sends nothing, waits for nothing, finds nothing, and answers with empty values.
/// So a case is written as a straight line.
class Server {
 public:
  Server(Client& client, const Settings& settings) : client_(client), settings_(settings) {}

  // --- findings
  /// Names what is being done, in front of the findings that follow.
  void step(std::string name) { step_ = std::move(name); }
  void wrong(const std::string& finding);
  /// Records the finding if the condition does not hold; returns the condition.
  bool expect(bool condition, const std::string& finding);
  /// A finding after which nothing makes sense any more.
  void give_up(const std::string& finding);
  /// Ends the case: the client has nothing to test it with.
  void inconclusive(const std::string& reason);
  [[nodiscard]] bool over() const { return over_; }
  /// Ends the case: every request must have been completed and looked at, and what was opened is
  /// closed.
  [[nodiscard]] Verdict finish();

  // --- shared steps. Each of P1 to P7 on the channels of one control channel
  void bring_up() { open_control(), open_device(), register_callback(); }
  /// P1 to P4: until ADD_VIRTUAL_CHANNEL came.
  void open_control();
  /// P5, P6: until ADD_DEVICE came and was found right.
  void open_device();
  /// P7. Nothing given: the counter's next value.
  void register_callback(std::optional<std::uint32_t> request_completion = std::nullopt);
  void register_nothing();
  /// R: RETRACT_DEVICE. The client closes the device channel and then says nothing. The control
  /// channel is closed after it, so that bring_up() may follow.
  void retract();
  /// The server's own DYNVC_CLOSE of the device channel, and of the control channel.
  void close_device();
  /// Whatever else is open is closed with it.
  void close_control();
  /// The device channel is left to the client.
  void close_control_alone();

  // --- single steps, for the cases about the handshake
  /// What an earlier control channel brought is forgotten. open_control() does it by itself.
  void begin();
  [[nodiscard]] rdpeusb::ChannelId open_channel(const std::string& which);
  void exchange_capabilities(rdpeusb::ChannelId channel);
  void announce_version(rdpeusb::ChannelId channel, const pdu::ChannelCreated& version);
  /// CHANNEL_CREATED 1.0 and the client's own.
  void create_channel(rdpeusb::ChannelId channel);
  void expect_closed(rdpeusb::ChannelId channel, const std::string& after);
  void expect_silence(const std::string& after, std::optional<Duration> duration = std::nullopt);
  /// The client may unplug the device by itself (CYCLE_PORT), and announce it anew.
  void expect_replug() { may_replug_ = true; }

  // --- requests. All MessageIds are 0, as Windows' are
  [[nodiscard]] std::uint32_t next_id() { return counter_++; }
  void send(ByteView message);  ///< on the device channel
  void io_control(std::uint32_t request, std::uint32_t code, std::uint32_t output_size,
                  bool internal = false);
  void transfer_in(std::uint32_t request, std::uint16_t function, pdu::TsUrb::Body body,
                   std::uint32_t output_size);
  void transfer_out(std::uint32_t request, std::uint16_t function, pdu::TsUrb::Body body,
                    ByteView data);
  /// With NoAck. A completion that comes nevertheless is there to be looked at.
  void transfer_unacknowledged(bool in, std::uint32_t request, std::uint16_t function,
                               pdu::TsUrb::Body body, std::uint32_t output_size, ByteView data);
  /// A message of the case's own making, whose completion is then waited for.
  void send_request(ByteView message, std::uint32_t request, const pdu::OutstandingRequest& asked,
                    bool in = true);
  void cancel(std::uint32_t request) { cancel(request, usb_device_); }
  void cancel(std::uint32_t request, std::uint32_t interface);

  // --- answers
  /// The completion of one request, whatever else completes before it.
  [[nodiscard]] Ended completion_of(std::uint32_t request);
  /// Nothing within `duration` is no finding.
  [[nodiscard]] std::optional<Ended> completion_within(std::uint32_t request, Duration duration);
  /// The next completion of any request, in the order in which they came.
  [[nodiscard]] Ended next_completion();
  [[nodiscard]] bool outstanding(std::uint32_t request) const;
  /// The request will never complete.
  void forget(std::uint32_t request) { outstanding_.erase(request); }
  [[nodiscard]] std::optional<pdu::QueryDeviceTextResponse> device_text(
      const pdu::QueryDeviceText& query);
  /// Sends a message to which the 8-byte reply "not supported" is the answer.
  void expect_not_supported(ByteView message, const pdu::Address& address, const std::string& what);

  [[nodiscard]] std::uint32_t usb_device() const { return usb_device_; }
  [[nodiscard]] rdpeusb::ChannelId device_channel() const { return device_.value_or(0); }
  [[nodiscard]] const pdu::AddDevice& announcement() const { return announcement_; }
  [[nodiscard]] const Settings& settings() const { return settings_; }
  void use(Releases releases) { settings_.releases = releases; }
  /// Whether a device with these ids was announced.
  [[nodiscard]] bool device_is(std::uint16_t vendor_id, std::uint16_t product_id) const;
  /// For the paddings, which the suite fills with anything.
  [[nodiscard]] std::uint32_t noise() { return static_cast<std::uint32_t>(random_()); }

 private:
  struct Channel {
    bool closed = false;  ///< by the client
    bool capability_outstanding = false;
    std::optional<pdu::CapabilityResponse> capabilities;
    std::optional<pdu::ChannelCreated> created;
  };

  [[nodiscard]] bool take_event(Duration patience);
  void take(const Client::Message& message);
  void take(const Client::Closed& closed);
  void take_pdu(rdpeusb::ChannelId id, Channel& channel, const pdu::FromTill& message);
  void take_completion(Ended ended);
  [[nodiscard]] pdu::TerminalContext context_of(rdpeusb::ChannelId id, const Channel& channel);
  /// Waits until `ready`; false, and over, if it does not get so in time or cannot any more.
  bool wait(const std::function<bool()>& ready, const std::string& expected,
            rdpeusb::ChannelId channel);
  void send(rdpeusb::ChannelId channel, ByteView message);
  void transfer(bool in, std::uint32_t request, std::uint16_t function, pdu::TsUrb::Body body,
                std::uint32_t output_size, ByteView data, bool no_ack = false);
  void check_announcement();

  Client& client_;
  Settings settings_;
  Verdict verdict_;
  std::string step_;
  bool over_ = false;

  std::uint32_t counter_ = 0;  ///< of MessageIds, interface ids and RequestIds, as the suite's
  std::mt19937 random_{5};     // NOLINT(cert-msc*): the same case is the same bytes every time

  std::map<rdpeusb::ChannelId, Channel> channels_;
  std::optional<rdpeusb::ChannelId> control_, device_;
  std::size_t channels_asked_for_ = 0, devices_announced_ = 0;
  std::size_t messages_ = 0;  ///< that came, on any channel
  std::string last_message_;
  bool may_replug_ = false;
  pdu::AddDevice announcement_;
  std::uint32_t usb_device_ = 0;
  std::optional<std::uint32_t> request_completion_;
  struct Request {
    pdu::OutstandingRequest asked;
    bool in = true;
  };
  std::map<std::uint32_t, Request> outstanding_;
  std::deque<Ended> ended_;  ///< not looked at yet
  std::optional<pdu::Address> text_query_;
  std::optional<pdu::QueryDeviceTextResponse> text_;
  std::vector<pdu::QueryInterfaceResponse> not_supported_;
};

}  // namespace tillbridge::terminal::conformance
