// What an AuditLog has inside. Included by this room's .cpp files only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "server/audit/audit_log.hpp"
#include "server/audit/signing.hpp"
#include "server/files/private_folder.hpp"

namespace tillbridge::audit {

struct AuditLog::Impl {
  Impl(files::PrivateFolder private_folder, Options opened_with)
      : folder(std::move(private_folder)), options(std::move(opened_with)) {}
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  Impl(Impl&&) = delete;
  Impl& operator=(Impl&&) = delete;

  files::PrivateFolder folder;
  Options options;
  std::shared_ptr<const SigningKey> key;
  Head head;
  std::optional<Error> head_problem, broken;

  // audit.jsonl; -1: to be made with the next entry.
  int descriptor = -1;
  std::uint64_t file_size = 0;   // all of it durable
  std::uint64_t file_first = 1;  // its first entry
  Time file_time{};              // of that
  bool file_month_known = false;

  std::uint64_t durable_n = 0;
  std::string durable_hash;
  std::string group;  // what the next flush writes
  std::uint64_t next_n = 1;
  std::string next_hash;
  Time last_time{};

  [[nodiscard]] std::string path(const std::string& name) const {
    return (folder.path() / name).string();
  }
  void step(const char* name) const {
    if (options.at_step) options.at_step(name);
  }

  std::uint64_t add(const Entry& entry, Time now);
  [[nodiscard]] Status flush(Time now, Sign sign);
  void forget_group();
  [[nodiscard]] Status write_group(Time now);
  [[nodiscard]] Status make_ready(Time now);
  [[nodiscard]] Status rotate(Time now);
  [[nodiscard]] Status sign_head(Time now);

  // Opening (audit_log_open.cpp).
  [[nodiscard]] Status begin(Time now);
  [[nodiscard]] Status start_anew(Time now);
  [[nodiscard]] Status load_key();
  [[nodiscard]] Status load_head();
  [[nodiscard]] Status load_tail(Time now);
  [[nodiscard]] Status put_aside(Time now, const Error& why);
  [[nodiscard]] Status cut_tail(Time now, std::string_view torn);
  [[nodiscard]] Status note_cut(Time now);
  void continue_behind_head();
};

}  // namespace tillbridge::audit
