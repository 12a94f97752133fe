// scale_load: many tills in one process, each with a real TLS link to one tillbridged and one
// stick, without an RDP client. Their way to the stick is the plugin's own (ServerUplink,
// Importer); instead of a session, a class driver in user space asks for it.
// tests/bench/scale_bench starts it and measures the server.
//
//   scale_load --port PORT --pki FOLDER --tills N      (certificates till-001.crt ... in FOLDER)
//
// On standard input, one command a line; each is answered by one JSON object:
//   run COUNT MILLISECONDS   the first COUNT tills read and write 4 KiB in turn, one command after
//   the other quit
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poll.h>
#include <unistd.h>

#include "channel/massstorage/host.hpp"
#include "channel/transport/loop.hpp"
#include "channel/usb/device_reader.hpp"
#include "channel/usb/requests.hpp"
#include "channel/usbip/importer.hpp"
#include "plugin/configuration.hpp"
#include "plugin/uplink.hpp"
#include "tests/bench/line_input.hpp"

namespace tillbridge::bench {
namespace {

constexpr std::uint16_t blocks_of_4_kib = 8;
/// The commands stay within this many blocks, so that the simulated stick's memory does not grow.
constexpr std::uint32_t blocks_used = 64;
/// Of reading descriptors and of SET_CONFIGURATION; the class driver's come after.
constexpr usb::TransferId own_id = 1;

class QuietLog final : public plugin::Log {
 public:
  void write(plugin::Level level, const std::string& text) override {
    if (level >= plugin::Level::warning) std::cerr << "scale_load: " << text << '\n';
  }
};

struct Tally {
  std::uint64_t commands = 0, transfers = 0;
  std::vector<std::int64_t> command_us;
};

/// One till with one stick.
class Till {
 public:
  Till(transport::Loop& loop, const plugin::Configuration& configuration, const std::string& name,
       plugin::Log& log)
      : loop_(loop) {
    auto uplink = plugin::make_uplink(
        loop, configuration,
        {.client_name = name, .user = name, .domain = "", .terminal_server = "scale_load"}, log);
    if (!uplink) throw std::runtime_error(uplink.error().message);
    uplink_ = std::move(*uplink);
  }

  void start() {
    uplink_->start({.offered = [this](const plugin::Offer& offer) { offered(offer); },
                    .received =
                        [this](plugin::StickId stick, ByteView bytes) {
                          if (!importer_ || stick != stick_) return;
                          importer_->receive(bytes);
                          pump();
                        },
                    .withdrawn =
                        [](plugin::StickId /*stick*/, const std::string& reason) {
                          throw std::runtime_error("a stick was withdrawn: " + reason);
                        },
                    .writable = [this] { send_unsent(); }});
  }

  /// Called once when commands may be run; then at the end of each run.
  std::function<void()> idle;

  void run(Tally& tally) {
    tally_ = &tally;
    next_command();
    pump();
  }
  /// After the running command.
  void finish() { finishing_ = true; }

 private:
  void offered(const plugin::Offer& offer) {
    stick_ = offer.stick;
    importer_.emplace(offer.busid);
    importer_->start();
    pump();
  }

  void pump() {
    while (auto output = importer_->poll()) {
      if (auto* send = std::get_if<usbip::Importer::Send>(&*output)) {
        unsent_.push_back(std::move(send->bytes));
        send_unsent();
      } else if (auto* imported = std::get_if<usbip::Importer::Imported>(&*output)) {
        reader_.emplace(imported->device.speed, imported->device.path);
        read_next();
      } else if (auto* completed = std::get_if<usbip::Importer::Completed>(&*output)) {
        this->completed(completed->completion);
      } else if (auto* failed = std::get_if<usbip::Importer::Failed>(&*output)) {
        throw std::runtime_error(failed->error.message);
      }
    }
  }

