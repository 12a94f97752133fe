// What every verb of the program `tillbridge` has in common. A family of verbs is one file with one
// function that adds it to the command line; main.cpp lists them.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace tillbridge::cli {

/// Exit codes of every verb; scripts rely on them.
enum class Exit : int {
  success = 0,
  failed = 1,       ///< what was asked for did not work; the message says why
  usage = 2,        ///< command line or a configuration file
  unreachable = 3,  ///< the server does not answer
  refused = 4,      ///< the server says no
  not_found = 5,    ///< there is no such stick, till, mapping, ...
  interrupted = 6,  ///< by a signal, or waited in vain
};

/// What the command line asks for: set by the callback of the verb that was named, run by main()
/// once the whole line is understood. Exceptions that leave it are reported as `failed`.
using Chosen = std::function<Exit()>;

/// One such function for each family: adds its subcommands to `app`. Their callbacks set `chosen`,
/// which outlives them; they do nothing else.
void add_admin(CLI::App& app, Chosen& chosen);  ///< status, stick, till, map, ..., completion
void add_pair(CLI::App& app, Chosen& chosen);
void add_doctor(CLI::App& app, Chosen& chosen);
void add_capture(CLI::App& app, Chosen& chosen);

}  // namespace tillbridge::cli
