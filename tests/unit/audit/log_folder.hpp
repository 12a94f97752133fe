// A folder for a log of one test, and entries to put into it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>

#include <unistd.h>

#include "server/audit/audit_log.hpp"
#include "server/audit/reading.hpp"

namespace tillbridge::audit::testing {

inline Time at(std::int64_t seconds, std::int64_t microseconds = 0) {
  return Time(std::chrono::seconds(1795406706 + seconds) +  // 2026-11-23T04:05:06Z
              std::chrono::microseconds(microseconds));
}

inline Entry lease_begun(const std::string& stick = "1209:0001:5A2F", std::int64_t lease = 7) {
  return {.kind = Kind::lease_begun,
          .who = "till kasse-07",
          .stick = stick,
          .till = "kasse-07",
          .details = {{Field::lease, lease}, {Field::address, "192.0.2.7:50000"}}};
}
inline Entry mapping_added(const std::string& stick = "1209:0001:5A2F") {
  return {.kind = Kind::mapping_added,
          .who = "admin anna",
          .stick = stick,
          .till = "kasse-07",
          .reason = "new \"till\" – Köln",
          .details = {{Field::pipeline, true}, {Field::mapping, std::int64_t{12}}}};
}

class LogFolder {
 public:
  LogFolder() {
    // In memory where that is possible: what is shown does not depend on the disk.
    const std::filesystem::path memory = "/dev/shm";
    std::string name =
        ((::access(memory.c_str(), W_OK) == 0 ? memory : std::filesystem::temp_directory_path()) /
         "tillbridge-audit-XXXXXX")
            .string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    parent_ = name;
  }
  ~LogFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(parent_, ignored);
  }
  LogFolder(const LogFolder&) = delete;
  LogFolder& operator=(const LogFolder&) = delete;
  LogFolder(LogFolder&&) = delete;
  LogFolder& operator=(LogFolder&&) = delete;

  [[nodiscard]] std::filesystem::path path() const { return parent_ / "audit"; }
  [[nodiscard]] std::filesystem::path file(const std::string& name) const { return path() / name; }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream stream(file(name), std::ios::binary);
    if (!stream.is_open()) throw std::runtime_error(name + " is not there");
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(file(name), std::ios::binary | std::ios::trunc) << content;
  }

  /// All files, to come back to.
  [[nodiscard]] std::map<std::string, std::string> keep() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(path())) {
      if (!entry.is_regular_file()) continue;
      const std::string name = entry.path().filename().string();
      files[name] = read(name);
    }
    return files;
  }
  void restore(const std::map<std::string, std::string>& files) const {
    std::filesystem::remove_all(path());
    std::filesystem::create_directory(path());
    std::filesystem::permissions(path(), std::filesystem::perms::owner_all);
    for (const auto& [name, content] : files) {
      write(name, content);
      std::filesystem::permissions(
          file(name), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    }
  }

 private:
  std::filesystem::path parent_;
};

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
inline void must(const Status& status) {
  if (!status) throw std::runtime_error(status.error().message);
}

inline std::string findings(const Report& report) {
  std::string text;
  for (const Finding& finding : report.findings) {
    text += "#" + std::to_string(finding.n) + " " + finding.file + ": " + finding.what + "\n";
  }
  return text;
}

}  // namespace tillbridge::audit::testing
