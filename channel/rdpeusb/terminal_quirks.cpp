#include "channel/rdpeusb/terminal_quirks.hpp"

namespace tillbridge::rdpeusb::terminal {

std::string_view text(Quirk quirk) noexcept {
  switch (quirk) {
    case Quirk::unmapped_status:
      return "unmapped-status: failed transfers come with libusb's status, which counts as "
             "success; read as the failure it is";
    case Quirk::read_cut_off:
      return "read-cut-off: the client ends reads on its own (after 10 s, or when any pipe is "
             "reset); empty ones are asked for again";
    case Quirk::write_cut_off:
      return "write-cut-off: the client ended a write on its own; it is never repeated, so the "
             "session sees it fail";
    case Quirk::echoed_output:
      return "echoed-output: completed writes come back with the data that was written; harmless";
    case Quirk::surplus_announced:
      return "surplus-announced: an I/O control's answer announces four bytes too many; harmless";
    case Quirk::failure_as_success:
      return "failure-as-success: failing requests carry HRESULT 0; the USB status decides";
    case Quirk::data_with_failure:
      return "data-with-failure: failed control reads carry an old buffer; dropped";
    case Quirk::silent_request:
      return "silent-request: cancelled or failed requests are never answered; ended here after a "
             "while";
    case Quirk::empty_configuration:
      return "empty-configuration: the client answered SELECT_CONFIGURATION without interfaces; "
             "the device is unusable in this session";
    case Quirk::irregular_usb_version:
      return "irregular-usb-version: the announced USB version is none that MS-RDPEUSB has; "
             "harmless";
  }
  return {};
}

bool unusable(Quirk quirk) noexcept {
  return quirk == Quirk::empty_configuration;
}

}  // namespace tillbridge::rdpeusb::terminal
