// What the POS does on its own machine: finding sticks, files, the serial line, the command line.
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pos/access.hpp"
#include "pos/cashier.hpp"
#include "pos/finder.hpp"
#include "pos/mounted_stick.hpp"
#include "pos/options.hpp"
#include "pos/qr_picture.hpp"
#include "pos/report.hpp"
#include "pos/tty_line.hpp"
#include "pos/verbs.hpp"
#include "pos/whole_file.hpp"
#include "tests/unit/pos/simulated_stick.hpp"
#include "tests/unit/pos/temporary_folder.hpp"

namespace tillbridge::pos {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

void write_file(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

// --- finding sticks

class Finder : public testing::Test {
 protected:
  Finder() {
    roots.mounts = folder.path() / "mounts";
    roots.devices = folder.path() / "dev";
    roots.serial_by_id = folder.path() / "dev" / "serial" / "by-id";
    fs::create_directories(roots.serial_by_id);
    write_file(roots.mounts, "");
  }

  fs::path mount(const std::string& name, const std::string& type, const std::string& device,
                 const std::vector<std::string>& files) {
    const fs::path place = folder.path() / name;
    fs::create_directories(place);
    for (const std::string& file : files) write_file(place / file, std::string(8192, '\0'));
    std::string escaped = place.string();
    for (std::size_t at = 0; (at = escaped.find(' ', at)) != std::string::npos;)
      escaped.replace(at, 1, "\\040");
    std::ofstream(roots.mounts, std::ios::app)
        << device << ' ' << escaped << ' ' << type << " rw,relatime 0 0\n";
    return place;
  }

  TemporaryFolder folder;
  FinderRoots roots;
};

TEST_F(Finder, NoStickIsASentenceThatSaysWhatToDo) {
  mount("backup", "vfat", "/dev/sdb1", {"README.TXT"});
  mount("home", "ext4", "/dev/sda1", {"TSE-IO.bin"});
  const Outcome<Candidate> stick = the_only(find_sticks(roots));
  ASSERT_FALSE(stick.ok());
  EXPECT_EQ(stick.failure().what, Trouble::no_stick);
  EXPECT_THAT(stick.failure().message, HasSubstr("Plug the stick in and mount it"));
}

TEST_F(Finder, OneStickIsFoundByItsFilesWhateverTheirCase) {
  const fs::path place = mount("a stick", "vfat", "/dev/sdb1", {"tse-io.bin"});
  const Outcome<Candidate> stick = the_only(find_sticks(roots));
  ASSERT_TRUE(stick.ok()) << stick.failure().message;
  EXPECT_EQ(stick->family, Family::cryptovision);
  EXPECT_EQ(stick->place, place.string());
}

TEST_F(Finder, TwoSticksAreNamedWithHowToChoose) {
  const fs::path one = mount("one", "vfat", "/dev/sdb1", {"TSE-IO.BIN"});
  const fs::path two = mount("two", "exfat", "/dev/sdc1", {"TSE_INFO.DAT", "TSE_COMM.DAT"});
  const Outcome<Candidate> stick = the_only(find_sticks(roots));
  ASSERT_FALSE(stick.ok());
  EXPECT_EQ(stick.failure().what, Trouble::several_sticks);
  EXPECT_THAT(stick.failure().message, HasSubstr("--stick " + one.string() + "  (cryptovision)"));
  EXPECT_THAT(stick.failure().message, HasSubstr("--stick " + two.string() + "  (swissbit)"));
}

TEST_F(Finder, AStickThatIsMountedTwiceIsOne) {
  mount("one", "vfat", "/dev/sdb1", {"TSE-IO.BIN"});
  mount("two", "vfat", "/dev/sdb1", {"TSE-IO.BIN"});
  EXPECT_TRUE(the_only(find_sticks(roots)).ok());
}

TEST_F(Finder, SerialLinesCountOnceAndAModemIsOnlyMeantIfNothingElseIs) {
  write_file(roots.devices / "ttyACM0", "");
  write_file(roots.devices / "ttyS0", "");
  Outcome<Candidate> stick = the_only(find_sticks(roots));
  ASSERT_TRUE(stick.ok());
  EXPECT_EQ(stick->family, Family::diebold);
  EXPECT_EQ(stick->place, (roots.devices / "ttyACM0").string());

  write_file(roots.devices / "ttyACM1", "");
  fs::create_symlink(roots.devices / "ttyACM0", roots.serial_by_id / "usb-Some_Modem-if00");
  fs::create_symlink(roots.devices / "ttyACM1",
                     roots.serial_by_id / "usb-Diebold_Nixdorf_TSE_0123-if00");
  EXPECT_EQ(find_sticks(roots).size(), 2U);
  stick = the_only(find_sticks(roots));
  ASSERT_TRUE(stick.ok()) << stick.failure().message;
  EXPECT_THAT(stick->place, HasSubstr("Diebold"));

  mount("one", "vfat", "/dev/sdb1", {"TSE-IO.BIN"});
  stick = the_only(find_sticks(roots));
  ASSERT_FALSE(stick.ok());
  EXPECT_THAT(stick.failure().message, testing::Not(HasSubstr("Modem")));
}

TEST_F(Finder, WhatAPersonNamesIsLookedAt) {
  const fs::path stick = mount("one", "vfat", "/dev/sdb1", {"TSE-IO.BIN"});
  EXPECT_EQ(look_at(stick)->family, Family::cryptovision);
  EXPECT_EQ(look_at("/dev/null")->family, Family::diebold);
  const std::pair<fs::path, Trouble> wrong[] = {{folder.path(), Trouble::no_stick},
                                                {folder.path() / "nothing", Trouble::no_stick},
                                                {stick / "TSE-IO.BIN", Trouble::usage}};
  for (const auto& [place, trouble] : wrong) {
    const Outcome<Candidate> found = look_at(place);
    ASSERT_FALSE(found.ok()) << place;
    EXPECT_EQ(found.failure().what, trouble) << found.failure().message;
    EXPECT_THAT(found.failure().message, HasSubstr(place.string()));
  }
}

// --- files on a mounted stick

/// Does this folder's file system have unbuffered I/O?
bool has_direct_io(const fs::path& folder) {
  const fs::path probe = folder / "probe";
  const int file = ::open(probe.c_str(), O_CREAT | O_RDWR | O_DIRECT, 0600);
  if (file >= 0) ::close(file);
  fs::remove(probe);
  return file >= 0;
}

bool write_file_block(const fs::path& path, const Bytes& content) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file << std::string(content.begin(), content.end());
  file.flush();
  return file.good();
}

class MountedFiles : public testing::TestWithParam<OpenStyle> {
 protected:
  // The build folder is on a disk more often than /tmp is.
  MountedFiles() : folder(fs::current_path()) {
    write_file(folder.path() / "TSE-IO.bin", std::string(8192, 'x'));
  }
  TemporaryFolder folder;
};
INSTANTIATE_TEST_SUITE_P(Pos, MountedFiles,
                         testing::Values(OpenStyle::direct, OpenStyle::direct_zeroed,
                                         OpenStyle::recreated, OpenStyle::each_time,
                                         OpenStyle::cached));

TEST_P(MountedFiles, WhatIsWrittenIsRead) {
  auto volume = open_mounted_stick(folder.path());
  ASSERT_TRUE(volume.ok());
  auto file = (*volume)->open("tse-io.BIN", GetParam());
  if (GetParam() != OpenStyle::cached && !has_direct_io(folder.path())) {
    ASSERT_FALSE(file.ok());
    EXPECT_EQ(file.error().code, ErrorCode::config);
    EXPECT_THAT(file.error().message, HasSubstr("--open-style cached"));
    return;
  }
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ((*file)->size(), 8192U);
  const bool zeroed = GetParam() == OpenStyle::direct_zeroed || GetParam() == OpenStyle::recreated;
  Bytes content(8192);
  ASSERT_TRUE((*file)->read(0, content).ok());
  EXPECT_EQ(content, Bytes(8192, zeroed ? 0 : 'x'));

  Bytes block(1024, 0xAB);
  if (GetParam() == OpenStyle::cached) block.resize(777);
  ASSERT_TRUE((*file)->write(512, block).ok());
  Bytes read(block.size());
  ASSERT_TRUE((*file)->read(512, read).ok());
  EXPECT_EQ(read, block);
  // Somebody else's change is seen: nothing is answered from a cache.
  const Bytes foreign(512, 0xCD);
  ASSERT_TRUE(write_file_block(folder.path() / "TSE-IO.bin", foreign));
  Bytes first(512);
  ASSERT_TRUE((*file)->read(0, first).ok());
  EXPECT_EQ(first, foreign);

  EXPECT_FALSE((*file)->read(8192, first).ok()) << "beyond the end";
  if (GetParam() != OpenStyle::cached) {
    EXPECT_FALSE((*file)->write(0, Bytes(100)).ok());
  }
}

TEST(MountedStick, AFileThatIsGoneIsASentence) {
  const TemporaryFolder folder;
  auto volume = open_mounted_stick(folder.path());
  ASSERT_TRUE(volume.ok());
  const auto file = (*volume)->open("TSE-IO.bin", OpenStyle::cached);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, ErrorCode::unavailable);
  EXPECT_FALSE(open_mounted_stick(folder.path() / "nothing").ok());
}

