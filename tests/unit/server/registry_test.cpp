// Who may have which stick, with simulated sticks and without any network.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench.hpp"
#include "channel/massstorage/command_block.hpp"
#include "channel/usb/requests.hpp"
#include "server/simulator/factory.hpp"
#include "server/usb/simulated_source.hpp"
#include "server/usb/stick_registry.hpp"

namespace tillbridge::server {
namespace {

using ::testing::HasSubstr;

const TillIdentity kasse_1{TillIdentity::Kind::certificate, "kasse-01", "aa"};
const TillIdentity kasse_2{TillIdentity::Kind::certificate, "kasse-02", "bb"};
const TillIdentity office_pc{TillIdentity::Kind::usbip_address, "192.0.2.7", ""};

Mapping mapping(const std::string& stick, const std::string& till,
                const std::string& fingerprint = "") {
  Mapping mapping;
  mapping.stick = *StickPattern::parse(stick);
  mapping.till = till;
  mapping.fingerprint = fingerprint;
  return mapping;
}

class RegistryTest : public ::testing::Test {
 protected:
  struct Wanted {
    const char* serial;
    std::uint16_t product_id = 1;
    const char* kind = "mass-storage";
  };

  void start(const std::vector<Wanted>& wanted, std::vector<Mapping> mappings) {
    std::vector<std::unique_ptr<simulator::Device>> devices;
    for (const Wanted& one : wanted) {
      simulator::DeviceOptions options;
      options.kind = one.kind;
      options.serial = one.serial;
      options.product_id = one.product_id;
      options.path = "simulated-" + std::to_string(devices.size() + 1);
      options.size_mib = 8;
      auto device = simulator::make_device(options);
      ASSERT_TRUE(device.ok()) << device.error().message;
      devices.push_back(std::move(*device));
    }
    auto source = std::make_unique<SimulatedSource>(bench_.loop, std::move(devices));
    source_ = source.get();
    registry_.add(std::move(source));
    apply(std::move(mappings));
    registry_.start();
    bench_.run_what_is_due();
  }

  void apply(std::vector<Mapping> mappings) {
    Rules rules;
    rules.mappings = std::move(mappings);
    rules.file = "t.toml";
    registry_.apply(std::move(rules));
  }

  const PresentStick& stick(std::size_t index) { return *registry_.sticks().at(index); }

  Result<std::unique_ptr<Lease>> lease(std::size_t index, const TillIdentity& till) {
    LeaseRecord record;
    record.till = till.name;
    record.address = "192.0.2.1:5";
    return registry_.lease(stick(index).stay, till, record,
                           {[this](const Status& status) {
                              opened_.push_back(status.ok());
                              bench_.poke();
                            },
                            [this](const usb::Completion& completion) {
                              completions_.push_back(completion);
                              bench_.poke();
                            }});
  }

  usb::Completion run(Lease& lease, usb::Transfer transfer) {
    const std::size_t before = completions_.size();
    lease.submit(std::move(transfer));
    EXPECT_EQ(completions_.size(), before) << "never from within a call";
    EXPECT_TRUE(bench_.run_until([&] { return completions_.size() > before; }));
    return completions_.back();
  }

  test::Bench bench_;
  StickRegistry registry_{bench_.loop};
  SimulatedSource* source_ = nullptr;
  std::vector<bool> opened_;
  std::vector<usb::Completion> completions_;
};

const std::string serial_a = "5A2F00000001", serial_b = "5A2F00000002";

TEST_F(RegistryTest, OnlyTheTillOfTheMappingMayLease) {
  start({{serial_a.c_str()}}, {mapping("1209:0001:" + serial_a, "kasse-01")});
  ASSERT_EQ(registry_.sticks().size(), 1U);
  EXPECT_TRUE(stick(0).exported_to(kasse_1));
  EXPECT_FALSE(stick(0).exported_to(kasse_2));
  EXPECT_FALSE(stick(0).exported_to(office_pc));
  const auto refused = lease(0, kasse_2);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message,
              HasSubstr("is mapped to till kasse-01; unmap it in t.toml or map another one"));
}

TEST_F(RegistryTest, ALeaseIsExclusiveAndSaysByWhom) {
  start({{serial_a.c_str()}}, {mapping(serial_a, "kasse-01")});
  auto first = lease(0, kasse_1);
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(opened_.empty()) << "never from within a call";
  ASSERT_TRUE(bench_.run_until([&] { return opened_.size() == 1; }));
  EXPECT_TRUE(opened_[0]);
  ASSERT_NE(stick(0).lease, nullptr);
  EXPECT_EQ(stick(0).lease->record().till, "kasse-01");
  const auto second = lease(0, kasse_1);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().message, HasSubstr("in use by till kasse-01 at 192.0.2.1:5"));
  EXPECT_EQ(registry_.leases(), 1U);
  first.value().reset();
  EXPECT_EQ(registry_.leases(), 0U);
  EXPECT_TRUE(lease(0, kasse_1).ok());
  EXPECT_EQ(bench_.logged("lease begun"), 2U);
  EXPECT_EQ(bench_.logged("lease ended"), 2U);
}

