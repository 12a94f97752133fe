// DeviceReader: reads all descriptors and strings of a device through transfers, for an end that is given a
// device and knows nothing of it (the till: a USB/IP import tells little; the terminal end: ADD_DEVICE tells less).
#pragma once

#include <optional>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::usb {

/// A sans-I/O conversation of GET_DESCRIPTOR requests, one at a time. It sends nothing that changes the device.
///   while (auto transfer = reader.next(id)) { submit(*transfer); reader.complete(completion); }
///   then reader.result().
/// String descriptors that stall or are malformed are left empty: cheap devices do that. Any other failure ends it.
class DeviceReader {
 public:
  explicit DeviceReader(Speed speed, std::string path);

  /// The next transfer to submit, under an id of the caller's; nothing while one is outstanding or at the end.
  [[nodiscard]] std::optional<Transfer> next(TransferId id);
  void complete(const Completion& completion);

  [[nodiscard]] bool done() const noexcept;
  /// Valid once done(): the description, or why it could not be read.
  [[nodiscard]] Result<DeviceDescription> result() const;

 private:
  enum class State : std::uint8_t { device, configuration_header, configuration_whole, language, manufacturer, product, serial, done };

  void advance_from_string();
  [[nodiscard]] std::optional<SetupPacket> request() const;

  State state_ = State::device;
  bool outstanding_ = false;
  std::uint8_t configuration_index_ = 0;
  std::uint16_t total_length_ = 0;
  std::uint16_t language_ = 0;
  DeviceDescription description_;
  std::optional<Error> error_;
};

}  // namespace tillbridge::usb
