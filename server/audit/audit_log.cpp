#include "server/audit/audit_log.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <fcntl.h>
#include <openssl/rand.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/audit/audit_log_impl.hpp"
#include "server/audit/line.hpp"
#include "server/audit/log_files.hpp"

namespace tillbridge::audit {

namespace {

std::string fresh_salt() {
  std::array<unsigned char, 16> random{};
  (void)RAND_bytes(random.data(), static_cast<int>(random.size()));
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : random) {
    text += digits[byte >> 4U];
    text += digits[byte & 15U];
  }
  return text;
}

auto month_of(Time time) {
  const std::chrono::year_month_day date(std::chrono::floor<std::chrono::days>(time));
  return date.year() / date.month();
}

}  // namespace

AuditLog::Impl::~Impl() {
  if (descriptor >= 0) ::close(descriptor);
}

std::uint64_t AuditLog::Impl::add(const Entry& entry, Time now) {
  last_time = now;
  const Line line{next_n, now, entry, fresh_salt(), next_hash};
  const std::string text = write_line(line);
  // Every line that we write can be linked, or nothing could be built on it.
  next_hash = link_of(text).value().hash();
  group += text;
  group += '\n';
  return next_n++;
}

Status AuditLog::Impl::flush(Time now, Sign sign) {
  if (broken) {
    forget_group();
    return *broken;
  }
  if (!group.empty()) {
    if (Status written = write_group(now); !written) return written;
  }
  const std::uint64_t unsigned_entries = durable_n - head.n;
  const bool due = unsigned_entries >= options.entries_per_head;
  if (unsigned_entries > 0 && (sign == Sign::now || due)) {
    // The entries are durable and count, whatever becomes of the head: the next flush tries again.
    head_problem.reset();
    if (Status signed_head = sign_head(now); !signed_head) head_problem = signed_head.error();
  }
  return {};
}

void AuditLog::Impl::forget_group() {
  group.clear();
  next_n = durable_n + 1;
  next_hash = durable_hash;
}

Status AuditLog::Impl::write_group(Time now) {
  Status ready = make_ready(now);
  if (!ready) {
    forget_group();
    return ready;
  }
  step("write");
  std::string_view rest = group;
  int error_number = 0;
  while (!rest.empty() && error_number == 0) {
    // Tests end the process between the two halves of a write.
    const std::size_t half = options.at_step ? (rest.size() + 1) / 2 : rest.size();
    const ssize_t written = ::write(descriptor, rest.data(), half);
    if (written < 0 && errno != EINTR) error_number = errno;
    if (written > 0) rest.remove_prefix(static_cast<std::size_t>(written));
    if (!rest.empty()) step("half");
  }
  if (error_number == 0) {
    step("sync");
    if (::fsync(descriptor) != 0) error_number = errno;
  }
  if (error_number != 0) {
    forget_group();
    Error why = files::system_error(path(current_name) + " cannot be written", error_number);
    if (::ftruncate(descriptor, static_cast<off_t>(file_size)) != 0 || ::fsync(descriptor) != 0) {
      // What is half there may be read as an entry; nothing may come after it.
      broken = fail(ErrorCode::io, why.message +
                                       " The audit log stops until tillbridged is started "
                                       "again.");
    }
    return why;
  }
  if (!file_month_known) {
    file_first = durable_n + 1;
    file_time = now;
    file_month_known = true;
  }
  file_size += group.size();
  group.clear();
  durable_n = next_n - 1;
  durable_hash = next_hash;
  return {};
}

// The file to write to, a new one if it is time for that.
Status AuditLog::Impl::make_ready(Time now) {
  const bool full = file_size > 0 && file_size + group.size() > options.file_bytes;
  const bool month_over = file_size > 0 && month_of(now) > month_of(file_time);
  if (descriptor >= 0 && (full || month_over)) {
    if (Status put_away = rotate(now); !put_away) return put_away;
  }
  if (descriptor >= 0) return {};
  step("create");
  descriptor = ::open(path(current_name).c_str(),
                      O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) return files::system_error(path(current_name) + " cannot be made", errno);
  file_size = 0;
  file_month_known = false;
  step("sync folder");
  Status durable = folder.sync();
  if (!durable) {
    ::close(std::exchange(descriptor, -1));
    (void)::unlink(path(current_name).c_str());
  }
  return durable;
}

// The head first, so that a signature stands behind every file that is put away.
Status AuditLog::Impl::rotate(Time now) {
  if (head.n < durable_n) {
    if (Status signed_head = sign_head(now); !signed_head) return signed_head;
  }
  const std::string older = path(older_name(file_first));
  step("rename");
  if (::renameat2(AT_FDCWD, path(current_name).c_str(), AT_FDCWD, older.c_str(),
                  RENAME_NOREPLACE) != 0) {
    return files::system_error(path(current_name) + " cannot be put away as " + older, errno);
  }
  ::close(std::exchange(descriptor, -1));
  file_size = 0;
  return folder.sync();
}

Status AuditLog::Impl::sign_head(Time now) {
  Head fresh{durable_n, durable_hash, std::chrono::floor<std::chrono::microseconds>(now), {}};
  auto signature = key->sign(signed_text(fresh));
  if (!signature) return signature.error();
  fresh.signature = std::move(*signature);
  step("head");
  if (Status written = files::write_file(path(head_name), write_head(fresh)); !written) {
    return written;
  }
  step("head done");
  head = std::move(fresh);
  return {};
}

AuditLog::AuditLog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AuditLog::AuditLog(AuditLog&&) noexcept = default;
AuditLog& AuditLog::operator=(AuditLog&&) noexcept = default;

AuditLog::~AuditLog() {
  if (impl_) (void)impl_->flush(impl_->last_time, Sign::now);
}

std::uint64_t AuditLog::add(const Entry& entry, Time now) {
  return impl_->add(entry, now);
}
Status AuditLog::flush(Time now, Sign sign) {
  return impl_->flush(now, sign);
}

Result<std::uint64_t> AuditLog::record(const Entry& entry, Time now, Sign sign) {
  const std::uint64_t n = add(entry, now);
  if (Status written = flush(now, sign); !written) return written.error();
  return n;
}

Status AuditLog::close(Time now) {
  if (Status written = flush(now, Sign::now); !written) return written;
  if (impl_->head_problem) return *impl_->head_problem;
  return {};
}

const Head& AuditLog::head() const noexcept {
  return impl_->head;
}
const std::optional<Error>& AuditLog::head_problem() const noexcept {
  return impl_->head_problem;
}
const std::string& AuditLog::public_key() const noexcept {
  return impl_->key->public_key().pem();
}
const std::string& AuditLog::fingerprint() const noexcept {
  return impl_->key->public_key().fingerprint();
}
const std::filesystem::path& AuditLog::folder() const noexcept {
  return impl_->folder.path();
}

}  // namespace tillbridge::audit
