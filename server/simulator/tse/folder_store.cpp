// A commit is: append to the log, make that durable, write state.json.new, make that durable, and
// rename it over state.json. The rename decides: before it, what was appended lies behind the
// log's valid length and is cut off when the folder is opened the next time.

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"
#include "server/simulator/tse/folder_state.hpp"
#include "server/simulator/tse/store.hpp"

namespace tillbridge::simulator::tse {
namespace {

namespace fs = std::filesystem;

constexpr const char* state_name = "state.json";
constexpr const char* new_state_name = "state.json.new";
constexpr const char* lock_name = "lock";
constexpr std::size_t copied_at_once_bytes = 1U << 20U;

std::string reason(int error) {
  return std::generic_category().message(error);
}

class File {
 public:
  File() = default;
  explicit File(int descriptor) : descriptor_(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] int descriptor() const { return descriptor_; }
  [[nodiscard]] bool is_open() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

class FolderStore final : public Store {
 public:
  FolderStore(fs::path folder, StepHook at_step)
      : folder_(std::move(folder)), at_step_(std::move(at_step)) {}

  Status open();

  [[nodiscard]] const std::optional<std::string>& state() const override { return kept_.state; }
  [[nodiscard]] std::uint64_t log_bytes() const override { return kept_.log_bytes; }
  Status read_log(std::uint64_t offset, std::span<std::uint8_t> data) override;
  Status commit(const std::string& state, ByteView appended) override;
  Status rewrite(const std::string& state, std::span<const LogRange> kept,
                 ByteView appended) override;

 private:
  [[nodiscard]] Status take_lock();
  [[nodiscard]] Status begin_fresh();
  [[nodiscard]] Status open_log();
  void remove_leftovers();

  [[nodiscard]] Status write_durably(const File& file, std::uint64_t offset, ByteView data,
                                     const std::string& name);
  [[nodiscard]] Status write_all(const File& file, std::uint64_t offset, ByteView data,
                                 const std::string& name);
  [[nodiscard]] Status read_all(const File& file, std::uint64_t offset,
                                std::span<std::uint8_t> data, const std::string& name);
  [[nodiscard]] Status store_state(FolderState next);
  [[nodiscard]] Status sync_folder();

  [[nodiscard]] File open_file(const std::string& name, int flags) const {
    return File(::openat(directory_.descriptor(), name.c_str(), flags | O_CLOEXEC, 0600));
  }
  [[nodiscard]] Error io_error(const std::string& what, const std::string& name) const {
    return fail(ErrorCode::io,
                "Cannot " + what + " " + (folder_ / name).string() + ": " + reason(errno) + ".");
  }
  [[nodiscard]] Error damaged(const std::string& what) const {
    return fail(ErrorCode::config, "The simulated TSE in " + folder_.string() + " is damaged: " +
                                       what + " Restore the whole folder from a copy, or name " +
                                       "another folder for a new TSE.");
  }
  void step(const char* name) const {
    if (at_step_) at_step_(name);
  }

