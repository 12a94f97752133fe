#include "admin_bench.hpp"

#include <algorithm>

namespace tillbridge::admin::test {

Result<Enrolment::Ticket> FakeEnrolment::issue_token(const std::string& till,
                                                     const std::string& stick, store::Time now,
                                                     const std::string& address) {
  store::Token token;
  token.hash[0] = ++count_;
  token.till = till;
  token.stick = stick;
  token.created = now;
  token.expires = now + std::chrono::minutes(15);
  if (auto status = store_.remove_tokens_of(till); !status) return status.error();
  if (auto status = store_.put_token(token); !status) return status.error();
  return Ticket{"tillbridge pair tb1:" + address + std::to_string(count_), "<svg/>", "tb1",
                token.expires};
}

void AdminTest::start(const std::string& tables, const std::string& sticks) {
  const server::test::Certificates& pki = server::test::Certificates::get();
  const auto file = folder_ / "tillbridged.toml";
  server::test::write_file(
      file, "[link]\nlisten = \"127.0.0.1:0\"\nresume_grace_s = " + std::to_string(grace_s_) +
                "\ncertificate = \"" + pki.certificate("server").string() + "\"\nkey = \"" +
                pki.key("server").string() + "\"\nauthority = \"" + pki.authority().string() +
                "\"\n[libusb]\nenabled = false\n" +
                (sticks.empty() ? "[[simulated]]\nserial = \"" + serial_a +
                                      "\"\nsize_mib = 8\n[[simulated]]\nserial = \"" + serial_b +
                                      "\"\nsize_mib = 8\n"
                                : sticks) +
                tables);
  auto config = server::load_config(file);
  ASSERT_TRUE(config.ok()) << config.error().message;
  const auto now = std::chrono::system_clock::now();
  auto store = store::Store::open(state_, now);
  ASSERT_TRUE(store.ok()) << store.error().message;
  store_.emplace(std::move(*store));
  audit::Options options;
  options.at_step = at_step_;
  auto log = audit::AuditLog::open(state_ / "audit", now, options);
  ASSERT_TRUE(log.ok()) << log.error().message;
  audit_.emplace(std::move(*log));
  usb_ = std::make_unique<server::UsbServer>(bench_.loop, *config);
  enrolment_ = std::make_unique<FakeEnrolment>(*store_);
  admin_ = std::make_unique<Administration>(Administration::Parts{
      bench_.loop, *store_, *audit_, *usb_, enrolment_.get(), &accounts(), "shop"});
  api_ = std::make_unique<Api>(*admin_);
  const auto status = admin_->start();
  ASSERT_TRUE(status.ok()) << status.error().message;
  if (before_usb_starts_) before_usb_starts_(*usb_);
  const auto failure = usb_->start();
  ASSERT_FALSE(failure) << failure->error.message;
  settle();
}

void AdminTest::stop() {
  if (!admin_) return;
  settle();
  usb_->stop([this] { bench_.poke(); });
  settle();
  admin_->stop();
  api_.reset();
  usb_.reset();
  admin_.reset();
  enrolment_.reset();
  audit_.reset();
  store_.reset();
}

AdminTest::Answer AdminTest::call(const std::string& method, const std::string& path,
                                  const Json& body, Role role) {
  Request request;
  request.method = method;
  const std::size_t mark = path.find('?');
  request.path = "/api/v1" + path.substr(0, mark);
  if (mark != std::string::npos) {
    std::string rest = path.substr(mark + 1) + "&";
    for (std::size_t end = rest.find('&'); end != std::string::npos; end = rest.find('&')) {
      const std::string pair = rest.substr(0, end);
      rest.erase(0, end + 1);
      const std::size_t equals = pair.find('=');
      request.query[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
  }
  request.body = body.is_null() ? "" : body.is_string() ? body.get<std::string>() : body.dump();
  request.actor = {role == Role::admin ? "anna" : "bob", role, "local"};
  Reply reply = api_->handle(request);
  if (reply.elsewhere) reply = reply.elsewhere();
  Answer answer;
  answer.status = reply.status;
  answer.body = Json::parse(reply.body, nullptr, false);
  if (answer.body.is_discarded()) answer.body = reply.body;
  return answer;
}

Json AdminTest::good(const std::string& method, const std::string& path, const Json& body) {
  Answer answer = call(method, path, body);
  EXPECT_EQ(answer.status, 200) << method << " " << path << ": " << answer.body.dump();
  return answer.body;
}

Json AdminTest::find(const std::string& list, const std::string& id) {
  const Json now = state();
  for (const Json& item : now.at(list)) {
    if (item.at(list == "tills" ? "name" : "id") == id) return item;
  }
  return {};
}

Json AdminTest::audit(const std::string& query) {
  return good("GET", "/audit?limit=1000" + query).at("entries");
}

std::vector<std::string> AdminTest::audit_kinds() {
  std::vector<std::string> kinds;
  for (const Json& entry : audit()) kinds.push_back(entry.at("kind"));
  std::reverse(kinds.begin(), kinds.end());
  return kinds;
}

bool AdminTest::until(const std::function<bool()>& condition) {
  transport::Timer timer(bench_.loop);
  std::function<void()> look = [&] {
    bench_.poke();
    timer.arm(bench_.loop.now() + std::chrono::milliseconds(1), look);
  };
  look();
  return bench_.run_until(condition);
}

std::unique_ptr<TestTill> AdminTest::connected(const std::string& name, const std::string& user) {
  auto made = till(name);
  link::Hello hello;
  hello.software = "test";
  hello.client_name = "pos";
  hello.user = user;
  hello.domain = "shop";
  hello.terminal_server = "ts1";
  made->say(hello);
  EXPECT_TRUE(until([&] { return !made->welcome.empty(); })) << bench_.log_text();
  settle();
  return made;
}

}  // namespace tillbridge::admin::test
