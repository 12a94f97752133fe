// The checks of exports and receipts: ours, and the independent one of tests/support/tse_verify.py.
#include "tse/evidence/archive_check.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "tse/evidence/log_message.hpp"
#include "tse/evidence/receipt.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::tse {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t start_of_2026 = 1767225600, year_s = 365 * 86400;

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

/// A card's export in the making: every file can still be changed, doubled or left out.
struct Export {
  explicit Export(Curve curve = Curve::p256, Hash signing_hash = Hash::sha256)
      : key(SigningKey::generate(curve).value()), hash(signing_hash) {
    chain =
        make_chain(key, {static_cast<std::int64_t>(start_of_2026),
                         static_cast<std::int64_t>(start_of_2026 + year_s), "tillbridge test root"})
            .value();
    files.push_back({"info.csv", bytes_of("\"description:\",\"test\"\n"), start_of_2026});
    for (const Bytes& der : chain) {
      const auto serial = PublicKey::from_certificate(der)->serial();
      files.push_back({hex_of(serial) + "_X509.cer", der, start_of_2026});
    }
    first_log = files.size();
    add(SystemLog{"UpdateTime", bytes_of("\x81\x01x"), {}});
    for (std::uint64_t number = 1; number <= 3; ++number) {
      add(TransactionLog{TransactionStep::start, "till-01", {}, "", {}, {}, number, {}});
      add(TransactionLog{TransactionStep::finish,
                         "till-01",
                         bytes_of("Beleg^1.00^1.00:Bar"),
                         "Kassenbeleg-V1",
                         {},
                         {},
                         number,
                         {}});
    }
    add(AuditLog{bytes_of("power up")});
  }

  template <typename Content>
  LogMessage add(Content content) {
    LogMessage message;
    message.content = std::move(content);
    message.serial = key.public_key().serial();
    message.hash = hash;
    message.counter = next_counter++;
    message.time_s = start_of_2026 + 60 * message.counter;
    return put(message);
  }
  LogMessage put(LogMessage message) {
    sign(message, key);
    files.push_back({file_name(message), encode(message), message.time_s});
    return message;
  }
  [[nodiscard]] Bytes archive() const {
    Bytes bytes;
    for (const TarEntry& file : files) {
      const Bytes entry = tar_entry(file);
      bytes.insert(bytes.end(), entry.begin(), entry.end());
    }
    bytes.resize(bytes.size() + tar_trailer_bytes);
    return bytes;
  }
  [[nodiscard]] ArchiveReport check() const { return check_archive(archive()); }
  /// What the check finds, each kind once per finding, in order.
  [[nodiscard]] std::vector<Finding> found() const {
    std::vector<Finding> kinds;
    for (const ArchiveFinding& finding : check().findings) kinds.push_back(finding.what);
    return kinds;
  }

  SigningKey key;
  Hash hash;
  std::vector<Bytes> chain;
  std::vector<TarEntry> files;
  std::size_t first_log = 0;
  std::uint64_t next_counter = 5;
};

TEST(ArchiveCheck, FindsNothingInAGoodExport) {
  for (const Curve curve : all_curves) {
    const Export made(curve, usual_hash(curve));
    const ArchiveReport report = made.check();
    EXPECT_TRUE(report.good()) << name_of(curve) << ": " << report.findings.front().text;
    EXPECT_THAT(report.findings, IsEmpty());
    EXPECT_EQ(report.logs, 8U);
    EXPECT_EQ(report.transaction_logs, 6U);
    EXPECT_EQ(report.system_logs, 1U);
    EXPECT_EQ(report.audit_logs, 1U);
    EXPECT_EQ(report.keys, 1U);
    EXPECT_EQ(report.transactions, 3U);
    EXPECT_EQ(report.finished_transactions, 3U);
    EXPECT_EQ(report.first_counter, 5U);
    EXPECT_EQ(report.last_counter, 12U);
  }
}

