// Brings a SCSI command to its end that a till left in the middle.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "channel/massstorage/command_watch.hpp"
#include "channel/transport/loop.hpp"
#include "server/usb/stick_source.hpp"

namespace tillbridge::server {

/// A stick that waits for the data or the status of a command to be read would take the next user's
/// command block for something else. So what the till has asked for already runs to its end, the
/// rest of the data and the status are read and thrown away, and only then is the stick given back.
/// A command whose data was still to come cannot be completed by anybody but its till: it is ended
/// by the class's own means (Bulk-Only Transport 5.3.4: mass storage reset, both halts cleared),
/// which is no reset of the device. The same once a stick took longer than limits::command_end.
class CommandEnd {
 public:
  /// What a till's use leaves behind.
  struct Leftover {
    std::string name;  ///< of the stick, for the log
    std::unique_ptr<Stick> stick;
    std::shared_ptr<Stick::Events> events;  ///< that `stick` calls
    massstorage::CommandWatch watch;
    std::set<usb::TransferId> running;  ///< on the watched interface; all others were cancelled
  };

  CommandEnd(transport::Loop& loop, Leftover left);
  ~CommandEnd();
  CommandEnd(const CommandEnd&) = delete;
  CommandEnd& operator=(const CommandEnd&) = delete;
  CommandEnd(CommandEnd&&) = delete;
  CommandEnd& operator=(CommandEnd&&) = delete;

  /// `ended`: once, from the loop: destroy this, and the stick is free.
  void start(std::function<void()> ended);

 private:
  void completed(const usb::Completion& completion);
  void next();
  void submit(usb::Transfer transfer);
  void read_on();
  void abort(const std::string& why);
  void end();

  transport::Loop& loop_;
  Leftover left_;
  std::function<void()> ended_;
  transport::Timer timer_;
  std::deque<usb::SetupPacket> steps_;  ///< control requests to come next
  bool aborting_ = false, over_ = false;
  unsigned cleared_ = 0;  ///< halts
  std::uint64_t reads_ = 0;
  usb::TransferId control_ = 0;            ///< the last control request
  usb::TransferId last_id_ = 0xFFFF0000U;  ///< above those of any exporter
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server
