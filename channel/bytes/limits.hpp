// Every limit of the system in one place: no queue, loop, count or length goes without one.
// A peer that goes past a limit gets an error; nothing asserts on it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tillbridge::limits {

// --- USB
// ---------------------------------------------------------------------------------------------------
/// wTotalLength is a u16, so no configuration descriptor can be longer.
inline constexpr std::size_t configuration_descriptor_bytes = 65535;
inline constexpr std::size_t configurations_per_device = 8;
/// USB has 15 IN and 15 OUT endpoints besides endpoint 0.
inline constexpr std::size_t endpoints_per_interface = 30;
inline constexpr std::size_t interfaces_per_configuration = 32;
inline constexpr std::size_t alternate_settings_per_configuration = 256;
/// A string descriptor is at most 255 bytes: 126 UTF-16 units, up to 3 UTF-8 bytes each.
inline constexpr std::size_t usb_string_bytes = 378;

// --- transfers
// ---------------------------------------------------------------------------------------------
/// Windows' usbstor sends at most 1 MiB, Linux usb-storage 120 KiB (240 sectors) up to 1 MiB; 4 MiB
/// leaves room.
inline constexpr std::uint32_t transfer_bytes = 4U << 20U;
/// wLength of a control transfer is a u16.
inline constexpr std::uint32_t control_transfer_bytes = 65535;
/// One class driver keeps a handful running; a thousand is a flood.
inline constexpr std::size_t transfers_in_flight_per_device = 1024;
/// Data of all running transfers of one stick, both directions.
inline constexpr std::size_t transfer_bytes_in_flight_per_device = 32U << 20U;
inline constexpr std::uint32_t isochronous_packets = 1024;

// --- mass-storage pipeline
// ---------------------------------------------------------------------------------------------
/// The data of one command that is read before the session asks for it. A command that moves more
/// than usbstor's 1 MiB is forwarded plainly.
inline constexpr std::uint32_t pipeline_read_bytes = 1U << 20U;
/// OUT data that the session was told is done while it is still on its way to the stick.
inline constexpr std::uint32_t pipeline_posted_bytes = 1U << 20U;

// --- MS-RDPEUSB
// --------------------------------------------------------------------------------------------
/// Largest whole message: a 4 MiB transfer and its headers.
inline constexpr std::size_t rdpeusb_message_bytes = transfer_bytes + (128U << 10U);
inline constexpr std::size_t rdpeusb_string_units = 4096;
inline constexpr std::uint32_t rdpeusb_io_control_bytes = 64U << 10U;
/// Device channels of one RDP connection; USB itself stops at 127 devices a bus.
inline constexpr std::size_t rdpeusb_channels = 128;
/// Requests that a client never completed although they were cancelled: above this its channel is
/// given up.
inline constexpr std::size_t rdpeusb_abandoned_requests = 256;

// --- USB/IP
// ------------------------------------------------------------------------------------------------
inline constexpr std::size_t usbip_exported_devices = 128;
/// USB/IP clients of one session of tillbridge-terminal: one for each device, and some that list.
inline constexpr std::size_t usbip_sink_clients = 64;

// --- link
// --------------------------------------------------------------------------------------------------
/// Sticks of one till. One till has one stick; a few more serve test benches and multi-till desks.
inline constexpr std::size_t sticks_per_till = 16;
inline constexpr std::size_t link_frame_payload_bytes = 64U << 10U;
inline constexpr std::size_t link_control_message_bytes = 16U << 10U;
/// Frames sent and not yet acknowledged. Above this the link pushes back, it never drops.
inline constexpr std::size_t link_kept_bytes = 64U << 20U;
/// The same while there is no connection: many tills may be away at once.
inline constexpr std::size_t link_kept_bytes_waiting = 8U << 20U;
/// The longest that a server waits for a till whose connection is lost, and keeps its stick from
/// everybody else.
inline constexpr std::uint32_t resume_grace_s = 3600;

/// A reason or an explanation for a person, in a control message or at the end of a link.
inline constexpr std::size_t link_text_bytes = 1024;
/// Nesting of a control message's JSON; ours are flat.
inline constexpr std::size_t link_control_message_depth = 8;

// --- transport
// ---------------------------------------------------------------------------------------------
/// Bytes queued in one stream whose owner does not pause its source. Above what a link may keep, so
/// that a link that is connected again may be sent again as a whole.
inline constexpr std::size_t stream_write_queue_bytes = link_kept_bytes + (16U << 20U);
/// A PEM file of certificates or a key.
inline constexpr std::size_t pem_file_bytes = 1U << 20U;

// --- plugin
// ------------------------------------------------------------------------------------------------
/// Messages of the terminal server that FreeRDP handed over and the I/O thread has not looked at
/// yet: a few of the largest.
inline constexpr std::size_t plugin_queued_bytes = 64U << 20U;

// --- server
// ------------------------------------------------------------------------------------------------
inline constexpr std::size_t sticks_per_server = 256;
inline constexpr std::size_t tills_per_server = 1024;
/// Tills whose connection is lost and whose session waits for the next one. Above this the one that
/// waits longest is given up.
inline constexpr std::size_t tills_waiting = 256;
/// Connections that have not yet finished their TLS handshake and hello.
inline constexpr std::size_t unauthenticated_connections = 64;
inline constexpr std::size_t name_bytes = 128;
inline constexpr std::size_t configuration_file_bytes = 1U << 20U;
/// Transfers of one till that wait because it does not acknowledge what it was sent. Above this it
/// is disconnected.
inline constexpr std::size_t held_input_bytes = 2 * transfer_bytes_in_flight_per_device;