TEST(ArchiveCheck, FindsEveryFlippedBitOfALog) {
  Export made;
  made.files.resize(made.first_log + 3);
  ASSERT_TRUE(made.check().good());
  for (const std::size_t file : {made.first_log, made.first_log + 2}) {
    for (std::size_t at = 0; at < made.files[file].content.size(); ++at) {
      Export changed = made;
      changed.files[file].content[at] ^= static_cast<std::uint8_t>(1U << at % 8);
      EXPECT_FALSE(changed.check().good()) << changed.files[file].name << " byte " << at;
    }
  }
  Export signature = made;
  signature.files.back().content.back() ^= 1U;
  EXPECT_THAT(signature.found(), ElementsAre(Finding::bad_signature));
}

TEST(ArchiveCheck, FindsEveryFlippedBitOfACertificate) {
  Export made;
  made.files.resize(made.first_log + 1);
  ASSERT_THAT(made.found(), IsEmpty());
  for (std::size_t file = 1; file <= 3; ++file) {
    for (std::size_t at = 0; at < made.files[file].content.size(); ++at) {
      Export changed = made;
      changed.files[file].content[at] ^= static_cast<std::uint8_t>(1U << (at + file) % 8);
      EXPECT_FALSE(changed.check().good()) << changed.files[file].name << " byte " << at;
    }
  }
}

TEST(ArchiveCheck, FindsMissingLogs) {
  Export made;
  made.files.erase(made.files.begin() + static_cast<std::ptrdiff_t>(made.first_log) + 3);
  auto report = made.check();
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].what, Finding::missing_counter);
  EXPECT_EQ(report.findings[0].where, "counter 8");
  made.files.erase(made.files.begin() + static_cast<std::ptrdiff_t>(made.first_log) + 3);
  report = made.check();
  ASSERT_FALSE(report.findings.empty());
  EXPECT_EQ(report.findings[0].where, "counters 8 to 9");
}

TEST(ArchiveCheck, FindsDuplicateCounters) {
  Export made;
  made.files.push_back(made.files.back());
  EXPECT_THAT(made.found(), ElementsAre(Finding::duplicate_counter));
  // Two different messages under one number: both well signed.
  Export twice;
  --twice.next_counter;
  twice.add(AuditLog{bytes_of("something else")});
  EXPECT_THAT(twice.found(), ElementsAre(Finding::duplicate_counter));
}

TEST(ArchiveCheck, FindsWrongCertificates) {
  const Export made;
  const Export other;
  Export foreign_leaf = made;
  foreign_leaf.files[1] = other.files[1];
  EXPECT_THAT(foreign_leaf.found(), Contains(Finding::no_certificate).Times(8));

  Export misnamed = made;
  misnamed.files[1].content = other.files[1].content;
  EXPECT_THAT(misnamed.found(), Contains(Finding::name_differs));

  // The right key, but an authority whose certificates are not there.
  Export forged = made;
  forged.files[1].content = make_chain(made.key, {static_cast<std::int64_t>(start_of_2026),
                                                  static_cast<std::int64_t>(start_of_2026 + year_s),
                                                  "tillbridge test root"})
                                .value()[0];
  EXPECT_THAT(forged.found(), ElementsAre(Finding::bad_chain));

  Export without_root = made;
  without_root.files.erase(without_root.files.begin() + 3);
  EXPECT_THAT(without_root.found(), ElementsAre(Finding::bad_chain));

  Export unreadable = made;
  unreadable.files[2].content = bytes_of("nothing");
  EXPECT_THAT(unreadable.found(), ElementsAre(Finding::unreadable_certificate, Finding::bad_chain));
}

TEST(ArchiveCheck, TakesAWholeChainInOnePemFile) {
  Export made;
  std::string pem;
  for (const Bytes& der : made.chain) pem += certificate_pem(der);
  made.files.erase(made.files.begin() + 2, made.files.begin() + 4);
  made.files[1].name = hex_of(made.key.public_key().serial()) + "_X509.pem";
  made.files[1].content = bytes_of(pem);
  EXPECT_THAT(made.found(), IsEmpty());
}

