#include "server/usb/simulated_source.hpp"

#include <algorithm>
#include <random>
#include <unordered_set>
#include <utility>

#include "channel/usb/requests.hpp"
#include "server/simulator/osr_fx2.hpp"
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

std::string simulated_enumeration(simulator::Device& device) {
  static const std::uint32_t program = std::random_device{}();
  const simulator::Bench& bench = device.bench();
  return "simulated-" + std::to_string(program) + "-" + std::to_string(bench.number) + "-" +
         std::to_string(bench.arrivals);
}

struct SimulatedSource::Slot {
  Slot(transport::Loop& the_loop, std::unique_ptr<simulator::Device> the_device)
      : device(std::move(the_device)), timer(the_loop), return_timer(the_loop) {}

  std::unique_ptr<simulator::Device> device;
  transport::Timer timer;
  transport::Timer return_timer;  ///< a stick that left by itself comes back
  bool plugged = true;
  SimulatedStick* user = nullptr;
};

class SimulatedSource::SimulatedStick final : public Stick {
 public:
  SimulatedStick(SimulatedSource& source, Slot* slot, Events events)
      : source_(source), loop_(source.loop_), slot_(slot), events_(std::move(events)) {
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

  void schedule_pump() { pump_soon_.ask(); }

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

  void pump() {
    if (slot_ == nullptr) return;
    slot_->device->advance(loop_.now());
    while (slot_ != nullptr) {
      auto completion = slot_->device->poll_completion();
      if (!completion) break;
      if (running_.erase(completion->id) != 0) events_.completed(std::move(*completion));
    }
    if (slot_ == nullptr) return;
    if (const auto departure = slot_->device->poll_departure()) {
      source_.depart(*slot_, *departure);  // and this stick is gone
      return;
    }
    if (const auto deadline = slot_->device->next_deadline()) {
      slot_->timer.arm(*deadline, [this] { pump(); });
    } else {
      slot_->timer.cancel();
    }
  }

  SimulatedSource& source_;
  transport::Loop& loop_;
  Slot* slot_;  // nullptr once the stick was pulled
  Events events_;
  std::unordered_set<usb::TransferId> running_;
  usb::DeviceDescription gone_description_;
  transport::Soon pump_soon_{loop_, [this] { pump(); }};
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
      if (slot->plugged) {
        observer_.arrived({description.path, description, simulated_enumeration(*slot->device)});
      }
    }
  });
}

std::unique_ptr<Stick> SimulatedSource::open(const std::string& busid, Stick::Events events) {
  const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const auto& slot) {
    return slot->plugged && slot->user == nullptr && slot->device->description().path == busid;
  });
  Slot* slot = found == slots_.end() ? nullptr : found->get();
  return std::make_unique<SimulatedStick>(*this, slot, std::move(events));
}

Status SimulatedSource::unplug(const std::string& name) {
  const auto slot = find(name);
  if (!slot) return slot.error();
  if (!(*slot)->plugged) {
    return fail(ErrorCode::refused, "'" + log::printable(name) + "' is not plugged in");
  }
  pull(**slot);
  return {};
}

Status SimulatedSource::plug(const std::string& name) {
  const auto slot = find(name);
  if (!slot) return slot.error();
  if ((*slot)->plugged) {
    return fail(ErrorCode::refused, "'" + log::printable(name) + "' is plugged in already");
  }
  push_in(**slot);
  return {};
}

void SimulatedSource::pull(Slot& slot) {
  slot.plugged = false;
  slot.device->bench().witness.unplugged();
  slot.device->bench().arrivals += 1;
  if (slot.user != nullptr) slot.user->gone();
  slot.device->power_cycle(loop_.now());
  while (slot.device->poll_completion()) {
  }
  if (started_) observer_.departed(slot.device->description().path);
}

void SimulatedSource::push_in(Slot& slot) {
  slot.return_timer.cancel();
  slot.plugged = true;
  const usb::DeviceDescription& description = slot.device->description();
  if (started_) {
    observer_.arrived({description.path, description, simulated_enumeration(*slot.device)});
  }
}

void SimulatedSource::depart(Slot& slot, simulator::Departure departure) {
  log::warning("simulated stick " + slot.device->description().serial +
               " leaves the bus: a fault that its test bench asked for");
  pull(slot);
  if (!departure.back_after) return;
  slot.return_timer.arm(loop_.now() + *departure.back_after, [this, &slot] { push_in(slot); });
}

Status SimulatedSource::power_cycle(const std::string& name) {
  const auto slot = find(name);
  if (!slot) return slot.error();
  (*slot)->device->power_cycle(loop_.now());
  if ((*slot)->user != nullptr) (*slot)->user->schedule_pump();
  return {};
}

Status SimulatedSource::set_switches(const std::string& name, std::uint8_t positions) {
  const auto slot = find(name);
  if (!slot) return slot.error();
  simulator::SwitchPack* switches = simulator::switch_pack(*(*slot)->device);
  if (switches == nullptr) {
    return fail(ErrorCode::refused,
                "'" + log::printable(name) + "' has no switches; a stick of kind osr-fx2 has");
  }
  switches->set_switches(positions, loop_.now());
  if ((*slot)->user != nullptr) (*slot)->user->schedule_pump();
  return {};
}

Status SimulatedSource::add_fault(const std::string& name, const std::string& fault) {
  const auto slot = find(name);
  if (!slot) return slot.error();
  const auto parsed = simulator::parse_fault(fault);
  if (!parsed) return parsed.error();
  return (*slot)->device->bench().faults.add(*parsed);
}

Status SimulatedSource::clear_faults(const std::string& name) {
  const auto slot = find(name);
  if (!slot) return slot.error();
  (*slot)->device->bench().faults.clear();
  return {};
}

Result<std::string> SimulatedSource::witness(const std::string& name) const {
  const auto slot = find(name);
  if (!slot) return slot.error();
  return (*slot)->device->bench().witness.to_json();
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

Result<SimulatedSource::Slot*> SimulatedSource::find(const std::string& name) const {
  const auto found = std::find_if(slots_.begin(), slots_.end(), [&](const auto& slot) {
    const usb::DeviceDescription& description = slot->device->description();
    return description.serial == name || description.path == name;
  });
  if (found == slots_.end()) {
    return fail(ErrorCode::unavailable, "no simulated stick '" + log::printable(name) + "'");
  }
  return found->get();
}

}  // namespace tillbridge::server
