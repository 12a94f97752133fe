// The program may die at any moment of an administrator's work: what is in the store is in the
// audit, both are whole, and the next start goes on.
#include <csignal>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include "admin_bench.hpp"

namespace tillbridge::admin::test {
namespace {

/// In a process of its own, on the folder of another.
class Worker final : public AdminTest {
 public:
  Worker(std::filesystem::path state, std::uint64_t step) {
    state_ = std::move(state);
    at_step_ = [left = step](const char*) mutable {
      if (--left == 0) ::kill(::getpid(), SIGKILL);
    };
  }

  void work(unsigned seed) {
    std::mt19937 random(seed);
    start();
    for (int verb = 0; verb < 40; ++verb) act(random);
  }

 private:
  void TestBody() override {}

  void act(std::mt19937& random) {
    const std::string name = "till-" + std::to_string(random() % 4);
    const std::string stick = random() % 2 == 0 ? stick_a : stick_b;
    const bool coin = random() % 2 == 0;
    switch (random() % 8) {
      case 0:
        (void)call("POST", "/tills", {{"name", name}});
        break;
      case 1:
      case 2:
        (void)call("POST", "/mappings", {{"stick", stick}, {"till", name}, {"also", coin}});
        break;
      case 3:
        (void)call("DELETE", "/mappings/" + std::to_string(random() % 60));
        break;
      case 4:
        (void)call("POST", "/sticks/" + stick + "/block", {{"minutes", 10 + random() % 50}});
        break;
      case 5:
        (void)call("POST", "/sticks/" + stick + "/unblock");
        break;
      case 6:
        (void)call("PATCH", "/sticks/" + stick, {{"label", "l" + std::to_string(random())}});
        break;
      default:
        (void)call("POST", "/drain", {{"on", coin}});
    }
    settle();
  }
};

/// Two hundred deaths, in ten folders; what one leaves the next one goes on with.
class CrashTest : public AdminTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  /// Until the audit's n-th change of a file: there the process dies.
  bool work_until_killed(std::uint64_t step, unsigned seed) {
    const pid_t child = ::fork();
    if (child == 0) {
      (new Worker(state_, step))->work(seed);  // never destroyed: a process that ends at once
      ::_exit(::testing::Test::HasFailure() ? 1 : 0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
    return WIFSIGNALED(status);
  }
};

TEST_P(CrashTest, TwentyDeathsLeaveStoreAndAuditWholeAndOfOneMind) {
  (void)server::test::Certificates::get();  // before the forks
  std::mt19937 random(GetParam());
  unsigned killed = 0;
  for (unsigned round = 0; round < 20; ++round) {
    killed += work_until_killed(1 + random() % 90, 100 * GetParam() + round) ? 1U : 0U;
    start();
    ASSERT_FALSE(HasFatalFailure()) << "round " << round;
    const auto report = audit::verify(audit_->folder(), audit_->public_key());
    ASSERT_TRUE(report.ok());
    ASSERT_TRUE(report->intact()) << "round " << round << ": " << report->findings.at(0).what;
    // The audit tells of every decision that the store holds: the newest entry about it agrees.
    audit::Query query;
    query.limit = 1000;
    const auto lines = audit::read(audit_->folder(), query);
    ASSERT_TRUE(lines.ok());
    std::map<std::string, audit::Kind> blocks;
    std::optional<audit::Kind> drain;
    std::set<std::pair<std::string, std::string>> mapped;  // by stick and till
    for (auto line = lines->rbegin(); line != lines->rend(); ++line) {
      const audit::Entry& entry = line->entry;
      switch (entry.kind) {
        case audit::Kind::stick_blocked:
        case audit::Kind::stick_unblocked:
          blocks[entry.stick] = entry.kind;
          break;
        case audit::Kind::drain_begun:
        case audit::Kind::drain_ended:
          drain = entry.kind;
          break;
        case audit::Kind::mapping_added:
          mapped.emplace(entry.stick, entry.till);
          break;
        case audit::Kind::mapping_removed:
          mapped.erase({entry.stick, entry.till});
          break;
        default:
          break;
      }
    }
    const Json now = state();
    EXPECT_EQ(now.at("server").at("draining").get<bool>(), drain == audit::Kind::drain_begun)
        << "round " << round;
    if (lines->size() < query.limit) {
      std::set<std::pair<std::string, std::string>> stored;
      for (const Json& mapping : now.at("mappings")) {
        stored.emplace(mapping.at("stick"), mapping.at("till"));
      }
      EXPECT_EQ(stored, mapped) << "round " << round;
    }
    for (const Json& stick : now.at("sticks")) {
      const auto found = blocks.find(stick.at("id"));
      EXPECT_EQ(stick.at("blocked").get<bool>(),
                found != blocks.end() && found->second == audit::Kind::stick_blocked)
          << "round " << round << " " << stick.at("id");
    }
    ASSERT_FALSE(HasFailure());
    stop();
  }
  EXPECT_GT(killed, 14U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, CrashTest, ::testing::Range(1U, 11U));

}  // namespace
}  // namespace tillbridge::admin::test
