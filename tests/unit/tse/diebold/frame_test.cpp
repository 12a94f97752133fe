#include "tse/diebold/frame.hpp"

#include <gmock/gmock.h>

#include "channel/bytes/limits.hpp"
#include "tse/diebold/buffer_fetch.hpp"
#include "tse/diebold/fields.hpp"

namespace tillbridge::tse::diebold {
namespace {

constexpr const char* some_id = "7f3c5c0e-8c55-4f5c-a3c1-8c1f0d2a9b11";

/// '~' stands for an escape; markers are written as they are.
Bytes bytes_of(std::string_view text) {
  Bytes bytes;
  for (const char character : text) {
    bytes.push_back(character == '~' ? escape : static_cast<std::uint8_t>(character));
  }
  return bytes;
}

std::vector<std::variant<Request, FrameFault>> requests_in(RequestParser& parser, ByteView data) {
  std::vector<std::variant<Request, FrameFault>> events;
  ByteReader reader(data);
  while (auto event = parser.next(reader)) events.push_back(*std::move(event));
  EXPECT_EQ(reader.remaining(), 0U);
  return events;
}

std::vector<ResponseParser::Event> responses_in(ResponseParser& parser, ByteView data) {
  std::vector<ResponseParser::Event> events;
  ByteReader reader(data);
  while (auto event = parser.next(reader)) events.push_back(*std::move(event));
  EXPECT_EQ(reader.remaining(), 0U);
  return events;
}

DeviceError fault_of(std::string_view text) {
  RequestParser parser;
  const auto events = requests_in(parser, bytes_of(text));
  if (events.size() != 1 || !std::holds_alternative<FrameFault>(events[0])) {
    ADD_FAILURE() << "no fault";
    return DeviceError::none;
  }
  return std::get<FrameFault>(events[0]).error;
}

Response buffer_answer(std::uint64_t sequence, bool more, Bytes data) {
  return {4, parameters_of(BufferPacket{1, sequence, more, std::move(data)}), some_id};
}

TEST(DieboldFrame, ARequestIsWrittenAsClientsWriteIt) {
  Request request = make_request(Command::set_time, {"31.12.2026 23:59:59"}, "id");
  EXPECT_EQ(*encode(request), bytes_of("~\x90"
                                       "101~\x92"
                                       "31.12.2026 23:59:59~\x99id~\x9D~\x9F"));
  request = make_request(Command::export_all, {"1"}, "id");
  request.answer = AnswerMode::in_buffer;
  request.buffer = 2;
  EXPECT_EQ(*encode(request), bytes_of("~\x90"
                                       "300~\x92"
                                       "1~\x99id~\x9E"
                                       "2~\x9F"));
  request = make_request(Command::status, {}, "id");
  request.answer = AnswerMode::none;
  EXPECT_EQ(*encode(request), bytes_of("~\x90"
                                       "001~\x99id~\x9C~\x9F"));
}

TEST(DieboldFrame, TheVendorsServiceLeavesTheIdOut) {
  RequestParser parser;
  const auto events = requests_in(parser, bytes_of("~\x90"
                                                   "309~\x92"
                                                   "1~\x9D~\x9F"));
  ASSERT_EQ(events.size(), 1U);
  const auto& request = std::get<Request>(events[0]);
  EXPECT_EQ(request.command, 309);
  EXPECT_FALSE(request.id);
  EXPECT_EQ(encode(Response{309, {}, ""}), bytes_of("~\x91"
                                                    "309~\x99~\x9F"));
}

TEST(DieboldFrame, PacketBoundariesMeanNothing) {
  Request first = make_request(Command::process_data, {"0", "QUJD"}, some_id);
  Request second = make_request(Command::export_period, {"1", "", "", "till-01"}, some_id);
  second.answer = AnswerMode::in_buffer;
  second.buffer = 9;
  Bytes stream = bytes_of("noise ~\x91 and ~~ more");
  for (const Request& request : {first, second}) {
    const Bytes frame = *encode(request);
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
    RequestParser parser;
    auto events = requests_in(parser, ByteView(stream).first(cut));
    for (auto& event : requests_in(parser, ByteView(stream).subspan(cut))) {
      events.push_back(std::move(event));
    }
    ASSERT_EQ(events.size(), 2U) << cut;
    const auto& one = std::get<Request>(events[0]);
    EXPECT_EQ(one.parameters, first.parameters);
    EXPECT_EQ(one.answer, AnswerMode::now);
    const auto& two = std::get<Request>(events[1]);
    EXPECT_EQ(two.parameters, second.parameters);
    EXPECT_EQ(two.id, some_id);
    EXPECT_EQ(two.answer, AnswerMode::in_buffer);
    EXPECT_EQ(two.buffer, 9U);
  }
}

TEST(DieboldFrame, WhatIsWrongWithARequestHasANumber) {
  EXPECT_EQ(fault_of("~\x90xyz~\x9D~\x9F"), DeviceError::unknown_command);
  EXPECT_EQ(fault_of("~\x90"
                     "12~\x9D~\x9F"),
            DeviceError::unknown_command);
  EXPECT_EQ(fault_of("~\x90"
                     "001~\x9F"),
            DeviceError::bad_end);
  EXPECT_EQ(fault_of("~\x90"
                     "001~\x99id~\x92late~\x9D~\x9F"),
            DeviceError::bad_end);
  EXPECT_EQ(fault_of("~\x90"
                     "001~\x9D~\x9D~\x9F"),
            DeviceError::bad_end);
  EXPECT_EQ(fault_of("~\x90"
                     "001~\x9Etwo~\x9F"),
            DeviceError::parameter_value);
  EXPECT_EQ(fault_of("~\x90" + std::string(limits::diebold_request_bytes, 'x')),
            DeviceError::command_too_long);
}

TEST(DieboldFrame, ARequestThatWasCutOffDoesNotTakeTheNextOneWithIt) {
  RequestParser parser;
  const Bytes whole = *encode(make_request(Command::status, {}, some_id));
  Bytes stream(whole.begin(), whole.begin() + 20);
  stream.insert(stream.end(), whole.begin(), whole.end());
  const auto events = requests_in(parser, stream);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(std::get<FrameFault>(events[0]).error, DeviceError::bad_end);
  EXPECT_EQ(std::get<Request>(events[1]).command, 1);
  EXPECT_TRUE(parser.idle());
}

TEST(DieboldFrame, TextThatWouldBecomeAMarkerIsRefused) {
  const auto refused = encode(make_request(Command::set_client, {"till\x1B\x9F"}, some_id));
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, testing::HasSubstr("control characters"));
  EXPECT_FALSE(encode(make_request(Command::set_client,
                                   {std::string(limits::diebold_request_bytes, 'x')}, some_id)));
  // The device's own texts come from its configuration.
  const auto frame = encode(Response{109, {"a\x1B\x9F"}, some_id});
  const auto response = parse_response(frame);
  ASSERT_TRUE(response.ok());
  EXPECT_EQ(response->parameters.at(0).size(), 3U);
}

TEST(DieboldFrame, RawBytesOfABufferMayLookLikeMarkers) {
  const Bytes inner = encode(Response{305, {"QUJD"}, some_id});
  const Bytes answer = encode(buffer_answer(7, true, inner));
  for (std::size_t cut = 0; cut <= answer.size(); ++cut) {
    ResponseParser parser;
    auto events = responses_in(parser, ByteView(answer).first(cut));
    for (auto& event : responses_in(parser, ByteView(answer).subspan(cut))) {
      events.push_back(std::move(event));
    }
    ASSERT_EQ(events.size(), 1U) << cut;
    const auto packet = parse_buffer_packet(std::get<Response>(events[0]));
    ASSERT_TRUE(packet.ok()) << packet.error().message;
    EXPECT_EQ(packet->data, inner);
    EXPECT_EQ(packet->sequence, 7U);
    EXPECT_TRUE(packet->more);
  }
}

TEST(DieboldFrame, StatusReportsStandBetweenAnswers) {
  ResponseParser parser;
  Bytes stream = encode(StatusReport{"010C01"});
  const Bytes answer = encode(Response{508, {"90000"}, some_id});
  stream.insert(stream.end(), answer.begin(), answer.end());
  const auto events = responses_in(parser, stream);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(std::get<StatusReport>(events[0]).text, "010C01");
  EXPECT_EQ(*parse_single_number(std::get<Response>(events[1])), 90000U);
}

TEST(DieboldFrame, AnEndlessAnswerIsGivenUp) {
  ResponseParser parser;
  Bytes stream = bytes_of(
      "~\x91"
      "004~\x92"
      "1~\x92"
      "0~\x92"
      "00~\x92"
      "9999999999~\x92");
  stream.resize(stream.size() + limits::diebold_response_bytes, 'x');
  const auto events = responses_in(parser, stream);
  ASSERT_EQ(events.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<FrameFault>(events[0]));
  const Bytes good = encode(Response{1, {"0000", "00"}, some_id});
  EXPECT_EQ(responses_in(parser, good).size(), 1U) << "it starts anew";
}

TEST(DieboldBufferFetch, PutsPiecesTogetherAndCountsThem) {
  const Bytes frame = encode(Response{300, {std::string(300, 'Q')}, some_id});
  BufferFetch fetch(1);
  for (std::size_t at = 0; at < frame.size(); ++at) {
    EXPECT_EQ(fetch.parameters(), (Parameters{"1", std::to_string(at % 256)}));
    const bool more = at + 1 < frame.size();
    auto result = fetch.accept(buffer_answer(at % 256, more, {frame[at]}));
    ASSERT_TRUE(result.ok()) << result.error().message;
    ASSERT_EQ(result->has_value(), !more);
    if (!more) {
      EXPECT_EQ((*result)->parameters.at(0), std::string(300, 'Q'));
    }
  }
}

TEST(DieboldBufferFetch, AForeignPieceEndsIt) {
  BufferFetch fetch(1);
  EXPECT_FALSE(fetch.accept(buffer_answer(3, true, {})));
  EXPECT_FALSE(BufferFetch(2).accept(buffer_answer(0, true, {})));
  EXPECT_FALSE(BufferFetch(1).accept(buffer_answer(0, false, {1, 2, 3})))
      << "no whole response in it";
}

}  // namespace
}  // namespace tillbridge::tse::diebold
