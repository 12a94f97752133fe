// The command line of tillbridge-pos.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "pos/access.hpp"
#include "pos/stick_io.hpp"
#include "pos/trouble.hpp"

namespace tillbridge::pos {

enum class Verb : std::uint8_t { setup, receipt, status, export_archive, verify, finish_open };

struct Options {
  Verb verb = Verb::status;

  // --- which stick
  std::string stick;          ///< folder or tty; empty: look for it
  std::string usbip, serial;  ///< HOST:PORT of a USB/IP server, and which of its sticks
  std::optional<OpenStyle> style;
  std::string seed;                               ///< Swissbit's transport PINs
  std::string admin_user = "1", time_user = "2";  ///< Diebold Nixdorf
  std::chrono::seconds answer_within{2};          ///< Diebold Nixdorf

  // --- PINs
  std::map<Secret, std::string> secrets;
  std::filesystem::path tries_file;  ///< empty: the usual one
  bool last_try = false;
  bool prompt = true;

  bool json = false;

  // --- setup, receipt, finish-open
  std::string client = "tillbridge-pos";
  // --- receipt
  std::uint32_t count = 1;
  std::int64_t amount_cents = 0;
  std::string type = "Kassenbeleg-V1";
  std::string data;
  bool data_given = false;
  bool qr = true;
  // --- finish-open
  std::optional<std::uint64_t> transaction;
  // --- export, verify
  std::filesystem::path file;
  bool force = false;
  std::string qr_text;
};

/// --help and --version print this and end.
struct PrintAndExit {
  std::string text;
};

/// Without the program's name. Reads the file of --pins.
[[nodiscard]] Outcome<std::variant<Options, PrintAndExit>> parse_options(
    std::vector<std::string> arguments);

}  // namespace tillbridge::pos
