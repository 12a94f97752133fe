#include "server/terminal/options.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>

#include <CLI/CLI.hpp>
#include <arpa/inet.h>
#include <sys/stat.h>

#include "channel/bytes/limits.hpp"
#include "server/terminal/listening.hpp"

namespace tillbridge::terminal {
namespace {

/// Files to be written to a stick by the probe are kept in memory.
constexpr std::size_t write_file_bytes = 256U << 20U;
constexpr std::size_t secret_bytes = 1024;

template <typename Number>
bool parse_number(std::string_view text, Number& number, int base = 10) {
  const auto* const end =
      text.data() +
      text.size();  // NOLINT(cppcoreguidelines-pro-bounds-pointer-arithmetic): from_chars
  const auto [stop, error] = std::from_chars(text.data(), end, number, base);
  return error == std::errc() && stop == end && !text.empty();
}

Error wrong(const std::string& option, const std::string& value, const std::string& wanted) {
  return fail(ErrorCode::config, option + " " + value + ": " + wanted);
}

/// "127.0.0.1:3389", "[::1]:3389".
Status parse_listen(const std::string& option, const std::string& text, std::string& parsed_address,
                    std::uint16_t& port) {
  const std::size_t colon = text.rfind(':');
  std::string address = text.substr(0, colon);
  if (address.size() >= 2 && address.front() == '[' && address.back() == ']')
    address = address.substr(1, address.size() - 2);
  in_addr ipv4{};
  in6_addr ipv6{};
  const bool numeric = inet_pton(AF_INET, address.c_str(), &ipv4) == 1 ||
                       inet_pton(AF_INET6, address.c_str(), &ipv6) == 1;
  if (colon == std::string::npos || !numeric ||
      !parse_number(std::string_view(text).substr(colon + 1), port)) {
    return wrong(option, text,
                 "expected ADDRESS:PORT with a numeric address, e.g. 127.0.0.1:3389 or [::1]:3389");
  }
  parsed_address = address;
  return {};
}

/// "1209:0001"
Result<Model> parse_model(const std::string& text) {
  Model model;
  const std::string_view view(text);
  const std::size_t colon = view.find(':');
  if (colon != 4 || view.size() != 9 || !parse_number(view.substr(0, 4), model.vendor_id, 16) ||
      !parse_number(view.substr(5), model.product_id, 16)) {
    return wrong("--allow", text, "expected VID:PID in hexadecimal, e.g. 0403:6001");
  }
  return model;
}

/// "2048:32768"
Result<probe::Region> parse_region(const std::string& text) {
  probe::Region region;
  const std::string_view view(text);
  const std::size_t colon = view.find(':');
  if (colon == std::string_view::npos || !parse_number(view.substr(0, colon), region.block) ||
      !parse_number(view.substr(colon + 1), region.count) || region.count == 0) {
    return wrong("--probe-read", text, "expected BLOCK:COUNT in blocks, e.g. 0:32768");
  }
  return region;
}

/// "data.bin@2048"
Result<probe::WriteRegion> parse_write(const std::string& text) {
  const std::size_t at = text.rfind('@');
  probe::WriteRegion region;
  if (at == std::string::npos || at == 0 ||
      !parse_number(std::string_view(text).substr(at + 1), region.block)) {
    return wrong("--probe-write", text, "expected FILE@BLOCK, e.g. data.bin@2048");
  }
  region.name = text.substr(0, at);
  std::ifstream file(region.name, std::ios::binary);
  auto data = std::make_shared<Bytes>();
  std::error_code error;
  const auto size = std::filesystem::file_size(region.name, error);
  if (!file || error) return wrong("--probe-write", text, "the file cannot be read");
  if (size == 0 || size > write_file_bytes) {
    return wrong("--probe-write", text, "the file must have 1 byte to 256 MiB");
  }
  data->assign(std::istreambuf_iterator<char>(file), {});
  region.data = std::move(data);
  return region;
}

Result<std::string> read_secret(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0)
    return wrong("--password-file", path, "the file cannot be read");
  if ((status.st_mode & 077U) != 0) {
    return wrong("--password-file", path, "others may read it; run: chmod 600 " + path);
  }
  std::ifstream file(path);
  std::string secret;
  std::getline(file, secret);
  if (secret.empty() || secret.size() > secret_bytes) {
    return wrong("--password-file", path, "the password is its first line, 1 to 1024 bytes");
  }
  return secret;
}

/// What CLI11 fills in before it is checked.
struct Raw {
  std::string listen = "127.0.0.1:3389";
  std::string usbip_listen;
  std::string sink, user, password_file;
  std::string profile = "plain";
  std::vector<std::string> allow, reads, writes;
  std::string sha256;
  std::uint32_t patience_s = 60;
  std::string cases = "all", case_releases = "windows";
  std::uint32_t case_timeout_s = 20, case_silence_ms = 300;
  bool cases_given = false;
  bool sessions_given = false;
};

void declare(CLI::App& app, Options& options, Raw& raw) {
  app.set_version_flag("--version", "tillbridge-terminal " TILLBRIDGE_VERSION);
  app.add_option(
         "--sink", raw.sink,
         "who gets the devices: vhci (this machine's USB, needs root), usbip (USB/IP clients), "
         "probe (a test in user space) or conformance (nobody: the clients' USB redirection "
         "itself is tested)")
      ->required();
  app.add_option("--listen", raw.listen, "ADDRESS:PORT to listen on for RDP; port 0: any free one")
      ->capture_default_str();
  app.add_option("--usbip-listen", raw.usbip_listen,
                 "with --sink usbip: ADDRESS:PORT where USB/IP clients find a session's devices; "
                 "not encrypted, no password; port 0: any free one for each session")
      ->default_str("127.0.0.1:0");
  app.add_option("--certificate", options.certificate, "the server's certificate (PEM)");
  app.add_option("--key", options.key, "its private key (PEM, mode 600)");
  app.add_option("--certificate-directory", options.certificate_directory,
                 "keep a self-signed certificate here (made at first start); without it a new one "
                 "is made at each start");
  app.add_option("--user", raw.user,
                 "the one user who may log on; without it anybody may, on a loopback address only");
  app.add_option("--password-file", raw.password_file,
                 "file (mode 600) whose first line is the user's password");
  app.add_option("--allow", raw.allow,
                 "VID:PID of a device to let in although its class is not (repeatable)");
  app.add_option("--sessions", options.sessions, "sessions at a time")
      ->check(CLI::Range(std::size_t{1}, limits::terminal_sessions));
  app.add_option("--exit-after-session", options.exit_after_sessions,
                 "exit after this many sessions; 1 without a number")
      ->expected(0, 1)
      ->default_str("1");
  app.add_option("--vhci-directory", options.vhci_directory,
                 "sysfs folder of the virtual host controller")
      ->capture_default_str();
  app.add_option("--profile", raw.profile,
                 "what is sent beyond what the sink needs: plain (nothing) or windows (what a "
                 "Windows server is known to send, odd cases included)")
      ->capture_default_str();
  app.add_option("--transcript", options.transcript,
                 "write every message of the USB channels to this file, one JSON object a line");
  app.add_flag("--transcript-data", options.transcript_data,
               "with --transcript: the data of transfers, too, PINs included; otherwise only its "
               "length and a digest");
  app.add_flag("--json", options.json, "each event as a JSON object on standard output, too");
  app.add_flag("--verbose", options.verbose, "log more, FreeRDP's own messages included");

  const std::string group = "Probe";
  app.add_option("--probe-read", raw.reads,
                 "BLOCK:COUNT to read (repeatable); tells the SHA-256 of all that was read")
      ->group(group);
  app.add_option("--probe-sha256", raw.sha256, "the SHA-256 that it must have")->group(group);
  app.add_option("--probe-save", options.probe.save_path, "file for what was read")->group(group);
  app.add_option("--probe-write", raw.writes,
                 "FILE@BLOCK to write, read back and compare (repeatable)")
      ->group(group);
  app.add_option("--probe-bench", options.probe.bench_rounds,
                 "rounds of 4 KiB and 64 KiB reads and of bare channel round trips")
      ->group(group);
  app.add_flag("--probe-bench-writes", options.probe.bench_writes,
               "with --probe-bench: also writes what was read back to its place; not for a TSE, "
               "whose blocks mean commands")
      ->group(group);
  app.add_option("--probe-bench-sequential", options.probe.bench_sequential,
                 "with --probe-bench: in each round also this many reads of 64 KiB in a row")
      ->check(CLI::Range(0U, 10'000U))
      ->group(group);
  app.add_flag(
         "!--probe-bench-no-round-trips", options.probe.bench_round_trips,
         "with --probe-bench: no comparison with round trips of the channel; for clients that "
         "do not answer GET_HUB_COUNT, as FreeRDP's own")
      ->group(group);
  app.add_option("--probe-command-bytes", options.probe.command_bytes,
                 "most data of one SCSI command")
      ->check(CLI::Range(4096U, 1U << 20U))
      ->capture_default_str()
      ->group(group);
  app.add_option("--probe-serial-bytes", options.probe.serial_bytes,
                 "bytes to send through a serial device that echoes")
      ->check(CLI::Range(1U, 16U << 20U))
      ->capture_default_str()
      ->group(group);
  app.add_option("--probe-devices", options.probe.devices,
                 "devices to probe before the session ends")
      ->check(CLI::Range(std::size_t{1}, limits::rdpeusb_channels))
      ->capture_default_str()
      ->group(group);
  app.add_flag("--probe-stay", options.probe.stay, "leave the session open after the probe")
      ->group(group);
  app.add_option("--probe-timeout", raw.patience_s,
                 "seconds a device may take to appear, and any step to end")
      ->check(CLI::Range(1U, 3600U))
      ->capture_default_str()
      ->group(group);
}

void declare_conformance(CLI::App& app, Options& options, Raw& raw) {
  const std::string group = "Conformance";
  app.add_option("--cases", raw.cases,
                 "all, microsoft, ours, or names with commas between them; list shows them")
      ->capture_default_str()
      ->group(group);
  app.add_option("--cases-per-session", options.conformance.cases_per_session,
                 "cases until the client has to connect again, 0: all; 1 for clients that know "
                 "one control channel a session")
      ->capture_default_str()
      ->group(group);
  app.add_option("--case-timeout", raw.case_timeout_s,
                 "seconds that each expected message may take")
      ->check(CLI::Range(1U, 3600U))
      ->capture_default_str()
      ->group(group);
  app.add_option("--case-silence", raw.case_silence_ms,
                 "milliseconds that nothing must come where nothing may come")
      ->check(CLI::Range(1U, 3'600'000U))
      ->capture_default_str()
      ->group(group);
  app.add_option("--case-releases", raw.case_releases,
                 "what the server releases in the handshake: none (as Microsoft's suite), "
                 "notification or windows")
      ->capture_default_str()
      ->group(group);
}

Status check_account(const Raw& raw, Options& options) {
  if (raw.user.empty() != raw.password_file.empty()) {
    return fail(ErrorCode::config, "--user and --password-file go together");
  }
  if (!raw.user.empty()) {
    Result<std::string> password = read_secret(raw.password_file);
    if (!password) return password.error();
    options.account = Account{raw.user, std::move(*password)};
  } else if (!is_loopback(options.address)) {
    return fail(
        ErrorCode::config,
        "--listen " + options.address +
            " is no loopback address, so anybody on the network could open a session; add --user "
            "NAME --password-file FILE, or listen on 127.0.0.1");
  }
  return {};
}

Status check_certificate(const Options& options) {
  if (options.certificate.empty() != options.key.empty()) {
    return fail(ErrorCode::config, "--certificate and --key go together");
  }
  if (!options.certificate.empty() && !options.certificate_directory.empty()) {
    return fail(ErrorCode::config,
                "--certificate-directory makes a certificate, --certificate names one: give one of "
                "the two");
  }
  return {};
}

Status check_usbip(const Raw& raw, Options& options) {
  if (raw.usbip_listen.empty()) return {};
  if (options.sink != SinkKind::usbip)
    return fail(ErrorCode::config, "--usbip-listen needs --sink usbip");
  Status listen =
      parse_listen("--usbip-listen", raw.usbip_listen, options.usbip_address, options.usbip_port);
  if (!listen) return listen;
  // Each session listens for itself: a second one would find the port taken.
  if (options.usbip_port != 0 && raw.sessions_given && options.sessions > 1) {
    return wrong("--usbip-listen", raw.usbip_listen,
                 "one port serves one session; use --sessions 1, or port 0");
  }
  if (options.usbip_port != 0) options.sessions = 1;
  return {};
}

Status check_probe(const Raw& raw, Options& options) {
  probe::Options& probe = options.probe;
  for (const std::string& text : raw.reads) {
    Result<probe::Region> region = parse_region(text);
    if (!region) return region.error();
    probe.reads.push_back(*region);
  }
  for (const std::string& text : raw.writes) {
    Result<probe::WriteRegion> region = parse_write(text);
    if (!region) return region.error();
    probe.writes.push_back(std::move(*region));
  }
  probe.expected_sha256 = CLI::detail::to_lower(raw.sha256);
  const bool hexadecimal =
      probe.expected_sha256.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!raw.sha256.empty() && (!hexadecimal || raw.sha256.size() != 64)) {
    return wrong("--probe-sha256", raw.sha256, "expected 64 hexadecimal digits");
  }
  if (probe.reads.empty() && (!raw.sha256.empty() || !probe.save_path.empty())) {
    return fail(ErrorCode::config, "--probe-sha256 and --probe-save need --probe-read");
  }
  if (probe.command_bytes % 1024 != 0) {
    return wrong("--probe-command-bytes", std::to_string(probe.command_bytes),
                 "expected a multiple of 1024");
  }
  if (probe.bench_rounds != 0 && probe.command_bytes < 64U << 10U) {
    return fail(ErrorCode::config,
                "--probe-bench reads 64 KiB at once: --probe-command-bytes must not be less");
  }
  if (probe.bench_rounds == 0 &&
      (probe.bench_writes || probe.bench_sequential != 0 || !probe.bench_round_trips)) {
    return fail(ErrorCode::config, "the other --probe-bench options need --probe-bench ROUNDS");
  }
  probe.patience = std::chrono::seconds(raw.patience_s);
  return {};
}

Status check_conformance(const Raw& raw, Options& options) {
  if (options.sink != SinkKind::conformance) {
    if (raw.cases_given)
      return fail(ErrorCode::config, "--case... options need --sink conformance");
    return {};
  }
  auto cases = conformance::select_cases(raw.cases);
  if (!cases) return cases.error();
  options.conformance.cases = std::move(*cases);
  conformance::Settings& settings = options.conformance.settings;
  settings.patience = std::chrono::seconds(raw.case_timeout_s);
  settings.silence = std::chrono::milliseconds(raw.case_silence_ms);
  const std::map<std::string, conformance::Releases> releases = {
      {"none", conformance::Releases::none},
      {"notification", conformance::Releases::notification},
      {"windows", conformance::Releases::windows}};
  const auto found = releases.find(raw.case_releases);
  if (found == releases.end())
    return wrong("--case-releases", raw.case_releases, "expected none, notification or windows");
  settings.releases = found->second;
  options.sessions = 1;  // the cases follow each other
  return {};
}

Status check(const Raw& raw, Options& options) {
  const std::map<std::string, SinkKind> sinks = {{"vhci", SinkKind::vhci},
                                                 {"usbip", SinkKind::usbip},
                                                 {"probe", SinkKind::probe},
                                                 {"conformance", SinkKind::conformance}};
  const auto sink = sinks.find(raw.sink);
  if (sink == sinks.end())
    return wrong("--sink", raw.sink, "expected vhci, usbip, probe or conformance");
  options.sink = sink->second;
  if (raw.profile != "plain" && raw.profile != "windows")
    return wrong("--profile", raw.profile, "expected plain or windows");
  if (raw.profile == "windows") options.profile = rdpeusb::Profile::windows;
  if (raw.profile == "windows" && options.sink == SinkKind::conformance) {
    return fail(ErrorCode::config,
                "--profile windows goes with another sink: a conformance case says everything "
                "itself");
  }
  const bool probes = !raw.reads.empty() || !raw.writes.empty() || options.probe.bench_rounds != 0;
  if (probes && options.sink != SinkKind::probe) {
    return fail(
        ErrorCode::config,
        "--probe-... options need --sink probe: with any other sink the probe does not have the "
        "devices");
  }
  if (Status listen = parse_listen("--listen", raw.listen, options.address, options.port); !listen)
    return listen;
  if (Status usbip = check_usbip(raw, options); !usbip) return usbip;
  if (Status cases = check_conformance(raw, options); !cases) return cases;
  if (Status account = check_account(raw, options); !account) return account;
  if (Status certificate = check_certificate(options); !certificate) return certificate;
  for (const std::string& text : raw.allow) {
    Result<Model> model = parse_model(text);
    if (!model) return model.error();
    options.named.insert(*model);
  }
  if (options.transcript_data && options.transcript.empty())
    return fail(ErrorCode::config, "--transcript-data needs --transcript FILE");
  return check_probe(raw, options);
}

}  // namespace

Result<std::variant<Options, PrintAndExit>> parse_options(std::vector<std::string> arguments) {
  CLI::App app(
      "tillbridge-terminal takes the USB sticks that RDP clients redirect (MS-RDPEUSB) and hands "
      "them to this machine.\n"
      "It shows no desktop: a session is only the sticks in it.",
      "tillbridge-terminal");
  Options options;
  options.sessions = limits::terminal_sessions;
  Raw raw;
  declare(app, options, raw);
  declare_conformance(app, options, raw);
  std::reverse(arguments.begin(), arguments.end());  // what CLI11 wants of a vector
  try {
    app.parse(std::move(arguments));
    raw.sessions_given = app.count("--sessions") != 0;
    for (const char* option : {"--cases", "--cases-per-session", "--case-timeout", "--case-silence",
                               "--case-releases"}) {
      raw.cases_given = raw.cases_given || app.count(option) != 0;
    }
  } catch (const CLI::CallForHelp&) {
    return std::variant<Options, PrintAndExit>(PrintAndExit{app.help()});
  } catch (const CLI::CallForVersion&) {
    return std::variant<Options, PrintAndExit>(PrintAndExit{app.version() + "\n"});
  } catch (const CLI::ParseError& error) {
    return fail(ErrorCode::config,
                std::string(error.what()) + "; tillbridge-terminal --help lists the options");
  }
  if (raw.cases == "list")
    return std::variant<Options, PrintAndExit>(PrintAndExit{conformance::list_cases()});
  if (Status checked = check(raw, options); !checked) return checked.error();
  return std::variant<Options, PrintAndExit>(std::move(options));
}

}  // namespace tillbridge::terminal
