// Limits of what this room keeps and sends.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tillbridge::operations::limits {

/// Pairs of a stick and a till whose transfers are counted; further ones are not in the metrics.
inline constexpr std::size_t counted_pairs = 8192;

/// Messages that wait for one alert hook. A full queue drops its oldest; the next message says how
/// many.
inline constexpr std::size_t alerts_waiting = 256;
/// One hook sends so many at once, and then one in each interval: an alarm that flutters, or a hub
/// that dies with thirty sticks, makes no storm.
inline constexpr unsigned alerts_at_once = 10;
inline constexpr std::chrono::seconds alert_interval{6};
/// A message that was not taken is sent again after 2, 4, 8 and 16 s, then given up.
inline constexpr unsigned alert_attempts = 5;
inline constexpr std::chrono::seconds alert_first_wait{2};
inline constexpr std::chrono::seconds webhook_connect_time{5};
/// Read of an answer, and of a command's output: the beginning is for the log.
inline constexpr std::size_t alert_answer_bytes = 16U << 10U, alert_log_bytes = 300;

/// Captures that run at the same time, in all.
inline constexpr std::size_t captures = 8;
/// Waits for the reader of a capture; what comes while so much waits is dropped and counted.
inline constexpr std::size_t capture_waiting_bytes = 8U << 20U;
/// Of one transfer's data, in a capture with payloads.
inline constexpr std::size_t capture_payload_bytes = 256U << 10U;
/// Transfers that run at the same time and are remembered until their completion.
inline constexpr std::size_t capture_running = 4096;

}  // namespace tillbridge::operations::limits
