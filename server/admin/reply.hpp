// What a request is answered with, and what is said when it is not carried out.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "server/admin/download.hpp"

namespace tillbridge::admin {

/// Why something is not done. In JSON: {"error": {"code", "message", "remedy"}}.
struct Problem {
  int status = 400;     ///< of HTTP: 400 401 403 404 405 409 413 422 429 503
  std::string code;     ///< stable, for programs and translations: "not_found"
  std::string message;  ///< what is wrong, in a sentence
  std::string remedy;   ///< what to do about it
};

/// A T, or why there is none.
template <typename T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Outcome(Problem problem) : state_(std::in_place_index<1>, std::move(problem)) {}
  [[nodiscard]] bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }
  [[nodiscard]] T& operator*() { return std::get<0>(state_); }
  [[nodiscard]] const T& operator*() const { return std::get<0>(state_); }
  [[nodiscard]] T* operator->() { return &std::get<0>(state_); }
  [[nodiscard]] const T* operator->() const { return &std::get<0>(state_); }
  [[nodiscard]] const Problem& problem() const { return std::get<1>(state_); }

 private:
  std::variant<T, Problem> state_;
};

struct Done {
  bool changed = true;  ///< false: it was so already, and nothing was written
};

struct Reply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::string file_name;  ///< for a download; empty otherwise
  /// If set, the reply is what this returns. It reads files and may take long: call it on a thread
  /// of the requester's, not on the loop's. It touches nothing of the loop.
  std::function<Reply()> elsewhere;
  /// If set, the body is what this brings, of unknown length; it goes on until it ends or the
  /// requester leaves.
  std::shared_ptr<Download> download;
};

[[nodiscard]] Reply reply_to(const Problem& problem);

}  // namespace tillbridge::admin
