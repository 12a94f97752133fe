#include "tse/evidence/archive_check.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <set>
#include <string_view>

#include "channel/bytes/limits.hpp"
#include "tse/evidence/log_message.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::tse {
namespace {

// --- names of files

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (text.substr(0, prefix.size()) != prefix) return false;
  text.remove_prefix(prefix.size());
  return true;
}

bool take_number(std::string_view& text, std::uint64_t expected) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (error != std::errc() || value != expected) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.begin()));
  return true;
}

/// "_Fc-3" is appended to a name that would otherwise occur twice.
std::string_view without_file_counter(std::string_view name) {
  const std::size_t at = name.rfind("_Fc-");
  if (at == std::string_view::npos) return name;
  const std::string_view number = name.substr(at + 4);
  const bool counts =
      !number.empty() && number.find_first_not_of("0123456789") == std::string_view::npos;
  return counts ? name.substr(0, at) : name;
}

/// `cut`: the name is as long as names can be, so its last part may have lost its end.
bool same_part(std::string_view in_name, std::string_view content, bool cut) {
  const std::string written = file_name_part(content);
  if (cut && !in_name.empty()) return written.substr(0, in_name.size()) == in_name;
  return in_name == written || in_name == content;
}

bool name_fits(std::string_view name, const LogMessage& message) {
  const bool cut = name.size() >= tar_name_bytes;
  name.remove_suffix(std::string_view(".log").size());
  name = without_file_counter(name);
  const std::size_t at = name.find("_Sig-");
  if (at == std::string_view::npos) return false;
  name.remove_prefix(at);
  if (!take_prefix(name, "_Sig-") || !take_number(name, message.counter) ||
      !take_prefix(name, "_Log-")) {
    return false;
  }
  if (const auto* transaction = std::get_if<TransactionLog>(&message.content)) {
    if (!take_prefix(name, "Tra_No-") || !take_number(name, transaction->number) ||
        !take_prefix(name, "_")) {
      return false;
    }
    const std::size_t client = name.find("_Client-");
    if (client == std::string_view::npos) return false;
    const std::string step = lower(name.substr(0, client)) + "transaction";
    return step == lower(operation_name(transaction->step)) &&
           same_part(name.substr(client + 8), transaction->client, cut);
  }
  if (const auto* system = std::get_if<SystemLog>(&message.content)) {
    return take_prefix(name, "Sys_") && same_part(lower(name), lower(system->operation), cut);
  }
  return name == "Aud";
}

bool ends_with_any(const std::string& lower_name, std::initializer_list<std::string_view> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](std::string_view ending) {
    return lower_name.size() >= ending.size() &&
           lower_name.compare(lower_name.size() - ending.size(), ending.size(), ending) == 0;
  });
}

std::string printable(const std::string& name) {
  std::string text = name;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = '?';
  }
  return text;
}

// --- the check

struct Key {
  PublicKey key;
  std::vector<Bytes> certificates;  ///< more than one when it was renewed
  std::int64_t start = 0, end = 0;  ///< of the certificate that lasts longest
};

/// What the logs of one key say together.
struct Signed {
  std::map<std::uint64_t, std::uint64_t> counters;  ///< how often each occurs
  struct Transaction {
    bool started = false, finished = false;
    std::string client;
  };
  std::map<std::uint64_t, Transaction> transactions;
  std::uint64_t last_time_s = 0;
  std::uint64_t after_end = 0;  ///< logs signed after the certificate's end
  std::string first_after_end;
};

class Check {
 public:
  ArchiveReport run(ByteView archive) {
    std::vector<TarView> entries;
    const Status read = view_tar(archive, entries);
    for (const TarView& entry : entries) {
      if (ends_with_any(lower(entry.name), {"_x509.cer", "_x509.crt", "_x509.pem", "_x509.der"})) {
        certificate_file(entry);
      }
    }
    for (const TarView& entry : entries) {
      if (ends_with_any(lower(entry.name), {".log"})) log_file(entry);
    }
    for (const auto& [serial, logs] : signed_) {
      counters(serial, logs);
      certificates(serial, logs);
    }
    if (!read) {
      add(Finding::not_an_archive, "the archive", read.error().message);
    } else if (!has_tar_trailer(archive)) {
      add(Finding::no_trailer, "the archive",
          "The archive does not end as a TAR does, with 1024 zero bytes: it may have been cut "
          "short. Export it again.");
    }
    for (const auto& [serial, logs] : signed_) transactions(logs);
    report_.keys = signed_.size();
    return std::move(report_);
  }

