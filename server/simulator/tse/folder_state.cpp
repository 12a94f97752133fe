#include "server/simulator/tse/folder_state.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "channel/bytes/limits.hpp"

namespace tillbridge::simulator::tse {
namespace {

using Json = nlohmann::ordered_json;  // in the order in which it was written, for a person

constexpr std::uint64_t format = 1;
constexpr int deepest = 8;

}  // namespace

std::string log_file_name(std::uint64_t generation) {
  return generation == 1 ? "log.tar" : "log." + std::to_string(generation) + ".tar";
}

std::string folder_state_text(const FolderState& state) {
  const Json store = {{"format", format},
                      {"log", log_file_name(state.log_generation)},
                      {"log_generation", state.log_generation},
                      {"log_bytes", state.log_bytes}};
  return "{\"store\": " + store.dump() + ",\n\"tse\": " + state.state.value_or("null") + "}\n";
}

Result<FolderState> parse_folder_state(const std::string& text) {
  if (text.size() > limits::tse_state_bytes) return fail(ErrorCode::config, "it is too long");
  // The library reads any depth, but writes by recursion.
  bool too_deep = false;
  const auto watch_depth = [&too_deep](int depth, Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > deepest;
    return true;
  };
  const Json json = Json::parse(text, watch_depth, false);
  if (too_deep) return fail(ErrorCode::config, "it is nested too deeply");
  if (json.is_discarded()) return fail(ErrorCode::config, "it is no JSON text");
  if (!json.is_object() || !json.contains("store") || !json.contains("tse"))
    return fail(ErrorCode::config, R"("store" or "tse" is missing)");
  const Json& store = json["store"];
  const auto number = [&store](const char* key) -> std::optional<std::uint64_t> {
    if (!store.is_object() || !store.contains(key) || !store[key].is_number_unsigned())
      return std::nullopt;
    return store[key].get<std::uint64_t>();
  };
  const auto written_format = number("format");
  const auto generation = number("log_generation"), log_bytes = number("log_bytes");
  if (!written_format || !generation || *generation == 0 || !log_bytes)
    return fail(ErrorCode::config, R"("format", "log_generation" or "log_bytes" is no number)");
  if (*written_format != format)
    return fail(ErrorCode::config, "it has format " + std::to_string(*written_format) +
                                       ", and this program knows format " + std::to_string(format));
  FolderState state{*generation, *log_bytes, std::nullopt};
  // A string with bytes that are no UTF-8 cannot be here: the parser refuses them.
  if (!json["tse"].is_null()) state.state = json["tse"].dump();
  return state;
}

}  // namespace tillbridge::simulator::tse
