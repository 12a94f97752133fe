// How the POS reaches a stick: files on it, or a serial line. Implementations: a mounted stick
// (mounted_stick), a tty (tty_line), and a host stack of our own over USB/IP (usbip_stick).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::pos {

/// How real clients open the files of a stick (the simulator has to bear each of them).
enum class OpenStyle : std::uint8_t {
  direct,         ///< one handle, O_DIRECT|O_SYNC, aligned buffers, 8192 bytes at a time
  direct_zeroed,  ///< the same, after 8192 zeros were written through it
  recreated,      ///< truncated and rewritten through the page cache first, then direct
  each_time,  ///< opened and closed for every read and write; the first 512 bytes, then the rest
  cached,     ///< synchronous, through the page cache, odd lengths; read through a second handle
};
[[nodiscard]] Result<OpenStyle> parse_open_style(std::string_view name);
[[nodiscard]] const char* name_of(OpenStyle style);

/// An open file of a stick. Offsets and sizes are multiples of 512 bytes (OpenStyle::cached also
/// takes odd sizes). What read() gives comes from the stick at that moment, never from a cache.
class StickFile {
 public:
  StickFile() = default;
  StickFile(const StickFile&) = delete;
  StickFile& operator=(const StickFile&) = delete;
  StickFile(StickFile&&) = delete;
  StickFile& operator=(StickFile&&) = delete;
  virtual ~StickFile() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  [[nodiscard]] virtual Status read(std::uint64_t offset, std::span<std::uint8_t> data) = 0;
  [[nodiscard]] virtual Status write(std::uint64_t offset, ByteView data) = 0;
};

/// The root folder of a stick's file system.
class StickVolume {
 public:
  StickVolume() = default;
  StickVolume(const StickVolume&) = delete;
  StickVolume& operator=(const StickVolume&) = delete;
  StickVolume(StickVolume&&) = delete;
  StickVolume& operator=(StickVolume&&) = delete;
  virtual ~StickVolume() = default;
  /// For messages: "/media/tse" or "1209:0001 5A2F00000001 at 127.0.0.1:3240".
  [[nodiscard]] virtual std::string name() const = 0;
  /// Names as they stand in the directory; compared without regard to case.
  [[nodiscard]] virtual Result<std::vector<std::string>> list() = 0;
  [[nodiscard]] virtual Result<std::unique_ptr<StickFile>> open(std::string_view file,
                                                                OpenStyle style) = 0;
};

/// A serial line in raw mode with DTR set.
class SerialLine {
 public:
  SerialLine() = default;
  SerialLine(const SerialLine&) = delete;
  SerialLine& operator=(const SerialLine&) = delete;
  SerialLine(SerialLine&&) = delete;
  SerialLine& operator=(SerialLine&&) = delete;
  virtual ~SerialLine() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  [[nodiscard]] virtual Status write(ByteView data) = 0;
  /// What has arrived, at least one byte; empty when nothing did within `timeout`.
  [[nodiscard]] virtual Result<Bytes> read(Duration timeout) = 0;
};

}  // namespace tillbridge::pos
