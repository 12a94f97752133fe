// `tillbridge capture`: the transfers of a stick, as a file that Wireshark opens.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <CLI/CLI.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "cli/admin_session.hpp"
#include "cli/verb.hpp"

namespace tillbridge::cli {

namespace {

/// A block of pcapng with the longest transfer that a server captures is far below.
constexpr std::size_t longest_block = 4U << 20U;

struct CaptureOptions {
  AdminOptions admin;
  std::string stick, file;
  bool payloads = false;
  unsigned seconds = 0;  // 0: until it is interrupted
};

/// Writes only whole blocks, each in one piece: whatever ends this program leaves a file that can
/// be read.
class BlockFile {
 public:
  ~BlockFile() {
    if (fd_ > STDERR_FILENO) ::close(fd_);
  }
  BlockFile() = default;
  BlockFile(const BlockFile&) = delete;
  BlockFile& operator=(const BlockFile&) = delete;
  BlockFile(BlockFile&&) = delete;
  BlockFile& operator=(BlockFile&&) = delete;

  /// "-" is standard output. Payloads are nobody else's business: mode 0600.
  void open(const std::string& name) {
    fd_ = name == "-" ? STDOUT_FILENO
                      : ::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd_ < 0) {
      throw Failure{Exit::failed, name + " cannot be written: " + std::strerror(errno),
                    "name another file with -o"};
    }
  }

  /// False: it cannot go on; see problem().
  bool take(std::string_view bytes) {
    waiting_ += bytes;
    std::size_t whole = 0;
    while (waiting_.size() - whole >= 12) {
      const std::size_t length = number(whole + 4);
      if (length < 12 || length % 4 != 0 || length > longest_block) {
        problem_ = "what the server sends is no capture";
        return false;
      }
      if (waiting_.size() - whole < length) break;
      whole += length;
      blocks_ += 1;
    }
    std::size_t written = 0;
    while (written < whole) {
      const ssize_t size = ::write(fd_, waiting_.data() + written, whole - written);
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) {
        problem_ = std::string("the file cannot be written: ") + std::strerror(errno);
        return false;
      }
      written += static_cast<std::size_t>(size);
    }
    waiting_.erase(0, whole);
    return true;
  }

  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }
  [[nodiscard]] std::uint64_t blocks() const noexcept { return blocks_; }

 private:
  [[nodiscard]] std::size_t number(std::size_t at) const {
    std::size_t value = 0;
    for (std::size_t index = 4; index-- > 0;) {
      value = value << 8U | static_cast<unsigned char>(waiting_[at + index]);
    }
    return value;
  }
  int fd_ = -1;
  std::string waiting_, problem_;
  std::uint64_t blocks_ = 0;
};

// The file is whole at any moment, so there is nothing left to do. The server notices that nobody
// reads any more.
extern "C" void interrupted(int /*signal*/) {
  constexpr std::string_view word = "\ncapture ended\n";
  (void)!::write(STDERR_FILENO, word.data(), word.size());
  ::_exit(static_cast<int>(Exit::success));
}

void capture(AdminSession& session, const CaptureOptions& options) {
  const std::string id = text_of(stick_of(session.get("/state"), options.stick), "id");
  std::string path =
      "/capture?stick=" + encoded(id) + "&payloads=" + (options.payloads ? "1" : "0");
  if (options.seconds > 0) path += "&seconds=" + std::to_string(options.seconds);
  if (!options.admin.reason.empty()) path += "&reason=" + encoded(options.admin.reason);

  BlockFile file;
  file.open(options.file);
  for (const int signal : {SIGINT, SIGTERM}) {
    struct sigaction action {};
    action.sa_handler = interrupted;
    ::sigaction(signal, &action, nullptr);
  }
  bool begun = false;
  const auto answer = session.client().stream(path, [&](std::string_view bytes) {
    const bool taken = file.take(bytes);
    // Said when the file can be read, so that whoever ends it now has one.
    if (file.blocks() > 0 && !std::exchange(begun, true)) {
      (void)std::fprintf(stderr, "capturing stick %s%s\n", id.c_str(),
                         options.seconds > 0 ? "" : "; Ctrl-C ends it");
    }
    return taken;
  });
  if (!file.problem().empty()) throw Failure{Exit::failed, file.problem(), "make room"};
  if (!answer && begun) {
    throw Failure{Exit::failed, "the connection to the server was lost",
                  "the file holds what came before; begin another capture"};
  }
  session.expect(answer);
  (void)std::fprintf(stderr, "capture ended\n");
}

}  // namespace

void add_capture(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<CaptureOptions>();
  CLI::App* verb = app.add_subcommand(
      "capture", "write a stick's USB transfers to a pcapng file, which Wireshark opens");
  verb->add_option("stick", options->stick, "id, serial or label")->required();
  verb->add_option("-o,--output", options->file, "the file; - is standard output")->required();
  verb->add_flag("--payloads", options->payloads,
                 "with the data of all transfers: receipts, and PINs as well");
  verb->add_option("--seconds", options->seconds, "end after so long; without it on Ctrl-C")
      ->check(CLI::Range(1U, 86400U));
  add_admin_options(*verb, options->admin, true);
  verb->callback([options, &chosen] {
    chosen = [options] {
      return run_admin(options->admin, [&](AdminSession& session) { capture(session, *options); });
    };
  });
}

}  // namespace tillbridge::cli
