// One end of a link, of either side, against a peer that sends anything, cut anywhere, at any time.
//
// Input: 1 byte side and whether the hello is spared; then pieces of 1 byte action, 1 byte size,
// the bytes.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"
#include "channel/link/endpoint.hpp"

namespace {

using namespace tillbridge;

constexpr link::SessionId session{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

Bytes hello() {
  ByteWriter writer;
  writer.u8(1);
  writer.zeros(3);
  writer.u32be(32);
  writer.zeros(8);
  writer.u32be(0x54424C4B);
  writer.u16be(1);
  writer.u16be(0);
  writer.bytes(session);
  writer.u64be(0);
  return writer.finish();
}

void require(bool ok) {
  if (!ok) std::abort();
}

class Run {
 public:
  explicit Run(bool till)
      : endpoint_(till ? link::Side::till : link::Side::server,
                  till ? session : link::SessionId{}) {
    endpoint_.connected(now_);
  }
  void receive(ByteView bytes) {
    endpoint_.receive(bytes, now_);
    look();
  }
  void act(std::uint8_t action) {
    if ((action & 1U) != 0) {
      now_ += std::chrono::milliseconds(action);
      endpoint_.advance(now_);
    }
    if ((action & 2U) != 0) endpoint_.send(action, Bytes(action), now_);
    if ((action & 4U) != 0) endpoint_.send_control(link::Released{action}, now_);
    if ((action & 8U) != 0) require(endpoint_.take_output().size() <= 2 * limits::link_kept_bytes);
    look();
  }

 private:
  void look() {
    while (const auto event = endpoint_.poll_event()) {
      require(!failed_);  // Failed is the last event
      if (std::holds_alternative<link::Endpoint::Failed>(*event)) {
        failed_ = true;
      } else if (std::holds_alternative<link::Endpoint::Established>(*event)) {
        require(!established_);
        established_ = true;
      } else if (const auto* data = std::get_if<link::Endpoint::Data>(&*event)) {
        require(established_ && data->stream != link::control_stream);
        require(!data->bytes.empty() && data->bytes.size() <= limits::link_frame_payload_bytes);
      } else {
        require(established_);
      }
    }
    while (endpoint_.poll_warning()) {
    }
    require(failed_ != endpoint_.next_deadline().has_value());
    require(!failed_ || (!endpoint_.can_send() && endpoint_.kept_bytes() == 0));
  }

  Instant now_{};
  link::Endpoint endpoint_;
  bool established_ = false;
  bool failed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader reader(ByteView(data, size));
  const std::uint8_t mode = reader.u8();
  Run run((mode & 1U) != 0);
  if ((mode & 2U) != 0) run.receive(hello());
  while (reader.remaining() > 0) {
    run.act(reader.u8());
    const std::size_t piece = reader.u8();
    run.receive(reader.take(std::min(piece, reader.remaining())));
  }
  return 0;
}
