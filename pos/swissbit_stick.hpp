// SwissbitStick: commands, INFO and the store of a Swissbit stick, through its files.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "pos/clock.hpp"
#include "pos/stick_io.hpp"
#include "pos/trouble.hpp"
#include "tse/swissbit/protocol.hpp"

namespace tillbridge::pos {

namespace swissbit = ::tillbridge::tse::swissbit;

class SwissbitStick {
 public:
  SwissbitStick(std::unique_ptr<StickVolume> volume, OpenStyle style, Clock& clock)
      : volume_(std::move(volume)), style_(style), clock_(clock) {}

  [[nodiscard]] std::string place() const { return volume_->name(); }
  /// (Re-)opens the files.
  [[nodiscard]] Deed open();
  [[nodiscard]] Outcome<swissbit::Info> info();

  /// One command and its answer. A status other than ok is a Failure, except those for which
  /// `accept` says true. No answer within 40 s (a self test: 90 s), or a counter that says the
  /// stick lost power: Trouble::asleep.
  struct Reply {
    swissbit::CommandStatus status{};
    Bytes data;
  };
  [[nodiscard]] Outcome<Reply> reply(const swissbit::Command& command);
  [[nodiscard]] Outcome<Bytes> command(const swissbit::Command& command);
  [[nodiscard]] static Failure refused(swissbit::CommandStatus status);

  /// Blocks of the store, over the borders of its files. Sizes are whole blocks.
  [[nodiscard]] Deed read_store(std::uint64_t block, std::span<std::uint8_t> data);
  [[nodiscard]] Deed write_store(std::uint64_t block, ByteView data);
  void wait(Duration duration) { clock_.wait(duration); }

 private:
  [[nodiscard]] Outcome<swissbit::Answer> read_answer();
  [[nodiscard]] Outcome<swissbit::Answer> wait_for_answer(Duration limit, bool counts);
  [[nodiscard]] Deed send(const swissbit::Command& command);
  [[nodiscard]] Outcome<StickFile*> store_file(std::uint64_t block);

  std::unique_ptr<StickVolume> volume_;
  OpenStyle style_;
  Clock& clock_;
  std::unique_ptr<StickFile> info_, comm_;
  std::map<unsigned, std::unique_ptr<StickFile>> store_;
  /// Of the last answer; nothing: what stood there was none.
  std::optional<std::uint32_t> last_counter_;
};

}  // namespace tillbridge::pos