TEST(ArchiveCheck, FindsLogsSignedAfterTheCertificatesEnd) {
  Export made;
  LogMessage late;
  late.content = AuditLog{};
  late.serial = made.key.public_key().serial();
  late.hash = made.hash;
  late.counter = made.next_counter;
  late.time_s = start_of_2026 + year_s + 1;
  made.put(late);
  const auto report = made.check();
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].what, Finding::certificate_expired);
  EXPECT_EQ(report.findings[0].where, file_name(late));
}

TEST(ArchiveCheck, FindsArchivesThatWereCut) {
  const Export made;
  const Bytes whole = made.archive();
  for (std::size_t size = 0; size < whole.size(); size += 100) {
    const auto report = check_archive(ByteView(whole).first(size));
    EXPECT_FALSE(report.good()) << size;
  }
  // Exactly between two files: nothing but the trailer tells.
  const auto report = check_archive(ByteView(whole).first(whole.size() - tar_trailer_bytes));
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].what, Finding::no_trailer);
  EXPECT_THAT(report.findings[0].text, HasSubstr("cut short"));
}

TEST(ArchiveCheck, HoldsNamesAgainstContent) {
  const Export made;
  const std::size_t finish = made.first_log + 2;
  ASSERT_EQ(made.files[finish].name,
            "Unixt_1767226020_Sig-7_Log-Tra_No-1_Finish_Client-till-01.log");
  const auto renamed = [&](const std::string& name) {
    Export changed = made;
    changed.files[finish].name = name;
    return changed.found();
  };
  for (const char* good : {"Unixt_1767226020_Sig-7_Log-Tra_No-1_Finish_Client-till-01_Fc-2.log",
                           "Gent_20260101000000Z_Sig-7_Log-Tra_No-1_Finish_Client-till-01.log"}) {
    EXPECT_THAT(renamed(good), IsEmpty()) << good;
  }
  for (const char* bad : {"Unixt_1767226020_Sig-8_Log-Tra_No-1_Finish_Client-till-01.log",
                          "Unixt_1767226020_Sig-7_Log-Tra_No-2_Finish_Client-till-01.log",
                          "Unixt_1767226020_Sig-7_Log-Tra_No-1_Start_Client-till-01.log",
                          "Unixt_1767226020_Sig-7_Log-Tra_No-1_Finish_Client-till-02.log",
                          "Unixt_1767226020_Sig-7_Log-Aud.log",
                          "Unixt_1767226020_Sig-7_Log-Sys_UpdateTime.log", "a.log"}) {
    EXPECT_THAT(renamed(bad), ElementsAre(Finding::name_differs)) << bad;
  }
  Export long_client = made;
  long_client.add(
      TransactionLog{TransactionStep::start, std::string(120, '/'), {}, "", {}, {}, 1, {}});
  EXPECT_THAT(long_client.found(), IsEmpty());
}

TEST(ArchiveCheck, MentionsOpenTransactions) {
  Export made;
  made.add(TransactionLog{TransactionStep::start, "till-01", {}, "", {}, {}, 4, {}});
  const auto report = made.check();
  EXPECT_TRUE(report.good());
  ASSERT_EQ(report.findings.size(), 1U);
  EXPECT_EQ(report.findings[0].what, Finding::open_transaction);
  EXPECT_EQ(report.findings[0].where, "transaction 4");
}

// --- the independent check

