#include "tse/diebold/buffer_fetch.hpp"

#include "channel/bytes/limits.hpp"

namespace tillbridge::tse::diebold {

Parameters BufferFetch::parameters() const {
  return {std::to_string(buffer_), std::to_string(sequence_)};
}

Result<std::optional<Response>> BufferFetch::accept(const Response& answer) {
  const auto packet = parse_buffer_packet(answer);
  if (!packet) return packet.error();
  if (packet->buffer != buffer_ || packet->sequence != sequence_) {
    return fail(ErrorCode::protocol,
                "the TSE answered with piece " + std::to_string(packet->sequence) + " of buffer " +
                    std::to_string(packet->buffer) + ", not with piece " +
                    std::to_string(sequence_) + " of buffer " + std::to_string(buffer_));
  }
  if (packet->data.size() > limits::diebold_buffer_bytes - frame_.size()) {
    return fail(ErrorCode::limit, "what the TSE holds in its buffer is too large to be an export");
  }
  frame_.insert(frame_.end(), packet->data.begin(), packet->data.end());
  ++sequence_;
  if (packet->more) return std::optional<Response>();
  auto response = parse_response(frame_);
  if (!response) return response.error();
  return std::optional<Response>(*std::move(response));
}

}  // namespace tillbridge::tse::diebold
