// Result<T>: a value or an Error, for code where failure is an ordinary outcome (what a peer sends,
// what a person configured). Exceptions stay for what can only be our own bug or an exhausted
// machine.
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace tillbridge {

/// What kind of failure it is; decides what the caller does about it.
enum class ErrorCode : std::uint8_t {
  malformed,    ///< bytes that no conforming peer sends
  limit,        ///< well-formed, but above a limit of limits.hpp
  protocol,     ///< well-formed, but not allowed in this state
  refused,      ///< a rule or the other end says no; the message says what to do about it
  unavailable,  ///< not there now; trying again later may help
  io,           ///< the operating system or a library failed
  config,       ///< a person's configuration is wrong; the message names file, line and key
};

/// A failure. `message` is for a person: what is wrong, with which thing, and what to do.
struct Error {
  ErrorCode code{};
  std::string message;
};

/// A T or an Error. Reading the one that is not there is a bug of ours and asserts.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  [[nodiscard]] T& value() & { return *checked(std::get_if<0>(&state_)); }
  [[nodiscard]] const T& value() const& { return *checked(std::get_if<0>(&state_)); }
  [[nodiscard]] T&& value() && { return std::move(*checked(std::get_if<0>(&state_))); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  [[nodiscard]] const Error& error() const { return *checked(std::get_if<1>(&state_)); }

 private:
  template <typename P>
  static P* checked(P* pointer) {
    assert(pointer != nullptr);
    return pointer;
  }

  std::variant<T, Error> state_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), failed_(true) {}

  [[nodiscard]] bool ok() const noexcept { return !failed_; }
  explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] const Error& error() const {
    assert(failed_);
    return error_;
  }

 private:
  Error error_;
  bool failed_ = false;
};

using Status = Result<void>;

/// Shorthand: `return fail(ErrorCode::malformed, "...")`.
[[nodiscard]] inline Error fail(ErrorCode code, std::string message) {
  return Error{code, std::move(message)};
}

}  // namespace tillbridge
