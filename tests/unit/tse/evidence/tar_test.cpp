#include "tse/evidence/tar.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tillbridge::tse {
namespace {

using testing::HasSubstr;

Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}

const Bytes trailer(tar_trailer_bytes, 0);

Bytes two_files() {
  return tar_entry({"info.csv", Bytes(600, 'a'), 1767225600}) +
         tar_entry({"b.log", Bytes(512, 'b'), 5});
}

std::string error_of(const Bytes& archive) {
  const auto entries = read_tar(archive);
  return entries ? "good" : entries.error().message;
}

/// With its checksum made good again.
Bytes with_header_byte(Bytes archive, std::size_t at, std::uint8_t value) {
  archive[at] = value;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < tar_block_bytes; ++i)
    sum += i >= 148 && i < 156 ? std::uint8_t{' '} : archive[i];
  for (std::size_t digit = 0; digit < 7; ++digit) {
    archive[148 + digit] = static_cast<std::uint8_t>('0' + (sum >> (3 * (6 - digit)) & 7U));
  }
  return archive;
}

TEST(Tar, ComesBackAsWritten) {
  for (const Bytes& archive : {two_files(), two_files() + trailer, two_files() + Bytes(10240, 0)}) {
    const auto entries = read_tar(archive);
    ASSERT_TRUE(entries.ok()) << entries.error().message;
    ASSERT_EQ(entries->size(), 2U);
    EXPECT_EQ(entries->at(0).name, "info.csv");
    EXPECT_EQ(entries->at(0).content, Bytes(600, 'a'));
    EXPECT_EQ(entries->at(0).modified_s, 1767225600U);
    EXPECT_EQ(entries->at(1).content, Bytes(512, 'b'));
  }
  EXPECT_EQ(two_files().size(), (1 + 2 + 1 + 1) * tar_block_bytes);
  EXPECT_EQ(read_tar({}).value().size(), 0U);
}

TEST(Tar, HeaderIsWhatCardsWrite) {
  const Bytes entry = tar_entry({"info.csv", Bytes(600, 'a'), 1767225600});
  const auto field = [&](std::size_t at, std::size_t size) {
    const ByteView bytes = ByteView(entry).subspan(at, size);
    return std::string(bytes.begin(), bytes.end());
  };
  EXPECT_EQ(field(100, 8), std::string("0000444\0", 8));
  EXPECT_EQ(field(124, 12), std::string("00000001130\0", 12));
  EXPECT_EQ(field(136, 12), std::string("15125334400\0", 12));
  EXPECT_EQ(field(155, 1), std::string(1, '\0'));  // checksum: seven digits and a NUL
  EXPECT_EQ(field(156, 1), "0");
  EXPECT_EQ(field(257, 8), std::string("ustar\0"
                                       "00",
                                       8));
  EXPECT_EQ(tar_entry({std::string(tar_name_bytes, 'n'), {}, 0}).size(), tar_block_bytes);
  EXPECT_EQ(read_tar(tar_entry({std::string(tar_name_bytes, 'n'), {}, 0})).value().at(0).name,
            std::string(tar_name_bytes, 'n'));
}

TEST(Tar, CutInAFileIsAnErrorThatNamesIt) {
  const Bytes archive = two_files();
  for (std::size_t size = 1; size < archive.size(); ++size) {
    const Bytes cut(archive.begin(), archive.begin() + static_cast<std::ptrdiff_t>(size));
    if (size == 3 * tar_block_bytes) continue;  // between the two files
    EXPECT_THAT(error_of(cut), HasSubstr(size < 512    ? "(none)"
                                         : size < 2048 ? "info.csv"
                                                       : "b.log"))
        << size;
  }
  const Bytes between(archive.begin(), archive.begin() + 3 * tar_block_bytes);
  EXPECT_EQ(error_of(between), "good");
  EXPECT_FALSE(has_tar_trailer(between));
  EXPECT_TRUE(has_tar_trailer(between + trailer));
}

TEST(Tar, FlippedHeaderBitIsAnError) {
  for (std::size_t at = 0; at < tar_block_bytes; ++at) {
    Bytes archive = two_files();
    archive[at] ^= 0x01U;
    EXPECT_NE(error_of(archive), "good") << at;
  }
}

TEST(Tar, TakesOnlyRegularFiles) {
  for (const char type : {'1', '2', '5', 'L', 'x', 'g'}) {
    EXPECT_THAT(error_of(with_header_byte(two_files(), 156, static_cast<std::uint8_t>(type))),
                HasSubstr("not a regular file"));
  }
  EXPECT_EQ(error_of(with_header_byte(two_files(), 156, 0)), "good");
  EXPECT_THAT(error_of(with_header_byte(two_files(), 124, '9')), HasSubstr("not octal"));
  EXPECT_THAT(error_of(with_header_byte(two_files(), 124, '7')), HasSubstr("cut short"));
  EXPECT_THAT(error_of(with_header_byte(two_files(), 124, 0x80)), HasSubstr("not octal"));
  EXPECT_THAT(error_of(with_header_byte(two_files(), 0, 0)), HasSubstr("no name"));
  EXPECT_THAT(error_of(two_files() + trailer + two_files()), HasSubstr("after the archive's end"));
  EXPECT_THAT(error_of(Bytes(2048, 'x')), HasSubstr("not a TAR"));
}

}  // namespace
}  // namespace tillbridge::tse
