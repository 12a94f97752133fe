// What one viewer still has to be sent: written by the loop's thread, read by the viewer's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>

#include "server/admin/download.hpp"

namespace tillbridge::http {

/// Any thread. Who writes never waits: a reader that lets more than `most_bytes` wait is cut.
class Outflow final : public admin::Download {
 public:
  /// `pulse`: what is sent when there was nothing else, so that a dead connection shows.
  explicit Outflow(std::size_t most_bytes, std::string pulse = {});

  /// False: nobody reads any more, or not fast enough. Nothing more needs to be written then.
  bool push(const std::string& piece);
  /// Ends it at once; what waits is not sent.
  void cut();
  /// It was cut: by who writes, or by its reader who leaves.
  [[nodiscard]] bool over() const;

  [[nodiscard]] std::optional<std::string> next(std::chrono::milliseconds patience) override;

 private:
  const std::size_t most_bytes_;
  const std::string pulse_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string waiting_;
  bool over_ = false;
};

}  // namespace tillbridge::http
