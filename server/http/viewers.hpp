// Those who look: each gets the administration's events as server-sent events.
#pragma once

#include <list>
#include <memory>
#include <optional>
#include <string>

#include "channel/transport/loop.hpp"
#include "server/admin/events.hpp"
#include "server/admin/reply.hpp"
#include "server/http/logins.hpp"
#include "server/http/outflow.hpp"

namespace tillbridge::http {

/// The loop's thread only.
class Viewers {
 public:
  Viewers(transport::Loop& loop, admin::EventHub& events, Logins& logins);

  /// A reply that goes on. `last`: the Last-Event-ID of a viewer that comes again; what it missed
  /// is sent, or, if that is not known any more, one event "reload". `session`: the stream ends
  /// with it.
  [[nodiscard]] admin::Reply begin(const std::string& last, const std::string& address,
                                   const std::optional<store::Digest>& session);
  void cut_all();

 private:
  struct Viewer {
    std::shared_ptr<Outflow> flow;
    std::string address;
    std::optional<store::Digest> session;
    admin::EventHub::Subscription subscription;
  };
  void sweep();
  [[nodiscard]] std::string text(const admin::Event& event) const;

  transport::Loop& loop_;
  admin::EventHub& events_;
  Logins& logins_;
  /// In each event's id: numbers of another run of the program mean nothing.
  const std::string run_;
  std::list<Viewer> viewers_;
  transport::Timer sweeping_;
};

}  // namespace tillbridge::http
