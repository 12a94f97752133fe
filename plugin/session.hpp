// One RDP connection of the till: the sticks of an uplink on one side, the channels of the terminal
// server on the other. Knows nothing of FreeRDP.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "channel/rdpeusb/till_role.hpp"
#include "channel/transport/loop.hpp"
#include "plugin/deadline.hpp"
#include "plugin/log.hpp"
#include "plugin/stick.hpp"
#include "plugin/uplink.hpp"

namespace tillbridge::plugin {

using rdpeusb::ChannelId;

/// The way out to the terminal server. Called on the loop's thread.
class Channels {
 public:
  Channels() = default;
  virtual ~Channels() = default;
  Channels(const Channels&) = delete;
  Channels& operator=(const Channels&) = delete;
  virtual void send(ChannelId channel, Bytes message) = 0;
  /// Ends in Session::channel_closed(), later and once, whoever closes it in the end.
  virtual void close(ChannelId channel) = 0;
};

/// On the loop's thread. Nothing here blocks.
class Session {
 public:
  Session(transport::Loop& loop, std::unique_ptr<Uplink> uplink, Channels& channels, Log& log);

  void start();
  void channel_opened(ChannelId channel);
  void receive(ChannelId channel, ByteView message);
  void channel_closed(ChannelId channel);
  /// Gives the sticks back and says goodbye; `stopped` is called once, within
  /// Uplink::stop_patience.
  void stop(std::function<void()> stopped);

 private:
  struct Entry {
    explicit Entry(const Offer& its_offer)
        : offer(its_offer), stick(its_offer.busid, its_offer.pipeline), label(its_offer.label) {}
    Offer offer;
    Stick stick;
    std::string label;  ///< as the descriptors say, once they are read
    bool offered_to_session = false;
  };

  void offered(const Offer& offer);
  void withdrawn(StickId stick, const std::string& reason);
  void interrupted(StickId stick);
  void restored(StickId stick);
  void tell_if_paused();

  void pump();
  bool pump_role();
  bool pump_stick(Entry& entry);
  void take(rdpeusb::TillRole::Output output);
  void refuse(StickId stick, const std::string& why);
  void retire(StickId stick, Entry& entry);
  void tell_of_pipeline(const Entry& entry);
  [[nodiscard]] std::string label(StickId stick) const;

  transport::Loop& loop_;
  std::unique_ptr<Uplink> uplink_;
  Channels& channels_;
  Log& log_;
  rdpeusb::TillRole role_;
  Deadline deadline_;
  std::map<StickId, std::unique_ptr<Entry>> sticks_;
  StickId last_sent_ = 0;
  bool pumping_ = false;
  bool stopping_ = false;
  bool pausing_ = false;  ///< the uplink waits for the moment in which nothing is under way
};

}  // namespace tillbridge::plugin
