// tillbridged as a whole, in one process: TLS on the loopback, a till of real parts, simulated
// sticks.
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench.hpp"
#include "channel/bytes/limits.hpp"
#include "channel/massstorage/command_block.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usbip/codec.hpp"
#include "server/usb/usb_server.hpp"
#include "test_till.hpp"
#include "tests/unit/link/link_pair.hpp"

namespace tillbridge::server {
namespace {

using test::TestTill;
using ::testing::HasSubstr;

const std::string serial_a = "5A2F00000001", serial_b = "5A2F00000002";

std::string map(const std::string& serial, const std::string& till, const std::string& more = "") {
  return "[[map]]\nstick = \"1209:0001:" + serial + "\"\ntill = \"" + till + "\"\n" + more + "\n";
}

class ServerTest : public ::testing::Test {
 protected:
  std::string config_text(const std::string& tables, const std::string& sticks = "") const {
    const test::Certificates& pki = test::Certificates::get();
    return "[link]\nlisten = \"127.0.0.1:" + std::to_string(port_) +
           "\"\nresume_grace_s = " + std::to_string(grace_s_) + "\ncertificate = \"" +
           pki.certificate("server").string() + "\"\nkey = \"" + pki.key("server").string() +
           "\"\nauthority = \"" + pki.authority().string() +
           "\"\n[usbip]\nlisten = \"127.0.0.1:0\"\n[libusb]\nenabled = false\n" +
           (sticks.empty() ? "[[simulated]]\nserial = \"" + serial_a +
                                 "\"\nsize_mib = 8\n[[simulated]]\nserial = \"" + serial_b +
                                 "\"\nsize_mib = 8\n"
                           : sticks) +
           tables;
  }

  void start(const std::string& tables, const std::string& sticks = "") {
    test::write_file(file_, config_text(tables, sticks));
    auto config = load_config(file_);
    ASSERT_TRUE(config.ok()) << config.error().message;
    server_ = std::make_unique<UsbServer>(bench_.loop, *config);
    const auto failure = server_->start();
    ASSERT_FALSE(failure) << failure->error.message;
    bench_.run_what_is_due();
  }

  void reload(const std::string& tables, const std::string& sticks = "") {
    test::write_file(file_, config_text(tables, sticks));
    server_->reload();
  }

  std::unique_ptr<TestTill> till(const std::string& name) {
    return std::make_unique<TestTill>(bench_, server_->link_port(), name);
  }

  bool until(const std::function<bool()>& condition) { return bench_.run_until(condition); }

  std::uint16_t port_ = 0;
  int grace_s_ = 60;
  test::Bench bench_;
  test::TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "tillbridged.toml";
  std::unique_ptr<UsbServer> server_;
};

TEST_F(ServerTest, ATillReadsItsStick) {
  start(map(serial_a, "kasse-01", "reset = \"refuse\"\npipeline = \"off\""));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import()) << bench_.log_text();
  ASSERT_EQ(kasse->granted.size(), 1U);
  const link::Granted& grant = kasse->granted[0];
  EXPECT_EQ(grant.busid, "1209:0001:" + serial_a);
  EXPECT_EQ(grant.serial, serial_a);
  EXPECT_EQ(grant.reset_policy, "refuse");
  EXPECT_FALSE(grant.pipeline);
  EXPECT_THAT(grant.label, HasSubstr(serial_a));

  const auto description = kasse->describe(grant.stream);
  ASSERT_TRUE(description.ok()) << description.error().message;
  EXPECT_EQ(description->device.vendor_id, 0x1209);
  EXPECT_EQ(description->serial, serial_a);
  const auto inquiry = kasse->inquiry(grant.stream);
  ASSERT_TRUE(inquiry);
  EXPECT_TRUE(inquiry->good()) << inquiry->message;
  ASSERT_EQ(inquiry->data.size(), 36U);
  EXPECT_EQ(std::string(inquiry->data.begin() + 8, inquiry->data.begin() + 16), "TILLBRDG");
  EXPECT_EQ(bench_.logged("lease begun: stick 1209:0001:" + serial_a + " for till kasse-01"), 1U);
  EXPECT_EQ(bench_.logged("user shop\\anna on ts1 from pos"), 2U)
      << "at the connection and in the lease";
  EXPECT_EQ(server_->status(), "2 sticks, 1 in use, 1 till connected");
}

TEST_F(ServerTest, EachTillSeesOnlyItsOwn) {
  start(map(serial_a, "kasse-01") + map(serial_b, "kasse-02"));
  const auto first = till("kasse-01"), second = till("kasse-02");
  ASSERT_TRUE(first->connect_and_import());
  ASSERT_TRUE(second->connect_and_import());
  EXPECT_EQ(first->describe(first->granted[0].stream)->serial, serial_a);
  EXPECT_EQ(second->describe(second->granted[0].stream)->serial, serial_b);
  EXPECT_EQ(first->granted.size(), 1U);
  EXPECT_EQ(second->granted.size(), 1U);
}

TEST_F(ServerTest, ATillCannotImportWhatWasNotGranted) {
  start(map(serial_a, "kasse-01") + map(serial_b, "kasse-02"));
  const auto kasse = till("kasse-02");
  kasse->hello();
  ASSERT_TRUE(until([&] { return !kasse->granted.empty(); }));
  const auto& stick = kasse->import(kasse->granted[0].stream, "1209:0001:" + serial_a);
  ASSERT_TRUE(until([&] { return stick.failed && !kasse->revoked.empty(); }));
  EXPECT_FALSE(stick.imported);
  EXPECT_THAT(kasse->revoked[0].reason, HasSubstr("was granted on this stream"));
  EXPECT_FALSE(kasse->revoked[0].unplugged);
  EXPECT_EQ(bench_.logged("lease begun"), 0U);
  bench_.run_what_is_due();
  EXPECT_EQ(kasse->granted.size(), 1U) << "not offered again and again";
  kasse->hello();
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 2; })) << "but after the next hello";
  EXPECT_NE(kasse->granted[0].stream, kasse->granted[1].stream);
}

