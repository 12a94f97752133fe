// What a stick is called, and what the terminal server can ask about its port.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/bytes/limits.hpp"
#include "channel/rdpeusb/pdu/status.hpp"
#include "channel/rdpeusb/till_role_identity.hpp"
#include "tests/unit/rdpeusb/till_conversation.hpp"

namespace tillbridge::rdpeusb::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::MatchesRegex;
namespace code = pdu::io_control_code;

TEST(TillIdentity, FollowsSerialNotPort) {
  auto stick = storage_stick();
  const auto here = till::announcement_of(stick, 4, false);
  stick.path = "3-2.1";
  stick.active_configuration = 0;
  const auto there = till::announcement_of(stick, 99, false);
  EXPECT_EQ(here.instance_id, there.instance_id);
  EXPECT_EQ(here.container_id, there.container_id);
  const auto other_serial = till::announcement_of(storage_stick("5A2E"), 4, false);
  EXPECT_NE(here.instance_id, other_serial.instance_id);
  EXPECT_NE(here.container_id, other_serial.container_id);
  stick.device.product_id = 2;
  EXPECT_NE(here.instance_id, till::announcement_of(stick, 4, false).instance_id);
}

TEST(TillIdentity, WithoutSerialThePortDecides) {
  auto stick = storage_stick("");
  const auto here = till::announcement_of(stick, 4, false);
  stick.path = "1-2";
  EXPECT_NE(here.instance_id, till::announcement_of(stick, 4, false).instance_id);
}

// Windows remembers drive letters by these: a change here would make every stick a new device.
TEST(TillIdentity, NeverChanges) {
  const auto add = till::announcement_of(storage_stick(), 4, false);
  EXPECT_EQ(add.instance_id, "7ae9d386-a067-8ba2-a341-2fcc43a66145");
  EXPECT_EQ(add.container_id, "{9d39331a-2d52-849a-b862-b95257f4407a}");
  const auto by_path = till::announcement_of(storage_stick(""), 4, false);
  EXPECT_EQ(by_path.instance_id, "17a818ae-a99c-8c1f-9910-1c890064ad9c");
}

TEST(TillIdentity, HasTheFormOfUuids) {
  for (const auto* serial : {"", "1", "5A2F", "äöü", "\n"}) {
    const auto add = till::announcement_of(storage_stick(serial), 4, false);
    const std::string uuid = "[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    EXPECT_THAT(add.instance_id, MatchesRegex(uuid));
    EXPECT_THAT(add.container_id, MatchesRegex("\\{" + uuid + "\\}"));
  }
}

TEST(TillIdentity, HardwareAndCompatibleIds) {
  auto stick = storage_stick();
  stick.device.vendor_id = 0x0ABC;
  stick.device.device_version = 0x010F;
  auto add = till::announcement_of(stick, 4, false);
  EXPECT_THAT(add.hardware_ids,
              ElementsAre("USB\\VID_0ABC&PID_0001&REV_010F", "USB\\VID_0ABC&PID_0001"));
  EXPECT_THAT(add.compatible_ids, ElementsAre("USB\\Class_08&SubClass_06&Prot_50",
                                              "USB\\Class_08&SubClass_06", "USB\\Class_08"))
      << "of the first interface, so that usbstor binds";

  stick.device.device_class = 0xFF;
  stick.device.device_subclass = 0x0A;
  add = till::announcement_of(stick, 4, false);
  EXPECT_EQ(add.compatible_ids[0], "USB\\Class_FF&SubClass_0A&Prot_00") << "the device's own";
}

TEST(TillIdentity, CompositeDevices) {
  const auto composite =
      ElementsAre("USB\\DevClass_00&SubClass_00&Prot_00", "USB\\DevClass_00&SubClass_00",
                  "USB\\DevClass_00", "USB\\COMPOSITE");
  auto stick = gadget();
  EXPECT_EQ(till::announcement_of(stick, 4, false).compatible_ids[0],
            "USB\\Class_FF&SubClass_00&Prot_00")
      << "two configurations";
  stick.configurations.resize(1);
  EXPECT_THAT(till::announcement_of(stick, 4, false).compatible_ids, composite);
  // Interface association, whatever else is there.
  stick = storage_stick();
  stick.device.device_class = 0xEF;
  stick.device.device_subclass = 2;
  stick.device.device_protocol = 1;
  EXPECT_THAT(till::announcement_of(stick, 4, false).compatible_ids, composite);
  stick.configurations.clear();
  stick.device.device_class = 0;
  EXPECT_EQ(till::announcement_of(stick, 4, false).compatible_ids[2], "USB\\Class_00");
}