// --- the serial line

TEST(TtyLine, CarriesBytesAndIsForOneProgramOnly) {
  const int master = ::posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(master, 0);
  ASSERT_EQ(::grantpt(master), 0);
  ASSERT_EQ(::unlockpt(master), 0);
  const std::string name = ::ptsname(master);
  auto line = open_tty_line(name);
  ASSERT_TRUE(line.ok()) << line.error().message;
  const auto second = open_tty_line(name);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, ErrorCode::refused);
  EXPECT_THAT(second.error().message, HasSubstr("in use by another program"));

  // Every byte as it is: no line discipline in between.
  Bytes all(256);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint8_t>(i);
  ASSERT_TRUE((*line)->write(all).ok());
  Bytes arrived(all.size());
  ASSERT_EQ(::read(master, arrived.data(), arrived.size()), 256);
  EXPECT_EQ(arrived, all);
  ASSERT_EQ(::write(master, all.data(), all.size()), 256);
  Bytes got;
  while (got.size() < all.size()) {
    const Result<Bytes> piece = (*line)->read(1s);
    ASSERT_TRUE(piece.ok());
    ASSERT_FALSE(piece->empty());
    got.insert(got.end(), piece->begin(), piece->end());
  }
  EXPECT_EQ(got, all);
  const Result<Bytes> nothing = (*line)->read(0s);
  ASSERT_TRUE(nothing.ok());
  EXPECT_TRUE(nothing->empty());

  ::close(master);
  const Result<Bytes> gone = (*line)->read(1s);
  ASSERT_FALSE(gone.ok());
  EXPECT_EQ(gone.error().code, ErrorCode::unavailable);
}

