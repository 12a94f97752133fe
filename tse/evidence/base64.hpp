// Base64 (RFC 4648 section 4): how receipts and serial TSEs write keys and signatures.
#pragma once

#include <string>
#include <string_view>

#include "channel/bytes/reader.hpp"
#include "channel/bytes/result.hpp"

namespace tillbridge::tse {

/// With padding, without line breaks.
[[nodiscard]] std::string base64_of(ByteView data);
/// Only what base64_of() writes: padded, no blanks, no stray bits in the last digit.
[[nodiscard]] Result<Bytes> from_base64(std::string_view text);

}  // namespace tillbridge::tse
