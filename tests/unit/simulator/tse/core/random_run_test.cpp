// Thousands of seeded operations against a model that knows no more than the rules: what a TSE
// answers, what it counts, and what an auditor finds in the end.

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "core_bench.hpp"
#include "tests/unit/simulator/temporary_folder.hpp"

namespace tillbridge::simulator::tse {
namespace {

using What = LoginResult::What;

/// Outlives the TSE that uses it, as a stick's memory outlives the program.
class SharedStore final : public Store {
 public:
  explicit SharedStore(std::shared_ptr<Store> store) : store_(std::move(store)) {}
  [[nodiscard]] const std::optional<std::string>& state() const override { return store_->state(); }
  [[nodiscard]] std::uint64_t log_bytes() const override { return store_->log_bytes(); }
  Status read_log(std::uint64_t offset, std::span<std::uint8_t> data) override {
    return store_->read_log(offset, data);
  }
  Status commit(const std::string& state, ByteView appended) override {
    return store_->commit(state, appended);
  }
  Status rewrite(const std::string& state, std::span<const LogRange> kept,
                 ByteView appended) override {
    return store_->rewrite(state, kept, appended);
  }

 private:
  std::shared_ptr<Store> store_;
};

class RandomRun {
 public:
  RandomRun(std::uint64_t seed, const CoreOptions& options)
      : random_(seed), options_(options), bench_(options, std::make_unique<SharedStore>(store_)) {
    EXPECT_TRUE(bench_.core->set_pins(User::admin, admin_puk, admin_pin, bench_.now));
    EXPECT_TRUE(bench_.core->set_pins(User::time_admin, time_puk, time_pin, bench_.now));
    bench_.login();
    EXPECT_TRUE(bench_.core->initialize(bench_.now));
    logged_in_[0] = true;
    counter_ = 2;
  }

  void run(int operations) {
    for (int i = 0; i < operations && !testing::Test::HasFailure(); ++i) {
      bench_.pass(static_cast<double>(below(20)));
      step();
      compare();
      if (testing::Test::HasFailure()) ADD_FAILURE() << "at operation " << i;
    }
  }
  [[nodiscard]] CoreBench& bench() { return bench_; }
  [[nodiscard]] std::uint64_t first_counter() const { return deleted_ + 1; }
  [[nodiscard]] std::uint64_t power_cycles() const { return power_cycles_; }
  [[nodiscard]] std::uint64_t refusals() const { return refusals_; }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  std::string any_client() { return "till-" + std::to_string(below(6)); }
  User any_user() { return below(2) == 0 ? User::admin : User::time_admin; }
  static std::size_t index(User user) { return static_cast<std::size_t>(user); }
  static std::string pin_of(User user) {
    return std::string(user == User::admin ? admin_pin : time_pin);
  }

  void step() {
    switch (below(16)) {
      case 0:
        return login();
      case 1:
        return logout();
      case 2:
        return unblock();
      case 3:
        return set_time();
      case 4:
        return below(2) == 0 ? register_client() : deregister_client();
      case 5:
        return below(8) == 0 ? lose_power() : start();
      case 6:
        return below(20) == 0 ? delete_exported() : start();
      case 7:
      case 8:
        return start();
      case 9:
      case 10:
        return continue_transaction(false);
      default:
        return continue_transaction(true);
    }
  }

