// MassStorageProbe: what a disk driver does with a stick, and a benchmark of it.
#pragma once

#include <cstdint>
#include <deque>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "channel/massstorage/host.hpp"
#include "server/terminal/probe/benchmark.hpp"
#include "server/terminal/probe/device_probe.hpp"
#include "server/terminal/probe/digest.hpp"

namespace tillbridge::terminal::probe {

/// Configures the stick, asks who it is and how large, then carries out the options in this order:
/// writes (each read back and compared), reads (one SHA-256 over all), benchmark. Ends at the first
/// failure.
class MassStorageProbe final : public DeviceProbe {
 public:
  MassStorageProbe(std::string name, massstorage::BulkOnlyHost host, const Options& options);

  void start(Instant now) override;
  void completed(const usb::Completion& completion, Instant now) override;
  void io_control_completed(Instant now) override;
  void advance(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  [[nodiscard]] std::optional<Output> poll() override;

 private:
  enum class Stage : std::uint8_t {
    configure,
    max_lun,
    inquiry,
    ready,
    capacity,
    write,
    flush,
    compare,
    read,
    bench,
    done
  };
  void enter(Stage stage);
  void command_ended(massstorage::CommandResult& result);
  void host_turn();
  void fail_with(const std::string& text);
  void succeed();
  void report(std::string event, const std::string& text, std::vector<Field> fields);

  void inquired(const massstorage::CommandResult& result);
  void sized();
  void next_write();
  void written(const massstorage::CommandResult& result);
  void next_compare();
  void compared(const massstorage::CommandResult& result);
  void next_read();
  void was_read(const massstorage::CommandResult& result);
  void reads_ended();
  void next_step();
  void step_ended(massstorage::CommandResult& result);
  void bench_ended();

  /// Starts a READ of at most one command's worth; false (and failed) if it is outside of the disk.
  bool begin_read(std::uint32_t block, std::uint32_t count);
  [[nodiscard]] std::uint32_t blocks_per_command() const;

  std::string name_;
  massstorage::BulkOnlyHost host_;
  Options options_;
  std::deque<Output> outputs_;
  Stage stage_ = Stage::configure;
  Instant now_{};
  Instant step_deadline_{};
  bool gave_up_ = false;

  std::uint32_t not_ready_ = 0;    ///< refused TEST UNIT READYs
  std::size_t region_ = 0;         ///< index into writes or reads
  std::uint32_t region_done_ = 0;  ///< blocks of it
  Instant region_began_{};
  Instant reads_began_{};
  std::uint64_t read_bytes_ = 0;
  Sha256 sha256_;
  std::ofstream save_;

  Benchmark benchmark_;
  std::uint32_t bench_block_ = 0;       ///< of the last read of the benchmark
  std::uint32_t bench_next_block_ = 0;  ///< of the next one
  Bytes bench_data_;                    ///< what the last one returned
};

}  // namespace tillbridge::terminal::probe
