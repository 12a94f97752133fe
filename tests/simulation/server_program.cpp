#include "tests/simulation/server_program.hpp"

#include <stdexcept>
#include <utility>

#include "server/simulator/factory.hpp"

namespace tillbridge::simulation {

void LeaseBook::lease_begun(const server::PresentStick& stick) {
  if (!lives_) return;
  const server::LeaseRecord& record = stick.lease->record();
  leases_[record.stick] = {record.stick, record.till, record.session, record.continuity};
  holders_[record.stick] = record.till;
  if (record.continues) continued_ += 1;
  std::string& last = last_[record.stick];
  if (!last.empty() && last != record.till) handed_over_ += 1;
  last = record.till;
}

void LeaseBook::lease_ended(const server::LeaseRecord& record) {
  if (!lives_) return;
  holders_.erase(record.stick);
  if (record.end != server::LeaseEnd::server_restarts) leases_.erase(record.stick);
}

void LeaseBook::kept_ended(const server::KeptLease& kept, server::LeaseEnd /*how*/) {
  if (lives_) leases_.erase(kept.stick);
}

void LeaseBook::till_back(const server::TillStatus& /*till*/) {
  resumed_ += 1;
}

std::vector<server::KeptLease> LeaseBook::open() const {
  std::vector<server::KeptLease> leases;
  for (const auto& [stick, lease] : leases_) leases.push_back(lease);
  return leases;
}

std::string LeaseBook::holder(const std::string& stick) const {
  const auto found = holders_.find(stick);
  return found == holders_.end() ? std::string() : found->second;
}

void LeaseBook::server_lives(bool lives) {
  lives_ = lives;
  holders_.clear();
}

Stick::Stick(World& world, const LeaseBook& book, pos::Family its_family, unsigned number)
    : family(its_family),
      serial("5A2F0000000" + std::to_string(number)),
      identity([&] {
        const char* const models[] = {"1209:0003:", "1209:0004:", "1209:0005:"};
        return models[static_cast<std::size_t>(its_family)] + serial;
      }()),
      ledger(world, [&book, this] { return book.holder(identity); }) {
  simulator::DeviceOptions options;
  options.kind = pos::name_of(family);
  options.serial = serial;
  options.path = "1-" + std::to_string(number);
  options.size_mib = 16;
  options.seed = world.chance();
  auto made = simulator::make_device(options);
  if (!made) throw std::runtime_error(made.error().message);
  device = std::move(*made);
}

ServerProgram::ServerProgram(World& world, const std::vector<std::unique_ptr<Stick>>& sticks,
                             const server::Config& config, LeaseBook& book)
    : book_(book), usb_(loop_, config) {
  std::vector<std::unique_ptr<simulator::Device>> devices;
  for (const auto& stick : sticks) {
    auto device = std::make_unique<LentDevice>(stick->device, stick->ledger, world);
    devices_.push_back(device.get());
    devices.push_back(std::move(device));
  }
  auto source = std::make_unique<server::SimulatedSource>(loop_, std::move(devices));
  source_ = source.get();
  usb_.registry().add(std::move(source));
  book_.server_lives(true);
  usb_.observe(book_);
  usb_.keep(book_.open());
  if (const auto failure = usb_.start()) throw std::runtime_error(failure->error.message);
}

ServerProgram::~ServerProgram() {
  book_.server_lives(false);
  for (LentDevice* device : devices_) device->die();
}

}  // namespace tillbridge::simulation
