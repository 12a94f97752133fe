#include "server/usb/till_caller.hpp"

#include <chrono>
#include <utility>

#include "server/usb/log.hpp"

namespace tillbridge::server {

TillCaller::TillCaller(transport::Loop& loop, std::unique_ptr<transport::Stream> stream,
                       Events events)
    : loop_(loop), stream_(std::move(stream)), events_(std::move(events)), timer_(loop) {
  name_ = log::printable(stream_->peer().name) + " at " + stream_->peer().address;
}

void TillCaller::start() {
  timer_.arm(loop_.now() + link::Endpoint::hello_timeout, [this] {
    log::warning("till " + name_ + " is disconnected: it did not say hello in time");
    const auto left = events_.left;  // the callee destroys this
    left();
  });
  stream_->start({[this](ByteView bytes) { received(bytes); },
                  {},
                  [this](const std::optional<Error>& error) {
                    log::info("till " + name_ + " left before it said hello" +
                              (error ? ": " + error->message : ""));
                    const auto left = events_.left;
                    left();
                  }});
}

void TillCaller::received(ByteView bytes) {
  // At most one buffer more than a hello: the rest of it is read by its session.
  first_bytes_.insert(first_bytes_.end(), bytes.begin(), bytes.end());
  const auto caller = link::identify(first_bytes_);
  if (!caller) return;
  timer_.cancel();
  const auto identified = events_.identified;  // the callee destroys this
  const Bytes first_bytes = std::move(first_bytes_);
  identified(*caller, first_bytes);
}

}  // namespace tillbridge::server
