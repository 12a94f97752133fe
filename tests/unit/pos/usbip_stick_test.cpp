// UsbipHost against an exporter with simulated sticks, through real sockets.
#include "pos/usbip_stick.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/simulator/factory.hpp"
#include "server/simulator/fat_image.hpp"
#include "tests/unit/pos/usbip_server.hpp"

namespace tillbridge::pos {
namespace {

using testing::Contains;
using testing::HasSubstr;

constexpr Duration patience = std::chrono::seconds(10);

std::unique_ptr<simulator::Device> made(const std::string& kind, const std::string& serial) {
  simulator::DeviceOptions options;
  options.kind = kind;
  options.serial = serial;
  options.size_mib = 8;
  auto device = simulator::make_device(options);
  EXPECT_TRUE(device.ok()) << device.error().message;
  return std::move(*device);
}

template <typename... Devices>
std::vector<std::unique_ptr<simulator::Device>> plugged(Devices... devices) {
  std::vector<std::unique_ptr<simulator::Device>> all;
  (all.push_back(std::move(devices)), ...);
  return all;
}

std::unique_ptr<UsbipHost> host_of(const UsbipServer& server) {
  auto host = UsbipHost::connect("127.0.0.1", server.port());
  EXPECT_TRUE(host.ok()) << host.error().message;
  return std::move(*host);
}

template <typename T>
std::string message_of(const Result<T>& result) {
  return result ? "good" : result.error().message;
}

Bytes content_of(StickFile& file, std::size_t size) {
  Bytes data(size);
  const Status read = file.read(0, data);
  EXPECT_TRUE(read.ok()) << read.error().message;
  return data;
}

TEST(UsbipStick, FilesAreReadAndWrittenInPlaceInEveryStyle) {
  UsbipServer server(plugged(made("mass-storage", "0000000000A1")));
  const auto host = host_of(server);
  const auto volume = host->open_volume("");
  ASSERT_TRUE(volume.ok()) << volume.error().message;
  EXPECT_THAT((*volume)->name(), HasSubstr("0000000000A1"));
  EXPECT_THAT((*volume)->list().value(), Contains("PATTERN.BIN"));
  const Bytes pattern = simulator::pattern_bytes(1U << 20U, 1);

  for (const auto style : {OpenStyle::direct, OpenStyle::each_time, OpenStyle::cached}) {
    const auto file = (*volume)->open("pattern.bin", style);
    ASSERT_TRUE(file.ok()) << file.error().message;
    EXPECT_EQ((*file)->size(), pattern.size());
    EXPECT_EQ(content_of(**file, pattern.size()), pattern) << name_of(style);
    const Bytes frame(1024, 0x5A);
    ASSERT_TRUE((*file)->write(512, frame).ok());
    Bytes expected = pattern;
    std::copy(frame.begin(), frame.end(), expected.begin() + 512);
    EXPECT_EQ(content_of(**file, pattern.size()), expected) << name_of(style);
    ASSERT_TRUE((*file)->write(512, ByteView(pattern).subspan(512, 1024)).ok());
  }
  for (const auto style : {OpenStyle::direct_zeroed, OpenStyle::recreated}) {
    const auto file = (*volume)->open("PATTERN.BIN", style);
    ASSERT_TRUE(file.ok()) << file.error().message;
    Bytes expected = pattern;
    std::fill_n(expected.begin(), 8192, std::uint8_t{0});
    EXPECT_EQ(content_of(**file, pattern.size()), expected) << name_of(style);
    ASSERT_TRUE((*file)->write(0, ByteView(pattern).first(8192)).ok());
  }
}

TEST(UsbipStick, ThroughTheCacheOddLengthsAreWrittenWithTheirPages) {
  UsbipServer server(plugged(made("mass-storage", "0000000000A1")));
  const auto volume = host_of(server)->open_volume("");
  const auto file = (*volume)->open("PATTERN.BIN", OpenStyle::cached);
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_TRUE((*file)->write(100, Bytes(37, 0x77)).ok());
  Bytes odd(41);
  ASSERT_TRUE((*file)->read(98, odd).ok());
  Bytes expected = simulator::pattern_bytes(1U << 20U, 1);
  std::fill_n(expected.begin() + 100, 37, std::uint8_t{0x77});
  EXPECT_TRUE(std::equal(odd.begin(), odd.end(), expected.begin() + 98));
  EXPECT_EQ(content_of(**file, expected.size()), expected);
}

TEST(UsbipStick, RangesOutsideAFileAreRefused) {
  UsbipServer server(plugged(made("mass-storage", "0000000000A1")));
  const auto volume = host_of(server)->open_volume("");
  const auto file = (*volume)->open("PATTERN.BIN", OpenStyle::direct);
  ASSERT_TRUE(file.ok());
  Bytes block(512);
  EXPECT_FALSE((*file)->read(1U << 20U, block).ok());
  EXPECT_FALSE((*file)->write(1, block).ok());
  EXPECT_FALSE((*file)->write(0, Bytes(100)).ok());
  EXPECT_FALSE((*file)->read(~std::uint64_t{511}, block).ok());
  EXPECT_THAT(message_of((*volume)->open("TSE-IO.bin", OpenStyle::direct)),
              HasSubstr("no file TSE-IO.bin"));
}

TEST(UsbipStick, SerialLinesCarryBytesBothWays) {
  UsbipServer server(plugged(made("serial-echo", "0000000000B1")));
  const auto line = host_of(server)->open_serial("");
  ASSERT_TRUE(line.ok()) << line.error().message;
  EXPECT_TRUE((*line)->read(std::chrono::milliseconds(1)).value().empty());
  Bytes sent(20000);  // more than the device holds: it takes it as it is read
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<std::uint8_t>(i * 7 >> 2);
  Bytes received;
  for (std::size_t at = 0; at < sent.size(); at += 1000) {
    ASSERT_TRUE((*line)->write(ByteView(sent).subspan(at, 1000)).ok());
    while (received.size() < at + 1000) {
      const auto bytes = (*line)->read(patience);
      ASSERT_TRUE(bytes.ok()) << bytes.error().message;
      ASSERT_FALSE(bytes->empty());
      received.insert(received.end(), bytes->begin(), bytes->end());
    }
  }
  EXPECT_EQ(received, sent);
}

TEST(UsbipStick, IsChosenByKindBusIdOrSerialNumber) {
  UsbipServer server(plugged(made("mass-storage", "0000000000A1"),
                             made("mass-storage", "0000000000A2"),
                             made("serial-echo", "0000000000B1")));
  const auto host = host_of(server);
  EXPECT_EQ(host->list()->size(), 3U);
  EXPECT_TRUE(host->open_serial("").ok());
  EXPECT_THAT(message_of(host->open_volume("")),
              testing::AllOf(HasSubstr("1209:0001:0000000000A1"),
                             HasSubstr("1209:0001:0000000000A2"), HasSubstr("name one")));
  for (const char* name : {"0000000000A2", "1209:0001:0000000000A2"}) {
    const auto volume = host->open_volume(name);
    ASSERT_TRUE(volume.ok()) << volume.error().message;
    EXPECT_THAT((*volume)->name(), HasSubstr("0000000000A2"));
  }
  EXPECT_THAT(message_of(host->open_volume("0000000000A3")), HasSubstr("does not export"));
  EXPECT_THAT(message_of(host->open_volume("0000000000B1")), HasSubstr("1209:0002"));
  EXPECT_THAT(message_of(host->open_serial("0000000000A1")), HasSubstr("no serial line"));
}

TEST(UsbipStick, SaysWhenThereIsNothing) {
  std::uint16_t port = 0;
  {
    UsbipServer empty({});
    port = empty.port();
    EXPECT_THAT(message_of(host_of(empty)->open_volume("")), HasSubstr("no devices"));
    EXPECT_THAT(message_of(host_of(empty)->open_volume("A1")), HasSubstr("no devices"));
  }
  EXPECT_THAT(message_of(UsbipHost::connect("127.0.0.1", port)), HasSubstr("does not answer"));
  EXPECT_THAT(message_of(UsbipHost::connect("no such host", port)), HasSubstr("resolved"));
}

TEST(UsbipStick, BelongsToOneClientUntilItsLastFileIsClosed) {
  UsbipServer server(plugged(made("mass-storage", "0000000000A1")));
  const auto host = host_of(server);
  auto volume = host->open_volume("");
  ASSERT_TRUE(volume.ok());
  auto file = (*volume)->open("README.TXT", OpenStyle::direct);
  ASSERT_TRUE(file.ok());
  volume->reset();
  const auto second = host->open_volume("");
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::refused);
  EXPECT_THAT(second.error().message, HasSubstr("in use"));
  file->reset();
  auto again = host->open_volume("");
  for (int i = 0; i < 1000 && !again.ok(); ++i) again = host->open_volume("");
  EXPECT_TRUE(again.ok()) << again.error().message;
}

TEST(UsbipStick, UnpluggedItIsGone) {
  UsbipServer server(
      plugged(made("mass-storage", "0000000000A1"), made("serial-echo", "0000000000B1")));
  const auto host = host_of(server);
  const auto volume = host->open_volume("");
  const auto file = (*volume)->open("PATTERN.BIN", OpenStyle::direct);
  ASSERT_TRUE(file.ok());
  const auto line = host->open_serial("");
  ASSERT_TRUE(line.ok());
  server.unplug(0);
  server.unplug(1);
  Bytes block(512);
  Status read;
  for (int i = 0; i < 1000 && read.ok(); ++i) read = (*file)->read(0, block);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::unavailable) << read.error().message;
  const auto bytes = (*line)->read(patience);
  ASSERT_FALSE(bytes.ok());
  EXPECT_EQ(bytes.error().code, ErrorCode::unavailable) << bytes.error().message;
  EXPECT_FALSE((*line)->write(block).ok());
}

}  // namespace
}  // namespace tillbridge::pos
