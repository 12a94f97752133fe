// Defects that others had, in what the link and the programs at its ends do: one test or more for
// each id of cves.tsv with the side "ends".
#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"
#include "channel/link/control_message.hpp"
#include "channel/link/endpoint.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usbip/outputs.hpp"
#include "server/terminal/device_intake.hpp"
#include "server/terminal/vhci/vhci_sink.hpp"
#include "tests/unit/link/link_pair.hpp"
#include "tests/unit/usbip/support.hpp"

namespace tillbridge {
namespace {

using terminal::DeviceId;
using terminal::DeviceIntake;
using terminal::SessionDevice;
using terminal::Sink;
using terminal::vhci::Controller;
using terminal::vhci::VhciSink;
using testing::HasSubstr;
using usb::TransferStatus;
using usbip::test::hex;
using usbip::test::operator+;

constexpr Instant now{5};

// --- names and sizes before anybody is known
// ------------------------------------------------------------------------

TEST(Cve, CVE_2015_3036_names_of_any_length) {
  for (const std::size_t size : {64U, 65U, 128U, 129U, 255U, 256U, 4096U, 65536U}) {
    const std::string name(size, 'n');
    for (const char* key : {"software", "client_name", "user", "domain", "terminal_server"}) {
      const std::string json =
          std::string(R"({"type":"hello",")") + key + R"(":")" + name + R"("})";
      const auto decoded = link::decode_control_message(Bytes(json.begin(), json.end()));
      EXPECT_EQ(decoded.ok(), size <= limits::name_bytes) << key << ' ' << size;
    }
    // What goes out is cut to what the other end takes.
    const auto sent =
        link::decode_control_message(link::encode(link::Hello{name, name, name, name, name}));
    ASSERT_TRUE(sent.ok());
    EXPECT_LE(std::get<link::Hello>(*sent).client_name.size(), limits::name_bytes);
  }
  // USB/IP: a bus id fills its field to the last byte, without an end.
  usbip::Exporter exporter(usbip::Exporter::Start::await_request);
  exporter.receive(hex("01 11 80 03 00 00 00 00") + Bytes(usbip::busid_size, 'b'));
  const auto said = usbip::test::drain(exporter);
  EXPECT_TRUE(said.import_wanted.empty());
  EXPECT_EQ(said.closes.size(), 1U);
}

TEST(Cve, CVE_2021_45608_sizes_before_the_hello) {
  // A claimed size ends the link at once: nothing is waited for, and nothing is made for it.
  constexpr auto above = static_cast<std::uint32_t>(limits::link_frame_payload_bytes) + 1;
  for (const std::uint32_t size : {above, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFF0U, 0xFFFFFFFFU}) {
    for (const std::uint8_t type : {std::uint8_t{1}, std::uint8_t{2}}) {
      for (const bool greeted : {false, true}) {
        link::Endpoint endpoint(link::Side::server, {});
        endpoint.connected(now);
        if (greeted) endpoint.receive(test::hello_frame(), now);
        endpoint.receive(test::frame(type, 1, 0, {}, size), now);
        test::Heard heard;
        heard.poll(endpoint);
        EXPECT_TRUE(heard.failed.has_value()) << size;
      }
    }
  }
}

// --- queues
// -----------------------------------------------------------------------------------------------------

TEST(Cve, CVE_2021_3527_small_answers_are_joined_up_to_a_limit) {
  usbip::Exporter exporter = usbip::test::attached_exporter();
  Bytes commands;
  for (std::uint32_t i = 1; i <= limits::transfers_in_flight_per_device; ++i)
    commands = usbip::encode(usbip::test::bulk_in(i, 64)) + commands;
  exporter.receive(commands);
  for (const auto& transfer : usbip::test::drain(exporter).submitted)
    exporter.complete(usbip::test::done(transfer.id, Bytes(64)));
  std::size_t total = 0;
  while (auto output = exporter.poll()) {
    const auto& piece = std::get<usbip::Exporter::Send>(*output).bytes;
    EXPECT_LE(piece.size(), usbip::coalesced_bytes);
    total += piece.size();
  }
  EXPECT_EQ(total, limits::transfers_in_flight_per_device * (usbip::command_size + 64));
}

/// The kernel's side: takes sockets at once, or refuses, and may begin to talk before attach()
/// returns, as vhci-hcd's threads do. Shared by sessions, each with a thread of its own.
class Kernel final : public Controller {
 public:
  explicit Kernel(std::size_t ports) : ports_(ports) {}
  Kernel(const Kernel&) = delete;
  Kernel& operator=(const Kernel&) = delete;
  ~Kernel() override {
    for (const auto& [port, taken] : taken_) ::close(taken.socket);
  }

  Result<std::uint32_t> attach(int socket, usb::Speed /*speed*/) override {
    const std::lock_guard lock(mutex_);
    for (std::uint32_t port = 0; port < ports_; ++port) {
      if (taken_.count(port) != 0) continue;
      const int own = ::fcntl(socket, F_DUPFD_CLOEXEC, 0);
      taken_[port] = {own, std::this_thread::get_id()};
      ++attached;
      const Bytes first = get_descriptor(1) + get_descriptor(2);
      EXPECT_EQ(::send(own, first.data(), first.size(), MSG_NOSIGNAL),
                static_cast<ssize_t>(first.size()));
      return port;
    }
    return fail(ErrorCode::unavailable, "all ports are taken");
  }
  Status detach(std::uint32_t port) override {
    const std::lock_guard lock(mutex_);
    const auto found = taken_.find(port);
    if (found == taken_.end() || found->second.owner != std::this_thread::get_id()) {
      ++strangers;  // a port that is nobody's, or already somebody else's
      return fail(ErrorCode::io, "not attached");
    }
    ::close(found->second.socket);
    taken_.erase(found);
    return {};
  }
  /// `usbip detach` by somebody on the machine: the port is free, the socket hung up.
  void hang_up(std::uint32_t port) { static_cast<void>(detach(port)); }
  void say(std::uint32_t port, const Bytes& bytes) {
    const std::lock_guard lock(mutex_);
    const auto found = taken_.find(port);
    if (found == taken_.end()) return;
    static_cast<void>(
        ::send(found->second.socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT));
  }
  std::size_t in_use() {
    const std::lock_guard lock(mutex_);
    return taken_.size();
  }

  static Bytes get_descriptor(std::uint32_t sequence) {
    return usbip::encode(usbip::test::control(
        sequence, usb::get_descriptor(usb::descriptor_type::device, 0, 0, 18)));
  }

  std::atomic<int> attached{0}, strangers{0};

 private:
  std::size_t ports_;
  std::mutex mutex_;
  struct Taken {
    int socket = -1;  ///< its half of the socket pair
    std::thread::id owner;
  };
  std::map<std::uint32_t, Taken> taken_;  ///< by port
};

/// One session's sink, and what it asked for.
class SinkOfSession {
 public:
  explicit SinkOfSession(std::shared_ptr<Controller> controller) : sink(std::move(controller)) {}

  static SessionDevice device(DeviceId id) {
    SessionDevice device;
    device.id = id;
    device.description = usbip::test::stick();
    return device;
  }
  void serve() {
    std::vector<pollfd> polled;
    sink.add_polled(polled);
    ::poll(polled.data(), polled.size(), 0);
    for (const pollfd& one : polled) {
      if (one.revents != 0) sink.ready(one, now);
    }
    hear();
  }
  void hear() {
    while (auto output = sink.poll()) {
      if (const auto* submit = std::get_if<Sink::Submit>(&*output)) {
        EXPECT_TRUE(running.insert({submit->device, submit->transfer.id}).second);
        ++submitted;
      } else if (const auto* retract = std::get_if<Sink::Retract>(&*output)) {
        retracted.insert(retract->device);
      } else if (const auto* report = std::get_if<terminal::Report>(&*output)) {
        if (report->event == "attached")
          port = static_cast<std::uint32_t>(std::get<std::int64_t>(report->fields.at(1).value));
      }
    }
  }
  void complete_all(DeviceId device) {
    for (const auto& [of, id] : std::exchange(running, {})) {
      if (of != device) continue;
      sink.completed(device, usbip::test::done(id, Bytes(18)), now);
    }
    hear();
  }

  VhciSink sink;
  std::set<std::pair<DeviceId, usb::TransferId>> running;
  std::set<DeviceId> retracted;
  std::optional<std::uint32_t> port;
  int submitted = 0;
};

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                       std::filesystem::directory_iterator());
}

TEST(Cve, usbip_attach_races_attach_and_detach_storm) {
  constexpr int sessions = 4, rounds = 150;
  const std::ptrdiff_t before = open_descriptors();
  int submitted = 0;
  {
    // Fewer ports than sessions: some attaches are refused.
    const auto kernel = std::make_shared<Kernel>(sessions - 1);
    std::array<int, sessions> of_session{};
    std::vector<std::thread> threads;
    for (int session = 0; session < sessions; ++session) {
      threads.emplace_back([&kernel, &of_session, session] {
        std::mt19937 random(static_cast<std::uint32_t>(session));
        SinkOfSession own(kernel);
        for (DeviceId id = 1; id <= rounds; ++id) {
          own.port.reset();
          own.sink.device_arrived(SinkOfSession::device(id), now);
          own.hear();
          if (!own.port) {  // refused, and said so
            EXPECT_EQ(own.retracted.count(id), 1U);
            continue;
          }
          // What the kernel said before attach() returned is there, none of it twice.
          own.serve();
          EXPECT_EQ(own.running.size(), 2U);
          if (random() % 2 == 0) own.complete_all(id);
          kernel->say(*own.port, Kernel::get_descriptor(3));
          bool still_attached = true;
          switch (random() % 5) {
            case 0:
              kernel->hang_up(*own.port);  // in the middle of it
              own.serve();
              own.serve();
              still_attached = own.retracted.count(id) == 0;
              EXPECT_FALSE(still_attached);
              break;
            case 1:
              kernel->say(*own.port, Bytes(48, 0xFF));  // nonsense
              own.serve();
              EXPECT_EQ(own.retracted.count(id), 1U);
              break;
            case 2:
              own.serve();
              own.sink.session_ended(now);
              break;
            case 3:
              // Hung up, but the sink has not seen it yet: the port may be the next session's.
              kernel->hang_up(*own.port);
              std::this_thread::yield();
              break;
            default:
              break;  // gone with what it said unread
          }
          own.sink.device_gone(id, "gone", now);
          own.complete_all(id);  // late completions
          own.running.clear();
        }
        of_session.at(static_cast<std::size_t>(session)) = own.submitted;
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const int count : of_session) submitted += count;
    EXPECT_EQ(kernel->in_use(), 0U) << "no port is left behind";
    EXPECT_EQ(kernel->strangers, 0) << "no port of somebody else is freed";
    EXPECT_GT(kernel->attached, rounds);
  }
  EXPECT_GT(submitted, 2 * rounds);
  EXPECT_EQ(open_descriptors(), before) << "no socket is left behind";
}

TEST(Cve, CVE_2021_3700_device_goes_while_a_slow_reader_is_owed_answers) {
  const std::ptrdiff_t before = open_descriptors();
  {
    const auto kernel = std::make_shared<Kernel>(1);
    SinkOfSession own(kernel);
    own.sink.device_arrived(SinkOfSession::device(1), now);
    own.hear();
    ASSERT_TRUE(own.port.has_value());
    own.serve();
    own.complete_all(1);
    // Reads of 256 KiB each, which nobody takes out of the socket.
    for (std::uint32_t i = 0; i < 64; ++i)
      kernel->say(*own.port, usbip::encode(usbip::test::bulk_in(100 + i, 1U << 18U)));
    own.serve();
    ASSERT_EQ(own.running.size(), 64U);
    std::size_t left = 32;  // half of them are owed when it goes
    const auto running = own.running;
    for (const auto& [device, id] : running) {
      if (left-- == 0) break;
      own.sink.completed(device, usbip::test::done(id, Bytes(1U << 18U)), now);
    }
    own.serve();
    own.sink.device_gone(1, "unplugged", now);
    for (const auto& [device, id] : running)
      own.sink.completed(device, usbip::test::done(id, Bytes(8)), now);
    own.serve();
    EXPECT_EQ(kernel->in_use(), 0U);
  }
  EXPECT_EQ(open_descriptors(), before);
}

// --- who may be plugged in
// ---------------------------------------------------------------------------------------

/// Descriptors of a device that is read by the intake.
struct Shown {
  std::uint8_t device_class = 0;
  std::vector<Bytes> configurations;
};

Bytes configuration(std::uint8_t value, std::initializer_list<std::uint8_t> classes,
                    bool as_settings = false) {
  Bytes raw{9,     2, 0,    0, static_cast<std::uint8_t>(as_settings ? 1 : classes.size()),
            value, 0, 0x80, 50};
  std::uint8_t number = 0;
  for (const std::uint8_t code : classes) {
    raw = std::move(raw) + Bytes{9,
                                 4,
                                 as_settings ? std::uint8_t{0} : number,
                                 as_settings ? number : std::uint8_t{0},
                                 1,
                                 code,
                                 0,
                                 0,
                                 0,
                                 7,
                                 5,
                                 static_cast<std::uint8_t>(0x81 + number),
                                 3,
                                 8,
                                 0,
                                 4};
    ++number;
  }
  raw[2] = static_cast<std::uint8_t>(raw.size());
  return raw;
}

/// The intake's opinion. Nothing but reads of descriptors and of the configuration may go out
/// before.
bool let_in(const Shown& shown, std::set<terminal::Model> named = {}) {
  usb::DeviceDescriptor descriptor;
  descriptor.device_class = shown.device_class;
  descriptor.max_packet_size_0 = 64;
  descriptor.vendor_id = 0x1209;
  descriptor.configuration_count = static_cast<std::uint8_t>(shown.configurations.size());
  const Bytes device = usb::encode(descriptor);
  DeviceIntake intake(std::move(named));
  intake.device_arrived(1, {}, now);
  for (int i = 0; i < 100; ++i) {
    auto output = intake.poll();
    if (!output) break;
    if (std::holds_alternative<DeviceIntake::Refused>(*output)) return false;
    if (std::holds_alternative<DeviceIntake::Admitted>(*output)) return true;
    const auto& submit = std::get<DeviceIntake::Submit>(*output);
    const usb::SetupPacket& setup = submit.transfer.setup;
    EXPECT_EQ(setup.request_type, 0x80);
    EXPECT_TRUE(setup.request == usb::request::get_descriptor ||
                setup.request == usb::request::get_configuration);
    const std::size_t index = setup.value & 0xFFU;
    Bytes data;
    if (setup.value == 0x0100) data = device;
    if (setup.value >> 8U == 2 && index < shown.configurations.size())
      data = shown.configurations[index];
    data.resize(std::min<std::size_t>(data.size(), setup.length));
    usb::Completion completion = usbip::test::done(submit.transfer.id, data);
    if (data.empty()) completion.status = TransferStatus::stall;
    EXPECT_TRUE(intake.completed(1, completion, now));
  }
  ADD_FAILURE() << "no opinion";
  return false;
}

TEST(Cve, CVE_2020_9332_only_classes_on_the_list) {
  for (unsigned code = 0; code <= 0xFF; ++code) {
    const auto one = static_cast<std::uint8_t>(code);
    const bool listed = code == 0x08 || code == 0x02 || code == 0x0A || code == 0x0B;
    EXPECT_EQ(let_in({0, {configuration(1, {one})}}), listed) << code;
    // However it is hidden behind storage, it counts.
    EXPECT_EQ(let_in({0, {configuration(1, {8, one})}}), listed) << code;
    EXPECT_EQ(let_in({0xEF, {configuration(1, {8, 8, one})}}), listed) << code;
    EXPECT_EQ(let_in({0, {configuration(1, {8, one}, true)}}), listed) << code;
    EXPECT_EQ(let_in({0, {configuration(1, {8}), configuration(2, {one})}}), listed) << code;
    // Naming the model helps what is neither a hub nor something to type with.
    const bool never = code == 0x03 || code == 0x09;
    EXPECT_EQ(let_in({0, {configuration(1, {8, one})}}, {{0x1209, 0}}), !never) << code;
    EXPECT_EQ(let_in({one, {configuration(1, {8})}}, {{0x1209, 0}}), !never) << code;
  }
  EXPECT_FALSE(let_in({0, {configuration(1, {})}})) << "nothing at all";
}

TEST(Cve, CVE_2020_9332_not_even_afterwards) {
  // A stick when it is let in, a keyboard when the kernel asks.
  const auto kernel = std::make_shared<Kernel>(1);
  SinkOfSession own(kernel);
  SessionDevice device = SinkOfSession::device(1);
  const Bytes stick = device.description.configurations[0].raw;
  own.sink.device_arrived(std::move(device), now);
  own.hear();
  own.serve();
  own.running.clear();
  kernel->say(*own.port, usbip::encode(usbip::test::control(
                             9, usb::get_descriptor(usb::descriptor_type::configuration, 0, 0,
                                                    static_cast<std::uint16_t>(stick.size())))));
  own.serve();
  ASSERT_EQ(own.running.size(), 1U);
  Bytes keyboard = stick;
  keyboard[14] = 3;
  own.sink.completed(1, usbip::test::done(own.running.begin()->second, keyboard), now);
  bool said = false;
  while (auto output = own.sink.poll()) {
    if (const auto* report = std::get_if<terminal::Report>(&*output))
      said = said || report->text.find("other descriptors") != std::string::npos;
  }
  EXPECT_TRUE(said);
}

}  // namespace
}  // namespace tillbridge
