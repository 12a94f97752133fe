#include "server/usb/config_simulated.hpp"

#include <limits>
#include <map>
#include <utility>

#include "channel/bytes/limits.hpp"

namespace tillbridge::server {

namespace {

template <typename T>
constexpr std::int64_t most_of = static_cast<std::int64_t>(std::min<std::uint64_t>(
    std::numeric_limits<T>::max(), std::numeric_limits<std::int64_t>::max()));

template <typename T>
void number(ConfigTable& table, const std::string& key, T& member) {
  member = static_cast<T>(table.number(key, 0, most_of<T>, static_cast<std::int64_t>(member)));
}

template <typename T>
void number(ConfigTable& table, const std::string& key, std::optional<T>& member) {
  if (const auto value = table.maybe_number(key, 0, most_of<T>)) member = static_cast<T>(*value);
}

void text(ConfigTable& table, const std::string& key, std::string& member) {
  if (auto value = table.text(key)) member = std::move(*value);
}

void file(ConfigTable& table, const std::string& key, const std::filesystem::path& folder,
          std::string& member) {
  if (const auto value = table.text(key); value && !value->empty())
    member = (folder / *value).lexically_normal().string();
}

void disk(ConfigTable& table, const std::filesystem::path& folder,
          simulator::DeviceOptions& options) {
  file(table, "image", folder, options.image);
  number(table, "size_mib", options.size_mib);
  text(table, "label", options.label);
  number(table, "cluster_bytes", options.cluster_bytes);
  text(table, "inquiry_vendor", options.inquiry_vendor);
  text(table, "inquiry_product", options.inquiry_product);
  text(table, "inquiry_revision", options.inquiry_revision);
}

void tse(ConfigTable& table, const std::filesystem::path& folder, simulator::TseOptions& options) {
  file(table, "state", folder, options.state);
  options.curve =
      table.word("curve", {"P-256", "P-384", "brainpoolP256r1", "brainpoolP384r1"}, options.curve);
  number(table, "signing_ms", options.signing_ms);
  number(table, "signing_jitter_ms", options.signing_jitter_ms);
  number(table, "self_test_ms", options.self_test_ms);
  number(table, "start_up_ms", options.start_up_ms);
  number(table, "sleep_after_s", options.sleep_after_s);
  number(table, "wake_up_ms", options.wake_up_ms);
  options.sleep_loses_answer = table.flag("sleep_loses_answer", options.sleep_loses_answer);
  number(table, "export_first_byte_ms", options.export_first_byte_ms);
  number(table, "export_kib_per_s", options.export_kib_per_s);
  number(table, "packet_gap_ms", options.packet_gap_ms);
  number(table, "time_valid_s", options.time_valid_s);
  number(table, "self_test_valid_s", options.self_test_valid_s);
  options.clock_rate = table.real("clock_rate", 0.0, 100000.0, options.clock_rate);
  number(table, "most_signatures", options.most_signatures);
  number(table, "store_mib", options.store_mib);
  number(table, "most_clients", options.most_clients);
  number(table, "most_open_transactions", options.most_open_transactions);
  number(table, "certificate_end_s", options.certificate_end_s);
}

simulator::DeviceOptions stick(ConfigTable& table, const std::filesystem::path& folder,
                               std::size_t place) {
  simulator::DeviceOptions options;
  options.kind = table.word(
      "kind", {"mass-storage", "serial-echo", "osr-fx2", "cryptovision", "swissbit", "diebold"},
      options.kind);
  options.path = table.text("path").value_or("simulated-" + std::to_string(place));
  number(table, "vendor_id", options.vendor_id);
  number(table, "product_id", options.product_id);
  text(table, "manufacturer", options.manufacturer);
  text(table, "product", options.product);
  text(table, "serial", options.serial);
  options.speed = table.word("speed", {"full", "high"}, options.speed);
  number(table, "delay_us", options.delay_us);
  number(table, "seed", options.seed);
  options.faults = table.texts("faults");
  // A key that the kind has no use for is as wrong as a typo: finish() says so.
  if (options.kind == "serial-echo") return options;
  if (options.kind == "osr-fx2") {
    number(table, "flip_every_ms", options.flip_every_ms);
    return options;
  }
  if (options.kind != "diebold") disk(table, folder, options);
  if (options.kind == "mass-storage") {
    options.sample_files = table.flag("sample_files", options.sample_files);
    options.write_protected = table.flag("write_protected", options.write_protected);
  } else {
    tse(table, folder, options.tse);
  }
  return options;
}

}  // namespace

std::vector<simulator::DeviceOptions> read_simulated(ConfigTable& root, ConfigProblems& problems,
                                                     const std::filesystem::path& folder) {
  std::vector<simulator::DeviceOptions> sticks;
  std::map<std::string, std::uint32_t> paths;
  for (const toml::table* found : root.tables("simulated")) {
    ConfigTable table(*found, "[[simulated]]", problems);
    sticks.push_back(stick(table, folder, sticks.size() + 1));
    table.finish();
    const std::string& path = sticks.back().path;
    if (const auto [other, added] = paths.emplace(path, table.line()); !added) {
      table.problem("path", "is '" + path + "' as in line " + std::to_string(other->second));
    }
  }
  return sticks;
}

}  // namespace tillbridge::server