TEST_F(ServerTest, ATillWithoutMappingHearsWhatToDo) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-02");
  kasse->hello();
  ASSERT_TRUE(until([&] { return !kasse->nothing.empty(); }));
  EXPECT_THAT(kasse->nothing[0], HasSubstr("no stick is mapped to till kasse-02"));
  EXPECT_THAT(kasse->nothing[0], HasSubstr("tillbridge map STICK kasse-02"));
  EXPECT_EQ(kasse->nothing[0].find(serial_a), std::string::npos)
      << "the sticks of others are no business of this till";
  EXPECT_FALSE(kasse->closed);
}

TEST_F(ServerTest, AMappedStickThatIsNotThereComesWhenItIsPluggedIn) {
  start(map(serial_a, "kasse-01"));
  ASSERT_TRUE(server_->simulated()->unplug(serial_a).ok());
  const auto kasse = till("kasse-01");
  kasse->hello();
  ASSERT_TRUE(until([&] { return !kasse->nothing.empty(); }));
  EXPECT_THAT(kasse->nothing[0], HasSubstr("is not plugged in"));
  ASSERT_TRUE(server_->simulated()->plug(serial_a).ok());
  ASSERT_TRUE(until([&] { return !kasse->granted.empty(); }));
}

TEST_F(ServerTest, UnpluggedInTheMiddleOfATransfer) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  const link::StreamId stream = kasse->granted[0].stream;
  ASSERT_TRUE(kasse->transfer(stream, usb::control_transfer(1, usb::set_configuration(1))));
  usb::Transfer read;  // a status that never comes
  read.id = 50;
  read.type = usb::TransferType::bulk;
  read.endpoint = 0x81;
  read.length = 13;
  kasse->submit(stream, read);
  // A control transfer behind it: once it is answered, the read is at the stick.
  ASSERT_TRUE(kasse->transfer(stream, usb::control_transfer(51, usb::get_descriptor(1, 0, 0, 18))));
  ASSERT_TRUE(server_->simulated()->unplug(serial_a).ok());
  ASSERT_TRUE(until([&] { return !kasse->revoked.empty(); }));
  EXPECT_TRUE(kasse->revoked[0].unplugged);
  EXPECT_EQ(kasse->revoked[0].stream, stream);
  EXPECT_EQ(kasse->completed(stream, 50), usb::TransferStatus::device_gone)
      << "before the revocation";
  EXPECT_FALSE(kasse->closed) << "the link goes on";
  ASSERT_TRUE(server_->simulated()->plug(serial_a).ok());
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 2; }));
  EXPECT_NE(kasse->granted[1].stream, stream) << "a stream number is never used twice";
  const auto& again = kasse->import(kasse->granted[1].stream, kasse->granted[1].busid);
  ASSERT_TRUE(until([&] { return again.imported; }));
}

TEST_F(ServerTest, AStickThatEnumeratesItselfAnewIsStillItsTills) {
  start(map(serial_a, "kasse-01", "user = \"anna\"") + map(serial_a, "kasse-02"));
  const auto kasse = till("kasse-02");
  ASSERT_TRUE(kasse->connect_and_import());
  const auto first = till("kasse-01");  // before it in the mapping, but too late
  first->hello();
  ASSERT_TRUE(until([&] { return !first->nothing.empty(); }));
  for (std::size_t round = 1; round <= 3; ++round) {
    ASSERT_TRUE(server_->simulated()->unplug(serial_a).ok());
    ASSERT_TRUE(until([&] { return kasse->revoked.size() == round; }));
    EXPECT_TRUE(kasse->revoked.back().unplugged);
    ASSERT_TRUE(server_->simulated()->plug(serial_a).ok());
    ASSERT_TRUE(until([&] { return kasse->granted.size() == round + 1; })) << bench_.log_text();
    const link::Granted& grant = kasse->granted.back();
    EXPECT_FALSE(grant.continues) << "for its session it is plugged in anew";
    const auto& again = kasse->import(grant.stream, grant.busid);
    ASSERT_TRUE(until([&] { return again.imported; }));
  }
  EXPECT_TRUE(kasse->inquiry(kasse->granted.back().stream));
  // Mapped to the other alone while it is away, it is not kept from that one.
  ASSERT_TRUE(server_->simulated()->unplug(serial_a).ok());
  reload(map(serial_a, "kasse-01"));
  ASSERT_TRUE(server_->simulated()->plug(serial_a).ok());
  ASSERT_TRUE(until([&] { return !first->granted.empty(); })) << bench_.log_text();
}

