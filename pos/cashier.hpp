// Cashier: receipts, and what became of a signature whose answer was lost.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "pos/tse.hpp"
#include "tse/evidence/receipt.hpp"

namespace tillbridge::pos {

/// What a receipt is signed with.
struct Order {
  std::string client;
  std::string type;  ///< "Kassenbeleg-V1", ...
  std::string data;
};

/// "12.50", "-3", "1234,5" as an amount in cents.
[[nodiscard]] Outcome<std::int64_t> parse_amount(std::string_view text);
/// DSFinV-K's process data for a sale of this amount at 19 %, paid in cash; of an order, of an
/// other event.
[[nodiscard]] Outcome<std::string> process_data(std::string_view type, std::int64_t cents);
/// What finishes a receipt that was never completed.
[[nodiscard]] Order aborted_receipt(const std::string& client);

/// Sends each command that signs once. A command that was refused signed nothing; after one whose
/// fate is open the stick is asked, and the failure says what is known:
/// Trouble::signature_not_made or signature_unknown.
class Cashier {
 public:
  /// Nothing of these is owned.
  Cashier(Tse& tse, Access& access, Told told)
      : tse_(tse), access_(access), told_(std::move(told)) {}

  /// Makes the stick ready, and learns where its counter stands. First of all.
  [[nodiscard]] Deed open(const std::string& client);
  /// Start and finish. A signature whose answer was lost and which the stick has in its log is part
  /// of the receipt like any other.
  [[nodiscard]] Outcome<evidence::Receipt> sign(const Order& order);
  /// Ends a transaction that was left open.
  [[nodiscard]] Outcome<Signature> finish(std::uint64_t transaction, const Order& order);

 private:
  struct Step {
    evidence::TransactionStep what{};
    std::uint64_t transaction = 0;
    const Order& order;
    std::string_view type, data;  ///< of a start: none
  };
  [[nodiscard]] Outcome<Signature> carry_out(const Step& step);
  [[nodiscard]] Outcome<Signature> attempt(const Step& step);
  [[nodiscard]] Outcome<Signature> find_out(const Step& step, const Failure& loss);

  Tse& tse_;
  Access& access_;
  Told told_;
  VerifyingKey key_;
  std::uint64_t counter_ = 0;  ///< the last one known
};

}  // namespace tillbridge::pos
