// tillbridged: the USB server. See `tillbridged --help`, packaging/etc/tillbridged.toml and
// ARCHITECTURE.md.
#include <csignal>
#include <cstdio>
#include <exception>
#include <string>

#include <CLI/CLI.hpp>

#include "channel/transport/loop.hpp"
#include "server/daemon/daemon.hpp"
#include "server/operations/service.hpp"
#include "server/usb/config.hpp"
#include "server/usb/log.hpp"

namespace {

using tillbridge::server::Config;
using tillbridge::server::Daemon;
using tillbridge::server::ExitCode;
namespace log = tillbridge::server::log;

constexpr const char* exit_codes = R"(Exit codes:
  0  ended by SIGTERM or SIGINT, or --check-config found nothing wrong
  1  what is none of the others; the message says what
  2  command line, configuration file or certificates are wrong
  3  cannot listen on a configured address
  4  a simulated stick or its control socket could not be made
  5  the state folder (database, audit log) cannot be used
SIGHUP reads the configuration again: mappings change in running sessions.)";

int run(const Config& config) {
  tillbridge::transport::Loop loop;
  log::set_level(config.log_level);
  tillbridge::operations::log_to_journal_if_there();
  Daemon daemon(loop, config);
  if (const auto failure = daemon.start()) {
    log::error(failure->error.message);
    return static_cast<int>(failure->code);
  }
  tillbridge::operations::Service service(loop, [&] { return daemon.status(); });
  const tillbridge::transport::SignalWatch signals(
      loop, {SIGTERM, SIGINT, SIGHUP}, [&](int signal) {
        if (signal == SIGHUP) {
          service.reloading();
          daemon.reload();
          service.ready();
          return;
        }
        service.stopping("saying goodbye to the tills");
        daemon.stop([&] { loop.stop(); });
      });
  service.ready();
  loop.run();
  log::info("ended");
  return static_cast<int>(ExitCode::success);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("USB server: gives each till the stick that is mapped to it.", "tillbridged");
  std::string file;
  bool check = false;
  app.add_option("--config", file,
                 std::string("configuration file; without it ") +
                     tillbridge::server::default_config_file +
                     " if it is there, and otherwise nothing but defaults");
  app.add_flag("--check-config", check, "only say whether the configuration file is right");
  app.set_version_flag("--version", "tillbridged " TILLBRIDGE_VERSION);
  app.footer(exit_codes);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::configuration);
  }
  try {
    const auto config = file.empty() ? tillbridge::server::load_default_config()
                                     : tillbridge::server::load_config(file);
    if (!config) {
      std::fprintf(stderr, "%s\n", config.error().message.c_str());
      return static_cast<int>(ExitCode::configuration);
    }
    if (check) {
      std::printf("%s: nothing wrong\n", config->file.c_str());
      return 0;
    }
    return run(*config);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tillbridged: %s\n", error.what());
    return 1;
  }
}