TEST(TillIdentity, Capabilities) {
  struct Case {
    std::uint16_t bcd;
    usb::Speed speed;
    std::uint32_t version, high_speed;
  };
  for (const Case& test :
       {Case{0x0100, usb::Speed::low, 0x100, 0}, Case{0x0110, usb::Speed::full, 0x110, 0},
        Case{0x0200, usb::Speed::full, 0x200, 0}, Case{0x0200, usb::Speed::high, 0x200, 1},
        Case{0x0210, usb::Speed::high, 0x200, 1}, Case{0x0320, usb::Speed::super, 0x200, 1},
        Case{0x0320, usb::Speed::super_plus, 0x200, 1}, Case{0x0001, usb::Speed::full, 0x100, 0},
        Case{0x0200, usb::Speed::unknown, 0x200, 1}, Case{0x0110, usb::Speed::unknown, 0x110, 0}}) {
    auto stick = storage_stick();
    stick.device.usb_version = test.bcd;
    stick.speed = test.speed;
    const auto capabilities = till::announcement_of(stick, 4, false).capabilities;
    EXPECT_EQ(capabilities.usb_version, test.version);
    EXPECT_EQ(capabilities.high_speed, test.high_speed);
    EXPECT_EQ(capabilities.bus_interface_version, 2U);
    EXPECT_EQ(capabilities.usbdi_version, 0x600U);
    EXPECT_EQ(capabilities.hcd_capabilities, 0U);
    EXPECT_EQ(capabilities.no_ack_isochronous_jitter_ms, 0U);
  }
}

TEST(TillIdentity, DeviceTexts) {
  auto stick = storage_stick();
  EXPECT_EQ(till::description_text(stick), "TSE");
  stick.product = "";
  EXPECT_EQ(till::description_text(stick), "USB device 1209:0001");
  stick.product = std::string("A\0B", 3);
  EXPECT_EQ(till::description_text(stick), "A");
  std::string many;
  for (int i = 0; i < 400; ++i) many += "ä";
  stick.product = "x" + many;
  EXPECT_EQ(till::description_text(stick).size(), 377U) << "cut between two characters";
  EXPECT_EQ(till::location_text(stick), "Port_#0004.Hub_#0001");
  stick.path = "12-3.1.27";
  EXPECT_EQ(till::location_text(stick), "Port_#0027.Hub_#0012");
  // A USB server names a stick by its ids and serial, which are no ports.
  for (const char* const none :
       {"simulated-1", "46f4:0001:5A2F00000046", "", "-4", "3-", "3-1.", "3.1", "3"}) {
    stick.path = none;
    EXPECT_EQ(till::location_text(stick), "Port_#0001.Hub_#0001") << none;
  }
}

TEST(TillIdentity, QueryDeviceTextByteForByte) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.say(2, "04000040 03000000 04010000 00000000 09040000");
  talk.expect_sent(2, "04000080 03000000 04000000 5400 5300 4500 0000 00000000");
  talk.say(2, "04000040 03000000 04010000 01000000 07040000");
  const Bytes location = talk.next_sent(2);
  EXPECT_EQ(location.size(), 16U + 2 * 21);
  // A type that is not known: one NUL and an error.
  talk.say(2, "04000040 03000000 04010000 02000000 09040000");
  talk.expect_sent(2, "04000080 03000000 01000000 0000 57000780");
}

// --- I/O controls --------------------------------------------------------------------------------

struct Answer {
  const char* name;
  std::uint32_t code;
  std::uint32_t size;
  bool internal;
  const char* completion;  ///< HResult, Information, OutputBufferSize, OutputBuffer
};

TEST(TillIoControl, EachIsAnsweredByteForByte) {
  for (const Answer& test : {
           Answer{"port status", code::get_port_status, 4, false,
                  "00000000 04000000 04000000 03000000"},
           Answer{"hub count", code::get_hub_count, 4, false,
                  "00000000 04000000 04000000 01000000"},
           Answer{"hub name", code::get_hub_name, 256, false,
                  "00000000 06000000 06000000 06000000 0000"},
           Answer{"bus info", code::get_bus_info, 16, false,
                  "00000000 10000000 10000000 05000000 00389c1c 00000000 08000000"},
           Answer{"controller name", code::get_controller_name, 256, false,
                  "00000000 0e000000 0e000000 0e000000 4800 4300 4400 3000 0000"},
           Answer{"bus time", code::query_bus_time, 4, true, "00000000 04000000 04000000 e8030000"},
           // Too small a buffer: what is needed, and a buffer of the request's size.
           Answer{"short bus info", code::get_bus_info, 15, false,
                  "7a000780 10000000 0f000000 000000000000000000000000000000"},
           Answer{"no room for the port status", code::get_port_status, 0, false,
                  "7a000780 04000000 00000000"},
           // Not known, and known ones in the wrong message.
           Answer{"submit URB", 0x00220003, 64, false, "32000780 00000000 00000000"},
           Answer{"bus time outside", code::query_bus_time, 4, false, "32000780 00000000 00000000"},
           Answer{"reset inside", code::reset_port, 0, true, "32000780 00000000 00000000"},
           // Above what anyone needs.
           Answer{"huge", code::get_hub_name, 0xFFFFFFFF, false, "0e000780 00000000 00000000"},
       }) {
    SCOPED_TRACE(test.name);
    Conversation talk;
    talk.bring_up(storage_stick());
    talk.io_control(0x11, test.code, test.size, test.internal);
    talk.expect_sent(2, std::string("00000040 00000000 00010000 11000000") + test.completion);
  }
}

TEST(TillIoControl, InputIsOfNoConsequence) {
  Conversation talk;
  talk.bring_up(storage_stick());
  talk.say(2, "04000040 00000000 02010000 13002200 03000000 aabbcc 04000000 11000000");
  talk.expect_sent(2, "00000040 00000000 00010000 11000000 00000000 04000000 04000000 03000000");
}

}  // namespace
}  // namespace tillbridge::rdpeusb::testing