TEST_F(ServerTest, ACancelEndsInExactlyOneCompletion) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  const link::StreamId stream = kasse->granted[0].stream;
  ASSERT_TRUE(kasse->transfer(stream, usb::control_transfer(1, usb::set_configuration(1))));
  usb::Transfer read;
  read.id = 50;
  read.type = usb::TransferType::bulk;
  read.endpoint = 0x81;
  read.length = 13;
  kasse->submit(stream, read);
  kasse->cancel(stream, 50);
  ASSERT_TRUE(until([&] { return kasse->completed(stream, 50).has_value(); }));
  EXPECT_EQ(kasse->completed(stream, 50), usb::TransferStatus::cancelled);
}

TEST_F(ServerTest, WithoutGraceALeaseEndsWithItsConnection) {
  grace_s_ = 0;
  start(map(serial_a, "kasse-01"));
  auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  EXPECT_EQ(kasse->welcome.at(0).resume_grace_s, 0U);
  kasse->cut();
  ASSERT_TRUE(until([&] { return bench_.logged("lease ended") == 1; }));
  EXPECT_EQ(bench_.logged(" left"), 1U) << bench_.log_text();
  kasse = till("kasse-01");
  EXPECT_TRUE(kasse->connect_and_import());
}

TEST_F(ServerTest, ATillGivesItsStickBack) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  kasse->say(link::Released{kasse->granted[0].stream});
  ASSERT_TRUE(until([&] { return bench_.logged("lease ended") == 1; }));
  bench_.run_what_is_due();
  EXPECT_EQ(kasse->granted.size(), 1U);
  EXPECT_TRUE(kasse->revoked.empty());
  EXPECT_TRUE(kasse->nothing.empty()) << "it knows why it has none";
}

TEST_F(ServerTest, TheNewestConnectionOfATillTakesOver) {
  start(map(serial_a, "kasse-01"));
  const auto before = till("kasse-01");
  ASSERT_TRUE(before->connect_and_import());
  before->fall_silent();  // switched off: nobody closed the connection
  const auto after = till("kasse-01");
  ASSERT_TRUE(after->connect_and_import()) << bench_.log_text();
  EXPECT_EQ(bench_.logged("takes over"), 1U);
  EXPECT_TRUE(after->inquiry(after->granted[0].stream));
}

TEST_F(ServerTest, TheOldConnectionHearsThatItWasTakenOver) {
  start(map(serial_a, "kasse-01"));
  const auto before = till("kasse-01");
  ASSERT_TRUE(before->connect_and_import());
  const auto after = till("kasse-01");
  ASSERT_TRUE(after->connect_and_import());
  ASSERT_TRUE(until([&] { return before->closed; }));
  ASSERT_TRUE(before->goodbye);
  EXPECT_THAT(*before->goodbye, HasSubstr("connected anew"));
}

constexpr std::uint8_t bulk_in = 0x81, bulk_out = 0x02;

usb::Transfer bulk(usb::TransferId id, std::uint8_t endpoint, std::uint32_t length,
                   Bytes data = {}) {
  usb::Transfer transfer;
  transfer.id = id;
  transfer.type = usb::TransferType::bulk;
  transfer.endpoint = endpoint;
  transfer.length = length;
  transfer.data = std::move(data);
  return transfer;
}

/// The command block of a READ(10) from the disk's beginning; of TEST UNIT READY for nothing.
Bytes read_block(std::uint32_t blocks) {
  massstorage::CommandBlock block;
  if (blocks == 0) {
    block.cdb.length = 6;
    return massstorage::encode(block);
  }
  block.tag = blocks;
  block.flags = 0x80;
  block.data_length = blocks * 512;
  block.cdb.length = 10;
  block.cdb.bytes[0] = 0x28;
  block.cdb.bytes[7] = static_cast<std::uint8_t>(blocks >> 8U);
  block.cdb.bytes[8] = static_cast<std::uint8_t>(blocks);
  return massstorage::encode(block);
}

/// Configured, and done with its unit attention, which refuses the first command.
[[nodiscard]] bool make_ready(TestTill& kasse, link::StreamId stream) {
  if (!kasse.transfer(stream, usb::control_transfer(101, usb::set_configuration(1)))) return false;
  for (usb::TransferId id = 102; id < 106; id += 2) {
    if (!kasse.transfer(stream, bulk(id, bulk_out, 31, read_block(0)))) return false;
    const auto status = kasse.transfer(stream, bulk(id + 1, bulk_in, 13));
    if (!status || status->data.size() != 13) return false;
  }
  return true;
}

TEST_F(ServerTest, WhatADeadTillBeganIsEndedBeforeItHasTheStickAgain) {
  start(map(serial_a, "kasse-01"),
        "[[simulated]]\nkind = \"cryptovision\"\nvendor_id = 0x1209\nproduct_id = 1\nserial = \"" +
            serial_a + "\"\n");
  auto dead = till("kasse-01");
  ASSERT_TRUE(dead->connect_and_import());
  const link::StreamId stream = dead->granted[0].stream;
  ASSERT_TRUE(make_ready(*dead, stream));
  ASSERT_TRUE(dead->transfer(stream, bulk(200, bulk_out, 31, read_block(16))));
  const auto data = dead->transfer(stream, bulk(201, bulk_in, 512));
  ASSERT_TRUE(data);
  ASSERT_EQ(data->data.size(), 512U) << "15 of 16 blocks and the status are still to come";
  dead->cut();
  const auto again = till("kasse-01");
  ASSERT_TRUE(again->connect_and_import()) << bench_.log_text();
  EXPECT_EQ(bench_.logged("that its till left unfinished is brought to its end"), 1U);
  EXPECT_EQ(bench_.logged("is aborted"), 0U);
  EXPECT_TRUE(again->inquiry(again->granted[0].stream)->good());
  const std::string witness = *server_->simulated()->witness(serial_a);
  for (const char* untouched : {"bus_resets", "class_resets", "power_cycles", "repeated_frames"}) {
    EXPECT_THAT(witness, HasSubstr("\"" + std::string(untouched) + "\":0"));
  }
}