  void send_unsent() {
    while (!unsent_.empty() && uplink_->can_send()) {
      Bytes bytes = std::move(unsent_.front());
      unsent_.pop_front();
      uplink_->send(stick_, std::move(bytes));
    }
    uplink_->flush();
  }

  void submit(usb::Transfer transfer) {
    if (tally_ != nullptr) ++tally_->transfers;
    importer_->submit(std::move(transfer));
  }

  void read_next() {
    if (auto transfer = reader_->next(own_id)) return submit(std::move(*transfer));
    auto description = reader_->result();
    if (!description) throw std::runtime_error(description.error().message);
    reader_.reset();
    uplink_->usable(stick_);
    massstorage::HostOptions options;
    options.first_transfer_id = own_id + 1;
    auto host = massstorage::BulkOnlyHost::create(*description, options);
    if (!host) throw std::runtime_error(host.error().message);
    host_.emplace(std::move(*host));
    submit(usb::control_transfer(own_id, usb::set_configuration(host_->configuration_value())));
  }

  void completed(const usb::Completion& completion) {
    if (reader_) {
      reader_->complete(completion);
      return read_next();
    }
    if (completion.id == own_id) {
      check(host_->test_unit_ready());
    } else {
      host_->complete(completion);
    }
    while (auto transfer = host_->poll_transfer()) submit(std::move(*transfer));
    while (auto result = host_->poll_result()) {
      command_ended(*result);
      while (auto transfer = host_->poll_transfer()) submit(std::move(*transfer));
    }
  }

  void command_ended(massstorage::CommandResult& result) {
    if (result.outcome == massstorage::Outcome::check_condition && host_->block_count() == 0)
      return check(host_->test_unit_ready());  // a stick that was just plugged in
    if (!result.good()) throw std::runtime_error(result.message);
    if (host_->block_count() == 0) {
      if (std::exchange(capacity_asked_, true)) throw std::runtime_error("an empty stick");
      return check(host_->read_capacity());
    }
    if (tally_ == nullptr) return idle();
    if (result.residue != 0) throw std::runtime_error("a command ended short");
    ++tally_->commands;
    tally_->command_us.push_back((loop_.now() - command_began_).count());
    if (!result.data.empty()) data_ = std::move(result.data);
    if (finishing_) {
      finishing_ = false;
      tally_ = nullptr;
      return idle();
    }
    next_command();
  }

  void next_command() {
    command_began_ = loop_.now();
    const bool write = !data_.empty() && std::exchange(wrote_, !wrote_);
    if (write) {
      check(host_->write(block_, std::exchange(data_, {})));
    } else {
      block_ = (block_ + blocks_of_4_kib) % blocks_used;
      check(host_->read(block_, blocks_of_4_kib));
    }
    while (auto transfer = host_->poll_transfer()) submit(std::move(*transfer));
  }

  static void check(const Status& status) {
    if (!status) throw std::runtime_error(status.error().message);
  }

  transport::Loop& loop_;
  std::unique_ptr<plugin::Uplink> uplink_;
  plugin::StickId stick_ = 0;
  std::deque<Bytes> unsent_;
  std::optional<usbip::Importer> importer_;
  std::optional<usb::DeviceReader> reader_;
  std::optional<massstorage::BulkOnlyHost> host_;
  bool capacity_asked_ = false, wrote_ = false, finishing_ = false;
  std::uint32_t block_ = 0;
  Bytes data_;
  Instant command_began_{};
  Tally* tally_ = nullptr;
};

struct Options {
  std::uint16_t port = 0;
  std::filesystem::path pki;
  std::size_t tills = 1;
};

class Load {
 public:
  explicit Load(const Options& options) : timer_(loop_) {
    for (std::size_t i = 1; i <= options.tills; ++i) {
      std::string number = std::to_string(i);
      const std::string name =
          "till-" + std::string(3 - std::min<std::size_t>(3, number.size()), '0') + number;
      plugin::ServerSource source;
      source.host = source.name = "localhost";
      source.port = options.port;
      source.certificate = options.pki / (name + ".crt");
      source.key = options.pki / (name + ".key");
      source.authority = options.pki / "authority.crt";
      tills_.push_back(
          std::make_unique<Till>(loop_, plugin::Configuration{source, {}}, name, log_));
      tills_.back()->idle = [this] { one_idle(); };
    }
  }

