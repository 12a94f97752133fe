// Writing: what is durable when, files that are put away, crashes, full disks, reading back.
#include <algorithm>
#include <array>
#include <csignal>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/audit/log_files.hpp"
#include "tests/unit/audit/log_folder.hpp"

namespace tillbridge::audit::testing {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Log : public ::testing::Test {
 protected:
  LogFolder folder_;

  AuditLog open(std::int64_t seconds = 0, Options options = {}) {
    return must(AuditLog::open(folder_.path(), at(seconds), std::move(options)));
  }
  Report check(const std::optional<Head>& known = {}) {
    return must(verify(folder_.path(), folder_.read("audit.pub"), known));
  }
  std::vector<Line> all() {
    return must(audit::read(folder_.path(), {.limit = limits::entries_per_answer}));
  }
};

TEST_F(Log, BeginsWithItsKeyAndIsSigned) {
  const mode_t before = ::umask(0);
  {
    AuditLog log = open();
    EXPECT_EQ(log.head().n, 1U);
    EXPECT_EQ(log.public_key(), folder_.read("audit.pub"));
    EXPECT_THAT(folder_.read("audit.jsonl"), HasSubstr(log.fingerprint()));
    EXPECT_THAT(folder_.read("audit.jsonl"), HasSubstr("log_begun"));
  }
  ::umask(before);
  struct stat found {};
  ASSERT_EQ(::stat(folder_.path().c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 0777U, 0700U);
  for (const char* name : {"audit.key", "audit.jsonl", "head.json"}) {
    ASSERT_EQ(::stat(folder_.file(name).c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777U, 0600U) << name;
  }
  const Report report = check();
  EXPECT_TRUE(report.intact()) << findings(report);
  EXPECT_EQ(report.entries, 1U);
  EXPECT_EQ(report.signed_to, 1U);
}

TEST_F(Log, GoesOnAfterARestartWithTheSameKey) {
  std::string fingerprint;
  {
    AuditLog log = open();
    fingerprint = log.fingerprint();
    EXPECT_EQ(must(log.record(lease_begun(), at(1))), 2U);
  }
  AuditLog log = open(2);
  EXPECT_EQ(log.fingerprint(), fingerprint);
  EXPECT_EQ(must(log.record(mapping_added(), at(3))), 3U);
  EXPECT_EQ(all().size(), 3U);
  EXPECT_TRUE(check().intact());
}

TEST_F(Log, AGroupIsWrittenAtOnceAndNothingBefore) {
  AuditLog log = open();
  EXPECT_EQ(log.add(lease_begun(), at(1)), 2U);
  EXPECT_EQ(log.add(lease_begun(), at(2)), 3U);
  EXPECT_EQ(all().size(), 1U);
  must(log.flush(at(3)));
  EXPECT_EQ(all().size(), 3U);
  EXPECT_EQ(log.head().n, 1U);
  EXPECT_THAT(check().notes, ElementsAre(HasSubstr("Entries 2 to 3 are not signed yet")));
  must(log.flush(at(4), AuditLog::Sign::now));
  EXPECT_EQ(log.head().n, 3U);
  EXPECT_THAT(check().notes, IsEmpty());
}

TEST_F(Log, IsSignedWhenDueForAnAdminAndAtTheEnd) {
  {
    AuditLog log = open(0, {.entries_per_head = 5});
    for (int i = 0; i < 4; ++i) must(log.record(lease_begun(), at(i)));
    EXPECT_EQ(log.head().n, 1U);
    must(log.record(lease_begun(), at(5)));
    EXPECT_EQ(log.head().n, 6U);
    must(log.record(mapping_added(), at(6), AuditLog::Sign::now));
    EXPECT_EQ(log.head().n, 7U);
    must(log.record(lease_begun(), at(7)));
    EXPECT_EQ(log.head().n, 7U);
  }
  EXPECT_EQ(check().signed_to, 8U);
  AuditLog log = open(8);
  must(log.record(lease_begun(), at(9)));
  must(log.close(at(10)));
  EXPECT_EQ(check().signed_to, 9U);
}

TEST_F(Log, IsOneProcessesOnlyAndPrivate) {
  {
    AuditLog log = open();
    EXPECT_EQ(AuditLog::open(folder_.path(), at(1)).error().code, ErrorCode::unavailable);
  }
  ::chmod(folder_.file("audit.key").c_str(), 0644);
  EXPECT_EQ(AuditLog::open(folder_.path(), at(1)).error().code, ErrorCode::config);
  ::chmod(folder_.file("audit.key").c_str(), 0600);
  ::chmod(folder_.path().c_str(), 0755);
  EXPECT_EQ(AuditLog::open(folder_.path(), at(1)).error().code, ErrorCode::config);
}

TEST_F(Log, IsPutAwayBySizeAndByMonthAndTheChainGoesOn) {
  {
    AuditLog log = open(0, {.file_bytes = 2000});
    for (int i = 1; i <= 20; ++i) must(log.record(lease_begun(), at(i)));
    must(log.record(lease_begun(), at(0) + std::chrono::hours(24 * 30)));
    must(log.record(lease_begun(), at(5)));  // the clock was set back
    const auto files = must(list_log_files(folder_.path()));
    EXPECT_GE(files.older.size(), 4U);
    for (const std::string& name : files.older) {
      EXPECT_LE(folder_.read(name).size(), 2000U);
    }
    EXPECT_THAT(folder_.read("audit.jsonl"), HasSubstr("2026-12-"));
    EXPECT_THAT(folder_.read("audit.jsonl"), Not(HasSubstr("2026-11-23T04:05:26")));
  }
  Report report = check();
  EXPECT_TRUE(report.intact()) << findings(report);
  EXPECT_EQ(report.entries, 23U);
  {
    AuditLog log = open(0, {.file_bytes = 2000});
    must(log.record(lease_begun(), at(6)));
  }
  report = check();
  EXPECT_TRUE(report.intact()) << findings(report);
  EXPECT_EQ(report.last, 24U);
}

TEST_F(Log, IsReadNewestFirstAcrossFilesByWhatOneAsksFor) {
  AuditLog log = open(0, {.file_bytes = 2500});
  for (int i = 1; i <= 30; ++i) {
    Entry entry = lease_begun("stick-" + std::to_string(i % 3));
    entry.till = "till-" + std::to_string(i % 2);
    must(log.record(entry, at(i)));
  }
  const auto numbers = [&](const Query& query) {
    std::vector<std::uint64_t> found;
    for (const Line& line : must(audit::read(folder_.path(), query))) found.push_back(line.n);
    return found;
  };
  EXPECT_THAT(numbers({.limit = 3}), ElementsAre(31, 30, 29));
  EXPECT_THAT(numbers({.before = 5, .limit = 3}), ElementsAre(4, 3, 2));
  EXPECT_THAT(numbers({.stick = "stick-1", .limit = 2}), ElementsAre(29, 26));
  EXPECT_THAT(numbers({.stick = "stick-1", .till = "till-1", .limit = 2}), ElementsAre(26, 20));
  EXPECT_THAT(numbers({.from = at(10), .to = at(12)}), ElementsAre(13, 12, 11));
  EXPECT_THAT(numbers({.stick = "stick"}), IsEmpty());
  EXPECT_EQ(numbers({}).size(), 31U);
}

// What the log does to files, counted: at one of them the process ends.
Options killing_options(std::uint32_t at_step, std::uint64_t file_bytes) {
  return {.file_bytes = file_bytes,
          .entries_per_head = 7,
          .at_step = [left = at_step](const char*) mutable {
            if (--left == 0) ::raise(SIGKILL);
          }};
}

// Twenty logs, each killed ten times.
TEST_F(Log, KilledAtAnyStepTheChainIsWholeAndNoAcknowledgedEntryIsLost) {
  std::mt19937 random(20261123);
  std::uint64_t known = 0;
  int killed = 0;
  std::ptrdiff_t cuts = 0;
  for (int round = 0; round < 200; ++round) {
    if (round % 10 == 0) {
      std::filesystem::remove_all(folder_.path());
      known = 0;
    }
    // The first one dies while the log is made.
    const auto step = static_cast<std::uint32_t>(1 + random() % (round % 10 == 0 ? 15 : 60));
    const auto seed = static_cast<std::uint32_t>(random());
    std::array<int, 2> line{};
    ASSERT_EQ(::pipe(line.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      std::mt19937 choices(seed);
      auto log = AuditLog::open(folder_.path(), at(round), killing_options(step, 3000));
      if (!log) ::_exit(1);
      for (int i = 0; i < 10; ++i) {
        std::uint64_t n = 0;
        const auto group = choices() % 4;
        for (std::uint32_t k = 0; k < group; ++k) n = log->add(lease_begun(), at(round));
        const auto sign = choices() % 3 == 0 ? AuditLog::Sign::now : AuditLog::Sign::when_due;
        if (group == 0) {
          const auto recorded = log->record(mapping_added(), at(round), sign);
          n = recorded ? *recorded : 0;
        } else if (!log->flush(at(round), sign)) {
          n = 0;
        }
        if (n == 0) ::_exit(2);
        if (::write(line[1], &n, sizeof n) != sizeof n) ::_exit(3);
      }
      ::_exit(0);  // without a head for the last ones, as after a crash
    }
    ::close(line[1]);
    std::uint64_t acknowledged = 0, n = 0;
    while (::read(line[0], &n, sizeof n) == sizeof n) acknowledged = n;
    ::close(line[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    killed += WIFSIGNALED(status) ? 1 : 0;
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << WEXITSTATUS(status);

    if (std::filesystem::exists(folder_.file("audit.pub")) &&
        std::filesystem::exists(folder_.file("audit.key"))) {
      const Report found = check();
      ASSERT_TRUE(found.intact()) << "round " << round << "\n" << findings(found);
      ASSERT_GE(found.last, std::max(known, acknowledged)) << "lost in round " << round;
    }
    { const AuditLog log = open(round); }
    const Report report = check();
    ASSERT_TRUE(report.intact()) << "round " << round << "\n" << findings(report);
    ASSERT_GE(report.last, std::max(known, acknowledged));
    ASSERT_EQ(report.entries, report.last);
    ASSERT_EQ(report.signed_to, report.last);
    known = report.last;
    if (round % 10 == 9) {
      const auto cut_files =
          std::count_if(std::filesystem::directory_iterator(folder_.path()), {},
                        [](const auto& entry) { return entry.path().extension() == ".cut"; });
      const auto noted = std::count_if(
          report.notes.begin(), report.notes.end(),
          [](const auto& note) { return note.find("half-written") != std::string::npos; });
      EXPECT_GE(noted, cut_files);
      cuts += cut_files;
    }
  }
  EXPECT_GT(killed, 150);
  EXPECT_GT(cuts, 5) << "half-written lines were cut, kept and noted";
}

TEST_F(Log, AFullDiskGivesAnErrorAndLosesNothing) {
  AuditLog log = open();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 3001;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  std::uint64_t last = 0;
  Status status;
  while (status && last < 100) {
    log.add(lease_begun(), at(1));
    const std::uint64_t n = log.add(lease_begun(), at(1));
    status = log.flush(at(1));
    if (status) last = n;
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::io);
  EXPECT_THAT(status.error().message, HasSubstr("Make room"));
  EXPECT_GT(last, 3U);
  EXPECT_EQ(all().front().n, last) << "the group that failed left nothing";
  EXPECT_EQ(must(log.record(lease_begun(), at(2))), last + 1) << "its numbers are free again";
  must(log.close(at(3)));
  EXPECT_TRUE(check().intact()) << findings(check());
}

TEST_F(Log, AHeadThatCannotBeWrittenIsToldAndMadeUpFor) {
  AuditLog log = open();
  // Something stands where the new head is to be written.
  std::filesystem::create_directories(folder_.file("head.json.new/x"));
  EXPECT_TRUE(log.record(mapping_added(), at(1), AuditLog::Sign::now)) << "the entry counts";
  ASSERT_TRUE(log.head_problem());
  EXPECT_EQ(log.head().n, 1U);
  EXPECT_FALSE(log.close(at(2)));
  std::filesystem::remove_all(folder_.file("head.json.new"));
  must(log.flush(at(3), AuditLog::Sign::now));
  EXPECT_FALSE(log.head_problem());
  EXPECT_EQ(check().signed_to, 2U);
}

TEST_F(Log, AHalfWrittenLineIsCutKeptAndNoted) {
  {
    AuditLog log = open();
    must(log.record(lease_begun(), at(1)));
  }
  const std::string whole = folder_.read("audit.jsonl");
  for (const std::string& torn :
       {std::string("{\"n\":3,\"ti"), std::string(100, '\0'), std::string("x")}) {
    const auto kept = folder_.keep();
    folder_.write("audit.jsonl", whole + torn);
    {
      AuditLog log = open(2);
      EXPECT_EQ(log.head().n, 3U);
    }
    const auto lines = all();
    EXPECT_EQ(lines.front().entry.kind, Kind::log_cut);
    EXPECT_EQ(folder_.read("000000000003.cut"), torn);
    EXPECT_EQ(folder_.read("audit.jsonl").substr(0, whole.size()), whole);
    const Report report = check();
    EXPECT_TRUE(report.intact()) << findings(report);
    EXPECT_THAT(report.notes, ElementsAre(HasSubstr("half-written")));
    folder_.restore(kept);
  }
}

TEST_F(Log, DamageIsRefusedOrPutAsideAsTheOptionSays) {
  {
    AuditLog log = open();
    for (int i = 0; i < 5; ++i) must(log.record(lease_begun(), at(i)));
  }
  const auto good = folder_.keep();
  const std::string content = folder_.read("audit.jsonl");
  const std::size_t third = content.find("\n{\"n\":4");
  struct Case {
    const char* file;
    std::optional<std::string> content;
    std::uint64_t next;  // entry after what was put aside
  };
  const std::string foreign_key = [] {
    LogFolder other;
    { must(AuditLog::open(other.path(), at(0))); }
    return other.read("audit.key");
  }();
  for (const Case& damage :
       {Case{"audit.jsonl", content.substr(0, third + 1), 7},   // the end is cut
        Case{"audit.jsonl", content.substr(0, third + 20), 7},  // in a line
        Case{"audit.jsonl", content + "nonsense\nmore\n", 7},   // behind the head
        Case{"audit.jsonl", std::nullopt, 7},                   // gone
        Case{"head.json", std::nullopt, 1}, Case{"head.json", "{}\n", 1},
        Case{"audit.key", std::nullopt, 1}, Case{"audit.key", "nonsense", 1},
        Case{"audit.key", foreign_key, 1}, Case{"audit.pub", "nonsense", 7}}) {
    folder_.restore(good);
    if (damage.content) {
      folder_.write(damage.file, *damage.content);
    } else {
      std::filesystem::remove(folder_.file(damage.file));
    }
    const auto refused = AuditLog::open(folder_.path(), at(10));
    ASSERT_FALSE(refused) << damage.file;
    EXPECT_EQ(refused.error().code, ErrorCode::malformed) << refused.error().message;
    EXPECT_THAT(refused.error().message, HasSubstr("audit log was changed"));

    {
      AuditLog log = open(10, {.damage = Options::Damage::go_on});
      EXPECT_EQ(must(log.record(mapping_added(), at(11))), damage.next + 1) << damage.file;
    }
    const auto lines = all();
    ASSERT_GE(lines.size(), 2U);
    EXPECT_EQ(lines[1].entry.kind, Kind::log_damaged);
    EXPECT_TRUE(std::filesystem::is_directory(folder_.file("damaged-20261123T040516Z")));
    { const AuditLog log = open(12); }
    // What goes on is in order, and what was put aside is named until the end of days.
    const Report report = check();
    EXPECT_TRUE(report.intact()) << damage.file << "\n" << findings(report);
    EXPECT_THAT(report.warnings, ElementsAre(HasSubstr("damaged-20261123T040516Z holds")));
    EXPECT_EQ(report.damaged_at, at(10));
    EXPECT_EQ(report.entries + report.first - 1, damage.next + 1) << damage.file;
    // Who takes it away has taken entries away.
    std::filesystem::remove_all(folder_.file("damaged-20261123T040516Z"));
    EXPECT_THAT(findings(check()), HasSubstr("is not here"));
  }
}

TEST_F(Log, WhatWasPutAsideIsNamedWithItsFileItsLineAndHowFarItIsInOrder) {
  Head kept;
  {
    AuditLog log = open();
    for (int i = 0; i < 3; ++i) must(log.record(lease_begun(), at(i), AuditLog::Sign::now));
    kept = log.head();
    for (int i = 3; i < 5; ++i) must(log.record(lease_begun(), at(i)));
  }
  std::string content = folder_.read("audit.jsonl");
  folder_.write("audit.jsonl", content.substr(0, content.find("\n{\"n\":5") + 1) + "nonsense\n");
  { const AuditLog log = open(10, {.damage = Options::Damage::go_on}); }
  Report report = check(kept);  // it is about what was put aside, and fits that
  EXPECT_TRUE(report.intact()) << findings(report);
  ASSERT_EQ(report.warnings.size(), 1U);
  EXPECT_THAT(report.warnings[0],
              AllOf(HasSubstr("What stands in the place of entry 5 is no entry"),
                    HasSubstr("(audit.jsonl, line 5)"),
                    HasSubstr("in order up to entry 4 of 2026-11-23T04:05:08")));
  Head foreign = kept;
  {
    LogFolder other;
    AuditLog log = must(AuditLog::open(other.path(), at(0)));
    foreign = log.head();
  }
  EXPECT_THAT(findings(check(foreign)), HasSubstr("not signed with this key"));

  // A second time: the first one is still named, and still missed.
  content = folder_.read("audit.jsonl");
  folder_.write("audit.jsonl", content + "more nonsense\nand more\n");
  { const AuditLog log = open(20, {.damage = Options::Damage::go_on}); }
  report = check(kept);
  EXPECT_TRUE(report.intact()) << findings(report);
  EXPECT_EQ(report.warnings.size(), 2U);
  EXPECT_EQ(report.damaged_at, at(20));
  std::filesystem::remove_all(folder_.file("damaged-20261123T040516Z"));
  EXPECT_THAT(findings(check()), HasSubstr("put aside into damaged-20261123T040516Z"));

  // The entry that lets a log begin later counts as what it is: chained and signed.
  content = folder_.read("audit.jsonl");
  content.replace(content.find("damaged-2026112"), 15, "damaged-2026113");
  folder_.write("audit.jsonl", content);
  EXPECT_THAT(findings(check()), HasSubstr("is not the one that the signed head was signed for"));
}

// The beginning is not looked at when a log is opened, since it may be large and old; it is found
// when the log is checked.
TEST_F(Log, ABeginningThatIsMissingIsFoundByVerify) {
  {
    AuditLog log = open();
    for (int i = 0; i < 5; ++i) must(log.record(lease_begun(), at(i)));
  }
  const std::string content = folder_.read("audit.jsonl");
  folder_.write("audit.jsonl", content.substr(content.find('\n') + 1));
  { const AuditLog log = open(10); }
  EXPECT_THAT(findings(check()), HasSubstr("Entry 1 is missing"));
}

}  // namespace

}  // namespace tillbridge::audit::testing
