#include "pos/cashier.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>
#include <variant>

namespace tillbridge::pos {
namespace {

constexpr std::int64_t most_cents = 99'999'999'99;

/// "12.50"
std::string amount_text(std::int64_t cents) {
  const std::int64_t whole = std::abs(cents) / 100, rest = std::abs(cents) % 100;
  return (cents < 0 ? "-" : "") + std::to_string(whole) + (rest < 10 ? ".0" : ".") +
         std::to_string(rest);
}

const char* name_of_step(evidence::TransactionStep step) {
  return step == evidence::TransactionStep::start ? "start" : "finish";
}

}  // namespace

Outcome<std::int64_t> parse_amount(std::string_view text) {
  const Failure wrong =
      trouble(Trouble::usage,
              "an amount is written as 12.50 or -3.00, with at most two decimals; this is "
              "none: " +
                  std::string(text));
  const bool negative = !text.empty() && text.front() == '-';
  std::string_view digits = negative ? text.substr(1) : text;
  const std::size_t point = digits.find_first_of(".,");
  std::string cents(digits.substr(0, point));
  if (cents.empty()) return wrong;
  std::string_view decimals;
  if (point != std::string_view::npos) {
    decimals = digits.substr(point + 1);
    if (decimals.empty() || decimals.size() > 2) return wrong;
  }
  cents += decimals;
  cents.append(2 - decimals.size(), '0');
  const bool only_digits = std::all_of(cents.begin(), cents.end(),
                                       [](char digit) { return digit >= '0' && digit <= '9'; });
  if (!only_digits || cents.size() > 12) return wrong;
  const std::int64_t value = std::strtoll(cents.c_str(), nullptr, 10);
  if (value > most_cents) return wrong;
  return negative ? -value : value;
}

Outcome<std::string> process_data(std::string_view type, std::int64_t cents) {
  const std::string amount = amount_text(cents);
  // DSFinV-K annex I: kind ^ gross by tax rate (19, 7, 10.7, 5.5, 0 %) ^ payments.
  if (type == "Kassenbeleg-V1")
    return "Beleg^" + amount + "_0.00_0.00_0.00_0.00^" + amount + ":Bar";
  if (type == "Bestellung-V1") return "1;\"Artikel\";" + amount;
  if (type == "SonstigerVorgang") return std::string();
  return trouble(Trouble::usage,
                 "--type is Kassenbeleg-V1, Bestellung-V1 or SonstigerVorgang; with "
                 "any other one give the process data with --data");
}

Order aborted_receipt(const std::string& client) {
  return {client, "Kassenbeleg-V1", "AVBelegabbruch^0.00_0.00_0.00_0.00_0.00^"};
}

Deed Cashier::open(const std::string& client) {
  if (Deed ready = tse_.make_ready(client, access_, told_); !ready) return ready;
  Outcome<VerifyingKey> key = tse_.key();
  if (!key) return key.failure();
  key_ = std::move(*key);
  const Outcome<std::uint64_t> counter = tse_.signature_counter();
  if (!counter) return counter.failure();
  counter_ = *counter;
  return done();
}

Outcome<evidence::Receipt> Cashier::sign(const Order& order) {
  const Outcome<Signature> start = carry_out({evidence::TransactionStep::start, 0, order, {}, {}});
  if (!start) return start.failure();
  const Outcome<Signature> end = finish(start->transaction, order);
  if (!end) return end.failure();

  evidence::Receipt receipt;
  receipt.client = order.client;
  receipt.process_type = order.type;
  receipt.process_data = order.data;
  receipt.transaction = start->transaction;
  receipt.counter = end->counter;
  receipt.start_s = start->time_s;
  receipt.end_s = end->time_s;
  receipt.hash = key_.hash;
  receipt.time_format = key_.time_format;
  receipt.signature = end->value;
  receipt.public_point = key_.point;
  return receipt;
}

Outcome<Signature> Cashier::finish(std::uint64_t transaction, const Order& order) {
  Outcome<Signature> end =
      carry_out({evidence::TransactionStep::finish, transaction, order, order.type, order.data});
  if (end) return end;
  return trouble(end.failure().what,
                 end.failure().message + ". Transaction " + std::to_string(transaction) +
                     " was started; if it is still open (see status), end it with finish-open");
}

Outcome<Signature> Cashier::attempt(const Step& step) {
  const Bytes data(step.data.begin(), step.data.end());
  return step.what == evidence::TransactionStep::start
             ? tse_.start(step.order.client, data, step.type)
             : tse_.finish(step.transaction, step.order.client, data, step.type);
}

Outcome<Signature> Cashier::carry_out(const Step& step) {
  Outcome<Signature> result = attempt(step);
  // A time or a self test that has run out since: the stick refused, so nothing was signed, and the
  // same step may be asked for again once it has what it wants.
  if (!result &&
      (result.failure().what == Trouble::no_time || result.failure().what == Trouble::self_test)) {
    if (Deed ready = tse_.make_ready(step.order.client, access_, told_); !ready)
      return ready.failure();
    result = attempt(step);
  }
  if (!result && is_loss(result.failure().what)) result = find_out(step, result.failure());
  if (result) counter_ = std::max(counter_, result->counter);
  return result;
}

Outcome<Signature> Cashier::find_out(const Step& step, const Failure& loss) {
  const std::string name = name_of_step(step.what);
  told_("no answer to the " + name + ": " + loss.message +
        ". It is not sent again; asking the "
        "stick what became of it");
  const auto unknown = [&](const Failure& why) {
    return trouble(Trouble::signature_unknown,
                   "it is not known whether the " + name + " was signed: " + loss.message +
                       "; and the stick cannot be asked: " + why.message +
                       ". Do not sign this receipt again before the stick was looked at: its "
                       "signature counter was " +
                       std::to_string(counter_) + " before (see status)");
  };
  if (Deed back = tse_.connect(); !back) return unknown(back.failure());
  const Outcome<std::vector<evidence::LogMessage>> logs = tse_.logs_above(counter_);
  if (!logs) return unknown(logs.failure());
  for (const evidence::LogMessage& log : *logs) {
    const auto* const content = std::get_if<evidence::TransactionLog>(&log.content);
    if (content == nullptr || content->step != step.what || content->client != step.order.client) {
      continue;
    }
    if (step.what == evidence::TransactionStep::finish && content->number != step.transaction)
      continue;
    told_("the " + name + " was signed: transaction " + std::to_string(content->number) +
          ", counter " + std::to_string(log.counter) + ", out of the stick's log");
    return Signature{content->number, log.counter, log.time_s, log.signature};
  }
  return trouble(
      Trouble::signature_not_made,
      "the " + name + " was not signed: " + loss.message +
          "; the stick's log ends before it (counter " + std::to_string(counter_) + "), so " +
          (step.what == evidence::TransactionStep::start ? "the receipt may be signed again"
                                                         : "the finish may be sent again"));
}

}  // namespace tillbridge::pos
