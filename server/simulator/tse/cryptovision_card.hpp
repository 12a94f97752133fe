// The cryptovision card behind TSE-IO.bin: a command in, an answer out, cut into frames.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <variant>

#include "server/simulator/tse/core.hpp"
#include "server/simulator/tse/cryptovision_options.hpp"
#include "tse/cryptovision/command.hpp"

namespace tillbridge::simulator::tse {

/// Knows neither blocks nor time-outs. Translates between the protocol's commands and the core.
class CryptovisionCard {
 public:
  CryptovisionCard(std::unique_ptr<TseCore> core, CryptovisionOptions options)
      : core_(std::move(core)), options_(std::move(options)) {}

  [[nodiscard]] TseCore& core() { return *core_; }
  [[nodiscard]] const CryptovisionOptions& options() const { return options_; }

  /// The data of the first frame of the answer. What does not fit waits for next_frame(). `data`:
  /// what stood in the request.
  [[nodiscard]] Bytes execute(ByteView data, Instant now);
  /// The data of the next frame; empty: there is none.
  [[nodiscard]] Bytes next_frame();
  /// The rest of the answer is not wanted.
  void abandon() { rest_ = std::monostate(); }
  /// Is the last answer an archive, or the rest of one?
  [[nodiscard]] bool exporting() const { return exporting_; }

  void power_cycle();

 private:
  using Parameters = evidence::cryptovision::Parameters;
  using ParameterReader = evidence::cryptovision::ParameterReader;
  using CommandCode = evidence::cryptovision::CommandCode;
  using Failure = evidence::cryptovision::Failure;
  /// Parameters, or why not, or an archive.
  using Reply = std::variant<Parameters, Failure, Export>;
  /// What is left of an answer: bytes of it, or a place in an export.
  struct Rest {
    Bytes bytes;
    std::size_t position = 0;
  };
  struct ExportRest {
    Export archive;
    std::uint64_t position = 0;
  };

  [[nodiscard]] Reply dispatch(ByteView data, Instant now);
  [[nodiscard]] Reply carry_out(CommandCode code, const Parameters& parameters, Instant now);

  [[nodiscard]] Reply start();
  [[nodiscard]] Reply shut_down(Instant now);
  [[nodiscard]] Reply pin_states() const;
  [[nodiscard]] Reply initialize_pins(const Parameters& parameters, Instant now);
  [[nodiscard]] Reply authenticate(ParameterReader reader, Instant now);
  [[nodiscard]] Reply unblock(ParameterReader reader, Instant now);
  [[nodiscard]] Reply log_out(ParameterReader reader, Instant now);
  [[nodiscard]] Reply initialize(Instant now);
  [[nodiscard]] Reply update_time(ParameterReader reader, Instant now);
  [[nodiscard]] Reply serial_numbers() const;
  [[nodiscard]] Reply map_client(ParameterReader reader, Instant now);
  [[nodiscard]] Reply mappings() const;
  [[nodiscard]] Reply start_transaction(ParameterReader reader, Instant now);
  [[nodiscard]] Reply continue_transaction(CommandCode code, ParameterReader reader, Instant now);
  [[nodiscard]] Reply export_data(const Parameters& parameters);
  [[nodiscard]] Reply export_more(ParameterReader reader);
  [[nodiscard]] Reply last_log();
  [[nodiscard]] Reply erase(Instant now);
  [[nodiscard]] Reply delete_up_to(ParameterReader reader, Instant now);
  [[nodiscard]] Reply deactivate(Instant now);
  [[nodiscard]] Reply activate(Instant now);
  [[nodiscard]] Reply disable(Instant now);
  [[nodiscard]] Reply config_data(ParameterReader reader) const;
  [[nodiscard]] Reply status(ParameterReader reader, Instant now) const;
  [[nodiscard]] Reply key_data(ParameterReader reader) const;
  [[nodiscard]] Reply wear_indicator() const;
  [[nodiscard]] Reply vendor_update() const;
  [[nodiscard]] evidence::cryptovision::LifeCycle life_cycle(Instant now) const;

  [[nodiscard]] bool is_our_key(const Bytes& serial) const;
  [[nodiscard]] Bytes first_frame(Bytes answer);
  [[nodiscard]] Bytes first_export_frame(Export archive);

  std::unique_ptr<TseCore> core_;
  CryptovisionOptions options_;
  bool started_ = false;  ///< since power-up or Shutdown
  bool exporting_ = false;
  std::variant<std::monostate, Rest, ExportRest> rest_;
};

}  // namespace tillbridge::simulator::tse
