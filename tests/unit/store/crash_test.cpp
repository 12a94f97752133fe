// The end of the process at every kind of moment, and a disk that is full.
#include <array>
#include <cerrno>
#include <csignal>
#include <map>
#include <random>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store/example_rows.hpp"

namespace {

// What SQLite does to files, counted; something happens at the one that was asked for.
struct Disk {
  enum class At : std::uint8_t { nothing, kill, no_room, broken };
  At what = At::nothing;
  std::uint64_t when = 0;  // counted down with each change of a file
  bool half = false;       // of the write gets through
  std::uint64_t changes = 0, unsynced = 0;
};
Disk disk;  // NOLINT: what stands between SQLite and the system has no other way to it

// True: the call goes on as always.
template <typename Write>
bool at_change(const Write& write_half) {
  ++disk.changes;
  ++disk.unsynced;
  if (disk.what == Disk::At::nothing || disk.when > disk.changes) return true;
  if (disk.half) write_half();
  if (disk.what == Disk::At::kill) {
    ::raise(SIGKILL);
  }
  errno = disk.what == Disk::At::no_room ? ENOSPC : EIO;
  return false;
}

ssize_t our_pwrite(int file, const void* data, std::size_t size, off_t offset) {
  const bool go_on = at_change([&] { (void)!::pwrite(file, data, size / 2, offset); });
  return go_on ? ::pwrite(file, data, size, offset) : -1;
}
ssize_t our_write(int file, const void* data, std::size_t size) {
  const bool go_on = at_change([&] { (void)!::write(file, data, size / 2); });
  return go_on ? ::write(file, data, size) : -1;
}
int our_ftruncate(int file, off_t size) {
  return at_change([] {}) ? ::ftruncate(file, size) : -1;
}
int our_unlink(const char* name) {
  // No room is no reason why a file could not be removed.
  if (disk.what == Disk::At::no_room) return ::unlink(name);
  return at_change([] {}) ? ::unlink(name) : -1;
}

template <typename Function>
sqlite3_syscall_ptr as_syscall(Function* function) {
  return reinterpret_cast<sqlite3_syscall_ptr>(function);
}

void stand_in_between() {
  sqlite3_initialize();
  sqlite3_vfs* const vfs = sqlite3_vfs_find(nullptr);
  for (const char* name : {"pwrite", "pwrite64"}) {
    vfs->xSetSystemCall(vfs, name, as_syscall(our_pwrite));
  }
  vfs->xSetSystemCall(vfs, "write", as_syscall(our_write));
  vfs->xSetSystemCall(vfs, "ftruncate", as_syscall(our_ftruncate));
  vfs->xSetSystemCall(vfs, "unlink", as_syscall(our_unlink));
}

}  // namespace

// SQLite has no hook for these two, but it finds the program's own before the system's.
extern "C" __attribute__((visibility("default"))) int fdatasync(int file) {
  disk.unsynced = 0;
  return static_cast<int>(::syscall(SYS_fdatasync, file));
}
extern "C" __attribute__((visibility("default"))) int fsync(int file) {
  disk.unsynced = 0;
  return static_cast<int>(::syscall(SYS_fsync, file));
}

