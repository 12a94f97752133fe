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

constexpr bool by_microsoft = true, by_us = false;

}  // namespace

const std::vector<Case>& all_cases() {
  static const std::vector<Case> cases{
      {"BVT_EUSB_OperateDeviceChannel",
       "The device is announced once, whichever interfaces the server releases, and a retracted "
       "device's channel is closed.",
       by_microsoft, Device::any, run<microsoft::operate_device_channel>},
      {"S1_EUSB_RdpeusbOperateDeviceChannel_Invalid_MajorVersion",
       "A version other than 1.0 closes the channel, control and device channel alike, unanswered.",
       by_microsoft, Device::any, run<microsoft::invalid_major_version>},
      {"BVT_EUSB_CancelRequest_IoControl",
       "A cancelled IO_CONTROL completes exactly once; other cancels do nothing.", by_microsoft,
       Device::any, run<microsoft::cancel_io_control>},
      {"BVT_EUSB_CancelRequest_InternalIoControl",
       "A cancelled INTERNAL_IO_CONTROL completes exactly once; other cancels do nothing.",
       by_microsoft, Device::any, run<microsoft::cancel_internal_io_control>},
      {"BVT_EUSB_CancelRequest_TransferInRequest",
       "A cancelled transfer completes exactly once, CANCELED if it was pending.", by_microsoft,
       Device::any, run<microsoft::cancel_transfer_in>},
      {"BVT_EUSB_OperateIo_IoControl",
       "GET_HUB_NAME is completed with the sizes that belong together.", by_microsoft, Device::any,
       run<microsoft::io_control>},
      {"BVT_EUSB_OperateIo_InternalIoControl", "QUERY_BUS_TIME gives a clock in four bytes.",
       by_microsoft, Device::any, run<microsoft::internal_io_control>},
      {"BVT_EUSB_OperateIo_TransferIn",
       "A string descriptor comes in two reads under one RequestId; two requests may end out of "
       "order.",
       by_microsoft, Device::any, run<microsoft::transfer_in>},
      {"BVT_EUSB_OperateIo_QueryDeviceText",
       "QUERY_DEVICE_TEXT is answered on its interface with its MessageId, before any "
       "registration.",
       by_microsoft, Device::any, run<microsoft::query_device_text>},
      {"S3_EUSB_OperateIo_SelectConfiguration",
       "SELECT_CONFIGURATION describes every interface and pipe; selecting again ends the old "
       "handles.",
       by_microsoft, Device::any, run<microsoft::select_configuration>},
      {"S3_EUSB_OperateIo_SelectInterface",
       "SELECT_INTERFACE gives the interface's pipes new handles and ends the old ones.",
       by_microsoft, Device::any, run<microsoft::select_interface>},
      {"S3_EUSB_OperateIo_PipeRequest",
       "Pipe requests complete without data, and fail on handles that open nothing.", by_microsoft,
       Device::any, run<microsoft::pipe_request>},
      {"S3_EUSB_OperateIo_GetCurrentFrameNumber", "The frame number is that of QUERY_BUS_TIME.",
       by_microsoft, Device::any, run<microsoft::get_current_frame_number>},
      {"S3_EUSB_OperateIo_GetStatus",
       "GET_STATUS of device, interfaces and endpoints gives two bytes.", by_microsoft, Device::any,
       run<microsoft::get_status>},
      {"S3_EUSB_OperateIo_GetConfiguration",
       "GET_CONFIGURATION gives the configuration that was selected.", by_microsoft, Device::any,
       run<microsoft::get_configuration>},
      {"S3_EUSB_OperateIo_GetInterface", "GET_INTERFACE gives one byte.", by_microsoft, Device::any,
       run<microsoft::get_interface>},
      {"S3_EUSB_OperateIo_OsFeatureDescriptor",
       "OS feature descriptors are answered or refused, three times under one RequestId.",
       by_microsoft, Device::any, run<microsoft::os_feature_descriptor>},
      {"S3_EUSB_OperateIo_ResetPort",
       "RESET_PORT is completed, and the device is there afterwards.", by_microsoft, Device::any,
       run<microsoft::reset_port>},
      {"S3_EUSB_OperateIo_GetPortStatus", "GET_PORT_STATUS says enabled and connected.",
       by_microsoft, Device::any, run<microsoft::get_port_status>},
      {"S3_EUSB_OperateIo_GetHubCount", "GET_HUB_COUNT counts the root hub at least.", by_microsoft,
       Device::any, run<microsoft::get_hub_count>},
      {"S3_EUSB_OperateIo_CyclePort", "CYCLE_PORT is completed.", by_microsoft, Device::any,
       run<microsoft::cycle_port>},
      {"S3_EUSB_OperateIo_GetBusInfo", "GET_BUS_INFO gives a USB_BUS_NOTIFICATION of 16 bytes.",
       by_microsoft, Device::any, run<microsoft::get_bus_info>},
      {"S3_EUSB_OperateIo_GetControllerName",
       "GET_CONTROLLER_NAME is completed with the sizes that belong together.", by_microsoft,
       Device::any, run<microsoft::get_controller_name>},
      {"S3_EUSB_OperateIo_OSRFX2_BargraphDisplay", "The bar graph shows what was written to it.",
       by_microsoft, Device::osr_fx2, run<microsoft::bar_graph>},
      {"S3_EUSB_OperateIo_OSRFX2_SegmentDisplay",
       "The seven-segment display shows what was written to it.", by_microsoft, Device::osr_fx2,
       run<microsoft::segment_display>},
      {"S3_EUSB_OperateIo_OSRFX2_IsHighSpeed", "The board and ADD_DEVICE agree about its speed.",
       by_microsoft, Device::osr_fx2, run<microsoft::high_speed>},
      {"S3_EUSB_OperateIo_OSRFX2_ReadSwitches", "The switches are read as one byte.", by_microsoft,
       Device::osr_fx2, run<microsoft::switches>},
      {"S3_EUSB_OperateIo_OSRFX2_InterruptIn",
       "A read of the switches waits for one to be moved, or is cancelled.", by_microsoft,
       Device::osr_fx2, run<microsoft::interrupt_in>},
      {"S3_EUSB_OperateIo_OSRFX2_BulkWriteRead",
       "What is written is read back; short reads and stalls end as flags and pipes demand.",
       by_microsoft, Device::osr_fx2, run<microsoft::bulk_write_read>},
      {"TB_RequestCompletionIds",
       "Completions come on whatever interface id the server chose, defaults and the device's own "
       "included.",
       by_us, Device::any, run<own::request_completion_ids>},
      {"TB_RequestIdExtremes", "RequestIds have 31 bits, and 0 is one of them.", by_us, Device::any,
       run<own::request_id_extremes>},
      {"TB_NoAckIsochronousOut", "An isochronous OUT with NoAck brings no answer of any kind.",
       by_us, Device::any, run<own::isochronous_without_acknowledgement>},
      {"TB_NoAckElsewhere",
       "NoAck on any other request brings a failure or nothing, and the client lives on.", by_us,
       Device::any, run<own::other_without_acknowledgement>},
      {"TB_IsochronousRefused", "An isochronous transfer on a pipe that is none fails cleanly.",
       by_us, Device::any, run<own::isochronous_refused>},
      {"TB_RegistrationEndsMidFlight",
       "After a registration of nothing no completion comes, and another registration works.",
       by_us, Device::any, run<own::registration_ends>},
      {"TB_ManyRequests", "64 requests at once complete once each.", by_us, Device::any,
       run<own::many_requests>},
      {"TB_ServerClosesWithRequestsPending",
       "A closed channel takes 100 pending requests with it silently; the device comes back on the "
       "next control channel.",
       by_us, Device::any, run<own::server_closes>},
      {"TB_AbortPipeOrder", "ABORT_PIPE completes after the transfers that it cancelled.", by_us,
       Device::any, run<own::abort_pipe>},
      {"TB_SelectEndsTransfers",
       "SELECT_CONFIGURATION completes after the transfers on the pipes that it closed.", by_us,
       Device::any, run<own::select_ends_transfers>},
      {"TB_Unconfigure", "SELECT_CONFIGURATION without a descriptor takes the configuration away.",
       by_us, Device::any, run<own::unconfigure>},
      {"TB_StallAndRecovery",
       "A stall is a failure in every status field, until one of three resets.", by_us, Device::any,
       run<own::stall_and_recovery>},
      {"TB_ResetPortKeepsHandles", "Configuration and handles survive RESET_PORT.", by_us,
       Device::any, run<own::reset_port_keeps_handles>},
      {"TB_LargeTransfers", "Transfers larger than a dynamic-channel PDU arrive whole, both ways.",
       by_us, Device::osr_fx2, run<own::large_transfers>},
      {"TB_ControlTransfers", "CONTROL_TRANSFER does what the typed function does.", by_us,
       Device::any, run<own::control_transfers>},
      {"TB_UnknownFunction", "A function that is newer than the client gets the 8-byte reply.",
       by_us, Device::any, run<own::unknown_function>},
      {"TB_QueryInterface", "RIMCALL_QUERYINTERFACE gets the 8-byte reply.", by_us, Device::any,
       run<own::query_interface>},
      {"TB_UnknownIoControl", "An I/O control that no client knows is completed as a failure.",
       by_us, Device::any, run<own::unknown_io_control>},
      {"TB_BadRequests", "A malformed request is completed as a failure, once.", by_us, Device::any,
       run<own::bad_requests>},
      {"TB_OutOfSequence", "What comes at the wrong time, or is nothing, is ignored.", by_us,
       Device::any, run<own::out_of_sequence>},
  };
  return cases;
}

}  // namespace tillbridge::terminal::conformance
