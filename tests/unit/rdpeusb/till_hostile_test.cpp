// Messages that lie. Every message and every TS_URB shape that a server can send, from the vectors
// and from our own encoder: cut at every byte, longer than it should be, with every field at its
// extremes, under ids that nobody gave out. TwoSticks knows what each owes and what it must not do.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "channel/rdpeusb/pdu/status.hpp"
#include "tests/unit/rdpeusb/till_two_sticks.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::IsEmpty;

/// The vectors of a server, addressed to the gadget.
std::vector<Named> vectors() {
  std::ifstream file(TILLBRIDGE_SOURCE_DIR "/tests/conformance/rdpeusb_vectors.json");
  std::vector<Named> messages;
  for (const auto& entry : nlohmann::json::parse(file)) {
    if (entry.at("direction") != "server_to_client") continue;
    Bytes message = from_hex(entry.at("hex").get<std::string>());
    if (entry.at("interface") == "usb_device") {
      message[0] = 4;
      message[1] = message[2] = 0;
      message[3] &= 0xC0U;
    }
    messages.push_back({entry.at("name"), std::move(message)});
  }
  return messages;
}

std::vector<Named> all(std::vector<Named> first, const std::vector<Named>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

class TillHostile : public ::testing::Test {
 protected:
  void hear(const Named& named, const Bytes& message) {
    if (HasFailure()) return;  // the first one says it all
    sticks_.hear(message);
    if (HasFailure()) ADD_FAILURE() << named.name << ": " << to_hex(message);
  }
  void TearDown() override { sticks_.expect_other_alive(); }

  TwoSticks sticks_;
};

TEST_F(TillHostile, TheMessagesThemselvesDoWhatTheyOwe) {
  const auto messages = all(vectors(), all(every_shape(), every_function()));
  EXPECT_GT(vectors().size(), 40U);
  for (const Named& named : messages) hear(named, named.message);
  // Not only refused: of the shapes meant for the gadget these reach it.
  for (const auto function : {0x00, 0x01, 0x08, 0x09, 0x0B, 0x13, 0x17, 0x1E, 0x26, 0x27, 0x32}) {
    sticks_->forget();
    sticks_->say(2, transfer_message(static_cast<std::uint16_t>(function), true, 9));
    EXPECT_EQ(sticks_->submitted.size() + sticks_->cancelled.size(), 1U) << function;
    sticks_.start();
  }
}

TEST_F(TillHostile, CutAtEveryByte) {
  for (const Named& named : all(vectors(), every_shape())) {
    for (std::size_t size = 0; size < named.message.size(); ++size) {
      // In a buffer of its own, so that a read past the end is seen by the sanitizer.
      hear(named, Bytes(named.message.begin(), named.message.begin() + static_cast<long>(size)));
    }
  }
}

TEST_F(TillHostile, LongerThanItShouldBe) {
  for (const Named& named : all(vectors(), every_shape())) {
    for (const std::size_t more : {1U, 4U, 12U, 4096U}) {
      Bytes longer = named.message;
      longer.resize(longer.size() + more, 0xFF);
      hear(named, longer);
    }
  }
}

/// Bytes, 16- and 32-bit fields wherever one could stand, the header's included: interface ids and
/// functions that are not there, counts and lengths at 0, 1, max-1 and max, and values that wrap
/// when anything that a message holds is added to them or multiplied with them.
TEST_F(TillHostile, EveryFieldAtItsExtremes) {
  for (const Named& named : every_shape()) {
    for (const std::size_t width : {1U, 2U, 4U}) {
      const std::uint32_t max = width == 4 ? 0xFFFFFFFFU : (1U << (8 * width)) - 1;
      std::vector<std::uint32_t> values{0, 1, max - 1, max};
      if (width > 1) values.insert(values.end(), {max / 2, max / 2 + 1});
      if (width == 4) {
        const auto size = static_cast<std::uint32_t>(named.message.size());
        // 12 bytes each: 0x15555556 of them are 8 bytes in 32 bits.
        values.insert(values.end(), {0x15555556U, 0U - size, 0U - 12U, 0U - 8U});
      }
      for (std::size_t at = 0; at + width <= named.message.size(); ++at) {
        for (const std::uint32_t value : values) {
          Bytes changed = named.message;
          for (std::size_t i = 0; i < width; ++i) {
            changed[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
          }
          hear(named, changed);
        }
      }
    }
  }
}

/// Each pair of 16- or 32-bit length fields of a transfer, so that one makes room for the other.
TEST_F(TillHostile, LengthsThatAgreeWithEachOtherAndNotWithTheMessage) {
  const Named named{"isochronous",
                    transfer_message(pdu::urb_function::isochronous_transfer, true, 9)};
  for (const std::uint32_t urb : {0U, 8U, 27U, 28U, 40U, 51U, 52U, 53U, 56U, 64U, 0xFFFFU}) {
    for (const std::uint32_t packets : {0U, 1U, 2U, 3U, 0x15555556U, 0xFFFFFFFFU}) {
      for (const std::uint32_t output : {0U, 1U, 4U, 0x400000U, 0x400001U, 0xFFFFFFFFU}) {
        Bytes changed = named.message;
        const auto put = [&](std::size_t at, std::uint32_t value, std::size_t width) {
          for (std::size_t i = 0; i < width; ++i) {
            changed[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
          }
        };
        put(12, urb, 4);
        put(16, urb, 2);
        put(36, packets, 4);
        put(changed.size() - 4, output, 4);
        hear(named, changed);
      }
    }
  }
}

/// What is right on one channel says nothing on another: every message to the other stick's
/// interface, to the ids of defaults, and to ids nobody has.
TEST_F(TillHostile, InterfacesAndFunctionsThatNobodyHas) {
  for (const Named& named : all(vectors(), every_shape())) {
    for (const std::uint32_t interface : {0U, 1U, 2U, 3U, 5U, 6U, 0x3FFFFFFFU}) {
      for (const std::uint32_t mask : {0U, 1U, 2U, 3U}) {
        Bytes changed = named.message;
        const std::uint32_t word = interface | mask << 30U;
        for (std::size_t i = 0; i < 4; ++i) changed[i] = static_cast<std::uint8_t>(word >> (8 * i));
        hear(named, changed);
      }
    }
    for (const std::uint32_t function : {0x0U, 0x3U, 0xFFU, 0x108U, 0x200U, 0xFFFFFFFFU}) {
      Bytes changed = named.message;
      for (std::size_t i = 0; i < 4; ++i) {
        changed[8 + i] = static_cast<std::uint8_t>(function >> (8 * i));
      }
      hear(named, changed);
    }
  }
}

TEST_F(TillHostile, WithoutARequestIdOnlyClosingIsLeft) {
  sticks_->forget();
  sticks_->say(2, "04000040 00000000 05010000 10000000 10000900 0000");
  EXPECT_THAT(sticks_->order, ::testing::ElementsAre("close 2", "left session 1"));
  sticks_.expect_closed();
  // The control channel lives on.
  sticks_->add(3, storage_stick("B"));
  EXPECT_FALSE(sticks_->quiet(1));
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
