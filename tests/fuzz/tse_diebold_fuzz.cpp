// The Diebold Nixdorf codec gets anything: what it finds does not depend on how the bytes are cut,
// and what it understood can be written and read again.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "tse/diebold/base64.hpp"
#include "tse/diebold/buffer_fetch.hpp"
#include "tse/diebold/fields.hpp"
#include "tse/diebold/frame.hpp"

namespace dn = tillbridge::tse::diebold;
using tillbridge::ByteReader;
using tillbridge::Bytes;
using tillbridge::ByteView;

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

/// Events as texts, so that two runs can be compared.
std::string summary(const dn::Request& request) {
  std::string text = "request " + std::to_string(request.command);
  for (const std::string& parameter : request.parameters) text += "|" + parameter;
  return text + "#" + request.id.value_or("-") + "#" +
         std::to_string(static_cast<int>(request.answer)) + "#" + std::to_string(request.buffer);
}
std::string summary(const dn::Response& response) {
  std::string text = "response " + std::to_string(response.command);
  for (const std::string& parameter : response.parameters) text += "|" + parameter;
  return text + "#" + response.id;
}
std::string summary(const dn::StatusReport& report) {
  return "report " + report.text;
}
std::string summary(const dn::FrameFault& fault) {
  return "fault " + fault.text;
}

template <typename Parser>
std::vector<std::string> run(ByteView data, std::size_t piece_bytes) {
  Parser parser;
  std::vector<std::string> events;
  while (!data.empty()) {
    const ByteView piece = data.first(std::min(data.size(), piece_bytes));
    data = data.subspan(piece.size());
    ByteReader reader(piece);
    while (auto event = parser.next(reader)) {
      events.push_back(std::visit([](const auto& what) { return summary(what); }, *event));
    }
    require(reader.remaining() == 0);
  }
  return events;
}

void written_and_read_again(ByteView data) {
  dn::RequestParser requests;
  ByteReader reader(data);
  while (auto event = requests.next(reader)) {
    const auto* request = std::get_if<dn::Request>(&*event);
    if (request == nullptr) continue;
    const auto frame = dn::encode(*request);
    if (!frame) continue;  // control characters are refused
    dn::RequestParser again;
    ByteReader frame_reader(*frame);
    const auto same = again.next(frame_reader);
    require(same && std::holds_alternative<dn::Request>(*same));
    dn::Request expected = *request;
    if (request->id) {  // an id's control characters are replaced
      for (char& character : *expected.id) {
        if (static_cast<unsigned char>(character) < 0x20) character = '?';
      }
    }
    require(summary(std::get<dn::Request>(*same)) == summary(expected));
  }
}

void every_field(const dn::Response& response) {
  static_cast<void>(dn::parse_status(response));
  static_cast<void>(dn::parse_country_info(response));
  static_cast<void>(dn::parse_firmware_info(response));
  static_cast<void>(dn::parse_memory_info(response));
  static_cast<void>(dn::parse_device_info(response));
  static_cast<void>(dn::parse_slot_info(response));
  static_cast<void>(dn::parse_self_test(response));
  static_cast<void>(dn::parse_signature(response));
  static_cast<void>(dn::parse_login(response));
  static_cast<void>(dn::parse_count(response));
  static_cast<void>(dn::parse_single_number(response));
  static_cast<void>(dn::parse_numbers(response));
  if (const auto values = dn::parse_binaries(response)) {
    for (std::size_t i = 0; i < values->size(); ++i) {
      require(dn::to_base64(values->at(i)) == response.parameters[i]);
    }
  }
  dn::BufferFetch fetch(1);
  static_cast<void>(fetch.accept(response));
  for (const std::string& parameter : response.parameters) {
    const auto time = dn::parse_time(parameter);
    if (time) require(dn::time_text(*time) == parameter);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView input(data, size);
  const auto whole_requests = run<dn::RequestParser>(input, size + 1);
  require(run<dn::RequestParser>(input, 1) == whole_requests);
  require(run<dn::RequestParser>(input, 7) == whole_requests);
  const auto whole_responses = run<dn::ResponseParser>(input, size + 1);
  require(run<dn::ResponseParser>(input, 1) == whole_responses);
  written_and_read_again(input);
  if (const auto response = dn::parse_response(input)) every_field(*response);
  dn::ResponseParser parser;
  ByteReader reader(input);
  while (const auto event = parser.next(reader)) {
    if (const auto* response = std::get_if<dn::Response>(&*event)) every_field(*response);
  }
  return 0;
}
