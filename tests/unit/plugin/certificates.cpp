#include "tests/unit/plugin/certificates.hpp"

#include <cstdlib>
#include <stdexcept>

namespace tillbridge::plugin::test {
namespace {

void run(const std::string& command) {
  if (std::system((command + " >/dev/null").c_str()) != 0)
    throw std::runtime_error(command + " failed");
}

}  // namespace

const Certificates& Certificates::get() {
  static const Certificates certificates;
  return certificates;
}

Certificates::Certificates() {
  std::string pattern = std::filesystem::temp_directory_path() / "tillbridge-plugin-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  folder_ = pattern;
  ours_ = folder_ / "ours";
  theirs_ = folder_ / "theirs";
  const std::string make = TILLBRIDGE_SOURCE_DIR "/packaging/make-certificates ";
  run(make + ours_.string() + " localhost 127.0.0.1 -- till");
  run(make + theirs_.string() + " localhost -- stranger");
}

Certificates::~Certificates() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace tillbridge::plugin::test
