// Who may come in over HTTPS: passwords, sessions, one-time links, and how often somebody may
// guess.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/admin/administration.hpp"
#include "server/admin/hooks.hpp"
#include "server/admin/reply.hpp"
#include "server/store/store.hpp"

namespace tillbridge::http {

using store::Time;

/// scrypt with a salt of its own: "scrypt$32768$8$3$SALT$HASH". Takes 0.2 s and 32 MiB; any thread.
/// `refused`: the password is too weak, with what to do.
[[nodiscard]] Result<std::string> hash_password(const std::string& password);
/// As long for a `kept` that is none.
[[nodiscard]] bool password_fits(const std::string& password, const std::string& kept);

/// The loop's thread only. What takes long (the passwords) is done by the caller between two calls.
class Logins final : public admin::Accounts {
 public:
  using Clock = std::function<Time()>;
  explicit Logins(
      store::Store& store, Clock clock = [] { return std::chrono::system_clock::now(); });
  ~Logins() override;
  Logins(const Logins&) = delete;
  Logins& operator=(const Logins&) = delete;
  Logins(Logins&&) = delete;
  Logins& operator=(Logins&&) = delete;

  /// Before anything below; reads the sessions that are still good. It must outlive this.
  [[nodiscard]] Status start(admin::Administration& administration);

  // Accounts
  [[nodiscard]] Result<std::string> hashed(const std::string& password) const override;
  void logins_end(const std::string& user) override;
  /// hashed() of this very password is known while the guard lives: it was made on another thread.
  class [[nodiscard]] Prepared {
   public:
    Prepared(Logins& logins, std::string password, std::string hash);
    ~Prepared();
    Prepared(const Prepared&) = delete;
    Prepared& operator=(const Prepared&) = delete;

   private:
    Logins& logins_;
  };

  // A session, by its cookie.
  struct Known {
    std::string user;
    admin::Role role = admin::Role::viewer;
    std::string csrf;
    store::Digest session{};
  };
  /// Nothing: log in. Counts as use.
  [[nodiscard]] std::optional<Known> who(const std::string& cookie);
  /// The same for a session that is known by its digest: an open stream.
  [[nodiscard]] bool still(const store::Digest& session);
  void logout(const Known& known, const std::string& address);

  // Logging in. `address` without a port.
  /// What to compare the password with; for a user that does not exist as well, so that nobody
  /// learns which ones do. A problem: too many wrong ones (429).
  [[nodiscard]] admin::Outcome<std::string> begin(const std::string& user,
                                                  const std::string& address);
  struct Opened {
    std::string cookie;
    Known known;
  };
  [[nodiscard]] admin::Outcome<Opened> finish(const std::string& user, const std::string& kept,
                                              bool fits, const std::string& address);
  /// By a link: makes the account, as an administrator's, or gives an account that is there a new
  /// password. The hash was made of `password`.
  [[nodiscard]] std::optional<admin::Problem> check_link(const std::string& token,
                                                         const std::string& address);
  [[nodiscard]] admin::Outcome<Opened> open_link(const std::string& token, const std::string& user,
                                                 const std::string& password,
                                                 const std::string& address);

  /// Monitoring systems: what they read is for them alone, and they are counted out as logins are.
  [[nodiscard]] Status use_scrape_tokens(const std::filesystem::path& file);
  [[nodiscard]] std::optional<admin::Problem> check_scrape_token(const std::string& token,
                                                                 const std::string& address);

  /// A token for a link, which ends the one before. `who`: for the audit.
  [[nodiscard]] Result<std::string> make_link(const std::string& who, const std::string& reason,
                                              std::chrono::minutes valid);
  /// Nobody can log in yet.
  [[nodiscard]] bool nobody_yet() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tillbridge::http