  void login() {
    const User user = any_user();
    const bool right = below(3) != 0;
    const auto result = bench_.core->login(user, right ? pin_of(user) : "00000000", bench_.now);
    auto& tries = tries_[index(user)];
    if (tries == 0) {
      EXPECT_EQ(result.what, What::blocked);
    } else if (right) {
      EXPECT_EQ(result.what, What::ok);
      tries = 3;
      logged_in_[index(user)] = true;
    } else {
      EXPECT_EQ(result.what, What::wrong);
      --tries;
    }
    EXPECT_EQ(result.tries_left, tries);
    ++counter_;
  }
  void logout() {
    const User user = any_user();
    expect(bench_.core->logout(user, bench_.now), logged_in_[index(user)], Refusal::not_logged_in);
    if (std::exchange(logged_in_[index(user)], false)) ++counter_;
  }
  void unblock() {
    const User user = any_user();
    const bool right = puk_tries_[index(user)] == 1 || below(3) != 0;
    const std::string_view puk = user == User::admin ? admin_puk : time_puk;
    const auto result =
        bench_.core->unblock(user, right ? puk : "0000000000", pin_of(user), bench_.now);
    EXPECT_EQ(result.what, right ? What::ok : What::wrong);
    if (right) tries_[index(user)] = 3;
    puk_tries_[index(user)] = right ? 3 : static_cast<std::uint8_t>(puk_tries_[index(user)] - 1);
    ++counter_;
  }
  void set_time() {
    const bool allowed = logged_in_[0] || logged_in_[1];
    const auto to = opening_time_s + static_cast<std::uint64_t>(bench_.now.count()) / 1'000'000;
    if (!expect(bench_.core->set_time(to, bench_.now), allowed, Refusal::not_logged_in)) return;
    has_time_ = true;
    ++counter_;
  }
  [[nodiscard]] std::optional<Refusal> not_admin() const {
    if (logged_in_[0]) return std::nullopt;
    return logged_in_[1] ? Refusal::not_authorised : Refusal::not_logged_in;
  }
  [[nodiscard]] bool is_registered(const std::string& client) const {
    return std::find(clients_.begin(), clients_.end(), client) != clients_.end();
  }
  void register_client() {
    const std::string client = any_client();
    auto refusal = not_admin();
    if (!refusal && !is_registered(client) && clients_.size() == options_.most_clients)
      refusal = Refusal::too_many_clients;
    const bool added = !refusal && !is_registered(client);
    if (expect(bench_.core->register_client(client, bench_.now), refusal) && added)
      clients_.push_back(client);
  }
  void deregister_client() {
    const std::string client = any_client();
    auto refusal = not_admin();
    if (!refusal && !is_registered(client)) refusal = Refusal::unknown_client;
    for (const auto& [number, owner] : open_)
      if (!refusal && owner == client) refusal = Refusal::client_has_open_transactions;
    if (expect(bench_.core->deregister_client(client, bench_.now), refusal))
      clients_.erase(std::find(clients_.begin(), clients_.end(), client));
  }
  [[nodiscard]] std::optional<Refusal> cannot_sign(const std::string& client) const {
    if (!has_time_) return Refusal::no_time;
    return is_registered(client) ? std::nullopt : std::optional(Refusal::unknown_client);
  }
  void start() {
    const std::string client = any_client();
    auto refusal = cannot_sign(client);
    if (!refusal && open_.size() == options_.most_open_transactions)
      refusal = Refusal::too_many_transactions;
    const auto answer = bench_.core->start(client, {}, "", bench_.now);
    if (!expect(answer, refusal)) return;
    EXPECT_EQ(answer->transaction, ++transactions_);
    EXPECT_EQ(answer->counter, ++counter_);
    open_[transactions_] = client;
  }
  void continue_transaction(bool finish) {
    const std::uint64_t number = below(transactions_ + 2);
    auto open = below(8) == 0 || open_.empty()
                    ? open_.find(number)
                    : std::next(open_.begin(), static_cast<std::ptrdiff_t>(below(open_.size())));
    const std::uint64_t asked = open == open_.end() ? number : open->first;
    const std::string client = open == open_.end() || below(8) == 0 ? any_client() : open->second;
    auto refusal = cannot_sign(client);
    if (!refusal && open == open_.end()) refusal = Refusal::no_such_transaction;
    if (!refusal && open->second != client) refusal = Refusal::not_clients_transaction;
    Bytes data(below(10) == 0 ? below(5000) : below(200));
    std::generate(data.begin(), data.end(),
                  [this] { return static_cast<std::uint8_t>(random_()); });
    const auto answer = finish
                            ? bench_.core->finish(asked, client, data, "Kassenbeleg-V1", bench_.now)
                            : bench_.core->update(asked, client, data, "Bestellung-V1", bench_.now);
    if (!expect(answer, refusal)) return;
    EXPECT_EQ(answer->transaction, asked);
    EXPECT_EQ(answer->counter, ++counter_);
    if (finish) open_.erase(open);
  }
  void lose_power() {
    ++power_cycles_;
    logged_in_ = {};
    has_time_ = false;
    if (below(2) == 0) return bench_.core->power_cycle();
    bench_.core.reset();
    auto opened = TseCore::open(options_, std::make_unique<SharedStore>(store_));
    ASSERT_TRUE(opened) << opened.error().message;
    bench_.core = std::move(*opened);
  }
  void delete_exported() {
    ASSERT_TRUE(bench_.core->export_logs({}));
    auto refusal = not_admin();
    if (!refusal && !open_.empty()) refusal = Refusal::open_transactions;
    if (expect(bench_.core->delete_up_to(counter_ - 1, bench_.now), refusal))
      deleted_ = counter_ - 1;
  }

