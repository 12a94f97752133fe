// Profile::windows: what is sent, in which order, and what becomes of the answers.
#include <algorithm>
#include <functional>
#include <optional>

#include <gtest/gtest.h>

#include "channel/rdpeusb/pdu/follower.hpp"
#include "channel/rdpeusb/till_role.hpp"
#include "tests/unit/rdpeusb/terminal_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

namespace io_control_code = pdu::io_control_code;

/// A TillRole whose stick has descriptors and stalls everything else, behind the Windows profile.
class WindowsSession : public ::testing::Test {
 protected:
  TillRole till_;
  TerminalRole terminal_{Profile::windows};
  Instant now_ = 1'000'000us;
  std::map<ChannelId, pdu::Follower> followers_;
  /// "> 2 NAME detail" for the server's messages, "< 2 NAME detail" for the till's.
  std::vector<std::string> messages_;
  std::vector<std::string> wrong_answers_;
  std::vector<TerminalRole::DeviceArrived> arrived_;
  std::vector<usb::Completion> completed_;
  std::vector<usb::SetupPacket> on_the_stick_;
  ChannelId last_channel_ = 0;
  bool till_closed_ = false;

  void settle() {
    for (bool moved = true; moved;) {
      moved = false;
      while (auto output = till_.poll()) {
        moved = true;
        std::visit([this](auto& value) { take(value); }, *output);
      }
      while (auto output = terminal_.poll()) {
        moved = true;
        std::visit([this](auto& value) { take(value); }, *output);
      }
    }
  }
  void connect() {
    till_.add_device(1, {storage_stick(), ResetPolicy::soften}, now_);
    terminal_.start(now_);
    settle();
    ASSERT_EQ(arrived_.size(), 1U);
  }
  void submit(usb::Transfer transfer) {
    terminal_.submit(arrived_.front().device, std::move(transfer), now_);
    settle();
  }
  std::vector<std::string> sent_by_server() {
    std::vector<std::string> sent;
    for (const std::string& message : messages_)
      if (message.front() == '>') sent.push_back(message.substr(2));
    return sent;
  }

 private:
  static std::string line(const pdu::Description& description) {
    std::string text = description.name;
    if (!description.detail.empty()) text += " " + description.detail;
    for (const pdu::Field& field : description.fields) {
      const bool told = field.name == "TextType" || field.name == "LocaleId" ||
                        field.name == "NumRequestCompletion" || field.name == "Reason" ||
                        (field.name == "OutputBufferSize" &&
                         description.name.find("COMPLETION") == std::string::npos);
      if (told) text += " " + std::to_string(std::get<std::uint32_t>(field.value));
    }
    return text;
  }
  void take(TillRole::SendMessage& value) {
    const auto seen = followers_[value.channel].from_till(value.message);
    ASSERT_TRUE(seen.ok()) << seen.error().message;
    messages_.push_back("< " + std::to_string(value.channel) + " " + line(*seen));
    terminal_.receive(value.channel, value.message, now_);
  }
  void take(TillRole::CloseChannel& value) {
    till_closed_ = true;
    terminal_.channel_closed(value.channel, now_);
  }
  void take(TillRole::Submit& value) {
    usb::Completion completion;
    completion.id = value.transfer.id;
    const usb::SetupPacket& setup = value.transfer.setup;
    if (value.transfer.type == usb::TransferType::control) on_the_stick_.push_back(setup);
    if (value.transfer.type != usb::TransferType::control) return;  // stays
    if (setup.in()) {
      if (setup.value == 0x0100) completion.data = usb::encode(storage_stick().device);
      if (setup.value == 0x0200) completion.data = storage_configuration();
      if (completion.data.empty()) completion.status = usb::TransferStatus::stall;
      completion.data.resize(std::min<std::size_t>(completion.data.size(), setup.length));
      completion.actual_length = static_cast<std::uint32_t>(completion.data.size());
    }
    till_.complete(1, std::move(completion), now_);
  }
  void take(TillRole::Cancel& /*value*/) {}
  void take(TillRole::DeviceInSession& /*value*/) {}
  void take(TillRole::DeviceLeftSession& /*value*/) {}
  void take(TillRole::Event& /*value*/) {}
  void take(TerminalRole::OpenChannel& value) {
    till_.channel_opened(++last_channel_, now_);
    terminal_.channel_opened(value.ticket, last_channel_, now_);
  }
  void take(TerminalRole::SendMessage& value) {
    const auto seen = followers_[value.channel].from_server(value.message);
    ASSERT_TRUE(seen.ok()) << seen.error().message;
    EXPECT_TRUE(seen->is_message) << seen->name << " " << seen->detail;
    messages_.push_back("> " + std::to_string(value.channel) + " " + line(*seen));
    till_.receive(value.channel, value.message, now_);
  }
  void take(TerminalRole::CloseChannel& value) { till_.channel_closed(value.channel, now_); }
  void take(TerminalRole::DeviceArrived& value) { arrived_.push_back(std::move(value)); }
  void take(TerminalRole::DeviceGone& /*value*/) {}
  void take(TerminalRole::Completed& value) { completed_.push_back(std::move(value.completion)); }
  void take(TerminalRole::IoControlCompleted& /*value*/) {}
  void take(TerminalRole::Event& value) {
    if (value.wrong_answer) wrong_answers_.push_back(value.text);
  }
};

