// What the tests of the administration have in common: a whole server without HTTP, in a folder
// that outlives it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "server/admin/administration.hpp"
#include "server/admin/api.hpp"
#include "server/audit/reading.hpp"
#include "tests/unit/server/bench.hpp"
#include "tests/unit/server/test_till.hpp"

namespace tillbridge::admin::test {

using Json = nlohmann::json;
using server::test::TestTill;

inline const std::string serial_a = "5A2F00000001", serial_b = "5A2F00000002";
inline const std::string stick_a = "1209:0001:" + serial_a, stick_b = "1209:0001:" + serial_b;

/// Stands for the authority and the pairing: tokens are counted, words are made up.
class FakeEnrolment final : public Enrolment {
 public:
  explicit FakeEnrolment(store::Store& store) : store_(store) {}
  [[nodiscard]] Identity identity() const override { return {"AB12", "apple bear cat dog"}; }
  [[nodiscard]] Result<Ticket> issue_token(const std::string& till, const std::string& stick,
                                           store::Time now, const std::string& address) override;
  [[nodiscard]] std::string words_of(const store::Pending&) const override { return "w x y z"; }
  void approved(const store::Pending& pending) override { approvals.push_back(pending.till); }
  void ignored(const store::Pending&) override { ++ignorals; }
  std::vector<std::string> approvals;
  int ignorals = 0;

 private:
  store::Store& store_;
  std::uint8_t count_ = 0;
};

class FakeAccounts final : public Accounts {
 public:
  [[nodiscard]] Result<std::string> hashed(const std::string& password) const override {
    if (password.size() < 8) return fail(ErrorCode::refused, "too short");
    return "hash of " + std::to_string(password.size());
  }
  void logins_end(const std::string& user) override { ended.push_back(user); }
  std::vector<std::string> ended;
};

class AdminTest : public ::testing::Test {
 protected:
  ~AdminTest() override { stop(); }

  /// Two simulated sticks; `tables` are added to the configuration.
  void start(const std::string& tables = "", const std::string& sticks = "");
  void stop();

  struct Answer {
    int status = 0;
    Json body;
  };
  Answer call(const std::string& method, const std::string& path, const Json& body = {},
              Role role = Role::admin);
  /// The same, and it must succeed.
  Json good(const std::string& method, const std::string& path, const Json& body = {});
  [[nodiscard]] Json state() { return good("GET", "/state"); }
  [[nodiscard]] Json find(const std::string& list, const std::string& id);
  /// Kinds of the audit's entries, oldest first.
  [[nodiscard]] std::vector<std::string> audit_kinds();
  [[nodiscard]] Json audit(const std::string& query = "");

  std::unique_ptr<TestTill> till(const std::string& name) {
    return std::make_unique<TestTill>(bench_, usb_->link_port(), name);
  }
  /// Says hello; `user` as a fact of its session.
  std::unique_ptr<TestTill> connected(const std::string& name, const std::string& user = "anna");
  /// Also for what nobody reports: looked at every millisecond.
  bool until(const std::function<bool()>& condition);
  void settle() { bench_.run_what_is_due(); }

  /// Called once the store is open.
  virtual Accounts& accounts() { return accounts_; }

  server::test::Bench bench_;
  server::test::TemporaryFolder folder_;
  std::filesystem::path state_ = folder_ / "state";
  std::optional<store::Store> store_;
  std::optional<audit::AuditLog> audit_;
  std::unique_ptr<server::UsbServer> usb_;
  std::unique_ptr<FakeEnrolment> enrolment_;
  FakeAccounts accounts_;
  std::unique_ptr<Administration> admin_;
  std::unique_ptr<Api> api_;
  std::function<void(const char*)> at_step_;
  std::function<void(server::UsbServer&)> before_usb_starts_;
  int grace_s_ = 60;
};

}  // namespace tillbridge::admin::test
