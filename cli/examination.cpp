#include "cli/examination.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <utility>
#include <variant>

#include <arpa/inet.h>
#include <netdb.h>
#include <pwd.h>
#include <sys/timex.h>
#include <unistd.h>

#include "channel/pairing/line.hpp"
#include "channel/pairing/till_key.hpp"
#include "cli/examiner.hpp"
#include "plugin/configuration.hpp"
#include "till/identity.hpp"

namespace tillbridge::cli {

namespace {

using State = Finding::State;

constexpr std::int64_t day_s = 86400;
constexpr std::size_t most_pem_bytes = 256U << 10U;

/// False: nothing more can be found out.
bool look_up_name(Examination& found, const plugin::ServerSource& source) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int problem = ::getaddrinfo(source.host.c_str(), nullptr, &wanted, &list);
  if (problem != 0) {
    found.findings.push_back(
        {"name", State::failed,
         "'" + source.host + "' is not found: " + std::string(::gai_strerror(problem)),
         "correct host in the till's configuration, or have the name entered into DNS or "
         "/etc/hosts"});
    found.exit = Exit::unreachable;
    return false;
  }
  std::string addresses;
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(each->ai_addr, each->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) != 0) {
      continue;
    }
    addresses += (addresses.empty() ? "" : ", ") + std::string(text.data());
  }
  ::freeaddrinfo(list);
  found.findings.push_back({"name", State::ok, source.host + " is " + addresses, {}});
  return true;
}

bool synchronised() {
  timex now{};
  return ::adjtimex(&now) != TIME_ERROR && (now.status & STA_UNSYNC) == 0;
}

std::string date(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm utc{};
  ::gmtime_r(&time, &utc);
  std::array<char, 40> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &utc)};
}

/// Of the first certificate in a PEM file.
Result<pairing::CertificateFacts> facts_in(const std::filesystem::path& file) {
  const auto text = till::read_whole(file, most_pem_bytes);
  if (!text) return text.error();
  auto facts = pairing::facts_of_pem(*text);
  if (!facts) return fail(facts.error().code, file.string() + ": " + facts.error().message);
  return facts;
}

bool look_at_clock(Examination& found, const plugin::ServerSource& source) {
  const auto facts = facts_in(source.certificate);
  if (!facts) {
    found.findings.push_back(trouble("clock", facts.error().message, "pair this till anew"));
    found.exit = Exit::usage;
    return false;
  }
  const std::int64_t now = unix_now();
  const std::int64_t not_before = unix_seconds(facts->not_before);
  const std::int64_t not_after = unix_seconds(facts->not_after);
  const std::string here = "this till's clock says " + date(now);
  if (now < not_before) {
    found.findings.push_back(
        {"clock", State::failed,
         here + ", which is before its certificate begins (" + date(not_before) + ")",
         "set this till's clock right (timedatectl set-ntp true)"});
    found.exit = Exit::failed;
    return false;
  }
  if (now > not_after) {
    found.findings.push_back(
        {"clock", State::failed, here + ", and its certificate ended on " + date(not_after),
         "set the clock right if it is wrong (timedatectl set-ntp true); otherwise pair this till "
         "anew (tillbridge till add on the USB server)"});
    found.exit = Exit::failed;
    return false;
  }
  const std::int64_t days = (not_after - now) / day_s;
  // Renewed at two thirds of its life by any session: the last sixth means that none was there.
  const bool ending = not_after - now < (not_after - not_before) / 6;
  found.findings.push_back(
      {"clock", ending ? State::warning : State::ok,
       here + (synchronised() ? "" : " (not synchronised with a time server)") +
           "; the certificate is good for another " + std::to_string(days) + " days",
       ending ? "begin a session: it renews the certificate by itself" : ""});
  return true;
}

std::string account_name() {
  const passwd* const account = ::getpwuid(::geteuid());
  return account == nullptr ? std::to_string(::geteuid()) : account->pw_name;
}

// Whether FreeRDP's plugin could, were it started by this account.
bool look_at_files(Examination& found, const std::filesystem::path& configuration,
                   const plugin::ServerSource& source) {
  const std::string account = account_name();
  for (const auto& file : {source.certificate, source.key, source.authority}) {
    if (::access(file.c_str(), R_OK) == 0 || errno != EACCES) continue;
    found.findings.push_back({"configuration", State::failed,
                              file.string() + " may not be read by the account " + account,
                              "give it to the account whose RDP sessions use the till: chown -R " +
                                  account + " " + file.parent_path().string()});
    found.exit = Exit::usage;
    return false;
  }
  // One file of both is renewed by itself, beside the old one.
  const auto folder = source.certificate.parent_path();
  if (source.certificate == source.key && ::access(folder.c_str(), W_OK) != 0) {
    found.findings.push_back({"configuration", State::warning,
                              "the account " + account + " may not write into " + folder.string() +
                                  ", so the certificate cannot be renewed",
                              "give the folder to the account whose RDP sessions use the till: "
                              "chown -R " +
                                  account + " " + folder.string()});
    return true;
  }
  found.findings.push_back(
      {"configuration",
       State::ok,
       configuration.string() + ", as the account " + account +
           (::geteuid() == 0 ? " (--user NAME looks as the account of the RDP sessions)" : ""),
       {}});
  return true;
}

}  // namespace

Examination examine(const std::filesystem::path& file) {
  Examination found;
  plugin::Arguments arguments;
  arguments.file = file;
  const auto configuration = plugin::load_configuration(arguments);
  if (!configuration) {
    const bool hidden = configuration.error().message.find("may not be read") != std::string::npos;
    found.findings.push_back(
        hidden ? Finding{"configuration", State::failed,
                         file.string() + " may not be read by the account " + account_name(),
                         "let that account read it: chmod 644 " + file.string() +
                             ", and chmod 755 its folder; the key beside it stays its own"}
               : trouble("configuration", configuration.error().message,
                         "pair this till (tillbridge pair), which writes the file"));
    found.exit = Exit::usage;
    return found;
  }
  const auto* source = std::get_if<plugin::ServerSource>(&configuration->source);
  if (source == nullptr) {
    found.findings.push_back({"configuration", State::failed,
                              file.string() + " names a plain USB/IP server",
                              "nothing can be examined there; use usbip list -r HOST"});
    found.exit = Exit::usage;
    return found;
  }
  found.server = source->host + ":" + std::to_string(source->port);
  if (!look_at_files(found, file, *source)) return found;
  if (const auto facts = facts_in(source->authority); facts.ok()) {
    found.authority = pairing::hex(facts->fingerprint);
    found.words = pairing::words_of(facts->fingerprint);
  }
  if (!look_up_name(found, *source) || !look_at_clock(found, *source)) return found;
  examine_link(found, *source);
  return found;
}

}  // namespace tillbridge::cli