TEST_F(WindowsSession, EverythingIsSaidInTheDocumentedOrder) {
  connect();
  const std::vector<std::string> handshake{"RIM_EXCHANGE_CAPABILITY_REQUEST",
                                           "RIMCALL_RELEASE interface 0", "CHANNEL_CREATED",
                                           "RIMCALL_RELEASE interface 2"};
  const std::vector<std::string> opening{
      "QUERY_DEVICE_TEXT 0 1033",
      "QUERY_DEVICE_TEXT 1 1033",
      "REGISTER_REQUEST_CALLBACK 1",
      "TRANSFER_IN_REQUEST GET_DESCRIPTOR_FROM_DEVICE (0x000B) 18",
      "TRANSFER_IN_REQUEST GET_DESCRIPTOR_FROM_DEVICE (0x000B) 9",
      "TRANSFER_IN_REQUEST GET_DESCRIPTOR_FROM_DEVICE (0x000B) 32",
      "TRANSFER_IN_REQUEST GET_DESCRIPTOR_FROM_DEVICE (0x000B) 18",
      "TRANSFER_IN_REQUEST GET_MS_FEATURE_DESCRIPTOR (0x002A) 16",
      "IO_CONTROL GET_PORT_STATUS (0x00220013) 4",
      "IO_CONTROL GET_PORT_STATUS (0x00220013) 0",
      "TRANSFER_IN_REQUEST GET_DESCRIPTOR_FROM_DEVICE (0x000B) 0",
      "INTERNAL_IO_CONTROL QUERY_BUS_TIME (0x00224000) 4",
      "TRANSFER_IN_REQUEST GET_CURRENT_FRAME_NUMBER (0x0007) 0",
      "TRANSFER_OUT_REQUEST ISOCH_TRANSFER (0x000A) 0",
      "CANCEL_REQUEST",
      "IO_CONTROL GET_PORT_STATUS (0x00220013) 4",
      "REGISTER_REQUEST_CALLBACK 0",
      "QUERY_DEVICE_TEXT 0 1031",
      "QUERY_DEVICE_TEXT 1 1031",
      "QUERY_DEVICE_TEXT 0 0",
      "REGISTER_REQUEST_CALLBACK 1",
      "TRANSFER_IN_REQUEST GET_DESCRIPTOR_FROM_DEVICE (0x000B) 18"};
  std::vector<std::string> expected;
  expected.reserve(2 * handshake.size() + opening.size());
  for (const std::string& message : handshake) expected.push_back("1 " + message);
  for (const std::string& message : handshake) expected.push_back("2 " + message);
  for (const std::string& message : opening) expected.push_back("2 " + message);
  EXPECT_EQ(sent_by_server(), expected);
  EXPECT_EQ(wrong_answers_, std::vector<std::string>());
  EXPECT_EQ(arrived_.front().announced.description, "TSE");
  // Each question was answered before the next one, and the last request by the last message.
  EXPECT_EQ(messages_.back(), "< 2 URB_COMPLETION GET_DESCRIPTOR_FROM_DEVICE (0x000B): success");
  // The stick saw descriptors being read, and nothing that changes it.
  for (const usb::SetupPacket& setup : on_the_stick_) EXPECT_EQ(setup.request_type, 0x80);
}

