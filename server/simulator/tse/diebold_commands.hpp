// DieboldCommands: what the Diebold Nixdorf stick does when it is told to. Knows no line.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "channel/bytes/instant.hpp"
#include "server/simulator/tse/core.hpp"
#include "server/simulator/tse/diebold_buffer.hpp"
#include "server/simulator/tse/diebold_options.hpp"
#include "tse/diebold/fields.hpp"
#include "tse/diebold/frame.hpp"

namespace tillbridge::simulator::tse {

/// What a command brought. With an error nothing is answered.
struct DieboldOutcome {
  evidence::diebold::DeviceError error = evidence::diebold::DeviceError::none;
  evidence::diebold::Parameters parameters;
  /// Its base64 text, with the trailer, is the answer's only parameter.
  std::optional<Export> archive;
  /// A self test was run.
  bool self_test = false;
};

/// Commands, and the state that is not TseCore's: error and state for command 001, the client that
/// was set, the transaction command that is open, buffers.
class DieboldCommands {
 public:
  DieboldCommands(TseCore& core, const DieboldOptions& options) : core_(core), options_(options) {}

  /// Its error is kept for command 001. `self_test_fails`: a test bench wants it to.
  [[nodiscard]] DieboldOutcome carry_out(const evidence::diebold::Request& request, Instant now,
                                         bool self_test_fails);
  /// Something was wrong with a frame.
  void keep_error(evidence::diebold::DeviceError error) { error_ = error; }
  void fill(std::uint32_t buffer, DieboldBuffer content) {
    buffers_.insert_or_assign(buffer, std::move(content));
  }
  void clear_buffers() { buffers_.clear(); }
  /// What a power failure takes away. `at_work`: it came in the middle of a command.
  void power_failed(bool at_work);

  [[nodiscard]] evidence::diebold::DeviceStatus status() const;
  [[nodiscard]] bool wants_status_reports() const { return status_reports_; }
  [[nodiscard]] bool command_open() const { return open_.has_value(); }

 private:
  using Parameters = evidence::diebold::Parameters;
  using Command = evidence::diebold::Command;
  using DeviceError = evidence::diebold::DeviceError;
  using Handler = DieboldOutcome (DieboldCommands::*)(const Parameters&);
  struct Entry {
    Command command;
    std::size_t fewest, most;  ///< parameters
    Handler handler;
    bool first_is_slot;
  };
  [[nodiscard]] static const Entry* find(Command command);
  [[nodiscard]] DieboldOutcome dispatch(const evidence::diebold::Request& request);
  [[nodiscard]] std::optional<DeviceError> slot_error(const std::string& slot) const;
  /// The client that was set, if it may be used now.
  [[nodiscard]] bool client_registered() const;

  // 000 to 004, 100 to 112
  DieboldOutcome country_info(const Parameters&);
  DieboldOutcome report_status(const Parameters&);
  DieboldOutcome firmware_info(const Parameters&);
  DieboldOutcome set_status_reports(const Parameters& parameters);
  DieboldOutcome fetch_buffer(const Parameters& parameters);
  DieboldOutcome initialize(const Parameters& parameters);
  DieboldOutcome set_time(const Parameters& parameters);
  DieboldOutcome memory_info(const Parameters&);
  DieboldOutcome update_firmware(const Parameters&);
  DieboldOutcome disable(const Parameters&);
  DieboldOutcome device_info(const Parameters&);
  DieboldOutcome slot_info(const Parameters&);
  DieboldOutcome enter_maintenance(const Parameters&);
  DieboldOutcome leave_maintenance(const Parameters&);
  DieboldOutcome self_test(const Parameters&);

  // 106, 107, 400 to 404, 500, 502, 509
  DieboldOutcome register_client(const Parameters&);
  DieboldOutcome deregister_client(const Parameters&);
  DieboldOutcome login(const Parameters& parameters);
  DieboldOutcome logout(const Parameters& parameters);
  DieboldOutcome unblock(const Parameters& parameters);
  DieboldOutcome change_puk(const Parameters& parameters);
  DieboldOutcome change_pin(const Parameters& parameters);
  DieboldOutcome client_count(const Parameters&);
  DieboldOutcome clients(const Parameters&);
  DieboldOutcome set_client(const Parameters& parameters);
  [[nodiscard]] std::optional<User> user(const std::string& name) const;

  // 200 to 207, 503 to 508
  enum class Step : std::uint8_t { start, update, finish };
  struct OpenCommand {
    Step step{};
    std::uint64_t transaction = 0;
    std::size_t announced_bytes = 0;
    std::string type;
    std::uint64_t packets = 0;
    Bytes data;
  };
  DieboldOutcome start(const Parameters& parameters);
  DieboldOutcome update(const Parameters& parameters);
  DieboldOutcome finish(const Parameters& parameters);
  DieboldOutcome start_end(const Parameters&);
  DieboldOutcome update_end(const Parameters&);
  DieboldOutcome finish_end(const Parameters&);
  DieboldOutcome process_data(const Parameters& parameters);
  DieboldOutcome abandon(const Parameters&);
  DieboldOutcome update_variants(const Parameters&);
  DieboldOutcome transaction_count(const Parameters&);
  DieboldOutcome open_transactions(const Parameters& parameters);
  DieboldOutcome time_interval(const Parameters&);
  DieboldOutcome seconds_to_self_test(const Parameters&);
  /// `parameters`: size, type, size of additional data.
  DieboldOutcome open_command(Step step, std::uint64_t transaction,
                              std::span<const std::string> parameters);
  DieboldOutcome continue_transaction(Step step, const Parameters& parameters);
  DieboldOutcome end_command(Step step);

  // 300 to 309
  DieboldOutcome export_all(const Parameters&);
  DieboldOutcome export_transaction(const Parameters& parameters);
  DieboldOutcome export_transactions(const Parameters& parameters);
  DieboldOutcome export_period(const Parameters& parameters);
  DieboldOutcome export_certificates(const Parameters&);
  DieboldOutcome export_serials(const Parameters&);
  DieboldOutcome export_last_log(const Parameters&);
  DieboldOutcome delete_exported(const Parameters& parameters);
  DieboldOutcome export_public_key(const Parameters&);
  DieboldOutcome reset_export(const Parameters&);
  DieboldOutcome open_export(const ExportFilter& filter);

  TseCore& core_;
  const DieboldOptions& options_;
  Instant now_{0};                ///< of the command that is carried out
  bool self_test_fails_ = false;  ///< this time
  DeviceError error_ = DeviceError::none;
  bool status_reports_ = options_.status_reports;
  bool maintenance_ = false;
  std::string client_;
  std::optional<OpenCommand> open_;
  std::map<std::uint32_t, DieboldBuffer> buffers_;
  /// The last export of everything: its size with the trailer, and the last log in it.
  struct WholeExport {
    std::uint64_t bytes = 0, counter = 0;
  };
  std::optional<WholeExport> whole_export_;
};

/// For the handlers.
[[nodiscard]] DieboldOutcome failed(evidence::diebold::DeviceError error);
[[nodiscard]] DieboldOutcome answer(evidence::diebold::Parameters parameters);
[[nodiscard]] evidence::diebold::DeviceError error_of(Refusal refusal);
[[nodiscard]] DieboldOutcome outcome_of(const Done& result);
/// As above; what could not be stored was a system log.
[[nodiscard]] DieboldOutcome outcome_of_system(const Done& result);

}  // namespace tillbridge::simulator::tse
