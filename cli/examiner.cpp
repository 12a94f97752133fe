#include "cli/examiner.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <memory>
#include <random>
#include <utility>
#include <variant>

#include "channel/link/endpoint.hpp"
#include "channel/massstorage/host.hpp"
#include "channel/transport/deadline.hpp"
#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "plugin/stick.hpp"

namespace tillbridge::cli {

namespace {

using State = Finding::State;

constexpr Duration answer_within = std::chrono::seconds(15);
/// A server that has a stick for this till says so at once.
constexpr Duration settle_within = std::chrono::seconds(3);
constexpr Duration measure_every = std::chrono::milliseconds(40);
constexpr std::size_t link_samples = 25, command_samples = 11;
/// More than this between till and server is worth a word; certificates mind hours.
constexpr std::int64_t clock_apart_s = 60;

RoundTrips summary(std::vector<Duration> samples) {
  std::sort(samples.begin(), samples.end());
  return {samples.size(), samples.front(), samples[samples.size() / 2], samples.back()};
}

std::string milliseconds(Duration duration) {
  std::array<char, 32> text{};
  const auto size = std::snprintf(text.data(), text.size(), "%.2f ms",
                                  static_cast<double>(duration.count()) / 1000);
  return {text.data(), static_cast<std::size_t>(size)};
}

std::string text_of(const RoundTrips& times) {
  return milliseconds(times.median) + " (" + milliseconds(times.least) + " to " +
         milliseconds(times.most) + ", " + std::to_string(times.samples) + " times)";
}

/// One examination while it goes on; ends the loop when it has found out all that it can.
class Examiner {
 public:
  Examiner(Examination& found, plugin::ServerSource source)
      : found_(found),
        source_(std::move(source)),
        deadline_(loop_,
                  [this] {
                    endpoint_.advance(loop_.now());
                    pump();
                  }),
        patience_(loop_),
        sampling_(loop_),
        signals_(loop_, {SIGINT, SIGTERM}, [this](int) {
          found_.exit = Exit::interrupted;
          loop_.stop();
        }) {}

  void run() {
    auto tls = transport::TlsContext::load({source_.certificate, source_.key, source_.authority},
                                           transport::TlsContext::Side::client, link::alpn);
    if (!tls) {
      failed(Exit::usage, trouble("tls", tls.error().message,
                                  "correct [tls] in the till's configuration, or pair anew"));
      return;
    }
    patience_.arm(loop_.now() + answer_within, [this] {
      failed(Exit::unreachable, {"tls", State::failed, "the server does not answer in time",
                                 "look whether something between here and there drops packets"});
    });
    const Instant began = loop_.now();
    connecting_ =
        transport::connect(loop_, source_.host, source_.port, std::move(*tls), source_.name,
                           [this, began](Result<std::unique_ptr<transport::Stream>> result) {
                             connecting_.reset();
                             connected(std::move(result), loop_.now() - began);
                           });
    loop_.run();
  }

 private:
  enum class Step : std::uint8_t { greeting, lease, importing, commands, pinging, done };

  static link::SessionId new_session() {
    std::random_device source;
    link::SessionId session{};
    for (auto& byte : session) byte = static_cast<std::uint8_t>(source() & 0xFFU);
    return session;
  }

  void note(Finding finding) { found_.findings.push_back(std::move(finding)); }
  void failed(Exit exit, Finding finding) {
    if (found_.exit == Exit::success) found_.exit = exit;
    note(std::move(finding));
    finish();
  }
  void finish() {
    step_ = Step::done;
    patience_.cancel();
    sampling_.cancel();
    deadline_.cancel();
    if (stream_ && welcomed_) {
      if (stream_id_ != 0) endpoint_.send_control(link::Released{stream_id_}, loop_.now());
      endpoint_.send_control(link::Goodbye{"the examination is over"}, loop_.now());
      flush();
    }
    if (stream_) {
      // closed() ends the loop once all is sent.
      stream_->close();
    } else {
      loop_.stop();
    }
  }

  // --- TLS

