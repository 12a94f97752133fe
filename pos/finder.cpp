#include "pos/finder.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string_view>

#include "channel/bytes/limits.hpp"
#include "pos/mounted_stick.hpp"

namespace tillbridge::pos {
namespace {

namespace fs = std::filesystem;

std::string upper(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::toupper(letter)); });
  return result;
}

/// Blanks in /proc/mounts are written as octal numbers: "\040".
std::string unescaped(std::string_view field) {
  const auto octal = [](char digit) { return digit >= '0' && digit <= '7'; };
  std::string result;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size() && octal(field[i + 1]) && octal(field[i + 2]) &&
        octal(field[i + 3])) {
      const int code = (field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0');
      result.push_back(static_cast<char>(code));
      i += 3;
    } else {
      result.push_back(field[i]);
    }
  }
  return result;
}

bool is_fat(std::string_view type) {
  constexpr std::array<std::string_view, 4> types{"vfat", "msdos", "exfat", "fuseblk"};
  return std::find(types.begin(), types.end(), type) != types.end();
}

std::string read_mounts(const fs::path& path) {
  std::ifstream file(path);
  std::string text(limits::pos_mounts_bytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return text;
}

std::optional<Family> family_at(const fs::path& folder) {
  const Result<std::unique_ptr<StickVolume>> volume = open_mounted_stick(folder);
  if (!volume) return std::nullopt;
  const Result<std::vector<std::string>> files = (*volume)->list();
  if (!files) return std::nullopt;
  return family_of(*files);
}

void find_mounted(const fs::path& mounts, std::vector<Candidate>& found) {
  std::istringstream lines(read_mounts(mounts));
  std::set<std::string> devices;  // a stick that is mounted twice is one stick
  std::string line;
  while (found.size() < limits::pos_candidates && std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string device, folder, type;
    fields >> device >> folder >> type;
    if (!fields || !is_fat(type)) continue;
    folder = unescaped(folder);
    const std::optional<Family> family = family_at(folder);
    if (family && devices.insert(device).second) found.push_back({*family, folder, true});
  }
}

/// What udev puts into the name of a link: maker and product as the device's strings have them.
bool names_a_tse(std::string_view link) {
  const std::string name = upper(link);
  constexpr std::array<std::string_view, 3> words{"TSE", "DIEBOLD", "WINCOR"};
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return name.find(word) != std::string::npos; });
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  while (!error && entry != fs::directory_iterator() &&
         entries.size() < limits::pos_folder_entries) {
    entries.push_back(entry->path());
    entry.increment(error);
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

void find_serial(const FinderRoots& roots, std::vector<Candidate>& found) {
  std::set<fs::path> known;
  for (const fs::path& link : entries_of(roots.serial_by_id)) {
    if (found.size() == limits::pos_candidates) return;
    std::error_code error;
    const fs::path device = fs::canonical(link, error);
    if (error || !known.insert(device).second) continue;
    found.push_back({Family::diebold, link.string(), names_a_tse(link.filename().string())});
  }
  for (const fs::path& device : entries_of(roots.devices)) {
    if (found.size() == limits::pos_candidates) return;
    if (device.filename().string().rfind("ttyACM", 0) != 0) continue;
    std::error_code error;
    const fs::path canonical = fs::canonical(device, error);
    if (!error && known.insert(canonical).second)
      found.push_back({Family::diebold, device.string(), false});
  }
}

}  // namespace

const char* name_of(Family family) {
  switch (family) {
    case Family::cryptovision:
      return "cryptovision";
    case Family::swissbit:
      return "swissbit";
    case Family::diebold:
      return "diebold";
  }
  return "?";
}

std::optional<Family> family_of(const std::vector<std::string>& files) {
  bool magic_file = false, command_file = false, info_file = false;
  for (const std::string& file : files) {
    const std::string name = upper(file);
    magic_file = magic_file || name == "TSE-IO.BIN";
    command_file = command_file || name == "TSE_COMM.DAT";
    info_file = info_file || name == "TSE_INFO.DAT";
  }
  if (magic_file) return Family::cryptovision;
  if (command_file && info_file) return Family::swissbit;
  return std::nullopt;
}

std::vector<Candidate> find_sticks(const FinderRoots& roots) {
  std::vector<Candidate> found;
  find_mounted(roots.mounts, found);
  find_serial(roots, found);
  return found;
}

Outcome<Candidate> the_only(const std::vector<Candidate>& candidates) {
  std::vector<Candidate> likely;
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(likely),
               [](const Candidate& candidate) { return candidate.certain; });
  if (likely.empty()) likely = candidates;
  if (likely.size() == 1) return likely.front();
  if (likely.empty()) {
    return trouble(Trouble::no_stick,
                   "no TSE stick found: no mounted file system has TSE-IO.bin or TSE_COMM.DAT, and "
                   "there is no serial line /dev/ttyACM*. Plug the stick in and mount it, or name "
                   "it with --stick FOLDER or --stick /dev/ttyACM0");
  }
  std::string message = std::to_string(likely.size()) + " TSE sticks found:";
  for (const Candidate& candidate : likely)
    message += "\n  --stick " + candidate.place + "  (" + name_of(candidate.family) +
               (candidate.certain ? ")" : "?)");
  return trouble(Trouble::several_sticks, message + "\nChoose one by giving its --stick.");
}

Outcome<Candidate> look_at(const fs::path& place) {
  std::error_code error;
  const fs::file_status status = fs::status(place, error);
  const std::string name = place.string();
  if (fs::is_directory(status)) {
    const Result<std::unique_ptr<StickVolume>> volume = open_mounted_stick(place);
    if (!volume) return from_io(volume.error());
    const Result<std::vector<std::string>> files = (*volume)->list();
    if (!files) return from_io(files.error());
    const std::optional<Family> family = family_of(*files);
    if (family) return Candidate{*family, name, true};
    return trouble(Trouble::no_stick,
                   "no TSE stick at " + name +
                       ": it has neither TSE-IO.bin nor TSE_COMM.DAT and TSE_INFO.DAT. Is the "
                       "stick mounted there?");
  }
  if (fs::is_character_file(status)) return Candidate{Family::diebold, name, true};
  if (fs::is_block_file(status)) {
    return trouble(Trouble::usage, name + " is a disk: mount it, and give the folder");
  }
  if (fs::is_regular_file(status)) {
    return trouble(Trouble::usage, name + " is a file: give the folder where the stick is mounted");
  }
  return trouble(Trouble::no_stick, "no TSE stick at " + name +
                                        ": there is nothing of that name. Plug the stick in and "
                                        "mount it");
}

}  // namespace tillbridge::pos