  void run() {
    busy_ = tills_.size();
    for (const auto& till : tills_) till->start();
    commands_.emplace(loop_, STDIN_FILENO, POLLIN, [this](short /*events*/) { read_commands(); });
    loop_.run();
  }

 private:
  void one_idle() {
    if (--busy_ != 0) return;
    if (!std::exchange(ready_, true)) {
      std::cout << R"({"ready":)" << tills_.size() << "}" << std::endl;
      return;
    }
    tell();
  }

  void read_commands() {
    if (!input_.take([this](const std::string& line) { obey(line); })) loop_.stop();
  }

  void obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    std::size_t count = 0;
    std::int64_t run_ms = 0;
    words >> verb;
    if (verb == "quit") return loop_.stop();
    words >> count >> run_ms;
    if (verb != "run" || !words || count == 0 || count > tills_.size() || busy_ != 0 || !ready_)
      throw std::runtime_error("cannot do '" + line + "'");
    tally_ = {};
    busy_ = active_ = count;
    began_ = loop_.now();
    timer_.arm(began_ + std::chrono::milliseconds(run_ms), [this] {
      for (std::size_t i = 0; i < active_; ++i) tills_[i]->finish();
    });
    for (std::size_t i = 0; i < active_; ++i) tills_[i]->run(tally_);
  }

  void tell() {
    const auto took_us = (loop_.now() - began_).count();
    std::vector<std::int64_t>& samples = tally_.command_us;
    std::sort(samples.begin(), samples.end());
    const auto percentile = [&samples](std::size_t percent) {
      return samples.empty() ? 0 : samples[(samples.size() - 1) * percent / 100];
    };
    std::cout << R"({"sticks":)" << active_ << R"(,"took_us":)" << took_us << R"(,"commands":)"
              << tally_.commands << R"(,"transfers":)" << tally_.transfers << R"(,"p50_us":)"
              << percentile(50) << R"(,"p99_us":)" << percentile(99) << "}" << std::endl;
  }

  transport::Loop loop_;
  QuietLog log_;
  transport::Timer timer_;
  std::vector<std::unique_ptr<Till>> tills_;
  std::optional<transport::FdWatch> commands_;
  LineInput input_;
  Tally tally_;
  std::size_t busy_ = 0, active_ = 0;
  bool ready_ = false;
  Instant began_{};
};

template <typename Number>
Number number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (error != std::errc{} || end != text.end())
    throw std::runtime_error("'" + std::string(text) + "' is no number");
  return value;
}

Options parse(std::span<char*> arguments) {
  Options options;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const std::string_view option = arguments[i], value = arguments[i + 1];
    if (option == "--port") {
      options.port = number<std::uint16_t>(value);
    } else if (option == "--pki") {
      options.pki = value;
    } else if (option == "--tills") {
      options.tills = number<std::size_t>(value);
    } else {
      throw std::runtime_error("unknown option " + std::string(option));
    }
  }
  if (arguments.size() % 2 != 0 || options.port == 0 || options.tills == 0 || options.tills > 999)
    throw std::runtime_error("scale_load --port PORT --pki FOLDER --tills N");
  return options;
}

}  // namespace
}  // namespace tillbridge::bench

int main(int argc, char** argv) {
  using namespace tillbridge::bench;
  try {
    Load(parse(std::span(argv, static_cast<std::size_t>(argc)).subspan(1))).run();
  } catch (const std::exception& error) {
    std::cerr << "scale_load: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
