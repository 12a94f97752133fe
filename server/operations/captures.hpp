// Captures that run: each looks at one stick's transfers, for one reader.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "server/admin/administration.hpp"
#include "server/admin/reply.hpp"
#include "server/admin/request.hpp"
#include "server/usb/observer.hpp"

namespace tillbridge::operations {

/// GET /api/v1/capture?stick=ID[&payloads=1][&seconds=N]: a pcapng file that grows until N seconds
/// are over, the reader leaves, or the server ends. Administrators only; begin and end are in the
/// audit. On the loop's thread; the Download that is handed out is read on another one.
class Captures final : public server::Observer {
 public:
  explicit Captures(admin::Administration& administration, transport::Loop& loop);
  ~Captures() override;
  Captures(const Captures&) = delete;
  Captures& operator=(const Captures&) = delete;
  Captures(Captures&&) = delete;
  Captures& operator=(Captures&&) = delete;

  [[nodiscard]] admin::Reply handle(const admin::Request& request);
  /// Ends all of them: readers get the file's end. While the sticks' registry is still there.
  void stop();
  /// Downloads that were handed out and are not destroyed yet.
  [[nodiscard]] std::size_t readers() const noexcept;
  [[nodiscard]] std::size_t running() const noexcept;
  /// A stick that was not there when its capture began is described now.
  void lease_begun(const server::PresentStick& stick) override;

 private:
  struct Pipe;
  struct Gate;
  class Reader;
  class Capture;
  struct Tap;

  void ended(std::uint64_t number);

  admin::Administration& admin_;
  transport::Loop& loop_;
  std::shared_ptr<Gate> gate_;
  std::map<std::string, std::unique_ptr<Tap>> taps_;  // by stick
  std::uint64_t next_ = 1;
};

}  // namespace tillbridge::operations
