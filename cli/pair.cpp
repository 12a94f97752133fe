// `tillbridge pair`: makes this machine a till of a USB server.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/verb.hpp"

namespace tillbridge::cli {

namespace {

struct PairOptions {
  std::string line;
  std::filesystem::path config = "/etc/tillbridge/till.toml";
  std::string name;
};

}  // namespace

void add_pair(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<PairOptions>();
  CLI::App* verb = app.add_subcommand(
      "pair", "make this machine a till: its key is made here and never leaves it");
  verb->add_option("line", options->line,
                   "what the administrator handed over (tb1:HOST:PORT/FINGERPRINT/TOKEN), or "
                   "HOST[:PORT] to ask without a token")
      ->required();
  verb->add_option("--config", options->config, "the till's configuration, written by this")
      ->capture_default_str();
  verb->add_option("--name", options->name,
                   "what this till wants to be called; without it as the token says, or as this "
                   "machine is called");
  verb->callback([options, &chosen] {
    chosen = [options] {
      std::fprintf(stderr, "tillbridge: this build cannot pair\n");
      return Exit::failed;
    };
  });
}

}  // namespace tillbridge::cli
