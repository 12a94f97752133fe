// Store: where a simulated TSE keeps what outlives a power failure.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::simulator::tse {

/// A small state text and an append-only log, changed together: after a crash at any point the
/// store holds either all of a commit() or nothing of it.
class Store {
 public:
  Store() = default;
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;
  Store(Store&&) = delete;
  Store& operator=(Store&&) = delete;
  virtual ~Store() = default;

  /// The last committed state; nothing: a fresh store.
  [[nodiscard]] virtual const std::optional<std::string>& state() const = 0;
  [[nodiscard]] virtual std::uint64_t log_bytes() const = 0;
  /// `offset + data.size() <= log_bytes()`.
  [[nodiscard]] virtual Status read_log(std::uint64_t offset, std::span<std::uint8_t> data) = 0;
  /// Appends to the log and replaces the state. An error means that nothing changed.
  [[nodiscard]] virtual Status commit(const std::string& state, ByteView appended) = 0;
  /// Replaces both, for a log from which exported entries were deleted.
  [[nodiscard]] virtual Status replace(const std::string& state, ByteView log) = 0;
};

/// Lost at the program's end.
[[nodiscard]] std::unique_ptr<Store> make_memory_store();

/// A folder (made if it does not exist, mode 0700; files 0600) that only one process at a time may
/// open. `at_step` is called before every single change of a file, with its name, for tests that
/// kill the process there.
[[nodiscard]] Result<std::unique_ptr<Store>> open_folder_store(
    const std::filesystem::path& folder, std::function<void(const char*)> at_step = {});

}  // namespace tillbridge::simulator::tse
