// Frames byte for byte: the wire examples of the protocol's description, and every state of an
// answer.
#include "tse/cryptovision/frame.hpp"

#include <gtest/gtest.h>

#include "tests/unit/tse/cryptovision/hex.hpp"
#include "tse/cryptovision/command.hpp"

namespace tillbridge::tse::cryptovision {
namespace {

constexpr std::string_view magic_hex =
    "4164 5661 6e63 4544 2053 6543 7552 6520 5344 2f4d 4d43 2043 4172 6401";

Bytes padded(std::string_view after_magic, std::size_t size = 512) {
  Bytes bytes = hex(std::string(magic_hex) + std::string(after_magic));
  bytes.resize(size);
  return bytes;
}

TEST(RequestFrames, ForbidSuspend) {
  EXPECT_EQ(encode({usual_token, Mode::forbid_suspend, {0, 0}}), padded("deadbeef 0002 5344 0000"));
}

TEST(RequestFrames, Start) {
  EXPECT_EQ(encode({usual_token, Mode::normal, encode_command(CommandCode::start)}),
            padded("deadbeef 0006 0000 5c54 0000 0000"));
}

TEST(RequestFrames, GetLifeCycle) {
  const Bytes command =
      encode_command(CommandCode::get_status,
                     {Parameter::number(static_cast<std::uint16_t>(StatusItem::life_cycle))});
  EXPECT_EQ(encode({usual_token, Mode::normal, command}),
            padded("deadbeef 000b 0000 5c54 0012 0005 03 0002 0004"));
}

TEST(RequestFrames, AuthenticateTimeAdmin) {
  const Bytes pin(8, '2');
  const Bytes command = encode_command(CommandCode::authenticate_user,
                                       {Parameter::text("TimeAdmin"), Parameter::bytes(pin)});
  EXPECT_EQ(encode({usual_token, Mode::normal, command}),
            padded("deadbeef 001d 0000 5c54 0003 0017 04 0009 54696d6541646d696e"
                   "02 0008 3232323232323232"));
}

TEST(RequestFrames, ArePaddedAsTheClientLikes) {
  const RequestFrame frame{0xDEADBEAF, Mode::normal, {fetch_more}};
  EXPECT_EQ(encode(frame, 1).size(), request_header_bytes + 1) << "the vendor's old Java";
  EXPECT_EQ(encode(frame, 8192).size(), 8192U) << "python";
  EXPECT_EQ(encode({usual_token, Mode::normal, Bytes(476)}).size(), 512U);
  EXPECT_EQ(encode({usual_token, Mode::normal, Bytes(477)}).size(), 1024U);
  EXPECT_EQ(encode({usual_token, Mode::normal, Bytes(most_request_bytes)}).size(), file_bytes);
}

TEST(RequestFrames, AreReadBackAndWhatFollowsIsIgnored) {
  Bytes bytes = encode({0xDEADBEAF, Mode::allow_suspend, {7, 8}});
  bytes[40] = 0x99;
  const auto frame = parse_request(bytes);
  ASSERT_TRUE(frame.ok());
  EXPECT_EQ(frame->token, 0xDEADBEAFU);
  EXPECT_EQ(frame->mode, Mode::allow_suspend);
  EXPECT_EQ(frame->data, (Bytes{7, 8}));
}

TEST(RequestFrames, ThatAreNoneAreRefused) {
  Bytes bytes = encode({usual_token, Mode::normal, Bytes(700, 1)});
  EXPECT_EQ(parse_request(ByteView(bytes).first(512)).error().code, ErrorCode::malformed);
  EXPECT_EQ(parse_request(ByteView(bytes).first(35)).error().code, ErrorCode::malformed);
  EXPECT_TRUE(parse_request_header(ByteView(bytes).first(512)).ok());
  bytes[32] = 0x1F;
  bytes[33] = 0xDD;
  EXPECT_EQ(parse_request_header(bytes).error().code, ErrorCode::limit) << "8157 bytes";
  bytes[0] = 0;
  EXPECT_FALSE(has_magic(bytes));
  EXPECT_EQ(parse_request_header(bytes).error().code, ErrorCode::malformed);
}

TEST(ResponseFrames, OfTheRecordedLogin) {
  const Bytes answer = encode_answer({Parameter::byte(0), Parameter::number(3)});
  const Bytes frame = encode_response(static_cast<std::uint16_t>(answer.size()), answer);
  EXPECT_EQ(frame, padded("00000000 000b 0009 01 0001 00 03 0002 0003", 45));
  const auto parsed = parse_response(frame, usual_token);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->state, ResponseState::data);
  EXPECT_EQ(parsed->data, answer);
}

TEST(ResponseFrames, TellTheirState) {
  const auto state = [](const Bytes& bytes) {
    const auto frame = parse_response(bytes, usual_token);
    EXPECT_TRUE(frame.ok());
    return frame.ok() ? frame->state : ResponseState::data;
  };
  EXPECT_EQ(state(padded("00000000 ffff")), ResponseState::busy);
  EXPECT_EQ(state(padded("00000000 ff45")), ResponseState::element_timeout);
  EXPECT_EQ(state(padded("00000000 ff01")), ResponseState::controller_fault);
  EXPECT_EQ(state(padded("00000000 0000")), ResponseState::acknowledged);
  EXPECT_EQ(state(padded("00000000 0002 8008")), ResponseState::data);
  EXPECT_EQ(state(padded("deadbeef ffff")), ResponseState::not_taken);
  EXPECT_EQ(state(Bytes(512)), ResponseState::lost);
  EXPECT_EQ(parse_response(padded("deadbeef ffff"))->state, ResponseState::busy)
      << "Java does not look at the token";
}

TEST(ResponseFrames, ThatDoNotFitAreRefused) {
  EXPECT_FALSE(parse_response(Bytes(33)).ok());
  EXPECT_FALSE(parse_response(padded("00000000 01df")).ok()) << "one byte more than 512 - 34";
  EXPECT_TRUE(parse_response(padded("00000000 01de")).ok());
  EXPECT_FALSE(parse_response(padded("00000000 1fdf", 9000)).ok()) << "more than the file holds";
  EXPECT_TRUE(parse_response(padded("00000000 1fde", 8192)).ok());
}

}  // namespace
}  // namespace tillbridge::tse::cryptovision