class IndependentCheck : public testing::Test {
 protected:
  IndependentCheck()
      : folder_(std::filesystem::path(testing::TempDir()) /
                ("tse_verify_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~IndependentCheck() override { std::filesystem::remove_all(folder_); }
  IndependentCheck(const IndependentCheck&) = delete;
  IndependentCheck& operator=(const IndependentCheck&) = delete;

  [[nodiscard]] std::string write(const std::string& name, const Bytes& content) const {
    const std::string path = folder_ / name;
    std::ofstream file(path, std::ios::binary);
    for (const std::uint8_t byte : content) file.put(static_cast<char>(byte));
    return path;
  }
  static int run(const std::string& arguments) {
    return std::system(
        ("python3 " TILLBRIDGE_SOURCE_DIR "/tests/support/tse_verify.py " + arguments).c_str());
  }

 private:
  std::filesystem::path folder_;
};

TEST_F(IndependentCheck, PassesOurArchivesOfEveryCurveAndHash) {
  std::string paths;
  for (const Curve curve : all_curves) {
    for (const Hash hash : all_hashes) {
      const std::string name = std::string(name_of(curve)) + "-" + algorithm_name(hash) + ".tar";
      paths += " " + write(name, Export(curve, hash).archive());
    }
  }
  EXPECT_EQ(run(paths), 0);
  Export bad;
  bad.files.back().content.back() ^= 1U;
  EXPECT_NE(run(write("bad.tar", bad.archive())), 0);
}

Receipt receipt_of(const Export& made, const LogMessage& finish) {
  const auto& log = std::get<TransactionLog>(finish.content);
  Receipt receipt;
  receipt.client = log.client;
  receipt.process_type = log.process_type;
  receipt.process_data.assign(log.process_data.begin(), log.process_data.end());
  receipt.transaction = log.number;
  receipt.counter = finish.counter;
  receipt.start_s = finish.time_s - 60;
  receipt.end_s = finish.time_s;
  receipt.hash = finish.hash;
  receipt.time_format = finish.time_format;
  receipt.signature = finish.signature;
  receipt.public_point = made.key.public_key().point();
  return receipt;
}

LogMessage finish_in(Export& made, TimeFormat format = TimeFormat::unix_time) {
  LogMessage message;
  message.content = TransactionLog{TransactionStep::finish,
                                   "till-01",
                                   bytes_of("Beleg^1.00^1.00:Bar"),
                                   "Kassenbeleg-V1",
                                   {},
                                   {},
                                   200,
                                   {}};
  message.serial = made.key.public_key().serial();
  message.hash = made.hash;
  message.counter = made.next_counter++;
  message.time_format = format;
  message.time_s = start_of_2026 + 3;
  return made.put(message);
}

TEST_F(IndependentCheck, PassesOurReceipts) {
  // --qr takes one at a time; the interpreter starts once for all of them.
  std::string texts;
  for (const Curve curve : all_curves) {
    for (const Hash hash : {Hash::sha224, Hash::sha256, Hash::sha384, Hash::sha512}) {
      Export made(curve, hash);
      texts += qr_text(receipt_of(made, finish_in(made))) + "\n";
    }
  }
  const std::string path = write("receipts.txt", bytes_of(texts));
  const std::string all = "python3 -c 'import sys\nsys.path.insert(0, \"" TILLBRIDGE_SOURCE_DIR
                          "/tests/support\")\nimport tse_verify\n"
                          "good = [tse_verify.check_qr(line.rstrip()) for line in open(\"" +
                          path + "\")]\nsys.exit(0 if len(good) == 24 and all(good) else 1)'";
  EXPECT_EQ(std::system(all.c_str()), 0);
  Export made;
  Receipt receipt = receipt_of(made, finish_in(made, TimeFormat::generalized_time));
  EXPECT_EQ(run("--qr '" + qr_text(receipt) + "'"), 0);
  receipt.counter += 1;
  EXPECT_NE(run("--qr '" + qr_text(receipt) + "'"), 0);
}

// --- receipts

TEST(Receipts, SayWhatDsfinvkSays) {
  Receipt receipt;
  receipt.client = "till-01";
  receipt.process_type = "Kassenbeleg-V1";
  receipt.process_data = "Beleg^1.00^1.00:Bar";
  receipt.transaction = 12;
  receipt.counter = 345;
  receipt.start_s = start_of_2026;
  receipt.end_s = start_of_2026 + 3;
  receipt.hash = Hash::sha384;
  receipt.signature = {1, 2, 3};
  receipt.public_point = {4, 5};
  EXPECT_EQ(qr_text(receipt),
            "V0;till-01;Kassenbeleg-V1;Beleg^1.00^1.00:Bar;12;345;2026-01-01T00:00:00.000Z;"
            "2026-01-01T00:00:03.000Z;ecdsa-plain-SHA384;unixTime;AQID;BAU=");
}

TEST(Receipts, AreReadAndVerified) {
  for (const Curve curve : all_curves) {
    for (const auto format :
         {TimeFormat::unix_time, TimeFormat::utc_time, TimeFormat::generalized_time}) {
      Export made(curve, usual_hash(curve));
      Receipt receipt = receipt_of(made, finish_in(made, format));
      const auto read = parse_qr_text(qr_text(receipt));
      ASSERT_TRUE(read.ok()) << read.error().message;
      EXPECT_EQ(qr_text(*read), qr_text(receipt));
      EXPECT_TRUE(check_receipt(*read).ok()) << check_receipt(*read).error().message;
      Receipt changed = *read;
      changed.process_data = "Beleg^0.10^0.10:Bar";
      EXPECT_FALSE(check_receipt(changed).ok());
      changed = *read;
      changed.public_point = SigningKey::generate(curve)->public_key().point();
      EXPECT_THAT(check_receipt(changed).error().message, HasSubstr("does not fit"));
      changed.public_point[1] ^= 1U;
      EXPECT_FALSE(check_receipt(changed).ok());
      changed.public_point.clear();
      EXPECT_THAT(check_receipt(changed).error().message, HasSubstr("none of the curves"));
    }
  }
}

TEST(Receipts, MayHoldSemicolonsInTheirData) {
  Export made;
  Receipt receipt = receipt_of(made, finish_in(made));
  receipt.process_data = "2;\"Eisbecher\";3.99\r1;\"Kaffee\";2.50";
  const auto read = parse_qr_text(qr_text(receipt));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->process_data, receipt.process_data);
  EXPECT_EQ(read->transaction, 200U);
}

TEST(Receipts, SayWhatIsWrongWithTheirText) {
  const std::string good =
      "V0;c;t;d;1;2;2026-01-01T00:00:00.000Z;2026-01-01T00:00:03Z;ecdsa-plain-SHA3-256;utcTime;"
      "AQID;BAU=";
  ASSERT_TRUE(parse_qr_text(good).ok());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    const auto read = parse_qr_text(text);
    return read ? std::string("good") : read.error().message;
  };
  EXPECT_THAT(with("V0", "V1"), HasSubstr("version"));
  EXPECT_THAT(with(";1;2;", ";-1;2;"), HasSubstr("transaction number"));
  EXPECT_THAT(with(";1;2;", ";1;99999999999999999999;"), HasSubstr("counter"));
  EXPECT_THAT(with("03Z", "03"), HasSubstr("time"));
  EXPECT_THAT(with("03Z", "61Z"), HasSubstr("time"));
  EXPECT_THAT(with("03Z", "03.Z"), HasSubstr("time"));
  EXPECT_THAT(with("03Z", "03.12x4Z"), HasSubstr("time"));
  EXPECT_THAT(with("00.000Z", ""), HasSubstr("time"));
  EXPECT_THAT(with("SHA3-256", "MD5"), HasSubstr("algorithm"));
  EXPECT_THAT(with("utcTime", "localTime"), HasSubstr("time format"));
  EXPECT_THAT(with("AQID", "AQI!"), HasSubstr("signature"));
  EXPECT_THAT(with("BAU=", "BAU"), HasSubstr("public key"));
  EXPECT_THAT(with("V0;c;t;", "V0;"), HasSubstr("twelve fields"));
  EXPECT_FALSE(parse_qr_text("").ok());
  EXPECT_FALSE(parse_qr_text(std::string(20000, ';')).ok());
}

}  // namespace
}  // namespace tillbridge::tse
