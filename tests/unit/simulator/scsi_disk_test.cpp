// The SCSI set of the stick, as a class driver sees it.

#include <gmock/gmock.h>

#include "server/simulator/fat_image.hpp"
#include "tests/unit/simulator/device_driver.hpp"

namespace tillbridge::simulator {
namespace {

namespace scsi = massstorage::scsi;
using massstorage::Cdb;
using massstorage::Outcome;

class ScsiCommands : public StickTest {
 protected:
  void expect_refused(const massstorage::CommandResult& result, scsi::Sense sense) {
    EXPECT_EQ(result.outcome, Outcome::check_condition);
    ASSERT_TRUE(result.sense.has_value());
    EXPECT_EQ(result.sense->text(), sense.text());
  }
  static Cdb changed(Cdb cdb, std::size_t position, std::uint8_t value) {
    cdb.bytes.at(position) = value;
    return cdb;
  }
};

TEST_F(ScsiCommands, InquiryNamesTheStick) {
  StickOptions options;
  options.inquiry_vendor = "ACME";
  options.inquiry_product = "Kassenspeicher";
  options.inquiry_revision = "2.1";
  make(options);
  ASSERT_TRUE(host_->inquiry().ok());
  const auto reply = scsi::parse_inquiry(driver_->run(*host_).data);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(*reply, (scsi::InquiryReply{0, true, 4, "ACME", "Kassenspeicher", "2.1"}));
}

TEST_F(ScsiCommands, InquiryPages) {
  EXPECT_EQ(run_in(scsi::inquiry_page(0x00, 255), 255).data, (Bytes{0, 0, 0, 3, 0x00, 0x80, 0x83}));
  const Bytes serial = run_in(scsi::inquiry_page(0x80, 255), 255).data;
  EXPECT_EQ(std::string(serial.begin() + 4, serial.end()), "000000000001");
  EXPECT_EQ(serial[3], 12);
  const Bytes id = run_in(scsi::inquiry_page(0x83, 255), 255).data;
  EXPECT_EQ(id[3], id.size() - 4);
  EXPECT_EQ(id[7], id.size() - 8);
  EXPECT_EQ(std::string(id.begin() + 8, id.end()), "TILLBRDGSimulated stick 000000000001");
  expect_refused(run_in(scsi::inquiry_page(0xB0, 255), 255), scsi::sense::invalid_field);
  expect_refused(run_in(changed(scsi::inquiry(36), 2, 0x80), 36), scsi::sense::invalid_field);
}

TEST_F(ScsiCommands, InquiryIsCutToTheAllocationLength) {
  EXPECT_EQ(run_in(scsi::inquiry(5), 5).data.size(), 5U);
  EXPECT_TRUE(run_none(scsi::inquiry(0)).good());
}

TEST_F(ScsiCommands, UnitAttentionIsReportedOnceAndNotToEveryone) {
  ASSERT_EQ(driver_->control(usb::bulk_only_reset(0)).status, usb::TransferStatus::success);
  EXPECT_TRUE(run_in(scsi::inquiry(36), 36).good());
  EXPECT_TRUE(run_in(scsi::report_luns(16), 16).good());
  expect_refused(run_in(scsi::read_10(0, 1), 512), scsi::sense::reset_occurred);
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
}

TEST_F(ScsiCommands, RequestSenseTakesTheUnitAttention) {
  ASSERT_EQ(driver_->control(usb::bulk_only_reset(0)).status, usb::TransferStatus::success);
  const auto sense = run_in(scsi::request_sense(), 18);
  EXPECT_EQ(*scsi::parse_sense(sense.data), scsi::sense::reset_occurred);
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
}

TEST_F(ScsiCommands, SenseLastsForOneCommand) {
  massstorage::HostOptions options;
  options.automatic_sense = false;
  host_ = std::make_unique<massstorage::BulkOnlyHost>(
      *massstorage::BulkOnlyHost::create(stick_->description(), options));
  const auto sense_now = [&] { return *scsi::parse_sense(run_in(scsi::request_sense(), 18).data); };
  run_in(scsi::read_10(disk_blocks, 1), 512);
  EXPECT_EQ(sense_now(), scsi::sense::block_out_of_range);
  EXPECT_EQ(sense_now(), scsi::sense::none) << "told once";
  run_in(scsi::read_10(disk_blocks, 1), 512);
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
  EXPECT_EQ(sense_now(), scsi::sense::none) << "another command came in between";
}

TEST_F(ScsiCommands, CapacityInBothForms) {
  ASSERT_TRUE(host_->read_capacity().ok());
  EXPECT_TRUE(driver_->run(*host_).good());
  EXPECT_EQ(host_->block_count(), disk_blocks);
  EXPECT_EQ(host_->block_size(), 512U);
  EXPECT_EQ(run_in(scsi::read_format_capacities(252), 252).data,
            (Bytes{0, 0, 0, 8, 0, 0, 0x10, 0, 2, 0, 2, 0}));
  expect_refused(run_in(changed(scsi::read_capacity_10(), 5, 1), 8), scsi::sense::invalid_field);
}

TEST_F(ScsiCommands, EveryFormOfReadAndWrite) {
  const Bytes first = pattern_bytes(1024, 1), second = pattern_bytes(1024, 2),
              third = pattern_bytes(1024, 3);
  EXPECT_TRUE(run_out(scsi::write_6(0, 2), first).good());
  EXPECT_TRUE(run_out(scsi::write_10(2, 2), second).good());
  EXPECT_TRUE(run_out(scsi::write_12(4, 2), third).good());
  EXPECT_EQ(run_in(scsi::read_12(0, 2), 1024).data, first);
  EXPECT_EQ(run_in(scsi::read_6(2, 2), 1024).data, second);
  EXPECT_EQ(run_in(scsi::read_10(4, 2), 1024).data, third);
  EXPECT_EQ(run_in(scsi::read_6(0, 256), 131072).data.size(), 131072U) << "0 means 256";
  expect_refused(run_in(scsi::read_16(0, 1), 512), scsi::sense::invalid_operation);
  expect_refused(run_out(scsi::write_16(0, 1), Bytes(512)), scsi::sense::invalid_operation);
  EXPECT_EQ(on_disk(0, 2), first);
}

TEST_F(ScsiCommands, BlocksPastTheEndAreOutOfRange) {
  const std::uint32_t end = disk_blocks;
  EXPECT_TRUE(run_in(scsi::read_10(end - 1, 1), 512).good());
  expect_refused(run_in(scsi::read_10(end - 1, 2), 1024), scsi::sense::block_out_of_range);
  expect_refused(run_in(scsi::read_10(end, 1), 512), scsi::sense::block_out_of_range);
  expect_refused(run_in(scsi::read_10(0xFFFFFFFF, 0xFFFF), 65536), scsi::sense::block_out_of_range);
  expect_refused(run_in(scsi::read_12(1, 0xFFFFFFFF), 65536), scsi::sense::block_out_of_range);
  expect_refused(run_out(scsi::write_10(end, 1), Bytes(512, 1)), scsi::sense::block_out_of_range);
  expect_refused(run_none(scsi::verify_10(end - 1, 2, false)), scsi::sense::block_out_of_range);
}

TEST_F(ScsiCommands, ReadingNothingIsGood) {
  EXPECT_TRUE(run_none(scsi::read_10(0, 0)).good());
  EXPECT_TRUE(run_none(scsi::write_10(0, 0)).good());
}

TEST_F(ScsiCommands, ProtectionInformationIsNotThere) {
  expect_refused(run_in(changed(scsi::read_10(0, 1), 1, 0x20), 512), scsi::sense::invalid_field);
}

TEST_F(ScsiCommands, ModeSense) {
  const Bytes caching{0x08, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  Bytes six{23, 0, 0, 0}, ten{0, 26, 0, 0, 0, 0, 0, 0};
  six.insert(six.end(), caching.begin(), caching.end());
  ten.insert(ten.end(), caching.begin(), caching.end());
  EXPECT_EQ(run_in(scsi::mode_sense_6(0x3F, 192), 192).data, six);
  EXPECT_EQ(run_in(scsi::mode_sense_6(0x08, 192), 192).data, six);
  EXPECT_EQ(run_in(scsi::mode_sense_10(0x3F, 256), 256).data, ten);
  EXPECT_EQ(run_in(scsi::mode_sense_6(0x3F, 4), 4).data, (Bytes{23, 0, 0, 0}));
  expect_refused(run_in(scsi::mode_sense_6(0x1C, 192), 192), scsi::sense::invalid_field);
  expect_refused(run_in(changed(scsi::mode_sense_6(0x3F, 192), 2, 0xFF), 192),
                 scsi::sense::saving_parameters_not_supported);
}

TEST_F(ScsiCommands, WriteProtection) {
  StickOptions options;
  options.write_protected = true;
  make(options);
  EXPECT_EQ(run_in(scsi::mode_sense_6(0x3F, 192), 192).data[2], 0x80);
  expect_refused(run_out(scsi::write_10(0, 1), Bytes(512, 1)), scsi::sense::write_protected);
  EXPECT_EQ(on_disk(0, 1), Bytes(512));
  EXPECT_TRUE(run_in(scsi::read_10(0, 1), 512).good());
}

TEST_F(ScsiCommands, VerifyWithAndWithoutData) {
  const Bytes content = pattern_bytes(1024, 9);
  ASSERT_TRUE(stick_->medium().write(6, content).ok());
  EXPECT_TRUE(run_none(scsi::verify_10(0, 100, false)).good());
  EXPECT_TRUE(run_out(scsi::verify_10(6, 2, true), content).good());
  Bytes other = content;
  other[600] ^= 1U;
  expect_refused(run_out(scsi::verify_10(6, 2, true), other), scsi::sense::miscompare);
  EXPECT_EQ(on_disk(6, 2), content);
}

TEST_F(ScsiCommands, EjectAndLoad) {
  EXPECT_TRUE(run_none(scsi::start_stop_unit(false, false)).good()) << "stop alone ejects nothing";
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
  EXPECT_TRUE(run_none(scsi::start_stop_unit(false, true)).good());
  expect_refused(run_none(scsi::test_unit_ready()), scsi::sense::not_ready_no_medium);
  expect_refused(run_in(scsi::read_10(0, 1), 512), scsi::sense::not_ready_no_medium);
  expect_refused(run_in(scsi::read_capacity_10(), 8), scsi::sense::not_ready_no_medium);
  EXPECT_EQ(run_in(scsi::read_format_capacities(12), 12).data[8], 3) << "no medium";
  EXPECT_TRUE(run_in(scsi::inquiry(36), 36).good());
  EXPECT_TRUE(run_none(scsi::start_stop_unit(true, true)).good());
  expect_refused(run_none(scsi::test_unit_ready()), scsi::sense::medium_changed);
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
}

TEST_F(ScsiCommands, RemovalCanBePrevented) {
  EXPECT_TRUE(run_none(scsi::prevent_medium_removal(true)).good());
  expect_refused(run_none(scsi::start_stop_unit(false, true)),
                 scsi::sense::medium_removal_prevented);
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
  EXPECT_TRUE(run_none(scsi::prevent_medium_removal(false)).good());
  EXPECT_TRUE(run_none(scsi::start_stop_unit(false, true)).good());
}

TEST_F(ScsiCommands, ReportLuns) {
  const Bytes one_lun{0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(run_in(scsi::report_luns(4096), 4096).data, one_lun);
  EXPECT_EQ(run_in(changed(scsi::report_luns(16), 2, 1), 16).data, Bytes(8));
  expect_refused(run_in(scsi::report_luns(15), 15), scsi::sense::invalid_field);
}

TEST_F(ScsiCommands, UnknownCommandsAreRefusedWhateverDataTheHostExpects) {
  const auto make_cdb = [](std::uint8_t op, std::uint8_t length) {
    Cdb cdb;
    cdb.bytes[0] = op;
    cdb.length = length;
    return cdb;
  };
  // Among them ATA pass-through, SERVICE ACTION IN(16) and vendor commands.
  for (const Cdb& cdb : {make_cdb(0xA1, 12), make_cdb(0x85, 16), make_cdb(0x9E, 16),
                         make_cdb(0xC0, 6), make_cdb(0xFF, 16), make_cdb(0x15, 6)}) {
    SCOPED_TRACE(int{cdb.operation()});
    expect_refused(run_none(cdb), scsi::sense::invalid_operation);
    expect_refused(run_in(cdb, 512), scsi::sense::invalid_operation);
    expect_refused(run_out(cdb, Bytes(512)), scsi::sense::invalid_operation);
  }
  EXPECT_TRUE(run_none(scsi::test_unit_ready()).good());
}

TEST_F(ScsiCommands, CommandsThatAreTooShortAreRefused) {
  Cdb cdb = scsi::read_10(0, 1);
  cdb.length = 6;
  expect_refused(run_in(cdb, 512), scsi::sense::invalid_field);
}

TEST_F(ScsiCommands, OtherLunsDoNotExist) {
  expect_refused(run({scsi::test_unit_ready(), massstorage::DataDirection::none, 0, {}, 1}),
                 scsi::sense::lun_not_supported);
  const auto inquiry = run({scsi::inquiry(36), massstorage::DataDirection::in, 36, {}, 1});
  EXPECT_TRUE(inquiry.good());
  EXPECT_EQ(inquiry.data.at(0), 0x7F);
}

/// A medium that fails where it is told to, and counts.
class FragileMedium final : public Medium {
 public:
  [[nodiscard]] std::uint64_t block_count() const override { return 4096; }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override {
    if (covers(block, data.size())) return fail(ErrorCode::io, "broken");
    std::fill(data.begin(), data.end(), std::uint8_t{0x42});
    return {};
  }
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override {
    if (covers(block, data.size())) return fail(ErrorCode::io, "broken");
    written += data.size() / block_bytes;
    return {};
  }
  [[nodiscard]] Status flush() override {
    ++flushes;
    if (flush_fails) return fail(ErrorCode::io, "broken");
    return {};
  }

  std::uint64_t broken_block = 1000;
  std::uint64_t written = 0;
  int flushes = 0;
  bool flush_fails = false;

 private:
  [[nodiscard]] bool covers(std::uint64_t block, std::size_t bytes) const {
    return block <= broken_block && broken_block < block + bytes / block_bytes;
  }
};

class FragileDisk : public ScsiCommands {
 protected:
  void SetUp() override {
    auto medium = std::make_unique<FragileMedium>();
    medium_ = medium.get();
    make({}, std::move(medium));
  }
  FragileMedium* medium_ = nullptr;
};

TEST_F(FragileDisk, AReadErrorEndsTheDataThereWithAMediumError) {
  const auto result = run_in(scsi::read_10(1000 - 64, 128), 65536);
  expect_refused(result, scsi::sense::unrecovered_read_error);
  EXPECT_EQ(result.data, Bytes(64 * 512, 0x42));
  EXPECT_EQ(result.residue, 64U * 512U);
  EXPECT_TRUE(run_in(scsi::read_10(0, 1), 512).good());
}

TEST_F(FragileDisk, AWriteErrorEndsTheCommandWithAMediumError) {
  const auto result = run_out(scsi::write_10(1000 - 64, 128), Bytes(65536, 1));
  expect_refused(result, scsi::sense::write_error);
  EXPECT_EQ(result.residue, 64U * 512U);
  EXPECT_EQ(medium_->written, 64U);
  EXPECT_TRUE(run_out(scsi::write_10(0, 1), Bytes(512)).good());
}

TEST_F(FragileDisk, SynchronizeCacheFlushes) {
  EXPECT_TRUE(run_out(scsi::write_10(0, 1), Bytes(512)).good());
  EXPECT_EQ(medium_->flushes, 0);
  EXPECT_TRUE(run_none(scsi::synchronize_cache_10()).good());
  EXPECT_EQ(medium_->flushes, 1);
  medium_->flush_fails = true;
  expect_refused(run_none(scsi::synchronize_cache_10()), scsi::sense::write_error);
}

TEST_F(FragileDisk, ForcedUnitAccessFlushesBeforeTheStatus) {
  EXPECT_TRUE(run_out(changed(scsi::write_10(0, 2), 1, 0x08), Bytes(1024)).good());
  EXPECT_EQ(medium_->flushes, 1);
  medium_->flush_fails = true;
  expect_refused(run_out(changed(scsi::write_10(0, 2), 1, 0x08), Bytes(1024)),
                 scsi::sense::write_error);
}

}  // namespace
}  // namespace tillbridge::simulator
