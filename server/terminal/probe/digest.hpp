// SHA-256 over data that comes in pieces.
#pragma once

#include <memory>
#include <string>

#include "channel/bytes/reader.hpp"

namespace tillbridge::terminal::probe {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void add(ByteView data);
  /// 64 lower-case hexadecimal digits; nothing may be added after it.
  [[nodiscard]] std::string finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace tillbridge::terminal::probe