TEST_F(ServerTest, ATillThatDoesNotReadHoldsUpNobodyAndFillsNothing) {
  start(map(serial_a, "kasse-01") + map(serial_b, "kasse-02"));
  const auto silent = till("kasse-01"), other = till("kasse-02");
  ASSERT_TRUE(silent->connect_and_import());
  ASSERT_TRUE(other->connect_and_import());
  const link::StreamId stream = silent->granted[0].stream;
  ASSERT_TRUE(make_ready(*silent, stream));
  silent->fall_silent();
  constexpr std::uint32_t blocks = (1U << 20U) / 512, commands = 100;
  std::uint32_t sequence = 1000000;
  const auto send = [&](bool in, std::uint32_t length, const Bytes& data) {
    usbip::CmdSubmit command;
    command.sequence = ++sequence;
    command.in = in;
    command.endpoint = in ? 1 : 2;
    command.length = length;
    Bytes bytes = usbip::encode(command);
    bytes.insert(bytes.end(), data.begin(), data.end());
    silent->send_raw(stream, bytes);
  };
  for (std::uint32_t i = 0; i < commands; ++i) {
    send(false, 31, read_block(blocks));
    send(true, blocks * 512, {});
    send(true, 13, {});
    ASSERT_TRUE(other->inquiry(other->granted[0].stream)) << i;
  }
  const LeaseRecord& record = server_->registry().find("1209:0001:" + serial_a)->lease->record();
  EXPECT_GE(record.bytes_in, 1U << 20U);
  EXPECT_LE(record.bytes_in, limits::transfer_bytes_in_flight_per_device) << "of 100 MiB";
}

TEST_F(ServerTest, ABusyStickDoesNotStarveAnotherOfTheSameTill) {
  start(map(serial_a, "kasse-01") + map(serial_b, "kasse-01"));
  const auto kasse = till("kasse-01");
  kasse->hello();
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 2; }));
  const link::StreamId busy = kasse->granted[0].stream, quiet = kasse->granted[1].stream;
  const auto& first = kasse->import(busy, kasse->granted[0].busid);
  const auto& second = kasse->import(quiet, kasse->granted[1].busid);
  ASSERT_TRUE(until([&] { return first.imported && second.imported; }));
  ASSERT_TRUE(make_ready(*kasse, busy));
  constexpr std::uint32_t blocks = (4U << 20U) / 512;  // an answer takes all the room there is
  constexpr usb::TransferId commands = 7;
  for (usb::TransferId i = 0; i < commands; ++i) {
    kasse->submit(busy, bulk(200 + i, bulk_out, 31, read_block(blocks)));
    kasse->submit(busy, bulk(300 + i, bulk_in, blocks * 512));
    kasse->submit(busy, bulk(400 + i, bulk_in, 13));
  }
  kasse->submit(quiet, usb::control_transfer(500, usb::get_descriptor(1, 0, 0, 18)));
  ASSERT_TRUE(until([&] { return kasse->completed(quiet, 500).has_value(); }));
  EXPECT_FALSE(kasse->completed(busy, 300 + commands - 1));
  ASSERT_TRUE(until([&] { return kasse->completed(busy, 400 + commands - 1).has_value(); }));
}

TEST_F(ServerTest, ARenewedCertificateTakesOverAsWell) {
  start(map(serial_a, "kasse-01"));
  const auto before = till("kasse-01-old");
  ASSERT_TRUE(before->connect_and_import());
  const auto after = till("kasse-01");
  ASSERT_TRUE(after->connect_and_import());
  ASSERT_TRUE(until([&] { return before->closed; }));
}

TEST_F(ServerTest, ACertificateThatTheMappingDoesNotAcceptPushesNobodyOut) {
  start(map(serial_a, "kasse-01",
            "fingerprint = \"" + test::Certificates::get().fingerprint("kasse-01-old") + "\""));
  const auto right = till("kasse-01-old");
  ASSERT_TRUE(right->connect_and_import());
  const auto wrong = till("kasse-01");
  wrong->hello();
  ASSERT_TRUE(until([&] { return !wrong->nothing.empty(); }));
  EXPECT_THAT(wrong->nothing[0], HasSubstr("correct fingerprint in"));
  EXPECT_TRUE(right->inquiry(right->granted[0].stream));
  EXPECT_FALSE(right->closed);
}

TEST_F(ServerTest, AnUnknownAuthorityIsRefused) {
  start(map(serial_a, "stranger"));
  const auto stranger = till("stranger");
  stranger->hello();
  ASSERT_TRUE(until(
      [&] { return bench_.logged("is refused") == 1 && (stranger->closed || stranger->refused); }));
  EXPECT_TRUE(stranger->granted.empty());
  EXPECT_THAT(bench_.log_text(), HasSubstr("certificate"));
}

