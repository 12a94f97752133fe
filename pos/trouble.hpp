// Trouble: everything that can go wrong at the till, each with a sentence and an exit code.
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "channel/bytes/result.hpp"

namespace tillbridge::pos {

/// What kind of trouble; the value is the program's exit code (a script may depend on it, so they
/// never change).
enum class Trouble : std::uint8_t {
  finding = 1,               ///< verify: the archive or the receipt is bad
  usage = 2,                 ///< the command line, an options file, a file of this machine
  failed = 3,                ///< an answer or an error that fits nothing below
  no_stick = 10,             ///< none found
  several_sticks = 11,       ///< more than one, and none was chosen
  asleep = 12,               ///< there, but does not answer
  gone = 13,                 ///< reading or writing it failed: pulled out, or the way to it is cut
  busy = 14,                 ///< another program has it
  garbled = 15,              ///< its answers make no sense
  not_set_up = 20,           ///< fresh: needs `setup`
  no_time = 21,              ///< its clock must be set first, and no PIN was given for that
  self_test = 22,            ///< it demands a self test, or failed one
  certificate_expired = 23,  ///< signs no more
  used_up = 24,              ///< store full, or all signatures used up
  disabled = 25,             ///< deactivated or decommissioned
  unknown_client = 26,       ///< this client is not registered on the stick
  open_transactions = 27,    ///< too many, or in the way
  no_transaction = 28,       ///< no such open transaction
  wrong_pin = 30,
  pin_blocked = 31,
  last_pin_try = 32,        ///< one try left: refused without --last-try
  signature_not_made = 40,  ///< the way broke, and the stick says that nothing was signed
  signature_unknown = 41,   ///< the way broke, and the stick cannot be asked
};

struct Failure {
  Trouble what{};
  std::string message;  ///< what is wrong, with which stick, and what to do about it
};

/// A T or a Failure. Reading the one that is not there is a bug of ours and asserts.
template <typename T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Outcome(Failure failure) : state_(std::in_place_index<1>, std::move(failure)) {}

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }
  T& operator*() & { return *checked(std::get_if<0>(&state_)); }
  const T& operator*() const& { return *checked(std::get_if<0>(&state_)); }
  T&& operator*() && { return std::move(*checked(std::get_if<0>(&state_))); }
  T* operator->() { return checked(std::get_if<0>(&state_)); }
  const T* operator->() const { return checked(std::get_if<0>(&state_)); }
  [[nodiscard]] const Failure& failure() const { return *checked(std::get_if<1>(&state_)); }

 private:
  template <typename P>
  static P* checked(P* pointer) {
    assert(pointer != nullptr);
    return pointer;
  }

  std::variant<T, Failure> state_;
};

/// Success without a value, or a Failure.
using Deed = Outcome<std::monostate>;
[[nodiscard]] inline Deed done() {
  return Deed(std::monostate{});
}
[[nodiscard]] inline Failure trouble(Trouble what, std::string message) {
  return Failure{what, std::move(message)};
}
/// An I/O error of the way to the stick.
[[nodiscard]] Failure from_io(const Error& error);
/// May the command whose answer did not come have been carried out? Then the stick must be asked
/// before anything is repeated.
[[nodiscard]] inline bool is_loss(Trouble what) {
  return what == Trouble::gone || what == Trouble::asleep || what == Trouble::garbled;
}
/// Worth waiting for if it was there before. A USB/IP server lets go of a stick only once it has
/// ended what a lost connection began, so a program can find the stick in use by its own past.
[[nodiscard]] inline bool is_away(Trouble what) {
  return what == Trouble::gone || what == Trouble::busy;
}

}  // namespace tillbridge::pos
