// Captures: the file byte by byte, what is in it with and without payloads, and readers that come
// and go.
#include <gmock/gmock.h>

#include "server/operations/captures.hpp"
#include "server/operations/limits.hpp"
#include "server/operations/operations.hpp"
#include "server/operations/usbmon_file.hpp"
#include "tests/unit/admin/admin_bench.hpp"

namespace tillbridge::operations {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string hex(ByteView bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    constexpr const char* digits = "0123456789abcdef";
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return text;
}

constexpr UsbmonFile::Microseconds noon = 1'795'435'200'000'007;

TEST(UsbmonFile, GoldenBytes) {
  UsbmonFile file({"1209:0001:5A", "tb 1", false});
  EXPECT_EQ(hex(file.begin()),
            // Section header: type, length, byte order, 1.0, length not known, "tb 1", end.
            "0a0d0d0a"
            "28000000"
            "4d3c2b1a"
            "01000000"
            "ffffffffffffffff"
            "04000400"
            "74622031"
            "00000000"
            "28000000"
            // Interface: usbmon (220), no longest packet, name, description, microseconds, end.
            "01000000"
            "44000000"
            "dc000000"
            "00000000"
            "02000c00"
            "313230393a303030313a3541"
            "03001000"
            "776974686f7574207061796c6f616473"
            "09000100"
            "06000000"
            "00000000"
            "44000000");

  usb::Transfer transfer;
  transfer.id = 5;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = 0x02;
  transfer.data = {1, 2, 3, 4, 5};
  transfer.length = 5;
  EXPECT_EQ(hex(file.submitted(transfer, noon)),
            "06000000"
            "60000000"
            "00000000"
            "f0600600"
            "07305055"
            "40000000"
            "40000000"
            // Number, 'S', bulk, endpoint, device 2, bus 1, no setup, data left out.
            "0100000000000000"
            "53030202"
            "0100"
            "2d2d"
            // Seconds, microseconds, EINPROGRESS, length 5, nothing of it here.
            "c02a046b00000000"
            "07000000"
            "8dffffff"
            "05000000"
            "00000000"
            // No setup; interval, start frame, flags, packets.
            "0000000000000000"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "60000000")
      << "without payloads";
  usb::Completion completion;
  completion.id = 5;
  completion.status = usb::TransferStatus::stall;
  completion.actual_length = 0;
  EXPECT_EQ(hex(file.completed(completion, noon)),
            "06000000"
            "60000000"
            "00000000"
            "f0600600"
            "07305055"
            "40000000"
            "40000000"
            "0100000000000000"
            "43030202"
            "0100"
            "2d3e"
            "c02a046b00000000"
            "07000000"
            "e0ffffff"
            "00000000"
            "00000000"
            "0000000000000000"
            "00000000"
            "00000000"
            "00000000"
            "00000000"
            "60000000");
  EXPECT_TRUE(file.completed(completion, noon).empty()) << "nobody submitted it";
  EXPECT_EQ(hex(UsbmonFile::end(noon, 2, 1)),
            "05000000"
            "34000000"
            "00000000"
            "f0600600"
            "07305055"
            "04000800"
            "0200000000000000"
            "05000800"
            "0100000000000000"
            "00000000"
            "34000000");

  UsbmonFile all({"s", "t", true});
  const std::string with = hex(all.submitted(transfer, noon));
  EXPECT_THAT(with, HasSubstr("45000000"
                              "45000000"))
      << "64 bytes and 5";
  EXPECT_THAT(with, HasSubstr("0102030405"
                              "000000"))
      << "padded to four";
}

TEST(UsbmonFile, ATransferThatIsTooLongIsCutAndSaysSo) {
  UsbmonFile file({"s", "t", true});
  usb::Transfer transfer;
  transfer.id = 1;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = 2;
  transfer.data.assign(limits::capture_payload_bytes + 100, 7);
  transfer.length = static_cast<std::uint32_t>(transfer.data.size());
  const Bytes packet = file.submitted(transfer, noon);
  EXPECT_LT(packet.size(), limits::capture_payload_bytes + 200);
  const std::string text = hex(ByteView(packet).first(28));
  EXPECT_EQ(text.substr(40),
            "40000400"
            "a4000400")
      << "captured and original length";
}

}  // namespace
}  // namespace tillbridge::operations

