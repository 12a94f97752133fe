// Rows with something in every member, and a store's whole content as text.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

#include "server/store/store.hpp"

namespace tillbridge::store::testing {

inline Time at(std::int64_t seconds, std::int64_t microseconds = 0) {
  return Time(std::chrono::seconds(1764000000 + seconds) + std::chrono::microseconds(microseconds));
}
inline const Time now = at(0);

inline Digest digest(std::uint8_t first) {
  Digest value{};
  for (std::size_t i = 0; i < value.size(); ++i) value.at(i) = static_cast<std::uint8_t>(first + i);
  return value;
}

inline Stick example_stick(const std::string& id = "1209:0001:5A2F") {
  return {id,           0x1209, 0x0001,     "5A2F", true,   "1-1.4", "TSE", "Bundesdruckerei",
          "Kasse vörn", at(1),  at(2, 345), "aabb", "ccdd", at(3)};
}
inline Till example_till(const std::string& name = "kasse-07") {
  return {name, "Eingang", at(4), "192.0.2.7", at(5), TillState::enrolled, "it's \"left\"\n; --"};
}
inline Certificate example_certificate(const std::string& fingerprint = "f1") {
  return {"01ab", "kasse-07", fingerprint, "k1", at(6), at(7), at(8), at(9), "stolen"};
}
inline Mapping example_mapping(const std::string& stick = "1209:0001:5A2F",
                               const std::string& till = "kasse-07", std::uint32_t position = 1) {
  return {0, stick, till, "anna", "ts-1", position, "pass", false, at(10), "admin", "new till"};
}
inline Lease example_lease() {
  return {0,       "1209:0001:5A2F", "kasse-07", "192.0.2.7:5", "anna",    "SHOP", "ts-1",
          "THIN7", "tillbridge 0.1", at(11),     at(12),        "goodbye", 2,      1000,
          3,       123456,           654321,     900,           12000,     "5e55", "f1/1-7"};
}
inline Token example_token(std::uint8_t first = 1, const std::string& till = "kasse-07") {
  return {digest(first), till, "1209:0001:5A2F", at(13), at(14), at(15), 4};
}
inline Pending example_pending(const std::string& key = "k3") {
  return {key,    "kasse-10", "192.0.2.10",           {0x30, 0x00, 0xFF},
          at(16), at(17),     PendingState::approved, "kasse-10"};
}
inline User example_user(const std::string& name = "anna") {
  return {name, Role::admin, "scrypt$32768$8$1$salt$hash", at(18), at(19)};
}
inline WebSession example_session(std::uint8_t first = 9, const std::string& user = "anna") {
  return {digest(first), user, "csrf", at(20), at(21), at(22)};
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "tillbridge-store-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  TemporaryFolder(TemporaryFolder&&) = delete;
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// The value of a Result that a test cannot go on without.
template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
inline void must(const Status& status) {
  if (!status) throw std::runtime_error(status.error().message);
}

}  // namespace tillbridge::store::testing
