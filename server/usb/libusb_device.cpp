#include "server/usb/libusb_device.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>
#include <utility>

#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

/// The kernel chooses a configuration a moment after it announced the device.
constexpr int configuration_tries = 40;
constexpr std::chrono::milliseconds configuration_pause{50};
/// A kernel driver may come back between its detaching and our claim.
constexpr int claim_tries = 3;
constexpr std::size_t setup_bytes = LIBUSB_CONTROL_SETUP_SIZE;

std::string libusb_text(int code) {
  return libusb_strerror(static_cast<libusb_error>(code));
}

std::set<int> interface_numbers(const usb::DeviceDescription& description,
                                std::uint8_t configuration) {
  std::set<int> numbers;
  if (const usb::Configuration* found = description.find_configuration(configuration)) {
    for (const usb::InterfaceDescriptor& interface : found->interfaces)
      numbers.insert(interface.number);
  }
  return numbers;
}

// Takes one interface from whatever kernel driver has it. Detached by hand, not by libusb's
// automatic mode: that one would bring the driver back when the interface is released, and the
// machine would mount the stick.
int claim_interface(libusb_device_handle* handle, int number) {
  int code = LIBUSB_ERROR_BUSY;
  for (int attempt = 0; attempt < claim_tries && code == LIBUSB_ERROR_BUSY; ++attempt) {
    if (libusb_kernel_driver_active(handle, number) == 1) {
      const int detached = libusb_detach_kernel_driver(handle, number);
      if (detached != LIBUSB_SUCCESS && detached != LIBUSB_ERROR_NOT_FOUND) return detached;
    }
    code = libusb_claim_interface(handle, number);
  }
  return code;
}

int claim_interfaces(libusb_device_handle* handle, const std::set<int>& numbers) {
  for (const int number : numbers) {
    const int code = claim_interface(handle, number);
    if (code != LIBUSB_SUCCESS) return code;
  }
  return LIBUSB_SUCCESS;
}

Error claim_error(const std::string& what, int code) {
  switch (code) {
    case LIBUSB_ERROR_ACCESS:
      return fail(ErrorCode::refused,
                  what +
                      ": permission denied; install the udev rules of tillbridge "
                      "(70-tillbridge.rules) and plug the stick in again");
    case LIBUSB_ERROR_BUSY:
      return fail(ErrorCode::refused,
                  what +
                      ": another program of this machine uses the stick (usbip-host or a virtual "
                      "machine?); stop it and plug the stick in again");
    case LIBUSB_ERROR_NO_DEVICE:
      return fail(ErrorCode::unavailable, what + ": the stick was unplugged");
    default:
      return fail(ErrorCode::io, what + ": " + libusb_text(code) +
                                     "; plug the stick in again, and try another port");
  }
}

usb::TransferStatus host_request_status(int code) {
  switch (code) {
    case LIBUSB_SUCCESS:
      return usb::TransferStatus::success;
    case LIBUSB_ERROR_PIPE:
    case LIBUSB_ERROR_NOT_FOUND:  // no such configuration, setting or endpoint: a device would
                                  // stall
      return usb::TransferStatus::stall;
    case LIBUSB_ERROR_NO_DEVICE:
      return usb::TransferStatus::device_gone;
    case LIBUSB_ERROR_TIMEOUT:
      return usb::TransferStatus::timeout;
    case LIBUSB_ERROR_NOT_SUPPORTED:
      return usb::TransferStatus::refused;
    default:
      return usb::TransferStatus::error;
  }
}

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

  transport::Loop& loop;
  FlightCount& flights;
  std::weak_ptr<LibusbDevice> device;
  usb::Transfer asked;  // its data has moved to the buffer
  Bytes buffer;
  libusb_transfer* transfer;
  bool delivered = false;  // the user has its answer already: the device left, or the user did
};

struct LibusbDevice::Worksite {
  std::string busid;
  usb::DeviceDescription description;
  libusb_device* device = nullptr;
  libusb_device_handle* handle = nullptr;
  std::uint8_t configuration = 0;

