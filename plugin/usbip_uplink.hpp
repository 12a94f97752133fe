// A stock usbipd as the place where the stick comes from: one TCP connection is one USB/IP
// conversation.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "channel/transport/stream.hpp"
#include "plugin/dialer.hpp"
#include "plugin/uplink.hpp"

namespace tillbridge::plugin {

class UsbipUplink final : public Uplink {
 public:
  UsbipUplink(transport::Loop& loop, UsbipSource source, Log& log);

  void start(Events events) override;
  [[nodiscard]] bool can_send() const override;
  void send(StickId stick, Bytes bytes) override;
  void flush() override {}  // the stream writes by itself
  void usable(StickId stick) override;
  void release(StickId stick) override;
  void refuse(StickId stick, const std::string& why) override;
  void stop(std::function<void()> stopped) override;

 private:
  void begin(std::unique_ptr<transport::Stream> stream);
  void closed(const std::optional<Error>& error);
  void finish_stop();

  UsbipSource source_;
  Dialer dialer_;
  Events events_;
  transport::Timer timer_;
  transport::Loop& loop_;
  std::unique_ptr<transport::Stream> stream_;
  std::function<void()> stopped_;
  StickId last_stick_ = 0;
};

}  // namespace tillbridge::plugin