TEST_F(RegistryTest, CountsWhatMoves) {
  start({{serial_a.c_str()}}, {mapping(serial_a, "kasse-01")});
  auto held = lease(0, kasse_1);
  ASSERT_TRUE(held.ok());
  ASSERT_TRUE(bench_.run_until([&] { return !opened_.empty(); }));
  Lease& lease = **held;
  const auto done = run(
      lease, usb::control_transfer(9, usb::get_descriptor(usb::descriptor_type::device, 0, 0, 18)));
  EXPECT_EQ(done.status, usb::TransferStatus::success);
  EXPECT_EQ(done.data.size(), 18U);
  EXPECT_EQ(lease.record().transfers, 1U);
  EXPECT_EQ(lease.record().bytes_in, 18U);
  EXPECT_EQ(lease.record().bytes_out, 0U);
}

TEST_F(RegistryTest, AnUnmappedStickSaysHowToMapIt) {
  start({{serial_a.c_str()}}, {});
  EXPECT_FALSE(stick(0).exported_to(kasse_1));
  EXPECT_EQ(bench_.logged("belongs to no till; to map it: tillbridge map 1209:0001:" + serial_a +
                          " TILL"),
            1U);
}

TEST_F(RegistryTest, AFingerprintPinsTheCertificate) {
  start({{serial_a.c_str()}}, {mapping(serial_a, "kasse-01", "cc")});
  EXPECT_FALSE(stick(0).exported_to(kasse_1));
  EXPECT_TRUE(
      stick(0).exported_to(TillIdentity{TillIdentity::Kind::certificate, "kasse-01", "cc"}));
}

TEST_F(RegistryTest, PlainUsbipClientsAndTillsDoNotMix) {
  start({{serial_a.c_str()}, {serial_b.c_str()}},
        {mapping(serial_a, "usbip:192.0.2.7"), mapping(serial_b, "usbip:*")});
  EXPECT_TRUE(stick(0).exported_to(office_pc));
  EXPECT_FALSE(
      stick(0).exported_to(TillIdentity{TillIdentity::Kind::usbip_address, "192.0.2.8", ""}));
  EXPECT_TRUE(stick(1).exported_to(office_pc));
  // A certificate cannot claim to be an address, nor the other way round.
  EXPECT_FALSE(
      stick(0).exported_to(TillIdentity{TillIdentity::Kind::certificate, "usbip:192.0.2.7", "aa"}));
  EXPECT_FALSE(
      stick(1).exported_to(TillIdentity{TillIdentity::Kind::certificate, "usbip:*", "aa"}));
  EXPECT_FALSE(stick(1).exported_to(TillIdentity{TillIdentity::Kind::certificate, "*", "aa"}));
}

TEST_F(RegistryTest, TheSecondOfTwoSticksWithOneIdentityIsRefusedUntilTheFirstLeaves) {
  start({{serial_a.c_str()}, {serial_a.c_str()}}, {mapping("1209:0001:" + serial_a, "kasse-01")});
  EXPECT_TRUE(stick(0).exported_to(kasse_1));
  ASSERT_TRUE(stick(1).refusal);
  EXPECT_THAT(stick(1).refusal->text(), HasSubstr("same identity"));
  EXPECT_EQ(bench_.logged("! stick"), 1U) << bench_.log_text();
  ASSERT_TRUE(source_->unplug("simulated-1").ok());
  ASSERT_EQ(registry_.sticks().size(), 1U);
  EXPECT_TRUE(stick(0).exported_to(kasse_1));
}