  void connected(Result<std::unique_ptr<transport::Stream>> result, Duration took) {
    if (!result) {
      const Error& error = result.error();
      const bool refused = error.code == ErrorCode::refused;
      failed(refused ? Exit::refused : Exit::unreachable,
             trouble("tls", error.message,
                     "look whether tillbridged runs there, and whether a firewall lets port " +
                         std::to_string(source_.port) + " through"));
      return;
    }
    stream_ = std::move(*result);
    found_.address = stream_->peer().address;
    note({"tls",
          State::ok,
          "TLS 1.3 with \"" + stream_->peer().name + "\" at " + found_.address + " after " +
              milliseconds(took),
          {}});
    note({"fingerprint",
          State::ok,
          "the server's certificate " + stream_->peer().fingerprint.substr(0, 16) +
              "... is from this till's authority, whose words are \"" + found_.words +
              "\" (the USB server shows the same ones)",
          {}});
    endpoint_.measure_every(measure_every);
    endpoint_.connected(loop_.now());
    stream_->start({[this](ByteView bytes) {
                      endpoint_.receive(bytes, loop_.now());
                      pump();
                    },
                    [this] { pump(); },
                    [this](const std::optional<Error>& error) { closed(error); }});
    patience_.arm(loop_.now() + answer_within, [this] {
      failed(Exit::failed, {"link", State::failed, "the server does not say hello",
                            "look into the USB server's log"});
    });
    pump();
  }

  void closed(const std::optional<Error>& error) {
    stream_.reset();
    if (step_ != Step::done) {
      const bool refused = error && error->code == ErrorCode::refused;
      const std::string why = !goodbye_.empty() ? goodbye_
                              : error           ? error->message
                                                : "the server closed the connection";
      if (!welcomed_) {
        // With TLS 1.3 a server refuses the till's certificate only now.
        failed(refused ? Exit::refused : Exit::failed,
               trouble(refused ? "fingerprint" : "link", why,
                       "look into the USB server's log; if this till was revoked, pair it anew"));
        return;
      }
      failed(Exit::failed, trouble("link", why, "run this again"));
      return;
    }
    loop_.stop();
  }

  // --- the link

  void pump() {
    if (pumping_) return;
    pumping_ = true;
    while (auto event = endpoint_.poll_event()) {
      if (auto* data = std::get_if<link::Endpoint::Data>(&*event)) {
        if (stick_ && data->stream == stream_id_) stick_->receive(data->bytes);
      } else if (auto* control = std::get_if<link::Endpoint::Control>(&*event)) {
        heard(control->message);
      } else if (std::holds_alternative<link::Endpoint::Established>(*event)) {
        greet();
      } else {
        const Error& error = std::holds_alternative<link::Endpoint::Lost>(*event)
                                 ? std::get<link::Endpoint::Lost>(*event).error
                                 : std::get<link::Endpoint::Failed>(*event).error;
        if (step_ != Step::done) failed(Exit::failed, trouble("link", error.message));
      }
    }
    while (endpoint_.poll_warning()) {
    }
    pump_stick();
    pumping_ = false;
    flush();
    if (step_ != Step::done) deadline_.set(endpoint_.next_deadline());
  }

  void flush() {
    if (!stream_) return;
    Bytes bytes = endpoint_.take_output();
    if (!bytes.empty()) stream_->write(std::move(bytes));
  }

  void greet() {
    link::Hello hello;
    hello.software = "tillbridge doctor " TILLBRIDGE_VERSION;
    hello.examines = true;
    endpoint_.send_control(hello, loop_.now());
  }

  void heard(const link::ControlMessage& message) {
    if (const auto* welcome = std::get_if<link::Welcome>(&message)) {
      welcomed(*welcome);
    } else if (const auto* grant = std::get_if<link::Granted>(&message)) {
      if (step_ == Step::lease) granted(*grant);
    } else if (const auto* nothing = std::get_if<link::NothingForYou>(&message)) {
      if (step_ != Step::lease) return;
      failed_lease_ = true;
      note(trouble("lease", nothing->message, "map a stick to this till on the USB server"));
      found_.exit = Exit::not_found;
      begin_pinging();
    } else if (const auto* revoked = std::get_if<link::Revoked>(&message)) {
      if (revoked->stream != stream_id_ || step_ == Step::done) return;
      stream_id_ = 0;
      stick_.reset();
      if (step_ == Step::pinging) return;
      found_.exit = Exit::failed;
      note({"stick", State::failed,
            revoked->unplugged ? "the stick was unplugged meanwhile"
                               : "the server took the stick back: " + revoked->reason,
            revoked->unplugged ? "plug it in again" : "run this again"});
      begin_pinging();
    } else if (const auto* goodbye = std::get_if<link::Goodbye>(&message)) {
      goodbye_ = goodbye->reason;
    }
  }

