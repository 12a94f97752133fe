// Whatever is done to a log, verify() finds it.
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/audit/log_files.hpp"
#include "tests/unit/audit/log_folder.hpp"

namespace tillbridge::audit::testing {

namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> lines_of(const std::string& content) {
  std::vector<std::string> lines;
  for_each_line(content, [&](std::string_view line, std::size_t, bool) {
    lines.emplace_back(line);
    return true;
  });
  return lines;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string content;
  for (const std::string& line : lines) content += line + "\n";
  return content;
}

class Tampering : public ::testing::Test {
 protected:
  // Five entries in two files, the head signed behind the last one.
  void SetUp() override {
    AuditLog log = must(AuditLog::open(folder_.path(), at(0), {.file_bytes = 1150}));
    for (int i = 1; i <= 2; ++i) {
      must(log.record(lease_begun("stick-a", i), at(10 * i)));
      must(log.record(mapping_added("stick-b"), at(10 * i + 5)));
    }
    key_ = log.public_key();
    must(log.close(at(100)));
    std::ostringstream file;
    const Sink sink = [&](std::string_view piece) {
      file << piece;
      return Status();
    };
    must(log.snapshot().write_export({"stick-a", at(10), at(20)}, at(101), sink));
    export_ = file.str();
    older_ = must(list_log_files(folder_.path())).older.at(0);
  }

  std::string check(const std::optional<Head>& known = {}) {
    const auto report = verify(folder_.path(), key_, known);
    return report ? findings(*report) : "error: " + report.error().message;
  }
  std::string check_export(const std::string& content) {
    folder_.write("export", content);
    const auto report = verify(folder_.file("export"), key_);
    return report ? findings(*report) : "error: " + report.error().message;
  }

  LogFolder folder_;
  std::string key_, export_, older_;
};

TEST_F(Tampering, NothingWasDoneYet) {
  EXPECT_EQ(check(), "");
  EXPECT_EQ(check_export(export_), "");
  ASSERT_EQ(must(list_log_files(folder_.path())).older.size(), 1U);
}

TEST_F(Tampering, EveryByteThatIsChangedIsFound) {
  for (const std::string& name :
       {older_, std::string("audit.jsonl"), std::string("head.json"), std::string("audit.pub")}) {
    const std::string good = folder_.read(name);
    for (std::size_t i = 0; i < good.size(); ++i) {
      // Another digit or letter, another case, no character at all.
      const int flip = std::array{0x01, 0x20, 0x80}.at(i % 3);
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ flip);
      folder_.write(name, bad);
      ASSERT_NE(check(), "") << name << " byte " << i << " of:\n" << good;
    }
    folder_.write(name, good);
  }
  EXPECT_EQ(check(), "");
}

TEST_F(Tampering, EveryCutIsFound) {
  for (const std::string& name : {older_, std::string("audit.jsonl"), std::string("head.json")}) {
    const std::string good = folder_.read(name);
    for (std::size_t size = 0; size < good.size(); ++size) {
      folder_.write(name, good.substr(0, size));
      ASSERT_NE(check(), "") << name << " cut to " << size;
    }
    folder_.write(name, good);
  }
}

TEST_F(Tampering, EveryLineThatIsDeletedDoubledOrMovedIsFoundAtItsPlace) {
  const std::vector<std::string> first = lines_of(folder_.read(older_));
  const std::vector<std::string> second = lines_of(folder_.read("audit.jsonl"));
  ASSERT_GE(first.size(), 3U);
  ASSERT_GE(second.size(), 2U);
  std::size_t n = 0;
  for (const auto& [name, good] :
       {std::pair{older_, first}, {std::string("audit.jsonl"), second}}) {
    for (std::size_t i = 0; i < good.size(); ++i) {
      ++n;
      auto bad = good;
      bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(i));
      folder_.write(name, joined(bad));
      EXPECT_THAT(check(), HasSubstr("Entry " + std::to_string(n) + " is missing"));
      bad = good;
      bad.insert(bad.begin() + static_cast<std::ptrdiff_t>(i), good[i]);
      folder_.write(name, joined(bad));
      EXPECT_THAT(check(), HasSubstr("entry " + std::to_string(n) + " stands where entry " +
                                     std::to_string(n + 1) + " is due"));
      if (i + 1 < good.size()) {
        bad = good;
        std::swap(bad[i], bad[i + 1]);
        folder_.write(name, joined(bad));
        EXPECT_THAT(check(), HasSubstr("entry " + std::to_string(n) + " stands where"));
      }
    }
    folder_.write(name, joined(good));
  }
  EXPECT_EQ(check(), "");
}