// --- terminal server
// ---------------------------------------------------------------------------------------
/// RDP sessions of one tillbridge-terminal; each has a thread.
inline constexpr std::size_t terminal_sessions = 64;
/// MS-RDPEDYC 2.2: a dynamic-channel PDU is at most 1600 bytes. A client that negotiated larger
/// chunks of the static channel (MS-RDPBCGR 2.2.7.1.10: VCChunkSize up to 16256) may use them.
inline constexpr std::size_t dynamic_channel_pdu_bytes = 16256;
/// Messages waiting for a client that does not read. Above this its session ends.
inline constexpr std::size_t terminal_kept_bytes = 64U << 20U;

// --- simulator
// ---------------------------------------------------------------------------------------------
/// What a simulated serial device holds before it takes no more.
inline constexpr std::size_t simulated_serial_buffer_bytes = 4096;
/// Faults that one simulated stick has at a time.
inline constexpr std::size_t simulated_faults = 64;

// --- TSE
// ---------------------------------------------------------------------------------------------
/// An export that is checked or carried in one piece.
inline constexpr std::size_t tse_archive_bytes = 1U << 30U;
/// One log message: process data is at most 64 KiB.
inline constexpr std::size_t tse_log_bytes = 72U << 10U;
inline constexpr std::size_t tse_process_data_bytes = 64U << 10U;
/// From a TSE's certificate to its root; real ones have three or four.
inline constexpr std::size_t tse_chain_certificates = 8;
/// Certificates in one export.
inline constexpr std::size_t tse_certificates = 256;
/// What a check of an export says at most: a person reads it.
inline constexpr std::size_t tse_archive_findings = 1000;
/// A receipt's QR code holds 4296 characters at most; bonded text may be longer.
inline constexpr std::size_t tse_receipt_text_bytes = 16U << 10U;
/// TR-03151: clientId and processType; products take 30 bytes of the former.
inline constexpr std::size_t tse_client_id_bytes = 30;
inline constexpr std::size_t tse_process_type_bytes = 100;
inline constexpr std::size_t tse_pin_bytes = 64;
/// The state file of a simulated TSE; 512 open transactions make about 60 KiB.
inline constexpr std::size_t tse_state_bytes = 16U << 20U;
/// info.csv and the certificates of a simulated TSE.
inline constexpr std::size_t tse_head_bytes = 64U << 10U;
/// Parameters of one cryptovision command or answer; the longest ones have seven.
inline constexpr std::size_t cryptovision_parameters = 16;
/// Lists that a cryptovision stick answers with; each fits into 32 KiB of parameters.
inline constexpr std::size_t cryptovision_keys = 64;
inline constexpr std::size_t cryptovision_mappings = 1024;

// --- TSE: Diebold Nixdorf
// ---------------------------------------------------------------------------------------------
/// A request: its largest is command 206 with 512 bytes of process data in base64 (684) besides
/// number, id and markers; identifiers and process types are short.
inline constexpr std::size_t diebold_request_bytes = 2048;
/// A response in one piece. Longer ones go through a buffer.
inline constexpr std::size_t diebold_response_bytes = 64U << 10U;
/// Of a response: lists of clients and open transactions have one for each.
inline constexpr std::size_t diebold_parameters = 8192;
/// Request ids that a simulated stick remembers, to notice one that comes twice.
inline constexpr std::size_t diebold_remembered_ids = 64;
/// Buffers for answers are numbered from 1 to this.
inline constexpr std::size_t diebold_buffers = 9;
/// What a buffer holds: an archive in base64.
inline constexpr std::size_t diebold_buffer_bytes = tse_archive_bytes / 3 * 4 + 4096;

// --- POS
// ---------------------------------------------------------------------------------------------
/// The root of a TSE stick holds a handful of files.
inline constexpr std::size_t pos_folder_entries = 4096;
/// /proc/mounts of a machine with many containers.
inline constexpr std::size_t pos_mounts_bytes = 4U << 20U;
/// Serial devices looked at, and sticks named in a message.
inline constexpr std::size_t pos_candidates = 64;
/// A file of PINs, and the memory of how many tries they have left.
inline constexpr std::size_t pos_small_file_bytes = 64U << 10U;
/// What is taken of an export: twice the store of the largest sticks (8 GB).
inline constexpr std::uint64_t pos_export_bytes = std::uint64_t{16} << 30U;
/// Logs that are fetched to find out what became of a signature.
inline constexpr std::size_t pos_recent_logs = 64;
/// Frames of one cryptovision answer that is no export.
inline constexpr std::size_t pos_answer_bytes = 64U << 10U;
/// Pieces of one file of a stick that is reached without a kernel.
inline constexpr std::size_t pos_file_extents = 65536;
/// Clients and open transactions that a Swissbit stick lists; it has fewer.
inline constexpr std::size_t swissbit_listed = 65536;

}  // namespace tillbridge::limits
