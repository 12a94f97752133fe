// receipts_load: many tills that sign receipts, in one process. For each till the plugin's own way
// to its stick (uplink, import, pipeline), and above it tillbridge-pos' own: host stack, file
// system, the TSE's protocol, one thread a till. Only RDP is left out. One JSON object at the end.
//
//   receipts_load --pins FILE --receipts N --every-ms MS TILL.TOML...   (as for the plugin)
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <sys/socket.h>

#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "channel/usbip/exporter.hpp"
#include "pos/access.hpp"
#include "pos/cashier.hpp"
#include "pos/clock.hpp"
#include "pos/cryptovision_tse.hpp"
#include "pos/usbip_device.hpp"
#include "pos/usbip_stick.hpp"
#include "tests/bench/peer_link_stick.hpp"
#include "tse/evidence/receipt.hpp"

namespace tillbridge::bench {
namespace {

struct Options {
  std::filesystem::path pins;
  std::uint32_t receipts = 10;
  std::chrono::milliseconds every{1000};
  std::vector<std::filesystem::path> tills;
};

template <typename Outcome>
auto good(Outcome outcome) {
  if (!outcome.ok()) {
    if constexpr (requires { outcome.failure(); }) {
      throw std::runtime_error(outcome.failure().message);
    } else {
      throw std::runtime_error(outcome.error().message);
    }
  }
  return std::move(*outcome);
}

/// A till's stick at one end of a socket pair, as a session's host stack has it. On the loop's
/// thread.
class Till {
 public:
  Till(transport::Loop& loop, const std::filesystem::path& configuration, int socket)
      : stick_(loop, configuration), host_(transport::adopt_socket(loop, socket)) {}

  /// `ready`: once, when there is a stick to import. On a busy machine 64 tills need a while.
  void start(std::function<void()> ready) {
    ready_ = std::move(ready);
    stick_.start({.ready =
                      [this](const usb::DeviceDescription& device) {
                        device_ = device;
                        if (!ready_) return;
                        serve();
                        std::exchange(ready_, nullptr)();
                      },
                  .completed =
                      [this](usb::Completion completion) {
                        exporter_.complete(std::move(completion));
                        pump();
                      }});
  }

 private:
  void serve() {
    host_->start({.received =
                      [this](ByteView bytes) {
                        exporter_.receive(bytes);
                        pump();
                      },
                  .drained = [] {},
                  .closed = [](const std::optional<Error>& /*error*/) {}});
  }

  void pump() {
    using usbip::Exporter;
    if (pumping_) return;  // submit() may complete at once
    pumping_ = true;
    while (auto output = exporter_.poll()) {
      if (auto* send = std::get_if<Exporter::Send>(&*output)) {
        host_->write(std::move(send->bytes));
      } else if (auto* submit = std::get_if<Exporter::Submit>(&*output)) {
        stick_.submit(std::move(submit->transfer));
      } else if (const auto* cancel = std::get_if<Exporter::Cancel>(&*output)) {
        stick_.cancel(cancel->transfer);
      } else if (auto* wanted = std::get_if<Exporter::ImportWanted>(&*output)) {
        device_.path = wanted->busid;  // whatever it is called: there is one
        exporter_.import_granted(device_);
      }
    }
    pumping_ = false;
  }

  LinkStick stick_;
  std::unique_ptr<transport::Stream> host_;
  usbip::Exporter exporter_{usbip::Exporter::Start::await_request};
  usb::DeviceDescription device_;
  std::function<void()> ready_;
  bool pumping_ = false;
};

/// What all POS have in common: the moment at which the measurement begins, and what they saw.
class Journal {
 public:
  explicit Journal(std::size_t tills) : missing_(tills) {}

  /// Ready to sign. Returns when all are that can be.
  std::chrono::steady_clock::time_point begin() {
    std::unique_lock lock(mutex_);
    one_less();
    changed_.wait(lock, [this] { return missing_ == 0; });
    return began_;
  }
  void signed_one(std::chrono::microseconds took) {
    const std::lock_guard lock(mutex_);
    took_us_.push_back(took.count());
  }
  void failed(const std::string& text) {
    const std::lock_guard lock(mutex_);
    ++errors_;
    std::cerr << "receipts_load: " << text << std::endl;
    // Nobody waits for this till.
    if (missing_ != 0) one_less();
  }