namespace tillbridge::admin::test {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

class CaptureTest : public AdminTest {
 protected:
  void begin() {
    start("[[map]]\nstick = \"" + serial_a + "\"\ntill = \"kasse-01\"\n");
    operations_.emplace(bench_.loop, *admin_, "shop");
    operations_->start(*api_, usb_->config());
  }
  ~CaptureTest() override {
    if (operations_) operations_->stop([] {});
    stop();
  }
  Reply ask(std::map<std::string, std::string> query, Role role = Role::admin) {
    return api_->handle({"GET", "/api/v1/capture", std::move(query), "", {"anna", role, "local"}});
  }
  /// All that waits.
  static std::string read(Download& download) {
    std::string all;
    for (;;) {
      const auto piece = download.next(milliseconds(0));
      if (!piece || piece->empty()) return all;
      all += *piece;
    }
  }
  void use_stick(TestTill& kasse) {
    ASSERT_TRUE(until([&] { return !kasse.granted.empty(); }));
    const auto& grant = kasse.granted.back();
    const auto& stick = kasse.import(grant.stream, grant.busid);
    ASSERT_TRUE(until([&] { return stick.imported; }));
    ASSERT_TRUE(kasse.inquiry(grant.stream));
  }
  /// Types of the blocks; each must be whole.
  static std::vector<std::uint32_t> blocks(const std::string& file) {
    std::vector<std::uint32_t> types;
    std::size_t at = 0;
    const auto number = [&](std::size_t where) {
      std::uint32_t value = 0;
      for (std::size_t index = 4; index-- > 0;) {
        value = value << 8U | static_cast<std::uint8_t>(file.at(where + index));
      }
      return value;
    };
    while (at < file.size()) {
      const std::uint32_t length = number(at + 4);
      EXPECT_EQ(number(at + length - 4), length);
      types.push_back(number(at));
      at += length;
    }
    EXPECT_EQ(at, file.size());
    return types;
  }
  std::optional<operations::Operations> operations_;
};

TEST_F(CaptureTest, WithoutPayloadsOnlyTheClassDriversOwnIsInIt) {
  begin();
  auto kasse = connected("kasse-01");
  const Reply without = ask({{"stick", serial_a}});
  const Reply with = ask({{"stick", stick_a}, {"payloads", "1"}});
  ASSERT_EQ(without.status, 200) << without.body;
  EXPECT_EQ(without.content_type, "application/x-pcapng");
  ASSERT_EQ(with.status, 200) << with.body;
  use_stick(*kasse);
  const std::string thin = read(*without.download);
  const std::string whole = read(*with.download);
  EXPECT_EQ(blocks(thin).size(), blocks(whole).size());
  EXPECT_EQ(blocks(thin).at(0), 0x0A0D0D0AU);
  for (const std::string& file : {thin, whole}) {
    EXPECT_THAT(file, HasSubstr("USBC"));
    EXPECT_THAT(file, HasSubstr("USBS"));
    EXPECT_THAT(file, HasSubstr("no traffic"));
  }
  EXPECT_THAT(whole, HasSubstr("TILLBRDG")) << "the INQUIRY's data";
  EXPECT_THAT(thin, Not(HasSubstr("TILLBRDG")));
  EXPECT_THAT(audit_kinds(), ::testing::IsSupersetOf({"capture_begun"}));
}

TEST_F(CaptureTest, EndsWithItsReaderAndWithTheServer) {
  begin();
  Reply first = ask({{"stick", serial_a}});
  const Reply second = ask({{"stick", serial_a}});
  ASSERT_TRUE(first.download && second.download);
  first.download.reset();
  settle();
  EXPECT_THAT(audit_kinds(), ::testing::Contains("capture_ended"));
  (void)read(*second.download);
  operations_->stop([] {});
  const std::string end = read(*second.download);
  EXPECT_EQ(blocks(end), std::vector<std::uint32_t>{5});
  EXPECT_FALSE(second.download->next(milliseconds(0)));
}

TEST_F(CaptureTest, ForAdministratorsAndBounded) {
  begin();
  EXPECT_EQ(ask({{"stick", serial_a}}, Role::viewer).status, 403);
  EXPECT_EQ(ask({}).status, 422);
  EXPECT_EQ(ask({{"stick", "1209:0001:none"}}).status, 404);
  EXPECT_EQ(ask({{"stick", serial_a}, {"payloads", "2"}}).status, 422);
  EXPECT_EQ(ask({{"stick", serial_a}, {"seconds", "0"}}).status, 422);
  std::vector<Reply> all;
  for (std::size_t number = 0; number < operations::limits::captures; ++number) {
    all.push_back(ask({{"stick", serial_a}}));
    EXPECT_EQ(all.back().status, 200);
  }
  EXPECT_EQ(ask({{"stick", serial_b}}).status, 429);
  all.pop_back();
  settle();
  EXPECT_EQ(ask({{"stick", serial_b}}).status, 200);
}

}  // namespace
}  // namespace tillbridge::admin::test
