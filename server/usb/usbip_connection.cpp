#include "server/usb/usbip_connection.hpp"

#include <chrono>
#include <utility>

#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

/// From the connection to the import: the stock tools ask at once.
constexpr Duration request_within = std::chrono::seconds(10);
/// For the last answer to leave this machine.
constexpr Duration close_within = std::chrono::seconds(5);

// "192.0.2.7:51344" or "[2001:db8::7]:51344" without the port and the brackets.
std::string host_of(const std::string& address) {
  std::string host = address.substr(0, address.rfind(':'));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return host;
}

}  // namespace

UsbipConnection::UsbipConnection(transport::Loop& loop, StickRegistry& registry,
                                 std::unique_ptr<transport::Stream> stream,
                                 std::function<void()> closed)
    : loop_(loop),
      registry_(registry),
      stream_(std::move(stream)),
      closed_(std::move(closed)),
      till_{TillIdentity::Kind::usbip_address, host_of(stream_->peer().address), ""},
      timer_(loop),
      pump_soon_(loop, [this] { pump(); }),
      conversation_(std::make_unique<Conversation>(
          registry, till_,
          Conversation::Owner{[this] { pump_soon_.ask(); },
                              [this] {
                                LeaseRecord record;
                                record.till = std::string(Mapping::usbip_prefix) + till_.name;
                                record.address = stream_->peer().address;
                                return record;
                              },
                              [this] { return list(); },
                              [this](const std::string& busid) { return choose(busid); }})) {}

UsbipConnection::~UsbipConnection() = default;

void UsbipConnection::start() {
  timer_.arm(loop_.now() + request_within, [this] { close(); });
  stream_->start({[this](ByteView bytes) {
                    if (closing_) return;
                    conversation_->receive(bytes);
                    pump();
                  },
                  [this] {
                    if (reading_paused_) {
                      reading_paused_ = false;
                      stream_->resume_reading();
                    }
                    pump();
                  },
                  [this](const std::optional<Error>&) { over(); }});
}

void UsbipConnection::refresh() {
  if (stay_ == 0 || closing_ || over_) return;
  const PresentStick* stick = registry_.find(stay_);
  if (stick != nullptr && stick->exported_to(till_)) return;
  // USB/IP has no word for it: the client sees "gone" on all that ran, and then the end of the
  // connection.
  pump();
  log::info("USB/IP client " + stream_->peer().address + " loses its stick: " +
            (stick == nullptr ? "it was unplugged" : "it is not mapped to this address any more"));
  close();
}

void UsbipConnection::close() {
  if (closing_ || over_) return;
  closing_ = true;
  conversation_.reset();
  timer_.arm(loop_.now() + close_within, [this] { over(); });
  stream_->close();
}

void UsbipConnection::pump() {
  if (closing_ || over_) return;
  while (stream_->queued_bytes() < transport::Stream::write_queue_high_water) {
    auto bytes = conversation_->output();
    if (!bytes) break;
    stream_->write(std::move(*bytes));
  }
  if (conversation_->leased()) timer_.cancel();
  if (const auto& ended = conversation_->ended()) {
    if (ended->error) {
      log::warning("USB/IP client " + stream_->peer().address + ": " + ended->error->message);
    }
    close();
    return;
  }
  if (!reading_paused_ && stream_->queued_bytes() >= transport::Stream::write_queue_high_water) {
    reading_paused_ = true;
    stream_->pause_reading();
  }
}

void UsbipConnection::over() {
  if (over_) return;
  over_ = true;
  closing_ = true;
  conversation_.reset();
  timer_.cancel();
  // A copy of the callback: it destroys this object and with it the original.
  loop_.post([alive = std::weak_ptr<bool>(alive_), closed = closed_] {
    if (!alive.expired()) closed();
  });
}

Result<StayId> UsbipConnection::choose(const std::string& busid) {
  for (const PresentStick* stick : registry_.sticks()) {
    if (!stick->exported_to(till_)) continue;
    if (stick->arrival.busid == busid || stick->identity.busid() == busid) {
      stay_ = stick->stay;
      return stay_;
    }
  }
  return fail(ErrorCode::refused, "no stick '" + log::printable(busid) +
                                      "' is mapped to this address; map it with till = \"usbip:" +
                                      till_.name + "\" in " + registry_.rules().file);
}

std::vector<usb::DeviceDescription> UsbipConnection::list() const {
  std::vector<usb::DeviceDescription> devices;
  for (const PresentStick* stick : registry_.sticks()) {
    if (!stick->exported_to(till_)) continue;
    devices.push_back(stick->arrival.description);
    devices.back().path = stick->arrival.busid;
  }
  return devices;
}

}  // namespace tillbridge::server
