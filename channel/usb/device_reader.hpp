// DeviceReader: reads all descriptors and strings of a device through transfers, for an end that is
// given a device and knows nothing of it (the till: a USB/IP import tells little; the terminal end:
// ADD_DEVICE tells less).
#pragma once

#include <optional>

#include "channel/bytes/result.hpp"
#include "channel/usb/descriptors.hpp"

namespace tillbridge::usb {

/// A sans-I/O conversation of GET_DESCRIPTOR and GET_CONFIGURATION requests, one at a time. It
/// sends nothing that changes the device.
///   while (auto transfer = reader.next(id)) { submit(*transfer); reader.complete(completion); }
///   then reader.result().
/// String descriptors (and a GET_CONFIGURATION) that stall or are malformed are left empty (0):
/// cheap devices do that. Any other failure ends it.
class DeviceReader {
 public:
  explicit DeviceReader(Speed speed, std::string path);

  /// The next transfer to submit, under an id of the caller's; nothing while one is outstanding or
  /// at the end.
  [[nodiscard]] std::optional<Transfer> next(TransferId id);
  void complete(const Completion& completion);

  [[nodiscard]] bool done() const noexcept;
  /// Valid once done(): the description, or why it could not be read.
  [[nodiscard]] Result<DeviceDescription> result() const;

 private:
  enum class State : std::uint8_t {
    device,
    configuration_header,
    configuration_whole,
    active_configuration,
    language,
    manufacturer,
    product,
    serial,
    done
  };

  [[nodiscard]] SetupPacket request() const;
  void on_device(const Completion& completion);
  void on_configuration_header(const Completion& completion);
  void on_configuration(const Completion& completion);
  void on_active_configuration(const Completion& completion);
  void on_language(const Completion& completion);
  void on_string(const Completion& completion, std::string& text);
  void skip_absent_strings();
  [[nodiscard]] bool succeeded(const Completion& completion, const char* what);
  [[nodiscard]] bool gone(const Completion& completion);
  void end(Error error);

  State state_ = State::device;
  bool outstanding_ = false;
  TransferId id_ = 0;
  std::uint8_t configuration_index_ = 0;
  std::uint16_t total_length_ = 0;
  std::uint16_t language_ = 0;
  DeviceDescription description_;
  std::optional<Error> error_;
};

}  // namespace tillbridge::usb
