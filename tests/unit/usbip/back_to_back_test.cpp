// Importer and exporter against each other: bytes cut at random, transfers cancelled at random,
// each seed its own story.
#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "channel/bytes/limits.hpp"
#include "channel/usb/device_reader.hpp"
#include "tests/unit/usbip/support.hpp"

namespace tillbridge::usbip {
namespace {

using namespace test;
using usb::TransferStatus;

struct Chain {
  explicit Chain(std::uint32_t seed)
      : random(seed), importer("1-1.4"), exporter(Exporter::Start::await_request) {}

  std::uint32_t below(std::uint32_t limit) { return static_cast<std::uint32_t>(random()) % limit; }

  /// Moves what each end has to say into its wire, then hands a random piece of one wire on.
  void step() {
    while (auto output = importer.poll()) {
      if (auto* send = std::get_if<Importer::Send>(&*output))
        to_exporter = to_exporter + send->bytes;
      if (auto* completed = std::get_if<Importer::Completed>(&*output)) {
        ASSERT_TRUE(results.emplace(completed->completion.id, completed->completion).second)
            << "completed twice";
      }
      if (std::holds_alternative<Importer::Imported>(*output)) imported = true;
      ASSERT_FALSE(std::holds_alternative<Importer::Failed>(*output));
    }
    while (auto output = exporter.poll()) {
      if (auto* send = std::get_if<Exporter::Send>(&*output))
        to_importer = to_importer + send->bytes;
      if (auto* wanted = std::get_if<Exporter::ImportWanted>(&*output)) {
        EXPECT_EQ(wanted->busid, "1-1.4");
        exporter.import_granted(stick());
      }
      if (auto* submit = std::get_if<Exporter::Submit>(&*output))
        at_device.push_back(submit->transfer);
      if (auto* cancel = std::get_if<Exporter::Cancel>(&*output))
        cancelled_at_device.push_back(cancel->transfer);
      ASSERT_FALSE(std::holds_alternative<Exporter::Close>(*output));
    }
    if (below(2) == 0) {
      hand_on(to_exporter, [this](ByteView bytes) { exporter.receive(bytes); });
    } else {
      hand_on(to_importer, [this](ByteView bytes) { importer.receive(bytes); });
    }
  }

  template <typename Receive>
  void hand_on(Bytes& wire, Receive receive) {
    if (wire.empty()) return;
    const std::uint32_t most = below(3) == 0 ? 3 : 60000;
    const std::size_t size = std::min<std::size_t>(wire.size(), 1 + below(most));
    receive(ByteView(wire).first(size));
    wire.erase(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(size));
  }