TEST_F(RegistryTest, ABareSerialThatFitsTwoModelsIsRefused) {
  start({{serial_a.c_str(), 1}, {serial_a.c_str(), 3}}, {mapping(serial_a, "kasse-01")});
  EXPECT_TRUE(stick(0).exported_to(kasse_1));
  ASSERT_TRUE(stick(1).refusal);
  EXPECT_THAT(stick(1).refusal->text(), HasSubstr("write VID:PID:SERIAL"));
  apply(
      {mapping("1209:0001:" + serial_a, "kasse-01"), mapping("1209:0003:" + serial_a, "kasse-02")});
  EXPECT_TRUE(stick(0).exported_to(kasse_1));
  EXPECT_TRUE(stick(1).exported_to(kasse_2));
}

TEST_F(RegistryTest, NewRulesJudgeTheSticksAnew) {
  start({{serial_a.c_str()}}, {mapping(serial_a, "kasse-01")});
  int changes = 0;
  registry_.watch([&] { ++changes; });
  apply({mapping(serial_a, "kasse-02")});
  EXPECT_EQ(changes, 0) << "never from within a call";
  bench_.run_what_is_due();
  EXPECT_EQ(changes, 1);
  EXPECT_FALSE(stick(0).exported_to(kasse_1));
  EXPECT_TRUE(stick(0).exported_to(kasse_2));
}

TEST_F(RegistryTest, UnpluggingEndsWhatRunsWithDeviceGone) {
  start({{serial_a.c_str()}}, {mapping(serial_a, "kasse-01")});
  auto held = lease(0, kasse_1);
  ASSERT_TRUE(held.ok());
  ASSERT_TRUE(bench_.run_until([&] { return !opened_.empty(); }));
  Lease& lease = **held;
  ASSERT_EQ(run(lease, usb::control_transfer(1, usb::set_configuration(1))).status,
            usb::TransferStatus::success);
  completions_.clear();
  usb::Transfer read;
  read.id = 5;
  read.type = usb::TransferType::bulk;
  read.endpoint = 0x81;
  read.length = 13;
  lease.submit(read);
  bench_.run_what_is_due();
  EXPECT_TRUE(completions_.empty()) << "a status read waits for a command";
  ASSERT_TRUE(source_->unplug(serial_a).ok());
  ASSERT_EQ(completions_.size(), 1U);
  EXPECT_EQ(completions_[0].id, 5U);
  EXPECT_EQ(completions_[0].status, usb::TransferStatus::device_gone);
  EXPECT_TRUE(registry_.sticks().empty());
  EXPECT_EQ(bench_.logged("unplugged"), 1U);
  // What comes too late is answered as well.
  read.id = 6;
  EXPECT_EQ(run(lease, read).status, usb::TransferStatus::device_gone);
  held.value().reset();
  // Plugged in again it is another stay of the same stick.
  ASSERT_TRUE(source_->plug(serial_a).ok());
  ASSERT_EQ(registry_.sticks().size(), 1U);
  EXPECT_EQ(stick(0).stay, 2U);
  EXPECT_TRUE(this->lease(0, kasse_1).ok());
}

// --- a command that a till leaves in the middle

constexpr std::uint8_t bulk_in = 0x81, bulk_out = 0x02;

/// What the till did of a command before it died.
struct Abandoned {
  const char* name;
  std::uint8_t operation;
  std::uint8_t flags;
  std::uint32_t data_length;
  std::vector<std::uint32_t> moved;  ///< lengths of the transfers of its data
  std::vector<std::uint32_t> asked;  ///< lengths of reads that still run
  bool aborted = false;              ///< nobody can complete it
};

class AbandonedCommandTest : public RegistryTest, public ::testing::WithParamInterface<Abandoned> {
 protected:
  static usb::Transfer bulk(usb::TransferId id, std::uint8_t endpoint, std::uint32_t length,
                            Bytes data = {}) {
    usb::Transfer transfer;
    transfer.id = id;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = endpoint;
    transfer.length = length;
    transfer.data = std::move(data);
    return transfer;
  }
  static Bytes block(std::uint32_t tag, std::uint8_t operation, std::uint8_t flags,
                     std::uint32_t length) {
    massstorage::CommandBlock made;
    made.tag = tag;
    made.flags = flags;
    made.data_length = length;
    made.cdb.length = 10;
    made.cdb.bytes[0] = operation;
    made.cdb.bytes[8] = static_cast<std::uint8_t>(length / 512);  // blocks, where it counts them
    if (operation == 0x12) made.cdb.bytes[4] = static_cast<std::uint8_t>(length);
    return massstorage::encode(made);
  }
};

