// Descriptors that lie to the terminal role, which reads them itself to carry out a
// SET_CONFIGURATION.
#include <algorithm>

#include "tests/unit/rdpeusb/terminal_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using usb::TransferStatus;

/// SET_CONFIGURATION(1), the descriptor read by the role itself; `answer` plays the device. Answers
/// how the transfer ended and how many requests that took.
template <typename Answer>
std::pair<TransferStatus, std::size_t> configured(const Answer& answer) {
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(7, usb::set_configuration(1)));
  std::size_t requests = 0;
  while (till.completed.empty() && requests < 100) {
    ++requests;
    const Bytes message = till.next_sent();
    pdu::TillContext context;
    context.usb_device = 5;
    const auto decoded = pdu::decode_from_server(message, context);
    if (!decoded || !std::holds_alternative<pdu::TransferRequest>(*decoded)) {
      ADD_FAILURE() << to_hex(message);
      break;
    }
    const auto& request = std::get<pdu::TransferRequest>(*decoded);
    const auto* read = std::get_if<pdu::DescriptorRequest>(&request.urb.body);
    if (read == nullptr) break;  // SELECT_CONFIGURATION
    Bytes data = answer(read->index, request.output_buffer_size);
    data.resize(std::min<std::size_t>(data.size(), request.output_buffer_size));
    till.complete_in(request.urb.request, data);
  }
  EXPECT_TRUE(till.closed.empty()) << "it is the device that lies, not the till";
  if (till.completed.empty()) return {TransferStatus::success, requests};
  return {till.next_completed().status, requests};
}

TEST(TerminalHostile, ConfigurationDescriptorsThatLie) {
  const Bytes good = storage_configuration();
  EXPECT_EQ(configured([&](auto, auto) { return good; }), std::pair(TransferStatus::success, 3UL));
  // Another value for ever: it stops at the limit of configurations, with what a device without
  // this configuration answers.
  EXPECT_EQ(configured([&](auto, auto) {
              Bytes other = good;
              other[5] = 2;
              return other;
            }),
            std::pair(TransferStatus::stall, limits::configurations_per_device));
  const auto fails = [](const char* what, const auto& answer, std::size_t requests) {
    EXPECT_EQ(configured(answer), std::pair(TransferStatus::error, requests)) << what;
  };
  for (const std::size_t size : {0U, 1U, 5U}) {
    fails(
        "a header cut",
        [&](auto, auto) {
          return Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size));
        },
        1);
  }
  for (const unsigned total : {0U, 1U, 8U, 31U, 33U, 255U, 0x7FFFU, 0xFFFFU}) {
    fails(
        "wTotalLength",
        [&](auto, auto) {
          Bytes lie = good;
          lie[2] = static_cast<std::uint8_t>(total);
          lie[3] = static_cast<std::uint8_t>(total >> 8U);
          return lie;
        },
        2);
  }
  fails(
      "another value the second time",
      [&](auto, auto asked) {
        Bytes lie = good;
        if (asked > 9) lie[5] = 3;
        return lie;
      },
      2);
  fails(
      "a descriptor of length 0",
      [&](auto, auto) {
        Bytes lie = good;
        lie[9] = 0;
        return lie;
      },
      2);
  fails(
      "an endpoint past the end",
      [&](auto, auto) {
        Bytes lie = good;
        lie[18] = 200;
        return lie;
      },
      2);
}

TEST(TerminalHostile, AConfigurationTooLargeForTheProtocol) {
  // 65,000 bytes are a legal descriptor, but CbTsUrb holds it only with less than 512 bytes
  // besides.
  Bytes huge = storage_configuration();
  const std::size_t filler = 0xFFF0 - huge.size();
  for (std::size_t left = filler; left > 0;) {
    const std::size_t size = left >= 257 ? 255 : (left > 255 ? 128 : left);
    huge.push_back(static_cast<std::uint8_t>(size));
    huge.push_back(0x24);
    huge.resize(huge.size() + size - 2);
    left -= size;
  }
  huge[2] = 0xF0, huge[3] = 0xFF;
  TerminalConversation till;
  till.bring_up();
  till.submit(usb::control_transfer(7, usb::set_configuration(1)));
  till.complete_in(1, Bytes(huge.begin(), huge.begin() + 9));
  till.complete_in(2, huge);
  EXPECT_EQ(till.next_completed().status, TransferStatus::no_resources);
  EXPECT_EQ(till.logged("too large for MS-RDPEUSB"), 1);
  EXPECT_TRUE(till.closed.empty());
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