  void tell(std::size_t tills) {
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began_;
    std::sort(took_us_.begin(), took_us_.end());
    const auto percentile = [this](std::size_t percent) {
      return took_us_.empty() ? 0 : took_us_[(took_us_.size() - 1) * percent / 100];
    };
    std::cout << R"({"tills":)" << tills << R"(,"receipts":)" << took_us_.size() << R"(,"errors":)"
              << errors_ << R"(,"took_s":)" << took.count() << R"(,"p50_us":)" << percentile(50)
              << R"(,"p99_us":)" << percentile(99) << R"(,"max_us":)" << percentile(100) << "}"
              << std::endl;
  }

 private:
  void one_less() {
    if (--missing_ != 0) return;
    began_ = std::chrono::steady_clock::now();
    std::cerr << "receipts_load: all tills are ready" << std::endl;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t missing_;
  std::chrono::steady_clock::time_point began_;
  std::vector<std::int64_t> took_us_;
  std::size_t errors_ = 0;
};

/// One till's POS. `turn`: which part of the interval is its own, so that the tills do not all sign
/// in the same moment.
void sign_receipts(int socket, const Options& options, std::size_t turn, Journal& journal) {
  const std::string client = "KASSE-" + std::to_string(turn + 1);
  const auto clock = pos::system_clock();
  auto device = good(pos::UsbipDevice::import(pos::UsbipSocket(socket), "stick"));
  auto volume = good(pos::volume_on(std::move(device), client));
  const auto tse = pos::make_cryptovision_tse(std::move(volume), pos::OpenStyle::direct, *clock);
  pos::Access::Settings settings;
  settings.secrets = good(pos::read_pin_file(options.pins));
  settings.environment = false;
  pos::Access access(std::move(settings));
  const pos::Told silent = [](const std::string& /*text*/) {};
  good(tse->connect());
  good(tse->set_up(client, access, silent));
  pos::Cashier cashier(*tse, access, silent);
  good(cashier.open(client));
  const pos::Order order{client, "Kassenbeleg-V1", good(pos::process_data("Kassenbeleg-V1", 420))};

  auto next = journal.begin() + options.every * turn / options.tills.size();
  for (std::uint32_t number = 0; number < options.receipts; ++number, next += options.every) {
    std::this_thread::sleep_until(next);
    const auto began = std::chrono::steady_clock::now();
    const tse::Receipt receipt = good(cashier.sign(order));
    journal.signed_one(std::chrono::duration_cast<std::chrono::microseconds>(
        std::chrono::steady_clock::now() - began));
    if (const Status verified = tse::check_receipt(receipt); !verified)
      throw std::runtime_error("the signature does not verify: " + verified.error().message);
  }
}

void run(const Options& options) {
  transport::Loop loop;
  Journal journal(options.tills.size());
  std::deque<Till> tills;
  std::vector<std::thread> threads;
  std::atomic<std::size_t> busy = options.tills.size();
  for (std::size_t turn = 0; turn < options.tills.size(); ++turn) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      throw std::runtime_error("no socket pair");
    const auto sign = [&, turn, socket = ends[1]] {
      try {
        sign_receipts(socket, options, turn, journal);
      } catch (const std::exception& error) {
        journal.failed(options.tills[turn].string() + ": " + error.what());
      }
      if (--busy == 0) loop.stop();
    };
    tills.emplace_back(loop, options.tills[turn], ends[0]).start([&threads, sign] {
      threads.emplace_back(sign);
    });
  }
  loop.run();
  for (std::thread& thread : threads) thread.join();
  journal.tell(options.tills.size());
}

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
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i];
    if (word.substr(0, 2) != "--") {
      options.tills.emplace_back(word);
      continue;
    }
    if (++i == arguments.size()) throw std::runtime_error("what is " + std::string(word) + "?");
    const std::string_view value = arguments[i];
    if (word == "--pins") {
      options.pins = value;
    } else if (word == "--receipts") {
      options.receipts = number<std::uint32_t>(value);
    } else if (word == "--every-ms") {
      options.every = std::chrono::milliseconds(number<std::uint32_t>(value));
    } else {
      throw std::runtime_error("unknown option " + std::string(word));
    }
  }
  if (options.tills.empty())
    throw std::runtime_error("receipts_load --pins FILE --receipts N --every-ms MS TILL.TOML...");
  return options;
}

}  // namespace
}  // namespace tillbridge::bench

int main(int argc, char** argv) {
  using namespace tillbridge::bench;
  try {
    run(parse(std::span(argv, static_cast<std::size_t>(argc)).subspan(1)));
  } catch (const std::exception& error) {
    std::cerr << "receipts_load: " << error.what() << '\n';
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}
