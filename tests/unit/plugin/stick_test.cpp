// A stick of the till over the restarts of its USB server, at its boundary: the session's transfers
// on one side, real USB/IP with a scripted device behind it on the other.
#include "plugin/stick.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "channel/massstorage/command_block.hpp"
#include "channel/usbip/exporter.hpp"

namespace tillbridge::plugin {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using usb::TransferStatus;

constexpr std::uint8_t disk_in = 0x81, disk_out = 0x02, line_in = 0x83, line_out = 0x04;

void add(Bytes& to, const Bytes& part) {
  to.insert(to.end(), part.begin(), part.end());
}

/// A Bulk-Only disk, and a serial line with two alternate settings, in one configuration.
Bytes configuration_bytes() {
  const auto bulk = [](std::uint8_t address) { return Bytes{7, 5, address, 2, 0, 2, 0}; };
  Bytes rest;
  add(rest, {9, 4, 0, 0, 2, 8, 6, 0x50, 0});
  add(rest, bulk(disk_in));
  add(rest, bulk(disk_out));
  for (const std::uint8_t alternate : {std::uint8_t{0}, std::uint8_t{1}}) {
    add(rest, {9, 4, 1, alternate, 2, 0x0A, 0, 0, 0});
    add(rest, bulk(line_in));
    add(rest, bulk(line_out));
  }
  Bytes whole{9, 2, static_cast<std::uint8_t>(9 + rest.size()), 0, 2, 1, 0, 0x80, 50};
  add(whole, rest);
  return whole;
}

usb::DeviceDescription description() {
  usb::DeviceDescription made;
  made.speed = usb::Speed::high;
  made.device.usb_version = 0x0200;
  made.device.max_packet_size_0 = 64;
  made.device.vendor_id = 0x1209;
  made.device.product_id = 1;
  made.device.configuration_count = 1;
  made.configurations.push_back(*usb::parse_configuration(configuration_bytes()));
  made.active_configuration = 1;
  made.path = "1-1";
  return made;
}

/// Server, stick and session around the Stick. Reads of the device wait until give() or a cancel;
/// all else is done at once.
class StickTest : public testing::Test {
 protected:
  void begin(bool pipeline = false) {
    stick_.emplace("1-1", pipeline);
    exporter_.emplace(usbip::Exporter::Start::await_request);
    stick_->start();
    run();
    ASSERT_TRUE(ready_);
  }

  void run() {
    for (bool progress = true; progress;) {
      progress = false;
      while (auto output = stick_->poll(may_begin_)) {
        progress = true;
        take(std::move(*output));
      }
      while (auto output = exporter_ ? exporter_->poll() : std::nullopt) {
        progress = true;
        take(std::move(*output));
      }
    }
  }

  void take(Stick::Output output) {
    if (auto* send = std::get_if<Stick::Send>(&output)) {
      if (exporter_) exporter_->receive(send->bytes);
    } else if (auto* completed = std::get_if<Stick::Completed>(&output)) {
      const auto id = completed->completion.id;
      EXPECT_TRUE(done_.emplace(id, completed->completion).second) << "twice: " << id;
    } else if (std::holds_alternative<Stick::Ready>(output)) {
      EXPECT_FALSE(std::exchange(ready_, true));
    } else if (std::holds_alternative<Stick::Returned>(output)) {
      ++returned_;
    } else {
      failed_ = std::get<Stick::Failed>(output).error.message;
    }
  }

  void take(usbip::Exporter::Output output) {
    using usbip::Exporter;
    if (auto* send = std::get_if<Exporter::Send>(&output)) {
      stick_->receive(send->bytes);
    } else if (std::holds_alternative<Exporter::ImportWanted>(output)) {
      exporter_->import_granted(device_);
    } else if (auto* submit = std::get_if<Exporter::Submit>(&output)) {
      device_takes(std::move(submit->transfer));
    } else if (const auto* cancel = std::get_if<Exporter::Cancel>(&output)) {
      const auto id = cancel->transfer;
      const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                      [&](const auto& each) { return each.id == id; });
      if (found == waiting_.end()) return;
      cancelled_.push_back(found->length);
      waiting_.erase(found);
      answer(id, TransferStatus::cancelled, std::exchange(brought_, {}));
    }
  }

