// What a folder must be like for the store to open it.
#include <fstream>
#include <random>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/store/example_rows.hpp"

namespace tillbridge::store::testing {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

mode_t mode_of(const std::filesystem::path& path) {
  struct stat found {};
  EXPECT_EQ(::stat(path.c_str(), &found), 0) << path;
  return found.st_mode & 07777U;
}

/// A database as it is on the disk, without the room in between.
class RawDatabase {
 public:
  explicit RawDatabase(const std::filesystem::path& file) {
    EXPECT_EQ(sqlite3_open(file.c_str(), &handle_), SQLITE_OK);
  }
  ~RawDatabase() { sqlite3_close(handle_); }
  RawDatabase(const RawDatabase&) = delete;
  RawDatabase& operator=(const RawDatabase&) = delete;
  RawDatabase(RawDatabase&&) = delete;
  RawDatabase& operator=(RawDatabase&&) = delete;

  void run(const std::string& sql) {
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
    sqlite3_free(message);
  }
  std::string ask(const std::string& sql) {
    std::string answer;
    const auto row = [](void* all, int count, char** values, char**) {
      for (int i = 0; i < count; ++i) {
        *static_cast<std::string*>(all) +=
            std::string(values[i] != nullptr ? values[i] : "NULL") + "|";
      }
      *static_cast<std::string*>(all) += "\n";
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(handle_, sql.c_str(), row, &answer, nullptr), SQLITE_OK);
    return answer;
  }

 private:
  sqlite3* handle_ = nullptr;
};

class Opening : public ::testing::Test {
 protected:
  TemporaryFolder parent_;
  std::filesystem::path folder_ = parent_.path() / "a" / "state";
  std::filesystem::path file_ = folder_ / Store::file_name;

  void make_folder() {
    std::filesystem::create_directories(folder_);
    ::chmod(folder_.c_str(), 0700);
  }
  void make_version(int version) {
    make_folder();
    std::ifstream stream(std::string(TILLBRIDGE_SOURCE_DIR) + "/tests/unit/store/version_" +
                         std::to_string(version) + ".sql");
    ASSERT_TRUE(stream.is_open());
    RawDatabase(file_).run({std::istreambuf_iterator<char>(stream), {}});
    ::chmod(file_.c_str(), 0600);
  }
  Error refusal() {
    auto store = Store::open(folder_, now);
    EXPECT_FALSE(store);
    return store ? Error{} : store.error();
  }
};

TEST_F(Opening, MakesWhatOnlyItsOwnUserMayRead) {
  const mode_t before = ::umask(0);
  {
    Store store = must(Store::open(folder_, now));
    must(store.put_setting("a", "1"));
    EXPECT_EQ(mode_of(folder_), 0700U);
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      EXPECT_EQ(mode_of(entry.path()), 0600U) << entry.path();
    }
    EXPECT_TRUE(std::filesystem::exists(file_.string() + "-wal"));
  }
  ::umask(before);
  EXPECT_EQ(mode_of(file_), 0600U);
}

TEST_F(Opening, RefusesWhatOthersMayRead) {
  { must(Store::open(folder_, now)); }
  ::chmod(folder_.c_str(), 0750);
  EXPECT_EQ(refusal().code, ErrorCode::config);
  EXPECT_THAT(refusal().message, HasSubstr("chmod 700 " + folder_.string()));
  ::chmod(folder_.c_str(), 0700);
  ::chmod(file_.c_str(), 0640);
  EXPECT_EQ(refusal().code, ErrorCode::config);
  EXPECT_THAT(refusal().message, HasSubstr("chmod 600 " + file_.string()));
  EXPECT_EQ(mode_of(file_), 0640U) << "a mode is never put right silently";
  ::chmod(file_.c_str(), 0600);
  std::filesystem::rename(file_, folder_ / "elsewhere");
  std::filesystem::create_symlink(folder_ / "elsewhere", file_);
  EXPECT_EQ(refusal().code, ErrorCode::config);
}

TEST_F(Opening, OneAtATime) {
  {
    const Store first = must(Store::open(folder_, now));
    EXPECT_EQ(refusal().code, ErrorCode::unavailable);
    EXPECT_THAT(refusal().message, HasSubstr("Another tillbridged uses this folder"));
  }
  EXPECT_TRUE(Store::open(folder_, now));
}

