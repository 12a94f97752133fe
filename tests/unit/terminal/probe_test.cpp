// The probe against simulated devices, without a channel in between.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/terminal/probe/digest.hpp"
#include "server/terminal/probe/probe_sink.hpp"
#include "server/terminal/probe/samples.hpp"
#include "tests/unit/terminal/test_device.hpp"

namespace tillbridge::terminal::probe {
namespace {

using testing::HasSubstr;

constexpr DeviceId device_id = 1;

/// A session in which every transfer takes 10 µs and every I/O control 4 µs.
class Bench {
 public:
  explicit Bench(Options options) : sink_(std::move(options)) {}

  void plug_in(simulator::Device& device, DeviceId id = device_id) {
    SessionDevice arrived;
    arrived.id = id;
    arrived.description = device.description();
    devices_[id] = &device;
    sink_.device_arrived(std::move(arrived), now_);
  }
  /// Until the sink ends the session, or nothing moves any more.
  void run() {
    for (int idle = 0; idle < 3 && !ended_;) {
      idle = turn() ? 0 : idle + 1;
      sink_.advance(now_);
    }
  }
  void wait_for_deadline() {
    ASSERT_TRUE(sink_.next_deadline().has_value());
    now_ = *sink_.next_deadline();
    sink_.advance(now_);
    turn();
  }
  [[nodiscard]] const Report* report(const std::string& event) const {
    for (const Report& report : reports_) {
      if (report.event == event) return &report;
    }
    return nullptr;
  }
  template <typename T>
  static std::optional<T> field(const Report& report, const std::string& name) {
    for (const Field& field : report.fields) {
      if (field.name == name && std::holds_alternative<T>(field.value))
        return std::get<T>(field.value);
    }
    return std::nullopt;
  }
  bool drop_everything = false;

  ProbeSink sink_;
  std::vector<Report> reports_;
  std::optional<bool> verdict_;
  std::optional<std::string> ended_;
  Instant now_{1000};

 private:
  bool turn() {
    bool moved = false;
    while (auto output = sink_.poll()) {
      moved = true;
      if (auto* submit = std::get_if<Sink::Submit>(&*output)) {
        if (!drop_everything)
          devices_.at(submit->device)->submit(std::move(submit->transfer), now_);
      } else if (auto* cancel = std::get_if<Sink::Cancel>(&*output)) {
        devices_.at(cancel->device)->cancel(cancel->transfer, now_);
      } else if (auto* control = std::get_if<Sink::IoControl>(&*output)) {
        EXPECT_EQ(control->code, 0x0022001BU);
        now_ += Duration(4);
        sink_.io_control_completed(control->device, now_);
      } else if (auto* report = std::get_if<Report>(&*output)) {
        reports_.push_back(std::move(*report));
      } else if (auto* verdict = std::get_if<Sink::Verdict>(&*output)) {
        verdict_ = verdict->success;
      } else if (auto* end = std::get_if<Sink::EndSession>(&*output)) {
        ended_ = end->reason;
      }
    }
    for (auto& [id, device] : devices_) {
      for (auto& completion : completions_of(*device, now_)) {
        moved = true;
        now_ += Duration(10);
        sink_.completed(id, std::move(completion), now_);
      }
    }
    return moved;
  }

