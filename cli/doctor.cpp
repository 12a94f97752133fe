// `tillbridge doctor`: on a till, what is wrong on its way to the stick, and how long a receipt
// takes.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <grp.h>
#include <nlohmann/json.hpp>
#include <pwd.h>
#include <unistd.h>

#include "channel/bytes/result.hpp"
#include "cli/examination.hpp"
#include "cli/receipts.hpp"
#include "cli/verb.hpp"

namespace tillbridge::cli {

namespace {

using Json = nlohmann::json;

struct DoctorOptions {
  std::filesystem::path config = "/etc/tillbridge/till.toml";
  double rdp_ms = 0;
  bool json = false;
  std::string user;
};

/// Goes on as that account: what it may read, only the kernel knows.
Status become(const std::string& user) {
  const passwd* const account = ::getpwnam(user.c_str());
  if (account == nullptr) {
    return fail(ErrorCode::config, "there is no account '" + user + "' on this machine");
  }
  if (::geteuid() == account->pw_uid) return {};
  if (::geteuid() != 0) {
    return fail(ErrorCode::config, "only root can look as another account; use sudo");
  }
  if (::initgroups(user.c_str(), account->pw_gid) != 0 || ::setgid(account->pw_gid) != 0 ||
      ::setuid(account->pw_uid) != 0) {
    return fail(ErrorCode::config, "this cannot go on as account '" + user + "'");
  }
  return {};
}

const char* word(Finding::State state) {
  switch (state) {
    case Finding::State::ok:
      return "ok";
    case Finding::State::warning:
      return "warning";
    case Finding::State::failed:
      return "failed";
    case Finding::State::skipped:
      break;
  }
  return "skipped";
}

double seconds(Duration duration) {
  return static_cast<double>(duration.count()) / 1e6;
}

/// What one command's crossing of the link costs: as measured with the stick, or as a ping says.
double link_seconds(const Examination& found) {
  if (found.command && found.pipeline) return seconds(found.command->median);
  return seconds(found.link->median);
}

Json times(const std::optional<RoundTrips>& measured) {
  if (!measured) return nullptr;
  return {{"samples", measured->samples},
          {"least_us", measured->least.count()},
          {"median_us", measured->median.count()},
          {"most_us", measured->most.count()}};
}

void print_json(const Examination& found, const DoctorOptions& options) {
  Json findings = Json::array();
  for (const Finding& finding : found.findings) {
    findings.push_back({{"step", finding.step},
                        {"state", word(finding.state)},
                        {"text", finding.text},
                        {"remedy", finding.remedy}});
  }
  Json receipts = Json::array();
  if (found.link) {
    for (const Family& family : families()) {
      const auto with = [&](bool pipeline) {
        return receipt_seconds(family, link_seconds(found), options.rdp_ms / 1000, pipeline);
      };
      receipts.push_back({{"family", family.name},
                          {"commands", family.commands},
                          {"transfers", family.commands * (family.mass_storage ? 3U : 1U)},
                          {"signing_s", family.signing_s},
                          {"pipeline_s", with(true)},
                          {"plain_s", with(false)}});
    }
  }
  const Json whole = {
      {"ok", !found.failed()},           {"server", found.server},     {"address", found.address},
      {"authority", found.authority},    {"words", found.words},       {"findings", findings},
      {"in_use", found.in_use},          {"stick", found.stick},       {"vendor", found.vendor},
      {"product", found.product},        {"pipeline", found.pipeline}, {"link", times(found.link)},
      {"command", times(found.command)}, {"rdp_ms", options.rdp_ms},   {"receipts", receipts}};
  std::printf("%s\n", whole.dump(2, ' ', false, Json::error_handler_t::replace).c_str());
}

void print_text(const Examination& found, const DoctorOptions& options) {
  for (const Finding& finding : found.findings) {
    std::printf("%-13s %-7s %s\n", finding.step.c_str(), word(finding.state), finding.text.c_str());
    if (!finding.remedy.empty()) std::printf("%-13s         -> %s\n", "", finding.remedy.c_str());
  }
  if (!found.link) return;
  std::printf(
      "\nSeconds for a receipt, two signatures included (%s):\n",
      options.rdp_ms > 0 ? "link and RDP leg" : "link alone; --rdp-ms adds the RDP session's leg");
  std::printf("  %-40s %9s %9s\n", "", "pipeline", "plain");
  for (const Family& family : families()) {
    const auto with = [&](bool pipeline) {
      return receipt_seconds(family, link_seconds(found), options.rdp_ms / 1000, pipeline);
    };
    std::printf("  %-40s %9.2f %9.2f\n", std::string(family.products).c_str(), with(true),
                with(false));
  }
}

}  // namespace

void add_doctor(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<DoctorOptions>();
  CLI::App* verb = app.add_subcommand(
      "doctor",
      "on a till: look at the way to its stick, step by step; a running session is not disturbed");
  verb->add_option("--config", options->config, "the till's configuration")->capture_default_str();
  verb->add_option("--rdp-ms", options->rdp_ms,
                   "round-trip time to the terminal server, to count it in")
      ->check(CLI::Range(0.0, 10000.0));
  verb->add_option("--user", options->user,
                   "as this account can, whose RDP sessions use the till; for root");
  verb->add_flag("--json", options->json, "for programs");
  verb->callback([options, &chosen] {
    chosen = [options] {
      if (!options->user.empty()) {
        if (const Status status = become(options->user); !status) {
          (void)std::fprintf(stderr, "tillbridge doctor: %s\n", status.error().message.c_str());
          return Exit::usage;
        }
      }
      const Examination found = examine(options->config);
      (options->json ? print_json : print_text)(found, *options);
      return found.exit;
    };
  });
}

}  // namespace tillbridge::cli
