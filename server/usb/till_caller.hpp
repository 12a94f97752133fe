// A connection of a till that has not said yet which session it is for.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/link/endpoint.hpp"
#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"

namespace tillbridge::server {

class TillCaller {
 public:
  struct Events {
    /// Once: take_stream() and destroy this. `first_bytes` are for the session's endpoint; an error
    /// is what they are instead of a hello, which an endpoint of its own tells the peer.
    std::function<void(const Result<link::Caller>&, const Bytes& first_bytes)> identified;
    /// Once, instead: it left or said nothing in time; destroy this.
    std::function<void()> left;
  };

  TillCaller(transport::Loop& loop, std::unique_ptr<transport::Stream> stream, Events events);

  void start();
  [[nodiscard]] std::unique_ptr<transport::Stream> take_stream() { return std::move(stream_); }

 private:
  void received(ByteView bytes);

  transport::Loop& loop_;
  std::unique_ptr<transport::Stream> stream_;
  Events events_;
  std::string name_;  // "kasse-03 at 192.0.2.7:51344", for the log
  transport::Timer timer_;
  Bytes first_bytes_;
};

}  // namespace tillbridge::server