  void welcomed(const link::Welcome& welcome) {
    if (std::exchange(welcomed_, true)) return;
    note({"link", State::ok, welcome.software + " greets this till", {}});
    if (welcome.time_s != 0) compare_clocks(welcome.time_s);
    if (!welcome.busy.empty()) {
      found_.in_use = true;
      note({"lease",
            State::ok,
            welcome.busy + "; it is left alone, and only the link is measured",
            {}});
      note({"stick", State::skipped, "in use by this till's session", {}});
      note({"inquiry", State::skipped, "in use by this till's session", {}});
      begin_pinging();
      return;
    }
    step_ = Step::lease;
    patience_.arm(loop_.now() + settle_within, [this] {
      found_.exit = Exit::not_found;
      note({"lease", State::failed, "the server offers this till no stick, and does not say why",
            "look into the USB server's log and on its page"});
      begin_pinging();
      pump();
    });
  }

  void compare_clocks(std::int64_t server) {
    const std::int64_t ahead = unix_now() - server;
    if (std::abs(ahead) <= clock_apart_s) return;
    note({"clock", State::warning,
          "this till's clock is " + std::to_string(std::abs(ahead)) + " s " +
              (ahead > 0 ? "ahead of" : "behind") + " the USB server's",
          "let both keep time with the same time server (timedatectl set-ntp true)"});
  }

  void granted(const link::Granted& grant) {
    stream_id_ = grant.stream;
    found_.pipeline = grant.pipeline;
    found_.stick = grant.label.empty() ? grant.busid : grant.label;
    note({"lease",
          State::ok,
          "the server gives this till stick " + found_.stick + " (reset = " + grant.reset_policy +
              ", pipeline = " + (grant.pipeline ? "on" : "off") + ")",
          {}});
    step_ = Step::importing;
    patience_.arm(loop_.now() + answer_within, [this] {
      stick_failed("stick", "the stick did not tell what it is in time",
                   "pull it out of the USB server and plug it in again");
      pump();
    });
    stick_.emplace(grant.busid, grant.pipeline);
    stick_->start();
  }

  // --- the stick

  void stick_failed(const std::string& step, const std::string& text, const std::string& remedy) {
    if (found_.exit == Exit::success) found_.exit = Exit::failed;
    note({step, State::failed, text, remedy});
    begin_pinging();
  }

  void pump_stick() {
    while (stick_ && step_ != Step::done) {
      auto output = stick_->poll();
      if (!output) break;
      if (auto* send = std::get_if<plugin::Stick::Send>(&*output)) {
        if (stream_id_ != 0) endpoint_.send(stream_id_, std::move(send->bytes), loop_.now());
      } else if (auto* ready = std::get_if<plugin::Stick::Ready>(&*output)) {
        described(ready->description);
      } else if (auto* completed = std::get_if<plugin::Stick::Completed>(&*output)) {
        if (configuring_ && completed->completion.id == configuring_id) {
          configured(completed->completion.status);
        } else if (host_) {
          host_->complete(completed->completion);
          drive();
        }
      } else if (auto* failure = std::get_if<plugin::Stick::Failed>(&*output)) {
        const Finding finding =
            trouble("stick", "stick " + found_.stick + " cannot be used: " + failure->error.message,
                    "pull it out of the USB server and plug it in again");
        stick_failed("stick", finding.text, finding.remedy);
      }
    }
  }

  void described(const usb::DeviceDescription& device) {
    found_.stick = device.label();
    note({"stick",
          State::ok,
          found_.stick + (device.product.empty() ? "" : ", \"" + device.product + "\"") + ", " +
              std::string(usb::name(device.speed)),
          {}});
    auto host = massstorage::BulkOnlyHost::create(device);
    if (!host) {
      note({"inquiry",
            State::skipped,
            "this stick is no mass storage: it has no INQUIRY, and its line is left alone",
            {}});
      begin_pinging();
      return;
    }
    host_.emplace(std::move(*host));
    found_.mass_storage = true;
    step_ = Step::commands;
    patience_.arm(loop_.now() + answer_within, [this] {
      stick_failed("inquiry", "the stick does not answer",
                   "wait until its self test is over (up to a minute); then pull it out of the USB "
                   "server and plug it in again");
      pump();
    });
    // One that is configured already is left as it is.
    if (device.active_configuration == host_->configuration_value()) {
      inquire();
      return;
    }
    configuring_ = true;
    stick_->submit(usb::control_transfer(
        configuring_id, usb::SetupPacket{0x00, 9, host_->configuration_value(), 0, 0}));
  }

  void configured(usb::TransferStatus status) {
    configuring_ = false;
    if (status != usb::TransferStatus::success) {
      stick_failed("inquiry", "the stick cannot be configured: " + std::string(usb::name(status)),
                   "pull it out of the USB server and plug it in again");
      return;
    }
    inquire();
  }