TEST_F(WindowsSession, TheOwnersTransfersComeAfterIt) {
  connect();
  messages_.clear();
  submit(usb::control_transfer(1, usb::set_configuration(1)));
  submit(usb::control_transfer(2, usb::port_reset()));
  ASSERT_EQ(completed_.size(), 2U);
  EXPECT_EQ(completed_[0].status, usb::TransferStatus::success);
  EXPECT_EQ(completed_[1].status, usb::TransferStatus::success);
  const std::vector<std::string> expected{
      "2 TRANSFER_IN_REQUEST GET_DESCRIPTOR_FROM_DEVICE (0x000B) 9",
      "2 TRANSFER_IN_REQUEST GET_DESCRIPTOR_FROM_DEVICE (0x000B) 32",
      "2 TRANSFER_IN_REQUEST SELECT_CONFIGURATION (0x0000) 0",
      "2 IO_CONTROL GET_PORT_STATUS (0x00220013) 4", "2 IO_CONTROL RESET_PORT (0x00220007) 0"};
  EXPECT_EQ(sent_by_server(), expected);
}

TEST_F(WindowsSession, LeaveIsTakenAtLogOff) {
  connect();
  submit(usb::control_transfer(1, usb::set_configuration(1)));
  submit(TerminalConversation::bulk_in(2, 512));
  messages_.clear();
  terminal_.log_off(now_);
  settle();
  const std::vector<std::string> expected{"2 CANCEL_REQUEST", "2 REGISTER_REQUEST_CALLBACK 0",
                                          "2 RETRACT_DEVICE 1"};
  EXPECT_EQ(sent_by_server(), expected);
  ASSERT_EQ(completed_.size(), 2U);
  EXPECT_EQ(completed_[1].status, usb::TransferStatus::device_gone);
}

/// The profile with a till of flesh and bytes.
class WindowsConversation : public ::testing::Test {
 protected:
  std::optional<TerminalConversation> with_{std::in_place, Profile::windows};
  static constexpr pdu::Address completion_address{0, 0};

  void announce(std::uint32_t usb_device = 0) {
    usb_device_ = usb_device;
    with_->bring_up_control();
    with_->say(10, "01000040 00000000 00010000");
    with_->open(11);
    with_->handshake(11);
    // What FreeRDP announces for a USB 3.2 stick.
    with_->say(11, TerminalConversation::add_device(usb_device, 0x320));
  }
  /// Answers what is asked until the device arrives. `answer` may answer in another way: it gets
  /// each message and says whether it did.
  void answer_all(const std::function<bool(const pdu::FromServer&)>& otherwise = {}) {
    for (int i = 0; with_->arrived.empty() && with_->closed.empty() && i < 100; ++i) {
      if (with_->sent[11].empty()) with_->pass(31s);
      std::deque<Bytes> sent = std::exchange(with_->sent[11], {});
      for (const Bytes& bytes : sent) {
        pdu::TillContext context;
        context.usb_device = usb_device_;
        const auto message = pdu::decode_from_server(bytes, context);
        ASSERT_TRUE(message.ok());
        if (!otherwise || !otherwise(*message)) answer(*message);
      }
    }
  }
  void answer(const pdu::FromServer& message) {
    if (const auto* text = std::get_if<pdu::QueryDeviceText>(&message)) {
      with_->say(11, pdu::encode(pdu::QueryDeviceTextResponse{text->address, "TSE", 0}));
    } else if (const auto* control = std::get_if<pdu::IoControl>(&message)) {
      if (control->output_buffer_size == 0) return complete(*control, 0x8007007A, 4, {});
      complete(*control, 0, 4, {3, 0, 0, 0});
    } else if (const auto* transfer = std::get_if<pdu::TransferRequest>(&message)) {
      if (transfer->urb.no_ack) return;
      const auto* descriptor = std::get_if<pdu::DescriptorRequest>(&transfer->urb.body);
      Bytes data;
      if (descriptor != nullptr && descriptor->type == 1)
        data = usb::encode(storage_stick().device);
      if (descriptor != nullptr && descriptor->type == 2) data = storage_configuration();
      data.resize(std::min<std::size_t>(data.size(), transfer->output_buffer_size));
      if (transfer->urb.function == pdu::urb_function::get_current_frame_number)
        return no_data(*transfer, 0, 0, 0, pdu::FrameNumberResult{7});
      if (!data.empty() || transfer->output_buffer_size == 0) return complete(*transfer, data);
      no_data(*transfer, 0xC0000004, 0x8007001F, 0);
    }
  }
  void complete(const pdu::IoControl& control, std::uint32_t hresult, std::uint32_t information,
                const Bytes& data) {
    pdu::IoControlCompletion pdu{
        completion_address, control.request, hresult, information, 0, data};
    with_->say(11, pdu::encode(pdu));
  }
  void complete(const pdu::TransferRequest& transfer, const Bytes& data) {
    if (data.empty()) return no_data(transfer, 0, 0, 0);
    with_->say(11, pdu::encode(pdu::UrbCompletion{
                       completion_address, transfer.urb.request, {0, 0, {}}, 0, data}));
  }
  void no_data(const pdu::TransferRequest& transfer, std::uint32_t status, std::uint32_t hresult,
               std::uint32_t size, pdu::TsUrbResult::Body body = {}) {
    with_->say(11, pdu::encode(pdu::UrbCompletionNoData{completion_address,
                                                        transfer.urb.request,
                                                        {0, status, std::move(body)},
                                                        hresult,
                                                        size}));
  }
  /// The one wrong answer that was found.
  std::string found() {
    std::string text;
    for (const auto& event : with_->events) {
      if (!event.wrong_answer) continue;
      EXPECT_EQ(text, "") << "another one: " << event.text;
      text = event.text.substr(event.text.find("wrong answer"));
    }
    return text;
  }
  static bool is(const pdu::FromServer& message, std::uint32_t code, std::uint32_t size) {
    const auto* control = std::get_if<pdu::IoControl>(&message);
    return control != nullptr && control->code == code && control->output_buffer_size == size;
  }
  static const pdu::TransferRequest* urb(const pdu::FromServer& message, std::uint16_t function) {
    const auto* transfer = std::get_if<pdu::TransferRequest>(&message);
    return transfer != nullptr && transfer->urb.function == function ? transfer : nullptr;
  }

