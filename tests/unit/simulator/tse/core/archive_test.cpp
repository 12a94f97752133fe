// The store as an archive: its head, exports, deletions, and what happens when it is full.

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "core_bench.hpp"
#include "tse/evidence/keys.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::simulator::tse {
namespace {

/// The signature counters of an export's logs; its first `head_files` are not logs.
std::vector<std::uint64_t> counters_of(const Bytes& archive, std::size_t head_files = 4) {
  const auto entries = evidence::read_tar(archive);
  EXPECT_TRUE(entries);
  std::vector<std::uint64_t> counters;
  for (std::size_t i = head_files; i < entries->size(); ++i) {
    const auto log = evidence::parse_log((*entries)[i].content);
    EXPECT_TRUE(log) << (*entries)[i].name;
    if (!log) continue;
    EXPECT_EQ((*entries)[i].name, evidence::file_name(log->message));
    counters.push_back(log->message.counter);
  }
  return counters;
}

std::vector<std::uint64_t> range(std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> numbers;
  for (; first <= last; ++first) numbers.push_back(first);
  return numbers;
}

/// Counters 1 to 3: login, Initialize, UpdateTime; then three transactions, one each minute:
/// till-1 4 5, till-2 6 7, till-1 8 9; 10: LogOut.
void fill(CoreBench& bench) {
  bench.set_up();
  for (std::uint64_t number = 1; number <= 3; ++number) {
    bench.pass(60);
    const char* client = number == 2 ? "till-2" : "till-1";
    ASSERT_TRUE(bench.start(client));
    ASSERT_TRUE(bench.finish(number, client));
  }
  bench.pass(60);
  ASSERT_TRUE(bench.core->logout(User::admin, bench.now));
}

TEST(TseCoreArchive, CertificatesAsOneFileEachOnEveryCurve) {
  for (const evidence::Curve curve : evidence::all_curves) {
    CoreOptions options;
    options.curve = curve;
    options.hash = evidence::usual_hash(curve);
    CoreBench bench(options);
    const auto entries = evidence::read_tar(bench.archive());
    ASSERT_TRUE(entries);
    ASSERT_EQ(entries->size(), 4U);
    EXPECT_EQ((*entries)[0].name, "info.csv");
    const Bytes& info = (*entries)[0].content;
    EXPECT_EQ(std::string(info.begin(), info.end()),
              "\"description:\",\"tillbridge simulated TSE\",\"manufacturer:\",\"tillbridge\","
              "\"version:\",\"1.0\"\n");
    EXPECT_EQ((*entries)[1].name, evidence::hex_of(bench.core->serial()) + "_X509.cer");
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_EQ((*entries)[i + 1].content, bench.core->chain()[i]);
    EXPECT_TRUE(evidence::check_chain(bench.core->chain(), bench.core->certificate_end()));
    const auto certificates = evidence::read_tar(bench.core->certificate_archive());
    ASSERT_TRUE(certificates);
    EXPECT_EQ(certificates->size(), 3U);
    bench.set_up();
    bench.check_archive();
  }
}

TEST(TseCoreArchive, CertificatesInTheBlocksThatSwissbitClientsRead) {
  for (const evidence::Curve curve : evidence::all_curves) {
    CoreOptions options;
    options.curve = curve;
    options.hash = evidence::usual_hash(curve);
    options.chain_in_one_pem = true;
    CoreBench bench(options);
    EXPECT_EQ(bench.core->head_bytes(), 10U * 512);
    const Bytes archive = bench.archive();
    ASSERT_EQ(archive.size(), 10U * 512);
    const std::string text(archive.begin(), archive.end());
    EXPECT_EQ(text.find("info.csv"), 0U);
    EXPECT_EQ(text.find(evidence::hex_of(bench.core->serial()) + "_X509.pem"), 2U * 512);
    EXPECT_EQ(text.find("-----BEGIN CERTIFICATE-----"), 3U * 512);
    const auto certificates =
        evidence::certificates_in(ByteView(archive).subspan(std::size_t{3} * 512));
    ASSERT_TRUE(certificates);
    EXPECT_EQ(*certificates, bench.core->chain());
    bench.set_up();
    bench.check_archive();
  }
}

TEST(TseCoreArchive, FiltersSelect) {
  CoreBench bench;
  fill(bench);
  const auto exported = [&bench](const ExportFilter& filter) {
    const auto archive = bench.core->export_logs(filter);
    EXPECT_TRUE(archive);
    return archive ? counters_of(*archive) : std::vector<std::uint64_t>{};
  };
  using Counters = std::vector<std::uint64_t>;
  EXPECT_EQ(exported({}), range(1, 10));
  ExportFilter filter;
  filter.client = "till-1";
  EXPECT_EQ(exported(filter), (Counters{4, 5, 8, 9}));
  filter.first_transaction = 2;
  EXPECT_EQ(exported(filter), (Counters{8, 9}));
  filter = {};
  filter.first_transaction = filter.last_transaction = 2;
  EXPECT_EQ(exported(filter), (Counters{6, 7}));
  filter = {};
  filter.from_time_s = opening_time_s + 61;
  EXPECT_EQ(exported(filter), range(6, 10));
  filter.to_time_s = opening_time_s + 180;
  EXPECT_EQ(exported(filter), range(6, 9));
  filter.above_counter = 7;
  EXPECT_EQ(exported(filter), (Counters{8, 9}));
  filter = {};
  filter.most_records = 10;
  EXPECT_EQ(exported(filter), range(1, 10));
  filter.most_records = 9;
  EXPECT_EQ(bench.core->export_logs(filter).refusal(), Refusal::too_many_records);
  filter.cut_at_most_records = true;
  filter.above_counter = 1;
  filter.most_records = 3;
  EXPECT_EQ(exported(filter), range(2, 4));
  filter = {};
  filter.client = "till-3";
  EXPECT_EQ(bench.core->export_logs(filter).refusal(), Refusal::no_data);
}

TEST(TseCoreArchive, AnExportInPiecesStaysWhatItWas) {
  CoreBench bench;
  fill(bench);
  ExportFilter filter;
  filter.client = "till-1";
  const auto whole = bench.core->export_logs(filter);
  const auto from = bench.core->open_export(filter);
  ASSERT_TRUE(whole && from);
  EXPECT_EQ(from->bytes(), whole->size());
  EXPECT_EQ(from->records(), 4U);
  ASSERT_TRUE(bench.start());
  Bytes pieces(from->bytes());
  for (std::size_t done = 0; done < pieces.size();) {
    const std::size_t size = std::min<std::size_t>(777, pieces.size() - done);
    ASSERT_TRUE(bench.core->read_export(*from, done, std::span(pieces).subspan(done, size)));
    done += size;
  }
  EXPECT_EQ(pieces, *whole);
  ASSERT_TRUE(bench.core->read_export(*from, from->bytes(), {}));
}

TEST(TseCoreArchive, OnlyWhatWasExportedIsDeleted) {
  CoreOptions options = quick_options();
  options.extended_system_logs = true;
  CoreBench bench(options);
  bench.set_up();
  const std::uint64_t first = bench.core->signature_counter() + 1;
  ASSERT_TRUE(bench.start());
  EXPECT_EQ(bench.core->delete_up_to(1, bench.now).refusal(), Refusal::open_transactions);
  ASSERT_TRUE(bench.finish(1));
  EXPECT_EQ(bench.core->delete_up_to(1, bench.now).refusal(), Refusal::unexported_data);

  // A part from the middle does not count; the beginning alone only for itself.
  ExportFilter filter;
  filter.above_counter = 2;
  ASSERT_TRUE(bench.core->export_logs(filter));
  EXPECT_EQ(bench.core->exported_counter(), 0U);
  filter = {};
  filter.most_records = 2;
  filter.cut_at_most_records = true;
  ASSERT_TRUE(bench.core->export_logs(filter));
  EXPECT_EQ(bench.core->exported_counter(), 2U);
  filter.above_counter = 2;
  const auto opened = bench.core->open_export(filter);
  ASSERT_TRUE(opened);
  Bytes piece(100);
  ASSERT_TRUE(bench.core->read_export(*opened, 0, piece));
  EXPECT_EQ(bench.core->exported_counter(), 2U) << "not read to its end";
  ASSERT_TRUE(bench.core->export_logs(filter));
  EXPECT_EQ(bench.core->exported_counter(), 4U);
  EXPECT_EQ(bench.core->delete_up_to(5, bench.now).refusal(), Refusal::unexported_data);

  ASSERT_TRUE(bench.core->delete_up_to(2, bench.now));
  EXPECT_FALSE(bench.core->read_export(*opened, 0, piece)) << "a deletion ends an export";
  EXPECT_EQ(bench.core->logs().front().counter, 3U);
  EXPECT_EQ(bench.core->delete_up_to(2, bench.now).refusal(), Refusal::no_data);
  bench.check_archive(3);
  EXPECT_EQ(counters_of(bench.archive()), range(3, first + 2)) << "and deleteStoredData";

  ASSERT_TRUE(bench.core->export_logs({}));
  ASSERT_TRUE(bench.core->delete_up_to(UINT64_MAX, bench.now));
  EXPECT_EQ(bench.core->logs().size(), 1U) << "deleteStoredData";
  const auto started = bench.start();
  ASSERT_TRUE(started);
  EXPECT_EQ(started->transaction, 2U);
  bench.check_archive(first + 3);
}

TEST(TseCoreArchive, AFullStoreRefusesCleanlyAndCanBeEmptied) {
  CoreOptions options = quick_options();
  options.store_bytes = 64U << 10U;
  CoreBench bench(options);
  bench.set_up();
  ASSERT_TRUE(bench.core->logout(User::admin, bench.now));
  std::set<std::uint64_t> open;
  for (;;) {
    const Bytes before = bench.archive();
    const auto started = bench.start();
    if (!started) {
      EXPECT_EQ(started.refusal(), Refusal::store_full);
      EXPECT_EQ(bench.archive(), before);
      break;
    }
    open.insert(started->transaction);
    ASSERT_LT(open.size(), 64U);
  }
  ASSERT_FALSE(open.empty());
  EXPECT_EQ(bench.core->open_transactions().size(), open.size());
  EXPECT_EQ(bench.core->transaction_counter(), open.size());
  const Bytes large(8192, 'x');
  EXPECT_EQ(bench.core->finish(*open.begin(), "till-1", large, "t", bench.now).refusal(),
            Refusal::store_full);
  EXPECT_EQ(bench.core->open_transactions().size(), open.size()) << "still open";
  for (const std::uint64_t number : open) ASSERT_TRUE(bench.finish(number));
  while (bench.start()) ASSERT_TRUE(bench.finish(bench.core->transaction_counter()));
  EXPECT_LE(bench.core->store_bytes_used(), options.store_bytes);

  bench.login();  // there is room for that
  ASSERT_TRUE(bench.core->export_logs({}));
  ASSERT_TRUE(bench.core->delete_up_to(bench.core->signature_counter(), bench.now));
  EXPECT_EQ(bench.core->last_log().refusal(), Refusal::no_data);
  const std::uint64_t before = bench.core->signature_counter();
  ASSERT_TRUE(bench.start());
  bench.check_archive(before + 1);

  for (;;) {
    const auto result = bench.core->login(User::admin, admin_pin, bench.now);
    if (result.what == LoginResult::What::ok) continue;
    EXPECT_EQ(result.what, LoginResult::What::refused);
    EXPECT_EQ(result.refusal, Refusal::store_full);
    break;
  }
  EXPECT_LE(bench.core->store_bytes_used(), options.store_bytes);
}

/// A disk that has no room left, now and then.
class FailingStore final : public Store {
 public:
  explicit FailingStore(bool& fails) : fails_(fails), store_(make_memory_store()) {}
  [[nodiscard]] const std::optional<std::string>& state() const override { return store_->state(); }
  [[nodiscard]] std::uint64_t log_bytes() const override { return store_->log_bytes(); }
  Status read_log(std::uint64_t offset, std::span<std::uint8_t> data) override {
    return store_->read_log(offset, data);
  }
  Status commit(const std::string& state, ByteView appended) override {
    if (fails_) return fail(ErrorCode::io, "no room");
    return store_->commit(state, appended);
  }
  Status rewrite(const std::string& state, std::span<const LogRange> kept,
                 ByteView appended) override {
    if (fails_) return fail(ErrorCode::io, "no room");
    return store_->rewrite(state, kept, appended);
  }

