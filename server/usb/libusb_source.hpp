// Real sticks, through libusb.
#pragma once

#include <memory>
#include <string>

#include "channel/transport/loop.hpp"
#include "server/usb/stick_source.hpp"

namespace tillbridge::server {

/// libusb's events run on a thread of their own and are posted to the loop; what blocks (opening,
/// claiming, SET_CONFIGURATION, ...) runs on a thread for each stick in use, so that one slow stick
/// never holds up another. On a machine without USB it says so once and stays empty.
class LibusbSource final : public StickSource {
 public:
  explicit LibusbSource(transport::Loop& loop);
  ~LibusbSource() override;
  LibusbSource(const LibusbSource&) = delete;
  LibusbSource& operator=(const LibusbSource&) = delete;
  LibusbSource(LibusbSource&&) = delete;
  LibusbSource& operator=(LibusbSource&&) = delete;

  void start(Observer observer) override;
  void hold(const std::string& busid) override;
  void let_go(const std::string& busid) override;
  [[nodiscard]] std::unique_ptr<Stick> open(const std::string& busid,
                                            Stick::Events events) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace tillbridge::server