 private:
  void add(Finding what, std::string where, std::string text) {
    if (report_.findings.size() >= limits::tse_archive_findings) return;
    report_.findings.push_back({what, std::move(where), std::move(text)});
  }

  void certificate_file(const TarView& entry) {
    const std::string name = printable(entry.name);
    const auto certificates = certificates_in(entry.content);
    if (!certificates) {
      return add(Finding::unreadable_certificate, name, certificates.error().message);
    }
    bool named = false;
    const std::string lower_name = lower(entry.name);
    for (const Bytes& der : *certificates) {
      if (pool_.size() >= limits::tse_certificates) {
        return add(Finding::unreadable_certificate, name,
                   "There are more certificates than any TSE has; this one was not looked at.");
      }
      pool_.push_back(der);
      // An authority's key may be of any kind; only keys that a TSE may have can sign logs.
      const auto key = PublicKey::from_certificate(der);
      if (!key) continue;
      named = named || lower_name.starts_with(hex_of(key->serial()));
      const auto start = certificate_start(der);
      const auto end = certificate_end(der);
      if (!start || !end) {
        add(Finding::unreadable_certificate, name, "The certificate's validity cannot be read.");
        continue;
      }
      auto& known = keys_.try_emplace(key->serial(), Key{*key, {}, *start, *end}).first->second;
      known.certificates.push_back(der);
      if (*end > known.end) {
        known.start = *start;
        known.end = *end;
      }
    }
    constexpr std::size_t hex_digits = 2 * sizeof(SerialNumber);
    const bool names_a_key = lower_name.find_first_not_of("0123456789abcdef") == hex_digits &&
                             lower_name[hex_digits] == '_';
    if (names_a_key && !named) {
      add(Finding::name_differs, name,
          "The file is named after another key than the one in its certificate.");
    }
  }

  void log_file(const TarView& entry) {
    const std::string name = printable(entry.name);
    ++report_.logs;
    const auto parsed = parse_log(entry.content);
    if (!parsed) return add(Finding::unreadable_log, name, parsed.error().message);
    const LogMessage& message = parsed->message;
    count_kind(message);
    if (!name_fits(entry.name, message)) {
      add(Finding::name_differs, name,
          "The file's name and its content disagree; by its content it would be '" +
              printable(file_name(message)) + "'.");
    }
    Signed& logs = signed_[message.serial];
    if (++logs.counters[message.counter] == 2) {
      add(Finding::duplicate_counter, name,
          "The signature counter " + std::to_string(message.counter) + " occurs more than once.");
    }
    logs.last_time_s = std::max(logs.last_time_s, message.time_s);
    note_transaction(logs, message);
    const auto key = keys_.find(message.serial);
    if (key == keys_.end()) {
      return add(Finding::no_certificate, name,
                 "No certificate in the archive has the key " + hex_of(message.serial) +
                     " that signed this log.");
    }
    if (!key->second.key.verify(message.hash, parsed->signed_bytes, message.signature)) {
      add(Finding::bad_signature, name,
          "The signature is wrong: the log was changed, or another key signed it.");
    }
    if (message.time_s > static_cast<std::uint64_t>(std::max<std::int64_t>(key->second.end, 0))) {
      if (logs.after_end++ == 0) logs.first_after_end = name;
    }
  }

  void count_kind(const LogMessage& message) {
    if (std::holds_alternative<TransactionLog>(message.content)) ++report_.transaction_logs;
    if (std::holds_alternative<SystemLog>(message.content)) ++report_.system_logs;
    if (std::holds_alternative<AuditLog>(message.content)) ++report_.audit_logs;
    const bool first = report_.transaction_logs + report_.system_logs + report_.audit_logs == 1;
    report_.first_counter =
        first ? message.counter : std::min(report_.first_counter, message.counter);
    report_.last_counter = std::max(report_.last_counter, message.counter);
  }

