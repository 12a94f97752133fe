#include "server/usb/libusb_device.hpp"

#include <algorithm>
#include <utility>

#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

constexpr std::size_t setup_bytes = LIBUSB_CONTROL_SETUP_SIZE;

usb::TransferStatus submit_status(int code) {
  switch (code) {
    case LIBUSB_ERROR_NO_DEVICE:
      return usb::TransferStatus::device_gone;
    case LIBUSB_ERROR_NO_MEM:  // usbfs allows 16 MiB for all devices together
                               // (usbcore.usbfs_memory_mb)
      return usb::TransferStatus::no_resources;
    case LIBUSB_ERROR_NOT_SUPPORTED:
      return usb::TransferStatus::refused;
    default:
      return usb::TransferStatus::error;
  }
}

usb::Completion ended(usb::TransferId id, usb::TransferStatus status) {
  usb::Completion completion;
  completion.id = id;
  completion.status = status;
  return completion;
}

}  // namespace

void FlightCount::up() {
  const std::lock_guard lock(mutex_);
  ++count_;
}

void FlightCount::down() {
  // Notified under the lock: the one who waits destroys this as soon as it may.
  const std::lock_guard lock(mutex_);
  --count_;
  changed_.notify_all();
}

void FlightCount::wait_for_zero() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return count_ == 0; });
}

struct LibusbDevice::Flight {
  Flight(transport::Loop& the_loop, FlightCount& the_flights,
         std::weak_ptr<LibusbDevice> the_device, usb::Transfer the_transfer)
      : loop(the_loop),
        flights(the_flights),
        device(std::move(the_device)),
        asked(std::move(the_transfer)),
        transfer(libusb_alloc_transfer(0)) {}
  ~Flight() { libusb_free_transfer(transfer); }
  Flight(const Flight&) = delete;
  Flight& operator=(const Flight&) = delete;
  Flight(Flight&&) = delete;
  Flight& operator=(Flight&&) = delete;

  transport::Loop& loop;
  FlightCount& flights;
  std::weak_ptr<LibusbDevice> device;
  usb::Transfer asked;  // its data has moved to the buffer
  Bytes buffer;
  libusb_transfer* transfer;
  bool delivered = false;  // the user has its answer already: the device left, or the user did
};

LibusbDevice::LibusbDevice(transport::Loop& loop, FlightCount& flights, libusb_device* device,
                           usb::DeviceDescription description, Events events)
    : loop_(loop),
      flights_(flights),
      device_(device),
      description_(std::move(description)),
      events_(std::move(events)),
      order_(description_),
      worksite_(std::make_shared<LibusbWorksite>(device, description_)) {}

LibusbDevice::~LibusbDevice() {
  worker_.reset();  // waits for what it does
  flights_of_libusb_.clear();
  worksite_->close();
  libusb_unref_device(device_);
}

void LibusbDevice::hold(bool held) {
  held_ = held;
  claim_failed_ = false;
  settle();
}

void LibusbDevice::use(Stick::Events events) {
  user_ = std::move(events);
  user_state_ = UserState::waiting;
  ++use_number_;
  claim_failed_ = false;
  if (gone_) answer_open(fail(ErrorCode::unavailable, "the stick was unplugged"));
  settle();
}

void LibusbDevice::end_use() {
  user_.reset();
  user_state_ = UserState::none;
  ++use_number_;
  waiting_.clear();
  order_.clear();
  for (auto& [id, flight] : flights_of_libusb_) {
    flight->delivered = true;
    libusb_cancel_transfer(flight->transfer);
  }
  settle();
}

void LibusbDevice::shut_down() {
  held_ = false;
  gone_ = true;  // nothing is started any more
  end_use();
}

// The one place that decides what is to be done next, whatever happened.
void LibusbDevice::settle() {
  const bool wanted = !gone_ && (held_ || user_);
  if (state_ == State::idle) {
    if (wanted && !claim_failed_) claim();
    if (gone_ && !finished_) {
      finished_ = true;
      loop_.post([weak = weak_from_this()] {
        if (const auto self = weak.lock()) self->events_.finished();
      });
    }
    return;
  }
  const bool quiet = flights_of_libusb_.empty() && !host_request_;
  if (state_ != State::claimed || !quiet) return;
  if (!wanted) {
    release();
  } else if (user_state_ == UserState::waiting) {
    answer_open(Status());
  }
}

void LibusbDevice::claim() {
  state_ = State::claiming;
  if (!worker_) worker_ = std::make_unique<Worker>();
  worker_->run([&loop = loop_, weak = weak_from_this(), site = worksite_] {
    const Result<LibusbWorksite::Claimed> result = site->open();
    loop.post([weak, result] {
      if (const auto self = weak.lock()) self->claimed(result);
    });
  });
}

void LibusbDevice::claimed(const Result<LibusbWorksite::Claimed>& result) {
  if (result) {
    state_ = State::claimed;
    handle_ = result->handle;
    description_.active_configuration = result->configuration;
  } else {
    state_ = State::idle;
    claim_failed_ = true;
    if (user_state_ == UserState::waiting) {
      answer_open(result.error());
    } else if (!gone_) {
      log::error(result.error().message);
    }
  }
  settle();
}