TEST_P(AbandonedCommandTest, IsEndedBeforeTheNextTillHasTheStick) {
  const Abandoned& abandoned = GetParam();
  start({{serial_a.c_str()}}, {mapping(serial_a, "kasse-01")});
  {
    auto held = lease(0, kasse_1);
    ASSERT_TRUE(held.ok());
    ASSERT_TRUE(bench_.run_until([&] { return !opened_.empty(); }));
    Lease& first = **held;
    run(first, usb::control_transfer(1, usb::set_configuration(1)));
    for (int i = 0; i < 2; ++i) {  // the first one is refused: unit attention
      run(first, bulk(2, bulk_out, 31, block(6, 0x00, 0, 0)));
      ASSERT_EQ(run(first, bulk(3, bulk_in, 13)).data.size(), 13U);
    }
    run(first, bulk(2, bulk_out, 31,
                    block(7, abandoned.operation, abandoned.flags, abandoned.data_length)));
    usb::TransferId id = 10;
    for (const std::uint32_t length : abandoned.moved) {
      const bool in = abandoned.flags != 0;
      run(first, bulk(++id, in ? bulk_in : bulk_out, length, in ? Bytes() : Bytes(length, 0xAA)));
    }
    for (const std::uint32_t length : abandoned.asked) first.submit(bulk(++id, bulk_in, length));
    first.ends_because(LeaseEnd::lost);
    completions_.clear();
  }
  EXPECT_EQ(registry_.unfinished(), 1U);
  opened_.clear();
  auto held = lease(0, kasse_1);  // at once
  ASSERT_TRUE(held.ok()) << held.error().message;
  ASSERT_TRUE(bench_.run_until([&] { return !opened_.empty(); }));
  EXPECT_EQ(registry_.unfinished(), 0U);
  EXPECT_TRUE(completions_.empty()) << "nothing of the first till's comes to the second";
  // It touches nothing, and the stick waits for a command.
  Lease& second = **held;
  EXPECT_EQ(run(second, bulk(1, bulk_out, 31, block(8, 0x00, 0, 0))).status,
            usb::TransferStatus::success);
  const auto status = run(second, bulk(2, bulk_in, 13));
  massstorage::CommandBlock asked;
  asked.tag = 8;
  EXPECT_TRUE(massstorage::parse_status_block(status.data, asked).ok()) << bench_.log_text();
  const std::string witness = *source_->witness(serial_a);
  EXPECT_THAT(witness, HasSubstr("\"bus_resets\":0"));
  EXPECT_THAT(witness, HasSubstr("\"power_cycles\":0"));
  EXPECT_THAT(witness, HasSubstr("\"class_resets\":" + std::to_string(abandoned.aborted ? 1 : 0)))
      << bench_.log_text();
}