namespace tillbridge::store::testing {

namespace {

using ::testing::HasSubstr;

/// Change number `n` of an endless work: always the same for the same number and store. Several
/// rows in several tables; sometimes it is begun and not finished.
Status work(Store& store, std::uint32_t n) {
  std::mt19937 random(n);
  const auto any = [&](std::uint32_t below) {
    return static_cast<std::uint32_t>(random() % below);
  };
  auto change = store.begin();
  if (!change) return change.error();
  const std::string stick = "1209:0001:" + std::to_string(any(5));
  const std::string till = "kasse-" + std::to_string(any(5));
  const std::string padding(any(3000), static_cast<char>('a' + any(26)));
  Stick plugged = example_stick(stick);
  plugged.last_seen = at(n);
  Till seen = example_till(till);
  seen.note = padding;
  if (Status s = store.put_stick(plugged); !s) return s;
  if (Status s = store.put_till(seen); !s) return s;
  if (Status s = store.put_token(example_token(static_cast<std::uint8_t>(any(20)), till)); !s)
    return s;
  if (Status s = store.put_setting("last", std::to_string(n)); !s) return s;
  const auto mappings = store.mappings_of_stick(stick);
  if (!mappings) return mappings.error();
  for (const Mapping& mapping : *mappings) {
    if (Status s = store.remove_mapping(mapping.id); !s) return s;
  }
  Mapping mapping = example_mapping(stick, till);
  mapping.reason = padding;
  if (auto id = store.add_mapping(mapping); !id) return id.error();
  const auto open = store.open_leases();
  if (!open) return open.error();
  for (Lease lease : *open) {
    lease.ended = at(n);
    if (Status s = store.change_lease(lease); !s) return s;
  }
  Lease lease = example_lease();
  lease.ended.reset();
  lease.transfers = n;
  if (auto id = store.add_lease(lease); !id) return id.error();
  if (n % 16 == 15) {
    if (Status s = store.remove_leases_ended_before(at(n - 8)); !s) return s;
  }
  return change->commit();
}

std::string content(const Store& store) {
  std::ostringstream text;
  const auto seconds = [](const std::optional<Time>& time) {
    return time ? std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count()
                : 0;
  };
  for (const Stick& row : must(store.sticks()))
    text << row.id << ' ' << seconds(row.last_seen) << '\n';
  const auto brief = [](const std::string& padding) {
    return " " + std::to_string(padding.size()) + padding.substr(0, 1) + '\n';
  };
  for (const Till& row : must(store.tills())) text << row.name << brief(row.note);
  for (const Mapping& row : must(store.mappings())) {
    text << row.id << ' ' << row.stick << ' ' << row.till << brief(row.reason);
  }
  for (const Lease& row : must(store.leases({.limit = 10000}))) {
    text << row.id << ' ' << row.transfers << ' ' << seconds(row.ended) << '\n';
  }
  for (const Token& row : must(store.tokens())) text << int{row.hash[0]} << ' ' << row.till << '\n';
  text << must(store.setting("last")).value_or("none") << '\n';
  return text.str();
}

std::uint32_t last_of(const Store& store) {
  const auto last = must(store.setting("last"));
  return last ? static_cast<std::uint32_t>(std::stoul(*last)) : 0;
}

/// The same work, in a store that nothing ever happens to.
class Model {
 public:
  const std::string& after(std::uint32_t n) {
    while (done_ < n) must(work(store_, ++done_));
    if (done_ == n && !known_.contains(n)) known_[n] = content(store_);
    return known_.at(n);
  }

