#include "server/usb/bulk_only_order.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tillbridge::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::uint8_t bulk = 2;
constexpr std::uint8_t bulk_only = 0x50;
constexpr std::uint8_t uas = 0x62;

usb::InterfaceDescriptor storage(std::uint8_t number, std::uint8_t protocol,
                                 std::uint8_t endpoint_number, std::uint8_t alternate = 0) {
  usb::InterfaceDescriptor interface;
  interface.number = number;
  interface.alternate_setting = alternate;
  interface.interface_class = usb::class_code::mass_storage;
  interface.interface_subclass = 0x06;
  interface.interface_protocol = protocol;
  interface.endpoints.push_back({endpoint_number, bulk, 512, 0});
  interface.endpoints.push_back({static_cast<std::uint8_t>(0x80U | endpoint_number), bulk, 512, 0});
  return interface;
}

usb::DeviceDescription device(std::vector<usb::InterfaceDescriptor> interfaces) {
  usb::DeviceDescription description;
  usb::Configuration configuration;
  configuration.value = 1;
  configuration.interfaces = std::move(interfaces);
  description.configurations.push_back(std::move(configuration));
  return description;
}

usb::Transfer transfer(usb::TransferId id, std::uint8_t endpoint,
                       usb::TransferType type = usb::TransferType::bulk) {
  usb::Transfer made;
  made.id = id;
  made.type = type;
  made.endpoint = endpoint;
  return made;
}

class BulkOnlyOrderTest : public testing::Test {
 protected:
  /// It went to the stick at once.
  bool goes(usb::TransferId id, std::uint8_t endpoint,
            usb::TransferType type = usb::TransferType::bulk) {
    const auto admitted = order.admit(transfer(id, endpoint, type));
    return admitted && admitted->id == id;
  }
  std::vector<usb::TransferId> follow() {
    std::vector<usb::TransferId> ids;
    while (const auto next = order.next()) ids.push_back(next->id);
    return ids;
  }

  BulkOnlyOrder order{device({storage(0, bulk_only, 1), storage(1, bulk_only, 2)})};
};

TEST_F(BulkOnlyOrderTest, ReadsWaitOneByOneForWhatCameBefore) {
  EXPECT_TRUE(goes(1, 0x01)) << "the command block";
  EXPECT_FALSE(goes(2, 0x81)) << "data";
  EXPECT_FALSE(goes(3, 0x81)) << "status";
  EXPECT_THAT(follow(), IsEmpty());
  order.ended(1);
  EXPECT_THAT(follow(), ElementsAre(2));
  order.ended(2);
  EXPECT_THAT(follow(), ElementsAre(3));
  order.ended(3);
  EXPECT_TRUE(goes(4, 0x81));
}

TEST_F(BulkOnlyOrderTest, OutNeverWaitsAndTheStatusWaitsForAllOfIt) {
  EXPECT_TRUE(goes(1, 0x01));
  EXPECT_TRUE(goes(2, 0x01));
  EXPECT_FALSE(goes(3, 0x81));
  EXPECT_TRUE(goes(4, 0x01)) << "a read that waits blocks nobody";
  order.ended(1);
  order.ended(2);
  EXPECT_THAT(follow(), IsEmpty()) << "4 is under way, however it came there";
  order.ended(4);
  EXPECT_THAT(follow(), ElementsAre(3));
  EXPECT_TRUE(goes(5, 0x01)) << "also while a read is at the stick";
}

TEST_F(BulkOnlyOrderTest, InterfacesDoNotWaitForEachOther) {
  EXPECT_TRUE(goes(1, 0x01));
  EXPECT_TRUE(goes(2, 0x82));
  EXPECT_FALSE(goes(3, 0x81));
  EXPECT_FALSE(goes(4, 0x82));
  order.ended(2);
  EXPECT_THAT(follow(), ElementsAre(4));
}

TEST_F(BulkOnlyOrderTest, OnlyBulkTransfersOfPureBulkOnlyInterfaces) {
  EXPECT_TRUE(goes(1, 0x01));
  EXPECT_TRUE(goes(2, 0x80, usb::TransferType::control));
  EXPECT_TRUE(goes(3, 0x83)) << "of no interface that is known";

  order = BulkOnlyOrder(device({storage(0, bulk_only, 1), storage(0, uas, 1, 1)}));
  EXPECT_TRUE(goes(4, 0x01));
  EXPECT_TRUE(goes(5, 0x81)) << "its other setting is UAS";
}

TEST_F(BulkOnlyOrderTest, WhatIsKeptCanBeTakenBack) {
  EXPECT_TRUE(goes(1, 0x01));
  EXPECT_FALSE(goes(2, 0x81));
  EXPECT_FALSE(goes(3, 0x81));
  EXPECT_FALSE(order.cancel(1)) << "it is at the stick";
  EXPECT_TRUE(order.cancel(2));
  EXPECT_FALSE(order.cancel(2));
  EXPECT_FALSE(goes(4, 0x81));
  EXPECT_THAT(order.clear(), ElementsAre(3, 4));
  EXPECT_THAT(follow(), IsEmpty());
  EXPECT_TRUE(goes(5, 0x81)) << "nothing is under way any more";
}

}  // namespace
}  // namespace tillbridge::server