TEST(TtyLine, WhatIsNoSerialLineIsRefused) {
  EXPECT_FALSE(open_tty_line("/dev/null").ok());
  EXPECT_FALSE(open_tty_line("/nowhere").ok());
}

// --- files of this machine

TEST(AtomicFile, AppearsWholeOrNotAtAll) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "tse.tar";
  {
    auto file = AtomicFile::create(path, Overwrite::no);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->append(Bytes{1, 2, 3}).ok());
    EXPECT_FALSE(fs::exists(path));
  }
  EXPECT_TRUE(fs::is_empty(folder.path())) << "what was begun and not finished is gone";

  ASSERT_TRUE(write_whole_file(path, Bytes{1, 2, 3}, Overwrite::no).ok());
  const Status again = write_whole_file(path, Bytes{4}, Overwrite::no);
  ASSERT_FALSE(again.ok());
  EXPECT_THAT(again.error().message, HasSubstr("--force"));
  EXPECT_EQ(*read_whole_file(path, 10), (Bytes{1, 2, 3}));
  ASSERT_TRUE(write_whole_file(path, Bytes{4}, Overwrite::yes).ok());
  EXPECT_EQ(*read_whole_file(path, 10), Bytes{4});
  EXPECT_FALSE(read_whole_file(path, 0).ok());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

// --- PINs

TEST(PinFile, IsReadOnlyWhenNobodyElseCan) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "pins";
  write_file(path, "# of till 1\nadmin-pin = 12345\n time-pin=\"9 9\"\n\n");
  ::chmod(path.c_str(), 0644);
  const auto open_to_all = read_pin_file(path);
  ASSERT_FALSE(open_to_all.ok());
  EXPECT_THAT(open_to_all.failure().message, HasSubstr("chmod 600"));
  ::chmod(path.c_str(), 0600);
  const auto pins = read_pin_file(path);
  ASSERT_TRUE(pins.ok()) << pins.failure().message;
  EXPECT_EQ(pins->at(Secret::admin_pin), "12345");
  EXPECT_EQ(pins->at(Secret::time_pin), "9 9");

  write_file(path, "admin-pin 31337\n");
  const auto wrong = read_pin_file(path);
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.failure().message, HasSubstr("line 1"));
  EXPECT_THAT(wrong.failure().message, testing::Not(HasSubstr("31337"))) << "PINs are not shown";
}