 private:
  TemporaryFolder folder_;
  Store store_ = must(Store::open(folder_.path() / "state", now));
  std::uint32_t done_ = 0;
  std::map<std::uint32_t, std::string> known_;
};

struct Ended {
  bool killed = false;
  std::uint32_t acknowledged = 0;
};

/// A process that works until it is killed. It tells of each change after the store has told it.
Ended work_until_killed(const std::filesystem::path& folder, std::uint64_t at_change, bool half,
                        std::uint32_t most) {
  std::array<int, 2> line{};
  EXPECT_EQ(::pipe(line.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    disk = {Disk::At::kill, at_change, half};
    auto store = Store::open(folder, now);
    if (!store) ::_exit(1);
    std::uint32_t n = last_of(*store);
    for (std::uint32_t i = 0; i < most; ++i) {
      if (!work(*store, ++n)) ::_exit(2);
      if (::write(line[1], &n, sizeof n) != sizeof n) ::_exit(3);
    }
    ::_exit(0);
  }
  ::close(line[1]);
  Ended ended;
  while (::read(line[0], &ended.acknowledged, sizeof ended.acknowledged) == sizeof(std::uint32_t)) {
  }
  ::close(line[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  ended.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  EXPECT_TRUE(ended.killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
  return ended;
}

std::string integrity(const std::filesystem::path& file) {
  sqlite3* handle = nullptr;
  EXPECT_EQ(sqlite3_open(file.c_str(), &handle), SQLITE_OK);
  std::string answer;
  const auto row = [](void* all, int, char** values, char**) {
    *static_cast<std::string*>(all) += values[0];
    return 0;
  };
  sqlite3_exec(handle, "PRAGMA integrity_check; PRAGMA foreign_key_check", row, &answer, nullptr);
  sqlite3_close(handle);
  return answer;
}

class Crash : public ::testing::Test {
 protected:
  Crash() { stand_in_between(); }
  ~Crash() override { disk = {}; }
  Crash(const Crash&) = delete;
  Crash& operator=(const Crash&) = delete;
  Crash(Crash&&) = delete;
  Crash& operator=(Crash&&) = delete;

  TemporaryFolder parent_;
  std::filesystem::path folder_ = parent_.path() / "state";
  std::filesystem::path file_ = folder_ / Store::file_name;
};

// Four databases, each of which fifty processes are killed over: what one leaves, the next one goes
// on with. Its log grows over a checkpoint.
class KilledCrash : public Crash, public ::testing::WithParamInterface<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Seeds, KilledCrash, ::testing::Range(1U, 5U));

TEST_P(KilledCrash, EachChangeIsWholeAndNoneThatWasAcknowledgedIsLost) {
  Model model;
  std::mt19937 random(GetParam());
  std::uint32_t before = 0, killed = 0, unacknowledged = 0;
  for (int round = 0; round < 50; ++round) {
    const Ended ended = work_until_killed(folder_, 1 + random() % 120, random() % 2 == 0, 40);
    killed += ended.killed ? 1U : 0U;
    if (round % 10 == 9) {
      ASSERT_EQ(integrity(file_), "ok") << "round " << round;
    }
    Store store = must(Store::open(folder_, now));
    const std::uint32_t last = last_of(store);
    ASSERT_GE(last, std::max(before, ended.acknowledged)) << "lost in round " << round;
    ASSERT_LE(last, std::max(before, ended.acknowledged) + 1);
    unacknowledged += last > std::max(before, ended.acknowledged) ? 1U : 0U;
    ASSERT_EQ(content(store), model.after(last)) << "half a change in round " << round;
    before = last;
  }
  EXPECT_GT(killed, 35U);
  RecordProperty("changes", static_cast<int>(before));
  RecordProperty("unacknowledged", static_cast<int>(unacknowledged));
}

TEST_F(Crash, KilledWhileTheTablesAreMadeTheNextStartFinishesThem) {
  bool ever_whole = false;
  for (std::uint64_t at_change = 1; !ever_whole && at_change < 500; ++at_change) {
    std::filesystem::remove_all(folder_);
    const Ended ended = work_until_killed(folder_, at_change, at_change % 2 == 0, 1);
    ever_whole = ended.acknowledged == 1;
    Store store = must(Store::open(folder_, now));
    must(work(store, 1));
    EXPECT_EQ(last_of(store), 1U);
  }
  EXPECT_TRUE(ever_whole);
}

TEST_F(Crash, AFullOrBrokenDiskGivesAnErrorAndLosesNothing) {
  Model model;
  auto store = std::make_unique<Store>(must(Store::open(folder_, now)));
  must(work(*store, 1));
  std::uint32_t done = 1;
  std::mt19937 random(7);
  std::uint32_t failed = 0;
  for (int round = 0; round < 100; ++round) {
    const bool full = round % 2 == 0;
    disk = {full ? Disk::At::no_room : Disk::At::broken, 1 + random() % 12, random() % 2 == 0};
    const Status status = work(*store, done + 1);
    disk = {};
    if (!status) {
      ++failed;
      EXPECT_EQ(status.error().code, ErrorCode::io);
      EXPECT_THAT(status.error().message, HasSubstr(full ? "no room left" : "Nothing was changed"));
    }
    done += status ? 1U : 0U;
    ASSERT_EQ(content(*store), model.after(done)) << "round " << round;
    if (round % 7 == 6) {
      store.reset();
      store = std::make_unique<Store>(must(Store::open(folder_, now)));
      ASSERT_EQ(content(*store), model.after(done)) << "after a restart, round " << round;
    }
  }
  EXPECT_GT(failed, 30U);
  must(work(*store, done + 1));
  store.reset();
  EXPECT_EQ(integrity(file_), "ok");
}

// The system's own limit, which stops a write in its middle.
TEST_F(Crash, TheLargestFileThatTheSystemAllowsIsAFullDiskToo) {
  Model model;
  std::uint32_t done = 0;
  {
    Store store = must(Store::open(folder_, now));
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    rlimit small = before;
    small.rlim_cur = 600'001;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    Status status;
    while (status && done < 1000) {
      status = work(store, done + 1);
      done += status ? 1U : 0U;
    }
    ::setrlimit(RLIMIT_FSIZE, &before);
    ::signal(SIGXFSZ, handler);
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, ErrorCode::io);
    EXPECT_GT(done, 3U);
    EXPECT_EQ(content(store), model.after(done));
    must(work(store, ++done));
    EXPECT_EQ(content(store), model.after(done));
  }
  EXPECT_EQ(integrity(file_), "ok");
  EXPECT_EQ(content(must(Store::open(folder_, now))), model.after(done));
}

TEST_F(Crash, WhatWasAcknowledgedIsSynced) {
  Store store = must(Store::open(folder_, now));
  for (std::uint32_t n = 1; n <= 20; ++n) {
    const std::uint64_t before = disk.changes;
    must(work(store, n));
    EXPECT_GT(disk.changes, before);
    EXPECT_EQ(disk.unsynced, 0U);
    must(store.put_setting("single", std::to_string(n)));
    EXPECT_EQ(disk.unsynced, 0U);
  }
}

}  // namespace

}  // namespace tillbridge::store::testing