void LibusbDevice::release() {
  state_ = State::releasing;
  handle_ = nullptr;
  worker_->run([&loop = loop_, weak = weak_from_this(), site = worksite_] {
    site->close();
    loop.post([weak] {
      const auto self = weak.lock();
      if (!self) return;
      self->state_ = State::idle;
      self->settle();
    });
  });
}

void LibusbDevice::answer_open(Status status) {
  user_state_ = UserState::answered;
  loop_.post([weak = weak_from_this(), use = use_number_, status = std::move(status)] {
    const auto self = weak.lock();
    if (!self || self->use_number_ != use) return;
    if (status) self->user_state_ = UserState::ready;
    self->user_->opened(status);
  });
}

void LibusbDevice::submit(usb::Transfer transfer) {
  if (gone_ || user_state_ != UserState::ready) {
    answer_later(transfer.id, usb::TransferStatus::device_gone);
  } else if (transfer.type == usb::TransferType::isochronous) {
    answer_later(transfer.id, usb::TransferStatus::refused);
  } else if (host_request_) {
    waiting_.push_back(std::move(transfer));
  } else {
    const auto request = transfer.type == usb::TransferType::control
                             ? usb::as_host_request(transfer.setup)
                             : std::nullopt;
    if (request) {
      run_host_request(transfer.id, *request);
    } else if (auto admitted = order_.admit(std::move(transfer))) {
      submit_to_libusb(std::move(*admitted));
    }
  }
}

// Not while a request runs on the worker, which has the handle.
void LibusbDevice::submit_kept() {
  while (!host_request_) {
    auto transfer = order_.next();
    if (!transfer) return;
    submit_to_libusb(std::move(*transfer));
  }
}

void LibusbDevice::submit_to_libusb(usb::Transfer transfer) {
  const usb::TransferId id = transfer.id;
  auto flight = std::make_unique<Flight>(loop_, flights_, weak_from_this(), std::move(transfer));
  if (flight->transfer == nullptr) {
    order_.ended(id);
    answer_later(id, usb::TransferStatus::no_resources);
    return;
  }
  usb::Transfer& asked = flight->asked;
  Bytes& buffer = flight->buffer;
  constexpr unsigned int no_timeout = 0;
  if (asked.type == usb::TransferType::control) {
    buffer.resize(setup_bytes);
    libusb_fill_control_setup(buffer.data(), asked.setup.request_type, asked.setup.request,
                              asked.setup.value, asked.setup.index, asked.setup.length);
    buffer.insert(buffer.end(), asked.data.begin(), asked.data.end());
    buffer.resize(setup_bytes + asked.setup.length);
    libusb_fill_control_transfer(flight->transfer, handle_, buffer.data(),
                                 &LibusbDevice::on_transfer, flight.get(), no_timeout);
  } else {
    buffer = std::move(asked.data);
    if (asked.in()) buffer.resize(asked.length);
    const int length = static_cast<int>(buffer.size());  // at most limits::transfer_bytes
    if (asked.type == usb::TransferType::bulk) {
      libusb_fill_bulk_transfer(flight->transfer, handle_, asked.endpoint, buffer.data(), length,
                                &LibusbDevice::on_transfer, flight.get(), no_timeout);
    } else {
      libusb_fill_interrupt_transfer(flight->transfer, handle_, asked.endpoint, buffer.data(),
                                     length, &LibusbDevice::on_transfer, flight.get(), no_timeout);
    }
    if (asked.zero_packet && !asked.in())
      flight->transfer->flags |= LIBUSB_TRANSFER_ADD_ZERO_PACKET;
  }
  flights_.up();
  const int code = libusb_submit_transfer(flight->transfer);
  if (code == LIBUSB_SUCCESS) {
    flights_of_libusb_.emplace(id, std::move(flight));
    return;
  }
  flights_.down();
  order_.ended(id);
  answer_later(id, submit_status(code));
  if (code == LIBUSB_ERROR_NO_DEVICE) events_.lost();
}

// On libusb's event thread. Once posted, the flight may be destroyed at any moment.
void LIBUSB_CALL LibusbDevice::on_transfer(libusb_transfer* transfer) {
  auto* flight = static_cast<Flight*>(transfer->user_data);
  FlightCount& flights = flight->flights;
  flight->loop.post([weak = flight->device, id = flight->asked.id] {
    if (const auto self = weak.lock()) self->transfer_done(id);
  });
  flights.down();
}

