// tillbridge-pos: a small point of sale for TSE sticks.
#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <variant>
#include <vector>

#include <termios.h>
#include <unistd.h>

#include "pos/verbs.hpp"

namespace tillbridge::pos {
namespace {

/// On the terminal itself, so that it works with a redirected output, and without an echo.
std::string ask_without_echo(const std::string& question) {
  if (::isatty(STDIN_FILENO) == 0) return {};
  std::fputs(question.c_str(), stderr);
  termios before{};
  const bool quiet = ::tcgetattr(STDIN_FILENO, &before) == 0;
  if (quiet) {
    termios silent = before;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  }
  std::string answer;
  std::getline(std::cin, answer);
  if (quiet) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  std::fputs("\n", stderr);
  return answer;
}

int complain(const Failure& failure, Reporter* reporter) {
  const auto code = static_cast<int>(failure.what);
  std::fprintf(stderr, "tillbridge-pos: %s\n", failure.message.c_str());
  if (reporter != nullptr && reporter->json()) {
    reporter->report({"failure", "", {{"code", std::uint64_t(code)}, {"text", failure.message}}});
  }
  return code;
}

int run(std::vector<std::string> arguments) {
  Outcome<std::variant<Options, PrintAndExit>> parsed = parse_options(std::move(arguments));
  if (!parsed) return complain(parsed.failure(), nullptr);
  if (const auto* print = std::get_if<PrintAndExit>(&*parsed)) {
    std::cout << print->text;
    return 0;
  }
  const Options& options = std::get<Options>(*parsed);
  Access::Settings settings;
  settings.secrets = options.secrets;
  settings.last_try = options.last_try;
  settings.memory =
      TriesMemory(options.tries_file.empty() ? TriesMemory::usual_file() : options.tries_file);
  if (options.prompt) settings.ask = ask_without_echo;
  Access access(std::move(settings));
  const std::unique_ptr<Clock> clock = system_clock();
  Reporter reporter(std::cout, options.json);
  const Screen screen{::isatty(STDOUT_FILENO) != 0};
  const Deed result = carry_out(options, access, FinderRoots{}, *clock, reporter, screen);
  return result ? 0 : complain(result.failure(), &reporter);
}

}  // namespace
}  // namespace tillbridge::pos

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-bounds-pointer-arithmetic): argv is what it is
    return tillbridge::pos::run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tillbridge-pos: %s\n", error.what());
    return static_cast<int>(tillbridge::pos::Trouble::failed);
  }
}
