#include "server/store/store.hpp"

#include <cerrno>
#include <string>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/store/schema.hpp"
#include "server/store/store_impl.hpp"

namespace tillbridge::store {

namespace {

Status make_database_file(const std::string& file, const files::PrivateFolder& folder) {
  const int made = ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (made >= 0) {
    ::close(made);
    return folder.sync();
  }
  if (errno != EEXIST) return files::system_error(file + " cannot be made", errno);
  return files::check_private_file(file);
}

// Exclusive: the room is its only user, so that what SQLite's processes share can stay in memory.
constexpr const char* settings =
    "PRAGMA locking_mode = EXCLUSIVE;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA foreign_keys = ON;"
    "PRAGMA trusted_schema = OFF;"
    "PRAGMA cell_size_check = ON;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA journal_size_limit = 4194304";

Status prepare(Database& database, const std::string& file) {
  if (Status opened = database.open(file); !opened) return opened;
  sqlite3_busy_timeout(database.handle(), 0);
  if (Status set = database.run(settings); !set) return set;
  const auto mode = database.ask("PRAGMA journal_mode = WAL");
  if (!mode) return mode.error();
  if (*mode != "wal") {
    return fail(ErrorCode::io, file + " cannot be used safely on this file system (journal mode " +
                                   *mode + "). Put [state] folder on a local disk.");
  }
  // Takes the lock that EXCLUSIVE speaks of now instead of at the first write.
  if (Status locked = database.run("BEGIN EXCLUSIVE; COMMIT"); !locked) return locked;
  const auto check = database.ask("PRAGMA quick_check(1)");
  if (!check) return check.error();
  if (*check != "ok") {
    return fail(ErrorCode::config,
                file + " is damaged: " + *check +
                    ". Put a backup in its place, or move it away to begin anew with an empty one; "
                    "the audit log beside it is not touched by that.");
  }
  return {};
}

}  // namespace

Result<Store> Store::open(const std::filesystem::path& folder, Time now) {
  auto locked = files::PrivateFolder::open(folder);
  if (!locked) return locked.error();
  auto impl = std::make_unique<Impl>(std::move(*locked));
  const std::string file = (folder / file_name).string();
  if (Status made = make_database_file(file, impl->folder); !made) return made.error();
  if (Status ready = prepare(impl->database, file); !ready) return ready.error();
  if (Status current = migrate(impl->database, now); !current) {
    return fail(current.error().code, file + ": " + current.error().message);
  }
  impl->statements.emplace(impl->database);
  if (impl->database.ever_failed_to_prepare()) {
    return fail(ErrorCode::config, file + " does not have the tables that it says it has: " +
                                       impl->database.prepare_error().message);
  }
  impl->access.database = &impl->database;
  return Store(std::move(impl));
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;

Result<Transaction> Store::begin() {
  if (impl_->access.running) {
    return fail(ErrorCode::refused, "A change of several rows is begun inside another one.");
  }
  if (Status begun = impl_->database.run("BEGIN IMMEDIATE"); !begun) return begun.error();
  impl_->access.running = true;
  return Transaction(&impl_->access);
}

Transaction::Transaction(Transaction&& other) noexcept
    : access_(std::exchange(other.access_, nullptr)) {}

Transaction::~Transaction() {
  if (access_ == nullptr) return;
  if (access_->database->in_transaction()) (void)access_->database->run("ROLLBACK");
  access_->running = false;
  access_->spoilt.reset();
}

Status Transaction::commit() {
  if (access_ == nullptr) return fail(ErrorCode::refused, "This change is over already.");
  Access& access = *std::exchange(access_, nullptr);
  Status status;
  if (access.spoilt) {
    status = *access.spoilt;
  } else {
    status = access.database->run("COMMIT");
  }
  if (!status && access.database->in_transaction()) (void)access.database->run("ROLLBACK");
  access.running = false;
  access.spoilt.reset();
  return status;
}

}  // namespace tillbridge::store
