// SwissbitCard: what a Swissbit TSE does with its commands, on a TseCore. Knows neither blocks of a
// disk nor how long anything takes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/simulator/tse/core.hpp"
#include "server/simulator/tse/timing.hpp"
#include "tse/swissbit/protocol.hpp"

namespace tillbridge::simulator::tse {

namespace swissbit = ::tillbridge::tse::swissbit;

struct SwissbitOptions {
  std::string label = "SWISSBIT";
  /// Of a new disk: a power of two from 512 to 32768, 0: what fits.
  std::uint32_t cluster_bytes = 0;
  /// Blocks of one TAR file; the store is as many files as fit beside 1/8 of the disk. Clients take
  /// the default for granted; smaller ones are for tests of the boundary.
  std::uint64_t tar_file_blocks = swissbit::tar_file_blocks;

  std::string customization = "GMISRLS";
  std::string certification_id = "BSI-K-TR-0000 (simulated)";
  std::uint32_t hardware_version = 0x00010000, firmware_version = 0x00010100;
  /// What the factory PINs derive from, besides the serial number.
  std::string seed{swissbit::default_seed};

  /// An answer that took longer than this waits for opcode 83; 0: none does.
  Duration fetch_after{1'000'000};
  /// Some clients write process data to the beginning of the store, wherever they were told to.
  bool accepts_data_at_store_start = true;
};

/// The family's own values: P-384, factory credentials, self test after power-up and each 25 hours,
/// time for 30 minutes, one PEM for the chain. store_bytes is left to swissbit_store_bytes().
[[nodiscard]] CoreOptions swissbit_core_options(const SwissbitOptions& options);

/// 384-bit signatures in 250 ms, a self test of 25 s.
[[nodiscard]] Timing swissbit_timing();

class SwissbitCard {
 public:
  SwissbitCard(std::unique_ptr<TseCore> core, SwissbitOptions options)
      : core_(std::move(core)), options_(std::move(options)) {}

  struct Outcome {
    swissbit::CommandStatus status = swissbit::CommandStatus::ok;
    Bytes data;
  };
  /// Everything but FetchAnswer, which is between the host and the command block.
  [[nodiscard]] Outcome run(const swissbit::Command& command, Instant now);
  /// A self test whose parts do not pass.
  [[nodiscard]] Outcome failing_self_test(Instant now);
  /// Login, time, self test and the data of an unfinished step are gone.
  void power_cycle();

  /// As it is now. `capacity_blocks`: of the store.
  [[nodiscard]] swissbit::Info info(std::uint64_t capacity_blocks, Instant now) const;
  [[nodiscard]] TseCore& core() { return *core_; }
  [[nodiscard]] const TseCore& core() const { return *core_; }
  [[nodiscard]] const SwissbitOptions& options() const { return options_; }

  // --- the data between open_step and close_step
  /// A block of the store was written. Those that no open step asked for are dropped.
  void import(std::uint64_t store_block, ByteView block);
  /// What was imported for this block, if anything.
  [[nodiscard]] std::optional<ByteView> imported(std::uint64_t store_block) const;
  [[nodiscard]] bool expects(std::uint64_t store_block) const;
  [[nodiscard]] bool step_open() const { return import_.has_value(); }

 private:
  enum class SelfTest : std::uint8_t { none, failed, passed };
  struct Import {
    swissbit::OpenStep step;
    std::uint64_t first_block = 0;  ///< of the store
    Bytes data;                     ///< whole blocks
    std::vector<bool> arrived;      ///< by block
  };
  using Status = swissbit::CommandStatus;

  // What may stand in a command's way; the first that does is the answer.
  [[nodiscard]] Status self_test_done(Instant now) const;
  [[nodiscard]] Status self_test_passed(Instant now) const;
  [[nodiscard]] Status credentials_changed() const;
  [[nodiscard]] Status admin_ready(Instant now) const;
  [[nodiscard]] Status may_sign(Instant now) const;

  [[nodiscard]] Outcome login(const swissbit::Login& command, Instant now);
  [[nodiscard]] Outcome logout(const swissbit::Logout& command, Instant now);
  [[nodiscard]] Outcome change_puk(const swissbit::ChangePuk& command, Instant now);
  [[nodiscard]] Outcome change_pin(const swissbit::ChangePin& command, Instant now);
  [[nodiscard]] Outcome self_test(const swissbit::SelfTest& command, Instant now);
  [[nodiscard]] Outcome set_ctss(bool active, Instant now);
  [[nodiscard]] Outcome initialize(Instant now);
  [[nodiscard]] Outcome decommission(Instant now);
  [[nodiscard]] Outcome list_clients(const swissbit::ListClients& command) const;
  [[nodiscard]] Outcome list_transactions(const swissbit::ListTransactions& command) const;
  [[nodiscard]] Outcome read_certificate(const swissbit::ReadCertificate& command) const;
  [[nodiscard]] Outcome open_step(const swissbit::OpenStep& command, Instant now);
  [[nodiscard]] Outcome close_step(Instant now);

  [[nodiscard]] bool knows(const std::string& client) const;
  [[nodiscard]] bool ctss_active() const;
  [[nodiscard]] std::optional<std::size_t> place_of(std::uint64_t store_block) const;

  std::unique_ptr<TseCore> core_;
  SwissbitOptions options_;
  SelfTest self_test_ = SelfTest::none;
  std::optional<Import> import_;
};

}  // namespace tillbridge::simulator::tse
