#include "tests/bench/peer_load.hpp"

#include <cstddef>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include "channel/usb/requests.hpp"

namespace tillbridge::bench {
namespace {

constexpr std::size_t read_bytes = 4U << 10U;
constexpr std::uint32_t blocks_used = 256;
/// Of SET_CONFIGURATION; the class driver's come after.
constexpr usb::TransferId own_id = 1;

void check(const Status& status) {
  if (!status) throw std::runtime_error(status.error().message);
}

}  // namespace

PeerLoad::PeerLoad(transport::Loop& loop, PeerStick& stick) : loop_(loop), stick_(stick) {}

void PeerLoad::run() {
  stick_.start({.ready = [this](const usb::DeviceDescription& device) { ready(device); },
                .completed = [this](const usb::Completion& completion) { completed(completion); }});
  input_watch_.emplace(loop_, STDIN_FILENO, POLLIN, [this](short /*events*/) { obey_input(); });
  loop_.run();
}

void PeerLoad::ready(const usb::DeviceDescription& device) {
  massstorage::HostOptions options;
  options.first_transfer_id = own_id + 1;
  auto host = massstorage::BulkOnlyHost::create(device, options);
  if (!host) throw std::runtime_error(host.error().message);
  host_.emplace(std::move(*host));
  stick_.submit(
      usb::control_transfer(own_id, usb::set_configuration(host_->configuration_value())));
}

void PeerLoad::completed(const usb::Completion& completion) {
  if (completion.id == own_id) {
    check(host_->test_unit_ready());
  } else {
    host_->complete(completion);
  }
  submit_all();
  while (auto result = host_->poll_result()) {
    command_ended(*result);
    submit_all();
  }
}

void PeerLoad::command_ended(const massstorage::CommandResult& result) {
  if (result.outcome == massstorage::Outcome::check_condition && host_->block_count() == 0)
    return check(host_->test_unit_ready());  // a stick that was just plugged in
  if (!result.good()) throw std::runtime_error(result.message);
  if (host_->block_count() == 0) {
    if (std::exchange(capacity_asked_, true)) throw std::runtime_error("an empty stick");
    return check(host_->read_capacity());
  }
  if (wanted_ == 0) {
    std::cout << R"({"ready":true})" << std::endl;
    return;
  }
  if (result.residue != 0 || result.data.size() != read_bytes)
    throw std::runtime_error("a read ended short");
  times_us_.push_back((loop_.now() - began_).count());
  if (--wanted_ != 0) return next_read();
  std::cout << R"({"us":[)";
  for (std::size_t i = 0; i < times_us_.size(); ++i)
    std::cout << (i == 0 ? "" : ",") << times_us_[i];
  std::cout << "]}" << std::endl;
}

void PeerLoad::submit_all() {
  while (auto transfer = host_->poll_transfer()) stick_.submit(std::move(*transfer));
}

void PeerLoad::next_read() {
  const auto blocks = static_cast<std::uint16_t>(read_bytes / host_->block_size());
  block_ = (block_ + blocks) % blocks_used;
  began_ = loop_.now();
  check(host_->read(block_, blocks));
}

void PeerLoad::obey_input() {
  if (!input_.take([this](const std::string& line) { obey(line); })) loop_.stop();
}

void PeerLoad::obey(const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  std::size_t count = 0;
  words >> verb >> count;
  if (verb != "read" || !words || count == 0 || wanted_ != 0 || !host_ || host_->busy())
    throw std::runtime_error("cannot do '" + line + "'");
  wanted_ = count;
  times_us_.clear();
  next_read();
  submit_all();
}

}  // namespace tillbridge::bench
