// Finder: which TSE sticks does this machine have?
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pos/family.hpp"
#include "pos/stick_io.hpp"
#include "pos/trouble.hpp"

namespace tillbridge::pos {

/// Where to look; tests have folders of their own.
struct FinderRoots {
  std::filesystem::path mounts = "/proc/mounts";
  std::filesystem::path devices = "/dev";
  std::filesystem::path serial_by_id = "/dev/serial/by-id";
};

struct Candidate {
  Family family{};
  std::string place;  ///< a folder or a tty
  /// A serial line tells what it is only when it is asked, and a stranger's modem is not asked
  /// unless nothing else could be meant.
  bool certain = true;
};

/// Mounted FAT file systems with a TSE's files, and serial lines of USB devices.
[[nodiscard]] std::vector<Candidate> find_sticks(const FinderRoots& roots);
/// The one stick among them. Failures say how to choose.
[[nodiscard]] Outcome<Candidate> the_only(const std::vector<Candidate>& candidates);
/// A folder or a tty that a person named.
[[nodiscard]] Outcome<Candidate> look_at(const std::filesystem::path& place);
/// By the files of a stick's root.
[[nodiscard]] std::optional<Family> family_of(const std::vector<std::string>& files);

}  // namespace tillbridge::pos