  void device_takes(usb::Transfer transfer) {
    if (transfer.type == usb::TransferType::control) {
      const usb::SetupPacket& setup = transfer.setup;
      if (setup.request == usb::request::get_descriptor) {
        const auto type = static_cast<std::uint8_t>(setup.value >> 8U);
        Bytes bytes = type == usb::descriptor_type::device ? usb::encode(device_.device)
                                                           : device_.configurations[0].raw;
        if (type == usb::descriptor_type::string) bytes.clear();
        bytes.resize(std::min<std::size_t>(bytes.size(), setup.length));
        return answer(transfer.id, bytes.empty() ? TransferStatus::stall : TransferStatus::success,
                      bytes);
      }
      if (setup.request == usb::request::get_configuration) {
        return answer(transfer.id, TransferStatus::success, {device_.active_configuration});
      }
      controls_.push_back(setup);
      return answer(transfer.id, TransferStatus::success, {});
    }
    taken_.push_back(transfer.in() ? transfer.length : transfer.data[0]);
    if (transfer.in()) {
      waiting_.push_back(std::move(transfer));
    } else {
      usb::Completion completion;
      completion.id = transfer.id;
      completion.actual_length = transfer.length;
      exporter_->complete(completion);
    }
  }

  void answer(usb::TransferId id, TransferStatus status, Bytes data) {
    usb::Completion completion;
    completion.id = id;
    completion.status = status;
    completion.actual_length = static_cast<std::uint32_t>(data.size());
    completion.data = std::move(data);
    exporter_->complete(std::move(completion));
  }

  /// The device answers its oldest read.
  void give(Bytes data) {
    ASSERT_FALSE(waiting_.empty());
    const auto id = waiting_.front().id;
    waiting_.pop_front();
    answer(id, TransferStatus::success, std::move(data));
    run();
  }

  /// As a kernel ends what a process leaves behind.
  void crash() {
    exporter_.reset();
    waiting_.clear();
    may_begin_ = false;
    run();
  }
  void notice_crash() {
    stick_->interrupted();
    may_begin_ = true;
    run();
  }
  void come_back() {
    exporter_.emplace(usbip::Exporter::Start::await_request);
    stick_->import_again();
    run();
  }

  void read(usb::TransferId id, std::uint8_t endpoint, std::uint32_t length) {
    usb::Transfer transfer;
    transfer.id = id;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = endpoint;
    transfer.length = length;
    stick_->submit(std::move(transfer));
    run();
  }
  void write(usb::TransferId id, std::uint8_t endpoint, Bytes data) {
    usb::Transfer transfer;
    transfer.id = id;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = endpoint;
    transfer.length = static_cast<std::uint32_t>(data.size());
    transfer.data = std::move(data);
    stick_->submit(std::move(transfer));
    run();
  }
  /// TEST UNIT READY, or a command of so many bytes out.
  void command(usb::TransferId id, std::uint32_t tag, std::uint32_t data_out = 0) {
    massstorage::CommandBlock block;
    block.tag = tag;
    block.data_length = data_out;
    block.cdb.length = 6;
    write(id, disk_out, massstorage::encode(block));
  }
  static Bytes status(std::uint32_t tag) {
    return massstorage::encode(massstorage::StatusBlock{tag});
  }

  [[nodiscard]] std::optional<TransferStatus> how(usb::TransferId id) const {
    const auto found = done_.find(id);
    if (found == done_.end()) return std::nullopt;
    return found->second.status;
  }

  usb::DeviceDescription device_ = description();
  std::optional<Stick> stick_;
  std::optional<usbip::Exporter> exporter_;
  std::deque<usb::Transfer> waiting_;       ///< reads at the device
  std::vector<std::uint32_t> taken_;        ///< by the device: lengths of reads, first bytes of OUT
  std::vector<std::uint32_t> cancelled_;    ///< lengths of reads
  std::vector<usb::SetupPacket> controls_;  ///< but for reading descriptors
  Bytes brought_;                           ///< by the next read that is cancelled
  std::map<usb::TransferId, usb::Completion> done_;
  std::optional<std::string> failed_;
  bool may_begin_ = true, ready_ = false;
  int returned_ = 0;
};

TEST_F(StickTest, ACrashEndsWhatLeftOnceAndSendsWhatDidNot) {
  begin();
  read(10, line_in, 64);
  crash();
  read(11, line_in, 65);  // nobody has noticed anything yet, but there is no connection
  write(12, line_out, {7, 7});
  EXPECT_THAT(done_, IsEmpty());
  notice_crash();
  EXPECT_EQ(how(10), TransferStatus::error);
  EXPECT_EQ(how(11), std::nullopt);
  write(13, line_out, {8});
  come_back();
  EXPECT_EQ(returned_, 1);
  EXPECT_THAT(taken_, ElementsAre(64, 65, 7, 8)) << "in order, and the first one never again";
  EXPECT_EQ(how(12), TransferStatus::success);
  EXPECT_EQ(how(13), TransferStatus::success);
  give({1, 2, 3});
  EXPECT_EQ(done_.at(11).data, (Bytes{1, 2, 3}));
  EXPECT_THAT(controls_, IsEmpty()) << "the stick was not touched";
}

