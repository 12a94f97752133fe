#include "server/usb/simulated_source.hpp"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "channel/usb/requests.hpp"
#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

usb::Completion ended(usb::TransferId id, usb::TransferStatus status) {
  usb::Completion completion;
  completion.id = id;
  completion.status = status;
  return completion;
}

bool is_port_reset(const usb::Transfer& transfer) {
  if (transfer.type != usb::TransferType::control) return false;
  const auto request = usb::as_host_request(transfer.setup);
  return request && std::holds_alternative<usb::PortReset>(*request);
}

}  // namespace

struct SimulatedSource::Slot {
  Slot(transport::Loop& the_loop, std::unique_ptr<simulator::Device> the_device)
      : device(std::move(the_device)), timer(the_loop) {}

  std::unique_ptr<simulator::Device> device;
  transport::Timer timer;
  bool plugged = true;
  SimulatedStick* user = nullptr;
};

class SimulatedSource::SimulatedStick final : public Stick {
 public:
  SimulatedStick(transport::Loop& loop, Slot* slot, Events events)
      : loop_(loop), slot_(slot), events_(std::move(events)) {
    if (slot_ != nullptr) slot_->user = this;
    later([this] {
      events_.opened(slot_ != nullptr ? Status()
                                      : fail(ErrorCode::unavailable, "the stick was unplugged"));
    });
  }

  ~SimulatedStick() override {
    if (slot_ == nullptr) return;
    slot_->user = nullptr;
    slot_->timer.cancel();
    cancel_all();
    while (slot_->device->poll_completion()) {
    }
  }

  SimulatedStick(const SimulatedStick&) = delete;
  SimulatedStick& operator=(const SimulatedStick&) = delete;
  SimulatedStick(SimulatedStick&&) = delete;
  SimulatedStick& operator=(SimulatedStick&&) = delete;

  [[nodiscard]] const usb::DeviceDescription& description() const override {
    return slot_ != nullptr ? slot_->device->description() : gone_description_;
  }

  void submit(usb::Transfer transfer) override {
    const usb::TransferId id = transfer.id;
    if (slot_ == nullptr) {
      answer_later(ended(id, usb::TransferStatus::device_gone));
      return;
    }
    if (transfer.type == usb::TransferType::isochronous) {
      answer_later(ended(id, usb::TransferStatus::refused));
      return;
    }
    if (is_port_reset(transfer)) {
      slot_->device->reset(loop_.now());
      answer_later(ended(id, usb::TransferStatus::success));
      schedule_pump();
      return;
    }
    running_.insert(id);
    slot_->device->submit(std::move(transfer), loop_.now());
    schedule_pump();
  }

  void cancel(usb::TransferId id) override {
    if (slot_ == nullptr || !running_.contains(id)) return;
    slot_->device->cancel(id, loop_.now());
    schedule_pump();
  }

  // The hand pulled the stick. Its completions go out here, so that the departure comes after them.
  void gone() {
    cancel_all();
    Slot& slot = *std::exchange(slot_, nullptr);  // from here on submit() says "gone" by itself
    slot.user = nullptr;
    slot.timer.cancel();
    gone_description_ = slot.device->description();
    // What was finished before the pull stays finished; the rest is gone.
    while (auto completion = slot.device->poll_completion()) {
      if (running_.erase(completion->id) == 0) continue;
      if (completion->status == usb::TransferStatus::cancelled) {
        completion->status = usb::TransferStatus::device_gone;
      }
      events_.completed(std::move(*completion));
    }
  }

 private:
  void cancel_all() {
    const std::vector<usb::TransferId> running(running_.begin(), running_.end());
    for (const usb::TransferId id : running) slot_->device->cancel(id, loop_.now());
  }

  template <typename Task>
  void later(Task task) {
    loop_.post([alive = std::weak_ptr<bool>(alive_), task = std::move(task)] {
      if (!alive.expired()) task();
    });
  }

  void answer_later(usb::Completion completion) {
    later([this, completion = std::move(completion)] { events_.completed(completion); });
  }

  void schedule_pump() {
    if (std::exchange(pump_scheduled_, true)) return;
    later([this] {
      pump_scheduled_ = false;
      pump();
    });
  }

  void pump() {
    if (slot_ == nullptr) return;
    slot_->device->advance(loop_.now());
    while (slot_ != nullptr) {
      auto completion = slot_->device->poll_completion();
      if (!completion) break;
      if (running_.erase(completion->id) != 0) events_.completed(std::move(*completion));
    }
    if (slot_ == nullptr) return;
    if (const auto deadline = slot_->device->next_deadline()) {
      slot_->timer.arm(*deadline, [this] { pump(); });
    } else {
      slot_->timer.cancel();
    }
  }

  transport::Loop& loop_;
  Slot* slot_;  // nullptr once the stick was pulled
  Events events_;
  std::unordered_set<usb::TransferId> running_;
  usb::DeviceDescription gone_description_;
  bool pump_scheduled_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

SimulatedSource::SimulatedSource(transport::Loop& loop,
                                 std::vector<std::unique_ptr<simulator::Device>> devices)
    : loop_(loop) {
  for (auto& device : devices) slots_.push_back(std::make_unique<Slot>(loop, std::move(device)));
}

SimulatedSource::~SimulatedSource() = default;

void SimulatedSource::start(Observer observer) {
  observer_ = std::move(observer);
  loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    started_ = true;
    for (const auto& slot : slots_) {
      const usb::DeviceDescription& description = slot->device->description();
      if (slot->plugged) observer_.arrived({description.path, description});
    }
  });
}

std::unique_ptr<Stick> SimulatedSource::open(const std::string& busid, Stick::Events events) {
  const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const auto& slot) {
    return slot->plugged && slot->user == nullptr && slot->device->description().path == busid;
  });
  Slot* slot = found == slots_.end() ? nullptr : found->get();
  return std::make_unique<SimulatedStick>(loop_, slot, std::move(events));
}

Status SimulatedSource::unplug(const std::string& name) {
  Slot* slot = find(name);
  if (slot == nullptr)
    return fail(ErrorCode::unavailable, "no simulated stick '" + log::printable(name) + "'");
  if (!slot->plugged)
    return fail(ErrorCode::refused, "'" + log::printable(name) + "' is not plugged in");
  slot->plugged = false;
  if (slot->user != nullptr) slot->user->gone();
  slot->device->reset(loop_.now());
  if (started_) observer_.departed(slot->device->description().path);
  return {};
}

Status SimulatedSource::plug(const std::string& name) {
  Slot* slot = find(name);
  if (slot == nullptr)
    return fail(ErrorCode::unavailable, "no simulated stick '" + log::printable(name) + "'");
  if (slot->plugged)
    return fail(ErrorCode::refused, "'" + log::printable(name) + "' is plugged in already");
  slot->plugged = true;
  const usb::DeviceDescription& description = slot->device->description();
  if (started_) observer_.arrived({description.path, description});
  return {};
}

std::vector<SimulatedSource::State> SimulatedSource::list() const {
  std::vector<State> states;
  states.reserve(slots_.size());
  for (const auto& slot : slots_) {
    const usb::DeviceDescription& description = slot->device->description();
    states.push_back({description.serial, description.path, slot->plugged});
  }
  return states;
}

SimulatedSource::Slot* SimulatedSource::find(const std::string& name) {
  const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const auto& slot) {
    const usb::DeviceDescription& description = slot->device->description();
    return description.serial == name || description.path == name;
  });
  return found == slots_.end() ? nullptr : found->get();
}

}  // namespace tillbridge::server
