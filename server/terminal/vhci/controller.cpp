#include "server/terminal/vhci/controller.hpp"

#include <cerrno>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

namespace tillbridge::terminal::vhci {
namespace {

constexpr int status_free = 4;  // VDEV_ST_NULL
/// Several controllers (CONFIG_USBIP_VHCI_NR_HCS, at most 128) have files status, status.1,
/// status.2 ...
constexpr int max_controllers = 128;

std::string text_of(int error) {
  return std::error_code(error, std::generic_category()).message();
}

/// 0 or an errno. sysfs takes a command as one write.
int write_file(const std::filesystem::path& path, const std::string& text) {
  const int file = ::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (file < 0) return errno;
  const bool written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = written ? 0 : errno;
  ::close(file);
  return error;
}

Error not_loaded(const std::filesystem::path& directory) {
  return fail(ErrorCode::unavailable,
              directory.string() +
                  " does not exist: the kernel module is not loaded. Run as root: "
                  "modprobe vhci-hcd (package linux-image of the distribution; cloud "
                  "kernels lack it)");
}

Error not_allowed(const std::filesystem::path& file) {
  return fail(ErrorCode::refused,
              file.string() + " may only be written by root: run tillbridge-terminal as root");
}

}  // namespace

Result<std::vector<Port>> parse_status(std::string_view text) {
  std::istringstream lines{std::string(text)};
  std::string line;
  if (!std::getline(lines, line) || line.rfind("hub port sta", 0) != 0) {
    return fail(ErrorCode::malformed, "not a status file of vhci-hcd of Linux 4.13 or later");
  }
  std::vector<Port> ports;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string hub;
    Port port;
    int status = 0;
    if (!(fields >> hub >> port.number >> status) || (hub != "hs" && hub != "ss")) {
      return fail(ErrorCode::malformed, "status file of vhci-hcd has the line \"" + line + "\"");
    }
    port.super_speed = hub == "ss";
    port.free = status == status_free;
    ports.push_back(port);
  }
  return ports;
}

Status KernelController::usable() const {
  const auto file = directory_ / "attach";
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return not_loaded(directory_);
  if (::access(file.c_str(), W_OK) != 0) return not_allowed(file);
  if (auto listed = ports(); !listed) return listed.error();
  return {};
}

Result<std::vector<Port>> KernelController::ports() const {
  std::vector<Port> all;
  for (int controller = 0; controller < max_controllers; ++controller) {
    const auto path =
        directory_ / (controller == 0 ? "status" : "status." + std::to_string(controller));
    std::ifstream file(path);
    if (!file) break;
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    Result<std::vector<Port>> parsed = parse_status(text);
    if (!parsed) return fail(parsed.error().code, path.string() + ": " + parsed.error().message);
    all.insert(all.end(), parsed->begin(), parsed->end());
  }
  if (all.empty()) return not_loaded(directory_);
  return all;
}

Result<std::uint32_t> KernelController::attach(int socket, usb::Speed speed) {
  Result<std::vector<Port>> listed = ports();
  if (!listed) return listed.error();
  const bool super_speed = speed >= usb::Speed::super;
  std::size_t suitable = 0;
  for (const Port& port : *listed) {
    if (port.super_speed != super_speed) continue;
    ++suitable;
    if (!port.free) continue;
    // devid is the exporter's bus and device number; ours has neither, but 0 means "none" to some
    // tools.
    const std::uint32_t device_id = 1U << 16U | (port.number + 1);
    const int error =
        write_file(directory_ / "attach",
                   std::to_string(port.number) + " " + std::to_string(socket) + " " +
                       std::to_string(device_id) + " " + std::to_string(static_cast<int>(speed)));
    if (error == 0) return port.number;
    if (error == EBUSY) continue;  // taken by somebody else since the list was read
    if (error == EACCES || error == EPERM) return not_allowed(directory_ / "attach");
    return fail(ErrorCode::io, "vhci-hcd did not take the device: " + text_of(error));
  }
  return fail(ErrorCode::unavailable,
              std::string("all ") + std::to_string(suitable) +
                  (super_speed ? " SuperSpeed" : " high-speed") +
                  " ports of vhci-hcd are taken; usbip port lists them, usbip detach -p N "
                  "frees one");
}

Status KernelController::detach(std::uint32_t port) {
  const int error = write_file(directory_ / "detach", std::to_string(port));
  if (error == 0) return {};
  return fail(ErrorCode::io,
              "vhci port " + std::to_string(port) + " cannot be detached: " + text_of(error));
}

}  // namespace tillbridge::terminal::vhci
