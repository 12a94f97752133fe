// The list of cases.
#include "server/terminal/conformance/cases.hpp"

namespace tillbridge::terminal::conformance {

namespace {

template <void (*body)(Server&)>
Verdict run(Client& client, const Settings& settings) {
  Server server(client, settings);
  body(server);
  return server.finish();
}

constexpr bool by_microsoft = true;

}  // namespace

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases{
      {"BVT_EUSB_OperateDeviceChannel",
       "The device is announced once, whichever interfaces the server releases, and a retracted "
       "device's channel is closed.",
       by_microsoft, Device::any, run<microsoft::operate_device_channel>},
      {"S1_EUSB_RdpeusbOperateDeviceChannel_Invalid_MajorVersion",
       "A version other than 1.0 closes the channel, control and device channel alike.",
       by_microsoft, Device::any, run<microsoft::invalid_major_version>},
      {"BVT_EUSB_OperateIo_QueryDeviceText",
       "QUERY_DEVICE_TEXT is answered on its interface with its MessageId.", by_microsoft,
       Device::any, run<microsoft::query_device_text>},
      {"S3_EUSB_OperateIo_SelectConfiguration",
       "SELECT_CONFIGURATION describes every interface and pipe; selecting again ends the old "
       "handles.",
       by_microsoft, Device::any, run<microsoft::select_configuration>},
  };
  return cases;
}

}  // namespace tillbridge::terminal::conformance