TEST_F(ServerTest, ReloadTakesAStickFromARunningSessionAndGivesItToAnother) {
  start(map(serial_a, "kasse-01"));
  const auto first = till("kasse-01"), second = till("kasse-02");
  ASSERT_TRUE(first->connect_and_import());
  second->hello();
  ASSERT_TRUE(until([&] { return !second->nothing.empty(); }));
  reload(map(serial_a, "kasse-02"));
  ASSERT_TRUE(until([&] { return !first->revoked.empty() && !second->granted.empty(); }));
  EXPECT_FALSE(first->revoked[0].unplugged);
  EXPECT_THAT(first->revoked[0].reason, HasSubstr("mapped to another till"));
  EXPECT_EQ(bench_.logged("lease ended"), 1U);
  const auto& stick = second->import(second->granted[0].stream, second->granted[0].busid);
  ASSERT_TRUE(until([&] { return stick.imported; }));
  // And back again.
  reload(map(serial_a, "kasse-01"));
  ASSERT_TRUE(until([&] { return first->granted.size() == 2 && !second->revoked.empty(); }));
}

TEST_F(ServerTest, WhatAReloadDoesNotChangeIsSaid) {
  const std::string tables = map(serial_a, "kasse-01");
  const std::string stick = "[[simulated]]\nserial = \"" + serial_a + "\"\nsize_mib = 8\n";
  start(tables, stick);
  reload(tables, stick);
  EXPECT_EQ(bench_.logged("takes effect after a restart"), 0U);
  reload(tables, stick + "delay_us = 10\n");
  EXPECT_EQ(bench_.logged("! [reload] [[simulated]] changed, which takes effect after a restart"),
            1U);
  reload(tables, stick + "[simulation]\ncontrol = \"/run/control\"\n");
  EXPECT_EQ(bench_.logged("! [reload] [simulation] changed"), 1U);
  EXPECT_EQ(bench_.logged("takes effect after a restart"), 2U);
}

TEST_F(ServerTest, ABrokenConfigurationKeepsTheOldOne) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  reload("[[map]]\nstik = \"x\"\n");
  EXPECT_EQ(bench_.logged("! the new configuration is broken and nothing of it is used"), 1U);
  EXPECT_THAT(bench_.log_text(), HasSubstr("did you mean 'stick'?"));
  bench_.run_what_is_due();
  EXPECT_TRUE(kasse->revoked.empty());
  EXPECT_TRUE(kasse->inquiry(kasse->granted[0].stream));
}

TEST_F(ServerTest, OneBrokenConversationDoesNotEndTheLink) {
  start(map(serial_a, "kasse-01") + map(serial_b, "kasse-01"));
  const auto kasse = till("kasse-01");
  kasse->hello();
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 2; }));
  const auto& good = kasse->import(kasse->granted[1].stream, kasse->granted[1].busid);
  kasse->send_raw(kasse->granted[0].stream, Bytes(64, 0xEE));
  ASSERT_TRUE(until([&] { return good.imported && !kasse->revoked.empty(); }));
  EXPECT_EQ(kasse->revoked[0].stream, kasse->granted[0].stream);
  EXPECT_TRUE(kasse->inquiry(kasse->granted[1].stream));
}

TEST_F(ServerTest, AStreamThatWasNeverGivenEndsTheLink) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  kasse->send_raw(99, {1, 2, 3});
  ASSERT_TRUE(until([&] { return kasse->closed; }));
  EXPECT_EQ(bench_.logged("it used stream 99, which it was not given"), 1U);
  EXPECT_EQ(bench_.logged("lease ended"), 1U) << "it is not waited for";
}

TEST_F(ServerTest, SaysGoodbyeWhenItEnds) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  bool stopped = false;
  server_->stop([&] {
    stopped = true;
    bench_.poke();
  });
  EXPECT_EQ(bench_.logged("lease ended"), 1U) << "at once";
  ASSERT_TRUE(until([&] { return stopped && kasse->closed; }));
  ASSERT_TRUE(kasse->goodbye);
  EXPECT_THAT(*kasse->goodbye, HasSubstr("shut down"));
}

TEST_F(ServerTest, CannotListenWhereSomebodyElseDoes) {
  start("");
  std::string text = config_text("");
  const std::string any = "[link]\nlisten = \"127.0.0.1:0\"";
  text.replace(text.find(any), any.size(),
               "[link]\nlisten = \"127.0.0.1:" + std::to_string(server_->link_port()) + "\"");
  const auto config = parse_config(text, file_);
  ASSERT_TRUE(config.ok()) << config.error().message;
  UsbServer second(bench_.loop, *config);
  const auto failure = second.start();
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->code, ExitCode::cannot_listen);
  EXPECT_THAT(failure->error.message, HasSubstr(std::to_string(server_->link_port())));
}

// --- lost connections

/// A status that the stick has no reason to send: runs until it is cancelled.
usb::Transfer endless_read(usb::TransferId id) {
  usb::Transfer read;
  read.id = id;
  read.type = usb::TransferType::bulk;
  read.endpoint = 0x81;
  read.length = 13;
  return read;
}

