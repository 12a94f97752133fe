// CryptovisionCard: commands and answers through a cryptovision stick's TSE-IO.bin.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "pos/clock.hpp"
#include "pos/stick_io.hpp"
#include "pos/trouble.hpp"
#include "tse/cryptovision/command.hpp"
#include "tse/cryptovision/frame.hpp"

namespace tillbridge::pos {

namespace cryptovision = ::tillbridge::tse::cryptovision;

class CryptovisionCard {
 public:
  CryptovisionCard(std::unique_ptr<StickVolume> volume, OpenStyle style, Clock& clock)
      : volume_(std::move(volume)), style_(style), clock_(clock) {}

  [[nodiscard]] std::string place() const { return volume_->name(); }
  /// (Re-)opens the file and keeps the card awake.
  [[nodiscard]] Deed open();

  /// One command with its whole answer. A card that does not become ready in 40 s, or lost its
  /// answer: Trouble::asleep.
  [[nodiscard]] Outcome<cryptovision::Parameters> command(
      cryptovision::CommandCode code, const cryptovision::Parameters& parameters = {});
  /// The same for answers that are an archive, handed on as it comes.
  [[nodiscard]] Deed bulk(cryptovision::CommandCode code,
                          const cryptovision::Parameters& parameters,
                          const std::function<Status(ByteView)>& sink);

 private:
  [[nodiscard]] Outcome<Bytes> exchange(const cryptovision::RequestFrame& request);
  [[nodiscard]] Deed send(const cryptovision::RequestFrame& request);
  [[nodiscard]] Outcome<cryptovision::ResponseFrame> read_response();
  [[nodiscard]] std::size_t padding() const;

  std::unique_ptr<StickVolume> volume_;
  OpenStyle style_;
  Clock& clock_;
  std::unique_ptr<StickFile> file_;
};

}  // namespace tillbridge::pos
