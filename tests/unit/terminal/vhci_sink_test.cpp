// The vhci sink with a played kernel: a controller that keeps the other half of the socket pair.
#include "server/terminal/vhci/vhci_sink.hpp"

#include <optional>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/usb/requests.hpp"
#include "channel/usbip/codec.hpp"
#include "tests/unit/terminal/test_device.hpp"

namespace tillbridge::terminal::vhci {
namespace {

using testing::HasSubstr;

constexpr Instant now{5};
constexpr DeviceId device_id = 3;

class PlayedKernel final : public Controller {
 public:
  ~PlayedKernel() override { hang_up(); }
  Result<std::uint32_t> attach(int socket, usb::Speed speed) override {
    if (refusal) return *refusal;
    speeds.push_back(speed);
    sockets.push_back(::fcntl(socket, F_DUPFD_CLOEXEC, 0));
    return next_port++;
  }
  Status detach(std::uint32_t port) override {
    detached.push_back(port);
    return {};
  }
  void hang_up() {
    for (const int socket : sockets) ::close(socket);
    sockets.clear();
  }
  PlayedKernel() = default;
  PlayedKernel(const PlayedKernel&) = delete;
  PlayedKernel& operator=(const PlayedKernel&) = delete;

  void send(const Bytes& bytes, std::size_t index = 0) {
    ASSERT_EQ(::send(sockets.at(index), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  Bytes received(std::size_t index = 0) {
    Bytes all;
    Bytes part(1U << 16U);
    for (;;) {
      const ssize_t size = ::recv(sockets.at(index), part.data(), part.size(), MSG_DONTWAIT);
      if (size <= 0) return all;
      all.insert(all.end(), part.begin(), part.begin() + size);
    }
  }

  std::optional<Error> refusal;
  std::uint32_t next_port = 0;
  std::vector<usb::Speed> speeds;
  std::vector<int> sockets;
  std::vector<std::uint32_t> detached;
};

class VhciSinkTest : public testing::Test {
 protected:
  SessionDevice disk(DeviceId id = device_id) {
    SessionDevice device;
    device.id = id;
    device.description = simulated_disk()->description();
    return device;
  }
  /// Lets the sink see whatever is ready on its descriptors.
  void serve() {
    std::vector<pollfd> polled;
    sink_.add_polled(polled);
    ::poll(polled.data(), polled.size(), 0);
    for (const pollfd& descriptor : polled) {
      if (descriptor.revents != 0) sink_.ready(descriptor, now);
    }
  }
  template <typename T>
  std::optional<T> next() {
    while (auto output = sink_.poll()) {
      if (auto* wanted = std::get_if<T>(&*output)) return std::move(*wanted);
    }
    return std::nullopt;
  }
  /// As the kernel does before it uses any other endpoint.
  void configure() {
    usbip::CmdSubmit command;
    command.sequence = 1;
    command.setup = usb::set_configuration(1);
    kernel_->send(usbip::encode(command));
    serve();
    const auto submit = next<Sink::Submit>();
    ASSERT_TRUE(submit.has_value());
    usb::Completion completion;
    completion.id = submit->transfer.id;
    sink_.completed(device_id, completion, now);
    ASSERT_EQ(kernel_->received().size(), usbip::command_size);
  }
  static Bytes get_device_descriptor(std::uint32_t sequence) {
    usbip::CmdSubmit command;
    command.sequence = sequence;
    command.in = true;
    command.length = 18;
    command.setup = usb::get_descriptor(usb::descriptor_type::device, 0, 0, 18);
    return usbip::encode(command);
  }

  std::shared_ptr<PlayedKernel> kernel_ = std::make_shared<PlayedKernel>();
  VhciSink sink_{kernel_};
};

TEST_F(VhciSinkTest, AttachesAndTellsThePort) {
  kernel_->next_port = 4;
  sink_.device_arrived(disk(), now);
  const auto report = next<Report>();
  ASSERT_TRUE(report.has_value());
  EXPECT_THAT(report->text, HasSubstr("attached as vhci port 4"));
  EXPECT_EQ(kernel_->speeds, std::vector<usb::Speed>{usb::Speed::high});
}

TEST_F(VhciSinkTest, CarriesATransferBothWays) {
  sink_.device_arrived(disk(), now);
  kernel_->send(get_device_descriptor(77));
  serve();
  const auto submit = next<Sink::Submit>();
  ASSERT_TRUE(submit.has_value());
  EXPECT_EQ(submit->device, device_id);
  EXPECT_EQ(submit->transfer.setup, usb::get_descriptor(usb::descriptor_type::device, 0, 0, 18));

  usb::Completion completion;
  completion.id = submit->transfer.id;
  completion.data = usb::encode(simulated_disk()->description().device);
  completion.actual_length = 18;
  sink_.completed(device_id, completion, now);
  const Bytes answer = kernel_->received();
  ASSERT_EQ(answer.size(), usbip::command_size + 18);
  const auto decoded = usbip::decode_command(ByteView(answer).first(usbip::command_size));
  ASSERT_TRUE(decoded.ok());
  const auto& ret = std::get<usbip::RetSubmit>(*decoded);
  EXPECT_EQ(ret.sequence, 77U);
  EXPECT_EQ(ret.status, 0);
  EXPECT_EQ(ret.actual_length, 18U);
}

TEST_F(VhciSinkTest, ACompletionThatLiesDoesNotReachTheKernelAsSuch) {
  sink_.device_arrived(disk(), now);
  kernel_->send(get_device_descriptor(1));
  serve();
  const auto submit = next<Sink::Submit>();
  ASSERT_TRUE(submit.has_value());
  usb::Completion lie;
  lie.id = submit->transfer.id;
  lie.data = Bytes(4096, 0x12);  // 18 were asked for
  lie.actual_length = 4096;
  sink_.completed(device_id, lie, now);
  const Bytes answer = kernel_->received();
  ASSERT_EQ(answer.size(), usbip::command_size);
  const auto decoded = usbip::decode_command(answer);
  ASSERT_TRUE(decoded.ok());
  EXPECT_LT(std::get<usbip::RetSubmit>(*decoded).status, 0);
  EXPECT_EQ(std::get<usbip::RetSubmit>(*decoded).actual_length, 0U);
  const auto notice = next<Report>();
  ASSERT_TRUE(notice.has_value());
  EXPECT_EQ(notice->level, rdpeusb::Level::warning);
}

TEST_F(VhciSinkTest, AnUnlinkBecomesACancel) {
  sink_.device_arrived(disk(), now);
  kernel_->send(get_device_descriptor(5));
  serve();
  const auto submit = next<Sink::Submit>();
  ASSERT_TRUE(submit.has_value());
  usbip::CmdUnlink unlink;
  unlink.sequence = 6;
  unlink.unlinked_sequence = 5;
  kernel_->send(usbip::encode(unlink));
  serve();
  const auto cancel = next<Sink::Cancel>();
  ASSERT_TRUE(cancel.has_value());
  EXPECT_EQ(cancel->transfer, submit->transfer.id);
}

TEST_F(VhciSinkTest, AnswersLargerThanTheSocketTakesAllArrive) {
  sink_.device_arrived(disk(), now);
  configure();
  constexpr std::uint32_t size = 1U << 20U;
  usbip::CmdSubmit command;
  command.sequence = 9;
  command.in = true;
  command.endpoint = 1;
  command.length = size;
  const SessionDevice described = disk();
  for (const auto& endpoint : described.description.configurations[0].interfaces[0].endpoints) {
    if ((endpoint.address & 0x80U) != 0) command.endpoint = endpoint.address & 0x0FU;
  }
  kernel_->send(usbip::encode(command));
  serve();
  const auto submit = next<Sink::Submit>();
  ASSERT_TRUE(submit.has_value());
  usb::Completion completion;
  completion.id = submit->transfer.id;
  completion.data = Bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    completion.data[i] = static_cast<std::uint8_t>(i * 31 >> 3);
  completion.actual_length = size;
  const Bytes expected = completion.data;
  sink_.completed(device_id, std::move(completion), now);
  Bytes answer;
  for (int i = 0; i < 1000 && answer.size() < usbip::command_size + size; ++i) {
    const Bytes part = kernel_->received();
    answer.insert(answer.end(), part.begin(), part.end());
    serve();
  }
  ASSERT_EQ(answer.size(), usbip::command_size + size);
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), answer.begin() + usbip::command_size));
}

TEST_F(VhciSinkTest, DetachesWhenTheDeviceIsGone) {
  kernel_->next_port = 2;
  sink_.device_arrived(disk(), now);
  sink_.device_gone(device_id, "unplugged", now);
  EXPECT_EQ(kernel_->detached, std::vector<std::uint32_t>{2});
  std::vector<pollfd> polled;
  sink_.add_polled(polled);
  EXPECT_TRUE(polled.empty());
  sink_.completed(device_id, usb::Completion{}, now);  // late ones are ignored
}

TEST_F(VhciSinkTest, DetachesAllAtTheSessionsEnd) {
  sink_.device_arrived(disk(1), now);
  sink_.device_arrived(disk(2), now);
  sink_.session_ended(now);
  EXPECT_EQ(kernel_->detached, (std::vector<std::uint32_t>{0, 1}));
}

TEST_F(VhciSinkTest, ADetachOnThisMachineGivesTheDeviceBack) {
  sink_.device_arrived(disk(), now);
  kernel_->hang_up();
  serve();
  const auto retract = next<Sink::Retract>();
  ASSERT_TRUE(retract.has_value());
  EXPECT_EQ(retract->device, device_id);
  EXPECT_THAT(retract->reason, HasSubstr("detached"));
  EXPECT_TRUE(kernel_->detached.empty()) << "the port may be somebody else's by now";
}

TEST_F(VhciSinkTest, NonsenseFromTheKernelsSideEndsTheDevice) {
  sink_.device_arrived(disk(), now);
  kernel_->send(Bytes(usbip::command_size, 0xFF));
  serve();
  const auto retract = next<Sink::Retract>();
  ASSERT_TRUE(retract.has_value());
  EXPECT_EQ(kernel_->detached, std::vector<std::uint32_t>{0});
}

TEST_F(VhciSinkTest, ARefusedAttachRetractsTheDevice) {
  kernel_->refusal = fail(ErrorCode::unavailable, "all ports are taken");
  sink_.device_arrived(disk(), now);
  const auto retract = next<Sink::Retract>();
  ASSERT_TRUE(retract.has_value());
  EXPECT_THAT(retract->reason, HasSubstr("all ports are taken"));
}

TEST_F(VhciSinkTest, DevicesDoNotMixUp) {
  sink_.device_arrived(disk(1), now);
  sink_.device_arrived(disk(2), now);
  kernel_->send(get_device_descriptor(10), 1);
  serve();
  const auto submit = next<Sink::Submit>();
  ASSERT_TRUE(submit.has_value());
  EXPECT_EQ(submit->device, 2U);
  usb::Completion completion;
  completion.id = submit->transfer.id;
  completion.status = usb::TransferStatus::stall;
  sink_.completed(2, completion, now);
  EXPECT_TRUE(kernel_->received(0).empty());
  EXPECT_EQ(kernel_->received(1).size(), usbip::command_size);
}

}  // namespace
}  // namespace tillbridge::terminal::vhci