  std::map<DeviceId, simulator::Device*> devices_;
};

std::shared_ptr<const Bytes> pattern(std::size_t size) {
  auto data = std::make_shared<Bytes>(size);
  for (std::size_t i = 0; i < size; ++i) (*data)[i] = static_cast<std::uint8_t>(i * 7 + (i >> 9U));
  return data;
}

TEST(Probe, TellsWhatTheDiskIs) {
  auto disk = simulated_disk();
  Bench bench({});
  bench.plug_in(*disk);
  bench.run();
  EXPECT_EQ(bench.verdict_, true);
  EXPECT_TRUE(bench.ended_.has_value());
  const Report* capacity = bench.report("capacity");
  ASSERT_NE(capacity, nullptr);
  EXPECT_EQ(Bench::field<std::int64_t>(*capacity, "blocks"), 16384);
  EXPECT_NE(bench.report("inquiry"), nullptr);
}

TEST(Probe, WritesReadsBackAndTellsTheDigest) {
  auto disk = simulated_disk();
  Options options;
  options.writes.push_back({"pattern", 4096, pattern(std::size_t{300} * 512)});
  options.reads.push_back({4096, 300});
  Sha256 digest;
  digest.add(*options.writes[0].data);
  options.expected_sha256 = digest.finish();
  options.save_path = testing::TempDir() + "probe-save.bin";
  Bench bench(options);
  bench.plug_in(*disk);
  bench.run();
  EXPECT_EQ(bench.verdict_, true);
  ASSERT_NE(bench.report("written"), nullptr);
  const Report* read = bench.report("read");
  ASSERT_NE(read, nullptr);
  EXPECT_EQ(Bench::field<std::string>(*read, "sha256"), options.expected_sha256);
  EXPECT_EQ(Bench::field<std::int64_t>(*read, "bytes"), 300 * 512);
  std::ifstream saved(options.save_path, std::ios::binary);
  const Bytes content{std::istreambuf_iterator<char>(saved), {}};
  EXPECT_EQ(content, *options.writes[0].data);
  std::filesystem::remove(options.save_path);
}

TEST(Probe, FailsOnAnotherDigest) {
  auto disk = simulated_disk();
  Options options;
  options.reads.push_back({0, 8});
  options.expected_sha256 = std::string(64, '0');
  Bench bench(options);
  bench.plug_in(*disk);
  bench.run();
  EXPECT_EQ(bench.verdict_, false);
  ASSERT_NE(bench.report("probe"), nullptr);
  EXPECT_THAT(bench.report("probe")->text, HasSubstr("expected 0000"));
}

TEST(Probe, FailsBehindTheEndOfTheDisk) {
  auto disk = simulated_disk();
  Options read;
  read.reads.push_back({16380, 8});
  Bench reading(read);
  reading.plug_in(*disk);
  reading.run();
  EXPECT_EQ(reading.verdict_, false);
  disk = simulated_disk();
  Options write;
  write.writes.push_back({"pattern", 16383, pattern(1024)});
  Bench writing(write);
  writing.plug_in(*disk);
  writing.run();
  EXPECT_EQ(writing.verdict_, false);
}

TEST(Probe, FailsOnAWriteProtectedDisk) {
  simulator::DeviceOptions protected_disk;
  protected_disk.size_mib = 8;
  protected_disk.write_protected = true;
  auto disk = simulated(protected_disk);
  Options options;
  options.writes.push_back({"pattern", 4096, pattern(512)});
  Bench bench(options);
  bench.plug_in(*disk);
  bench.run();
  EXPECT_EQ(bench.verdict_, false);
  EXPECT_THAT(bench.report("probe")->text, HasSubstr("writing"));
}

TEST(Probe, FailsOnAPartialBlock) {
  auto disk = simulated_disk();
  Options options;
  options.writes.push_back({"pattern", 4096, pattern(513)});
  Bench bench(options);
  bench.plug_in(*disk);
  bench.run();
  EXPECT_EQ(bench.verdict_, false);
}

TEST(Probe, BenchmarkCountsRightly) {
  auto disk = simulated_disk();
  Options options;
  options.bench_rounds = 10;
  Bench bench(options);
  bench.plug_in(*disk);
  bench.run();
  EXPECT_EQ(bench.verdict_, true);
  std::map<std::string, std::int64_t> p50, count;
  for (const Report& report : bench.reports_) {
    if (report.event != "bench") continue;
    const std::string measure = *Bench::field<std::string>(report, "measure");
    p50[measure] = *Bench::field<std::int64_t>(report, "p50_us");
    count[measure] = *Bench::field<std::int64_t>(report, "count");
  }
  // CBW, data and CSW: three transfers of 10 µs each.
  EXPECT_EQ(p50["read_4_kib"], 30);
  EXPECT_EQ(p50["read_64_kib"], 30);
  EXPECT_EQ(p50["channel_round_trip"], 4);
  EXPECT_EQ(p50["three_channel_round_trips"], 12);
  EXPECT_EQ(count["read_4_kib"], 10);
  EXPECT_EQ(count["channel_round_trip"], 30);
}

TEST(Probe, BenchmarkWritesOnlyWhatItRead) {
  auto disk = simulated_disk();
  Options fill;
  fill.writes.push_back({"pattern", 0, pattern(std::size_t{16384} * 512)});
  Bench filling(fill);
  filling.plug_in(*disk);
  filling.run();
  ASSERT_EQ(filling.verdict_, true);

  Options options;
  options.bench_rounds = 20;  // past the end of the disk, and on from its beginning
  options.bench_writes = true;
  options.bench_sequential = 12;
  Bench bench(options);
  bench.now_ = filling.now_;  // it is the same disk, whose time does not go back
  bench.plug_in(*disk);
  bench.run();
  ASSERT_EQ(bench.verdict_, true);
  std::map<std::string, std::int64_t> p50, count;
  for (const Report& report : bench.reports_) {
    if (report.event != "bench") continue;
    const std::string measure = *Bench::field<std::string>(report, "measure");
    p50[measure] = *Bench::field<std::int64_t>(report, "p50_us");
    count[measure] = *Bench::field<std::int64_t>(report, "count");
  }
  EXPECT_EQ(p50["write_4_kib"], 30);
  EXPECT_EQ(p50["write_64_kib"], 30);
  EXPECT_EQ(p50["sequential_read"], 12 * 30);
  EXPECT_EQ(count["write_64_kib"], 20);
  EXPECT_EQ(count["sequential_read"], 20);

  Options read;
  read.reads.push_back({0, 16384});
  Sha256 digest;
  digest.add(*fill.writes[0].data);
  read.expected_sha256 = digest.finish();
  Bench reading(read);
  reading.now_ = bench.now_;
  reading.plug_in(*disk);
  reading.run();
  EXPECT_EQ(reading.verdict_, true) << "the disk was changed";
}

TEST(Probe, SerialEcho) {
  auto serial = simulated_serial();
  Bench bench({});
  bench.plug_in(*serial);
  bench.run();
  EXPECT_EQ(bench.verdict_, true) << bench.report("probe")->text;
  ASSERT_NE(bench.report("echo"), nullptr);
  EXPECT_EQ(Bench::field<std::int64_t>(*bench.report("echo"), "bytes"), 4096);
}

TEST(Probe, GivesUpOnASilentDevice) {
  auto disk = simulated_disk();
  Bench bench({});
  bench.drop_everything = true;
  bench.plug_in(*disk);
  bench.run();
  EXPECT_FALSE(bench.verdict_.has_value());
  bench.wait_for_deadline();
  EXPECT_EQ(bench.verdict_, false);
  EXPECT_THAT(bench.report("probe")->text, HasSubstr("no answer"));
}

TEST(Probe, GivesUpWithoutADevice) {
  Bench bench({});
  bench.run();
  EXPECT_FALSE(bench.verdict_.has_value());
  bench.wait_for_deadline();
  EXPECT_EQ(bench.verdict_, false);
  EXPECT_THAT(bench.report("probe")->text, HasSubstr("0 of 1 devices"));
}

TEST(Probe, AnUnpluggedDeviceIsAFailure) {
  auto disk = simulated_disk();
  Bench bench({});
  bench.drop_everything = true;
  bench.plug_in(*disk);
  bench.sink_.device_gone(device_id, "unplugged", bench.now_);
  bench.run();
  EXPECT_EQ(bench.verdict_, false);
  EXPECT_THAT(bench.report("probe")->text, HasSubstr("unplugged"));
}

TEST(Probe, WaitsForAllDevices) {
  auto first = simulated_disk("simulated-1");
  auto second = simulated_serial();
  Options options;
  options.devices = 2;
  Bench bench(options);
  bench.plug_in(*first, 1);
  bench.run();
  EXPECT_FALSE(bench.verdict_.has_value());
  EXPECT_TRUE(bench.sink_.next_deadline().has_value()) << "the second one may never come";
  bench.plug_in(*second, 2);
  bench.run();
  EXPECT_EQ(bench.verdict_, true);
}

TEST(Probe, StaysIfAsked) {
  auto disk = simulated_disk();
  Options options;
  options.stay = true;
  Bench bench(options);
  bench.plug_in(*disk);
  bench.run();
  EXPECT_EQ(bench.verdict_, true);
  EXPECT_FALSE(bench.ended_.has_value());
}

TEST(Samples, PercentilesByNearestRank) {
  Samples samples;
  EXPECT_EQ(samples.percentile(50), 0);
  for (int i = 100; i >= 1; --i) samples.add(Duration(i));
  EXPECT_EQ(samples.percentile(50), 50);
  EXPECT_EQ(samples.percentile(99), 99);
  EXPECT_EQ(samples.percentile(0), 1);
  EXPECT_EQ(samples.percentile(100), 100);
  EXPECT_EQ(samples.total_us(), 5050);
}

TEST(Sha256, KnownDigest) {
  Sha256 digest;
  const Bytes abc{'a', 'b', 'c'};
  digest.add(ByteView(abc).first(1));
  digest.add(ByteView(abc).subspan(1));
  EXPECT_EQ(digest.finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace tillbridge::terminal::probe
