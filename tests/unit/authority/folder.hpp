// A folder that goes with the object.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace tillbridge::authority::test {

struct Folder {
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "tillbridge-ca-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::filesystem::path path;
};

}  // namespace tillbridge::authority::test
