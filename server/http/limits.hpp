// Limits of what comes in over HTTP, and how long it may take.
#pragma once

#include <chrono>
#include <cstddef>

#include "server/admin/limits.hpp"

namespace tillbridge::http::limits {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// One request.
inline constexpr std::size_t head_bytes = 16U << 10U;  ///< its line and headers
inline constexpr std::size_t target_bytes = 4U << 10U;
inline constexpr std::size_t body_bytes = admin::limits::body_bytes;
inline constexpr seconds handshake{5};       ///< TLS
inline constexpr seconds whole_request{10};  ///< from its first byte to its last
inline constexpr seconds idle{30};           ///< between two requests of a connection
inline constexpr seconds unread_answer{10};  ///< a client that takes nothing for so long is cut
inline constexpr std::size_t answer_bytes_per_second = 16U << 10U;  ///< or that is slower than this
inline constexpr seconds loop_answer{10};  ///< until the loop begins with a request

// Connections. Each has a thread; those that only wait make room for new ones.
inline constexpr std::size_t connections = 128;
inline constexpr std::size_t connections_per_address = 32;
inline constexpr std::size_t requests_per_connection = 1000;
/// Viewers of the event stream and other answers without an end: the rest stays for requests.
inline constexpr std::size_t streams = 64;
inline constexpr std::size_t streams_per_address = 16;
inline constexpr std::size_t stream_queue_bytes = 1U << 20U;
inline constexpr seconds stream_pulse{10};  ///< something is written to a quiet stream that often

// Logins.
inline constexpr std::size_t password_characters = 10;  ///< at least
inline constexpr std::size_t password_bytes = admin::limits::password_bytes;
inline constexpr std::size_t wrong_passwords = 5;  ///< of an address (IPv6: a /64), in `lockout`
inline constexpr std::size_t wrong_passwords_all = 100;  ///< of all addresses together
inline constexpr minutes lockout{1};
inline constexpr std::size_t addresses_known = 512;
inline constexpr std::size_t passwords_at_once = 2;  ///< each check takes 32 MiB and 0.2 s
inline constexpr hours session_idle{4};              ///< an open page is in use
inline constexpr hours session_whole{7 * 24};
inline constexpr minutes session_noted{5};  ///< how exactly the store knows when it was last used
inline constexpr std::size_t sessions_per_user = 16;
inline constexpr hours first_link_valid{24};  ///< the one in the journal of the first start
inline constexpr minutes link_valid{15};

// Tokens of monitoring systems, a line each.
inline constexpr std::size_t scrape_tokens = 8;
inline constexpr std::size_t scrape_token_characters = 16;  ///< at least
inline constexpr std::size_t scrape_token_bytes = 512;
inline constexpr std::size_t scrape_file_bytes = 8U << 10U;

/// Lines about refused requests in the journal and the audit, a minute; the rest is counted.
inline constexpr std::size_t refusals_logged = 20;

}  // namespace tillbridge::http::limits
