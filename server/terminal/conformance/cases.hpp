// The bodies of all cases, by the part of the protocol they are about. Each is a straight line on a
// Server; all_cases() in cases.cpp says what each shows.
#pragma once

#include "server/terminal/conformance/server.hpp"

/// The 29 of Microsoft's client suite (rdpeusb.md 5.3), in the order of its list, strengthened as
/// 5.5 says.
namespace tillbridge::terminal::conformance::microsoft {
void operate_device_channel(Server& server);
void invalid_major_version(Server& server);
void cancel_io_control(Server& server);
void cancel_internal_io_control(Server& server);
void cancel_transfer_in(Server& server);
void io_control(Server& server);
void internal_io_control(Server& server);
void transfer_in(Server& server);
void query_device_text(Server& server);
void select_configuration(Server& server);
void select_interface(Server& server);
void pipe_request(Server& server);
void get_current_frame_number(Server& server);
void get_status(Server& server);
void get_configuration(Server& server);
void get_interface(Server& server);
void os_feature_descriptor(Server& server);
void reset_port(Server& server);
void get_port_status(Server& server);
void get_hub_count(Server& server);
void cycle_port(Server& server);
void get_bus_info(Server& server);
void get_controller_name(Server& server);
void bar_graph(Server& server);
void segment_display(Server& server);
void high_speed(Server& server);
void switches(Server& server);
void interrupt_in(Server& server);
void bulk_write_read(Server& server);
}  // namespace tillbridge::terminal::conformance::microsoft

/// What the suite lacks.
namespace tillbridge::terminal::conformance::own {
void request_completion_ids(Server& server);
void request_id_extremes(Server& server);
void isochronous_without_acknowledgement(Server& server);
void other_without_acknowledgement(Server& server);
void isochronous_refused(Server& server);
void registration_ends(Server& server);
void many_requests(Server& server);
void server_closes(Server& server);
void abort_pipe(Server& server);
void select_ends_transfers(Server& server);
void unconfigure(Server& server);
void stall_and_recovery(Server& server);
void reset_port_keeps_handles(Server& server);
void large_transfers(Server& server);
void control_transfers(Server& server);
void unknown_function(Server& server);
void query_interface(Server& server);
void unknown_io_control(Server& server);
void bad_requests(Server& server);
void out_of_sequence(Server& server);
}  // namespace tillbridge::terminal::conformance::own
