// A till for the tests: the real link, the real importer, and a Bulk-Only host behind them.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench.hpp"
#include "channel/link/endpoint.hpp"
#include "channel/massstorage/host.hpp"
#include "channel/transport/stream.hpp"
#include "channel/usb/device_reader.hpp"
#include "channel/usbip/importer.hpp"

namespace tillbridge::server::test {

/// One imported stick, or one that is being imported.
struct ImportedStick {
  explicit ImportedStick(std::string busid) : importer(std::move(busid)) {}
  usbip::Importer importer;
  bool imported = false;
  std::optional<std::string> failed;
  std::vector<usb::Completion> completions;
};

class TestTill {
 public:
  /// Connects with the certificate of `name`; `session` to claim that of another till.
  TestTill(Bench& bench, std::uint16_t port, const std::string& name,
           std::optional<link::SessionId> session = {});
  /// The same with these files.
  TestTill(Bench& bench, std::uint16_t port, const transport::TlsFiles& files,
           std::optional<link::SessionId> session = {});
  ~TestTill();
  TestTill(const TestTill&) = delete;
  TestTill& operator=(const TestTill&) = delete;
  TestTill(TestTill&&) = delete;
  TestTill& operator=(TestTill&&) = delete;

  std::vector<link::Granted> granted;
  std::vector<link::Revoked> revoked;
  std::vector<std::string> nothing;
  std::optional<std::string> goodbye;
  std::optional<std::string> refused;  ///< could not connect
  std::optional<std::string> failed;   ///< the session is over, and why
  std::vector<link::Welcome> welcome;
  std::vector<link::Renewed> renewed;
  std::vector<link::NotRenewed> not_renewed;
  std::vector<bool> resumed;  ///< for each connection that came about
  bool closed = false;
  bool holds = false;  ///< says so in its hello
  std::optional<link::Restarting> restarting;
  bool goodbye_for_restart = false;

  void hello();
  void say(const link::ControlMessage& message);
  void send_raw(link::StreamId stream, const Bytes& bytes);
  /// Cuts the connection without a word.
  void cut();
  /// Connects once more, to go on with the session; `port` if the server has another one now.
  void reconnect(std::optional<std::uint16_t> port = {});
  /// For the next connection.
  void use(const transport::TlsFiles& files);
  [[nodiscard]] const link::SessionId& session() const { return endpoint_.session(); }
  /// Neither reads nor answers any more, without closing.
  void fall_silent();

  /// Begins to import what was granted on this stream.
  ImportedStick& import(link::StreamId stream, const std::string& busid);
  void submit(link::StreamId stream, usb::Transfer transfer);
  void cancel(link::StreamId stream, usb::TransferId id);

  /// How this transfer ended; nothing while it runs. Twice is a failure of the test.
  [[nodiscard]] std::optional<usb::TransferStatus> completed(link::StreamId stream,
                                                             usb::TransferId id) const;

  // Each runs the loop until it is done, and fails the test otherwise.
  [[nodiscard]] bool connect_and_import();  ///< hello, first grant, import
  [[nodiscard]] std::optional<usb::Completion> transfer(link::StreamId stream,
                                                        usb::Transfer transfer);
  [[nodiscard]] Result<usb::DeviceDescription> describe(link::StreamId stream);
  /// SET_CONFIGURATION and one SCSI command.
  [[nodiscard]] std::optional<massstorage::CommandResult> command(link::StreamId stream,
                                                                  massstorage::BulkOnlyHost& host);
  [[nodiscard]] std::optional<massstorage::CommandResult> inquiry(link::StreamId stream);

 private:
  void connected(std::unique_ptr<transport::Stream> stream);
  void take_events();
  void flush();
  void pump(link::StreamId stream);

  void dial();

  Bench& bench_;
  std::uint16_t port_;
  std::optional<transport::TlsContext> tls_;
  link::Endpoint endpoint_;
  transport::Timer timer_;
  std::unique_ptr<transport::Connecting> connecting_;
  std::unique_ptr<transport::Stream> stream_;
  std::map<link::StreamId, std::unique_ptr<ImportedStick>> sticks_;
};

}  // namespace tillbridge::server::test
