// tillbridge: what an administrator and a till's installer type. See `tillbridge --help`.
#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>

#include "cli/verb.hpp"

namespace {

using tillbridge::cli::Chosen;
using tillbridge::cli::Exit;

constexpr const char* exit_codes = R"(Exit codes:
  0  done, or it was so already
  1  it did not work; the message says why
  2  the command line or a configuration file is wrong
  3  the server does not answer
  4  the server refuses it
  5  there is no such thing
  6  interrupted, or waited in vain)";

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Manages a tillbridge USB server, and makes a thin client one of its tills.",
               "tillbridge");
  app.set_version_flag("--version", "tillbridge " TILLBRIDGE_VERSION);
  app.require_subcommand(1);
  app.footer(exit_codes);
  Chosen chosen;
  tillbridge::cli::add_admin(app, chosen);
  tillbridge::cli::add_pair(app, chosen);
  tillbridge::cli::add_doctor(app, chosen);
  tillbridge::cli::add_capture(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(Exit::usage);
  }
  try {
    return static_cast<int>(chosen ? chosen() : Exit::usage);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tillbridge: %s\n", error.what());
    return static_cast<int>(Exit::failed);
  }
}