  fs::path folder_;
  StepHook at_step_;
  File directory_, lock_, log_;
  FolderState kept_;
  /// After a failure behind the rename nobody knows what a power failure would leave.
  bool uncertain_ = false;
};

// --- opening

Status FolderStore::open() {
  std::error_code error;
  if (!fs::exists(folder_, error)) {
    if (folder_.has_parent_path()) fs::create_directories(folder_.parent_path(), error);
    if (::mkdir(folder_.c_str(), 0700) != 0 && errno != EEXIST)
      return io_error("make the folder", "");
  }
  directory_ = File(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_.is_open()) return io_error("open the folder", "");
  if (auto status = take_lock(); !status) return status;

  const File file = open_file(state_name, O_RDONLY);
  if (!file.is_open()) {
    if (errno != ENOENT) return io_error("open", state_name);
    return begin_fresh();
  }
  struct stat facts {};
  if (::fstat(file.descriptor(), &facts) != 0) return io_error("read", state_name);
  if (static_cast<std::uint64_t>(facts.st_size) > limits::tse_state_bytes)
    return damaged("state.json is too long.");
  Bytes text(static_cast<std::size_t>(facts.st_size));
  if (auto status = read_all(file, 0, text, state_name); !status) return status;
  auto state = parse_folder_state(std::string(text.begin(), text.end()));
  if (!state) return damaged("state.json cannot be read, " + state.error().message + ".");
  kept_ = std::move(*state);
  if (auto status = open_log(); !status) return status;
  remove_leftovers();
  return {};
}

Status FolderStore::take_lock() {
  lock_ = open_file(lock_name, O_RDWR | O_CREAT);
  if (!lock_.is_open()) return io_error("open", lock_name);
  if (::flock(lock_.descriptor(), LOCK_EX | LOCK_NB) == 0) return {};
  if (errno != EWOULDBLOCK) return io_error("lock", lock_name);
  return fail(ErrorCode::unavailable,
              "The simulated TSE in " + folder_.string() +
                  " is in use by another process. Stop that one, or name another folder.");
}

// The very first file is a state.json that names an empty log. So a log without a state.json is
// never the rest of an interrupted start, but a state that somebody lost.
Status FolderStore::begin_fresh() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (name == log_file_name(1))
      return damaged("log.tar is there, state.json (with the key) is missing.");
    if (name != lock_name && name != new_state_name)
      return fail(ErrorCode::config, "The folder " + folder_.string() +
                                         " holds other files, e.g. " + name +
                                         ". Name a new or an empty folder for a simulated TSE.");
  }
  if (error)
    return fail(ErrorCode::io, "Cannot list " + folder_.string() + ": " + error.message() + ".");
  if (auto status = store_state({}); !status) return status;
  return open_log();
}

Status FolderStore::open_log() {
  const std::string name = log_file_name(kept_.log_generation);
  log_ = open_file(name, O_RDWR | (kept_.log_bytes == 0 ? O_CREAT : 0));
  if (!log_.is_open()) {
    if (errno == ENOENT) return damaged(name + " is missing.");
    return io_error("open", name);
  }
  struct stat facts {};
  if (::fstat(log_.descriptor(), &facts) != 0) return io_error("read", name);
  const auto bytes = static_cast<std::uint64_t>(facts.st_size);
  if (bytes < kept_.log_bytes)
    return damaged(name + " has " + std::to_string(bytes) + " bytes, state.json says " +
                   std::to_string(kept_.log_bytes) + ".");
  if (bytes > kept_.log_bytes) {
    step("cut off what was never committed");
    if (::ftruncate(log_.descriptor(), static_cast<off_t>(kept_.log_bytes)) != 0)
      return io_error("shorten", name);
  }
  return {};
}

// A log that a rewrite did not finish, or the one before it. What cannot be removed does no harm.
void FolderStore::remove_leftovers() {
  for (const std::uint64_t generation : {kept_.log_generation - 1, kept_.log_generation + 1}) {
    if (generation == 0) continue;
    step("remove an old log");
    ::unlinkat(directory_.descriptor(), log_file_name(generation).c_str(), 0);
  }
}

// --- changes

Status FolderStore::commit(const std::string& state, ByteView appended) {
  if (!appended.empty()) {
    const std::string name = log_file_name(kept_.log_generation);
    if (auto status = write_durably(log_, kept_.log_bytes, appended, name); !status) {
      // Only tidiness: what lies behind log_bytes counts for nothing.
      (void)!::ftruncate(log_.descriptor(), static_cast<off_t>(kept_.log_bytes));
      return status;
    }
  }
  return store_state({kept_.log_generation, kept_.log_bytes + appended.size(), state});
}

Status FolderStore::rewrite(const std::string& state, std::span<const LogRange> kept,
                            ByteView appended) {
  const std::uint64_t generation = kept_.log_generation + 1;
  const std::string name = log_file_name(generation);
  step("create the new log");
  File log = open_file(name, O_RDWR | O_CREAT | O_TRUNC);
  if (!log.is_open()) return io_error("create", name);

  const auto fill = [&]() -> Result<std::uint64_t> {
    Bytes buffer;
    std::uint64_t end = 0;
    for (const LogRange& range : kept) {
      for (std::uint64_t done = 0; done < range.bytes;) {
        buffer.resize(std::min<std::uint64_t>(copied_at_once_bytes, range.bytes - done));
        if (auto status = read_log(range.offset + done, buffer); !status) return status.error();
        if (auto status = write_all(log, end, buffer, name); !status) return status.error();
        done += buffer.size();
        end += buffer.size();
      }
    }
    if (auto status = write_durably(log, end, appended, name); !status) return status.error();
    // The new log's name has to be durable before a state says it.
    if (auto status = sync_folder(); !status) return status.error();
    return end + appended.size();
  };
  const auto bytes = fill();
  Status status = bytes ? store_state({generation, *bytes, state}) : Status(bytes.error());
  if (!status) {
    if (!uncertain_) ::unlinkat(directory_.descriptor(), name.c_str(), 0);
    return status;
  }
  std::swap(log_, log);
  remove_leftovers();
  return {};
}

Status FolderStore::store_state(FolderState next) {
  if (uncertain_)
    return fail(ErrorCode::io, "The simulated TSE in " + folder_.string() +
                                   " could not store a change durably. Check the disk, then start "
                                   "the program again.");
  const std::string text = folder_state_text(next);
  step("create state.json.new");
  const File file = open_file(new_state_name, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.is_open()) return io_error("create", new_state_name);
  const Bytes bytes(text.begin(), text.end());
  if (auto status = write_durably(file, 0, bytes, new_state_name); !status) return status;
  step("rename state.json.new to state.json");
  if (::renameat(directory_.descriptor(), new_state_name, directory_.descriptor(), state_name) != 0)
    return io_error("replace", state_name);
  if (auto status = sync_folder(); !status) {
    uncertain_ = true;
    return status;
  }
  step("committed");
  kept_ = std::move(next);
  return {};
}

Status FolderStore::write_durably(const File& file, std::uint64_t offset, ByteView data,
                                  const std::string& name) {
  if (auto status = write_all(file, offset, data, name); !status) return status;
  step("sync");
  if (::fdatasync(file.descriptor()) != 0) return io_error("write", name);
  return {};
}

Status FolderStore::sync_folder() {
  step("sync the folder");
  if (::fsync(directory_.descriptor()) != 0) return io_error("write", "");
  return {};
}

// --- bytes

Status FolderStore::read_log(std::uint64_t offset, std::span<std::uint8_t> data) {
  assert(offset <= kept_.log_bytes && data.size() <= kept_.log_bytes - offset);
  return read_all(log_, offset, data, log_file_name(kept_.log_generation));
}

Status FolderStore::read_all(const File& file, std::uint64_t offset, std::span<std::uint8_t> data,
                             const std::string& name) {
  while (!data.empty()) {
    const ssize_t read =
        ::pread(file.descriptor(), data.data(), data.size(), static_cast<off_t>(offset));
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return io_error("read", name);
    if (read == 0) return damaged(name + " became shorter.");
    data = data.subspan(static_cast<std::size_t>(read));
    offset += static_cast<std::uint64_t>(read);
  }
  return {};
}

Status FolderStore::write_all(const File& file, std::uint64_t offset, ByteView data,
                              const std::string& name) {
  bool halved = !at_step_;
  step("write");
  while (!data.empty()) {
    const std::size_t wanted = halved ? data.size() : (data.size() + 1) / 2;
    const ssize_t written =
        ::pwrite(file.descriptor(), data.data(), wanted, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("write", name);
    data = data.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
    if (!std::exchange(halved, true)) step("write: first half done");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> open_folder_store(const std::filesystem::path& folder,
                                                 StepHook at_step) {
  auto store = std::make_unique<FolderStore>(folder, std::move(at_step));
  if (auto status = store->open(); !status) return status.error();
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace tillbridge::simulator::tse
