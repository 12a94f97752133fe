// Medium: the blocks behind a simulated mass-storage stick. A front end (a TSE's command file) sits
// in between.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::simulator {

/// 512: clients that open their files unbuffered rely on it.
inline constexpr std::uint32_t block_bytes = 512;

/// Blocks of 512 bytes. The stick asks only for ranges inside block_count() and for whole blocks;
/// it applies every WRITE before the command's status, in order and exactly once, which a front end
/// may rely on. An error becomes a medium error towards the host.
class Medium {
 public:
  Medium() = default;
  Medium(const Medium&) = delete;
  Medium& operator=(const Medium&) = delete;
  Medium(Medium&&) = delete;
  Medium& operator=(Medium&&) = delete;
  virtual ~Medium() = default;

  [[nodiscard]] virtual std::uint64_t block_count() const = 0;
  [[nodiscard]] virtual Status read(std::uint64_t block, std::span<std::uint8_t> data) = 0;
  [[nodiscard]] virtual Status write(std::uint64_t block, ByteView data) = 0;
  /// What was written before is kept from here on, also through a power failure of this machine.
  [[nodiscard]] virtual Status flush() = 0;

  // For front ends, whose blocks live. A plain disk has no use for them.
  /// A SCSI command begins. Returns how long the stick keeps the host waiting before it goes on (a
  /// stick that wakes up).
  [[nodiscard]] virtual Duration begin_command(std::uint8_t /*operation_code*/, Instant /*now*/) {
    return Duration(0);
  }
  virtual void power_cycle(Instant /*now*/) {}
  virtual void bus_reset(Instant /*now*/) {}
};

/// Sparse: memory is used only where something other than zeros was written.
class MemoryMedium final : public Medium {
 public:
  explicit MemoryMedium(std::uint64_t block_count) : block_count_(block_count) {}
  [[nodiscard]] std::uint64_t block_count() const override { return block_count_; }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override;
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override;
  [[nodiscard]] Status flush() override { return {}; }
  /// Memory in use for blocks.
  [[nodiscard]] std::size_t used_bytes() const { return chunks_.size() * chunk_bytes; }

 private:
  static constexpr std::size_t chunk_bytes = 32U << 10U;
  std::uint64_t block_count_;
  std::map<std::uint64_t, Bytes> chunks_;  ///< by byte offset / chunk_bytes
};

/// A file on this machine, sparse where the file system can. Only one Medium at a time may have a
/// file open: the second one is refused, because two writers would destroy the file system on it.
class FileMedium final : public Medium {
 public:
  /// An existing file: a whole number of blocks, at least one.
  [[nodiscard]] static Result<std::unique_ptr<FileMedium>> open(const std::string& path);
  /// A new file of zeros, readable by its owner only; refuses to overwrite an existing one.
  [[nodiscard]] static Result<std::unique_ptr<FileMedium>> create(const std::string& path,
                                                                  std::uint64_t block_count);
  ~FileMedium() override;
  FileMedium(const FileMedium&) = delete;
  FileMedium& operator=(const FileMedium&) = delete;
  FileMedium(FileMedium&&) = delete;
  FileMedium& operator=(FileMedium&&) = delete;

  [[nodiscard]] std::uint64_t block_count() const override { return block_count_; }
  [[nodiscard]] Status read(std::uint64_t block, std::span<std::uint8_t> data) override;
  [[nodiscard]] Status write(std::uint64_t block, ByteView data) override;
  [[nodiscard]] Status flush() override;

 private:
  FileMedium(int descriptor, std::string path, std::uint64_t block_count)
      : descriptor_(descriptor), path_(std::move(path)), block_count_(block_count) {}
  [[nodiscard]] static Result<std::unique_ptr<FileMedium>> take(int descriptor,
                                                                const std::string& path);
  [[nodiscard]] Status failed(const char* what, int error_number) const;

  int descriptor_;
  std::string path_;
  std::uint64_t block_count_;
};

}  // namespace tillbridge::simulator
