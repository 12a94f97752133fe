// The USB server's program in a simulation, and what outlives it: the sticks and its store.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "channel/transport/loop.hpp"
#include "pos/family.hpp"
#include "server/usb/simulated_source.hpp"
#include "server/usb/usb_server.hpp"
#include "tests/simulation/ledger.hpp"

namespace tillbridge::simulation {

/// The leases as the server's store has them, over its deaths, and what the server tells of its
/// tills.
class LeaseBook final : public server::Observer {
 public:
  void lease_begun(const server::PresentStick& stick) override;
  void lease_ended(const server::LeaseRecord& record) override;
  void kept_ended(const server::KeptLease& kept, server::LeaseEnd how) override;
  void till_back(const server::TillStatus& till) override;

  [[nodiscard]] std::vector<server::KeptLease> open() const;
  /// The till that has this stick; empty: none.
  [[nodiscard]] std::string holder(const std::string& stick) const;
  void server_lives(bool lives);

  [[nodiscard]] std::size_t resumed() const noexcept { return resumed_; }
  [[nodiscard]] std::size_t continued() const noexcept { return continued_; }
  [[nodiscard]] std::size_t handed_over() const noexcept { return handed_over_; }

 private:
  bool lives_ = false;  ///< else nobody writes into it any more
  std::map<std::string, server::KeptLease> leases_;
  std::map<std::string, std::string> holders_, last_;
  std::size_t resumed_ = 0, continued_ = 0, handed_over_ = 0;
};

/// A TSE, in whichever hands.
struct Stick {
  Stick(World& world, const LeaseBook& book, pos::Family its_family, unsigned number);

  pos::Family family;
  std::string serial;
  std::string identity;  ///< as the server names it
  std::shared_ptr<simulator::Device> device;
  Ledger ledger;
};

/// Destroying it is kill -9.
class ServerProgram {
 public:
  ServerProgram(World& world, const std::vector<std::unique_ptr<Stick>>& sticks,
                const server::Config& config, LeaseBook& book);
  ~ServerProgram();
  ServerProgram(const ServerProgram&) = delete;
  ServerProgram& operator=(const ServerProgram&) = delete;
  ServerProgram(ServerProgram&&) = delete;
  ServerProgram& operator=(ServerProgram&&) = delete;

  /// SIGTERM.
  void stop(std::function<void()> stopped) { usb_.stop(std::move(stopped)); }
  /// False: it is in or out already.
  bool unplug(const Stick& stick) { return static_cast<bool>(source_->unplug(stick.serial)); }
  bool plug(const Stick& stick) { return static_cast<bool>(source_->plug(stick.serial)); }

 private:
  LeaseBook& book_;
  std::vector<LentDevice*> devices_;  // the source's
  transport::Loop loop_;
  server::UsbServer usb_;
  server::SimulatedSource* source_ = nullptr;  // the registry's
};

}  // namespace tillbridge::simulation
