// A stick with a cryptovision TSE gets anything: frames whole and in pieces, commands with any
// parameters, foreign blocks, resets, power cycles, faults. No signature is lost or made twice, the
// rest of the disk stays a disk, and a whole frame without a fault is always replaced at once.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>

#include "channel/massstorage/command_block.hpp"
#include "channel/massstorage/scsi.hpp"
#include "channel/usb/requests.hpp"
#include "server/simulator/mass_storage_stick.hpp"
#include "server/simulator/tse/cryptovision_medium.hpp"
#include "tse/cryptovision/command.hpp"

namespace usb = tillbridge::usb;
namespace simulator = tillbridge::simulator;
namespace tse = tillbridge::simulator::tse;
namespace protocol = tillbridge::tse::cryptovision;
namespace massstorage = tillbridge::massstorage;
using protocol::CommandCode;
using protocol::Parameter;
using tillbridge::ByteReader;
using tillbridge::Bytes;
using tillbridge::ByteView;
using tillbridge::Instant;

namespace {

constexpr std::uint64_t disk_blocks = 4096, file_block = 64;
/// No frame is ever written so close that its window reaches these.
constexpr std::uint64_t shadow_begin = 2000, shadow_blocks = 64;

void require(bool condition) {
  if (!condition) std::abort();
}

class Driver {
 public:
  explicit Driver(ByteReader& input) : input_(input) {
    const std::uint8_t flags = input_.u8();
    tse::CoreOptions core = tse::cryptovision_core_options();
    core.most_signatures = 60;
    core.store_bytes = 64U << 10U;
    auto opened = tse::TseCore::open(core, tse::make_memory_store());
    require(opened.ok());
    tse::CryptovisionOptions options;
    options.tidy = (flags & 1U) != 0;
    options.holds_commands_while_busy = (flags & 2U) != 0;
    options.long_public_key = options.wrong_mapping_length =
        options.miscounts_four_open_transactions = (flags & 4U) != 0;
    tse::Timing timing;
    timing.sleep_after = tillbridge::Duration((flags & 8U) != 0 ? 1'000'000 : 0);
    timing.sleep_loses_answer = (flags & 16U) != 0;
    timing.signing_jitter = tillbridge::Duration(1000);
    bench_ = std::make_shared<simulator::Bench>(flags);
    auto medium = std::make_unique<tse::CryptovisionMedium>(
        std::make_unique<simulator::MemoryMedium>(disk_blocks), *std::move(opened), timing, options,
        bench_);
    card_ = medium.get();
    stick_ = std::make_unique<simulator::MassStorageStick>(std::move(medium),
                                                           simulator::StickOptions{}, bench_);
    plug_in();
    if ((flags & 32U) != 0) set_up();
  }

  void step() {
    switch (input_.u8() % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
        command(static_cast<CommandCode>(input_.u8()), arbitrary());
        break;
      case 4:
        likely_command();
        break;
      case 5:  // a frame of any kind, or a part of one
        write(file_block + input_.u8() % 40U, padded(protocol::encode(request(arbitrary()))));
        break;
      case 6: {  // more of it
        Bytes blocks((1U + input_.u8() % 20U) * simulator::block_bytes, input_.u8());
        write(file_block + input_.u8() % 40U, std::move(blocks));
        break;
      }
      case 7:
        read(file_block + input_.u8() % 40U, 1U + input_.u8() % 40U);
        break;
      case 8:
        now_ += std::chrono::milliseconds(input_.u16le());
        break;
      case 9:
      case 10:
        check_shadow();
        break;
      case 11:
        frame({input_.u8() % 2 == 0 ? protocol::fetch_more : protocol::abandon});
        break;
      case 12:
        fault();
        break;
      case 13:
        if (input_.u8() % 4 == 0) {
          stick_->power_cycle(now_);
          plug_in();
        }
        break;
      case 14:
        stick_->reset(now_);
        plug_in();
        break;
      default:
        command(CommandCode::start, {});
        break;
    }
    const simulator::Witness& witness = bench_->witness;
    require(witness.counter_gaps() == 0);
    require(witness.signatures() == card_->core().signature_counter());
  }