TEST_F(StickTest, ASecondCrashBeforeTheStickIsBackRepeatsNothing) {
  begin();
  read(10, line_in, 64);
  crash();
  notice_crash();
  write(12, line_out, {7});
  stick_->import_again();  // and nobody answers
  stick_->interrupted();
  run();
  come_back();
  come_back();  // without effect: it is back
  EXPECT_EQ(returned_, 1);
  EXPECT_THAT(taken_, ElementsAre(64, 7));
  EXPECT_EQ(done_.size(), 2U);
}

TEST_F(StickTest, WhatWaitsCanBeCancelledAndNeverGoes) {
  begin();
  crash();
  write(12, line_out, {7});
  read(13, line_in, 64);
  stick_->cancel(12);
  run();
  EXPECT_EQ(how(12), TransferStatus::cancelled);
  notice_crash();
  stick_->cancel(13);
  run();
  EXPECT_EQ(how(13), TransferStatus::cancelled);
  come_back();
  EXPECT_THAT(taken_, IsEmpty());
}

TEST_F(StickTest, AlternateSettingsComeBackAsTheSessionChoseThem) {
  begin();
  stick_->submit(usb::control_transfer(5, usb::set_configuration(1)));
  stick_->submit(usb::control_transfer(6, usb::set_interface(1, 1)));
  run();
  ASSERT_EQ(how(6), TransferStatus::success);
  controls_.clear();
  crash();
  notice_crash();
  read(10, line_in, 64);
  come_back();
  EXPECT_THAT(controls_, ElementsAre(usb::set_interface(1, 1)));
  EXPECT_EQ(returned_, 1);
  EXPECT_THAT(taken_, ElementsAre(64)) << "after that";
}

TEST_F(StickTest, AStickThatIsNotAsItWasIsNotGoneOnWith) {
  begin();
  crash();
  notice_crash();
  read(10, line_in, 64);
  device_.active_configuration = 0;
  come_back();
  ASSERT_TRUE(failed_);
  EXPECT_THAT(*failed_, HasSubstr("another configuration"));
  stick_->lost();
  run();
  EXPECT_EQ(how(10), TransferStatus::device_gone);
}

TEST_F(StickTest, AnotherDeviceIsNotGoneOnWith) {
  begin();
  crash();
  notice_crash();
  device_.device.product_id = 2;
  come_back();
  ASSERT_TRUE(failed_);
  EXPECT_THAT(*failed_, HasSubstr("another device"));
}

TEST_F(StickTest, WithdrawnWhileItWaitsEndsEverything) {
  begin();
  read(10, line_in, 64);
  crash();
  notice_crash();
  write(12, line_out, {7});
  stick_->lost();
  run();
  EXPECT_EQ(how(10), TransferStatus::error);
  EXPECT_EQ(how(12), TransferStatus::device_gone);
  write(13, line_out, {8});
  EXPECT_EQ(how(13), TransferStatus::device_gone);
}

TEST_F(StickTest, APauseTakesReadsBackAndARestartLosesNothing) {
  begin();
  read(10, line_in, 64);
  read(11, line_in, 65);
  EXPECT_FALSE(stick_->quiet());
  stick_->pause();
  run();
  EXPECT_THAT(cancelled_, ElementsAre(65, 64)) << "the last one first";
  EXPECT_TRUE(stick_->quiet());
  write(12, line_out, {7});
  EXPECT_THAT(taken_, ElementsAre(64, 65)) << "nothing new leaves";
  EXPECT_THAT(done_, IsEmpty());
  crash();
  notice_crash();
  come_back();
  EXPECT_THAT(taken_, ElementsAre(64, 65, 64, 65, 7));
  give({1});
  give({2});
  EXPECT_EQ(done_.at(10).data, Bytes{1});
  EXPECT_EQ(done_.at(11).data, Bytes{2});
  EXPECT_EQ(how(12), TransferStatus::success);
}

TEST_F(StickTest, AReadThatBroughtSomethingIsDone) {
  begin();
  read(10, line_in, 64);
  brought_ = {1, 2, 3};
  stick_->pause();
  run();
  EXPECT_EQ(how(10), TransferStatus::success);
  EXPECT_EQ(done_.at(10).data, (Bytes{1, 2, 3}));
  EXPECT_TRUE(stick_->quiet());
}

