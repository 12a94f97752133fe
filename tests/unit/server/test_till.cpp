#include "test_till.hpp"

#include <algorithm>
#include <utility>

#include <gtest/gtest.h>

#include "channel/usb/requests.hpp"

namespace tillbridge::server::test {

namespace {

link::SessionId next_session() {
  static std::uint8_t number = 0;
  link::SessionId session{};
  session[0] = 1;
  session[1] = ++number;
  return session;
}

}  // namespace

TestTill::TestTill(Bench& bench, std::uint16_t port, const std::string& name,
                   std::optional<link::SessionId> session)
    : TestTill(bench, port,
               transport::TlsFiles{Certificates::get().certificate(name),
                                   Certificates::get().key(name), Certificates::get().authority()},
               session) {}

TestTill::TestTill(Bench& bench, std::uint16_t port, const transport::TlsFiles& files,
                   std::optional<link::SessionId> session)
    : bench_(bench),
      port_(port),
      endpoint_(link::Side::till, session ? *session : next_session()),
      timer_(bench.loop) {
  use(files);
  if (!refused) dial();
}

void TestTill::use(const transport::TlsFiles& files) {
  auto tls = transport::TlsContext::load(files, transport::TlsContext::Side::client, link::alpn);
  if (tls) {
    tls_ = std::move(*tls);
  } else {
    refused = tls.error().message;
  }
}

void TestTill::dial() {
  connecting_ = transport::connect(bench_.loop, "127.0.0.1", port_, tls_, "localhost",
                                   [this](Result<std::unique_ptr<transport::Stream>> result) {
                                     if (result) {
                                       connected(std::move(*result));
                                     } else {
                                       refused = result.error().message;
                                     }
                                     bench_.poke();
                                   });
}

void TestTill::reconnect(std::optional<std::uint16_t> port) {
  if (port) port_ = *port;
  closed = false;
  refused.reset();
  dial();
}

TestTill::~TestTill() = default;

void TestTill::connected(std::unique_ptr<transport::Stream> stream) {
  stream_ = std::move(stream);
  endpoint_.connected(bench_.loop.now());
  stream_->start({[this](ByteView bytes) {
                    endpoint_.receive(bytes, bench_.loop.now());
                    take_events();
                  },
                  {},
                  [this](const std::optional<Error>& error) {
                    closed = true;
                    if (error) refused = error->message;
                    bench_.poke();
                  }});
  take_events();
}

void TestTill::take_events() {
  while (auto event = endpoint_.poll_event()) {
    if (const auto* established = std::get_if<link::Endpoint::Established>(&*event)) {
      resumed.push_back(established->resumed);
    } else if (auto* over = std::get_if<link::Endpoint::Failed>(&*event)) {
      failed = over->error.message;
    } else if (auto* control = std::get_if<link::Endpoint::Control>(&*event)) {
      if (auto* fresh = std::get_if<link::Renewed>(&control->message)) renewed.push_back(*fresh);
      if (auto* reason = std::get_if<link::NotRenewed>(&control->message))
        not_renewed.push_back(*reason);
      if (auto* greeting = std::get_if<link::Welcome>(&control->message))
        welcome.push_back(*greeting);
      if (auto* grant = std::get_if<link::Granted>(&control->message)) granted.push_back(*grant);
      if (auto* revocation = std::get_if<link::Revoked>(&control->message))
        revoked.push_back(*revocation);
      if (auto* message = std::get_if<link::NothingForYou>(&control->message))
        nothing.push_back(message->message);
      if (auto* farewell = std::get_if<link::Goodbye>(&control->message))
        goodbye = farewell->reason, goodbye_for_restart = farewell->restarting;
      if (auto* announcement = std::get_if<link::Restarting>(&control->message))
        restarting = *announcement;
    } else if (auto* data = std::get_if<link::Endpoint::Data>(&*event)) {
      const auto found = sticks_.find(data->stream);
      if (found == sticks_.end()) continue;
      found->second->importer.receive(data->bytes);
      pump(data->stream);
    }
  }
  flush();
  bench_.poke();
}

void TestTill::flush() {
  if (!stream_) return;
  Bytes bytes = endpoint_.take_output();
  if (!bytes.empty()) stream_->write(std::move(bytes));
  if (const auto deadline = endpoint_.next_deadline()) {
    timer_.arm(*deadline, [this] {
      endpoint_.advance(bench_.loop.now());
      take_events();
    });
  }
}

void TestTill::pump(link::StreamId stream) {
  ImportedStick& stick = *sticks_.at(stream);
  while (auto output = stick.importer.poll()) {
    if (auto* send = std::get_if<usbip::Importer::Send>(&*output)) {
      endpoint_.send(stream, std::move(send->bytes), bench_.loop.now());
    } else if (std::holds_alternative<usbip::Importer::Imported>(*output)) {
      stick.imported = true;
    } else if (auto* completed = std::get_if<usbip::Importer::Completed>(&*output)) {
      stick.completions.push_back(std::move(completed->completion));
    } else if (auto* problem = std::get_if<usbip::Importer::Failed>(&*output)) {
      stick.failed = problem->error.message;
    }
  }
  bench_.poke();
}

void TestTill::hello() {
  say(link::Hello{.software = "test",
                  .client_name = "pos",
                  .user = "anna",
                  .domain = "shop",
                  .terminal_server = "ts1",
                  .holds = holds});
}

void TestTill::say(const link::ControlMessage& message) {
  endpoint_.send_control(message, bench_.loop.now());
  flush();
}

void TestTill::send_raw(link::StreamId stream, const Bytes& bytes) {
  endpoint_.send(stream, ByteView(bytes), bench_.loop.now());
  flush();
}

void TestTill::cut() {
  timer_.cancel();
  stream_.reset();
  endpoint_.disconnected(bench_.loop.now());
}

void TestTill::fall_silent() {
  timer_.cancel();
  stream_->pause_reading();
}

ImportedStick& TestTill::import(link::StreamId stream, const std::string& busid) {
  auto& stick = sticks_[stream];
  stick = std::make_unique<ImportedStick>(busid);
  stick->importer.start();
  pump(stream);
  flush();
  return *stick;
}

void TestTill::submit(link::StreamId stream, usb::Transfer transfer) {
  sticks_.at(stream)->importer.submit(std::move(transfer));
  pump(stream);
  flush();
}

void TestTill::cancel(link::StreamId stream, usb::TransferId id) {
  sticks_.at(stream)->importer.cancel(id);
  pump(stream);
  flush();
}

std::optional<usb::TransferStatus> TestTill::completed(link::StreamId stream,
                                                       usb::TransferId id) const {
  std::optional<usb::TransferStatus> status;
  for (const usb::Completion& completion : sticks_.at(stream)->completions) {
    if (completion.id != id) continue;
    if (status) ADD_FAILURE() << "transfer " << id << " completed twice";
    status = completion.status;
  }
  return status;
}

bool TestTill::connect_and_import() {
  const std::size_t before = granted.size();  // of an earlier session
  hello();                                    // waits in the endpoint for the connection
  if (!bench_.run_until([&] { return granted.size() > before || refused || closed; }) ||
      granted.size() == before) {
    return false;
  }
  const ImportedStick& stick = import(granted.back().stream, granted.back().busid);
  return bench_.run_until([&] { return stick.imported || stick.failed; }) && stick.imported;
}

std::optional<usb::Completion> TestTill::transfer(link::StreamId stream, usb::Transfer transfer) {
  ImportedStick& stick = *sticks_.at(stream);
  const usb::TransferId id = transfer.id;
  const auto found = [&] {
    for (const usb::Completion& completion : stick.completions) {
      if (completion.id == id) return true;
    }
    return false;
  };
  submit(stream, std::move(transfer));
  if (!bench_.run_until(found)) return std::nullopt;
  const auto place = std::find_if(stick.completions.begin(), stick.completions.end(),
                                  [id](const usb::Completion& one) { return one.id == id; });
  usb::Completion completion = std::move(*place);
  stick.completions.erase(place);
  return completion;
}

Result<usb::DeviceDescription> TestTill::describe(link::StreamId stream) {
  usb::DeviceReader reader(usb::Speed::high, "test");
  usb::TransferId id = 1000;
  while (auto next = reader.next(++id)) {
    const auto completion = transfer(stream, *next);
    if (!completion) return fail(ErrorCode::unavailable, "no answer");
    reader.complete(*completion);
  }
  return reader.result();
}

std::optional<massstorage::CommandResult> TestTill::command(link::StreamId stream,
                                                            massstorage::BulkOnlyHost& host) {
  std::optional<massstorage::CommandResult> result;
  while (!(result = host.poll_result())) {
    const auto next = host.poll_transfer();
    if (!next) return std::nullopt;
    const auto completion = transfer(stream, *next);
    if (!completion) return std::nullopt;
    host.complete(*completion);
  }
  return result;
}

std::optional<massstorage::CommandResult> TestTill::inquiry(link::StreamId stream) {
  const auto description = describe(stream);
  if (!description) return std::nullopt;
  auto host = massstorage::BulkOnlyHost::create(*description);
  if (!host) return std::nullopt;
  const auto configured = transfer(
      stream, usb::control_transfer(77, usb::set_configuration(host->configuration_value())));
  if (!configured || configured->status != usb::TransferStatus::success) return std::nullopt;
  if (!host->inquiry()) return std::nullopt;
  return command(stream, *host);
}

}  // namespace tillbridge::server::test
