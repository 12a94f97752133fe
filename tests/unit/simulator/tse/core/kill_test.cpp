// kill -9 is pulling the stick: a process that signs is killed at 500 seeded points. Afterwards the
// log is whole, no counter is missing or doubled, and every answer that was told is in it.

#include <csignal>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core_bench.hpp"
#include "tests/unit/simulator/temporary_folder.hpp"
#include "tse/evidence/log_message.hpp"

namespace tillbridge::simulator::tse {
namespace {

constexpr std::uint64_t kills = 500;

/// What the process tells through its pipe. At most PIPE_BUF bytes, so it is never torn.
struct Told {
  std::uint64_t counter = 0, transaction = 0;
  std::array<std::uint8_t, 64> signature{};
  char killed_at[64] = {};  ///< its last word: at which step it dies
};

struct Orders {
  std::uint64_t seed = 0;
  std::uint64_t steps = 0;  ///< dies at this one; 0: the seed says which
  bool may_delete = false;
};

/// The process: opens the folder as a program would after a power failure, goes on with whatever
/// state it finds, and signs until it dies.
class Signer {
 public:
  Signer(std::string folder, int pipe, const Orders& orders)
      : folder_(std::move(folder)),
        pipe_(pipe),
        random_(orders.seed),
        steps_left_(orders.steps),
        may_delete_(orders.may_delete) {
    if (steps_left_ == 0) steps_left_ = 1 + random_() % (random_() % 4 == 0 ? 5 : 120);
  }

  [[noreturn]] void run() {
    auto store = open_folder_store(folder_, [this](const char* step) { at_step(step); });
    if (!store) give_up();
    auto opened = TseCore::open(quick_options(), std::move(*store));
    if (!opened) give_up();
    core_ = std::move(*opened);
    const std::uint64_t found = core_->signature_counter();
    set_up();
    if (may_delete_ && random_() % 2 == 0) delete_up_to(found);
    for (;;) sign();
  }

 private:
  void at_step(const char* step) {
    if (--steps_left_ > 0) return;
    Told last;
    std::strncpy(last.killed_at, step, sizeof last.killed_at - 1);
    tell(last);
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
  /// Not by a signal: the test sees that.
  [[noreturn]] static void give_up() { ::_exit(1); }
  void tell(const Told& told) const {
    if (::write(pipe_, &told, sizeof told) != static_cast<ssize_t>(sizeof told)) give_up();
  }
  void tell(const Answer<Signed>& answer) const {
    if (!answer) give_up();
    Told told{answer->counter, answer->transaction, {}, {}};
    std::copy(answer->signature.begin(), answer->signature.end(), told.signature.begin());
    tell(told);
  }

  void set_up() {
    if (core_->in_transport_state(User::admin) &&
        !core_->set_pins(User::admin, admin_puk, admin_pin, now_))
      give_up();
    if (core_->login(User::admin, admin_pin, now_).what != LoginResult::What::ok) give_up();
    if (core_->life_cycle() == LifeCycle::not_initialized && !core_->initialize(now_)) give_up();
    if (!core_->set_time(opening_time_s, now_) || !core_->register_client("till-1", now_))
      give_up();
  }
  /// Only what the test has already seen, after an earlier death.
  void delete_up_to(std::uint64_t counter) {
    for (const auto& open : core_->open_transactions())
      tell(core_->finish(open.number, "till-1", {}, "", now_));
    core_->mark_exported(counter);
    steps_left_ = 1 + random_() % 20;  // a deletion is rare: die within it, or right after
    const auto deleted = core_->delete_up_to(counter, now_);
    if (!deleted && deleted.refusal() != Refusal::no_data) give_up();
  }
  void sign() {
    now_ += Duration(1'000'000);
    const auto open = core_->open_transactions();
    if (open.empty() || random_() % 3 == 0) return tell(core_->start("till-1", {}, "", now_));
    const auto number = open[random_() % open.size()].number;
    const Bytes data(random_() % 300, 'x');
    tell(random_() % 3 == 0 ? core_->update(number, "till-1", data, "t", now_)
                            : core_->finish(number, "till-1", data, "t", now_));
  }

  std::string folder_;
  int pipe_;
  std::mt19937_64 random_;
  std::uint64_t steps_left_;
  bool may_delete_;
  std::unique_ptr<TseCore> core_;
  Instant now_{0};
};

/// What the test knows of the TSE: every log that it ever saw.
class Auditor {
 public:
  explicit Auditor(std::string folder) : folder_(std::move(folder)) {}

  void look(const std::vector<Told>& told) {
    auto store = open_folder_store(folder_);
    ASSERT_TRUE(store) << store.error().message;
    if (!(*store)->state()) {  // died while it made its key
      EXPECT_TRUE(told.empty());
      return;
    }
    auto opened = TseCore::open(quick_options(), std::move(*store));
    ASSERT_TRUE(opened) << opened.error().message;
    TseCore& core = **opened;
    for (const StoredLog& log : core.logs()) read(core, log);
    EXPECT_EQ(signatures_.size(), core.signature_counter());
    for (const Told& answer : told) {
      const auto found = signatures_.find(answer.counter);
      ASSERT_NE(found, signatures_.end()) << "told counter " << answer.counter << " is lost";
      EXPECT_EQ(found->second, Bytes(answer.signature.begin(), answer.signature.end()));
    }
    std::set<std::uint64_t> open;
    for (const auto& transaction : core.open_transactions()) open.insert(transaction.number);
    EXPECT_EQ(open, open_);
    EXPECT_EQ(core.transaction_counter(), started_);
  }
  [[nodiscard]] std::uint64_t signatures() const { return signatures_.size(); }

