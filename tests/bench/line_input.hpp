// What a benchmark's program is told: lines on standard input.
#pragma once

#include <array>
#include <string>

#include <unistd.h>

namespace tillbridge::bench {

class LineInput {
 public:
  /// Calls `obey(line)` for each whole line. False at the end of the input.
  template <typename Obey>
  [[nodiscard]] bool take(const Obey& obey) {
    std::array<char, 256> buffer{};
    const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got == 0) return false;
    if (got > 0) input_.append(buffer.data(), static_cast<std::size_t>(got));
    for (std::size_t end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
      const std::string line = input_.substr(0, end);
      input_.erase(0, end + 1);
      obey(line);
    }
    return true;
  }

 private:
  std::string input_;
};

}  // namespace tillbridge::bench
