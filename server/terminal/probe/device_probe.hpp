// DeviceProbe: a small class driver in user space that exercises one device and says how it went.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "channel/bytes/instant.hpp"
#include "channel/usb/descriptors.hpp"
#include "channel/usb/transfer.hpp"
#include "server/terminal/probe/options.hpp"
#include "server/terminal/report.hpp"

namespace tillbridge::terminal::probe {

/// Sans-I/O (but for the file of Options::save_path). Inputs are the methods, outputs come from
/// poll(), in order; after Done nothing follows.
class DeviceProbe {
 public:
  struct Submit {
    usb::Transfer transfer;
  };
  struct Cancel {
    usb::TransferId transfer;
  };
  struct IoControl {
    std::uint32_t code, output_bytes;
  };
  struct Done {
    bool success;
    std::string text;
  };
  using Output = std::variant<Submit, Cancel, IoControl, Report, Done>;

  DeviceProbe() = default;
  virtual ~DeviceProbe() = default;
  DeviceProbe(const DeviceProbe&) = delete;
  DeviceProbe& operator=(const DeviceProbe&) = delete;

  virtual void start(Instant now) = 0;
  virtual void completed(const usb::Completion& completion, Instant now) = 0;
  virtual void io_control_completed(Instant /*now*/) {}
  virtual void advance(Instant now) = 0;
  [[nodiscard]] virtual std::optional<Instant> next_deadline() const = 0;
  [[nodiscard]] virtual std::optional<Output> poll() = 0;
};

/// The probe for what the device is: mass storage, CDC serial, or (anything else) only its
/// descriptors. `name` stands in its reports.
[[nodiscard]] std::unique_ptr<DeviceProbe> make_probe(const std::string& name,
                                                      const usb::DeviceDescription& device,
                                                      const Options& options);

}  // namespace tillbridge::terminal::probe
