// Checks an export as a tax auditor's tool does: every signature, every counter, the certificates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "channel/bytes/reader.hpp"
#include "tse/evidence/keys.hpp"

namespace tillbridge::tse {

enum class Finding : std::uint8_t {
  not_an_archive,
  unreadable_log,
  unreadable_certificate,
  no_certificate,  ///< no certificate has the key that the log names
  bad_signature,
  name_differs,  ///< the file's name and its content disagree
  missing_counter,
  duplicate_counter,
  bad_chain,            ///< the certificates do not lead to a self-signed root
  certificate_expired,  ///< signed after the certificate's end
  no_trailer,           ///< no two zero blocks at the end: perhaps cut between two files
  open_transaction,     ///< started and never finished: not an error, worth a word
};
[[nodiscard]] const char* name_of(Finding finding);
/// Does this finding make the archive bad? (open_transaction does not.)
[[nodiscard]] bool is_error(Finding finding);

struct ArchiveFinding {
  Finding what{};
  std::string where;  ///< a file's name, or "counter 17"
  std::string text;   ///< one sentence for a person
};

struct ArchiveReport {
  std::uint64_t logs = 0, transaction_logs = 0, system_logs = 0, audit_logs = 0;
  std::uint64_t keys = 0, transactions = 0, finished_transactions = 0;
  std::uint64_t first_counter = 0, last_counter = 0;
  std::vector<ArchiveFinding> findings;
  [[nodiscard]] bool good() const;
};

/// A whole archive, with its trailer. A part of an export is fine: counters may begin anywhere,
/// they must only not have holes. Names are held against content in counter, kind, transaction,
/// step, operation and client; the date in a name is nobody's evidence and products differ in it.
/// At most limits::tse_archive_findings findings.
[[nodiscard]] ArchiveReport check_archive(ByteView archive);

}  // namespace tillbridge::tse
