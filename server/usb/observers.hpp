// Several that keep account of the same things.
#pragma once

#include <string>
#include <vector>

#include "server/usb/observer.hpp"

namespace tillbridge::server {

/// Tells each of them, in this order. They outlive this.
class Observers final : public Observer {
 public:
  void add(Observer& observer) { all_.push_back(&observer); }

  void stick_arrived(const PresentStick& stick) override {
    for (Observer* each : all_) each->stick_arrived(stick);
  }
  void stick_left(const PresentStick& stick) override {
    for (Observer* each : all_) each->stick_left(stick);
  }
  void stick_judged(const PresentStick& stick) override {
    for (Observer* each : all_) each->stick_judged(stick);
  }
  void stick_offered(const PresentStick& stick) override {
    for (Observer* each : all_) each->stick_offered(stick);
  }
  void till_connected(const TillStatus& till) override {
    for (Observer* each : all_) each->till_connected(till);
  }
  void till_lost(const TillStatus& till, const std::string& cause) override {
    for (Observer* each : all_) each->till_lost(till, cause);
  }
  void till_back(const TillStatus& till) override {
    for (Observer* each : all_) each->till_back(till);
  }
  void till_left(const TillStatus& till, TillEnd how, const std::string& why) override {
    for (Observer* each : all_) each->till_left(till, how, why);
  }
  void connection_refused(const std::string& address, const TillIdentity& till,
                          const std::string& why, bool news) override {
    for (Observer* each : all_) each->connection_refused(address, till, why, news);
  }
  void lease_begun(const PresentStick& stick) override {
    for (Observer* each : all_) each->lease_begun(stick);
  }
  void lease_changed(const LeaseRecord& record) override {
    for (Observer* each : all_) each->lease_changed(record);
  }
  void lease_ended(const LeaseRecord& record) override {
    for (Observer* each : all_) each->lease_ended(record);
  }
  void kept_ended(const KeptLease& kept, LeaseEnd how) override {
    for (Observer* each : all_) each->kept_ended(kept, how);
  }

 private:
  std::vector<Observer*> all_;
};

}  // namespace tillbridge::server
