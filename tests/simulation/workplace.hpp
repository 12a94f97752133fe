// A till and who works there: its program, its session at the terminal server, and the POS software
// that signs receipts in that session.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pos/cashier.hpp"
#include "tests/simulation/outcome.hpp"
#include "tests/simulation/pos_host.hpp"
#include "tests/simulation/rdp.hpp"
#include "tests/simulation/server_program.hpp"
#include "tests/simulation/terminal.hpp"
#include "tests/simulation/till.hpp"

namespace tillbridge::simulation {

constexpr std::uint16_t link_port = 4711;

class Workplace {
 public:
  struct Rules {
    bool no_failures = false;  ///< a receipt that fails is a violation
    bool shares = false;       ///< its stick belongs to another workplace as well
    Duration cancel_within{};  ///< how long a cancelled transfer may take to end
  };
  /// Its receipts are process data that no other workplace has.
  Workplace(World& world, unsigned number, Stick& stick, Rules rules, Outcome& outcome);
  ~Workplace();
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;
  Workplace(Workplace&&) = delete;
  Workplace& operator=(Workplace&&) = delete;

  // --- programs
  void open_session();
  /// The till's program dies, or its RDP connection ends in an orderly way; a new one comes so long
  /// after that. Not while it is away already.
  void leave(bool killed, Duration absence);
  [[nodiscard]] bool is_away() const noexcept { return away_; }

  // --- what the POS does; each of these waits
  /// The stick is fresh: sets it up.
  void set_up();
  /// Some receipts, each a while after the one before it. One that shares the stick logs off now
  /// and then, so that the other one gets it.
  void sign_receipts();
  /// In fine weather, at last: false if it does not have the stick, which only one that shares it
  /// may say.
  bool sign_last();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] Stick& stick() const noexcept { return stick_; }
  /// The session has the stick.
  [[nodiscard]] bool has_stick() const { return terminal_ && terminal_->has_stick(); }

  /// What the POS heard of its receipts, as process data.
  struct Receipts {
    std::vector<std::string> verified, not_signed, unknown;
  };
  [[nodiscard]] const Receipts& receipts() const noexcept { return receipts_; }
  /// The POS, after sign_last().
  [[nodiscard]] pos::Tse& tse() { return *tse_; }
  /// Of the stick, before the first receipt.
  [[nodiscard]] std::uint64_t first_counter() const noexcept { return first_counter_; }
  [[nodiscard]] PosHost& host() noexcept { return pos_; }
  /// Ends the session; the outcome has what it saw.
  void end_session();

 private:
  pos::Deed connect();
  void sign(bool must_succeed);
  void note(const pos::Failure& failure, const std::string& data);
  /// Until the POS can sign again. One that does not share its stick must, sooner or later.
  bool recover();
  void finish_open();

  World& world_;
  std::string name_;
  unsigned number_;
  Stick& stick_;
  Rules rules_;
  Outcome& outcome_;
  PosHost pos_{world_};
  std::shared_ptr<Rdp> rdp_;
  std::unique_ptr<Terminal> terminal_;
  std::unique_ptr<Till> till_;
  std::optional<pos::Access> access_;
  std::unique_ptr<pos::Tse> tse_;
  std::unique_ptr<pos::Cashier> cashier_;
  std::uint64_t first_counter_ = 0;
  unsigned last_receipt_ = 0;
  bool away_ = false;
  bool at_work_ = false;  ///< the cashier opened with this client's name once
  Receipts receipts_;
};

}  // namespace tillbridge::simulation