INSTANTIATE_TEST_SUITE_P(
    All, AbandonedCommandTest,
    ::testing::Values(Abandoned{"Begun", 0x28, 0x80, 4096, {}, {}},
                      Abandoned{"ReadButForAnOddRest", 0x28, 0x80, 4096, {512}, {}},
                      Abandoned{"AskedForMoreThanItHas", 0x28, 0x80, 4096, {512}, {4096}},
                      Abandoned{"HalfRead", 0x28, 0x80, 4096, {512, 512}, {}},
                      Abandoned{"AllReadButItsStatus", 0x28, 0x80, 4096, {4096}, {}},
                      Abandoned{"AllAskedFor", 0x28, 0x80, 4096, {}, {4096, 13}},
                      Abandoned{"ShorterThanAskedFor", 0x12, 0x80, 255, {}, {}},
                      Abandoned{"StalledInsteadOfData", 0xC0, 0x80, 512, {512}, {}},
                      Abandoned{"StalledWhatIsWritten", 0xC0, 0, 1024, {1024}, {}},
                      Abandoned{"WithoutData", 0x00, 0, 0, {}, {}},
                      Abandoned{"WrittenButItsStatus", 0x2A, 0, 1024, {1024}, {}},
                      Abandoned{"HalfWritten", 0x2A, 0, 1024, {512}, {}, true}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST_F(RegistryTest, AStickWhoseCommandIsBeingEndedMayLeave) {
  start({{serial_a.c_str()}}, {mapping(serial_a, "kasse-01")});
  {
    auto held = lease(0, kasse_1);
    ASSERT_TRUE(bench_.run_until([&] { return !opened_.empty(); }));
    run(**held, usb::control_transfer(1, usb::set_configuration(1)));
    massstorage::CommandBlock block;
    block.cdb.length = 6;
    usb::Transfer command;
    command.id = 2;
    command.type = usb::TransferType::bulk;
    command.endpoint = bulk_out;
    command.data = massstorage::encode(block);
    command.length = massstorage::CommandBlock::size;
    run(**held, command);
    (*held)->ends_because(LeaseEnd::lost);
  }
  EXPECT_EQ(registry_.unfinished(), 1U);
  ASSERT_TRUE(source_->unplug(serial_a).ok());
  EXPECT_EQ(registry_.unfinished(), 0U);
  ASSERT_TRUE(source_->plug(serial_a).ok());
  opened_.clear();
  const auto again = lease(0, kasse_1);
  ASSERT_TRUE(bench_.run_until([&] { return !opened_.empty(); }));
  EXPECT_TRUE(opened_[0]);
}

class ResetPolicyTest : public RegistryTest, public ::testing::WithParamInterface<ResetPolicy> {};

// A halt on the IN endpoint tells the three apart: a port reset loses the configuration, a
// Bulk-Only reset with CLEAR_FEATURE only the halt, a refusal nothing.
TEST_P(ResetPolicyTest, DecidesWhatAPortResetIs) {
  Mapping with_policy = mapping(serial_a, "kasse-01");
  with_policy.reset = GetParam();
  start({{serial_a.c_str()}}, {with_policy});
  auto held = lease(0, kasse_1);
  ASSERT_TRUE(held.ok());
  ASSERT_TRUE(bench_.run_until([&] { return !opened_.empty(); }));
  Lease& lease = **held;
  ASSERT_EQ(run(lease, usb::control_transfer(1, usb::set_configuration(1))).status,
            usb::TransferStatus::success);
  usb::Transfer nonsense;  // not a command block: both endpoints halt (Bulk-Only Transport 6.6.1)
  nonsense.id = 2;
  nonsense.type = usb::TransferType::bulk;
  nonsense.endpoint = 0x02;
  nonsense.data = Bytes(31, 0);
  nonsense.length = 31;
  run(lease, nonsense);
  usb::SetupPacket get_status{0x82, usb::request::get_status, 0, 0x81, 2};
  usb::SetupPacket get_configuration{0x80, usb::request::get_configuration, 0, 0, 1};
  ASSERT_EQ(run(lease, usb::control_transfer(3, get_status)).data, (Bytes{1, 0})) << "halted";

  completions_.clear();
  lease.submit(usb::control_transfer(4, usb::port_reset()));
  lease.submit(usb::control_transfer(5, get_configuration));  // takes its turn behind the reset
  ASSERT_TRUE(bench_.run_until([&] { return completions_.size() == 2; }));
  EXPECT_EQ(completions_[0].id, 4U);
  EXPECT_EQ(completions_[1].id, 5U);
  const bool pass = GetParam() == ResetPolicy::pass, soften = GetParam() == ResetPolicy::soften;
  EXPECT_EQ(completions_[0].status,
            pass || soften ? usb::TransferStatus::success : usb::TransferStatus::refused);
  EXPECT_EQ(completions_[1].data, pass ? Bytes{0} : Bytes{1})
      << "the configuration is lost by a port reset only";
  if (!pass) {
    EXPECT_EQ(run(lease, usb::control_transfer(6, get_status)).data,
              soften ? (Bytes{0, 0}) : (Bytes{1, 0}));
  }
}

INSTANTIATE_TEST_SUITE_P(All, ResetPolicyTest,
                         ::testing::Values(ResetPolicy::soften, ResetPolicy::pass,
                                           ResetPolicy::refuse),
                         [](const auto& tested) { return std::string(text(tested.param)); });

}  // namespace
}  // namespace tillbridge::server
