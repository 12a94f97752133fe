// The folder store: what a person finds in it, and what it refuses to open.

#include <filesystem>
#include <fstream>
#include <iterator>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core_bench.hpp"
#include "server/simulator/tse/folder_state.hpp"
#include "tests/unit/simulator/temporary_folder.hpp"

namespace tillbridge::simulator::tse {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}
void write_file(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}
void replace_in_file(const fs::path& path, const std::string& from, const std::string& to) {
  std::string content = read_file(path);
  const auto found = content.find(from);
  ASSERT_NE(found, std::string::npos) << from;
  write_file(path, content.replace(found, from.size(), to));
}

struct FolderBench {
  FolderBench() : folder(quick_parent()), path(folder.file("tse")) {}
  [[nodiscard]] std::unique_ptr<Store> store() const {
    auto opened = open_folder_store(path);
    EXPECT_TRUE(opened) << opened.error().message;
    return opened ? std::move(*opened) : nullptr;
  }
  /// Of opening the store, or the TSE in it.
  [[nodiscard]] Error error(const CoreOptions& options = quick_options()) const {
    auto opened = open_folder_store(path);
    if (!opened) return opened.error();
    const auto core = TseCore::open(options, std::move(*opened));
    EXPECT_FALSE(core) << "opened";
    return core ? Error{} : core.error();
  }
  void fill() const {
    CoreBench bench(quick_options(), store());
    bench.set_up();
    EXPECT_TRUE(bench.start());
  }
  TemporaryFolder folder;
  fs::path path;
};

TEST(TseStore, AFolderContinuesWhereItStopped) {
  const FolderBench folder;
  std::uint64_t counter = 0;
  evidence::SerialNumber serial{};
  Bytes archive;
  {
    CoreBench bench(quick_options(), folder.store());
    bench.set_up();
    ASSERT_TRUE(bench.start());
    ASSERT_TRUE(bench.core->export_logs({}));
    ASSERT_TRUE(bench.core->set_front_end_flags(0x80000001U));
    // A PIN may hold any bytes.
    ASSERT_EQ(bench.core->change_pin(User::admin, admin_pin, "\xff%\n\"", bench.now).what,
              LoginResult::What::ok);
    counter = bench.core->signature_counter();
    serial = bench.core->serial();
    archive = bench.archive();
  }
  CoreBench bench(quick_options(), folder.store());
  EXPECT_EQ(bench.archive(), archive);
  EXPECT_EQ(bench.core->serial(), serial);
  EXPECT_EQ(bench.core->signature_counter(), counter);
  EXPECT_EQ(bench.core->exported_counter(), counter);
  EXPECT_EQ(bench.core->front_end_flags(), 0x80000001U);
  EXPECT_EQ(bench.core->life_cycle(), LifeCycle::active);
  EXPECT_EQ(bench.core->clients(), (std::vector<std::string>{"till-1", "till-2"}));
  EXPECT_EQ(bench.core->logs().size(), counter);
  EXPECT_EQ(bench.core->login(User::admin, "\xff%\n\"", bench.now).what, LoginResult::What::ok);
  ASSERT_EQ(bench.core->open_transactions().size(), 1U);
  EXPECT_EQ(bench.core->open_transactions()[0].client, "till-1");
  EXPECT_EQ(bench.core->open_transactions()[0].start_time_s, opening_time_s);
  ASSERT_TRUE(bench.core->set_time(opening_time_s + 5, bench.now));
  ASSERT_TRUE(bench.finish(1));
  bench.check_archive();
}

