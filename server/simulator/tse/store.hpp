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

struct LogRange {
  std::uint64_t offset = 0, bytes = 0;
};

/// A small state (a JSON text) and an append-only log, changed together: after a crash at any point
/// the store holds either all of a change or nothing of it.
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
  /// Keeps only these parts of the log, in this order, then appends and replaces the state: for
  /// deleting what was exported. An error means that nothing changed.
  [[nodiscard]] virtual Status rewrite(const std::string& state, std::span<const LogRange> kept,
                                       ByteView appended) = 0;
};

/// Lost at the program's end.
[[nodiscard]] std::unique_ptr<Store> make_memory_store();

/// Called before every single change of a file, and in the middle of each write, with a name of the
/// step: for tests that kill the process there.
using StepHook = std::function<void(const char* step)>;

/// A folder (made if it does not exist, mode 0700; files 0600) that only one process at a time may
/// open. A person can read it:
///   state.json  everything but the logs, the private key and the PINs included; names the log file
///   log.tar     and its valid length (log.2.tar, ... after deletions)
///   lock        held while a process has the folder open
/// ErrorCode::config: not a folder of ours, damaged; unavailable: in use; io.
[[nodiscard]] Result<std::unique_ptr<Store>> open_folder_store(const std::filesystem::path& folder,
                                                               StepHook at_step = {});

}  // namespace tillbridge::simulator::tse
