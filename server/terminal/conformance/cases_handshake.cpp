// Microsoft's cases about channels and announcing: 1, 2 and 9.
#include "server/terminal/conformance/cases.hpp"

namespace tillbridge::terminal::conformance::microsoft {

/// ADD_VIRTUAL_CHANNEL and ADD_DEVICE come once, whether and whatever the server releases: real
/// Windows servers release, Microsoft's suite and the specification do not.
void operate_device_channel(Server& server) {
  // Longer than any known client waits for the release of interface 2.
  constexpr Duration surely_announced = std::chrono::milliseconds(1200);
  for (const Releases releases : {Releases::none, Releases::notification, Releases::windows}) {
    server.use(releases);
    server.open_control();
    server.open_device();
    server.step("after ADD_DEVICE");
    server.expect_silence("ADD_DEVICE", surely_announced);
    server.retract();
  }
}

/// Any other version than 1.0 with Capabilities 0: the client closes the channel and does not send
/// a CHANNEL_CREATED of its own.
void invalid_major_version(Server& server) {
  for (const pdu::ChannelCreated& version :
       {pdu::ChannelCreated{0, 0, 0, 0}, pdu::ChannelCreated{0, 2, 0, 0},
        pdu::ChannelCreated{0, 1, 1, 0}, pdu::ChannelCreated{0, 1, 0, 1}}) {
    const std::string text = "CHANNEL_CREATED " + std::to_string(version.major) + '.' +
                             std::to_string(version.minor) + " with Capabilities " +
                             std::to_string(version.capabilities);
    server.begin();
    server.step("control channel");
    const rdpeusb::ChannelId control = server.open_channel("the control channel");
    server.exchange_capabilities(control);
    server.announce_version(control, version);
    server.expect_closed(control, text);
    server.close_control();

    server.open_control();
    server.step("device channel");
    const rdpeusb::ChannelId device = server.open_channel("the device channel");
    server.exchange_capabilities(device);
    server.announce_version(device, version);
    server.expect_closed(device, text);
    server.close_control();
  }
}

void query_device_text(Server& server) {
  server.open_control();
  server.open_device();
  constexpr std::uint32_t english = 0x409, german = 0x407, no_locale = 0x12340409;
  for (const std::uint32_t type :
       {pdu::QueryDeviceText::description, pdu::QueryDeviceText::location}) {
    // Windows asks again and again, with MessageId 0 (FreeRDP issue 6150).
    for (const std::uint32_t locale : {english, english, german, no_locale}) {
      for (const std::uint32_t message : {0U, 0x12345678U}) {
        server.step("QUERY_DEVICE_TEXT type " + std::to_string(type) + " locale " +
                    pdu::hex_text(locale, 4));
        const auto response = server.device_text({{0, message}, type, locale});
        if (!response || locale != english) continue;
        server.expect(response->result == pdu::hresult::ok,
                      "expected HResult 0, got " + pdu::hresult::text(response->result));
        server.expect(!response->text.empty(), "expected a text, got an empty one");
      }
    }
  }
  server.retract();
}

}  // namespace tillbridge::terminal::conformance::microsoft