TEST_F(ServerTest, ALostConnectionIsASlowMoment) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  EXPECT_EQ(kasse->welcome.at(0).resume_grace_s, 60U);
  const link::StreamId stream = kasse->granted[0].stream;
  ASSERT_TRUE(kasse->transfer(stream, usb::control_transfer(1, usb::set_configuration(1))));
  kasse->submit(stream, endless_read(50));
  ASSERT_TRUE(kasse->transfer(stream, usb::control_transfer(51, usb::get_descriptor(1, 0, 0, 18))));
  kasse->cut();
  ASSERT_TRUE(until([&] { return bench_.logged("connection lost") == 1; }));
  EXPECT_EQ(bench_.logged("is kept for it for up to 60 s"), 1U) << bench_.log_text();
  EXPECT_EQ(server_->status(), "2 sticks, 1 in use, 0 tills connected, 1 till waited for");
  EXPECT_TRUE(server_->registry().sticks().at(0)->lease->record().away_since.has_value());
  kasse->submit(stream, usb::control_transfer(52, usb::get_descriptor(1, 0, 0, 18)));  // waits
  kasse->reconnect();
  ASSERT_TRUE(until([&] { return kasse->completed(stream, 52).has_value(); })) << bench_.log_text();
  EXPECT_EQ(kasse->resumed, (std::vector<bool>{false, true}));
  EXPECT_EQ(kasse->completed(stream, 52), usb::TransferStatus::success);
  EXPECT_EQ(kasse->completed(stream, 50), std::nullopt) << "still runs";
  EXPECT_EQ(bench_.logged("goes on with its session after 0"), 1U) << bench_.log_text();
  kasse->cancel(stream, 50);
  ASSERT_TRUE(until([&] { return kasse->completed(stream, 50).has_value(); }));
  EXPECT_EQ(kasse->completed(stream, 50), usb::TransferStatus::cancelled);
  EXPECT_EQ(kasse->granted.size(), 1U);
  EXPECT_TRUE(kasse->revoked.empty());
  EXPECT_EQ(bench_.logged("lease begun"), 1U);
  EXPECT_FALSE(server_->registry().sticks().at(0)->lease->record().away_since.has_value());
  kasse->say(link::Goodbye{"the session has ended"});
  ASSERT_TRUE(until([&] { return bench_.logged("lease ended") == 1; }));
  EXPECT_EQ(bench_.logged("1 time without a connection"), 1U) << bench_.log_text();
}

TEST_F(ServerTest, ManyCutsInARow) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  const link::StreamId stream = kasse->granted[0].stream;
  for (usb::TransferId id = 100; id < 120; ++id) {
    kasse->submit(stream, usb::control_transfer(id, usb::get_descriptor(1, 0, 0, 18)));
    kasse->cut();
    kasse->reconnect();
    ASSERT_TRUE(until([&] { return kasse->completed(stream, id).has_value(); }));
    EXPECT_EQ(kasse->completed(stream, id), usb::TransferStatus::success);
  }
  EXPECT_EQ(bench_.logged("lease begun"), 1U);
  EXPECT_EQ(kasse->resumed.size(), 21U);
}

TEST_F(ServerTest, AConnectionThatIsBelievedAliveIsReplacedByTheNextOfItsSession) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  kasse->reconnect();  // the server has not heard that the first one is gone
  ASSERT_TRUE(until([&] { return kasse->resumed.size() == 2; }));
  EXPECT_TRUE(kasse->resumed[1]);
  EXPECT_TRUE(kasse->inquiry(kasse->granted[0].stream));
  EXPECT_EQ(bench_.logged("lease begun"), 1U);
}

TEST_F(ServerTest, AfterTheGraceTimeTheLeaseEndsAndTheTillBeginsAnew) {
  grace_s_ = 1;
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  kasse->cut();
  ASSERT_TRUE(until([&] { return bench_.logged("lease ended") == 1; }));
  EXPECT_EQ(bench_.logged("is given up: it did not come back within 1 s"), 1U);
  kasse->reconnect();
  ASSERT_TRUE(until([&] { return kasse->resumed.size() == 2; }));
  EXPECT_FALSE(kasse->resumed[1]);
  kasse->hello();
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 2; }));
}

TEST_F(ServerTest, ARestartedServerBeginsANewSession) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  server_.reset();  // as if killed
  ASSERT_TRUE(until([&] { return kasse->closed; }));
  kasse->cut();
  start(map(serial_a, "kasse-01"));
  kasse->reconnect(server_->link_port());
  ASSERT_TRUE(until([&] { return kasse->resumed.size() == 2; }));
  EXPECT_FALSE(kasse->resumed[1]);
  EXPECT_TRUE(kasse->connect_and_import());
}

TEST_F(ServerTest, AnotherSessionOfTheTillTakesOverFromOneThatIsWaitedFor) {
  start(map(serial_a, "kasse-01"));
  const auto before = till("kasse-01");
  ASSERT_TRUE(before->connect_and_import());
  before->cut();
  ASSERT_TRUE(until([&] { return bench_.logged("connection lost") == 1; }));
  const auto after = till("kasse-01");  // the thin client was rebooted
  ASSERT_TRUE(after->connect_and_import()) << bench_.log_text();
  EXPECT_EQ(bench_.logged("takes over"), 1U);
  EXPECT_TRUE(after->inquiry(after->granted[0].stream));
  before->reconnect();
  ASSERT_TRUE(until([&] { return before->resumed.size() == 2; }));
  EXPECT_FALSE(before->resumed[1]) << "its session is over";
}

