// What a check found, as the REST interface and the command line write it.
#include <nlohmann/json.hpp>

#include "server/audit/reading.hpp"

namespace tillbridge::audit {

using nlohmann::json;

std::string write_report(const Report& report) {
  json findings = json::array();
  for (const Finding& finding : report.findings) {
    findings.push_back(
        {{"n", finding.n}, {"file", finding.file}, {"line", finding.line}, {"what", finding.what}});
  }
  const json written = {
      {"intact", report.intact()},
      {"findings", std::move(findings)},
      {"findings_more", report.findings_more},
      {"warnings", report.warnings},
      {"notes", report.notes},
      {"first", report.first},
      {"last", report.last},
      {"entries", report.entries},
      {"left_out", report.left_out},
      {"signed_to", report.signed_to},
      {"signed_at", report.signed_at ? json(time_text(*report.signed_at)) : json()},
      {"key_fingerprint", report.key_fingerprint}};
  // A finding may quote a damaged line.
  return written.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace tillbridge::audit
