// Opening a log: what a crash may have left is put right, anything else is damage.

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/audit/audit_log.hpp"
#include "server/audit/audit_log_impl.hpp"
#include "server/audit/line.hpp"
#include "server/audit/log_files.hpp"

namespace tillbridge::audit {

namespace {

constexpr const char* cut_name = "cut.pending";

Error damage(const std::string& what) {
  return fail(ErrorCode::malformed, "The audit log was changed: " + what);
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

/// The chain through one file, as far as it holds.
struct Walk {
  std::uint64_t first = 0, last = 0;  // entries; 0: not even one
  std::string before, hash;           // the chain before and after them
  std::string first_line, last_line;
  std::optional<std::size_t> bad;  // where it does not go on
  std::string at_head;             // the chain after the signed entry, if that is among them
};

Walk walk(std::string_view content, std::uint64_t head_n) {
  Walk found;
  for_each_line(content, [&](std::string_view text, std::size_t start, bool complete) {
    const auto link = complete ? link_of(text) : std::nullopt;
    const bool fits =
        link &&
        (found.last == 0 ? link->n > 0 : link->n == found.last + 1 && link->prev == found.hash);
    if (!fits) {
      found.bad = start;
      return false;
    }
    if (found.last == 0) {
      found.first = link->n;
      found.before = link->prev;
      found.first_line = text;
    }
    found.last = link->n;
    found.hash = link->hash();
    found.last_line = text;
    if (found.last == head_n) found.at_head = found.hash;
    return true;
  });
  return found;
}

// A write that a crash or a power cut ended: a part of a line, or blocks that were never filled.
bool is_torn(std::string_view tail) {
  return tail.find('\n') == std::string_view::npos ||
         tail.find_first_not_of('\0') == std::string_view::npos;
}

}  // namespace

Result<AuditLog> AuditLog::open(const std::filesystem::path& folder, Time now, Options options) {
  auto locked = files::PrivateFolder::open(folder);
  if (!locked) return locked.error();
  auto impl = std::make_unique<Impl>(std::move(*locked), std::move(options));
  if (Status begun = impl->begin(now); !begun) return begun.error();
  return AuditLog(std::move(impl));
}

Status AuditLog::Impl::begin(Time now) {
  last_time = now;
  const auto found = list_log_files(folder.path());
  if (!found) return found.error();
  // The key comes last when a log is made: without it the making was not finished.
  const auto old_head = files::read_file(path(head_name), head_file_bytes);
  const auto parsed_head = old_head ? parse_head(*old_head) : std::nullopt;
  const bool unfinished = !old_head ? old_head.error().code == ErrorCode::unavailable
                                    : parsed_head && parsed_head->n == 0;
  Status ready;
  if (!exists(path(key_name)) && found->all().empty() && unfinished) {
    ready = start_anew(now);
  } else {
    ready = load_key();
    if (ready) ready = load_head();
    if (ready) ready = load_tail(now);
    if (!ready && ready.error().code == ErrorCode::malformed &&
        options.damage == Options::Damage::go_on) {
      return put_aside(now, ready.error());
    }
  }
  if (!ready) return ready;
  if (durable_n == 0) {
    add({.kind = Kind::log_begun,
         .who = "system",
         .details = {{Field::key, key->public_key().fingerprint()}}},
        now);
  }
  if (Status written = flush(now, Sign::now); !written) return written;
  if (head_problem) return *head_problem;
  return note_cut(now);
}

void AuditLog::Impl::continue_behind_head() {
  durable_n = head.n;
  durable_hash = head.hash;
  forget_group();
}

Status AuditLog::Impl::start_anew(Time now) {
  auto made = SigningKey::make();
  if (!made) return made.error();
  key = std::make_shared<const SigningKey>(std::move(*made));
  const auto pem = key->pem();
  if (!pem) return pem.error();
  durable_n = 0;
  durable_hash = chain_start();
  forget_group();
  if (Status written = sign_head(now); !written) return written;
  step("public key");
  if (Status written = files::write_file(path(public_key_name), key->public_key().pem());
      !written) {
    return written;
  }
  step("key");
  return files::write_file(path(key_name), *pem);
}

Status AuditLog::Impl::load_key() {
  const auto pem = files::read_file(path(key_name), key_file_bytes);
  if (!pem && pem.error().code == ErrorCode::unavailable) {
    return damage("its key (" + path(key_name) + ") is gone. Put it back from a backup.");
  }
  if (!pem) return pem.error();
  if (Status is_private = files::check_private_file(path(key_name)); !is_private) return is_private;
  auto loaded = SigningKey::from_pem(*pem);
  if (!loaded) {
    return damage("its key (" + path(key_name) + ") is broken: " + loaded.error().message +
                  ". Put it back from a backup.");
  }
  key = std::make_shared<const SigningKey>(std::move(*loaded));
  const auto shown = files::read_file(path(public_key_name), key_file_bytes);
  if (!shown && shown.error().code == ErrorCode::unavailable) {
    return files::write_file(path(public_key_name), key->public_key().pem());
  }
  if (!shown || *shown != key->public_key().pem()) {
    return damage(path(public_key_name) + " does not belong to its key.");
  }
  return {};
}

Status AuditLog::Impl::load_head() {
  const auto text = files::read_file(path(head_name), head_file_bytes);
  if (!text && text.error().code == ErrorCode::io) return text.error();
  if (!text) return damage("its signed head (" + path(head_name) + ") is gone.");
  const auto parsed = parse_head(*text);
  if (!parsed || !key->public_key().verifies(signed_text(*parsed), parsed->signature)) {
    return damage("the signature of its head (" + path(head_name) + ") is wrong.");
  }
  head = *parsed;
  return {};
}

Status AuditLog::Impl::load_tail(Time now) {
  const auto found = list_log_files(folder.path());
  if (!found) return found.error();
  const std::string head_says = "The signed head knows " + std::to_string(head.n) + " entries";

  std::string content;
  if (found->current) {
    if (Status is_private = files::check_private_file(path(current_name)); !is_private) {
      return is_private;
    }
    auto read = files::read_file(path(current_name), limits::read_file_bytes);
    if (!read && read.error().code == ErrorCode::limit) return damage(read.error().message);
    if (!read) return read.error();
    content = std::move(*read);
  }
  Walk tail = walk(content, head.n);
  const std::optional<std::size_t> bad = tail.bad;
  const std::string first_line = tail.first_line;
  // The first write of a new file may be what was torn: then the chain stands in the one before.
  if (tail.last == 0 && !found->older.empty()) {
    const auto before = files::read_file(path(found->older.back()), limits::read_file_bytes);
    if (!before) return before.error();
    tail = walk(*before, head.n);
    if (tail.bad || tail.last == 0) {
      return damage(found->older.back() + " is broken after entry " + std::to_string(tail.last) +
                    ".");
    }
  }

  if (tail.last < head.n) {
    return damage(head_says + ", the log ends after " + std::to_string(tail.last) +
                  ", or is broken there.");
  }
  if (head.n != 0 && tail.first > head.n + 1) {
    return damage(head_says + ", the log goes on with " + std::to_string(tail.first) + ".");
  }
  const bool starts_at_head = tail.first == head.n + 1;
  const bool fits_head =
      tail.last == 0 || (starts_at_head ? tail.before == head.hash : tail.at_head == head.hash);
  if (!fits_head)
    return damage("entry " + std::to_string(head.n) + " is not the one that was signed.");
  if (bad && !is_torn(std::string_view(content).substr(*bad))) {
    return damage("it is broken after entry " + std::to_string(tail.last) + ".");
  }

  durable_n = tail.last;
  durable_hash = tail.last == 0 ? chain_start() : tail.hash;
  forget_group();
  if (!found->current) return {};
  descriptor = ::open(path(current_name).c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return files::system_error(path(current_name) + " cannot be written", errno);
  file_size = content.size();
  if (!first_line.empty()) {
    const auto first = parse_line(first_line);
    file_time = first ? first->time : now;
    file_first = tail.first;
    file_month_known = true;
  }
  if (bad) return cut_tail(now, std::string_view(content).substr(*bad));
  return {};
}

// What is cut is kept, and the keeping comes first: a crash in between must not hide the cut.
Status AuditLog::Impl::cut_tail(Time /*now*/, std::string_view torn) {
  step("keep the cut");
  if (Status kept = files::write_file(path(cut_name), torn); !kept) return kept;
  step("cut");
  file_size -= torn.size();
  if (::ftruncate(descriptor, static_cast<off_t>(file_size)) != 0 || ::fsync(descriptor) != 0) {
    return files::system_error(path(current_name) + " cannot be cut", errno);
  }
  return {};
}

Status AuditLog::Impl::note_cut(Time now) {
  const auto torn = files::read_file(path(cut_name), limits::read_file_bytes);
  if (!torn && torn.error().code == ErrorCode::unavailable) return {};
  if (!torn) return torn.error();
  add({.kind = Kind::log_cut,
       .who = "system",
       .reason = "an entry that the end of the program left half written, and that never counted",
       .details = {{Field::count, static_cast<std::int64_t>(torn->size())},
                   {Field::digest, sha256(*torn)},
                   {Field::file, older_name(durable_n + 1).substr(6, 12) + ".cut"}}},
      now);
  if (Status written = flush(now, Sign::now); !written) return written;
  step("name the cut");
  const std::string name = path(older_name(durable_n).substr(6, 12) + ".cut");
  if (::rename(path(cut_name).c_str(), name.c_str()) != 0) {
    return files::system_error(name + " cannot be made", errno);
  }
  return folder.sync();
}

Status AuditLog::Impl::put_aside(Time now, const Error& why) {
  if (descriptor >= 0) ::close(std::exchange(descriptor, -1));
  file_size = 0;
  std::string stamp = time_text(now).substr(0, 19);
  stamp.erase(
      std::remove_if(stamp.begin(), stamp.end(), [](char c) { return c == '-' || c == ':'; }),
      stamp.end());
  std::string name = damaged_prefix + stamp + "Z";
  for (int again = 2; exists(path(name)); ++again) {
    name = damaged_prefix + stamp + "Z-" + std::to_string(again);
  }
  if (::mkdir(path(name).c_str(), 0700) != 0) {
    return files::system_error(path(name) + " cannot be made", errno);
  }
  const auto move = [&](const std::string& file) -> Status {
    if (!exists(path(file))) return {};
    step("put aside");
    if (::rename(path(file).c_str(), (folder.path() / name / file).c_str()) != 0) {
      return files::system_error(path(file) + " cannot be put aside", errno);
    }
    return {};
  };
  const auto found = list_log_files(folder.path());
  if (!found) return found.error();
  for (const std::string& file : found->all()) {
    if (Status moved = move(file); !moved) return moved;
  }
  // With the key the chain goes on behind what it signed last; without, a new one begins.
  const bool key_usable = load_key() || key != nullptr;
  if (const auto head_text = files::read_file(path(head_name), head_file_bytes)) {
    if (Status kept = files::write_file(folder.path() / name / head_name, *head_text); !kept) {
      return kept;
    }
  }
  if (key_usable) {
    if (Status shown = files::write_file(path(public_key_name), key->public_key().pem()); !shown) {
      return shown;
    }
    if (load_head()) {
      continue_behind_head();
    } else {
      durable_n = 0;
      durable_hash = chain_start();
      forget_group();
      if (Status written = sign_head(now); !written) return written;
    }
  } else {
    for (const char* file : {key_name, public_key_name}) {
      if (Status moved = move(file); !moved) return moved;
    }
    if (Status anew = start_anew(now); !anew) return anew;
  }
  add({.kind = Kind::log_damaged,
       .who = "system",
       .reason = why.message,
       .details = {{Field::file, name}, {Field::key, key->public_key().fingerprint()}}},
      now);
  if (Status written = flush(now, Sign::now); !written) return written;
  if (head_problem) return *head_problem;
  return note_cut(now);
}

}  // namespace tillbridge::audit
