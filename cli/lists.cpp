#include "cli/lists.hpp"

#include <algorithm>
#include <map>

namespace tillbridge::cli {

namespace {

const std::map<std::string, std::string>& words() {
  static const std::map<std::string, std::string> all = {{"in_use", "in use"},
                                                         {"never_seen", "never seen"}};
  return all;
}

std::string state_of(const Json& object) {
  const std::string state = text_of(object, "state");
  const auto found = words().find(state);
  return found == words().end() ? state : found->second;
}

Json lease_of(const Json& state, const Json& stick) {
  return find_in(state.at("leases"), "id", text_of(stick, "lease"));
}

std::string conditions_of(const Json& mapping) {
  std::string text;
  if (!text_of(mapping, "user").empty()) text = "user " + text_of(mapping, "user");
  if (!text_of(mapping, "terminal_server").empty()) {
    text += (text.empty() ? "on " : " on ") + text_of(mapping, "terminal_server");
  }
  return text;
}

}  // namespace

void print_sticks(const Json& state) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> remedies;
  for (const Json& stick : state.at("sticks")) {
    const Json lease = lease_of(state, stick);
    std::string till = text_of(lease, "till");
    if (till.empty()) {
      for (const Json& id : stick.at("mappings")) {
        const Json mapping = find_in(state.at("mappings"), "id", id.get<std::string>());
        if (mapping.is_null()) continue;
        till += (till.empty() ? "(" : ", ") + text_of(mapping, "till");
      }
      if (!till.empty()) till += ")";
    }
    rows.push_back({text_of(stick, "id"), text_of(stick, "label"), state_of(stick), till,
                    age_of(lease, "since"), latency_of(lease, "p50_us"),
                    latency_of(lease, "p99_us"), text_of(stick, "port")});
    if (!text_of(stick, "problem").empty()) {
      remedies.push_back(text_of(stick, "id") + ": " + text_of(stick, "problem"));
      if (!text_of(stick, "remedy").empty()) remedies.push_back("  -> " + text_of(stick, "remedy"));
    }
  }
  print_table({"STICK", "LABEL", "STATE", "TILL", "SINCE", "P50", "P99", "PORT"}, rows,
              "no sticks: plug one in");
  for (const std::string& line : remedies) print_line(printable(line));
}

void print_tills(const Json& state) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& till : state.at("tills")) {
    const Json& session = till.value("session", Json());
    const Json& certificate = till.value("certificate", Json());
    std::string in;
    if (session.is_object()) {
      in = text_of(session, "user");
      if (!text_of(session, "terminal_server").empty()) {
        in += (in.empty() ? "on " : " on ") + text_of(session, "terminal_server");
      }
    }
    std::string left = text_of(certificate, "days_left");
    if (!left.empty()) left += " d";
    rows.push_back({text_of(till, "name"), text_of(till, "label"), state_of(till),
                    age_of(till, "state_since"), text_of(till, "address"), in,
                    age_of(till, "last_seen"), left});
  }
  print_table({"TILL", "LABEL", "STATE", "FOR", "ADDRESS", "SESSION", "SEEN", "CERTIFICATE"}, rows,
              "no tills: tillbridge till add NAME --stick STICK");
}

void print_times(const Json& till) {
  const Json& seconds = till.value("seconds_in", Json());
  if (!seconds.is_object()) return;
  std::string text;
  for (const auto& [state, spent] : seconds.items()) {
    if (!spent.is_number()) continue;
    auto whole = static_cast<long long>(spent.get<double>());
    if (state == text_of(till, "state")) {
      whole += std::max(0LL, seconds_since(till, "state_since").value_or(0));
    } else if (spent.get<double>() <= 0) {
      continue;
    }
    const auto word = words().find(state);
    text += (text.empty() ? "" : ", ") + (word == words().end() ? state : word->second) + " " +
            duration_text(whole);
  }
  print_line("since the server's start: " + printable(text));
}

void print_pending(const Json& state) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& pending : state.at("pending")) {
    rows.push_back({text_of(pending, "name"), text_of(pending, "words"),
                    text_of(pending, "address"), age_of(pending, "last_seen"),
                    text_of(pending, "id").substr(0, 16)});
  }
  print_table({"ASKS TO BE A TILL", "WORDS", "ADDRESS", "SEEN", "ID"}, rows,
              "no till waits for approval");
  if (!rows.empty()) {
    print_line("  -> compare the words with what the till shows: tillbridge till approve ID");
  }
}

void print_mappings(const Json& state) {
  std::vector<const Json*> sorted;
  for (const Json& mapping : state.at("mappings")) sorted.push_back(&mapping);
  std::stable_sort(sorted.begin(), sorted.end(), [](const Json* one, const Json* other) {
    const auto key = [](const Json& mapping) {
      return std::make_tuple(text_of(mapping, "stick"), text_of(mapping, "source") != "file",
                             mapping.value("position", 0));
    };
    return key(*one) < key(*other);
  });
  std::vector<std::vector<std::string>> rows;
  rows.reserve(sorted.size());
  for (const Json* mapping : sorted) {
    rows.push_back({text_of(*mapping, "stick"), text_of(*mapping, "position"),
                    text_of(*mapping, "till"), conditions_of(*mapping),
                    text_of(*mapping, "source") == "file" ? "file" : text_of(*mapping, "id"),
                    mapping->value("active", false) ? "in use" : "", text_of(*mapping, "reason")});
  }
  print_table({"STICK", "ORDER", "TILL", "ONLY", "ID", "", "REASON"}, rows,
              "no stick is mapped: tillbridge map STICK TILL");
}

void print_leases(const Json& state) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& lease : state.at("leases")) {
    rows.push_back({text_of(lease, "id"), text_of(lease, "stick"), text_of(lease, "till"),
                    text_of(lease, "state"), age_of(lease, "since"), text_of(lease, "transfers"),
                    text_of(lease, "errors"), latency_of(lease, "p50_us"),
                    latency_of(lease, "p99_us"), latency_of(lease, "rtt_us")});
  }
  print_table(
      {"LEASE", "STICK", "TILL", "STATE", "SINCE", "TRANSFERS", "ERRORS", "P50", "P99", "NETWORK"},
      rows, "no stick is in use");
}

void print_bonds(const Json& state, const char* member, const std::string& value) {
  Json mine = Json::object();
  for (const char* list : {"mappings", "leases"}) {
    mine[list] = Json::array();
    for (const Json& item : state.at(list)) {
      if (text_of(item, member) == value) mine[list].push_back(item);
    }
  }
  print_line("");
  print_mappings(mine);
  print_line("");
  print_leases(mine);
}

void print_values(const Json& object,
                  const std::vector<std::pair<const char*, const char*>>& rows) {
  std::size_t width = 0;
  for (const auto& [key, name] : rows) width = std::max(width, std::string(name).size());
  for (const auto& [key, name] : rows) {
    const std::string value = printable(text_of(object, key));
    if (value.empty() || value == "[]") continue;
    std::string line = name;
    line.append(width - line.size() + 2, ' ');
    print_line(line + value);
  }
}

}  // namespace tillbridge::cli