  Result<Claimed> open() {
    const Sysfs sysfs;
    if (const Status awake = sysfs.keep_awake(busid); !awake) log::warning(awake.error().message);
    auto active = sysfs.active_configuration(busid);
    for (int tries = 0; !active && tries < configuration_tries; ++tries) {
      std::this_thread::sleep_for(configuration_pause);
      active = sysfs.active_configuration(busid);
    }
    configuration = active.value_or(0);
    int code = libusb_open(device, &handle);
    if (code != LIBUSB_SUCCESS) {
      handle = nullptr;
      return claim_error("the stick at port " + busid + " cannot be opened", code);
    }
    code = claim_interfaces(handle, interface_numbers(description, configuration));
    if (code != LIBUSB_SUCCESS) {
      close();
      return claim_error("the stick at port " + busid + " cannot be claimed", code);
    }
    return Claimed{handle, configuration};
  }

  // Closing releases the interfaces. The kernel's drivers are not called back: see Stick.
  void close() {
    if (handle != nullptr) libusb_close(std::exchange(handle, nullptr));
  }

  // usbfs changes a configuration only while nobody holds an interface, so they are given up for a
  // moment. The kernel may bind its drivers to the new configuration's interfaces; claiming takes
  // them away again.
  int set_configuration(std::uint8_t value) {
    for (const int number : interface_numbers(description, configuration)) {
      libusb_release_interface(handle, number);
    }
    const int code = libusb_set_configuration(handle, value == 0 ? -1 : value);
    if (code == LIBUSB_SUCCESS) configuration = value;
    const int claimed = claim_interfaces(handle, interface_numbers(description, configuration));
    if (claimed != LIBUSB_SUCCESS) {
      log::warning(
          claim_error("the stick at port " + busid + " cannot be claimed again", claimed).message);
    }
    return code != LIBUSB_SUCCESS ? code : claimed;
  }

  int reset() {
    const int code = libusb_reset_device(handle);
    // The device came back as another one, or not at all: hot-plug tells the rest.
    return code == LIBUSB_ERROR_NOT_FOUND ? LIBUSB_ERROR_NO_DEVICE : code;
  }

  int carry_out(const usb::HostRequest& request) {
    if (const auto* set = std::get_if<usb::SetConfiguration>(&request))
      return set_configuration(set->value);
    if (const auto* set = std::get_if<usb::SetInterface>(&request)) {
      return libusb_set_interface_alt_setting(handle, set->interface_number,
                                              set->alternate_setting);
    }
    if (const auto* clear = std::get_if<usb::ClearHalt>(&request))
      return libusb_clear_halt(handle, clear->endpoint);
    return reset();
  }
};

LibusbDevice::LibusbDevice(transport::Loop& loop, FlightCount& flights, libusb_device* device,
                           usb::DeviceDescription description, Events events)
    : loop_(loop),
      flights_(flights),
      device_(device),
      description_(std::move(description)),
      events_(std::move(events)),
      worksite_(std::make_shared<Worksite>()) {
  worksite_->busid = description_.path;
  worksite_->description = description_;
  worksite_->device = device_;
}

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
    const Result<Claimed> result = site->open();
    loop.post([weak, result] {
      if (const auto self = weak.lock()) self->claimed(result);
    });
  });
}

void LibusbDevice::claimed(const Result<Claimed>& result) {
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
    } else {
      submit_to_libusb(std::move(transfer));
    }
  }
}

void LibusbDevice::submit_to_libusb(usb::Transfer transfer) {
  const usb::TransferId id = transfer.id;
  auto flight = std::make_unique<Flight>(loop_, flights_, weak_from_this(), std::move(transfer));
  if (flight->transfer == nullptr) {
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
  settle();
}

void LibusbDevice::run_host_request(usb::TransferId id, const usb::HostRequest& request) {
  host_request_ = id;
  worker_->run([&loop = loop_, weak = weak_from_this(), site = worksite_, id, request] {
    const usb::TransferStatus status = host_request_status(site->carry_out(request));
    loop.post([weak, id, status, configuration = site->configuration] {
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
  while (!host_request_ && !waiting_.empty()) {
    usb::Transfer transfer = std::move(waiting_.front());
    waiting_.pop_front();
    submit(std::move(transfer));
  }
  settle();
}

void LibusbDevice::cancel(usb::TransferId id) {
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
