// Every parser of channel/massstorage on arbitrary bytes. What a parser accepts, it must also
// encode to the same.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "channel/massstorage/command_block.hpp"
#include "channel/massstorage/scsi.hpp"

namespace massstorage = tillbridge::massstorage;
namespace scsi = tillbridge::massstorage::scsi;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const tillbridge::ByteView bytes(data, size);

  massstorage::CommandBlock command;
  command.data_length = 4096;
  if (const auto parsed = massstorage::parse_command_block(bytes)) {
    command = *parsed;
    const auto again = massstorage::parse_command_block(massstorage::encode(*parsed));
    require(again.ok() && *again == *parsed);
    if (const auto blocks = scsi::parse_block_command(parsed->cdb)) {
      require(parsed->cdb.length >= scsi::cdb_size(parsed->cdb.operation()));
    }
  }
  if (size >= 8) {  // the tag is what it takes to get further
    tillbridge::ByteReader reader(bytes.subspan(4));
    command.tag = reader.u32le();
  }
  if (const auto parsed = massstorage::parse_status_block(bytes, command)) {
    require(std::ranges::equal(massstorage::encode(*parsed), bytes));
    require(parsed->status == massstorage::CommandStatus::phase_error ||
            parsed->residue <= command.data_length);
  }
  if (const auto sense = scsi::parse_sense(bytes)) {
    require(!sense->text().empty());
    const auto again = scsi::parse_sense(scsi::encode(*sense));
    require(again.ok() && *again == *sense);
  }
  if (const auto reply = scsi::parse_inquiry(bytes)) {
    require(reply->vendor.size() <= 8 && reply->product.size() <= 16 &&
            reply->revision.size() <= 4);
  }
  if (const auto capacity = scsi::parse_capacity(bytes)) {
    require(capacity->block_size > 0 && capacity->block_count > 0);
  }
  return 0;
}