TEST_F(Tampering, AForgedEntryIsFoundAlsoIfItsNumberAndLinkFit) {
  std::vector<std::string> lines = lines_of(folder_.read("audit.jsonl"));
  std::string& last = lines.back();
  last.replace(last.find("anna"), 4, "otto");
  folder_.write("audit.jsonl", joined(lines));
  EXPECT_THAT(check(), HasSubstr("entry 5 is not the one"));
  lines = lines_of(folder_.read(older_));
  lines[1].replace(lines[1].find("kasse-07"), 8, "kasse-08");
  folder_.write(older_, joined(lines));
  EXPECT_THAT(check(), HasSubstr("The chain breaks between entry 2 and entry 3"));
}

TEST_F(Tampering, AFileThatIsDeletedOrDoubledIsFound) {
  const auto good = folder_.keep();
  std::filesystem::remove(folder_.file(older_));
  EXPECT_THAT(check(), HasSubstr("Entries 1 to 3 are missing"));
  folder_.restore(good);
  std::filesystem::remove(folder_.file("audit.jsonl"));
  EXPECT_THAT(check(), HasSubstr("The end was cut off"));
  folder_.restore(good);
  folder_.write(older_name(3), good.at("audit.jsonl"));
  EXPECT_NE(check(), "");
  folder_.restore(good);
  std::filesystem::rename(folder_.file(older_), folder_.file(older_name(2)));
  EXPECT_NE(check(), "");
  folder_.restore(good);
  std::filesystem::remove(folder_.file("head.json"));
  EXPECT_THAT(check(), HasSubstr("The signed head is not there"));
  for (const std::string& name : {older_, std::string("audit.jsonl")}) {
    std::filesystem::remove(folder_.file(name));
  }
  EXPECT_THAT(check(), HasSubstr("holds no audit log"));
}

// Who has the key can write the log anew; not so that a head that somebody kept still fits.
TEST_F(Tampering, ALogThatWasWrittenAnewDoesNotFitAHeadThatWasKept) {
  Head kept;
  {
    const AuditLog log = must(AuditLog::open(folder_.path(), at(200)));
    kept = log.head();
  }
  EXPECT_EQ(check(kept), "");
  const std::string secret = folder_.read("audit.key");
  std::filesystem::remove_all(folder_.path());
  { must(AuditLog::open(folder_.path(), at(0))); }
  // Not even with a log of the same length and the same key.
  EXPECT_THAT(check(kept), HasSubstr("signed with another key"));
  key_ = folder_.read("audit.pub");
  EXPECT_THAT(check(kept), HasSubstr("not signed with this key"));
  {
    AuditLog log = must(AuditLog::open(folder_.path(), at(0)));
    for (int i = 0; i < 3; ++i) must(log.record(lease_begun(), at(i)));
    must(log.close(at(9)));
    kept = log.head();
  }
  const std::string whole = folder_.read("audit.jsonl");
  folder_.write("audit.jsonl", joined({lines_of(whole)[0]}));
  {
    AuditLog log = must(AuditLog::open(folder_.path(), at(0), {.damage = Options::Damage::go_on}));
  }
  // That one was cut, not written anew: what was put aside is told of, and the head still fits.
  const Report report = must(verify(folder_.path(), key_, kept));
  EXPECT_TRUE(report.intact()) << findings(report);
  EXPECT_THAT(report.warnings, ::testing::ElementsAre(HasSubstr("Entries 2 to 4 are missing")));
}

