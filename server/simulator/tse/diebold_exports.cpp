// Exports of the Diebold Nixdorf stick: 300 to 309.

#include <utility>

#include "server/simulator/tse/diebold_commands.hpp"
#include "tse/diebold/base64.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {

using namespace evidence::diebold;  // the protocol that this file is about

namespace {

/// Clients send an empty name for "all of them".
std::optional<std::string> client_filter(const std::string& name) {
  if (name.empty()) return std::nullopt;
  return name;
}

}  // namespace

DieboldOutcome DieboldCommands::open_export(const ExportFilter& filter) {
  auto archive = core_.open_export(filter);
  if (!archive) return failed(error_of(archive.refusal()));
  DieboldOutcome outcome;
  outcome.archive = *archive;
  return outcome;
}

DieboldOutcome DieboldCommands::export_all(const Parameters& /*slot*/) {
  DieboldOutcome outcome = open_export({});
  whole_export_.reset();
  if (outcome.archive) {
    whole_export_ = WholeExport{outcome.archive->bytes() + evidence::tar_trailer_bytes,
                                core_.signature_counter()};
  }
  return outcome;
}

DieboldOutcome DieboldCommands::export_transaction(const Parameters& parameters) {
  return export_transactions({parameters[0], parameters[1], parameters[1], parameters[2]});
}

DieboldOutcome DieboldCommands::export_transactions(const Parameters& parameters) {
  ExportFilter filter;
  filter.first_transaction = parse_number(parameters[1]);
  filter.last_transaction = parse_number(parameters[2]);
  if (!filter.first_transaction || !filter.last_transaction) {
    return failed(DeviceError::parameter_value);
  }
  filter.client = client_filter(parameters[3]);
  return open_export(filter);
}

DieboldOutcome DieboldCommands::export_period(const Parameters& parameters) {
  const auto from = parse_time(parameters[1]), to = parse_time(parameters[2]);
  if (!from || !to || *from < 0 || *to < *from) return failed(DeviceError::parameter_value);
  ExportFilter filter;
  filter.from_time_s = static_cast<std::uint64_t>(*from);
  filter.to_time_s = static_cast<std::uint64_t>(*to);
  filter.client = client_filter(parameters[3]);
  return open_export(filter);
}

DieboldOutcome DieboldCommands::export_certificates(const Parameters& /*slot*/) {
  Parameters certificates;
  for (const Bytes& certificate : core_.chain()) certificates.push_back(to_base64(certificate));
  return answer(std::move(certificates));
}

DieboldOutcome DieboldCommands::export_serials(const Parameters& /*slot*/) {
  return answer({to_base64(core_.serial())});
}

DieboldOutcome DieboldCommands::export_last_log(const Parameters& /*slot*/) {
  const auto log = core_.last_log();
  if (!log) {
    return failed(log.refusal() == Refusal::no_data ? DeviceError::no_log
                                                    : DeviceError::log_not_read);
  }
  return answer({to_base64(*log)});
}

DieboldOutcome DieboldCommands::export_public_key(const Parameters& /*slot*/) {
  return answer({to_base64(core_.serial()), to_base64(core_.public_key().point())});
}

DieboldOutcome DieboldCommands::delete_exported(const Parameters& parameters) {
  // The size proves that the client has received the archive.
  const auto size = parse_number(parameters[1]);
  if (!size) return failed(DeviceError::parameter_value);
  if (!whole_export_) return failed(DeviceError::no_data);
  if (*size != whole_export_->bytes) return failed(DeviceError::parameter_value);
  DieboldOutcome outcome = outcome_of_system(core_.delete_up_to(whole_export_->counter, now_));
  if (outcome.error != DeviceError::none) return outcome;
  whole_export_.reset();
  return answer({std::to_string(*size)});
}

DieboldOutcome DieboldCommands::reset_export(const Parameters& /*slot*/) {
  buffers_.clear();
  return {};
}

}  // namespace tillbridge::simulator::tse
