#include "pos/verbs.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "channel/bytes/limits.hpp"
#include "pos/archives.hpp"
#include "pos/cashier.hpp"
#include "pos/connection.hpp"
#include "pos/qr_picture.hpp"
#include "pos/whole_file.hpp"
#include "tse/evidence/archive_check.hpp"
#include "tse/evidence/calendar.hpp"
#include "tse/evidence/receipt.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::pos {
namespace {

Told teller(Reporter& reporter) {
  return [&reporter](const std::string& text) { reporter.tell(text); };
}

std::string two_digits(unsigned number) {
  return (number < 10 ? "0" : "") + std::to_string(number);
}

/// "2026-11-22 21:30:00 UTC"
std::string time_text(std::int64_t unix_s) {
  const evidence::UtcTime time = evidence::utc_time_of(unix_s);
  return std::to_string(time.year) + '-' + two_digits(time.month) + '-' + two_digits(time.day) +
         ' ' + two_digits(time.hour) + ':' + two_digits(time.minute) + ':' +
         two_digits(time.second) + " UTC";
}

template <typename Number>
std::string numbers_text(const std::vector<Number>& numbers) {
  std::string text;
  for (const Number& number : numbers) {
    if (!text.empty()) text += ", ";
    if constexpr (std::is_arithmetic_v<Number>) {
      text += std::to_string(number);
    } else {
      text += number;
    }
  }
  return text.empty() ? "none" : text;
}

}  // namespace

Deed set_up(Tse& tse, const Options& options, Access& access, Reporter& reporter) {
  bool changed = false;
  const Told told = [&](const std::string& text) {
    changed = true;
    reporter.tell(text);
  };
  if (Deed done_so = tse.set_up(options.client, access, told); !done_so) return done_so;
  reporter.report(
      {"setup",
       changed ? "the stick is set up; client " + options.client + " may sign"
               : "the stick was set up already; client " + options.client + " is registered",
       {{"place", tse.place()},
        {"family", std::string(name_of(tse.family()))},
        {"client", options.client},
        {"changed", changed}}});
  return done();
}

// --- receipts

namespace {

Deed report_receipt(const evidence::Receipt& receipt, const Options& options, Reporter& reporter,
                    const Screen& screen) {
  const std::string text = evidence::qr_text(receipt);
  const Status good = evidence::check_receipt(receipt);
  reporter.report({"receipt",
                   "receipt signed: transaction " + std::to_string(receipt.transaction) +
                       ", counter " + std::to_string(receipt.counter) + ", " +
                       time_text(static_cast<std::int64_t>(receipt.end_s)) + ", signature " +
                       (good ? "verifies" : "does NOT verify"),
                   {{"transaction", receipt.transaction},
                    {"counter", receipt.counter},
                    {"start", receipt.start_s},
                    {"end", receipt.end_s},
                    {"client", receipt.client},
                    {"type", receipt.process_type},
                    {"data", receipt.process_data},
                    {"verified", good.ok()},
                    {"qr", text}}});
  reporter.tell(text);
  if (options.qr && !reporter.json()) {
    const Result<std::string> picture = draw_qr(text, screen.colours);
    if (picture) {
      reporter.show(*picture);
    } else {
      reporter.tell("no QR code: " + picture.error().message);
    }
  }
  if (good) return done();
  return trouble(Trouble::finding, "the stick's signature of transaction " +
                                       std::to_string(receipt.transaction) +
                                       " does not verify: " + good.error().message);
}

}  // namespace

Deed sign_receipts(Tse& tse, const Options& options, Access& access, Reporter& reporter,
                   const Screen& screen) {
  Cashier cashier(tse, access, teller(reporter));
  if (Deed ready = cashier.open(options.client); !ready) return ready;
  const Order order{options.client, options.type, options.data};
  for (std::uint32_t number = 0; number < options.count; ++number) {
    const Outcome<evidence::Receipt> receipt = cashier.sign(order);
    if (!receipt) {
      if (options.count == 1) return receipt.failure();
      return trouble(receipt.failure().what, "after " + std::to_string(number) + " of " +
                                                 std::to_string(options.count) +
                                                 " receipts: " + receipt.failure().message);
    }
    if (Deed reported = report_receipt(*receipt, options, reporter, screen); !reported)
      return reported;
  }
  return done();
}