TEST_F(Tampering, AFindingNamesTheLineOfItsFile) {
  auto lines = lines_of(folder_.read("audit.jsonl"));
  lines[1] = "nonsense";
  folder_.write("audit.jsonl", joined(lines));
  Report report = must(verify(folder_.path(), key_));
  ASSERT_FALSE(report.findings.empty());
  EXPECT_EQ(report.findings[0].file, "audit.jsonl");
  EXPECT_EQ(report.findings[0].line, 2U);
  lines = lines_of(export_);
  std::size_t changed = 0;
  while (lines.at(changed).find("{\"n\":2,") != 0) ++changed;
  lines[changed].replace(lines[changed].find("kasse-07"), 8, "kasse-x7");
  folder_.write("export", joined(lines));
  report = must(verify(folder_.file("export"), key_));
  ASSERT_FALSE(report.findings.empty());
  // The change shows where the next one does not fit any more, or at the end.
  EXPECT_THAT(report.findings[0].line, ::testing::AnyOf(0U, ::testing::Ge(changed + 1)));
}

TEST_F(Tampering, TheKeyThatAFileNamesIsTold) {
  folder_.write("export", export_);
  EXPECT_EQ(must(key_within(folder_.file("export"))), key_);
  EXPECT_EQ(must(key_within(folder_.path())), key_);
  EXPECT_THAT(key_within(folder_.file("audit.jsonl")).error().message,
              HasSubstr("Copy the whole folder"));
  EXPECT_THAT(verify(folder_.file("audit.jsonl"), key_).error().message,
              HasSubstr("Copy the whole folder"));
  folder_.write("export", "hello\n");
  EXPECT_THAT(key_within(folder_.file("export")).error().message, HasSubstr("tillbridge exported"));
}

TEST_F(Tampering, AnExportHoldsTheSticksEntriesAndTheProof) {
  EXPECT_THAT(export_,
              AllOf(HasSubstr("# tillbridge: what happened to stick stick-a"),
                    HasSubstr("# 2026-11-23 04:05:16 UTC  #2  lease begun  by till kasse-07"),
                    HasSubstr("entries: 2; left out in between, about other things: 1"),
                    Not(HasSubstr("stick-b"))));
  folder_.write("export", export_);
  const Report report = must(verify(folder_.file("export"), key_));
  EXPECT_TRUE(report.intact()) << findings(report);
  EXPECT_EQ(report.entries, 2U);
  EXPECT_EQ(report.left_out, 1U);
  EXPECT_EQ(report.first, 2U);
  EXPECT_EQ(report.signed_to, 4U);
}

TEST_F(Tampering, EveryByteOfAnExportThatIsChangedOrCutIsFound) {
  for (std::size_t i = 0; i < export_.size(); ++i) {
    std::string bad = export_;
    bad[i] = static_cast<char>(bad[i] ^ 0x01);
    ASSERT_NE(check_export(bad), "") << "byte " << i;
    ASSERT_NE(check_export(export_.substr(0, i)), "") << "cut to " << i;
  }
}