TEST_F(Opening, SaysThatAnotherProgramHasTheDatabase) {
  { must(Store::open(folder_, now)); }
  // SQLite's locks do not hold against their own process, so it is another one.
  int ready[2], over[2];
  ASSERT_EQ(::pipe(static_cast<int*>(ready)) + ::pipe(static_cast<int*>(over)), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    RawDatabase database(file_);
    database.run("BEGIN EXCLUSIVE");
    char byte = 1;
    (void)!::write(ready[1], &byte, 1);
    ::close(over[1]);
    (void)!::read(over[0], &byte, 1);
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_EQ(refusal().code, ErrorCode::unavailable);
  EXPECT_THAT(refusal().message, HasSubstr("Another program has " + file_.string()));
  for (const int end : {ready[0], ready[1], over[0], over[1]}) ::close(end);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(Store::open(folder_, now));
}

TEST_F(Opening, BringsEveryOlderVersionToTheSameTables) {
  const std::string tables =
      "SELECT s.type, s.name, s.tbl_name, group_concat(c.name || ' ' || c.type || ' ' || "
      "c.\"notnull\" || ' ' || ifnull(c.dflt_value, '-') || ' ' || c.pk) FROM sqlite_schema s LEFT "
      "JOIN pragma_table_info(s.name) c GROUP BY s.name ORDER BY s.type, s.name";
  { must(Store::open(folder_, now)); }
  const std::string fresh = RawDatabase(file_).ask(tables);
  EXPECT_THAT(fresh, HasSubstr("web_sessions"));
  for (const int version : {1, 2}) {
    std::filesystem::remove_all(folder_);
    make_version(version);
    { must(Store::open(folder_, at(77))); }
    RawDatabase database(file_);
    // ALTER TABLE puts a column last, so the order in a table may differ; nothing depends on it.
    EXPECT_EQ(database.ask(tables), fresh) << "from version " << version;
    EXPECT_EQ(database.ask("PRAGMA user_version"), "4|\n");
    EXPECT_EQ(database.ask("SELECT applied FROM migrations WHERE version = 3"),
              "1764000077000000|\n");
    EXPECT_EQ(database.ask("SELECT count(*) FROM migrations"), "4|\n");
    EXPECT_EQ(database.ask("PRAGMA foreign_key_check"), "");
  }
}

TEST_F(Opening, KeepsTheRowsOfAnOlderVersion) {
  for (const int version : {1, 2}) {
    std::filesystem::remove_all(folder_);
    make_version(version);
    Store store = must(Store::open(folder_, now));
    EXPECT_EQ(must(store.setting("site")), "Filiale Köln");
    const auto sticks = must(store.sticks());
    ASSERT_EQ(sticks.size(), 2U);
    EXPECT_EQ(sticks[0], (Stick{"1209:0001:5A2F",
                                0x1209,
                                1,
                                "5A2F",
                                false,
                                "1-1.4",
                                "TSE",
                                "Bundesdruckerei",
                                "Kasse vorn",
                                at(1),
                                at(2),
                                "aa",
                                "bb",
                                {}}));
    EXPECT_EQ(sticks[1].first_seen, std::nullopt);
    EXPECT_EQ(sticks[1].blocked_until.has_value(), version == 2);
    EXPECT_EQ(must(store.tills()).size(), 2U);
    const auto mappings = must(store.mappings());
    ASSERT_EQ(mappings.size(), 1U);
    EXPECT_EQ(mappings[0], (Mapping{2, "1209:0001:5A2F", "kasse-07", "anna", "ts-1", 1, "pass",
                                    false, at(5), "anna", "new till"}));
    const auto open = must(store.open_leases());
    ASSERT_EQ(open.size(), 1U);
    EXPECT_EQ(open[0].transfers, 7U);
    const auto lease = must(store.lease(1));
    EXPECT_EQ(lease->errors, version == 2 ? 3U : 0U);
    EXPECT_EQ(lease->p99_us, version == 2 ? std::optional<std::uint32_t>(12000) : std::nullopt);
    EXPECT_EQ(must(store.certificates()).size(), version == 2 ? 2U : 0U);
    EXPECT_EQ(must(store.tokens()).size(), version == 2 ? 1U : 0U);
    if (version == 2) {
      EXPECT_EQ(must(store.certificate("f2"))->why, "stolen");
      EXPECT_EQ(must(store.token(digest(0)))->tries, 2U);
      EXPECT_EQ(must(store.pending("k3"))->request, (Bytes{0x30, 0x82}));
    }
    must(store.put_user(example_user()));
    EXPECT_EQ(must(store.add_mapping(example_mapping())), 3) << "ids go on";
  }
}

TEST_F(Opening, RefusesANewerDatabaseAndLeavesItAlone) {
  make_version(2);
  RawDatabase(file_).run("PRAGMA user_version = 5");
  EXPECT_EQ(refusal().code, ErrorCode::config);
  EXPECT_THAT(refusal().message, HasSubstr("newer tillbridged"));
  EXPECT_EQ(RawDatabase(file_).ask("SELECT count(*) FROM sqlite_schema WHERE name = 'users'"),
            "0|\n");
}

TEST_F(Opening, RefusesAnotherProgramsDatabase) {
  make_folder();
  RawDatabase(file_).run("CREATE TABLE bookmarks (url TEXT)");
  ::chmod(file_.c_str(), 0600);
  EXPECT_EQ(refusal().code, ErrorCode::config);
  EXPECT_THAT(refusal().message, HasSubstr("not one of tillbridge"));
  RawDatabase(file_).run("PRAGMA user_version = 3");
  EXPECT_THAT(refusal().message, HasSubstr("not one of tillbridge"));
}

TEST_F(Opening, RefusesTablesThatWereTamperedWith) {
  { must(Store::open(folder_, now)); }
  RawDatabase(file_).run("ALTER TABLE sticks DROP COLUMN label");
  EXPECT_EQ(refusal().code, ErrorCode::config);
  EXPECT_THAT(refusal().message, HasSubstr("does not have the tables"));
}

TEST_F(Opening, SaysWhichValueIsNotItsOwn) {
  make_version(2);
  RawDatabase(file_).run("UPDATE tokens SET hash = x'00'; UPDATE sticks SET vendor_id = 70000");
  Store store = must(Store::open(folder_, now));
  EXPECT_THAT(store.tokens().error().message, HasSubstr("\"hash\""));
  EXPECT_THAT(store.sticks().error().message, HasSubstr("\"vendor_id\""));
  EXPECT_EQ(must(store.tills()).size(), 2U);
}

TEST_F(Opening, ADamagedFileGivesAClearErrorAndNeverACrash) {
  {
    Store store = must(Store::open(folder_, now));
    auto change = must(store.begin());
    must(store.put_stick(example_stick()));
    must(store.put_till(example_till()));
    for (int i = 0; i < 400; ++i) {
      Lease lease = example_lease();
      lease.address = std::string(100, 'a');
      must(store.add_lease(lease));
    }
    must(change.commit());
  }
  std::ifstream stream(file_, std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(stream), {}};
  ASSERT_GT(good.size(), 100'000U);

  const auto write = [&](const std::string& content) {
    std::ofstream(file_, std::ios::binary | std::ios::trunc) << content;
    std::filesystem::remove(file_.string() + "-wal");
  };
  write("this was a letter to the tax office, and is long enough to be looked at" +
        good.substr(100));
  EXPECT_EQ(refusal().code, ErrorCode::config);
  EXPECT_THAT(refusal().message, HasSubstr("is damaged or is no database of tillbridge"));
  write(good.substr(0, good.size() / 2));
  EXPECT_EQ(refusal().code, ErrorCode::config);
  EXPECT_THAT(refusal().message, HasSubstr("damaged"));

  std::mt19937 random(5);
  int refused = 0;
  for (int round = 0; round < 150; ++round) {
    std::string bad = good;
    const std::size_t start = random() % bad.size();
    for (std::size_t i = start; i < std::min(bad.size(), start + 64); ++i) {
      bad[i] = static_cast<char>(random());
    }
    write(bad);
    auto store = Store::open(folder_, now);
    if (!store) {
      EXPECT_EQ(store.error().code, ErrorCode::config) << store.error().message;
      ++refused;
      continue;
    }
    // Damage in the middle of a text is not seen, and in a number when it is read.
    const auto leases = store->leases({.limit = 1000});
    if (!leases) {
      EXPECT_EQ(leases.error().code, ErrorCode::config) << leases.error().message;
    }
    (void)store->put_setting("a", "1");
  }
  EXPECT_GT(refused, 30) << "the check at the start finds damage";
}

}  // namespace

}  // namespace tillbridge::store::testing
