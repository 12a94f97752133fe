// One end of a link, of either side, against a peer that sends anything, cut anywhere, at any time,
// over several connections.
//
// Input: 1 byte side and whether the hello is spared; then pieces of 1 byte action, 1 byte size,
// the bytes.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <map>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "channel/link/endpoint.hpp"

namespace {

using namespace tillbridge;

constexpr link::SessionId session{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
constexpr std::uint8_t hello_type = 1, data_type = 2;

Bytes hello(std::uint64_t connection, bool resumed, std::uint64_t next_expected) {
  ByteWriter writer;
  writer.u8(hello_type);
  writer.zeros(3);
  writer.u32be(32);
  writer.u64be(connection);
  writer.u32be(0x54424C4B);
  writer.u16be(1);
  writer.u16be(resumed ? 1 : 0);
  writer.bytes(session);
  writer.u64be(next_expected);
  return writer.finish();
}

void require(bool ok) {
  if (!ok) std::abort();
}

class Run {
 public:
  explicit Run(bool till)
      : till_(till),
        endpoint_(till ? link::Side::till : link::Side::server,
                  till ? session : link::SessionId{}) {
    connect();
  }
  void receive(ByteView bytes) {
    endpoint_.receive(bytes, now_);
    look();
  }
  /// A hello as it should be, but for what it claims to have.
  void greet(std::uint64_t next_expected, bool resumed) {
    receive(hello(connections_, till_ && resumed, next_expected));
  }
  void act(std::uint8_t action) {
    if ((action & 1U) != 0) {
      now_ += std::chrono::milliseconds(action);
      endpoint_.advance(now_);
    }
    if ((action & 2U) != 0) endpoint_.send(action, Bytes(action), now_);
    if ((action & 4U) != 0) endpoint_.send_control(link::Released{action}, now_);
    if ((action & 8U) != 0) take_output();
    if ((action & 16U) != 0) {
      endpoint_.disconnected(now_);
      established_ = false;
    }
    if ((action & 32U) != 0) connect();
    look();
    if ((action & 64U) != 0) greet(action & 7U, (action & 128U) != 0);
  }

 private:
  void connect() {
    endpoint_.connected(now_);
    connections_ += 1;
    established_ = false;
    expected_number_.reset();
  }

  /// What goes out: whole frames; data frames counted without a gap from what the peer said it has;
  /// and the same frame under the same number, over all connections of a session.
  void take_output() {
    const Bytes output = endpoint_.take_output();
    require(output.size() <= 2 * limits::link_kept_bytes);
    for (ByteReader reader(output); reader.remaining() > 0;) {
      const std::uint8_t type = reader.u8();
      reader.skip(1);
      const std::uint16_t stream = reader.u16be();
      const std::uint32_t size = reader.u32be();
      const std::uint64_t number = reader.u64be();
      const ByteView payload = reader.take(size);
      require(reader.ok());
      if (type != data_type) continue;
      require(established_ && (!expected_number_ || *expected_number_ == number));
      expected_number_ = number + 1;
      Bytes frame(payload.begin(), payload.end());
      frame.push_back(static_cast<std::uint8_t>(stream));
      const auto [sent, is_new] = sent_.emplace(number, frame);
      require(is_new ? number + 1 == sent_.size() : sent->second == frame);
    }
  }

  void look() {
    while (const auto event = endpoint_.poll_event()) {
      require(!failed_);  // Failed is the last event
      if (std::holds_alternative<link::Endpoint::Failed>(*event)) {
        failed_ = true;
      } else if (std::holds_alternative<link::Endpoint::Lost>(*event)) {
        established_ = false;
      } else if (const auto* up = std::get_if<link::Endpoint::Established>(&*event)) {
        require(!established_);
        require(!up->resumed || established_before_);
        established_ = established_before_ = true;
        if (!up->resumed) sent_.clear();
        if (!up->resumed) expected_number_ = 0;
      } else if (const auto* data = std::get_if<link::Endpoint::Data>(&*event)) {
        require(established_before_ && data->stream != link::control_stream);
        require(!data->bytes.empty() && data->bytes.size() <= limits::link_frame_payload_bytes);
      } else {
        require(established_before_);
      }
    }
    while (endpoint_.poll_warning()) {
    }
    require(endpoint_.is_connected() == endpoint_.next_deadline().has_value());
    require(!failed_ || (!endpoint_.can_send() && endpoint_.kept_bytes() == 0 &&
                         !endpoint_.is_connected() && !endpoint_.can_resume()));
  }

  bool till_;
  Instant now_{};
  link::Endpoint endpoint_;
  std::uint64_t connections_ = 0;
  std::map<std::uint64_t, Bytes> sent_;
  std::optional<std::uint64_t> expected_number_;
  bool established_ = false;
  bool established_before_ = false;
  bool failed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  const auto caller = link::identify(input);
  require(!caller || !*caller || size >= 48);
  ByteReader reader(input);
  const std::uint8_t mode = reader.u8();
  Run run((mode & 1U) != 0);
  if ((mode & 2U) != 0) run.greet(0, false);
  while (reader.remaining() > 0) {
    run.act(reader.u8());
    const std::size_t piece = reader.u8();
    run.receive(reader.take(std::min(piece, reader.remaining())));
  }
  return 0;
}