 private:
  void set_up() {
    command(CommandCode::start, {});
    const Bytes pin(8, '1'), puk(10, '1');
    parameters(CommandCode::initialize_pins, {Parameter::bytes(puk), Parameter::bytes(pin),
                                              Parameter::bytes(puk), Parameter::bytes(pin)});
    parameters(CommandCode::authenticate_user, {Parameter::text("Admin"), Parameter::bytes(pin)});
    parameters(CommandCode::initialize, {});
    parameters(CommandCode::update_time, {Parameter::big_endian(1'767'225'600, 4)});
    parameters(CommandCode::map_ers_to_key,
               {Parameter::text("t"), Parameter::bytes(card_->core().serial())});
  }
  /// Well-formed, so that the core behind is reached.
  void likely_command() {
    const auto number = Parameter::big_endian(input_.u8() % 8U, 4);
    const auto client = Parameter::text(input_.u8() % 8 == 0 ? "x" : "t");
    const auto data = Parameter::bytes(arbitrary());
    const auto type = Parameter::text("T");
    const auto item = Parameter::number(input_.u8() % 10U);
    const auto serial = Parameter::bytes(card_->core().serial());
    switch (input_.u8() % 10) {
      case 0:
      case 1:
        return parameters(CommandCode::start_transaction, {client, data, type, data});
      case 2:
        return parameters(CommandCode::update_transaction, {number, client, data, type});
      case 3:
        return parameters(CommandCode::finish_transaction, {number, client, data, type, data});
      case 4:
        return parameters(CommandCode::export_data,
                          protocol::parameters_of(protocol::ExportRequest{}));
      case 5:
        return parameters(CommandCode::export_more_data, {serial, number, number});
      case 6:
        return parameters(CommandCode::delete_data_up_to, {serial, number});
      case 7:
        return parameters(CommandCode::get_status, {item});
      case 8:
        return parameters(CommandCode::get_config_data, {item});
      default:
        return parameters(CommandCode::map_ers_to_key,
                          {Parameter::text(std::string(1 + input_.u8() % 31U, 'c')), serial});
    }
  }
  void parameters(CommandCode code, const protocol::Parameters& list) {
    command(code, protocol::encode(list));
  }
  void command(CommandCode code, const Bytes& parameter_bytes) {
    Bytes data = protocol::encode_command(code);
    data[4] = static_cast<std::uint8_t>(parameter_bytes.size() >> 8U);
    data[5] = static_cast<std::uint8_t>(parameter_bytes.size());
    data.insert(data.end(), parameter_bytes.begin(), parameter_bytes.end());
    frame(std::move(data));
  }
  void frame(Bytes data) {
    const bool whole = write(file_block, protocol::encode(request(std::move(data))));
    if (!whole || faults_) return;
    const auto answer = protocol::parse_response(read(file_block, 16), protocol::usual_token);
    require(answer.ok());
    require(answer->state != protocol::ResponseState::not_taken &&
            answer->state != protocol::ResponseState::lost);
  }
  static protocol::RequestFrame request(Bytes data) {
    return {protocol::usual_token, protocol::Mode::normal, std::move(data)};
  }
  static Bytes padded(Bytes bytes) {
    bytes.resize((bytes.size() + 511) / 512 * 512);
    return bytes;
  }
  Bytes arbitrary() {
    const ByteView bytes = input_.take(std::min<std::size_t>(input_.remaining(), input_.u8()));
    return {bytes.begin(), bytes.end()};
  }
  void check_shadow() {
    const std::uint64_t block = shadow_begin + input_.u8() % shadow_blocks;
    Bytes content(simulator::block_bytes, input_.u8());
    if (write(block, content)) shadow_[block] = content;
    for (const auto& [known, bytes] : shadow_) {
      const Bytes seen = read(known, 1);
      if (!faults_) require(seen == bytes);
    }
  }
  void fault() {
    simulator::Fault fault;
    fault.point = static_cast<simulator::FaultPoint>(input_.u8() % 7U);
    fault.action = static_cast<simulator::FaultAction>(input_.u8() % 17U);
    fault.amount_ms = input_.u8();
    if (bench_->faults.add(fault)) faults_ = true;
  }

  // --- transport: one command after the other; what hangs is cancelled and the stick power-cycled
  bool write(std::uint64_t block, Bytes data) {
    const auto count = static_cast<std::uint16_t>(data.size() / simulator::block_bytes);
    if (!send(massstorage::scsi::write_10(static_cast<std::uint32_t>(block), count),
              static_cast<std::uint32_t>(data.size()), false)) {
      return false;
    }
    usb::Transfer out = bulk(simulator::MassStorageStick::out_endpoint);
    out.length = static_cast<std::uint32_t>(data.size());
    out.data = std::move(data);
    return run(std::move(out)) && status();
  }
  Bytes read(std::uint64_t block, std::size_t count) {
    const auto length = static_cast<std::uint32_t>(count * simulator::block_bytes);
    Bytes data(length);
    if (!send(massstorage::scsi::read_10(static_cast<std::uint32_t>(block),
                                         static_cast<std::uint16_t>(count)),
              length, true)) {
      return data;
    }
    usb::Transfer in = bulk(simulator::MassStorageStick::in_endpoint);
    in.length = length;
    if (const auto completion = run(std::move(in))) {
      data = completion->data;
      (void)status();
    }
    data.resize(length);
    return data;
  }
  bool send(const massstorage::Cdb& cdb, std::uint32_t length, bool in) {
    massstorage::CommandBlock block;
    block.tag = ++tag_;
    block.data_length = length;
    block.flags = in ? massstorage::CommandBlock::flag_in : std::uint8_t{0};
    block.cdb = cdb;
    usb::Transfer out = bulk(simulator::MassStorageStick::out_endpoint);
    out.data = massstorage::encode(block);
    out.length = static_cast<std::uint32_t>(out.data.size());
    return run(std::move(out)).has_value();
  }
  bool status() {
    usb::Transfer in = bulk(simulator::MassStorageStick::in_endpoint);
    in.length = massstorage::StatusBlock::size;
    const auto completion = run(std::move(in));
    if (!completion) return false;
    const bool good =
        completion->data.size() == massstorage::StatusBlock::size && completion->data.back() == 0;
    require(good || faults_);
    return good;
  }
  static usb::Transfer bulk(std::uint8_t endpoint) {
    usb::Transfer transfer;
    transfer.type = usb::TransferType::bulk;
    transfer.endpoint = endpoint;
    return transfer;
  }
  /// Nothing: it stalled or hung, and everything was started over.
  std::optional<usb::Completion> run(usb::Transfer transfer) {
    const usb::TransferId id = transfer.id = ++next_id_;
    stick_->submit(std::move(transfer), now_);
    while (true) {
      stick_->advance(now_);
      while (auto completion = stick_->poll_completion()) {
        if (completion->id != id) continue;
        if (completion->status == usb::TransferStatus::success) return completion;
        require(faults_);
        restart();
        return std::nullopt;
      }
      const auto deadline = stick_->next_deadline();
      if (!deadline) break;
      require(*deadline > now_);
      now_ = *deadline;
    }
    require(faults_);
    (void)stick_->poll_departure();
    stick_->power_cycle(now_);
    restart();
    return std::nullopt;
  }
  void restart() {
    if (restarting_) return;
    stick_->reset(now_);
    plug_in();
  }
  void plug_in() {
    restarting_ = true;
    usb::Transfer configure = usb::control_transfer(++next_id_, usb::set_configuration(1));
    (void)run(std::move(configure));
    // The first command is told of the reset.
    if (send(massstorage::scsi::test_unit_ready(), 0, false)) {
      usb::Transfer in = bulk(simulator::MassStorageStick::in_endpoint);
      in.length = massstorage::StatusBlock::size;
      (void)run(std::move(in));
    }
    restarting_ = false;
  }

  ByteReader& input_;
  std::shared_ptr<simulator::Bench> bench_;
  tse::CryptovisionMedium* card_ = nullptr;
  std::unique_ptr<simulator::MassStorageStick> stick_;
  std::map<std::uint64_t, Bytes> shadow_;
  bool faults_ = false, restarting_ = false;
  Instant now_{0};
  usb::TransferId next_id_ = 0;
  std::uint32_t tag_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteReader input(ByteView(data, size));
  Driver driver(input);
  for (int steps = 0; input.remaining() > 0 && steps < 300; ++steps) driver.step();
  return 0;
}