TEST_F(Tampering, EveryLineOfAnExportThatIsDeletedDoubledOrMovedIsFound) {
  const std::vector<std::string> good = lines_of(export_);
  for (std::size_t i = 0; i < good.size(); ++i) {
    auto bad = good;
    bad.erase(bad.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_NE(check_export(joined(bad)), "") << good[i];
    bad = good;
    bad.insert(bad.begin() + static_cast<std::ptrdiff_t>(i), good[i]);
    EXPECT_NE(check_export(joined(bad)), "") << good[i];
    if (i + 1 < good.size() && good[i] != good[i + 1]) {
      bad = good;
      std::swap(bad[i], bad[i + 1]);
      EXPECT_NE(check_export(joined(bad)), "") << good[i];
    }
  }
}

TEST_F(Tampering, AnExportOfNothingOrOfEverythingIsOneToo) {
  const AuditLog log = must(AuditLog::open(folder_.path(), at(200)));
  const auto exported = [&](const Selection& selection) {
    std::string file;
    must(log.snapshot().write_export(selection, at(300), [&](std::string_view piece) {
      file += piece;
      return Status();
    }));
    return file;
  };
  const std::string nothing = exported({"stick-a", at(500), at(600)});
  EXPECT_EQ(check_export(nothing), "");
  EXPECT_THAT(nothing, HasSubstr("# entries: 0;"));
  const std::string everything = exported({"", at(-100), at(600)});
  EXPECT_EQ(check_export(everything), "");
  EXPECT_THAT(everything, HasSubstr("stick-b"));
  const Status failed = log.snapshot().write_export(
      {"", at(-100), at(600)}, at(300),
      [](std::string_view) { return Status(fail(ErrorCode::io, "the browser is gone")); });
  EXPECT_THAT(failed.error().message, HasSubstr("browser"));
  LogFolder other;
  const AuditLog other_log = must(AuditLog::open(other.path(), at(0)));
  key_ = other_log.public_key();
  EXPECT_THAT(check_export(everything), HasSubstr("another server"));
}

// An export is made on a thread of its own, so the log goes on meanwhile: entries come, files are
// put away under other names, and the last line may be half written.
TEST_F(Tampering, AnExportHoldsWhatWasThereWhenItWasAskedForThoughTheLogGoesOn) {
  AuditLog log = must(AuditLog::open(folder_.path(), at(200), {.file_bytes = 1150}));
  const Snapshot snapshot = log.snapshot();
  const std::size_t files_before = must(list_log_files(folder_.path())).older.size();
  int written = 0;
  const auto go_on = [&] {
    ++written;
    must(log.record(lease_begun("stick-a", written), at(200 + written)));
  };
  go_on();
  std::string file;
  must(snapshot.write_export({"", at(-100), at(600)}, at(300), [&](std::string_view piece) {
    if (written < 30) go_on();
    file += piece;
    return Status();
  }));
  EXPECT_GT(must(list_log_files(folder_.path())).older.size(), files_before + 5);
  EXPECT_EQ(check_export(file), "");
  EXPECT_THAT(file, Not(HasSubstr(time_text(at(201)))));
  EXPECT_THAT(file, HasSubstr(time_text(at(20))));

  std::ofstream(folder_.file(current_name), std::ios::app) << "{\"n\":";
  std::string later;
  must(log.snapshot().write_export({"", at(-100), at(600)}, at(300), [&](std::string_view piece) {
    later += piece;
    return Status();
  }));
  EXPECT_EQ(check_export(later), "");
  EXPECT_THAT(later, HasSubstr(time_text(at(200 + written))));
}

// What should be there is missed, also if nothing that is there is wrong.
TEST_F(Tampering, AnExportOfALogWhoseEndWasTakenAwayIsNoneAtAll) {
  const AuditLog log = must(AuditLog::open(folder_.path(), at(200)));
  const Snapshot snapshot = log.snapshot();
  std::filesystem::resize_file(folder_.file(current_name), 0);
  const Status status = snapshot.write_export({"", at(-100), at(600)}, at(300),
                                              [](std::string_view) { return Status(); });
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("is not its last entry any more"));
}

// By FORMAT.md alone: a program that has no line in common with ours comes to the same.
TEST_F(Tampering, APythonProgramThatFollowsTheFormatAgrees) {
  if (std::system("python3 -c 'import cryptography' 2>/dev/null") != 0) {
    GTEST_SKIP() << "python3-cryptography is not installed";
  }
  folder_.write("../export", export_);
  folder_.write("../key", key_);
  const auto agrees = [&](const std::string& target) {
    const std::string command = std::string("python3 ") + TILLBRIDGE_SOURCE_DIR +
                                "/tests/support/audit_verify.py " + folder_.file(target).string() +
                                " " + folder_.file("../key").string() + " >/dev/null";
    return std::system(command.c_str()) == 0;
  };
  EXPECT_TRUE(agrees("."));
  EXPECT_TRUE(agrees("../export"));
  folder_.write("../export", std::string(export_).replace(export_.find("kasse-07"), 8, "kasse-08"));
  EXPECT_FALSE(agrees("../export"));
  folder_.write("audit.jsonl", joined({lines_of(folder_.read("audit.jsonl"))[0]}));
  EXPECT_FALSE(agrees("."));
}

TEST_F(Tampering, WhatIsNoLogIsSaidToBeNone) {
  EXPECT_THAT(check_export(""), HasSubstr("is no file that tillbridge exported"));
  EXPECT_THAT(check_export("hello\n"), HasSubstr("is no file that tillbridge exported"));
  EXPECT_EQ(verify(folder_.path(), "no key").error().code, ErrorCode::malformed);
  EXPECT_FALSE(verify(folder_.path() / "nowhere", key_));
}

}  // namespace

}  // namespace tillbridge::audit::testing