Deed finish_open(Tse& tse, const Options& options, Access& access, Reporter& reporter) {
  Cashier cashier(tse, access, teller(reporter));
  if (Deed ready = cashier.open(options.client); !ready) return ready;
  const Outcome<std::vector<std::uint64_t>> open = tse.open_transactions();
  if (!open) return open.failure();
  std::uint64_t finished = 0;
  for (const std::uint64_t transaction : *open) {
    if (options.transaction && *options.transaction != transaction) continue;
    const Outcome<Signature> end = cashier.finish(transaction, aborted_receipt(options.client));
    if (!end) {
      return trouble(end.failure().what,
                     end.failure().message +
                         " (only the client that started a transaction may end it: --client)");
    }
    ++finished;
    reporter.report({"finished",
                     "transaction " + std::to_string(transaction) + " ended as aborted, counter " +
                         std::to_string(end->counter),
                     {{"transaction", transaction}, {"counter", end->counter}}});
  }
  if (options.transaction && finished == 0) {
    return trouble(Trouble::no_transaction, "transaction " + std::to_string(*options.transaction) +
                                                " is not open; open are: " + numbers_text(*open));
  }
  if (finished == 0) reporter.tell("no transaction is open");
  return done();
}

// --- status

const char* name_of(LifeCycle life_cycle) {
  switch (life_cycle) {
    case LifeCycle::not_initialized:
      return "not set up";
    case LifeCycle::active:
      return "active";
    case LifeCycle::deactivated:
      return "deactivated";
    case LifeCycle::disabled:
      return "decommissioned";
  }
  return "?";
}

Deed show_status(Tse& tse, const Options& /*options*/, Clock& clock, Reporter& reporter) {
  const Outcome<TseStatus> answer = tse.status();
  if (!answer) return answer.failure();
  const TseStatus& status = *answer;
  std::vector<std::pair<std::string, Event::Value>> values;
  const auto say = [&](const std::string& label, const std::string& text, const std::string& key,
                       Event::Value value) {
    reporter.tell(label + std::string(label.size() < 20 ? 20 - label.size() : 1, ' ') + text);
    values.emplace_back(key, std::move(value));
  };
  const auto say_number = [&](const char* label, const char* key,
                              const std::optional<std::uint64_t>& number, const char* unit = "") {
    if (number) say(label, std::to_string(*number) + unit, key, *number);
  };

  say("stick", tse.place(), "place", tse.place());
  say("family", name_of(tse.family()), "family", std::string(name_of(tse.family())));
  if (status.serial) {
    const std::string serial = hexadecimal(*status.serial);
    say("serial number", serial, "serial", serial);
  }
  if (!status.firmware.empty()) say("firmware", status.firmware, "firmware", status.firmware);
  if (!status.certification_id.empty())
    say("certification", status.certification_id, "certification", status.certification_id);
  say("life cycle", name_of(status.life_cycle), "life_cycle",
      std::string(name_of(status.life_cycle)));
  if (status.has_time)
    say("has the time", *status.has_time ? "yes" : "no", "has_time", *status.has_time);
  say_number("time good for", "seconds_to_time", status.seconds_to_time, " s");
  if (status.self_test_passed)
    say("self test passed", *status.self_test_passed ? "yes" : "no", "self_test_passed",
        *status.self_test_passed);
  say_number("self test good for", "seconds_to_self_test", status.seconds_to_self_test, " s");
  say_number("signature counter", "signature_counter", status.signature_counter);
  say_number("signatures left", "signatures_left", status.signatures_left);
  say_number("transaction counter", "transaction_counter", status.transaction_counter);
  say_number("store", "store_bytes", status.store_bytes, " bytes");
  say_number("store, free", "store_bytes_free", status.store_bytes_free, " bytes");
  if (status.clients) {
    say("clients", numbers_text(*status.clients), "clients", *status.clients);
  } else {
    say_number("clients", "client_count", status.client_count);
  }
  say("open transactions", numbers_text(status.open_transactions), "open_transactions",
      status.open_transactions);
  if (status.certificate_end_s) {
    const bool expired = *status.certificate_end_s <= static_cast<std::int64_t>(clock.unix_s());
    say("certificate ends", time_text(*status.certificate_end_s) + (expired ? ": EXPIRED" : ""),
        "certificate_end", *status.certificate_end_s);
    values.emplace_back("certificate_expired", expired);
  }
  reporter.report({"status", "", std::move(values)});
  return done();
}

// --- export

namespace {

/// Does an archive end with its two blocks of zeros? Asked of the last bytes that went through.
class TrailerWatch {
 public:
  void add(ByteView piece) {
    const ByteView end = piece.last(std::min(piece.size(), evidence::tar_trailer_bytes));
    last_.insert(last_.end(), end.begin(), end.end());
    if (last_.size() > evidence::tar_trailer_bytes) {
      const auto surplus = last_.size() - evidence::tar_trailer_bytes;
      last_.erase(last_.begin(), last_.begin() + static_cast<std::ptrdiff_t>(surplus));
    }
    bytes_ += piece.size();
  }
  [[nodiscard]] bool complete() const {
    return last_.size() == evidence::tar_trailer_bytes &&
           std::all_of(last_.begin(), last_.end(), [](std::uint8_t byte) { return byte == 0; });
  }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  Bytes last_;
  std::uint64_t bytes_ = 0;
};

}  // namespace