TEST_F(ServerTest, ASessionBelongsToTheCertificateThatOpenedIt) {
  start(map(serial_a, "kasse-01") + map(serial_b, "kasse-02"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  for (const bool away : {false, true}) {
    if (away) kasse->cut();
    for (const std::string name : {"kasse-02", "kasse-01-old"}) {
      TestTill thief(bench_, server_->link_port(), name, kasse->session());
      ASSERT_TRUE(until([&] { return thief.closed; }));
      ASSERT_TRUE(thief.failed);
      EXPECT_THAT(*thief.failed, HasSubstr("belongs to another certificate"));
      EXPECT_TRUE(thief.resumed.empty());
    }
  }
  EXPECT_EQ(bench_.logged("is turned away: the session that it asks for belongs"), 4U);
  std::size_t warnings = 0;
  std::istringstream lines(bench_.log_text());
  for (std::string line; std::getline(lines, line);) {
    warnings +=
        line.starts_with("! ") && line.find("is turned away") != std::string::npos ? 1U : 0U;
  }
  EXPECT_EQ(warnings, 2U) << "one for each peer, however often it tries";
  kasse->reconnect();
  ASSERT_TRUE(until([&] { return kasse->resumed.size() == 2; }));
  EXPECT_TRUE(kasse->resumed[1]);
  EXPECT_TRUE(kasse->inquiry(kasse->granted[0].stream));
}

TEST_F(ServerTest, AnOlderConnectionThatComesLateIsTurnedAway) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  // A fresh endpoint counts its connections from 1 again: as late as can be.
  TestTill late(bench_, server_->link_port(), "kasse-01", kasse->session());
  ASSERT_TRUE(until([&] { return late.closed; }));
  ASSERT_TRUE(late.failed);
  EXPECT_THAT(*late.failed, HasSubstr("a newer connection of its session is here"));
  EXPECT_FALSE(kasse->closed);
  EXPECT_TRUE(kasse->inquiry(kasse->granted[0].stream));
}

/// A till that says these bytes and nothing else.
class RawTill {
 public:
  RawTill(test::Bench& bench, std::uint16_t port, const std::string& name, Bytes bytes)
      : bench_(bench) {
    const test::Certificates& pki = test::Certificates::get();
    auto tls = transport::TlsContext::load({pki.certificate(name), pki.key(name), pki.authority()},
                                           transport::TlsContext::Side::client, link::alpn);
    connecting_ = transport::connect(
        bench.loop, "127.0.0.1", port, *tls, "localhost",
        [this, bytes = std::move(bytes)](Result<std::unique_ptr<transport::Stream>> result) {
          ASSERT_TRUE(result.ok()) << result.error().message;
          stream_ = std::move(*result);
          stream_->start({[this](ByteView part) { heard.append(part.begin(), part.end()); },
                          {},
                          [this](const std::optional<Error>&) {
                            closed = true;
                            bench_.poke();
                          }});
          stream_->write(bytes);
        });
  }
  std::string heard;
  bool closed = false;

 private:
  test::Bench& bench_;
  std::unique_ptr<transport::Connecting> connecting_;
  std::unique_ptr<transport::Stream> stream_;
};

TEST_F(ServerTest, AClaimThatCannotBeTrueIsRefusedAndEndsTheSession) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  kasse->cut();
  ASSERT_TRUE(until([&] { return bench_.logged("connection lost") == 1; }));
  RawTill liar(bench_, server_->link_port(), "kasse-01",
               tillbridge::test::frame(
                   1, 0, 9, tillbridge::test::hello_payload(1, 0, kasse->session(), 1'000'000)));
  ASSERT_TRUE(until([&] { return liar.closed && bench_.logged("lease ended") == 1; }));
  EXPECT_EQ(bench_.logged("it wants to go on with data frame 1000000"), 1U);
  EXPECT_THAT(liar.heard, HasSubstr("it wants to go on with data frame 1000000"));
  kasse->reconnect();
  ASSERT_TRUE(until([&] { return kasse->resumed.size() == 2; }));
  EXPECT_FALSE(kasse->resumed[1]);
  EXPECT_TRUE(kasse->connect_and_import()) << "the stick is free";
}

TEST_F(ServerTest, WhoeverSaysNoHelloHearsSo) {
  start(map(serial_a, "kasse-01"));
  RawTill stranger(bench_, server_->link_port(), "kasse-01", {'G', 'E', 'T', ' ', '/'});
  RawTill other_version(bench_, server_->link_port(), "kasse-01",
                        tillbridge::test::frame(1, 0, 1, tillbridge::test::hello_payload(9)));
  ASSERT_TRUE(until([&] { return other_version.closed; }));
  EXPECT_THAT(other_version.heard, HasSubstr("update the USB server"));
  EXPECT_FALSE(stranger.closed) << "five bytes are no frame yet";
  EXPECT_EQ(server_->status(), "2 sticks, 0 in use, 0 tills connected");
}

TEST_F(ServerTest, WhatChangesWhileATillIsAwayReachesItWhenItIsBack) {
  start(map(serial_a, "kasse-01") + map(serial_b, "kasse-01"));
  const auto kasse = till("kasse-01"), other = till("kasse-02");
  ASSERT_TRUE(kasse->connect_and_import());
  ASSERT_TRUE(until([&] { return kasse->granted.size() == 2; }));
  other->hello();
  kasse->cut();
  ASSERT_TRUE(until([&] { return bench_.logged("connection lost") == 1; }));
  reload(map(serial_b, "kasse-01") + map(serial_a, "kasse-02"));
  ASSERT_TRUE(until([&] { return !other->granted.empty(); })) << "the admin's word counts at once";
  ASSERT_TRUE(server_->simulated()->unplug(serial_b).ok());
  kasse->reconnect();
  ASSERT_TRUE(until([&] { return kasse->revoked.size() == 2; }));
  EXPECT_TRUE(kasse->resumed[1]);
  EXPECT_EQ(kasse->revoked[0].stream, kasse->granted[0].stream);
  EXPECT_TRUE(kasse->revoked[1].unplugged);
}