void LibusbDevice::transfer_done(usb::TransferId id) {
  const auto found = flights_of_libusb_.find(id);
  if (found == flights_of_libusb_.end()) return;
  const std::unique_ptr<Flight> flight = std::move(found->second);
  flights_of_libusb_.erase(found);
  order_.ended(id);
  const libusb_transfer& done = *flight->transfer;
  const bool lost = done.status == LIBUSB_TRANSFER_NO_DEVICE;
  if (!flight->delivered) {
    usb::Completion completion = ended(id, usb::TransferStatus::error);
    switch (done.status) {
      case LIBUSB_TRANSFER_COMPLETED:
        completion.status = usb::TransferStatus::success;
        break;
      case LIBUSB_TRANSFER_CANCELLED:
        completion.status = usb::TransferStatus::cancelled;
        break;
      case LIBUSB_TRANSFER_STALL:
        completion.status = usb::TransferStatus::stall;
        break;
      case LIBUSB_TRANSFER_OVERFLOW:
        completion.status = usb::TransferStatus::overflow;
        break;
      case LIBUSB_TRANSFER_TIMED_OUT:
        completion.status = usb::TransferStatus::timeout;
        break;
      case LIBUSB_TRANSFER_NO_DEVICE:
        // A change of configuration or setting switches endpoints off, which looks the same from
        // here.
        completion.status =
            host_request_ ? usb::TransferStatus::cancelled : usb::TransferStatus::device_gone;
        break;
      case LIBUSB_TRANSFER_ERROR:
        break;
    }
    const auto moved = static_cast<std::size_t>(std::max(done.actual_length, 0));
    completion.actual_length = static_cast<std::uint32_t>(moved);
    if (flight->asked.in()) {
      Bytes& buffer = flight->buffer;
      const std::size_t lead = flight->asked.type == usb::TransferType::control ? setup_bytes : 0;
      buffer.resize(std::min(buffer.size(), lead + moved));
      buffer.erase(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(lead));
      completion.data = std::move(buffer);
      if (flight->asked.short_not_ok && completion.status == usb::TransferStatus::success &&
          moved < flight->asked.length) {
        completion.status = usb::TransferStatus::short_read;
      }
    }
    deliver(std::move(completion));
  }
  if (lost && !host_request_ && !gone_) events_.lost();
  if (!gone_) submit_kept();
  settle();
}

void LibusbDevice::run_host_request(usb::TransferId id, const usb::HostRequest& request) {
  host_request_ = id;
  worker_->run([&loop = loop_, weak = weak_from_this(), site = worksite_, id, request] {
    const usb::TransferStatus status = site->carry_out(request);
    loop.post([weak, id, status, configuration = site->configuration()] {
      const auto self = weak.lock();
      if (!self) return;
      self->description_.active_configuration = configuration;
      self->host_request_done(id, status);
    });
  });
}

void LibusbDevice::host_request_done(usb::TransferId id, usb::TransferStatus status) {
  // Whose request it was may have left meanwhile; the next user is not ready before this is over.
  const bool mine = user_state_ == UserState::ready && host_request_ == id && !gone_;
  host_request_.reset();
  if (mine) deliver(ended(id, status));
  submit_kept();
  while (!host_request_ && !waiting_.empty()) {
    usb::Transfer transfer = std::move(waiting_.front());
    waiting_.pop_front();
    submit(std::move(transfer));
  }
  settle();
}

void LibusbDevice::cancel(usb::TransferId id) {
  if (order_.cancel(id)) {
    answer_later(id, usb::TransferStatus::cancelled);
    return;
  }
  const auto waiting =
      std::find_if(waiting_.begin(), waiting_.end(),
                   [id](const usb::Transfer& transfer) { return transfer.id == id; });
  if (waiting != waiting_.end()) {
    waiting_.erase(waiting);
    answer_later(id, usb::TransferStatus::cancelled);
    return;
  }
  // A host request cannot be called back; it ends by itself within the kernel's 5 s.
  const auto found = flights_of_libusb_.find(id);
  if (found != flights_of_libusb_.end()) libusb_cancel_transfer(found->second->transfer);
}

void LibusbDevice::gone() {
  if (std::exchange(gone_, true)) return;
  std::vector<usb::TransferId> running;
  for (auto& [id, flight] : flights_of_libusb_) {
    if (!std::exchange(flight->delivered, true)) running.push_back(id);
    libusb_cancel_transfer(flight->transfer);
  }
  if (host_request_ && user_state_ == UserState::ready) running.push_back(*host_request_);
  for (const usb::TransferId id : order_.clear()) running.push_back(id);
  for (const usb::Transfer& transfer : waiting_) running.push_back(transfer.id);
  waiting_.clear();
  if (user_state_ == UserState::waiting)
    answer_open(fail(ErrorCode::unavailable, "the stick was unplugged"));
  for (const usb::TransferId id : running) deliver(ended(id, usb::TransferStatus::device_gone));
  settle();
}

void LibusbDevice::deliver(usb::Completion completion) {
  if (user_state_ == UserState::ready) user_->completed(std::move(completion));
}

void LibusbDevice::answer_later(usb::TransferId id, usb::TransferStatus status) {
  loop_.post([weak = weak_from_this(), use = use_number_, id, status] {
    const auto self = weak.lock();
    if (self && self->use_number_ == use) self->deliver(ended(id, status));
  });
}

}  // namespace tillbridge::server
