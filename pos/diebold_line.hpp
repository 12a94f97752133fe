// DieboldLine: requests and responses of a Diebold Nixdorf stick, over a serial line.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pos/clock.hpp"
#include "pos/stick_io.hpp"
#include "pos/trouble.hpp"
#include "tse/diebold/command.hpp"
#include "tse/diebold/fields.hpp"
#include "tse/diebold/frame.hpp"

namespace tillbridge::pos {

namespace diebold = ::tillbridge::tse::diebold;

/// Opens the line (again).
using OpenLine = std::function<Result<std::unique_ptr<SerialLine>>()>;

class DieboldLine {
 public:
  /// As fiskaltrust's client paces itself.
  static constexpr Duration usual_patience = std::chrono::seconds(2);

  /// `patience`: how long the stick may take for an answer; what takes it longer has its own limit.
  DieboldLine(OpenLine open, std::string place, Clock& clock, Duration patience = usual_patience)
      : open_(std::move(open)), place_(std::move(place)), clock_(clock), patience_(patience) {}

  [[nodiscard]] const std::string& place() const { return place_; }
  [[nodiscard]] Deed open();

  /// A stick says nothing when it refuses: after a time-out it is asked for its status, whose error
  /// becomes the Failure. Neither answer nor error: Trouble::asleep.
  [[nodiscard]] Outcome<diebold::Response> request(diebold::Command command,
                                                   diebold::Parameters parameters = {});
  /// The same for long answers, which wait in a buffer and are fetched piece by piece.
  [[nodiscard]] Outcome<diebold::Response> through_buffer(diebold::Command command,
                                                          diebold::Parameters parameters = {});
  [[nodiscard]] Outcome<diebold::DeviceStatus> status();
  [[nodiscard]] static Failure refused(diebold::Command command, diebold::DeviceError error);

 private:
  [[nodiscard]] Deed send(const diebold::Request& request);
  /// The response to this request; nothing: none came in time.
  [[nodiscard]] Outcome<std::optional<diebold::Response>> receive(const diebold::Request& request,
                                                                  Duration timeout);
  [[nodiscard]] Outcome<diebold::Response> exchange(const diebold::Request& request,
                                                    Duration timeout);
  [[nodiscard]] Failure why_silent(diebold::Command command);

  OpenLine open_;
  std::string place_;
  Clock& clock_;
  Duration patience_;
  std::unique_ptr<SerialLine> line_;
  diebold::ResponseParser parser_;
};

}  // namespace tillbridge::pos
