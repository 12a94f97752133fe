// Where the POS software runs: its clock, and its way to the session's USB/IP port. While the POS
// waits, the world goes on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "pos/clock.hpp"
#include "tests/simulation/terminal.hpp"

namespace tillbridge::simulation {

/// One for each POS. pos::UsbipSocket and pos::steady_now() of this program end at the one whose
/// Here is the newest of the thread.
class PosHost final : public pos::Clock {
 public:
  explicit PosHost(World& world) : world_(world) {}
  ~PosHost() override = default;
  PosHost(const PosHost&) = delete;
  PosHost& operator=(const PosHost&) = delete;
  PosHost(PosHost&&) = delete;
  PosHost& operator=(PosHost&&) = delete;
  [[nodiscard]] static PosHost& current();
  /// While it lives, the program that runs is one of this host's.
  class Here {
   public:
    explicit Here(PosHost& host);
    ~Here();
    Here(const Here&) = delete;
    Here& operator=(const Here&) = delete;
    Here(Here&&) = delete;
    Here& operator=(Here&&) = delete;

   private:
    PosHost* before_;
  };

  /// The session that listens now; nullptr: none.
  void use(Terminal* terminal) { terminal_ = terminal; }

  [[nodiscard]] Instant now() override { return world_.now(); }
  void wait(Duration duration) override { world_.run_for(duration); }
  [[nodiscard]] std::uint64_t unix_s() override {
    return epoch_s + static_cast<std::uint64_t>(world_.now() / std::chrono::seconds(1));
  }

  // for the sockets
  static constexpr std::uint64_t epoch_s = 1'767'225'600;  // 2026-01-01
  [[nodiscard]] int connect();
  [[nodiscard]] Status send(int socket, ByteView bytes);
  [[nodiscard]] Result<Bytes> receive(int socket, Duration patience);
  void close(int socket);

 private:
  struct Open {
    std::shared_ptr<PosSocket> socket;
    Terminal* terminal = nullptr;
  };
  World& world_;
  Terminal* terminal_ = nullptr;
  std::map<int, Open> open_;
  int last_ = 0;
};

}  // namespace tillbridge::simulation
