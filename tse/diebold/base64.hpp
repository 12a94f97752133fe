// Base64 (RFC 4648, section 4) as the Diebold Nixdorf TSE writes binary values.
#pragma once

#include <string>
#include <string_view>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::tse::diebold {

/// With padding, without line breaks.
[[nodiscard]] std::string to_base64(ByteView data);
/// Strict: a length that is a multiple of four, padding only at the end, unused bits zero.
[[nodiscard]] Result<Bytes> from_base64(std::string_view text);

}  // namespace tillbridge::tse::diebold
