#include "server/terminal/conformance/suite.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/terminal/conformance/rdp_client.hpp"

namespace tillbridge::terminal::conformance {
namespace {

const char* name_of(Verdict::Kind kind) {
  switch (kind) {
    case Verdict::Kind::passed:
      return "passed";
    case Verdict::Kind::failed:
      return "failed";
    case Verdict::Kind::inconclusive:
      return "inconclusive";
  }
  return "failed";
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

}  // namespace

Result<std::vector<const Case*>> select_cases(const std::string& text) {
  std::vector<const Case*> cases;
  for (const std::string& word : words_of(text)) {
    const std::size_t before = cases.size();
    for (const Case& candidate : all_cases()) {
      const bool wanted = word == "all" || (word == "microsoft" && candidate.microsoft) ||
                          (word == "ours" && !candidate.microsoft) || word == candidate.name;
      if (wanted) cases.push_back(&candidate);
    }
    if (cases.size() == before) {
      return fail(ErrorCode::config, "--cases " + word +
                                         ": no such case; give all, microsoft, ours or names with "
                                         "commas between them; --cases list shows them");
    }
  }
  return cases;
}

std::string list_cases() {
  std::string text;
  for (const Case& one : all_cases()) {
    text.append(one.name).append(one.microsoft ? " (Microsoft's)" : " (ours)");
    if (one.device == Device::osr_fx2) text += ", needs an OSR USB-FX2 board";
    text.append("\n    ").append(one.purpose).append("\n");
  }
  return text;
}

SessionOutcome Suite::run_session(std::uint32_t number, std::unique_ptr<RdpPeer> peer,
                                  const std::shared_ptr<TranscriptFile>& transcript,
                                  int stop_descriptor, const std::function<void()>& activated) {
  ClientLine line(number, std::move(peer), reporter_, transcript, stop_descriptor);
  RdpClient client(line);
  // However long that takes: the service cuts off who does not log on.
  while (!line.ended() && !line.activated()) client.turn(std::nullopt);
  SessionOutcome outcome;
  if (line.activated()) {
    outcome.activated = true;
    activated();
    run_cases(line, client);
  }
  line.close();
  outcome.logon_refused = line.logon_refused();
  outcome.last = next_ == options_.cases.size();
  return outcome;
}

void Suite::run_cases(ClientLine& line, RdpClient& client) {
  const Instant deadline = client.now() + options_.settings.patience;
  while (!line.ended() && !client.channels() && client.now() < deadline) client.turn(deadline);
  if (!client.channels().value_or(false)) {
    line.finish("the client has no dynamic channels, so there is nothing to test");
    return;
  }
  for (std::uint32_t run = 0; next_ < options_.cases.size(); ++run) {
    if (options_.cases_per_session != 0 && run == options_.cases_per_session) {
      line.finish("the next case is for the next session (--cases-per-session)");
    }
    if (line.ended()) return;
    const Case& current = *options_.cases[next_];
    const Instant began = client.now();
    const Verdict verdict = current.run(client, options_.settings);
    if (line.stopped()) return;  // half a case says nothing
    ++next_;
    report(line, current, verdict, client.now() - began);
    client.start_anew();
  }
  line.finish("all cases were run");
}

void Suite::report(ClientLine& line, const Case& ended, const Verdict& verdict, Duration took) {
  rdpeusb::Level level = rdpeusb::Level::info;
  switch (verdict.kind) {
    case Verdict::Kind::passed:
      ++passed_;
      break;
    case Verdict::Kind::failed:
      ++failed_;
      level = rdpeusb::Level::error;
      break;
    case Verdict::Kind::inconclusive:
      ++inconclusive_;
      level = rdpeusb::Level::warning;
      break;
  }
  std::string text(ended.name);
  text.append(": ").append(name_of(verdict.kind));
  for (const std::string& finding : verdict.findings) text.append("; ").append(finding);
  line.report({"case",
               std::move(text),
               {{"case", std::string(ended.name)},
                {"microsoft", ended.microsoft},
                {"verdict", std::string(name_of(verdict.kind))},
                {"findings", verdict.findings},
                {"took_ms", std::chrono::duration<double, std::milli>(took).count()}},
               level});
}

bool Suite::finish() {
  const std::size_t not_run = options_.cases.size() - next_;
  const bool good = failed_ == 0 && not_run == 0;
  reporter_.report(0, {"cases_ended",
                       std::to_string(passed_) + " of " + std::to_string(options_.cases.size()) +
                           " cases passed, " + std::to_string(failed_) + " failed, " +
                           std::to_string(inconclusive_) + " inconclusive, " +
                           std::to_string(not_run) + " not run",
                       {{"cases", static_cast<std::int64_t>(options_.cases.size())},
                        {"passed", static_cast<std::int64_t>(passed_)},
                        {"failed", static_cast<std::int64_t>(failed_)},
                        {"inconclusive", static_cast<std::int64_t>(inconclusive_)},
                        {"not_run", static_cast<std::int64_t>(not_run)}},
                       good ? rdpeusb::Level::info : rdpeusb::Level::error});
  return good;
}

}  // namespace tillbridge::terminal::conformance
