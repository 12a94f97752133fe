// The command line of tillbridge-terminal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "channel/bytes/result.hpp"
#include "channel/rdpeusb/terminal_profile.hpp"
#include "server/terminal/conformance/suite.hpp"
#include "server/terminal/device_intake.hpp"
#include "server/terminal/probe/options.hpp"
#include "server/terminal/rdp/peer.hpp"
#include "server/terminal/vhci/controller.hpp"

namespace tillbridge::terminal {

enum class SinkKind : std::uint8_t { vhci, usbip, probe, conformance };

/// Checked: what is here can be used, but for what only the system knows (ports, files that come
/// later).
struct Options {
  std::string address = "127.0.0.1";  ///< numeric, IPv4 or IPv6
  std::uint16_t port = 3389;          ///< 0: the system chooses one
  /// Both or neither.
  std::filesystem::path certificate, key;
  /// Where a self-signed certificate is kept; empty: made anew in memory at each start.
  std::filesystem::path certificate_directory;
  std::optional<Account> account;
  SinkKind sink = SinkKind::vhci;
  std::string usbip_address = "127.0.0.1";  ///< numeric
  /// One session's; 0: the system chooses one for each session.
  std::uint16_t usbip_port = 0;
  std::set<Model> named;  ///< --allow
  std::filesystem::path vhci_directory = vhci::KernelController::default_directory;
  std::uint32_t sessions = 0;             ///< at a time
  std::uint32_t exit_after_sessions = 0;  ///< 0: never
  rdpeusb::Profile profile = rdpeusb::Profile::plain;
  bool json = false;
  std::filesystem::path transcript;  ///< empty: none
  bool transcript_data = false;
  bool verbose = false;
  probe::Options probe;
  conformance::SuiteOptions conformance;
};

/// A text to print and then exit with 0: --help, --version.
struct PrintAndExit {
  std::string text;
};

/// `arguments` without the program's name. Errors name the option and say what is wanted.
[[nodiscard]] Result<std::variant<Options, PrintAndExit>> parse_options(
    std::vector<std::string> arguments);

}  // namespace tillbridge::terminal
