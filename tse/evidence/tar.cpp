#include "tse/evidence/tar.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdio>
#include <optional>
#include <string_view>

#include "channel/bytes/limits.hpp"
#include "channel/bytes/writer.hpp"

namespace tillbridge::tse {
namespace {

// POSIX ustar header: name 100, mode 8, uid 8, gid 8, size 12, mtime 12, checksum 8, type 1, link
// name 100, magic 6, version 2, user 32, group 32, device major 8, minor 8, prefix 155, unused 12.
constexpr std::size_t checksum_offset = 148, checksum_bytes = 8;
// Digits of a size field; only an assertion asks.
[[maybe_unused]] constexpr std::size_t octal_size_digits = 11;

void text_field(ByteWriter& out, std::string_view text, std::size_t size) {
  for (const char c : text) out.u8(static_cast<std::uint8_t>(c));
  out.zeros(size - text.size());
}

/// Digits with leading zeros, and a NUL.
void octal_field(ByteWriter& out, std::uint64_t value, std::size_t size) {
  for (std::size_t digit = size - 1; digit > 0; --digit) {
    out.u8(static_cast<std::uint8_t>('0' + (value >> (3 * (digit - 1)) & 7U)));
  }
  out.u8(0);
}

std::uint64_t checksum(ByteView header) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < header.size(); ++i) {
    const bool own = i >= checksum_offset && i < checksum_offset + checksum_bytes;
    sum += own ? std::uint64_t{' '} : header[i];
  }
  return sum;
}

std::string text_of(ByteView field) {
  const auto end = std::find(field.begin(), field.end(), std::uint8_t{0});
  return {field.begin(), end};
}

/// Octal digits, blanks before and a blank or NUL after them; empty counts as 0.
std::optional<std::uint64_t> octal_of(ByteView field) {
  std::uint64_t value = 0;
  bool begun = false;
  for (const std::uint8_t c : field) {
    if (c == ' ' && !begun) continue;
    if (c == ' ' || c == 0) return value;
    if (c < '0' || c > '7') return std::nullopt;
    begun = true;
    value = value << 3U | static_cast<std::uint64_t>(c - '0');  // 12 digits: 36 bits
  }
  return value;
}

bool all_zero(ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t b) { return b == 0; });
}

std::string printable(const std::string& name) {
  std::string text = name;
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return text;
}

Error damaged(const std::string& name, const std::string& what) {
  return fail(ErrorCode::malformed,
              "The archive is damaged at the file '" + printable(name) + "': " + what + ".");
}

struct Header {
  std::string name;
  std::uint64_t size = 0, modified_s = 0;
};

Result<Header> read_header(ByteView block) {
  ByteReader reader(block);
  const std::string name = text_of(reader.take(100));
  reader.skip(8 + 8 + 8);  // mode, owner, group
  const auto size = octal_of(reader.take(12));
  const auto modified = octal_of(reader.take(12));
  const auto sum = octal_of(reader.take(checksum_bytes));
  const std::uint8_t type = reader.u8();
  reader.skip(100);
  const std::string magic = text_of(reader.take(6));
  reader.skip(2 + 32 + 32 + 8 + 8);
  const std::string prefix = text_of(reader.take(155));
  const std::string whole = prefix.empty() ? name : prefix + "/" + name;
  if (magic != "ustar" && magic != "ustar ") {
    return fail(ErrorCode::malformed,
                "This is not a TAR archive, or it is damaged: no ustar header after '" +
                    printable(whole) + "'.");
  }
  if (!sum || *sum != checksum(block)) return damaged(whole, "its header has a wrong checksum");
  if (!size || !modified) return damaged(whole, "its header holds a number that is not octal");
  if (type != '0' && type != 0) return damaged(whole, "it is not a regular file");
  if (name.empty()) return damaged(whole, "it has no name");
  return Header{whole, *size, *modified};
}

}  // namespace

Bytes tar_entry(const TarEntry& entry) {
  assert(!entry.name.empty() && entry.name.size() <= tar_name_bytes);
  assert(entry.content.size() < std::uint64_t{1} << (3 * octal_size_digits));
  const std::size_t padding =
      (tar_block_bytes - entry.content.size() % tar_block_bytes) % tar_block_bytes;
  ByteWriter header(tar_block_bytes);
  text_field(header, entry.name, 100);
  octal_field(header, 0444, 8);
  octal_field(header, 0, 8);
  octal_field(header, 0, 8);
  octal_field(header, entry.content.size(), 12);
  octal_field(header, entry.modified_s, 12);
  text_field(header, "        ", checksum_bytes);
  text_field(header, "0", 1);
  text_field(header, "", 100);
  text_field(header, "ustar", 6);
  text_field(header, "00", 2);
  text_field(header, "", 32 + 32);
  octal_field(header, 0, 8);
  octal_field(header, 0, 8);
  text_field(header, "", 155 + 12);

  // Real cards write the checksum with seven digits and a NUL.
  ByteWriter sum;
  octal_field(sum, checksum(header.view()), checksum_bytes);
  ByteWriter out(tar_block_bytes + entry.content.size() + padding);
  out.bytes(header.view().first(checksum_offset));
  out.bytes(sum.view());
  out.bytes(header.view().subspan(checksum_offset + checksum_bytes));
  out.bytes(entry.content);
  out.zeros(padding);
  return out.finish();
}

Status view_tar(ByteView archive, std::vector<TarView>& entries) {
  if (archive.size() > limits::tse_archive_bytes) {
    return fail(ErrorCode::limit, "The archive is larger than 1 GiB. Export it in parts.");
  }
  ByteReader reader(archive);
  std::string before = "(none)";
  while (reader.remaining() > 0) {
    const ByteView block = reader.take(tar_block_bytes);
    if (!reader.ok()) return damaged(before, "the archive ends in the middle of a header after it");
    if (all_zero(block)) {
      if (all_zero(reader.rest())) return {};
      return damaged(before, "there is more data after the archive's end");
    }
    const auto header = read_header(block);
    if (!header) return header.error();
    before = header->name;
    if (header->size > reader.remaining()) {
      return damaged(before, "the archive is cut short in its content");
    }
    const ByteView content = reader.take(static_cast<std::size_t>(header->size));
    const std::size_t padding =
        (tar_block_bytes - content.size() % tar_block_bytes) % tar_block_bytes;
    reader.skip(padding);
    if (!reader.ok()) return damaged(before, "the archive is cut short in its last block");
    entries.push_back({header->name, content, header->modified_s});
  }
  return {};
}

Result<std::vector<TarEntry>> read_tar(ByteView archive) {
  std::vector<TarView> views;
  if (const auto status = view_tar(archive, views); !status) return status.error();
  std::vector<TarEntry> entries;
  entries.reserve(views.size());
  for (const TarView& view : views) {
    entries.push_back(
        {view.name, Bytes(view.content.begin(), view.content.end()), view.modified_s});
  }
  return entries;
}

bool has_tar_trailer(ByteView archive) {
  return archive.size() >= tar_trailer_bytes && archive.size() % tar_block_bytes == 0 &&
         all_zero(archive.last(tar_trailer_bytes));
}

}  // namespace tillbridge::tse
