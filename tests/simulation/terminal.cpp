#include "tests/simulation/terminal.hpp"

#include <algorithm>
#include <utility>

#include "tests/simulation/till.hpp"

namespace tillbridge::simulation {

Terminal::Terminal(World& world, Ledger& ledger, std::string till, Duration cancel_within,
                   std::shared_ptr<Rdp> rdp)
    : world_(world),
      ledger_(ledger),
      till_(std::move(till)),
      cancel_within_(cancel_within),
      rdp_(std::move(rdp)) {
  rdp_->terminal = this;
  role_.start(loop_.now());
  pump();
}

Terminal::~Terminal() {
  rdp_->terminal = nullptr;
  for (const auto& [socket, client] : clients_) socket->ended = true;
}

// --- the till's side

void Terminal::opened(std::uint32_t ticket, rdpeusb::ChannelId channel) {
  role_.channel_opened(ticket, channel, loop_.now());
  pump();
}

void Terminal::receive(rdpeusb::ChannelId channel, const Bytes& message) {
  role_.receive(channel, message, loop_.now());
  pump();
}

void Terminal::closed(rdpeusb::ChannelId channel) {
  role_.channel_closed(channel, loop_.now());
  pump();
}

bool Terminal::pump_role() {
  using Role = rdpeusb::TerminalRole;
  bool progress = false;
  while (auto output = role_.poll()) {
    progress = true;
    if (const auto* open = std::get_if<Role::OpenChannel>(&*output)) {
      const rdpeusb::ChannelId channel = rdp_->next_channel();
      rdp_->to_till([rdp = rdp_, ticket = open->ticket, channel](Till& till) {
        till.opened(channel);
        rdp->to_terminal([ticket, channel](Terminal& self) { self.opened(ticket, channel); });
      });
    } else if (auto* send = std::get_if<Role::SendMessage>(&*output)) {
      rdp_->to_till([channel = send->channel, message = std::move(send->message)](Till& till) {
        till.receive(channel, message);
      });
    } else if (const auto* close = std::get_if<Role::CloseChannel>(&*output)) {
      world_.tell(till_ + " session", "closes a channel: " + close->reason);
      rdp_->to_till([channel = close->channel](Till& till) { till.closed(channel); });
      rdp_->to_terminal([channel = close->channel](Terminal& self) { self.closed(channel); });
    } else if (auto* arrived = std::get_if<Role::DeviceArrived>(&*output)) {
      ledger_.arrived(till_);
      intake_.device_arrived(arrived->device, std::move(arrived->announced), loop_.now());
    } else if (const auto* gone = std::get_if<Role::DeviceGone>(&*output)) {
      world_.tell(till_ + " session", "the stick is gone: " + gone->reason);
      departures_ += 1;
      intake_.device_gone(gone->device);
      const auto found = exported_.find(gone->device);
      if (found == exported_.end()) continue;
      if (!found->second.running.empty()) {
        world_.violation("a stick left the session with transfers that have no end");
      }
      if (found->second.user) found->second.user->ended = true;
      for (auto& [socket, client] : clients_) {
        if (socket == found->second.user) client->device.reset();
      }
      std::erase_if(deadlines_, [&](const auto& item) { return item.first.first == gone->device; });
      exported_.erase(found);
      gone_.insert(gone->device);
    } else if (auto* done = std::get_if<Role::Completed>(&*output)) {
      completed(done->device, std::move(done->completion));
    }
  }
  return progress;
}

bool Terminal::pump_intake() {
  using terminal::DeviceIntake;
  bool progress = false;
  while (auto output = intake_.poll()) {
    progress = true;
    if (auto* submit = std::get_if<DeviceIntake::Submit>(&*output)) {
      role_.submit(submit->device, std::move(submit->transfer), loop_.now());
    } else if (const auto* cancel = std::get_if<DeviceIntake::Cancel>(&*output)) {
      role_.cancel(cancel->device, cancel->transfer, loop_.now());
    } else if (auto* admitted = std::get_if<DeviceIntake::Admitted>(&*output)) {
      arrivals_ += 1;
      world_.tell(till_ + " session", "the stick is there");
      Exported& exported = exported_[admitted->device.id];
      exported.description = std::move(admitted->device.description);
      exported.description.path = "1-1";
    } else if (const auto* refused = std::get_if<DeviceIntake::Refused>(&*output)) {
      world_.tell(till_ + " session", "the stick cannot be read: " + refused->reason);
      role_.retract(refused->device, refused->reason, loop_.now());
    }
  }
  return progress;
}

void Terminal::completed(rdpeusb::DeviceId device, usb::Completion completion) {
  if (!completion.data.empty()) ledger_.got(completion.data);
  if (intake_.completed(device, completion, loop_.now())) return;
  const auto found = exported_.find(device);
  if (found == exported_.end()) {  // or one that was still being read when it went
    if (gone_.contains(device)) world_.violation("a stick that is gone completes a transfer");
    return;
  }
  Exported& exported = found->second;
  deadlines_.erase({device, completion.id});
  ledger_.answered(till_, completion);
  if (exported.leftover.erase(completion.id) != 0) return;
  if (exported.running.erase(completion.id) == 0) {
    return world_.violation("a transfer completed twice in the session");
  }
  for (auto& [socket, client] : clients_) {
    if (socket == exported.user) return client->exporter.complete(std::move(completion));
  }
}

// --- the POS' side

std::shared_ptr<PosSocket> Terminal::connect() {
  auto socket = std::make_shared<PosSocket>();
  clients_.emplace_back(socket, std::make_unique<Client>());
  return socket;
}

void Terminal::from_pos(const std::shared_ptr<PosSocket>& socket, ByteView bytes) {
  for (auto& [its_socket, client] : clients_) {
    if (its_socket == socket) client->exporter.receive(bytes);
  }
  pump();
}

void Terminal::abandon(const std::shared_ptr<PosSocket>& socket) {
  const auto found = std::find_if(clients_.begin(), clients_.end(),
                                  [&](const auto& item) { return item.first == socket; });
  if (found == clients_.end()) return;
  const auto device = found->second->device;
  clients_.erase(found);
  const auto exported = device ? exported_.find(*device) : exported_.end();
  if (exported != exported_.end()) {
    exported->second.user.reset();
    exported->second.leftover.merge(exported->second.running);
    exported->second.running.clear();
    for (const usb::TransferId id : exported->second.leftover) {
      cancel(*device, id);
    }
  }
  pump();
}

void Terminal::cancel(rdpeusb::DeviceId device, usb::TransferId transfer) {
  expect_end(device, transfer, cancel_within_);
  role_.cancel(device, transfer, loop_.now());
}

void Terminal::expect_end(rdpeusb::DeviceId device, usb::TransferId transfer, Duration within) {
  deadlines_[{device, transfer}] = loop_.now() + within;
  look_at_deadlines();
}

void Terminal::look_at_deadlines() {
  deadline_timer_.cancel();
  std::optional<Instant> next;
  for (const auto& [transfer, deadline] : deadlines_) {
    if (deadline <= loop_.now()) return world_.violation("a transfer does not end");
    next = std::min(next.value_or(deadline), deadline);
  }
  if (next) deadline_timer_.arm(*next, [this] { look_at_deadlines(); });
}

bool Terminal::pump_client(const std::shared_ptr<PosSocket>& socket, Client& client) {
  using usbip::Exporter;
  bool progress = false;
  while (auto output = client.exporter.poll()) {
    progress = true;
    if (const auto* send = std::get_if<Exporter::Send>(&*output)) {
      socket->to_pos.insert(socket->to_pos.end(), send->bytes.begin(), send->bytes.end());
    } else if (std::holds_alternative<Exporter::ListWanted>(*output)) {
      std::vector<usb::DeviceDescription> list;
      for (const auto& [device, exported] : exported_) list.push_back(exported.description);
      client.exporter.devices(list);
    } else if (const auto* wanted = std::get_if<Exporter::ImportWanted>(&*output)) {
      const auto found = std::find_if(exported_.begin(), exported_.end(), [&](const auto& item) {
        return item.second.description.path == wanted->busid;
      });
      if (found == exported_.end()) {
        client.exporter.import_refused(usbip::OperationStatus::no_such_device);
      } else if (found->second.user || !found->second.leftover.empty()) {
        client.exporter.import_refused(usbip::OperationStatus::busy);
      } else {
        found->second.user = socket;
        client.device = found->first;
        client.exporter.import_granted(found->second.description);
      }
    } else if (auto* submit = std::get_if<Exporter::Submit>(&*output)) {
      if (!client.device) continue;
      exported_.at(*client.device).running.insert(submit->transfer.id);
      ledger_.asked(till_, submit->transfer);
      // With no weather a request to endpoint 0 is answered at once.
      if (cancel_within_ < Ledger::at_once && submit->transfer.type == usb::TransferType::control) {
        expect_end(*client.device, submit->transfer.id, Ledger::at_once);
      }
      role_.submit(*client.device, std::move(submit->transfer), loop_.now());
    } else if (const auto* cancel = std::get_if<Exporter::Cancel>(&*output)) {
      if (client.device) this->cancel(*client.device, cancel->transfer);
    } else if (const auto* close = std::get_if<Exporter::Close>(&*output)) {
      if (close->error) world_.violation("the POS broke USB/IP: " + close->error->message);
      socket->ended = true;
    }
  }
  return progress;
}

std::size_t Terminal::running() const {
  std::size_t sum = 0;
  for (const auto& [device, exported] : exported_) {
    sum += exported.running.size() + exported.leftover.size();
  }
  return sum;
}

void Terminal::pump() {
  if (pumping_) return;
  pumping_ = true;
  for (bool progress = true; progress;) {
    progress = pump_role();
    progress = pump_intake() || progress;
    for (auto& [socket, client] : clients_) progress = pump_client(socket, *client) || progress;
  }
  pumping_ = false;
  auto deadline = role_.next_deadline();
  const auto intake = intake_.next_deadline();
  if (intake && (!deadline || *intake < *deadline)) deadline = intake;
  if (!deadline) return timer_.cancel();
  timer_.arm(*deadline, [this] {
    role_.advance(loop_.now());
    intake_.advance(loop_.now());
    pump();
  });
}

}  // namespace tillbridge::simulation
