// What the tests of the server have in common: certificates, a loop that runs until something is
// so, captured logs.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "channel/transport/loop.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server::test {

/// A folder that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  TemporaryFolder(TemporaryFolder&&) = delete;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  [[nodiscard]] std::filesystem::path operator/(const std::string& name) const {
    return path_ / name;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Made once per test program with packaging/make-certificates: "ours" knows kasse-01, kasse-02 and
/// a renewed kasse-01 in a folder of its own; "theirs" is another authority with a till "stranger".
class Certificates {
 public:
  static const Certificates& get();
  [[nodiscard]] std::filesystem::path authority() const { return folder_ / "ours/authority.crt"; }
  [[nodiscard]] std::filesystem::path certificate(const std::string& name) const {
    return folder_ / ((name == "stranger" ? "theirs/" : "ours/") + name + ".crt");
  }
  [[nodiscard]] std::filesystem::path key(const std::string& name) const {
    return folder_ / ((name == "stranger" ? "theirs/" : "ours/") + name + ".key");
  }
  /// SHA-256 as openssl prints it: "AB:CD:...".
  [[nodiscard]] std::string fingerprint(const std::string& name) const;
  [[nodiscard]] std::chrono::system_clock::time_point end(const std::string& name) const;

 private:
  Certificates();
  TemporaryFolder folder_;
};

/// The loop of a test. What happens on it calls poke(), which looks whether the test got what it
/// waits for.
class Bench {
 public:
  Bench();
  ~Bench();
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  Bench(Bench&&) = delete;
  Bench& operator=(Bench&&) = delete;

  transport::Loop loop;

  /// False if it did not become so within 30 s (by then something is broken).
  [[nodiscard]] bool run_until(const std::function<bool()>& condition);
  /// Runs everything that is due now.
  void run_what_is_due();
  void poke();

  /// Lines of the log that contain `part`.
  [[nodiscard]] std::size_t logged(const std::string& part) const;
  [[nodiscard]] std::string log_text() const;

 private:
  std::vector<std::string> lines_;
  std::function<bool()> condition_;
  bool poked_ = false;
};

void write_file(const std::filesystem::path& path, const std::string& text);

}  // namespace tillbridge::server::test