 private:
  std::uint32_t usb_device_ = 0;
};

TEST_F(WindowsConversation, AClientWithUsbDeviceZeroAndUsb32IsServed) {
  announce(0);
  answer_all();
  ASSERT_EQ(with_->arrived.size(), 1U);
  EXPECT_EQ(with_->arrived.front().announced.usb_version, 0x320U);
  EXPECT_EQ(found(), "");
}

TEST_F(WindowsConversation, RequestIdsAreTheLowestFreeOnes) {
  announce(5);
  std::vector<std::uint32_t> ids;
  answer_all([&](const pdu::FromServer& message) {
    if (const auto* transfer = std::get_if<pdu::TransferRequest>(&message))
      ids.push_back(transfer->urb.request);
    return false;
  });
  // One at a time: always 0, but beside the NoAck request, which is never answered.
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 0U), static_cast<std::ptrdiff_t>(ids.size()));
  with_->sent.clear();
  for (usb::TransferId id = 1; id <= 3; ++id)
    with_->submit(usb::control_transfer(id, usb::get_descriptor(1, 0, 0, 18)));
  ASSERT_EQ(with_->sent[11].size(), 3U);
  for (std::uint32_t id = 0; id < 3; ++id)
    EXPECT_EQ(TerminalConversation::request_of(with_->sent[11][id]), id);
}