TEST(Access, APinIsAskedForOnceAndALostAnswerCountsAsATry) {
  const TemporaryFolder folder;
  int asked = 0;
  Access::Settings settings;
  settings.environment = false;
  settings.ask = [&](const std::string&) {
    ++asked;
    return std::string("12345");
  };
  settings.memory = TriesMemory(folder.path() / "tries");
  Access access(settings);
  EXPECT_EQ(*access.secret(Secret::time_pin, "a test"), "12345");
  EXPECT_EQ(*access.secret(Secret::time_pin, "a test"), "12345");
  EXPECT_EQ(asked, 1);

  int attempts = 0;
  const auto lost = [&]() -> Outcome<LoginResult> {
    ++attempts;
    return trouble(Trouble::gone, "unplugged");
  };
  EXPECT_EQ(access.login("A", User::admin, {}, lost).failure().what, Trouble::gone);
  EXPECT_EQ(access.login("A", User::admin, {}, lost).failure().what, Trouble::gone);
  Access next_run(settings);
  EXPECT_EQ(next_run.login("A", User::admin, {}, lost).failure().what, Trouble::last_pin_try);
  EXPECT_EQ(next_run.login("A", User::time_admin, {}, lost).failure().what, Trouble::gone)
      << "another user's";
  EXPECT_EQ(next_run.login("A", User::admin, 3, lost).failure().what, Trouble::gone)
      << "the stick knows better";
  EXPECT_EQ(attempts, 4);

  // A refusal that has nothing to do with the PIN uses up nothing.
  Access fresh(settings);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(fresh
                  .login("B", User::admin, {},
                         []() -> Outcome<LoginResult> {
                           return trouble(Trouble::self_test, "self test required");
                         })
                  .failure()
                  .what,
              Trouble::self_test);
  }
}

TEST(Access, TriesThatCannotBeRememberedAreNotTried) {
  const TemporaryFolder folder;
  write_file(folder.path() / "file", "");
  Access::Settings settings;
  settings.memory = TriesMemory(folder.path() / "file" / "tries");
  Access access(settings);
  bool tried = false;
  const Deed login = access.login("A", User::admin, {}, [&]() -> Outcome<LoginResult> {
    tried = true;
    return LoginResult{};
  });
  EXPECT_FALSE(login.ok());
  EXPECT_FALSE(tried);
}

// --- amounts, QR codes, events

TEST(Amounts, AreReadAsPeopleWriteThem) {
  EXPECT_EQ(*parse_amount("12.50"), 1250);
  EXPECT_EQ(*parse_amount("7"), 700);
  EXPECT_EQ(*parse_amount("0,5"), 50);
  EXPECT_EQ(*parse_amount("-3.00"), -300);
  for (const char* wrong : {"", "-", ".", "1.", "1.234", "1,2,3", "x", "1e3", "99999999999", "--1"})
    EXPECT_FALSE(parse_amount(wrong).ok()) << wrong;
  EXPECT_EQ(*process_data("Kassenbeleg-V1", -305), "Beleg^-3.05_0.00_0.00_0.00_0.00^-3.05:Bar");
  EXPECT_EQ(*process_data("SonstigerVorgang", 100), "");
  EXPECT_FALSE(process_data("Quittung", 100).ok());
}

TEST(QrPicture, HasItsQuietZoneAndOneSizePerVersion) {
  const Result<std::string> picture = draw_qr("V0;KASSE-01", false);
  ASSERT_TRUE(picture.ok());
  std::istringstream lines(*picture);
  std::vector<std::string> rows;
  for (std::string row; std::getline(lines, row);) rows.push_back(row);
  // Version 1 has 21 modules, 4 around it on each side, two rows a line.
  ASSERT_EQ(rows.size(), 15U);
  std::string full;
  for (int i = 0; i < 29; ++i) full += "█";
  EXPECT_EQ(rows[0], full);
  EXPECT_EQ(rows[1], full);
  // The finder pattern's upper edge: seven dark modules, over a row that is dark, light, dark.
  std::string corner = "████ ▄▄▄▄▄ ";
  EXPECT_EQ(rows[2].substr(0, corner.size()), corner);
  EXPECT_THAT(*draw_qr("V0", true), HasSubstr("\033[0m"));
  EXPECT_FALSE(draw_qr(std::string(3000, 'x'), false).ok());
}

