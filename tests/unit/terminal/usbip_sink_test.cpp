// The USB/IP sink with real sockets on the loopback and usbip::Importer as the client.
#include "server/terminal/exports/usbip_sink.hpp"

#include <chrono>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <unistd.h>

#include "channel/bytes/limits.hpp"
#include "channel/usb/device_reader.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usbip/codec.hpp"
#include "channel/usbip/importer.hpp"
#include "tests/unit/terminal/test_device.hpp"

namespace tillbridge::terminal::exports {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

constexpr DeviceId device_id = 3;

/// A client's socket; non-blocking but for a patience that no good run comes near.
class ClientSocket {
 public:
  explicit ClientSocket(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~ClientSocket() { close(); }
  ClientSocket(const ClientSocket&) = delete;
  ClientSocket& operator=(const ClientSocket&) = delete;
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }
  void send(const Bytes& bytes) {
    EXPECT_EQ(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  /// What has come; nothing at the end of the connection.
  std::optional<Bytes> received() {
    Bytes part(1U << 16U);
    const ssize_t size = ::recv(socket_, part.data(), part.size(), MSG_DONTWAIT);
    if (size == 0) return std::nullopt;
    part.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return part;
  }

 private:
  int socket_;
};

class UsbipSinkTest : public testing::Test {
 protected:
  UsbipSinkTest() {
    const auto listening = next<Report>();
    port_ = static_cast<std::uint16_t>(std::get<std::int64_t>(listening->fields.at(1).value));
  }
  SessionDevice disk(DeviceId id = device_id) {
    SessionDevice device;
    device.id = id;
    device.description = simulated_disk("simulated-" + std::to_string(id))->description();
    return device;
  }
  /// Lets the sink see whatever becomes ready on its descriptors within `patience_ms`.
  bool serve(int patience_ms = 2000) {
    std::vector<pollfd> polled;
    sink_.add_polled(polled);
    const int count = ::poll(polled.data(), polled.size(), patience_ms);
    for (const pollfd& descriptor : polled) {
      if (descriptor.revents != 0) sink_.ready(descriptor, now_);
    }
    sink_.advance(now_);
    return count > 0;
  }
  void serve_all() {
    while (serve(0)) {
    }
  }
  template <typename T>
  std::optional<T> next() {
    while (auto output = sink_.poll()) {
      if (auto* wanted = std::get_if<T>(&*output)) return std::move(*wanted);
    }
    return std::nullopt;
  }
  /// Until the sink has something of this kind to say.
  template <typename T>
  T await() {
    for (int round = 0; round < 100; ++round) {
      if (auto output = next<T>()) return std::move(*output);
      serve();
    }
    ADD_FAILURE() << "the sink said nothing of the kind";
    return T{};
  }
  /// Until the client has this many bytes, or its connection's end.
  Bytes await_bytes(ClientSocket& client, std::size_t size) {
    Bytes all;
    for (int round = 0; round < 20000 && all.size() < size; ++round) {
      const auto part = client.received();
      if (!part) break;
      all.insert(all.end(), part->begin(), part->end());
      if (part->empty()) serve(1);
    }
    return all;
  }
  bool await_end(ClientSocket& client) {
    for (int round = 0; round < 1000; ++round) {
      if (!client.received()) return true;
      serve(1);
    }
    return false;
  }
  std::uint32_t import_status(ClientSocket& client, const std::string& bus_id) {
    client.send(usbip::encode_import_request(bus_id));
    const Bytes answer =
        await_bytes(client, usbip::OperationHeader::size + usbip::DeviceRecord::size);
    const auto header =
        usbip::decode_operation_header(ByteView(answer).first(usbip::OperationHeader::size));
    const bool granted = header->status == 0;
    EXPECT_THAT(answer,
                SizeIs(usbip::OperationHeader::size + (granted ? usbip::DeviceRecord::size : 0)));
    return header->status;
  }
  void await_released() {
    while (await<Report>().event != "released" && !HasFailure()) {
    }
  }
  std::string bus_id() { return bus_id_of(disk()); }
  static Bytes get_device_descriptor(std::uint32_t sequence) {
    usbip::CmdSubmit command;
    command.sequence = sequence;
    command.in = true;
    command.length = 18;
    command.setup = usb::get_descriptor(usb::descriptor_type::device, 0, 0, 18);
    return usbip::encode(command);
  }

  UsbipSink sink_{"127.0.0.1", 0};
  std::uint16_t port_ = 0;
  Instant now_{5};
};

TEST_F(UsbipSinkTest, TellsWhereItListens) {
  EXPECT_NE(port_, 0);
  UsbipSink taken("127.0.0.1", port_);
  const auto report = std::get<Report>(*taken.poll());
  EXPECT_EQ(report.event, "usbip_failed");
  EXPECT_THAT(report.text, HasSubstr("--usbip-listen"));
  EXPECT_TRUE(std::holds_alternative<Sink::EndSession>(*taken.poll()));
}

TEST_F(UsbipSinkTest, WarnsWhenOthersCanReachIt) {
  UsbipSink open("0.0.0.0", 0);
  EXPECT_EQ(std::get<Report>(*open.poll()).event, "usbip_listening");
  const auto warning = std::get<Report>(*open.poll());
  EXPECT_EQ(warning.level, rdpeusb::Level::warning);
  EXPECT_THAT(warning.text, HasSubstr("no password"));
}

TEST_F(UsbipSinkTest, ListsTheSessionsDevices) {
  sink_.device_arrived(disk(1), now_);
  sink_.device_arrived(disk(2), now_);
  ClientSocket client(port_);
  client.send(usbip::encode_device_list_request());
  const std::size_t one = usbip::DeviceRecord::size + usbip::interface_record_size;
  const std::size_t header = usbip::OperationHeader::size + 4 /* number of devices */;
  const Bytes answer = await_bytes(client, header + 2 * one);
  ASSERT_THAT(answer, SizeIs(header + 2 * one));
  std::vector<std::string> bus_ids;
  for (const std::size_t at : {header, header + one}) {
    const auto record =
        usbip::decode_device_record(ByteView(answer).subspan(at, usbip::DeviceRecord::size));
    bus_ids.push_back(record->busid);
  }
  EXPECT_THAT(bus_ids, ElementsAre(bus_id_of(disk(1)), bus_id_of(disk(2))));
  EXPECT_TRUE(await_end(client));
}

TEST_F(UsbipSinkTest, CarriesTransfersOfAClientThatImports) {
  const auto device = simulated_disk();
  SessionDevice arrived;
  arrived.id = device_id;
  arrived.description = device->description();
  sink_.device_arrived(arrived, now_);
  ClientSocket client(port_);
  usbip::Importer importer(bus_id_of(arrived));
  importer.start();
  usb::DeviceReader reader(usb::Speed::high, "");
  bool imported = false;
  for (int round = 0; round < 1000 && !reader.done(); ++round) {
    while (auto output = importer.poll()) {
      if (auto* bytes = std::get_if<usbip::Importer::Send>(&*output)) {
        client.send(bytes->bytes);
      } else if (const auto* completed = std::get_if<usbip::Importer::Completed>(&*output)) {
        reader.complete(completed->completion);
      } else if (std::holds_alternative<usbip::Importer::Imported>(*output)) {
        imported = true;
      } else {
        FAIL() << std::get<usbip::Importer::Failed>(*output).error.message;
      }
    }
    if (imported) {
      if (auto transfer = reader.next(1)) importer.submit(std::move(*transfer));
    }
    serve(1);
    while (auto output = sink_.poll()) {
      if (auto* submit = std::get_if<Sink::Submit>(&*output)) {
        EXPECT_EQ(submit->device, device_id);
        device->submit(std::move(submit->transfer), now_);
      }
    }
    for (auto& completion : completions_of(*device, now_)) {
      sink_.completed(device_id, std::move(completion), now_);
    }
    importer.receive(client.received().value());
  }
  ASSERT_TRUE(reader.done());
  EXPECT_EQ(reader.result()->serial, device->description().serial);
}

TEST_F(UsbipSinkTest, LendsADeviceToOneClientOnly) {
  sink_.device_arrived(disk(), now_);
  ClientSocket first(port_);
  EXPECT_EQ(import_status(first, bus_id()), 0U);
  ClientSocket second(port_);
  EXPECT_EQ(import_status(second, bus_id()),
            static_cast<std::uint32_t>(usbip::OperationStatus::busy));
  EXPECT_TRUE(await_end(second));
  ClientSocket third(port_);
  EXPECT_EQ(import_status(third, "1-1"),
            static_cast<std::uint32_t>(usbip::OperationStatus::no_such_device));
  first.close();
  await_released();
  ClientSocket fourth(port_);
  EXPECT_EQ(import_status(fourth, bus_id()), 0U);
}

TEST_F(UsbipSinkTest, ADeviceIsLentAgainOnceWhatTheLastClientLeftHasEnded) {
  sink_.device_arrived(disk(), now_);
  ClientSocket first(port_);
  ASSERT_EQ(import_status(first, bus_id()), 0U);
  first.send(get_device_descriptor(1));
  const auto submit = await<Sink::Submit>();
  first.close();
  const auto cancel = await<Sink::Cancel>();
  EXPECT_EQ(cancel.transfer, submit.transfer.id);

  ClientSocket second(port_);
  EXPECT_EQ(import_status(second, bus_id()),
            static_cast<std::uint32_t>(usbip::OperationStatus::busy));
  usb::Completion completion;
  completion.id = submit.transfer.id;
  completion.status = usb::TransferStatus::cancelled;
  sink_.completed(device_id, completion, now_);
  ClientSocket third(port_);
  EXPECT_EQ(import_status(third, bus_id()), 0U);
}

TEST_F(UsbipSinkTest, AClientOfADeviceThatIsGoneHearsItAndIsHungUp) {
  sink_.device_arrived(disk(), now_);
  ClientSocket client(port_);
  ASSERT_EQ(import_status(client, bus_id()), 0U);
  client.send(get_device_descriptor(1));
  usb::Completion completion;
  completion.id = await<Sink::Submit>().transfer.id;
  completion.status = usb::TransferStatus::device_gone;
  sink_.completed(device_id, completion, now_);
  sink_.device_gone(device_id, "unplugged", now_);
  const Bytes answer = await_bytes(client, usbip::command_size);
  ASSERT_THAT(answer, SizeIs(usbip::command_size));
  EXPECT_LT(std::get<usbip::RetSubmit>(*usbip::decode_command(answer)).status, 0);
  EXPECT_TRUE(await_end(client));
  ClientSocket next_client(port_);
  EXPECT_EQ(import_status(next_client, bus_id()),
            static_cast<std::uint32_t>(usbip::OperationStatus::no_such_device));
}

TEST_F(UsbipSinkTest, SilentClientsAreHungUp) {
  sink_.device_arrived(disk(), now_);
  ClientSocket silent(port_), importing(port_);
  serve_all();
  ASSERT_EQ(import_status(importing, bus_id()), 0U);
  ASSERT_TRUE(sink_.next_deadline().has_value());
  now_ = *sink_.next_deadline();
  EXPECT_TRUE(await_end(silent));
  EXPECT_FALSE(sink_.next_deadline().has_value()) << "one that has a device may be silent";
  EXPECT_TRUE(importing.received().has_value());
}

TEST_F(UsbipSinkTest, TooManyClientsAreRefused) {
  std::vector<std::unique_ptr<ClientSocket>> clients;
  for (std::size_t i = 0; i < limits::usbip_sink_clients; ++i) {
    clients.push_back(std::make_unique<ClientSocket>(port_));
    serve_all();
  }
  ClientSocket late(port_);
  EXPECT_TRUE(await_end(late));
  EXPECT_TRUE(clients.front()->received().has_value());
}

TEST_F(UsbipSinkTest, NonsenseEndsTheConnectionAndFreesTheDevice) {
  sink_.device_arrived(disk(), now_);
  ClientSocket client(port_);
  ASSERT_EQ(import_status(client, bus_id()), 0U);
  client.send(Bytes(usbip::command_size, 0xFF));
  EXPECT_TRUE(await_end(client));
  await_released();
  ClientSocket other(port_);
  EXPECT_EQ(import_status(other, bus_id()), 0U);
}

TEST_F(UsbipSinkTest, AClientThatDoesNotReadIsNotReadFrom) {
  sink_.device_arrived(disk(), now_);
  ClientSocket client(port_);
  ASSERT_EQ(import_status(client, bus_id()), 0U);
  // Answers of 4 KiB for requests of 48 bytes, until the sink stops taking them.
  std::uint32_t sequence = 0;
  std::size_t submitted = 0;
  usbip::CmdSubmit command;
  command.in = true;
  command.length = 4096;
  command.setup = usb::get_descriptor(usb::descriptor_type::string, 1, 0x409, 4096);
  for (int idle = 0; idle < 20 && submitted < 100000;) {
    if (sequence < submitted + 64) {
      command.sequence = ++sequence;
      client.send(usbip::encode(command));
    }
    serve(idle > 0 ? 1 : 0);
    ++idle;
    while (auto submit = next<Sink::Submit>()) {
      idle = 0;
      ++submitted;
      usb::Completion completion;
      completion.id = submit->transfer.id;
      completion.data = Bytes(4096);
      completion.actual_length = 4096;
      sink_.completed(device_id, std::move(completion), now_);
    }
  }
  EXPECT_LT(submitted, 10000U) << "above 4 MiB, and what the sockets hold, it has to stop";
  // All that was asked for arrives when the client reads again.
  const std::size_t answer = usbip::command_size + 4096;
  EXPECT_THAT(await_bytes(client, submitted * answer), SizeIs(submitted * answer));
}

TEST_F(UsbipSinkTest, BusIdsAreStableAndFit) {
  SessionDevice device;
  device.description.device.vendor_id = 0x1209;
  device.description.device.product_id = 0x0003;
  device.description.serial = "5A2F00000001";
  EXPECT_EQ(bus_id_of(device), "1209:0003:5A2F00000001");
  device.description.serial = "5A2F 0001/" + std::string(40, 'x');
  const std::string cut = bus_id_of(device);
  EXPECT_THAT(cut, SizeIs(31));
  EXPECT_EQ(bus_id_of(device), cut);
  device.description.serial.back() = 'y';
  EXPECT_NE(bus_id_of(device), cut);
  device.description.serial.clear();
  device.announced.instance_id = "port 1";
  const std::string first = bus_id_of(device);
  device.announced.instance_id = "port 2";
  EXPECT_NE(bus_id_of(device), first);
}

TEST_F(UsbipSinkTest, TwoDevicesThatClaimToBeTheSameHaveTwoBusIds) {
  SessionDevice twin = disk(1);
  sink_.device_arrived(twin, now_);
  twin.id = 2;
  sink_.device_arrived(twin, now_);
  ClientSocket first(port_), second(port_);
  EXPECT_EQ(import_status(first, bus_id_of(twin)), 0U);
  EXPECT_EQ(import_status(second, bus_id_of(twin) + "-2"), 0U);
}

}  // namespace
}  // namespace tillbridge::terminal::exports
