// The transcript: every URBDRC message of every session as one line of JSON.
#pragma once

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "channel/bytes/instant.hpp"
#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/pdu/follower.hpp"
#include "channel/rdpeusb/till_role.hpp"

namespace tillbridge::terminal {

/// The file. All sessions write to it; a line is one write. Keys of a line: "ms" since the
/// session's start, "session", "channel", then of a message "direction" (server_to_client or
/// client_to_server), "message", "detail", "bytes" and "fields" (names as in MS-RDPEUSB, in the
/// order of the wire), of anything else "event" (opened, refused, closed).
///
/// What a driver and its device say to each other is a TSE's data and PINs. Without `with_data` it
/// is written as its length and a digest under a key that is made for this file and kept nowhere:
/// the same data shows as the same within the file, and a PIN cannot be found by trying them all.
class TranscriptFile {
 public:
  /// Replaces the file; only its owner may read it.
  [[nodiscard]] static Result<std::shared_ptr<TranscriptFile>> create(
      const std::filesystem::path& path, bool with_data);
  ~TranscriptFile();
  TranscriptFile(const TranscriptFile&) = delete;
  TranscriptFile& operator=(const TranscriptFile&) = delete;

  /// Whose line it is, and when: milliseconds since the session's start.
  struct Place {
    std::uint32_t session;
    double ms;
    rdpeusb::ChannelId channel;
  };
  void message(const Place& place, bool from_server, ByteView bytes,
               const Result<rdpeusb::pdu::Description>& description);
  /// `by`: "server" or "client".
  void event(const Place& place, const std::string& name, const std::string& by);

  using Key = std::array<unsigned char, 32>;

 private:
  TranscriptFile(std::FILE* file, bool with_data) : file_(file), with_data_(with_data) {}
  void write(const std::string& line);

  std::FILE* file_;
  bool with_data_;
  Key key_{};
  std::mutex mutex_;
};

/// One session's part of it. Without a file it does nothing.
class Transcript {
 public:
  Transcript(std::shared_ptr<TranscriptFile> file, std::uint32_t session, Instant start)
      : file_(std::move(file)), session_(session), start_(start) {}

  void opened(rdpeusb::ChannelId channel, Instant now);
  void refused(Instant now);
  /// `by`: "server" or "client". Unknown channels are ignored.
  void closed(rdpeusb::ChannelId channel, const std::string& by, Instant now);
  void sent(rdpeusb::ChannelId channel, ByteView message, Instant now);
  void received(rdpeusb::ChannelId channel, ByteView message, Instant now);

 private:
  [[nodiscard]] TranscriptFile::Place place(rdpeusb::ChannelId channel, Instant now) const;

  std::shared_ptr<TranscriptFile> file_;
  std::uint32_t session_;
  Instant start_;
  std::map<rdpeusb::ChannelId, rdpeusb::pdu::Follower> channels_;
};

}  // namespace tillbridge::terminal