  void inquire() {
    if (host_->inquiry()) drive();
  }

  void drive() {
    while (auto transfer = host_->poll_transfer()) stick_->submit(std::move(*transfer));
    const auto result = host_->poll_result();
    if (!result || step_ != Step::commands) return;
    if (result->outcome == massstorage::Outcome::device_gone) {
      stick_failed("stick", "the stick was unplugged meanwhile", "plug it in again");
      return;
    }
    if (!asked_who_) {
      asked_who_ = true;
      if (!result->good()) {
        stick_failed("inquiry", "INQUIRY failed: " + result->message,
                     "pull the stick out of the USB server and plug it in again");
        return;
      }
      const auto field = [&](std::size_t at, std::size_t size) {
        std::string text;
        for (std::size_t index = at; index < at + size && index < result->data.size(); ++index) {
          const char character = static_cast<char>(result->data[index]);
          text += character >= ' ' && character < 0x7F ? character : '?';
        }
        while (!text.empty() && text.back() == ' ') text.pop_back();
        return text;
      };
      found_.vendor = field(8, 8);
      found_.product = field(16, 16);
      note({"inquiry", State::ok, "\"" + found_.vendor + "\" \"" + found_.product + "\"", {}});
    } else if (result->good()) {
      command_times_.push_back(loop_.now() - command_began_);
    } else if (result->outcome != massstorage::Outcome::check_condition) {
      stick_failed("inquiry", "TEST UNIT READY failed: " + result->message,
                   "pull the stick out of the USB server and plug it in again");
      return;
    } else if (++not_ready_ > 3) {  // what happened since the last command is said once
      note({"inquiry", State::warning, "the stick is not ready: " + result->message,
            "look whether its medium is there"});
      begin_pinging();
      return;
    }
    if (command_times_.size() == command_samples) {
      // The first one warms up what is between here and there.
      command_times_.erase(command_times_.begin());
      found_.command = summary(command_times_);
      begin_pinging();
      return;
    }
    command_began_ = loop_.now();
    if (host_->test_unit_ready()) drive();
  }

  // --- round trips

  void begin_pinging() {
    if (step_ == Step::pinging || step_ == Step::done) return;
    step_ = Step::pinging;
    patience_.arm(loop_.now() + answer_within, [this] {
      failed(Exit::failed, {"round_trips", State::failed, "the server answers no ping",
                            "look whether something between here and there drops packets"});
    });
    sample();
  }

  void sample() {
    if (const auto newest = endpoint_.round_trip()) link_times_.push_back(*newest);
    if (link_times_.size() >= link_samples) {
      found_.link = summary(link_times_);
      note({"round_trips",
            State::ok,
            "link " + text_of(*found_.link) +
                (found_.command ? "; a SCSI command " + text_of(*found_.command) : ""),
            {}});
      finish();
      return;
    }
    sampling_.arm(loop_.now() + measure_every, [this] { sample(); });
  }

  static constexpr usb::TransferId configuring_id = 0x7FFFFFF0;

  Examination& found_;
  plugin::ServerSource source_;
  transport::Loop loop_;
  link::Endpoint endpoint_{link::Side::till, new_session()};
  transport::Deadline deadline_;
  transport::Timer patience_, sampling_;
  transport::SignalWatch signals_;
  std::unique_ptr<transport::Connecting> connecting_;
  std::unique_ptr<transport::Stream> stream_;
  std::optional<plugin::Stick> stick_;
  std::optional<massstorage::BulkOnlyHost> host_;
  link::StreamId stream_id_ = 0;
  Step step_ = Step::greeting;
  bool welcomed_ = false, failed_lease_ = false, pumping_ = false, configuring_ = false,
       asked_who_ = false;
  unsigned not_ready_ = 0;
  std::string goodbye_;
  Instant command_began_{};
  std::vector<Duration> command_times_, link_times_;
};

}  // namespace

std::int64_t unix_seconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

std::int64_t unix_now() {
  return unix_seconds(std::chrono::system_clock::now());
}

Finding trouble(const std::string& step, const std::string& message, const std::string& otherwise) {
  const std::size_t mark = message.find("; ");
  if (mark == std::string::npos) return {step, State::failed, message, otherwise};
  return {step, State::failed, message.substr(0, mark), message.substr(mark + 2)};
}

void examine_link(Examination& found, plugin::ServerSource source) {
  Examiner(found, std::move(source)).run();
}

}  // namespace tillbridge::cli
