#include "pos/cryptovision_card.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "channel/bytes/limits.hpp"

namespace tillbridge::pos {
namespace {

namespace cv = cryptovision;

constexpr const char* file_name = "TSE-IO.bin";
/// As fiskaltrust's client paces itself.
constexpr Duration poll_interval = std::chrono::milliseconds(10);
constexpr Duration answer_limit = std::chrono::seconds(40);

Failure broken(const Error& error) {
  return trouble(Trouble::garbled, "the stick answers nonsense: " + error.message +
                                       ". Is a virus scanner or another program writing to it?");
}

/// What a refused command means to a till.
Failure refused(cv::CommandCode code, cv::Failure failure) {
  const auto say = [&](Trouble what, const std::string& advice) {
    const char* const name = cv::name_of(code);
    return trouble(what, std::string("the stick refused ") +
                             (name == nullptr ? "a command" : name) + ": " + cv::text_of(failure) +
                             (advice.empty() ? "" : ". ") + advice);
  };
  switch (failure) {
    case cv::Failure::certificate_expired:
      return say(Trouble::certificate_expired,
                 "Its certificate has expired: it signs no more. Export its data and put in a new "
                 "stick");
    case cv::Failure::not_initialized:
    case cv::Failure::no_key:
      return say(Trouble::not_set_up, "Run setup first");
    case cv::Failure::time_not_set:
    case cv::Failure::time_update:
      return say(Trouble::no_time, "It needs the time");
    case cv::Failure::unknown_client:
      return say(Trouble::unknown_client, "Register the client with setup --client");
    case cv::Failure::storage:
    case cv::Failure::no_storage:
      return say(Trouble::used_up,
                 "Its storage is full or broken: export its data, then delete what was exported "
                 "with the vendor's software or put in a new stick");
    case cv::Failure::disabled:
    case cv::Failure::deactivated:
      return say(Trouble::disabled, "It is deactivated or was put out of service");
    case cv::Failure::no_such_transaction:
    case cv::Failure::transaction_number_not_found:
      return say(Trouble::no_transaction, "");
    case cv::Failure::start_failed:
    case cv::Failure::finish_failed:
      return say(Trouble::failed,
                 "Its signatures may be used up, or too many transactions open: see status");
    case cv::Failure::not_started:
      return say(Trouble::asleep, "It lost power or fell asleep in between");
    default:
      return say(Trouble::failed, "");
  }
}

}  // namespace

std::size_t CryptovisionCard::padding() const {
  switch (style_) {
    case OpenStyle::direct:
      return cv::file_bytes;  // python's client always writes all of it
    case OpenStyle::cached:
      return 1;
    case OpenStyle::direct_zeroed:
    case OpenStyle::recreated:
    case OpenStyle::each_time:
      break;
  }
  return cv::block_bytes;
}

Deed CryptovisionCard::open() {
  file_.reset();
  Result<std::unique_ptr<StickFile>> opened = volume_->open(file_name, style_);
  if (!opened) return from_io(opened.error());
  file_ = std::move(*opened);
  if (file_->size() < cv::file_bytes) {
    return trouble(Trouble::no_stick, volume_->name() + ": " + file_name + " has " +
                                          std::to_string(file_->size()) +
                                          " bytes, not 8192: this is no cryptovision stick");
  }
  // A card that may suspend forgets its answers.
  Outcome<Bytes> kept_awake = exchange({cv::usual_token, cv::Mode::forbid_suspend, Bytes(2, 0)});
  if (!kept_awake) return kept_awake.failure();
  return done();
}

Deed CryptovisionCard::send(const cv::RequestFrame& request) {
  if (!file_) return trouble(Trouble::gone, volume_->name() + " is not open");
  if (request.data.size() > cv::most_request_bytes) {
    return trouble(Trouble::usage, "a command of " + std::to_string(request.data.size()) +
                                       " bytes does not fit into one frame of a cryptovision "
                                       "stick; keep the receipt's data under 7 KiB");
  }
  if (Status written = file_->write(0, cv::encode(request, padding())); !written)
    return from_io(written.error());
  return done();
}

Outcome<cv::ResponseFrame> CryptovisionCard::read_response() {
  Bytes content(cv::file_bytes);
  if (Status read = file_->read(0, content); !read) return from_io(read.error());
  Result<cv::ResponseFrame> response = cv::parse_response(content, cv::usual_token);
  if (!response) return broken(response.error());
  return std::move(*response);
}

Outcome<Bytes> CryptovisionCard::exchange(const cv::RequestFrame& request) {
  if (Deed sent = send(request); !sent) return sent.failure();
  const Instant sent_at = clock_.now();
  while (true) {
    Outcome<cv::ResponseFrame> response = read_response();
    if (!response) return response.failure();
    switch (response->state) {
      case cv::ResponseState::data:
      case cv::ResponseState::acknowledged:
        return std::move(response->data);
      case cv::ResponseState::busy:
      case cv::ResponseState::not_taken:
        break;
      case cv::ResponseState::element_timeout:
        return trouble(
            Trouble::asleep,
            "the stick's secure element does not answer (FF45). Unplug the stick, wait a "
            "minute and plug it in again");
      case cv::ResponseState::controller_fault:
        return trouble(Trouble::asleep, "the stick's controller reports a fault (" +
                                            std::to_string(response->code) +
                                            "). Unplug the stick, wait a minute and plug it in "
                                            "again");
      case cv::ResponseState::lost:
        return trouble(Trouble::asleep,
                       "the stick fell asleep and lost its answer. Switch off USB power saving for "
                       "it");
    }
    if (clock_.now() - sent_at >= answer_limit) {
      return trouble(
          Trouble::asleep,
          response->state == cv::ResponseState::busy
              ? "the stick has been busy for 40 s. If that does not end, unplug it, wait "
                "a minute and plug it in again"
              : "the stick takes no commands: what was written to it still stands there. "
                "Does something cache its files?");
    }
    clock_.wait(poll_interval);
  }
}

Outcome<cv::Parameters> CryptovisionCard::command(cv::CommandCode code,
                                                  const cv::Parameters& parameters) {
  cv::AnswerAssembler answer(limits::pos_answer_bytes);
  cv::RequestFrame request{cv::usual_token, cv::Mode::normal, cv::encode_command(code, parameters)};
  while (true) {
    Outcome<Bytes> data = exchange(request);
    if (!data) return data.failure();
    if (data->empty()) {
      // Old firmware announces more than it has, for a list of four numbers.
      if (answer.kind() == cv::AnswerAssembler::Kind::parameters && !answer.data().empty()) {
        if (Result<cv::Parameters> all = answer.parameters()) return std::move(*all);
      }
      return trouble(Trouble::garbled, "the stick ended its answer before it was complete");
    }
    if (Status added = answer.add(*data); !added) return broken(added.error());
    if (answer.complete()) break;
    request.data = {cv::fetch_more};
  }
  if (answer.kind() == cv::AnswerAssembler::Kind::failure) return refused(code, answer.failure());
  if (answer.kind() == cv::AnswerAssembler::Kind::bulk)
    return trouble(Trouble::garbled, "the stick answered with an archive that nobody asked for");
  Result<cv::Parameters> result = answer.parameters();
  if (!result) return broken(result.error());
  return std::move(*result);
}

Deed CryptovisionCard::bulk(cv::CommandCode code, const cv::Parameters& parameters,
                            const std::function<Status(ByteView)>& sink) {
  // Only the first frame goes through the assembler: the archive may be larger than the memory.
  cv::AnswerAssembler answer(std::numeric_limits<std::uint64_t>::max());
  Outcome<Bytes> data =
      exchange({cv::usual_token, cv::Mode::normal, cv::encode_command(code, parameters)});
  if (!data) return data.failure();
  if (Status added = answer.add(*data); !added) return broken(added.error());
  if (answer.kind() == cv::AnswerAssembler::Kind::failure) return refused(code, answer.failure());
  if (answer.kind() != cv::AnswerAssembler::Kind::bulk)
    return trouble(Trouble::garbled, "the stick answered without an archive");
  if (Status taken = sink(answer.data()); !taken) return from_io(taken.error());
  std::uint64_t missing = answer.missing_bytes();
  while (missing > 0) {
    data = exchange({cv::usual_token, cv::Mode::normal, {cv::fetch_more}});
    if (!data) return data.failure();
    if (data->empty() || data->size() > missing)
      return trouble(Trouble::garbled, "the stick's archive is not as long as announced");
    if (Status taken = sink(*data); !taken) return from_io(taken.error());
    missing -= data->size();
  }
  return done();
}

}  // namespace tillbridge::pos
