#include "pos/options.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

#include <CLI/CLI.hpp>

#include "channel/bytes/limits.hpp"
#include "pos/cashier.hpp"

namespace tillbridge::pos {
namespace {

constexpr const char* description =
    "A small point of sale for TSE sticks: demos, tests, field checks. It speaks the protocols of\n"
    "cryptovision/D-TRUST and Swissbit (mounted sticks) and Diebold Nixdorf (serial sticks).\n";

constexpr const char* footer = R"(
Which stick
  Without --stick it looks at the mounted FAT file systems for TSE-IO.bin (cryptovision) or TSE_COMM.DAT (Swissbit), and at
  serial lines /dev/ttyACM* (Diebold Nixdorf). One found: that one. None or several: it says so, and how to choose.

PINs
  From --pins FILE (mode 600; lines like "admin-pin = 12345"), then from the variables TILLBRIDGE_ADMIN_PIN,
  TILLBRIDGE_ADMIN_PUK, TILLBRIDGE_TIME_PIN, TILLBRIDGE_TIME_PUK, TILLBRIDGE_TRANSPORT_PIN, then a prompt. The options
  --admin-pin etc. are for tests: other users of the machine can read them. PINs are never printed. A wrong PIN is not
  tried again, and the last try before a PIN is blocked is refused unless --last-try is given; --tries FILE remembers
  how many are left.
                admin PIN    admin PUK    time PIN    time PUK
  cryptovision  8 characters 10           8           10
  Swissbit      5 digits     6            5           -
  Diebold       the ones that came with the stick; with transport-pin, setup changes that one to them first

Examples
  tillbridge-pos setup --client KASSE-01 --pins /root/tse-pins
  tillbridge-pos receipt --client KASSE-01 --amount 12.50 --count 10 --pins /root/tse-pins
  tillbridge-pos --stick /media/tse export tse.tar && tillbridge-pos verify tse.tar

Exit codes
   0  done                              1  verify: something is wrong (each finding is a line)
   2  command line, file, permission    3  anything else the stick refused
  10  no stick found                   11  several sticks found       12  stick asleep or silent
  13  stick gone                       14  used by another program    15  answers make no sense
  20  not set up                       21  no time (and no PIN)       22  self test wanted or failed
  23  certificate expired              24  store or signatures used up  25  deactivated
  26  client not registered            27  open transactions          28  no such transaction
  30  wrong PIN                        31  PIN blocked                32  last try of a PIN refused
  40  answer lost, nothing was signed  41  answer lost, not known whether it was signed: look before you repeat
)";

/// What CLI11 fills in before it is checked.
struct Raw {
  std::string style, amount = "1.00";
  std::filesystem::path pins;
  std::map<Secret, std::string> secrets;
  bool no_qr = false, no_prompt = false;
  std::uint64_t transaction = 0;
  std::uint32_t answer_seconds = 2;
  CLI::Option* data = nullptr;
  CLI::Option* transaction_option = nullptr;
};

void declare_common(CLI::App& app, Options& options, Raw& raw) {
  app.set_version_flag("--version", "tillbridge-pos " TILLBRIDGE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_flag("--json", options.json, "each event as one JSON object a line");

  const std::string which = "Which stick";
  auto* const stick =
      app.add_option("--stick", options.stick, "folder where it is mounted, or its tty")
          ->group(which);
  auto* const usbip =
      app.add_option("--usbip", options.usbip, "HOST:PORT of a USB/IP server that has it; no mount")
          ->group(which)
          ->excludes(stick);
  app.add_option("--serial", options.serial,
                 "with --usbip: the stick's bus id there; at tillbridge-terminal its USB serial "
                 "number will do")
      ->group(which)
      ->needs(usbip);
  app.add_option(
         "--open-style", raw.style,
         "how its files are opened, as real clients do it: direct (default), direct-zeroed, "
         "recreated, each-time, cached")
      ->group(which);
  app.add_option("--seed", options.seed,
                 "Swissbit: the seller's seed of the PINs that the stick was delivered with")
      ->group(which);
  app.add_option("--admin-user", options.admin_user, "Diebold Nixdorf: the admin's name")
      ->capture_default_str()
      ->group(which);
  app.add_option("--time-user", options.time_user, "Diebold Nixdorf: the time admin's name")
      ->capture_default_str()
      ->group(which);

  app.add_option("--answer-seconds", raw.answer_seconds,
                 "Diebold Nixdorf: how long an answer may take; more if a network that fails is in "
                 "its way")
      ->check(CLI::Range(1U, 600U))
      ->capture_default_str()
      ->group(which);

  const std::string pins = "PINs";
  app.add_option("--pins", raw.pins, "file (mode 600) with PINs and PUKs")->group(pins);
  app.add_option("--admin-pin", raw.secrets[Secret::admin_pin], "for tests only")->group(pins);
  app.add_option("--admin-puk", raw.secrets[Secret::admin_puk], "for tests only")->group(pins);
  app.add_option("--time-pin", raw.secrets[Secret::time_pin], "for tests only")->group(pins);
  app.add_option("--time-puk", raw.secrets[Secret::time_puk], "for tests only")->group(pins);
  app.add_option("--transport-pin", raw.secrets[Secret::transport_pin], "for tests only")
      ->group(pins);
  app.add_flag("--last-try", options.last_try, "use up the last try of a PIN, too")->group(pins);
  app.add_option("--tries", options.tries_file,
                 "file that remembers how many tries PINs have left (default: below "
                 "~/.local/state/tillbridge)")
      ->group(pins);
  app.add_flag("--no-prompt", raw.no_prompt, "never ask for a PIN")->group(pins);
}

void add_client(CLI::App& verb, Options& options) {
  verb.add_option("--client", options.client, "the till's client id, at most 30 characters")
      ->capture_default_str();
}

void declare_verbs(CLI::App& app, Options& options, Raw& raw) {
  const auto verb = [&](const char* name, const char* text, Verb which) {
    auto* const command = app.add_subcommand(name, text);
    command->parse_complete_callback([&options, which] { options.verb = which; });
    return command;
  };
  add_client(*verb("setup", "takes a fresh stick into use, and registers the client", Verb::setup),
             options);

  auto* const receipt =
      verb("receipt", "signs receipts; prints the text of the QR code and draws it", Verb::receipt);
  add_client(*receipt, options);
  receipt->add_option("--count", options.count, "how many")
      ->check(CLI::Range(1U, 1'000'000U))
      ->capture_default_str();
  receipt->add_option("--amount", raw.amount, "of each, paid in cash")->capture_default_str();
  receipt->add_option("--type", options.type, "Kassenbeleg-V1, Bestellung-V1 or SonstigerVorgang")
      ->capture_default_str();
  raw.data = receipt->add_option("--data", options.data, "the process data, instead of --amount");
  receipt->add_flag("--no-qr", raw.no_qr, "draw no QR code");

  verb("status", "what the stick tells about itself", Verb::status);

  auto* const exporting =
      verb("export", "writes the stick's whole log as a TAR archive", Verb::export_archive);
  exporting->add_option("FILE", options.file, "the archive; it appears once it is complete")
      ->required();
  exporting->add_flag("--force", options.force, "overwrite it");

  auto* const verify =
      verb("verify", "checks an archive (signatures, counters, certificates) or a receipt",
           Verb::verify);
  auto* const file = verify->add_option("FILE", options.file, "an archive");
  verify->add_option("--qr", options.qr_text, "the text of a receipt's QR code instead")
      ->excludes(file);

  auto* const finish =
      verb("finish-open", "ends transactions that were left open, as aborted", Verb::finish_open);
  add_client(*finish, options);
  raw.transaction_option =
      finish->add_option("--transaction", raw.transaction, "this one only; without: all of them");
}

Deed check(const Raw& raw, Options& options) {
  if (!raw.style.empty()) {
    const Result<OpenStyle> style = parse_open_style(raw.style);
    if (!style) return from_io(style.error());
    options.style = *style;
  }
  if (!raw.pins.empty()) {
    Outcome<std::map<Secret, std::string>> secrets = read_pin_file(raw.pins);
    if (!secrets) return secrets.failure();
    options.secrets = std::move(*secrets);
  }
  for (const auto& [secret, value] : raw.secrets) {
    if (!value.empty()) options.secrets[secret] = value;
  }
  options.prompt = !raw.no_prompt;
  options.answer_within = std::chrono::seconds(raw.answer_seconds);
  options.qr = !raw.no_qr;
  options.data_given = raw.data->count() != 0;
  if (raw.transaction_option->count() != 0) options.transaction = raw.transaction;

  const bool printable =
      std::all_of(options.client.begin(), options.client.end(),
                  [](unsigned char letter) { return letter > ' ' && letter < 0x7F; });
  if (options.client.empty() || options.client.size() > limits::tse_client_id_bytes || !printable) {
    return trouble(Trouble::usage,
                   "--client has 1 to 30 printable ASCII characters without blanks");
  }
  if (options.type.empty() || options.type.size() > limits::tse_process_type_bytes)
    return trouble(Trouble::usage, "--type has 1 to 100 characters");
  if (options.data.size() > limits::tse_process_data_bytes)
    return trouble(Trouble::usage, "--data has at most 64 KiB");
  const Outcome<std::int64_t> amount = parse_amount(raw.amount);
  if (!amount) return amount.failure();
  options.amount_cents = *amount;
  if (options.verb == Verb::receipt && !options.data_given) {
    Outcome<std::string> data = process_data(options.type, options.amount_cents);
    if (!data) return data.failure();
    options.data = std::move(*data);
  }
  if (options.verb == Verb::verify && options.file.empty() && options.qr_text.empty())
    return trouble(Trouble::usage, "verify what? Give an archive, or a receipt with --qr TEXT");
  return done();
}

}  // namespace

Outcome<std::variant<Options, PrintAndExit>> parse_options(std::vector<std::string> arguments) {
  CLI::App app(description, "tillbridge-pos");
  app.footer(footer);
  Options options;
  Raw raw;
  declare_common(app, options, raw);
  declare_verbs(app, options, raw);
  std::reverse(arguments.begin(), arguments.end());  // what CLI11 wants of a vector
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    // With a verb: that verb's.
    return std::variant<Options, PrintAndExit>(PrintAndExit{app.help()});
  } catch (const CLI::CallForVersion&) {
    return std::variant<Options, PrintAndExit>(PrintAndExit{app.version() + "\n"});
  } catch (const CLI::ParseError& error) {
    return trouble(Trouble::usage,
                   std::string(error.what()) + "; tillbridge-pos --help lists the options");
  }
  if (Deed checked = check(raw, options); !checked) return checked.failure();
  return std::variant<Options, PrintAndExit>(std::move(options));
}

}  // namespace tillbridge::pos