  static void note_transaction(Signed& logs, const LogMessage& message) {
    const auto* transaction = std::get_if<TransactionLog>(&message.content);
    if (transaction == nullptr) return;
    Signed::Transaction& seen = logs.transactions[transaction->number];
    seen.client = transaction->client;
    seen.started = seen.started || transaction->step == TransactionStep::start;
    seen.finished = seen.finished || transaction->step == TransactionStep::finish;
  }

  void counters(const SerialNumber& serial, const Signed& logs) {
    std::uint64_t expected = logs.counters.begin()->first;
    for (const auto& [counter, times] : logs.counters) {
      if (counter != expected) {
        const bool one = counter - expected == 1;
        const std::string which =
            one ? "counter " + std::to_string(expected)
                : "counters " + std::to_string(expected) + " to " + std::to_string(counter - 1);
        add(Finding::missing_counter, which,
            "The log" + std::string(one ? "" : "s") + " of the signature " + which +
                (one ? " is" : " are") + " missing (key " + hex_of(serial).substr(0, 16) + "...).");
      }
      expected = counter + 1;
    }
  }

  void certificates(const SerialNumber& serial, const Signed& logs) {
    const auto key = keys_.find(serial);
    if (key == keys_.end()) return;  // said at each log
    const std::string where = "certificate of " + hex_of(serial);
    if (logs.after_end > 0) {
      add(Finding::certificate_expired, logs.first_after_end,
          std::to_string(logs.after_end) +
              " logs were signed after the end of the TSE's certificate; this is the first.");
    }
    // An expired certificate was named above. The chain is judged at the last moment at which the
    // certificate was in use.
    const auto last = static_cast<std::int64_t>(
        std::min<std::uint64_t>(logs.last_time_s, static_cast<std::uint64_t>(INT64_MAX)));
    const std::int64_t moment = std::max(key->second.start, std::min(last, key->second.end));
    Status chain;
    for (const Bytes& leaf : key->second.certificates) {
      chain = check_chain(find_chain(leaf, pool_), moment);
      if (chain) return;
    }
    add(Finding::bad_chain, where, chain.error().message);
  }

  void transactions(const Signed& logs) {
    for (const auto& [number, transaction] : logs.transactions) {
      ++report_.transactions;
      if (transaction.finished) ++report_.finished_transactions;
      if (!transaction.started || transaction.finished) continue;
      add(Finding::open_transaction, "transaction " + std::to_string(number),
          "The transaction " + std::to_string(number) + " of '" + printable(transaction.client) +
              "' was started and not finished.");
    }
  }

  ArchiveReport report_;
  std::vector<Bytes> pool_;
  std::map<SerialNumber, Key> keys_;
  std::map<SerialNumber, Signed> signed_;
};

}  // namespace

const char* name_of(Finding finding) {
  switch (finding) {
    case Finding::not_an_archive:
      return "damaged archive";
    case Finding::unreadable_log:
      return "unreadable log";
    case Finding::unreadable_certificate:
      return "unreadable certificate";
    case Finding::no_certificate:
      return "no certificate";
    case Finding::bad_signature:
      return "bad signature";
    case Finding::name_differs:
      return "name differs";
    case Finding::missing_counter:
      return "missing log";
    case Finding::duplicate_counter:
      return "duplicate counter";
    case Finding::bad_chain:
      return "bad certificate chain";
    case Finding::certificate_expired:
      return "certificate expired";
    case Finding::no_trailer:
      return "no end of archive";
    case Finding::open_transaction:
      return "open transaction";
  }
  return "";
}

bool is_error(Finding finding) {
  return finding != Finding::open_transaction;
}

bool ArchiveReport::good() const {
  return std::none_of(findings.begin(), findings.end(),
                      [](const ArchiveFinding& finding) { return is_error(finding.what); });
}

ArchiveReport check_archive(ByteView archive) {
  return Check().run(archive);
}

}  // namespace tillbridge::tse