TEST(Reporter, WritesOneObjectALine) {
  std::ostringstream out;
  Reporter reporter(out, true);
  reporter.tell("for people");
  reporter.report(
      {"receipt",
       "text",
       {{"counter", std::uint64_t{7}}, {"good", true}, {"client", std::string("\xFF")}}});
  EXPECT_EQ(out.str(),
            "{\"event\":\"receipt\",\"counter\":7,\"good\":true,\"client\":\"\xEF\xBF\xBD\"}\n");
}

// --- the command line

Outcome<std::variant<Options, PrintAndExit>> parse(std::vector<std::string> arguments) {
  return parse_options(std::move(arguments));
}

TEST(CommandLine, VerbsAndOptionsInAnyOrder) {
  const auto parsed = parse({"receipt", "--count", "10", "--client", "K1", "--amount", "12.50",
                             "--stick", "/media/tse", "--json", "--open-style", "each-time"});
  ASSERT_TRUE(parsed.ok()) << parsed.failure().message;
  const auto& options = std::get<Options>(*parsed);
  EXPECT_EQ(options.verb, Verb::receipt);
  EXPECT_EQ(options.count, 10U);
  EXPECT_EQ(options.client, "K1");
  EXPECT_EQ(options.data, "Beleg^12.50_0.00_0.00_0.00_0.00^12.50:Bar");
  EXPECT_EQ(options.stick, "/media/tse");
  EXPECT_EQ(options.style, OpenStyle::each_time);
  EXPECT_TRUE(options.json);

  const auto finish = parse({"--stick", "/dev/ttyACM0", "finish-open", "--transaction", "0"});
  ASSERT_TRUE(finish.ok());
  EXPECT_EQ(std::get<Options>(*finish).transaction, 0U);
  const auto exporting = parse({"export", "a.tar", "--force"});
  ASSERT_TRUE(exporting.ok());
  EXPECT_EQ(std::get<Options>(*exporting).verb, Verb::export_archive);
  EXPECT_TRUE(std::get<Options>(*exporting).force);
}

TEST(CommandLine, MistakesAreSentences) {
  const std::pair<std::vector<std::string>, const char*> mistakes[] = {
      {{}, "subcommand"},
      {{"receipts"}, "subcommand"},
      {{"receipt", "--amount", "1,2,3"}, "12.50"},
      {{"receipt", "--type", "Quittung"}, "--data"},
      {{"receipt", "--count", "0"}, "--count"},
      {{"setup", "--client", "with blank"}, "--client"},
      {{"setup", "--client", std::string(31, 'x')}, "--client"},
      {{"status", "--open-style", "gently"}, "each-time"},
      {{"status", "--serial", "1"}, "--usbip"},
      {{"status", "--stick", "/a", "--usbip", "b:1"}, "--stick"},
      {{"export"}, "FILE"},
      {{"verify"}, "--qr"},
      {{"setup", "--pins", "/nowhere/pins"}, "/nowhere/pins"},
  };
  for (const auto& [arguments, hint] : mistakes) {
    const auto parsed = parse(arguments);
    ASSERT_FALSE(parsed.ok()) << hint;
    EXPECT_EQ(parsed.failure().what, Trouble::usage);
    EXPECT_THAT(parsed.failure().message, HasSubstr(hint));
  }
}

TEST(CommandLine, HelpTellsTheExitCodes) {
  const auto parsed = parse({"--help"});
  ASSERT_TRUE(parsed.ok());
  const std::string& help = std::get<PrintAndExit>(*parsed).text;
  for (const char* text : {"Exit codes", "40  answer lost", "--last-try", "TILLBRIDGE_ADMIN_PIN"})
    EXPECT_THAT(help, HasSubstr(text));
}

// --- from the command line to the exit code

TEST(Program, AMachineWithoutAStickEndsWithItsExitCode) {
  const TemporaryFolder folder;
  FinderRoots roots{folder.path() / "mounts", folder.path() / "dev", folder.path() / "by-id"};
  TestClock clock;
  std::ostringstream out;
  Reporter reporter(out, false);
  Access access{Access::Settings{}};
  const Deed result = carry_out(Options{}, access, roots, clock, reporter, {});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(static_cast<int>(result.failure().what), 10);

  Options options;
  options.verb = Verb::verify;
  options.file = folder.path() / "nothing.tar";
  EXPECT_EQ(carry_out(options, access, roots, clock, reporter, {}).failure().what, Trouble::usage);
  write_file(options.file, "this is no archive");
  EXPECT_EQ(carry_out(options, access, roots, clock, reporter, {}).failure().what,
            Trouble::finding);
  EXPECT_THAT(out.str(), testing::StartsWith("BAD "));
}

}  // namespace
}  // namespace tillbridge::pos