 private:
  bool& fails_;
  std::unique_ptr<Store> store_;
};

TEST(TseCoreArchive, WhatCannotBeStoredDidNotHappen) {
  bool fails = false;
  CoreBench bench(quick_options(), std::make_unique<FailingStore>(fails));
  bench.set_up();
  ASSERT_TRUE(bench.start());
  const std::uint64_t before = bench.core->signature_counter();
  fails = true;
  EXPECT_EQ(bench.start().refusal(), Refusal::storage_failed);
  EXPECT_EQ(bench.finish(1).refusal(), Refusal::storage_failed);
  EXPECT_EQ(bench.core->register_client("a", bench.now).refusal(), Refusal::storage_failed);
  EXPECT_EQ(bench.core->set_time(1, bench.now).refusal(), Refusal::storage_failed);
  EXPECT_EQ(bench.core->time_s(bench.now), opening_time_s);
  const auto login = bench.core->login(User::time_admin, time_pin, bench.now);
  EXPECT_EQ(login.refusal, Refusal::storage_failed);
  EXPECT_FALSE(bench.core->logged_in(User::time_admin));
  for (int i = 0; i < 5; ++i)  // an untold try is no try
    EXPECT_EQ(bench.core->login(User::time_admin, "wrong", bench.now).what,
              LoginResult::What::refused);
  EXPECT_EQ(bench.core->tries_left(User::time_admin), 3);
  EXPECT_EQ(bench.core->signature_counter(), before);
  fails = false;
  ASSERT_TRUE(bench.finish(1));
  EXPECT_EQ(bench.core->transaction_counter(), 1U);
  bench.check_archive();
}

TEST(TseCoreArchive, ConfigurationsThatCannotWork) {
  const auto error = [](const std::function<void(CoreOptions&)>& change) {
    CoreOptions options = quick_options();
    change(options);
    const auto opened = TseCore::open(options, make_memory_store());
    EXPECT_FALSE(opened);
    EXPECT_EQ(opened ? ErrorCode::malformed : opened.error().code, ErrorCode::config);
  };
  error([](CoreOptions& options) { options.clock_rate = 0; });
  error([](CoreOptions& options) { options.pin_tries = 0; });
  error([](CoreOptions& options) { options.certificate_end = options.certificate_begin; });
  error([](CoreOptions& options) { options.process_data_piece_bytes = 1; });
  error([](CoreOptions& options) { options.description = "a \"b\""; });
  error([](CoreOptions& options) { options.description.assign(500, 'x'); });
  error([](CoreOptions& options) { options.store_bytes = 1024; });
}

}  // namespace
}  // namespace tillbridge::simulator::tse
