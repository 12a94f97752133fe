// `tillbridge completion bash|zsh|fish`: made from the command line's own description, so that it
// knows every verb and option that this very program has.
#include <map>
#include <set>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/admin_session.hpp"

namespace tillbridge::cli {

namespace {

struct Choice {
  std::string word, help;
  bool takes_value = false;
};

struct Place {
  std::string path;  ///< "till add"; empty: the program itself
  std::vector<Choice> verbs, options;
  std::vector<std::string> names;  ///< of what its arguments are: "stick", "till"
};

std::string first_line(std::string text) {
  text = text.substr(0, text.find('\n'));
  std::string plain;
  for (const char character : text) {
    // Nothing that a shell would read.
    if (std::string_view("'\"`$\\[]").find(character) == std::string_view::npos) plain += character;
  }
  return plain;
}

void collect_options(const CLI::App& app, std::set<std::string>& known, Place& place) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      if (known.insert(name).second) {
        place.options.push_back({"--" + name, first_line(option->get_description()),
                                 option->get_items_expected() != 0});
      }
    }
  }
}

void collect(const CLI::App& app, const std::string& path, std::vector<Place>& places) {
  Place place;
  place.path = path;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    // Verbs without a description are for these scripts themselves.
    if (!sub->get_description().empty()) {
      place.verbs.push_back({sub->get_name(), first_line(sub->get_description()), false});
    }
  }
  std::set<std::string> known;
  collect_options(app, known, place);
  // What is asked for at a verb may be written behind what stands below it.
  const CLI::App* above = app.get_parent();
  if (above != nullptr && above->get_parent() != nullptr) collect_options(*above, known, place);
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name();
    if (option->get_positional() && (name == "stick" || name == "till"))
      place.names.push_back(name);
  }
  places.push_back(std::move(place));
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (sub->get_description().empty()) continue;
    collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), places);
  }
}

std::string words_of(const Place& place) {
  std::string words;
  for (const auto& list : {place.verbs, place.options}) {
    for (const Choice& choice : list) words += (words.empty() ? "" : " ") + choice.word;
  }
  return words;
}

std::string names_of(const Place& place) {
  std::string words;
  for (const std::string& name : place.names) words += (words.empty() ? "" : " ") + name;
  return words;
}

/// How bash and zsh find out where they are: the verbs before the word that is completed.
std::string cases(const std::vector<Place>& places, const std::string& variable) {
  std::string text;
  for (const Place& place : places) {
    text += "    '" + place.path + "') " + variable + "='" + words_of(place) + "'; names='" +
            names_of(place) + "';;\n";
  }
  return text;
}

std::string paths_of(const std::vector<Place>& places) {
  std::string text = "|";
  for (const Place& place : places) text += place.path + "|";
  return text;
}

std::string bash(const std::vector<Place>& places) {
  return R"sh(# tillbridge: completion for bash; made by "tillbridge completion bash"
_tillbridge() {
  local current=${COMP_WORDS[COMP_CWORD]} path='' word words='' names='' name i
  local paths=')sh" +
         paths_of(places) + R"sh('
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    [[ $paths == *"|${path:+$path }$word|"* ]] && path=${path:+$path }$word
  done
  case $path in
)sh" + cases(places, "words") +
         R"sh(  esac
  for name in $names; do
    [[ $current == -* ]] || words+=" $("${COMP_WORDS[0]}" names "$name" 2>/dev/null)"
  done
  # A stick's id has colons, at which bash cuts words.
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions "$current"
}
complete -F _tillbridge tillbridge
)sh";
}

std::string zsh(const std::vector<Place>& places) {
  return R"sh(#compdef tillbridge
# tillbridge: completion for zsh; made by "tillbridge completion zsh"
_tillbridge() {
  local -a typed=("${words[@]}")
  local place='' word choices='' names='' name i
  local paths=')sh" +
         paths_of(places) + R"sh('
  for ((i = 2; i < CURRENT; ++i)); do
    word=${typed[i]}
    [[ $paths == *"|${place:+$place }$word|"* ]] && place=${place:+$place }$word
  done
  case $place in
)sh" + cases(places, "choices") +
         R"sh(  esac
  for name in ${=names}; do
    choices+=" $(tillbridge names $name 2>/dev/null)"
  done
  compadd -- ${=choices}
}
compdef _tillbridge tillbridge
)sh";
}

std::string fish(const std::vector<Place>& places) {
  std::string text =
      "# tillbridge: completion for fish; made by \"tillbridge completion fish\"\n"
      "function __tillbridge_at\n"
      "  set -l path ''\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    set -l longer (string trim \"$path $word\")\n"
      "    contains -- $longer $__tillbridge_paths; and set path $longer\n"
      "  end\n"
      "  test \"$path\" = \"$argv[1]\"\n"
      "end\n"
      "set -g __tillbridge_paths";
  for (const Place& place : places) {
    if (!place.path.empty()) text += " '" + place.path + "'";
  }
  text += "\ncomplete -c tillbridge -f\n";
  for (const Place& place : places) {
    const std::string here = "complete -c tillbridge -n \"__tillbridge_at '" + place.path + "'\" ";
    for (const Choice& verb : place.verbs) {
      text += here + "-a " + verb.word + " -d '" + verb.help + "'\n";
    }
    for (const Choice& option : place.options) {
      text += here + "-l " + option.word.substr(2) + (option.takes_value ? " -r" : "") + " -d '" +
              option.help + "'\n";
    }
    for (const std::string& name : place.names) {
      text += here;
      text.append("-a '(tillbridge names ").append(name).append(" 2>/dev/null)'\n");
    }
  }
  return text;
}

}  // namespace

void add_completion(CLI::App& app, Chosen& chosen, const std::shared_ptr<AdminOptions>& options) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* verb =
      app.add_subcommand("completion",
                         "a script that lets a shell complete what you type here; e.g. source "
                         "<(tillbridge completion bash)");
  verb->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember(std::vector<std::string>{"bash", "zsh", "fish"}));
  verb->callback([&app, &chosen, shell] {
    chosen = [&app, shell] {
      std::vector<Place> places;
      collect(app, "", places);
      const std::string script = *shell == "bash"  ? bash(places)
                                 : *shell == "zsh" ? zsh(places)
                                                   : fish(places);
      (void)std::fputs(script.c_str(), stdout);
      return Exit::success;
    };
  });

  // For these scripts; it has no description, so that no help shows it.
  const auto what = std::make_shared<std::string>();
  CLI::App* names = app.add_subcommand("names", "");
  names->group("");
  add_admin_options(*names, *options, false);
  names->add_option("what", *what)->required();
  runs(*names, chosen, options, [what](AdminSession& session) {
    // A shell cannot ask for a password in the middle of a line.
    if (!session.options().server.server.empty()) return;
    const Json state = session.get("/state");
    const bool sticks = *what == "stick";
    for (const Json& item : state.at(sticks ? "sticks" : "tills")) {
      const std::string serial = text_of(item, "serial");
      print_line(printable(!sticks          ? text_of(item, "name")
                           : serial.empty() ? text_of(item, "id")
                                            : serial));
    }
  });
}

}  // namespace tillbridge::cli