TEST(TseStore, APersonCanReadIt) {
  const FolderBench folder;
  folder.fill();
  const std::string state = read_file(folder.path / "state.json");
  EXPECT_THAT(state, HasSubstr("BEGIN PRIVATE KEY"));
  EXPECT_THAT(state, HasSubstr("\"life_cycle\": \"active\""));
  EXPECT_THAT(state, HasSubstr("\"log\":\"log.tar\""));
  EXPECT_LT(state.size(), 4096U);
  for (const char* name : {"state.json", "log.tar", "lock"}) {
    struct stat facts {};
    ASSERT_EQ(::stat((folder.path / name).c_str(), &facts), 0) << name;
    EXPECT_EQ(facts.st_mode & 0777U, 0600U) << name;
  }
  struct stat facts {};
  ASSERT_EQ(::stat(folder.path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777U, 0700U);
  EXPECT_FALSE(fs::exists(folder.path / "state.json.new"));
}

TEST(TseStore, TheStateDoesNotGrowWithTheLogs) {
  const FolderBench folder;
  CoreBench bench(quick_options(), folder.store());
  bench.set_up();
  const auto before = fs::file_size(folder.path / "state.json");
  for (std::uint64_t number = 1; number <= 50; ++number) {
    ASSERT_TRUE(bench.start());
    ASSERT_TRUE(bench.finish(number));
  }
  EXPECT_LE(fs::file_size(folder.path / "state.json"), before + 16);
}

TEST(TseStore, OneProcessAtATime) {
  const FolderBench folder;
  const auto first = folder.store();
  const auto second = open_folder_store(folder.path);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
  EXPECT_THAT(second.error().message, HasSubstr(folder.path.string()));
  EXPECT_THAT(second.error().message, HasSubstr("in use by another process"));
}

TEST(TseStore, WhatWasNeverCommittedIsCutOff) {
  const FolderBench folder;
  folder.fill();
  const std::string log = read_file(folder.path / "log.tar");
  write_file(folder.path / "log.tar", log + std::string(700, 'x'));
  write_file(folder.path / "state.json.new", "{\"store\":");
  CoreBench bench(quick_options(), folder.store());
  EXPECT_EQ(read_file(folder.path / "log.tar"), log);
  bench.check_archive();
}

TEST(TseStore, ADeletionLeavesOneLogBehind) {
  const FolderBench folder;
  std::uint64_t counter = 0;
  {
    CoreBench bench(quick_options(), folder.store());
    bench.set_up();
    ASSERT_TRUE(bench.core->export_logs({}));
    ASSERT_TRUE(bench.core->delete_up_to(2, bench.now));
    EXPECT_FALSE(fs::exists(folder.path / "log.tar"));
    EXPECT_TRUE(fs::exists(folder.path / "log.2.tar"));
    ASSERT_TRUE(bench.core->delete_up_to(UINT64_MAX, bench.now));
    EXPECT_FALSE(fs::exists(folder.path / "log.2.tar"));
    counter = bench.core->signature_counter();
  }
  write_file(folder.path / "log.2.tar", "left over by a power failure");
  write_file(folder.path / "log.4.tar", "begun before a power failure");
  CoreBench bench(quick_options(), folder.store());
  EXPECT_FALSE(fs::exists(folder.path / "log.2.tar"));
  EXPECT_FALSE(fs::exists(folder.path / "log.4.tar"));
  EXPECT_EQ(bench.core->signature_counter(), counter);
  bench.login();
  bench.check_archive(counter + 1);
}

TEST(TseStore, DamageIsSaidAndNeverAFreshStart) {
  const auto said = [](const std::function<void(const fs::path&)>& damage, const char* what,
                       const CoreOptions& options = quick_options()) {
    const FolderBench folder;
    folder.fill();
    damage(folder.path);
    const Error error = folder.error(options);
    EXPECT_EQ(error.code, ErrorCode::config) << what;
    EXPECT_THAT(error.message, HasSubstr(what));
  };
  const auto state_with = [](const char* from, const char* to) {
    return [from, to](const fs::path& path) { replace_in_file(path / "state.json", from, to); };
  };
  said([](const fs::path& path) { fs::remove(path / "state.json"); }, "state.json");
  said([](const fs::path& path) { write_file(path / "state.json", ""); }, "no JSON text");
  said([](const fs::path& path) { write_file(path / "state.json", "[]"); }, "is missing");
  said([](const fs::path& path) { fs::resize_file(path / "state.json", 300); }, "no JSON text");
  const std::string deep(1'000'000, '[');
  said(
      [&deep](const fs::path& path) {
        write_file(path / "state.json",
                   "{\"store\": {}, \"tse\": " + deep + std::string(deep.size(), ']') + "}");
      },
      "nested too deeply");
  said(state_with("\"format\":1", "\"format\":2"), "format 2");
  said(state_with("\"log_bytes\":", "\"log_bites\":"), "log_bytes");
  said([](const fs::path& path) { fs::remove(path / "log.tar"); }, "log.tar is missing");
  said([](const fs::path& path) { fs::resize_file(path / "log.tar", 5120); }, "5120 bytes");
  said(state_with("\"tse\": {", "\"tse\": 7, \"x\": {"), "format");
  said(state_with("\"life_cycle\": \"active\"", "\"life_cycle\": \"alive\""), "life_cycle");
  said(state_with("\"pin_tries\": 3", "\"pin_tries\": 300"), "pin_tries");
  said(state_with("\"pin_tries\": 3", "\"pin_tries\": -1"), "pin_tries");
  said(state_with("\"pin\": \"12345678\"", "\"pin\": \"%x\""), "pin");
  said(state_with("\"till-1\"", "1"), "clients");
  said(state_with("\"number\": 1", "\"number\": 0"), "open_transactions");
  said(state_with("BEGIN PRIVATE KEY", "BEGIN PUBLIC KEY"), "key");
  said(state_with("\"signature_counter\": 4", "\"signature_counter\": 3"), "counter");
  said(state_with("\"signature_counter\": 4", "\"signature_counter\": 5"), "counter");
  said([](const fs::path& path) { replace_in_file(path / "log.tar", "Log-Sys", "Log-Xys"); },
       "wrong checksum");
  CoreOptions p384;
  said([](const fs::path&) {}, "P-256", p384);

  // The state of one TSE beside the log of another.
  const FolderBench one, other;
  one.fill();
  other.fill();
  write_file(one.path / "log.tar", read_file(other.path / "log.tar"));
  fs::resize_file(one.path / "log.tar", fs::file_size(other.path / "log.tar"));
  const Error error = one.error();
  EXPECT_EQ(error.code, ErrorCode::config) << error.message;
}

TEST(TseStore, OnlyAnEmptyFolderBecomesATse) {
  const FolderBench folder;
  fs::create_directories(folder.path);
  write_file(folder.path / "diary.txt", "dear");
  EXPECT_THAT(folder.error().message, HasSubstr("diary.txt"));
  EXPECT_EQ(read_file(folder.path / "diary.txt"), "dear");
  fs::remove_all(folder.path);
  write_file(folder.path, "a file");
  EXPECT_EQ(folder.error().code, ErrorCode::io);
}

}  // namespace
}  // namespace tillbridge::simulator::tse
