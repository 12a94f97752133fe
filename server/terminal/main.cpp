// tillbridge-terminal: the terminal server's end of the chain for Linux, and for tests.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <variant>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include "server/terminal/conformance/suite.hpp"
#include "server/terminal/exports/usbip_sink.hpp"
#include "server/terminal/options.hpp"
#include "server/terminal/probe/probe_sink.hpp"
#include "server/terminal/rdp/certificate.hpp"
#include "server/terminal/service.hpp"
#include "server/terminal/session.hpp"
#include "server/terminal/vhci/vhci_sink.hpp"

namespace tillbridge::terminal {
namespace {

/// sysexits.h has finer ones; scripts need to tell these apart.
enum ExitCode : int { exit_good = 0, exit_test_failed = 1, exit_usage = 2, exit_failed = 3 };

/// One line each; systemd's journal stamps it itself, a person's terminal gets the time from us.
void start_log(bool verbose) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("tillbridge-terminal"));
  const bool journal = std::getenv("JOURNAL_STREAM") != nullptr;
  spdlog::set_pattern(journal ? "%l: %v" : "%Y-%m-%d %H:%M:%S.%e %^%l%$ %v");
  spdlog::set_level(verbose ? spdlog::level::debug : spdlog::level::info);
}

/// SIGINT and SIGTERM go to the service's descriptor, whichever thread is running. SIGPIPE is an
/// error return.
void arrange_signals() {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int complain(const Error& error, int code) {
  std::fprintf(stderr, "tillbridge-terminal: %s\n", error.message.c_str());
  return code;
}

Result<ServerIdentity> identity_for(const Options& options) {
  if (!options.certificate.empty()) return load_identity(options.certificate, options.key);
  if (!options.certificate_directory.empty()) return identity_in(options.certificate_directory);
  return make_identity();
}

void tell_identity(const Options& options, const ServerIdentity& identity, Reporter& reporter) {
  const std::string digest = fingerprint(identity);
  std::string text = "certificate SHA-256 " + digest;
  if (options.certificate.empty() && options.certificate_directory.empty()) {
    text +=
        ", self-signed and made for this run only (--certificate or --certificate-directory keep "
        "one)";
  } else if (options.certificate.empty()) {
    text += ", self-signed, kept in " + options.certificate_directory.string();
  }
  reporter.report(0, {"certificate", std::move(text), {{"sha256", digest}}});
}

/// Sessions that hand their devices to a sink each.
template <typename MakeSink>
auto sessions_with(Session::Rules rules, MakeSink make_sink) {
  return [rules = std::move(rules), make_sink = std::move(make_sink)](
             std::uint32_t number, std::unique_ptr<RdpPeer> peer, Reporter& reporter,
             int stop_descriptor, const std::function<void()>& activated) {
    Session session(number, std::move(peer), make_sink(), rules, reporter, stop_descriptor);
    return session.run(activated);
  };
}

int run(std::vector<std::string> arguments) {
  auto parsed = parse_options(std::move(arguments));
  if (!parsed) return complain(parsed.error(), exit_usage);
  if (const auto* print = std::get_if<PrintAndExit>(&*parsed)) {
    std::fputs(print->text.c_str(), stdout);
    return exit_good;
  }
  const Options& options = std::get<Options>(*parsed);
  Reporter reporter(options.json);
  const Result<ServerIdentity> identity = identity_for(options);
  if (!identity) return complain(identity.error(), exit_usage);

  Service::Settings settings;
  settings.address = options.address;
  settings.port = options.port;
  settings.identity = *identity;
  settings.account = options.account;
  settings.sessions = options.sessions;
  settings.exit_after_sessions = options.exit_after_sessions;
  std::optional<conformance::Suite> suite;
  Session::Rules rules{options.named, nullptr, options.profile};
  if (!options.transcript.empty()) {
    auto transcript = TranscriptFile::create(options.transcript, options.transcript_data);
    if (!transcript) return complain(transcript.error(), exit_usage);
    rules.transcript = std::move(*transcript);
  }
  if (options.sink == SinkKind::vhci) {
    auto controller = std::make_shared<vhci::KernelController>(options.vhci_directory);
    if (Status usable = controller->usable(); !usable) return complain(usable.error(), exit_failed);
    settings.run_session = sessions_with(
        std::move(rules), [controller] { return std::make_unique<vhci::VhciSink>(controller); });
  } else if (options.sink == SinkKind::usbip) {
    settings.run_session = sessions_with(
        std::move(rules), [address = options.usbip_address, port = options.usbip_port] {
          return std::make_unique<exports::UsbipSink>(address, port);
        });
  } else if (options.sink == SinkKind::conformance) {
    suite.emplace(options.conformance, reporter);
    settings.run_session = [&suite, transcript = rules.transcript](
                               std::uint32_t number, std::unique_ptr<RdpPeer> peer, Reporter&,
                               int stop_descriptor, const std::function<void()>& activated) {
      return suite->run_session(number, std::move(peer), transcript, stop_descriptor, activated);
    };
  } else {
    settings.verdict_expected = true;
    settings.run_session = sessions_with(std::move(rules), [probe = options.probe] {
      return std::make_unique<probe::ProbeSink>(probe);
    });
  }

  start_log(options.verbose);
  arrange_signals();
  initialise_rdp();
  tell_identity(options, *identity, reporter);
  Service service(std::move(settings), reporter);
  if (Status listening = service.listen(); !listening)
    return complain(listening.error(), exit_failed);
  // Not before: who started the service connects next. Making the first key alone takes seconds on
  // a small machine.
  (void)sd_notify(0, "READY=1");
  bool good = service.run();
  if (suite) good = suite->finish() && good;
  return good ? exit_good : exit_test_failed;
}

}  // namespace
}  // namespace tillbridge::terminal

int main(int argc, char** argv) {
  try {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-bounds-pointer-arithmetic): argv is what it is
    return tillbridge::terminal::run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tillbridge-terminal: %s\n", error.what());
    return tillbridge::terminal::exit_failed;
  }
}
