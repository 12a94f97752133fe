#include "bench.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <stdexcept>

#include <unistd.h>

namespace tillbridge::server::test {

namespace {

// The text that a command writes; throws if it fails.
std::string run(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"),
                                                             &::pclose);
  if (!pipe) throw std::runtime_error("cannot run " + command);
  std::string text;
  std::array<char, 4096> part{};
  while (std::fgets(part.data(), static_cast<int>(part.size()), pipe.get()) != nullptr)
    text += part.data();
  return text;
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "tillbridge-server-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

const Certificates& Certificates::get() {
  static const Certificates certificates;
  return certificates;
}

Certificates::Certificates() {
  const std::string make = std::string(TILLBRIDGE_SOURCE_DIR) + "/packaging/make-certificates ";
  run(make + (folder_ / "ours").string() +
      " localhost 127.0.0.1 -- kasse-01 kasse-02 kasse-03 2>&1");
  run(make + (folder_ / "theirs").string() + " localhost -- stranger 2>&1");
  // A renewed certificate: the same name, another key.
  const std::filesystem::path ours = folder_ / "ours";
  for (const std::string end : {".crt", ".key"}) {
    std::filesystem::rename(ours / ("kasse-01" + end), ours / ("kasse-01-old" + end));
  }
  run(make + ours.string() + " localhost 127.0.0.1 -- kasse-01 2>&1");
  if (!std::filesystem::exists(key("kasse-01")))
    throw std::runtime_error("make-certificates failed");
}

std::string Certificates::fingerprint(const std::string& name) const {
  const std::string text =
      run("openssl x509 -noout -fingerprint -sha256 -in " + certificate(name).string());
  return text.substr(text.find('=') + 1, 95);
}

std::chrono::system_clock::time_point Certificates::end(const std::string& name) const {
  const std::string text = run("date +%s -d \"$(openssl x509 -noout -enddate -in " +
                               certificate(name).string() + " | cut -d= -f2)\"");
  return std::chrono::system_clock::from_time_t(std::stol(text));
}

Bench::Bench() {
  log::set_sink([this](log::Level level, const std::string& message) {
    lines_.push_back((level >= log::Level::warning ? "! " : "") + message);
    poke();
  });
}

Bench::~Bench() {
  log::set_sink({});
}

bool Bench::run_until(const std::function<bool()>& condition) {
  condition_ = condition;
  bool late = false;
  transport::Timer timer(loop);
  timer.arm(loop.now() + std::chrono::seconds(30), [&] {
    late = true;
    loop.stop();
  });
  poke();
  loop.run();
  condition_ = nullptr;
  return !late;
}

void Bench::run_what_is_due() {
  // Tasks that post tasks: a few rounds behind everything that was posted before.
  for (int round = 0; round < 20; ++round) {
    loop.post([this] { loop.stop(); });
    loop.run();
  }
}

void Bench::poke() {
  if (poked_) return;
  poked_ = true;
  loop.post([this] {
    poked_ = false;
    if (condition_ && condition_()) loop.stop();
  });
}

std::size_t Bench::logged(const std::string& part) const {
  std::size_t count = 0;
  for (const std::string& line : lines_) count += line.find(part) != std::string::npos ? 1U : 0U;
  return count;
}

std::string Bench::log_text() const {
  std::string text;
  for (const std::string& line : lines_) text += line + "\n";
  return text;
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary);
  stream << text;
  if (!stream.flush()) throw std::runtime_error("cannot write " + path.string());
}

}  // namespace tillbridge::server::test
