// Sticks that outlive the server, as real ones do.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "server/usb/simulated_source.hpp"

namespace tillbridge::server::test {

/// Gives one server after the other the same sticks.
class LentSource final : public StickSource {
 public:
  explicit LentSource(std::shared_ptr<SimulatedSource> sticks) : sticks_(std::move(sticks)) {}
  void start(Observer observer) override {
    sticks_->start({[observer, alive = std::weak_ptr<bool>(alive_)](const Arrival& arrival) {
                      if (!alive.expired()) observer.arrived(arrival);
                    },
                    [observer, alive = std::weak_ptr<bool>(alive_)](const std::string& busid) {
                      if (!alive.expired()) observer.departed(busid);
                    }});
  }
  void hold(const std::string&) override {}
  void let_go(const std::string&) override {}
  [[nodiscard]] std::unique_ptr<Stick> open(const std::string& busid,
                                            Stick::Events events) override {
    return sticks_->open(busid, std::move(events));
  }

 private:
  std::shared_ptr<SimulatedSource> sticks_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace tillbridge::server::test