  template <typename T>
  bool expect(const Answer<T>& answer, std::optional<Refusal> refusal) {
    EXPECT_EQ(answer.ok(), !refusal.has_value());
    if (!answer.ok() && refusal) {
      EXPECT_EQ(answer.refusal(), *refusal);
      ++refusals_;
    }
    return answer.ok() && !refusal;
  }
  bool expect(const Done& answer, bool allowed, Refusal refusal) {
    return expect(answer, allowed ? std::nullopt : std::optional(refusal));
  }

  void compare() {
    const TseCore& core = *bench_.core;
    EXPECT_EQ(core.signature_counter(), counter_);
    EXPECT_EQ(core.transaction_counter(), transactions_);
    EXPECT_EQ(core.clients(), clients_);
    EXPECT_EQ(core.logs().size(), counter_ - deleted_);
    EXPECT_EQ(core.has_time(bench_.now), has_time_);
    std::map<std::uint64_t, std::string> open;
    for (const auto& transaction : core.open_transactions())
      open[transaction.number] = transaction.client;
    EXPECT_EQ(open, open_);
    for (const User user : {User::admin, User::time_admin}) {
      EXPECT_EQ(core.tries_left(user), tries_[index(user)]);
      EXPECT_EQ(core.puk_tries_left(user), puk_tries_[index(user)]);
      EXPECT_EQ(core.logged_in(user), logged_in_[index(user)]);
    }
  }

  std::mt19937_64 random_;
  CoreOptions options_;
  std::shared_ptr<Store> store_ = make_memory_store();
  CoreBench bench_;

  // --- the model
  std::uint64_t counter_ = 0, transactions_ = 0, deleted_ = 0, power_cycles_ = 0, refusals_ = 0;
  std::map<std::uint64_t, std::string> open_;
  std::vector<std::string> clients_;
  std::array<std::uint8_t, user_count> tries_{3, 3}, puk_tries_{3, 3};
  std::array<bool, user_count> logged_in_{};
  bool has_time_ = false;
};

/// The checker that shares no code with this project.
void expect_verified(const Bytes& archive) {
  const TemporaryFolder folder;
  const std::string path = folder.file("export.tar"), log = folder.file("verify.txt");
  {
    std::ofstream file(path, std::ios::binary);
    for (const std::uint8_t byte : archive) file.put(static_cast<char>(byte));
    file << std::string(evidence::tar_trailer_bytes, '\0');
  }
  const std::string command = "python3 " TILLBRIDGE_SOURCE_DIR "/tests/support/tse_verify.py " +
                              path + " > " + log + " 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0) << std::ifstream(log).rdbuf();
}

TEST(TseCoreRandom, ThousandsOfOperationsFollowTheRules) {
  CoreOptions options = quick_options();
  options.most_clients = 4;
  options.most_open_transactions = 20;
  RandomRun run(20'260'101, options);
  run.run(5000);
  EXPECT_GT(run.power_cycles(), 20U);
  EXPECT_GT(run.refusals(), 500U);
  EXPECT_GT(run.first_counter(), 1U) << "something was deleted";
  EXPECT_GT(run.bench().core->transaction_counter(), 200U);
  run.bench().check_archive(run.first_counter());
  expect_verified(run.bench().archive());
}

TEST(TseCoreRandom, OtherKeysAndFormatsToo) {
  const auto run_with = [](std::uint64_t seed, const std::function<void(CoreOptions&)>& change) {
    CoreOptions options;
    options.most_clients = 4;
    options.most_open_transactions = 20;
    change(options);
    RandomRun run(seed, options);
    run.run(200);
    run.bench().check_archive(run.first_counter());
    expect_verified(run.bench().archive());
  };
  run_with(1, [](CoreOptions& options) { options.chain_in_one_pem = true; });
  run_with(2, [](CoreOptions& options) {
    options.curve = evidence::Curve::brainpool_p256r1;
    options.hash = evidence::Hash::sha256;
    options.time_format = evidence::TimeFormat::utc_time;
  });
  run_with(3, [](CoreOptions& options) {
    options.curve = evidence::Curve::brainpool_p384r1;
    options.time_format = evidence::TimeFormat::generalized_time;
    options.process_data_piece_bytes = 100;
  });
}

}  // namespace
}  // namespace tillbridge::simulator::tse