  std::mt19937 random;
  Importer importer;
  Exporter exporter;
  Bytes to_exporter, to_importer;
  bool imported = false;
  std::map<usb::TransferId, usb::Completion> results;
  std::vector<usb::Transfer> at_device;
  std::vector<usb::TransferId> cancelled_at_device;
};

/// What the device does with a transfer: everything about it follows from its length.
usb::Completion result_of(const usb::Transfer& transfer) {
  if (transfer.length % 7 == 3) return ended(transfer.id, TransferStatus::stall);
  if (!transfer.in()) return done_out(transfer.id, transfer.length);
  return done(transfer.id, pattern(transfer.length % 5 == 0 ? transfer.length / 2 : transfer.length,
                                   transfer.length));
}

class BackToBack : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(BackToBack, EveryTransferCompletesOnceAndUnchanged) {
  Chain chain(GetParam());
  chain.importer.start();
  std::map<usb::TransferId, usb::Transfer> submitted;
  std::set<usb::TransferId> cancelled;
  for (int steps = 0;
       steps < 200000 && (submitted.size() < 300 || chain.results.size() < submitted.size());
       ++steps) {
    chain.step();
    if (HasFatalFailure()) return;
    if (!chain.imported) continue;
    if (submitted.size() < 300 && chain.below(4) == 0) {
      const auto id = static_cast<usb::TransferId>(submitted.size() + 1);
      const std::uint32_t length = chain.below(20) == 0 ? chain.below(200000) : chain.below(600);
      auto transfer = bulk_transfer(id, chain.below(2) == 0 ? 0x81 : 0x02, length);
      submitted.emplace(id, transfer);
      chain.importer.submit(std::move(transfer));
    }
    if (!submitted.empty() && chain.below(8) == 0) {  // one of the last few, which may still run
      const auto count = static_cast<std::uint32_t>(submitted.size());
      const usb::TransferId id = count - chain.below(std::min(count, 6U));
      if (!chain.results.contains(id)) cancelled.insert(id);
      chain.importer.cancel(id);
    }
    if (!chain.at_device.empty() && chain.below(3) == 0) {
      const auto at =
          chain.at_device.begin() + chain.below(static_cast<std::uint32_t>(chain.at_device.size()));
      const usb::Transfer transfer = *at;
      chain.at_device.erase(at);
      const bool cancel = std::count(chain.cancelled_at_device.begin(),
                                     chain.cancelled_at_device.end(), transfer.id) > 0;
      // A cancel may come too late at the device as well.
      if (cancel && chain.below(3) != 0) {
        chain.exporter.complete(ended(transfer.id, TransferStatus::cancelled));
      } else {
        const auto original =
            std::find_if(submitted.begin(), submitted.end(), [&](const auto& entry) {
              return entry.second.length == transfer.length && entry.second.data == transfer.data &&
                     entry.second.endpoint == transfer.endpoint;
            });
        ASSERT_NE(original, submitted.end()) << "the device got something that nobody sent";
        chain.exporter.complete(result_of(transfer));
      }
    }
  }
  ASSERT_EQ(submitted.size(), 300U);
  ASSERT_EQ(chain.results.size(), submitted.size());
  std::size_t won = 0;
  for (const auto& [id, completion] : chain.results) {
    if (completion.status == TransferStatus::cancelled) {
      EXPECT_TRUE(cancelled.contains(id)) << "nobody cancelled it";
      ++won;
      continue;
    }
    auto expected = result_of(submitted.at(id));
    expected.id = id;
    EXPECT_EQ(completion, expected);
  }
  EXPECT_GT(won, 0U);
  EXPECT_LT(won, cancelled.size()) << "both outcomes of the race must occur";
  EXPECT_TRUE(chain.exporter.running().empty());
  EXPECT_FALSE(chain.exporter.poll_notice());
}

INSTANTIATE_TEST_SUITE_P(Seeds, BackToBack, ::testing::Range(1U, 21U));

TEST(BackToBackReader, ADeviceIsReadThroughTheWire) {
  Chain chain(5);
  chain.importer.start();
  usb::DeviceReader reader(usb::Speed::high, "1-1.4");
  usb::TransferId id = 0;
  for (int steps = 0; steps < 20000 && !reader.done(); ++steps) {
    chain.step();
    if (HasFatalFailure()) return;
    if (chain.imported) {
      if (auto transfer = reader.next(id + 1)) {
        ++id;
        chain.importer.submit(*transfer);
      }
    }
    while (!chain.at_device.empty()) {
      const auto transfer = chain.at_device.back();
      chain.at_device.pop_back();
      Bytes answer;
      if (transfer.setup.value == 0x0100) answer = usb::encode(stick().device);
      if (transfer.setup.value == 0x0200) answer = stick().configurations[0].raw;
      if (transfer.setup.value == 0x0201) answer = stick().configurations[1].raw;
      if (transfer.setup.request == usb::request::get_configuration) answer = {1};
      answer.resize(std::min<std::size_t>(answer.size(), transfer.length));
      chain.exporter.complete(done(transfer.id, answer));
    }
    if (const auto found = chain.results.find(id); found != chain.results.end())
      reader.complete(found->second);
  }
  const auto result = reader.result();
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(result->configurations, stick().configurations);
  EXPECT_EQ(result->device, stick().device);
  EXPECT_EQ(result->active_configuration, 1);
}

}  // namespace
}  // namespace tillbridge::usbip
