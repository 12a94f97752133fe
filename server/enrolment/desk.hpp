// Where tills are made: tokens for the admin, pairing over the link's port, renewal over the link.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel/transport/loop.hpp"
#include "channel/transport/stream.hpp"
#include "server/admin/administration.hpp"
#include "server/admin/hooks.hpp"
#include "server/authority/authority.hpp"
#include "server/authority/conversation.hpp"
#include "server/authority/tokens.hpp"
#include "server/guessing/guess_limit.hpp"
#include "server/usb/usb_server.hpp"

namespace tillbridge::enrolment {

struct Options {
  /// DNS names and addresses that the server's certificate is for.
  std::vector<std::string> names;
  std::string host;        ///< that a new till is told
  std::uint16_t port = 0;  ///< the same; 0: the one that the link listens on
  std::chrono::seconds till_life = authority::limits::till_life;
  std::chrono::seconds token_life = authority::limits::token_life;
  /// The link shows a certificate of another authority: PEM file of that one.
  std::filesystem::path other_authority;
};

/// On the loop's thread. Made before the server and the administration, which it is given
/// afterwards.
class Desk final : public admin::Enrolment {
 public:
  /// Opens or makes the authority in `folder`, and the server's certificate.
  [[nodiscard]] static Result<std::unique_ptr<Desk>> open(transport::Loop& loop,
                                                          store::Store& store,
                                                          const std::filesystem::path& folder,
                                                          Options options);
  ~Desk() override;
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;

  /// Before UsbServer::start(); both must outlive this, or stop() comes first.
  void serve(server::UsbServer& usb, admin::Administration& administration);
  /// No pairing any more: connections are closed.
  void stop();
  /// The server's certificate was renewed: for the HTTPS server, which shows the same.
  void on_server_certificate(std::function<void()> renewed) { renewed_ = std::move(renewed); }
  [[nodiscard]] const authority::Authority& authority() const noexcept { return authority_; }

  [[nodiscard]] Identity identity() const override;
  [[nodiscard]] Result<Ticket> issue_token(const std::string& till, const std::string& stick,
                                           store::Time now, const std::string& address) override;
  [[nodiscard]] std::string words_of(const store::Pending& pending) const override;
  void approved(const store::Pending& pending) override;
  void ignored(const store::Pending& pending) override;

 private:
  struct Visitor;
  using Place = std::list<std::unique_ptr<Visitor>>::iterator;

  Desk(transport::Loop& loop, store::Store& store, Options options, authority::Authority authority);

  void accept(std::unique_ptr<transport::Stream> stream);
  void pump(Place place);
  void asked(Visitor& visitor);
  void asked_with_token(Visitor& visitor);
  void asked_without_token(Visitor& visitor);
  void refuse(Visitor& visitor, pairing::Refusal why, const std::string& message,
              const std::string& audited, const std::string& till);
  /// Issues and grants. `token`: whose proof goes with it.
  void grant(Visitor& visitor, const std::string& till, const std::string& stick,
             const std::optional<store::Token>& token);
  [[nodiscard]] bool key_was_revoked(const std::string& key_fingerprint) const;
  void stored(const Visitor& visitor);

  [[nodiscard]] bool renews(const server::TillIdentity& till) const;
  [[nodiscard]] Result<server::TillSession::Renewal> renew(const server::TillIdentity& till,
                                                           ByteView request);
  void housekeeping();
  [[nodiscard]] static store::Time now() { return std::chrono::system_clock::now(); }

  transport::Loop& loop_;
  store::Store& store_;
  Options options_;
  authority::Authority authority_;
  std::string authorities_;  // PEM: whom a till shall trust
  server::UsbServer* usb_ = nullptr;
  admin::Administration* administration_ = nullptr;
  std::function<void()> renewed_;
  std::list<std::unique_ptr<Visitor>> visitors_;
  guessing::GuessLimit asks_, guesses_, audited_;
  transport::Timer housekeeping_timer_;
};

}  // namespace tillbridge::enrolment
