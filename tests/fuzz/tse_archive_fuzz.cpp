// An export of arbitrary bytes, as TAR and through the whole check. The fuzzer cannot guess a
// checksum, so every header's is made good first when the input's first byte asks for it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "tse/evidence/archive_check.hpp"
#include "tse/evidence/tar.hpp"

namespace tse = tillbridge::tse;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

tillbridge::Bytes with_good_checksums(tillbridge::ByteView input) {
  tillbridge::Bytes archive(input.begin(), input.end());
  for (std::size_t at = 0; at + tse::tar_block_bytes <= archive.size();
       at += tse::tar_block_bytes) {
    const auto block = std::span(archive).subspan(at, tse::tar_block_bytes);
    if (block[257] != 'u' || block[258] != 's') continue;
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < block.size(); ++i) {
      sum += i >= 148 && i < 156 ? std::uint8_t{' '} : block[i];
    }
    for (std::size_t digit = 0; digit < 7; ++digit) {
      block[148 + digit] = static_cast<std::uint8_t>('0' + (sum >> (3 * (6 - digit)) & 7U));
    }
    block[155] = 0;
  }
  return archive;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const tillbridge::ByteView input(data, size);
  const tillbridge::Bytes archive = input.front() == 'r'
                                        ? tillbridge::Bytes(input.begin() + 1, input.end())
                                        : with_good_checksums(input.subspan(1));
  if (const auto entries = tse::read_tar(archive)) {
    for (const tse::TarEntry& entry : *entries) require(!entry.name.empty());
  }
  const tse::ArchiveReport report = tse::check_archive(archive);
  require(report.logs >= report.transaction_logs + report.system_logs + report.audit_logs);
  for (const tse::ArchiveFinding& finding : report.findings) {
    require(!finding.text.empty() && !finding.where.empty());
  }
  return 0;
}