Deed export_to_file(Tse& tse, const Options& options, Reporter& reporter) {
  Result<AtomicFile> file =
      AtomicFile::create(options.file, options.force ? Overwrite::yes : Overwrite::no);
  if (!file) return from_io(file.error());
  TrailerWatch watch;
  Deed exported = tse.export_archive([&](ByteView piece) -> Status {
    watch.add(piece);
    if (watch.bytes() > limits::pos_export_bytes)
      return fail(ErrorCode::limit, "the stick's export does not end: no TSE stores so much");
    return file->append(piece);
  });
  if (!exported) return exported;
  if (!watch.complete()) {
    const Bytes trailer(evidence::tar_trailer_bytes);
    watch.add(trailer);
    if (Status added = file->append(trailer); !added) return from_io(added.error());
  }
  if (Status finished = file->finish(); !finished) return from_io(finished.error());
  reporter.report(
      {"export",
       "exported " + std::to_string(watch.bytes()) + " bytes to " + options.file.string(),
       {{"file", options.file.string()}, {"bytes", watch.bytes()}}});
  return done();
}

// --- verify

namespace {

Deed verify_receipt(const Options& options, Reporter& reporter) {
  const Result<evidence::Receipt> receipt = evidence::parse_qr_text(options.qr_text);
  const Status good = receipt ? evidence::check_receipt(*receipt) : Status(receipt.error());
  reporter.report({"verify",
                   good ? "the receipt's signature is good: transaction " +
                              std::to_string(receipt->transaction) + ", counter " +
                              std::to_string(receipt->counter) + ", key " +
                              hexadecimal(evidence::serial_of_point(receipt->public_point))
                        : "",
                   {{"good", good.ok()},
                    {"text", good ? std::string("the signature is good") : good.error().message}}});
  if (good) return done();
  return trouble(Trouble::finding, "the receipt is bad: " + good.error().message);
}

}  // namespace

Deed verify(const Options& options, Reporter& reporter) {
  if (!options.qr_text.empty()) return verify_receipt(options, reporter);
  const Result<Bytes> archive = read_whole_file(options.file, limits::tse_archive_bytes);
  if (!archive) return from_io(archive.error());
  const evidence::ArchiveReport report = evidence::check_archive(*archive);
  std::uint64_t errors = 0;
  for (const evidence::ArchiveFinding& finding : report.findings) {
    const bool bad = evidence::is_error(finding.what);
    if (bad) ++errors;
    reporter.report({"finding",
                     std::string(bad ? "BAD " : "note ") + evidence::name_of(finding.what) + ", " +
                         finding.where + ": " + finding.text,
                     {{"finding", std::string(evidence::name_of(finding.what))},
                      {"bad", bad},
                      {"where", finding.where},
                      {"text", finding.text}}});
  }
  const std::string summary =
      std::to_string(report.logs) + " logs (" + std::to_string(report.transaction_logs) +
      " of transactions, " + std::to_string(report.system_logs) + " system, " +
      std::to_string(report.audit_logs) + " audit), " +
      std::to_string(report.finished_transactions) + " of " + std::to_string(report.transactions) +
      " transactions finished, counters " + std::to_string(report.first_counter) + " to " +
      std::to_string(report.last_counter);
  reporter.report({"verify",
                   report.good() ? "good: " + summary : "",
                   {{"good", report.good()},
                    {"errors", errors},
                    {"logs", report.logs},
                    {"transaction_logs", report.transaction_logs},
                    {"system_logs", report.system_logs},
                    {"audit_logs", report.audit_logs},
                    {"keys", report.keys},
                    {"transactions", report.transactions},
                    {"finished_transactions", report.finished_transactions},
                    {"first_counter", report.first_counter},
                    {"last_counter", report.last_counter}}});
  if (report.good()) return done();
  return trouble(Trouble::finding, options.file.string() + " is bad: " + std::to_string(errors) +
                                       (errors == 1 ? " finding; " : " findings; ") + summary);
}

Deed carry_out(const Options& options, Access& access, const FinderRoots& roots, Clock& clock,
               Reporter& reporter, const Screen& screen) {
  if (options.verb == Verb::verify) return verify(options, reporter);
  Outcome<std::unique_ptr<Tse>> tse = choose_tse(options, roots, clock);
  if (!tse) return tse.failure();
  if (Deed connected = (*tse)->connect(); !connected) {
    return trouble(connected.failure().what, (*tse)->place() + ": " + connected.failure().message);
  }
  switch (options.verb) {
    case Verb::setup:
      return set_up(**tse, options, access, reporter);
    case Verb::receipt:
      return sign_receipts(**tse, options, access, reporter, screen);
    case Verb::status:
      return show_status(**tse, options, clock, reporter);
    case Verb::export_archive:
      return export_to_file(**tse, options, reporter);
    case Verb::finish_open:
      return finish_open(**tse, options, access, reporter);
    case Verb::verify:
      break;
  }
  return done();
}

}  // namespace tillbridge::pos
