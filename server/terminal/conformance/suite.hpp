// Suite: a run of conformance cases against the RDP clients that connect, one client at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "channel/bytes/result.hpp"
#include "server/terminal/client_line.hpp"
#include "server/terminal/conformance/case.hpp"

namespace tillbridge::terminal::conformance {

struct SuiteOptions {
  std::vector<const Case*> cases;  ///< of all_cases(), in the order in which they are run
  /// 0: as many as are left. 1 is for clients that do not start anew on a second control channel of
  /// one RDP session, and for those that have to be restarted after a case.
  std::uint32_t cases_per_session = 0;
  Settings settings;
};

/// "all", "microsoft", "ours", or names with commas between them. Errors name what is unknown.
[[nodiscard]] Result<std::vector<const Case*>> select_cases(const std::string& text);
/// For a person: a line for each case, with its purpose.
[[nodiscard]] std::string list_cases();

/// Which cases are left, over all sessions: a client that leaves in the middle of a case has failed
/// that one, and whoever connects next gets the one after it. Used by one session at a time.
class Suite {
 public:
  Suite(SuiteOptions options, Reporter& reporter)
      : options_(std::move(options)), reporter_(reporter) {}

  /// One RDP session from accept to end, for Service::Settings::run_session.
  SessionOutcome run_session(std::uint32_t number, std::unique_ptr<RdpPeer> peer,
                             const std::shared_ptr<TranscriptFile>& transcript, int stop_descriptor,
                             const std::function<void()>& activated);
  /// After the last session: reports the sums. True if every case was run and none failed.
  [[nodiscard]] bool finish();

 private:
  void run_cases(ClientLine& line, class RdpClient& client);
  void report(ClientLine& line, const Case& ended, const Verdict& verdict, Duration took);

  SuiteOptions options_;
  Reporter& reporter_;
  std::size_t next_ = 0;  ///< index into options_.cases
  std::size_t passed_ = 0, failed_ = 0, inconclusive_ = 0;
};

}  // namespace tillbridge::terminal::conformance