TEST_F(WindowsConversation, AnswersThatAreWrongAreNamed) {
  struct Case {
    std::string found;
    std::function<bool(const pdu::FromServer&)> answer;
  };
  const std::vector<Case> cases{
      {"GET_PORT_STATUS of 0 bytes: S_OK (0x00000000), Information 0",
       [this](const pdu::FromServer& message) {
         if (!is(message, io_control_code::get_port_status, 0)) return false;
         complete(std::get<pdu::IoControl>(message), 0, 0, {});
         return true;
       }},
      {"GET_PORT_STATUS of 4 bytes: a port that is not enabled",
       [this, done = false](const pdu::FromServer& message) mutable {
         if (done || !is(message, io_control_code::get_port_status, 4)) return false;
         done = true;
         complete(std::get<pdu::IoControl>(message), 0, 4, {0, 1, 0, 0});
         return true;
       }},
      {"GET_DESCRIPTOR (device) of 0 bytes: URB_COMPLETION without a byte",
       [this](const pdu::FromServer& message) {
         const auto* read = urb(message, pdu::urb_function::get_descriptor_from_device);
         if (read == nullptr || read->output_buffer_size != 0) return false;
         with_->say(11, pdu::encode(pdu::UrbCompletion{
                            completion_address, read->urb.request, {0, 0, {}}, 0, {}}));
         return true;
       }},
      {"GET_DESCRIPTOR (whole configuration): 9 bytes instead of 32",
       [this](const pdu::FromServer& message) {
         const auto* read = urb(message, pdu::urb_function::get_descriptor_from_device);
         if (read == nullptr || read->output_buffer_size != 32) return false;
         complete(*read,
                  Bytes(storage_configuration().begin(), storage_configuration().begin() + 9));
         return true;
       }},
      {"GET_CURRENT_FRAME_NUMBER: no frame number",
       [this](const pdu::FromServer& message) {
         const auto* read = urb(message, pdu::urb_function::get_current_frame_number);
         if (read == nullptr) return false;
         no_data(*read, 0xC0000E00, 0x80070032, 0);
         return true;
       }},
      {"ISOCH_TRANSFER with NoAck: an answer",
       [this](const pdu::FromServer& message) {
         const auto* write = urb(message, pdu::urb_function::isochronous_transfer);
         if (write == nullptr) return false;
         no_data(*write, 0xC0000E00, 0x80070032, 0);
         return true;
       }},
      {"QUERY_DEVICE_TEXT (type 1, locale 0x0407): failed",
       [this](const pdu::FromServer& message) {
         const auto* text = std::get_if<pdu::QueryDeviceText>(&message);
         if (text == nullptr || text->text_type != 1 || text->locale != 0x407) return false;
         with_->say(11, pdu::encode(pdu::QueryDeviceTextResponse{text->address, {}, 0x80070057}));
         return true;
       }},
      {"GET_MS_FEATURE_DESCRIPTOR: no answer",
       [](const pdu::FromServer& message) {
         return urb(message, pdu::urb_function::get_ms_feature_descriptor) != nullptr;
       }},
  };
  for (const Case& each : cases) {
    SCOPED_TRACE(each.found);
    with_.emplace(Profile::windows);
    announce(5);
    answer_all(each.answer);
    EXPECT_EQ(with_->arrived.size(), 1U) << "one wrong answer does not cost the device";
    EXPECT_TRUE(with_->closed.empty());
    EXPECT_EQ(found().rfind("wrong answer to " + each.found, 0), 0U) << found();
  }
}

TEST_F(WindowsConversation, ASilentClientCostsTimeButNotTheDevice) {
  announce(5);
  int cancelled = 0;
  answer_all([&](const pdu::FromServer& message) {
    if (std::holds_alternative<pdu::CancelRequest>(message)) ++cancelled;
    return true;
  });
  EXPECT_EQ(with_->arrived.size(), 1U);
  EXPECT_TRUE(with_->closed.empty());
  EXPECT_GE(cancelled, 10) << "what is given up is cancelled";
  // A late answer is one to a cancelled request.
  with_->say(
      11, pdu::encode(pdu::UrbCompletionNoData{completion_address, 0, {0, 0xC0010000, {}}, 0, 0}));
  with_->pass(1s);
  EXPECT_TRUE(with_->closed.empty());
}

TEST_F(WindowsConversation, AClientThatLiesLosesItsChannel) {
  announce(5);
  answer_all([&](const pdu::FromServer& message) {
    const auto* read = urb(message, pdu::urb_function::get_descriptor_from_device);
    if (read == nullptr) return false;
    complete(*read, Bytes(read->output_buffer_size + 1));
    return true;
  });
  EXPECT_TRUE(with_->arrived.empty());
  ASSERT_EQ(with_->closed.size(), 1U);
  EXPECT_NE(with_->closed.front().reason.find("more than the 18 asked for"), std::string::npos);
}

TEST(PlainProfile, SaysNothingAtLogOff) {
  TerminalConversation with;
  with.bring_up();
  with.role.log_off(with.now);
  with.drain();
  with.expect_quiet();
  EXPECT_TRUE(with.closed.empty());
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
