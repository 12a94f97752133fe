// The machine-readable receipt: DSFinV-K annex I, version V0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "channel/bytes/result.hpp"
#include "tse/evidence/keys.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::tse {

/// All that is needed to rebuild and verify the FinishTransaction message of a receipt.
struct Receipt {
  std::string client, process_type, process_data;
  std::uint64_t transaction = 0, counter = 0;
  std::uint64_t start_s = 0, end_s = 0;  ///< Unix seconds: log times of start and finish
  Hash hash = Hash::sha384;
  TimeFormat time_format = TimeFormat::unix_time;
  Bytes signature;
  Bytes public_point;
};

/// "V0;client;type;data;number;counter;start;end;algorithm;time format;signature;key".
[[nodiscard]] std::string qr_text(const Receipt& receipt);
[[nodiscard]] Result<Receipt> parse_qr_text(std::string_view text);
/// Tries the curves that fit the point's length. The error says what does not fit.
[[nodiscard]] Status check_receipt(const Receipt& receipt);

}  // namespace tillbridge::tse
