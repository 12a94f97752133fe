// ProbeSink: probes every device of a session, for machines without vhci-hcd and for measurements.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "server/terminal/probe/device_probe.hpp"
#include "server/terminal/sink.hpp"

namespace tillbridge::terminal::probe {

/// One DeviceProbe per device. After Options::devices of them the session ends (unless it shall
/// stay); its verdict is good if every probe's was and the client answered the profile's own
/// requests rightly.
class ProbeSink final : public Sink {
 public:
  explicit ProbeSink(Options options) : options_(std::move(options)) {}

  void device_arrived(SessionDevice device, Instant now) override;
  void device_gone(DeviceId device, const std::string& reason, Instant now) override;
  void completed(DeviceId device, usb::Completion completion, Instant now) override;
  void io_control_completed(DeviceId device, Instant now) override;
  void wrong_answer() override;
  void session_ended(Instant now) override;
  void advance(Instant now) override;
  [[nodiscard]] std::optional<Instant> next_deadline() const override;
  [[nodiscard]] std::optional<Output> poll() override;

 private:
  struct Probing {
    std::string name;
    std::unique_ptr<DeviceProbe> probe;
  };

  void drain(DeviceId device, Instant now);
  void done(const std::string& name, bool success, const std::string& text, Instant now);
  void give_verdict(const std::string& reason);

  Options options_;
  std::map<DeviceId, Probing> probing_;
  std::deque<Output> outputs_;
  std::optional<Instant> patience_ends_;  ///< for the next device to appear
  std::uint32_t finished_ = 0, failed_ = 0;
  std::uint32_t wrong_answers_ = 0;
  bool verdict_given_ = false;
};

}  // namespace tillbridge::terminal::probe
