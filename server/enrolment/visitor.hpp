// One connection that wants to be paired.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "server/enrolment/desk.hpp"

namespace tillbridge::enrolment {

struct Desk::Visitor {
  Visitor(transport::Loop& loop, std::unique_ptr<transport::Stream> its_stream)
      : stream(std::move(its_stream)),
        conversation(loop.now()),
        timer(loop),
        address(stream->peer().address),
        network(guessing::network_of(address)) {}

  std::unique_ptr<transport::Stream> stream;
  authority::Conversation conversation;
  transport::Timer timer;
  std::string address, network;
  std::optional<authority::Conversation::Asked> asked;
  std::string key;                     ///< fingerprint, hex; once asked
  std::optional<std::string> granted;  ///< as which till
};

}  // namespace tillbridge::enrolment
