// A TSE that has been set up, and a clock for it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>
#include <unistd.h>

#include "server/simulator/tse/core.hpp"
#include "tse/evidence/archive_check.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {

inline constexpr std::uint64_t opening_time_s = 1'767'225'600;  // 2026-01-01
inline constexpr std::string_view admin_pin = "12345678", admin_puk = "1234567890";
inline constexpr std::string_view time_pin = "22222222", time_puk = "2222222222";

/// P-256: the fastest curve there is.
inline CoreOptions quick_options() {
  CoreOptions options;
  options.curve = evidence::Curve::p256;
  options.hash = evidence::Hash::sha256;
  return options;
}

inline Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

/// For folders of tests that are not about the disk below: memory saves minutes of waiting for
/// fsync().
inline std::string quick_parent() {
  return ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : testing::TempDir();
}

struct CoreBench {
  explicit CoreBench(CoreOptions options = quick_options(),
                     std::unique_ptr<Store> store = make_memory_store()) {
    auto opened = TseCore::open(std::move(options), std::move(store));
    EXPECT_TRUE(opened) << opened.error().message;
    if (opened) core = std::move(*opened);
  }

  void pass(double seconds) { now += Duration(static_cast<Duration::rep>(seconds * 1e6)); }
  void login(User user = User::admin) {
    const auto result = core->login(user, user == User::admin ? admin_pin : time_pin, now);
    EXPECT_EQ(result.what, LoginResult::What::ok);
  }
  /// Down to registered clients "till-1" and "till-2"; the admin stays logged in.
  void set_up() {
    EXPECT_TRUE(core->set_pins(User::admin, admin_puk, admin_pin, now));
    EXPECT_TRUE(core->set_pins(User::time_admin, time_puk, time_pin, now));
    if (core->options().needs_self_test) {
      EXPECT_TRUE(core->self_test(now));
    }
    login();
    EXPECT_TRUE(core->initialize(now));
    EXPECT_TRUE(core->set_time(opening_time_s, now));
    EXPECT_TRUE(core->register_client("till-1", now));
    EXPECT_TRUE(core->register_client("till-2", now));
  }
  [[nodiscard]] Answer<Signed> start(std::string_view client = "till-1") {
    return core->start(client, {}, "", now);
  }
  [[nodiscard]] Answer<Signed> finish(std::uint64_t number, std::string_view client = "till-1") {
    return core->finish(number, client, bytes_of("Beleg^1.00_0.00_0.00_0.00_0.00^1.00:Bar"),
                        "Kassenbeleg-V1", now);
  }
  [[nodiscard]] Bytes archive() {
    Bytes archive(core->store_bytes_used());
    EXPECT_TRUE(core->read_store(0, archive));
    return archive;
  }
  /// The archive is good and holds every signature ever made, if none was deleted.
  void check_archive(std::uint64_t first_counter = 1) {
    Bytes archive_with_trailer = archive();
    archive_with_trailer.resize(archive_with_trailer.size() + evidence::tar_trailer_bytes);
    const auto report = evidence::check_archive(archive_with_trailer);
    EXPECT_TRUE(report.good());
    for (const auto& finding : report.findings) {
      if (evidence::is_error(finding.what)) {
        ADD_FAILURE() << finding.where << ": " << finding.text;
      }
    }
    EXPECT_EQ(report.logs, core->signature_counter() - first_counter + 1);
    if (report.logs == 0) return;
    EXPECT_EQ(report.first_counter, first_counter);
    EXPECT_EQ(report.last_counter, core->signature_counter());
  }

  Instant now{0};
  std::unique_ptr<TseCore> core;
};

}  // namespace tillbridge::simulator::tse