TEST_F(StickTest, AReadThatTheSessionCancelsIsNotSentAgain) {
  begin();
  read(10, line_in, 64);
  stick_->pause();
  stick_->cancel(10);
  run();
  EXPECT_EQ(how(10), TransferStatus::cancelled);
  stick_->go_on();
  run();
  EXPECT_THAT(taken_, ElementsAre(64));
}

TEST_F(StickTest, AReadThatTheSessionCancelledBeforeAPauseIsNotSentAgain) {
  begin();
  read(10, line_in, 64);
  stick_->cancel(10);
  stick_->pause();
  run();
  EXPECT_EQ(how(10), TransferStatus::cancelled);
  EXPECT_THAT(cancelled_, ElementsAre(64)) << "once";
  stick_->go_on();
  run();
  EXPECT_THAT(taken_, ElementsAre(64));
}

TEST_F(StickTest, APauseThatDoesNotEndInARestartGoesOn) {
  begin();
  read(10, line_in, 64);
  stick_->pause();
  write(12, line_out, {7});
  stick_->go_on();
  run();
  EXPECT_THAT(taken_, ElementsAre(64, 64, 7));
}

/// With and without the pipeline.
class StickCommandTest : public StickTest, public testing::WithParamInterface<bool> {};

TEST_P(StickCommandTest, ASecondCommandWaitsUntilTheFirstHasItsStatus) {
  begin(GetParam());
  stick_->submit(usb::control_transfer(1, usb::set_configuration(1)));
  run();
  command(10, 1);
  stick_->pause();
  run();
  EXPECT_FALSE(stick_->quiet());
  read(11, disk_in, 13);
  give(status(1));
  EXPECT_EQ(how(11), TransferStatus::success);
  EXPECT_TRUE(stick_->quiet());
  command(12, 2);
  read(13, disk_in, 13);
  EXPECT_THAT(taken_, ElementsAre('U', 13)) << "the next command stays";
  EXPECT_TRUE(stick_->quiet());
  crash();
  notice_crash();
  come_back();
  give(status(2));
  EXPECT_THAT(taken_, ElementsAre('U', 13, 'U', 13));
  EXPECT_EQ(how(12), TransferStatus::success);
  EXPECT_EQ(how(13), TransferStatus::success);
  EXPECT_EQ(done_.at(13).data, status(2));
}

TEST_P(StickCommandTest, TheDataOfACommandThatHasBegunStillGoes) {
  begin(GetParam());
  stick_->submit(usb::control_transfer(1, usb::set_configuration(1)));
  run();
  command(10, 1, 4);
  stick_->pause();
  write(11, disk_out, {9, 9, 9, 9});
  read(12, disk_in, 13);
  EXPECT_FALSE(stick_->quiet());
  give(status(1));
  EXPECT_EQ(how(12), TransferStatus::success);
  EXPECT_TRUE(stick_->quiet());
  EXPECT_THAT(taken_, ElementsAre('U', 9, 13));
}

TEST_P(StickCommandTest, ACommandThatACrashCutsOffFailsOnceAndIsNotRepeated) {
  begin(GetParam());
  stick_->submit(usb::control_transfer(1, usb::set_configuration(1)));
  run();
  command(10, 1);
  read(11, disk_in, 13);
  ASSERT_FALSE(waiting_.empty());
  crash();
  notice_crash();
  ASSERT_TRUE(how(11));
  EXPECT_NE(how(11), TransferStatus::success);
  EXPECT_NE(how(11), TransferStatus::device_gone) << "a class driver would give the device up";
  come_back();
  EXPECT_THAT(taken_, ElementsAre('U', 13));
  // What a class driver does then reaches the stick, and the next command works.
  stick_->submit(usb::control_transfer(20, usb::bulk_only_reset(0)));
  run();
  stick_->submit(usb::control_transfer(21, usb::clear_halt(disk_in)));
  run();
  stick_->submit(usb::control_transfer(22, usb::clear_halt(disk_out)));
  run();
  EXPECT_EQ(how(22), TransferStatus::success);
  command(23, 2);
  read(24, disk_in, 13);
  give(status(2));
  EXPECT_EQ(how(24), TransferStatus::success);
}

INSTANTIATE_TEST_SUITE_P(PlainAndPipeline, StickCommandTest, testing::Bool());

}  // namespace
}  // namespace tillbridge::plugin
