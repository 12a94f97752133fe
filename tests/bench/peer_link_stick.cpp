#include "tests/bench/peer_link_stick.hpp"

#include <iostream>
#include <stdexcept>
#include <utility>
#include <variant>

#include "plugin/configuration.hpp"

namespace tillbridge::bench {

void LinkStick::QuietLog::write(plugin::Level level, const std::string& text) {
  if (level >= plugin::Level::warning) std::cerr << text << '\n';
}

LinkStick::LinkStick(transport::Loop& loop, const std::filesystem::path& till) {
  plugin::Arguments arguments;
  arguments.file = till;
  auto configuration = plugin::load_configuration(arguments);
  if (!configuration) throw std::runtime_error(configuration.error().message);
  auto uplink = plugin::make_uplink(
      loop, *configuration,
      {.client_name = "bench", .user = "bench", .domain = "", .terminal_server = "none"}, log_);
  if (!uplink) throw std::runtime_error(uplink.error().message);
  uplink_ = std::move(*uplink);
}

void LinkStick::start(Events events) {
  events_ = std::move(events);
  uplink_->start({.offered = [this](const plugin::Offer& offer) { offered(offer); },
                  .received =
                      [this](plugin::StickId stick, ByteView bytes) {
                        if (stick != id_) return;
                        stick_->receive(bytes);
                        pump();
                      },
                  .withdrawn =
                      [this](plugin::StickId stick, const std::string& reason) {
                        if (stick == id_)
                          throw std::runtime_error("the stick was withdrawn: " + reason);
                      },
                  .writable = [this] { send_unsent(); }});
}

void LinkStick::submit(usb::Transfer transfer) {
  stick_->submit(std::move(transfer));
  pump();
}

void LinkStick::cancel(usb::TransferId id) {
  stick_->cancel(id);
  pump();
}

void LinkStick::offered(const plugin::Offer& offer) {
  if (stick_) return;
  id_ = offer.stick;
  stick_.emplace(offer.busid, offer.pipeline);
  stick_->start();
  pump();
}

void LinkStick::pump() {
  if (pumping_) return;  // the outermost call finishes the work
  pumping_ = true;
  while (auto output = stick_->poll()) {
    if (auto* send = std::get_if<plugin::Stick::Send>(&*output)) {
      unsent_.push_back(std::move(send->bytes));
    } else if (auto* completed = std::get_if<plugin::Stick::Completed>(&*output)) {
      events_.completed(std::move(completed->completion));
    } else if (auto* ready = std::get_if<plugin::Stick::Ready>(&*output)) {
      uplink_->usable(id_);
      events_.ready(ready->description);
    } else if (auto* failed = std::get_if<plugin::Stick::Failed>(&*output)) {
      throw std::runtime_error("the stick cannot be used: " + failed->error.message);
    }
  }
  pumping_ = false;
  send_unsent();
}

void LinkStick::send_unsent() {
  while (!unsent_.empty() && uplink_->can_send()) {
    Bytes bytes = std::move(unsent_.front());
    unsent_.pop_front();
    uplink_->send(id_, std::move(bytes));
  }
  uplink_->flush();
}

}  // namespace tillbridge::bench