 private:
  void read(TseCore& core, const StoredLog& log) {
    const std::uint64_t seen = signatures_.size();
    Bytes entry(log.tar_bytes);
    ASSERT_TRUE(core.read_store(log.offset, entry));
    std::vector<evidence::TarView> views;
    ASSERT_TRUE(evidence::view_tar(entry, views));
    const auto parsed = evidence::parse_log(views.at(0).content);
    ASSERT_TRUE(parsed);
    const evidence::LogMessage& message = parsed->message;
    if (message.counter <= seen) {  // must be the very same one
      EXPECT_EQ(signatures_.at(message.counter), message.signature);
      return;
    }
    ASSERT_EQ(message.counter, seen + 1) << "a counter is missing";
    EXPECT_TRUE(core.public_key().verify(message.hash, parsed->signed_bytes, message.signature));
    signatures_[message.counter] = message.signature;
    const auto* transaction = std::get_if<evidence::TransactionLog>(&message.content);
    if (transaction == nullptr) return;
    if (transaction->step == evidence::TransactionStep::start) {
      EXPECT_EQ(transaction->number, ++started_) << "a transaction number is missing or doubled";
      open_.insert(transaction->number);
    }
    if (transaction->step == evidence::TransactionStep::finish) {
      EXPECT_EQ(open_.erase(transaction->number), 1U);
    }
  }

  std::string folder_;
  std::map<std::uint64_t, Bytes> signatures_;
  std::set<std::uint64_t> open_;
  std::uint64_t started_ = 0;
};

struct Death {
  std::string step;
  std::vector<Told> told;  ///< before
};

Death run_until_killed(const std::string& folder, const Orders& orders) {
  int ends[2] = {};
  if (::pipe(ends) != 0) return {};
  const pid_t process = ::fork();
  if (process == 0) {
    ::close(ends[0]);
    Signer(folder, ends[1], orders).run();
  }
  ::close(ends[1]);
  Death death;
  Told told;
  while (::read(ends[0], &told, sizeof told) == static_cast<ssize_t>(sizeof told))
    death.told.push_back(told);
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(process, &status, 0), process);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
      << "it ended by itself, status " << status;
  if (death.told.empty()) return death;
  death.step = death.told.back().killed_at;
  death.told.pop_back();
  return death;
}

TEST(TseKill, FiveHundredKillsLoseAndDoubleNothing) {
  const TemporaryFolder folder(quick_parent());
  const std::string path = folder.file("tse");
  Auditor auditor(path);
  std::map<std::string, int> killed_at;
  std::uint64_t answers = 0;
  std::vector<Told> told;
  for (std::uint64_t kill = 0; kill < kills && !HasFailure(); ++kill) {
    // Deletes only what the auditor has seen. After each fourth kill he does not look, so that
    // the next process finds what this one left behind, not tidied up.
    const Death death = run_until_killed(path, {kill, 0, kill % 4 != 0});
    ++killed_at[death.step];
    answers += death.told.size();
    told.insert(told.end(), death.told.begin(), death.told.end());
    if (kill % 4 == 3) continue;
    auditor.look(told);
    told.clear();
    if (HasFailure()) ADD_FAILURE() << "at kill " << kill << ", " << death.step;
  }
  auditor.look(told);
  // Not one kind of step was missed, the middle of a write and a deletion included.
  for (const char* step :
       {"write", "write: first half done", "sync", "create state.json.new",
        "rename state.json.new to state.json", "sync the folder", "committed", "create the new log",
        "remove an old log", "cut off what was never committed"})
    EXPECT_GT(killed_at[step], 0) << step;
  EXPECT_GT(answers, 500U);
  EXPECT_GE(auditor.signatures(), answers);

  CoreBench bench(quick_options(), std::move(*open_folder_store(path)));
  bench.check_archive(bench.core->logs().front().counter);
}

TEST(TseKill, AFirstStartCanDieAtAnyStep) {
  std::string step;
  for (std::uint64_t steps = 1; step != "committed" || steps < 30; ++steps) {
    const TemporaryFolder folder(quick_parent());
    const std::string path = folder.file("tse");
    Auditor auditor(path);
    for (const std::uint64_t next : {steps, std::uint64_t{100}}) {
      const Death death = run_until_killed(path, {steps, next, false});
      if (next == steps) step = death.step;
      auditor.look(death.told);
      ASSERT_FALSE(HasFailure()) << "step " << steps << ", " << step;
    }
    EXPECT_GT(auditor.signatures(), 0U);
  }
}

}  // namespace
}  // namespace tillbridge::simulator::tse
