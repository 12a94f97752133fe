#include "plugin/usbip_uplink.hpp"

#include <utility>

namespace tillbridge::plugin {

UsbipUplink::UsbipUplink(transport::Loop& loop, UsbipSource source, Log& log)
    : source_(std::move(source)),
      dialer_(loop, {source_.host, source_.port, std::nullopt, source_.host}, log),
      timer_(loop),
      loop_(loop) {}

void UsbipUplink::start(Events events) {
  events_ = std::move(events);
  dialer_.report(Level::warning,
                 "taking stick " + source_.busid + " from usbipd " + dialer_.address() +
                     " over a connection that is neither encrypted nor authenticated");
  dialer_.start([this](std::unique_ptr<transport::Stream> stream) { begin(std::move(stream)); });
}

void UsbipUplink::begin(std::unique_ptr<transport::Stream> stream) {
  stream_ = std::move(stream);
  const StickId stick = ++last_stick_;
  stream_->start({.received =
                      [this, stick](ByteView bytes) {
                        if (!stopped_) events_.received(stick, bytes);
                      },
                  .drained =
                      [this] {
                        if (!stopped_) events_.writable();
                      },
                  .closed = [this](const std::optional<Error>& error) { closed(error); }});
  events_.offered({.stick = stick,
                   .busid = source_.busid,
                   .label = source_.busid + " of usbipd " + dialer_.address(),
                   .pipeline = source_.pipeline});
}

void UsbipUplink::closed(const std::optional<Error>& error) {
  if (stopped_) {
    finish_stop();
    return;
  }
  stream_.reset();
  const std::string cause = error ? error->message : "it closed the connection";
  events_.withdrawn(last_stick_, "the connection to usbipd is lost");
  dialer_.lost(Level::warning,
               "lost usbipd " + dialer_.address() + ": " + cause + "; connecting again");
}

bool UsbipUplink::can_send() const {
  return stream_ && stream_->queued_bytes() < transport::Stream::write_queue_high_water;
}

void UsbipUplink::send(StickId stick, Bytes bytes) {
  if (stream_ && stick == last_stick_) stream_->write(std::move(bytes));
}

void UsbipUplink::usable(StickId /*stick*/) {
  dialer_.works();
}

void UsbipUplink::release(StickId stick) {
  if (stick == last_stick_) stream_.reset();  // the end of the connection gives a device back
}

void UsbipUplink::refuse(StickId stick, const std::string& why) {
  if (!stream_ || stick != last_stick_) return;
  stream_.reset();
  dialer_.lost(Level::error, why + " (asking usbipd again until it has it)");
}

void UsbipUplink::stop(std::function<void()> stopped) {
  dialer_.stop();
  if (!stream_) {
    stopped();
    return;
  }
  stopped_ = std::move(stopped);
  timer_.arm(loop_.now() + stop_patience, [this] { finish_stop(); });
  stream_->close();
}

void UsbipUplink::finish_stop() {
  timer_.cancel();
  stream_.reset();
  if (stopped_) std::exchange(stopped_, nullptr)();
}

}  // namespace tillbridge::plugin
