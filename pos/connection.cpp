#include "pos/connection.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "pos/cryptovision_tse.hpp"
#include "pos/diebold_tse.hpp"
#include "pos/mounted_stick.hpp"
#include "pos/swissbit_tse.hpp"
#include "pos/tty_line.hpp"
#include "pos/usbip_stick.hpp"

namespace tillbridge::pos {
namespace {

std::unique_ptr<Tse> on_volume(Family family, std::unique_ptr<StickVolume> volume,
                               const Options& options, Clock& clock) {
  const OpenStyle style = options.style.value_or(OpenStyle::direct);
  return family == Family::cryptovision
             ? make_cryptovision_tse(std::move(volume), style, clock)
             : make_swissbit_tse(std::move(volume), style, clock, options.seed);
}

// --- over USB/IP

/// A stick that was lost is imported anew when a file is opened.
class ReturningVolume final : public StickVolume {
 public:
  using Import = std::function<Result<std::unique_ptr<StickVolume>>()>;
  ReturningVolume(std::unique_ptr<StickVolume> volume, Import import)
      : name_(volume->name()), volume_(std::move(volume)), import_(std::move(import)) {}

  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] Result<std::vector<std::string>> list() override {
    if (Status there = ensure(); !there) return there.error();
    return volume_->list();
  }
  [[nodiscard]] Result<std::unique_ptr<StickFile>> open(std::string_view file,
                                                        OpenStyle style) override {
    if (Status there = ensure(); !there) return there.error();
    Result<std::unique_ptr<StickFile>> opened = volume_->open(file, style);
    if (opened ||
        (opened.error().code != ErrorCode::unavailable && opened.error().code != ErrorCode::io)) {
      return opened;
    }
    // Somebody else may take it only once it was given back.
    volume_.reset();
    if (Status there = ensure(); !there) return there.error();
    return volume_->open(file, style);
  }

 private:
  [[nodiscard]] Status ensure() {
    if (volume_) return {};
    Result<std::unique_ptr<StickVolume>> imported = import_();
    if (!imported) return imported.error();
    volume_ = std::move(*imported);
    return {};
  }

  std::string name_;
  std::unique_ptr<StickVolume> volume_;
  Import import_;
};

/// "127.0.0.1:3240", "[::1]:3240"
Outcome<UsbipAddress> parse_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  UsbipAddress address;
  if (colon != std::string::npos) {
    address.host = text.substr(0, colon);
    if (address.host.size() >= 2 && address.host.front() == '[' && address.host.back() == ']')
      address.host = address.host.substr(1, address.host.size() - 2);
    const std::string port = text.substr(colon + 1);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-bounds-pointer-arithmetic): from_chars
    const char* const end = port.data() + port.size();
    const auto [stop, error] = std::from_chars(port.data(), end, address.port);
    if (error == std::errc() && stop == end && address.port != 0 && !address.host.empty())
      return address;
  }
  return trouble(Trouble::usage, "--usbip " + text + ": expected HOST:PORT, e.g. 127.0.0.1:3240");
}

bool is_named(const UsbipExport& device, const std::string& name) {
  // tillbridge's bus ids end with the serial number.
  const std::string ending = ":" + name;
  return name.empty() || device.bus_id == name ||
         (device.bus_id.size() > ending.size() &&
          device.bus_id.compare(device.bus_id.size() - ending.size(), ending.size(), ending) == 0);
}

Outcome<UsbipExport> choose_export(const Options& options, const std::vector<UsbipExport>& listed) {
  std::vector<UsbipExport> fitting;
  std::string all;
  for (const UsbipExport& device : listed) {
    if (!device.mass_storage && !device.serial) continue;
    all += "\n  " + device.text();
    if (is_named(device, options.serial)) fitting.push_back(device);
  }
  if (fitting.size() == 1) return fitting.front();
  if (fitting.empty()) {
    return trouble(Trouble::no_stick, "the USB/IP server at " + options.usbip +
                                          " has no such stick" +
                                          (all.empty() ? " for this machine" : "; it has:" + all));
  }
  return trouble(Trouble::several_sticks,
                 "the USB/IP server at " + options.usbip + " has several sticks:" + all +
                     "\nChoose one by --serial: its bus id, or what stands behind its last colon.");
}

Outcome<std::unique_ptr<Tse>> choose_over_usbip(const Options& options, Clock& clock) {
  const Outcome<UsbipAddress> address = parse_address(options.usbip);
  if (!address) return address.failure();
  Result<std::unique_ptr<UsbipHost>> connected = UsbipHost::connect(address->host, address->port);
  if (!connected) {
    const bool absent = connected.error().code == ErrorCode::unavailable;
    return absent ? trouble(Trouble::no_stick, connected.error().message)
                  : from_io(connected.error());
  }
  const std::shared_ptr<UsbipHost> host = std::move(*connected);
  const Result<std::vector<UsbipExport>> listed = host->list();
  if (!listed) return from_io(listed.error());
  const Outcome<UsbipExport> stick = choose_export(options, *listed);
  if (!stick) return stick.failure();
  if (!stick->mass_storage) {
    if (options.style) {
      return trouble(Trouble::usage,
                     "--open-style is for sticks with files; " + stick->text() + " has none");
    }
    return make_diebold_tse([host, name = stick->bus_id] { return host->open_serial(name); },
                            stick->text(), clock, {options.admin_user, options.time_user},
                            options.answer_within);
  }
  const ReturningVolume::Import import = [host, name = stick->bus_id] {
    return host->open_volume(name);
  };
  Result<std::unique_ptr<StickVolume>> volume = import();
  if (!volume) return from_io(volume.error());
  const Result<std::vector<std::string>> files = (*volume)->list();
  if (!files) return from_io(files.error());
  const std::optional<Family> family = family_of(*files);
  if (!family) {
    return trouble(
        Trouble::no_stick,
        stick->text() + " is no TSE: it has neither TSE-IO.bin nor TSE_COMM.DAT and TSE_INFO.DAT");
  }
  return on_volume(*family, std::make_unique<ReturningVolume>(std::move(*volume), import), options,
                   clock);
}

}  // namespace

Outcome<std::unique_ptr<Tse>> choose_tse(const Options& options, const FinderRoots& roots,
                                         Clock& clock) {
  if (!options.usbip.empty()) return choose_over_usbip(options, clock);
  const Outcome<Candidate> stick =
      options.stick.empty() ? the_only(find_sticks(roots)) : look_at(options.stick);
  if (!stick) return stick.failure();
  if (stick->family == Family::diebold) {
    if (options.style) {
      return trouble(Trouble::usage, "--open-style is for sticks with files; " + stick->place +
                                         " is a serial line");
    }
    return make_diebold_tse([place = stick->place] { return open_tty_line(place); }, stick->place,
                            clock, {options.admin_user, options.time_user}, options.answer_within);
  }
  Result<std::unique_ptr<StickVolume>> volume = open_mounted_stick(stick->place);
  if (!volume) return from_io(volume.error());
  return on_volume(stick->family, std::move(*volume), options, clock);
}

}  // namespace tillbridge::pos