TEST_F(ServerTest, StoppingDoesNotWaitForTillsThatAreAway) {
  start(map(serial_a, "kasse-01"));
  const auto kasse = till("kasse-01");
  ASSERT_TRUE(kasse->connect_and_import());
  kasse->cut();
  ASSERT_TRUE(until([&] { return bench_.logged("connection lost") == 1; }));
  bool stopped = false;
  server_->stop([&] {
    stopped = true;
    bench_.poke();
  });
  EXPECT_EQ(bench_.logged("lease ended"), 1U);
  ASSERT_TRUE(until([&] { return stopped; }));
}

// --- plain USB/IP
// ----------------------------------------------------------------------------------------

/// A plain USB/IP client.
class UsbipClient {
 public:
  UsbipClient(test::Bench& bench, std::uint16_t port, Bytes request) : bench_(bench) {
    connecting_ = transport::connect(
        bench.loop, "127.0.0.1", port, std::nullopt, "",
        [this, request = std::move(request)](Result<std::unique_ptr<transport::Stream>> result) {
          ASSERT_TRUE(result.ok()) << result.error().message;
          stream_ = std::move(*result);
          stream_->start({[this](ByteView bytes) {
                            received.insert(received.end(), bytes.begin(), bytes.end());
                            bench_.poke();
                          },
                          {},
                          [this](const std::optional<Error>&) {
                            closed = true;
                            bench_.poke();
                          }});
          stream_->write(request);
        });
  }
  Bytes received;
  bool closed = false;

 private:
  test::Bench& bench_;
  std::unique_ptr<transport::Connecting> connecting_;
  std::unique_ptr<transport::Stream> stream_;
};

constexpr std::size_t import_reply_bytes = usbip::OperationHeader::size + usbip::DeviceRecord::size;

TEST_F(ServerTest, PlainUsbipShowsOnlyWhatIsMappedToIt) {
  start(map(serial_a, "usbip:127.0.0.1") + map(serial_b, "kasse-01"));
  EXPECT_EQ(bench_.logged("neither encrypted nor authenticated"), 1U);
  UsbipClient client(bench_, server_->usbip_port(), usbip::encode_device_list_request());
  ASSERT_TRUE(until([&] { return client.closed; }));
  const std::string text(client.received.begin(), client.received.end());
  EXPECT_THAT(text, HasSubstr("simulated-1"));
  EXPECT_EQ(text.find("simulated-2"), std::string::npos);
}

TEST_F(ServerTest, PlainUsbipImportsByPortAndByIdentity) {
  start(map(serial_a, "usbip:*"));
  for (const std::string busid : {"simulated-1", "1209:0001:5A2F00000001"}) {
    UsbipClient client(bench_, server_->usbip_port(), usbip::encode_import_request(busid));
    ASSERT_TRUE(
        until([&] { return client.closed || client.received.size() >= import_reply_bytes; }));
    const auto header = usbip::decode_operation_header(
        ByteView(client.received).first(usbip::OperationHeader::size));
    ASSERT_TRUE(header.ok());
    EXPECT_EQ(header->status, 0U) << busid;
    const auto record = usbip::decode_device_record(
        ByteView(client.received).subspan(usbip::OperationHeader::size));
    ASSERT_TRUE(record.ok());
    EXPECT_EQ(record->busid, busid) << "the stock client compares it";
    EXPECT_EQ(record->vendor_id, 0x1209);
    EXPECT_EQ(record->speed, 3U);
    const std::size_t leases = bench_.logged("lease begun");
    // A second client while the first has it.
    UsbipClient second(bench_, server_->usbip_port(), usbip::encode_import_request(busid));
    ASSERT_TRUE(until([&] { return second.closed; }));
    EXPECT_EQ(bench_.logged("lease begun"), leases);
    EXPECT_NE(usbip::decode_operation_header(
                  ByteView(second.received).first(usbip::OperationHeader::size))
                  ->status,
              0U);
  }
}

TEST_F(ServerTest, PlainUsbipLosesAStickThatIsMappedAway) {
  start(map(serial_a, "usbip:*"));
  UsbipClient client(bench_, server_->usbip_port(), usbip::encode_import_request("simulated-1"));
  ASSERT_TRUE(until([&] { return client.received.size() >= import_reply_bytes; }));
  reload(map(serial_a, "kasse-01"));
  ASSERT_TRUE(until([&] { return client.closed; }));
  EXPECT_EQ(bench_.logged("lease ended"), 1U);
}

TEST_F(ServerTest, PlainUsbipRefusesTheSticksOfTills) {
  start(map(serial_a, "kasse-01"));
  UsbipClient client(bench_, server_->usbip_port(), usbip::encode_import_request("simulated-1"));
  ASSERT_TRUE(until([&] { return client.closed; }));
  EXPECT_EQ(bench_.logged("lease begun"), 0U);
  EXPECT_EQ(bench_.logged("no stick 'simulated-1' is mapped to this address"), 1U);
}

}  // namespace
}  // namespace tillbridge::server
