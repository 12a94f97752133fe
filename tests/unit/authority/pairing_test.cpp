// The pairing protocol at its boundary: lines, proofs, and both ends of a conversation in memory.
#include <gtest/gtest.h>

#include "channel/pairing/limits.hpp"
#include "channel/pairing/line.hpp"
#include "channel/pairing/till_conversation.hpp"
#include "server/authority/authority.hpp"
#include "server/authority/conversation.hpp"
#include "server/authority/limits.hpp"
#include "server/authority/tokens.hpp"
#include "tests/unit/authority/folder.hpp"

namespace tillbridge::authority {
namespace {

using namespace std::chrono_literals;
using pairing::Ask;
using pairing::TillConversation;
using pairing::TillKey;

const Time noon{std::chrono::seconds(1'800'000'000)};
const Bytes binding(32, 7), other_binding(32, 8);

// --- lines and words

pairing::Line example() {
  pairing::Line line;
  line.host = "192.0.2.10";
  for (std::size_t i = 0; i < pairing::line_fingerprint_bytes; ++i) {
    line.authority.push_back(static_cast<std::uint8_t>(i * 13));
  }
  for (std::size_t i = 0; i < pairing::token_bytes; ++i) {
    line.token.push_back(static_cast<std::uint8_t>(255 - i));
  }
  return line;
}

TEST(PairingLineTest, IsReadAsItWasWritten) {
  for (const std::string host : {"192.0.2.10", "tse.example", "2001:db8::7"}) {
    pairing::Line line = example();
    line.host = host;
    line.port = 4799;
    const auto read = pairing::parse_line("  " + text(line) + "\n");
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(read->host, host);
    EXPECT_EQ(read->port, 4799);
    EXPECT_EQ(read->authority, line.authority);
    EXPECT_EQ(read->token, line.token);
  }
}

TEST(PairingLineTest, APersonMayTypeIt) {
  const std::string typed = text(example());
  const std::size_t slash = typed.find('/');
  std::string loose = typed.substr(0, slash);
  for (const char c : typed.substr(slash)) {
    if (c == '-') continue;
    loose += c == '0' ? 'o' : c == '1' ? 'l' : static_cast<char>(std::tolower(c));
  }
  const auto read = pairing::parse_line(loose.substr(4));
  ASSERT_TRUE(read.ok()) << loose << ": " << read.error().message;
  EXPECT_EQ(read->token, example().token);
  const auto bare = pairing::parse_line("tse.example");
  ASSERT_TRUE(bare.ok());
  EXPECT_EQ(bare->port, pairing::default_port);
  EXPECT_TRUE(bare->token.empty() && bare->authority.empty());
}

TEST(PairingLineTest, WhatIsNoneIsRefusedAndTheTokenNeverRepeated) {
  const std::string whole = text(example());
  const std::string token = whole.substr(whole.rfind('/') + 1);
  for (std::size_t cut = 1; cut < token.size(); ++cut) {
    const auto read = pairing::parse_line(whole.substr(0, whole.size() - cut));
    ASSERT_FALSE(read.ok() && read->token == example().token) << cut;
    const std::string said = read ? "" : read.error().message;
    EXPECT_EQ(said.find(token.substr(0, 4)), std::string::npos);
  }
  for (const char* wrong : {"", "tb1:", "tb1:host:0", "tb1:host:x", "tb1:host:65536", "tb1:a b:1",
                            "tb1:host\"x:1", "[::1", "tb1:host:4711/", "tb1:host:4711/UUUU"}) {
    EXPECT_FALSE(pairing::parse_line(wrong).ok()) << wrong;
  }
  EXPECT_FALSE(pairing::parse_line(whole + "0").ok());
  EXPECT_FALSE(pairing::parse_line(std::string(5000, 'a')).ok());
}

TEST(PairingLineTest, WordsDifferWithEveryBitOfTheirEightBytes) {
  Bytes digest(32, 0);
  std::set<std::string> seen{pairing::words_of(digest)};
  EXPECT_EQ(*seen.begin(), "babab babab babab babab");
  for (std::size_t bit = 0; bit < 64; ++bit) {
    digest[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    EXPECT_TRUE(seen.insert(pairing::words_of(digest)).second) << bit;
    digest[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
  }
}

// --- messages

TEST(PairingMessageTest, EveryCutWaitsAndEveryWrongDirectionIsRefused) {
  const TillKey key = TillKey::make();
  const Bytes whole =
      encode(Ask{"kasse-07", "test", key.request("kasse-07"), Bytes(8, 1), Bytes(32, 2)});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto part = decode(ByteView(whole).first(size), pairing::Reader::server);
    ASSERT_TRUE(part.ok() && !part->has_value()) << size;
  }
  const auto read = decode(whole, pairing::Reader::server);
  ASSERT_TRUE(read.ok() && read->has_value());
  EXPECT_EQ((*read)->size, whole.size());
  EXPECT_EQ(encode((*read)->message), whole);
  EXPECT_FALSE(decode(whole, pairing::Reader::till).ok());
  EXPECT_FALSE(decode(encode(pairing::Pending{"x"}), pairing::Reader::server).ok());
  EXPECT_FALSE(decode(Bytes{9, 0, 0, 0}, pairing::Reader::server).ok());
}

TEST(PairingMessageTest, SizesAreLimitedBeforeAnythingIsRead) {
  const Bytes huge{1, 0, 0xFF, 0xFF};
  const auto read = decode(huge, pairing::Reader::server);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.error().code, ErrorCode::limit);
  const Bytes long_request =
      encode(Ask{"k", "t", Bytes(pairing::limits::request_bytes + 1), {}, {}});
  EXPECT_FALSE(decode(long_request, pairing::Reader::server).ok());
  EXPECT_FALSE(decode(encode(Ask{"k", "t", {}, {}, {}}), pairing::Reader::server).ok());
  EXPECT_FALSE(decode(encode(Ask{"k", "t", Bytes(9), Bytes(8), {}}), pairing::Reader::server).ok());
  EXPECT_FALSE(
      decode(encode(Ask{"k", "t", Bytes(9), Bytes(7), Bytes(32)}), pairing::Reader::server).ok());
}

// --- tokens

struct TokenTest : testing::Test {
  NewToken made = make_token("kasse-07", "stick", noon, 15min);
  TillKey key = TillKey::make();
  Ask ask(const Bytes& secret, const std::string& name = {}, const Bytes& at = binding) const {
    Ask result;
    result.name = name;
    result.request = key.request(name);
    const auto token = pairing::token_key(secret);
    result.token_id = pairing::token_id(token);
    result.proof = pairing::proof(token, pairing::Prover::till, at, result.request);
    return result;
  }
  Verdict verdict(const Ask& question, Time now = noon + 1min) const {
    return judge(find_token({made.row}, question), question, binding, now);
  }
};

TEST_F(TokenTest, OnlyTheRightOneOnItsConnectionForItsTillInTimeIsGood) {
  EXPECT_EQ(verdict(ask(made.secret)), Verdict::good);
  EXPECT_EQ(verdict(ask(made.secret, "kasse-07")), Verdict::good);
  EXPECT_EQ(verdict(ask(made.secret, "kasse-08")), Verdict::other_till);
  EXPECT_EQ(verdict(ask(Bytes(15, 0))), Verdict::unknown);
  EXPECT_EQ(verdict(ask(made.secret, {}, other_binding)), Verdict::wrong)
      << "carried over from another connection";
  Ask swapped = ask(made.secret);
  swapped.request = TillKey::make().request("");
  EXPECT_EQ(verdict(swapped), Verdict::wrong) << "another key under the same proof";
  EXPECT_EQ(verdict(ask(made.secret), made.row.expires - 1us), Verdict::good);
  EXPECT_EQ(verdict(ask(made.secret), made.row.expires), Verdict::expired);
}

TEST_F(TokenTest, AUsedOrWornOutOneIsWorthNothing) {
  made.row.tries = limits::tries_per_token;
  EXPECT_EQ(verdict(ask(made.secret)), Verdict::exhausted);
  made.row.tries = 0;
  made.row.used = noon;
  EXPECT_EQ(verdict(ask(made.secret)), Verdict::used);
  EXPECT_EQ(verdict(ask(made.secret, {}, other_binding)), Verdict::wrong)
      << "only who has it hears what became of it";
}

TEST_F(TokenTest, TheStoreNeverSeesIt) {
  const std::string kept = pairing::hex(made.row.hash);
  EXPECT_EQ(kept.find(pairing::hex(made.secret)), std::string::npos);
  EXPECT_NE(make_token("kasse-07", "", noon, 15min).secret, made.secret);
}

// --- conversations

struct ConversationTest : testing::Test {
  test::Folder folder;
  Result<Authority> authority = Authority::open(folder.path, noon);
  NewToken token = make_token("kasse-07", "", noon, 15min);
  TillKey key = TillKey::make();
  Conversation server{0s};

  TillConversation till(const Bytes& secret) {
    return {key, {"kasse-07", "test", secret}, binding, authority->fingerprint()};
  }
  Conversation::Asked asked(TillConversation& from) {
    server.receive(from.take_output(), 1s);
    auto event = server.poll_event();
    EXPECT_TRUE(event && std::holds_alternative<Conversation::Asked>(*event));
    return std::get<Conversation::Asked>(*event);
  }
  pairing::Granted granted(const Conversation::Asked& question, const store::Token* proved) {
    auto issued = authority->issue_till(question.request, "kasse-07", noon, 90s);
    EXPECT_TRUE(issued.ok());
    pairing::Granted result;
    result.name = "kasse-07";
    result.certificate = issued->der;
    result.authorities = authority->pem();
    if (proved != nullptr) {
      result.proof =
          pairing::proof(proved->hash, pairing::Prover::server, binding, result.certificate);
    }
    return result;
  }
  static std::string failure(TillConversation& from) {
    auto event = from.poll_event();
    if (!event || !std::holds_alternative<TillConversation::Failed>(*event)) return {};
    return std::get<TillConversation::Failed>(*event).error.message;
  }
};

TEST_F(ConversationTest, ATokenMakesATill) {
  ASSERT_TRUE(authority.ok());
  auto from = till(token.secret);
  const auto question = asked(from);
  EXPECT_EQ(judge(find_token({token.row}, question.ask), question.ask, binding, noon),
            Verdict::good);
  EXPECT_EQ(question.request.fingerprint, key.fingerprint());
  server.grant(granted(question, &token.row), 1s);
  for (const std::uint8_t byte : server.take_output()) from.receive(Bytes{byte});
  auto event = from.poll_event();
  ASSERT_TRUE(event && std::holds_alternative<TillConversation::Paired>(*event));
  const auto& paired = std::get<TillConversation::Paired>(*event);
  EXPECT_EQ(paired.facts.name, "kasse-07");
  EXPECT_EQ(paired.facts.key, key.fingerprint());
  EXPECT_FALSE(server.over());
  from.stored();
  server.receive(from.take_output(), 2s);
  EXPECT_TRUE(server.over());
  event.reset();
  auto last = server.poll_event();
  EXPECT_TRUE(last && std::holds_alternative<Conversation::Stored>(*last));
}

TEST_F(ConversationTest, ATillBelievesNobodyWhoDoesNotKnowItsToken) {
  auto from = till(token.secret);
  const auto question = asked(from);
  const NewToken other = make_token("kasse-07", "", noon, 15min);
  server.grant(granted(question, &other.row), 1s);
  from.receive(server.take_output());
  EXPECT_NE(failure(from).find("prove"), std::string::npos);
  auto again = till(token.secret);
  Conversation second{0s};
  second.receive(again.take_output(), 0s);
  ASSERT_TRUE(second.poll_event());
  second.grant(granted(question, nullptr), 1s);
  again.receive(second.take_output());
  EXPECT_NE(failure(again).find("prove"), std::string::npos);
}

TEST_F(ConversationTest, ATillTakesNoCertificateForAnotherKeyOrOfAnotherAuthority) {
  auto from = till({});
  auto question = asked(from);
  const auto other_key = parse_request(TillKey::make().request("kasse-07"));
  ASSERT_TRUE(other_key.ok());
  auto wrong = granted({question.ask, *other_key}, nullptr);
  server.grant(wrong, 1s);
  from.receive(server.take_output());
  EXPECT_NE(failure(from).find("another key"), std::string::npos);

  test::Folder elsewhere;
  const auto foreign = Authority::open(elsewhere.path, noon);
  ASSERT_TRUE(foreign.ok());
  for (const bool its_own_root : {true, false}) {
    auto next = till({});
    auto answer = granted(question, nullptr);
    answer.certificate = foreign->issue_till(question.request, "kasse-07", noon, 90s)->der;
    if (its_own_root) answer.authorities = foreign->pem();
    next.receive(encode(answer));
    EXPECT_NE(failure(next).find("authority"), std::string::npos);
  }
}

TEST_F(ConversationTest, HeldUntilSomebodyDecides) {
  auto from = till({});
  const auto question = asked(from);
  server.hold("compare the words", 1s);
  from.receive(server.take_output());
  auto event = from.poll_event();
  EXPECT_TRUE(event && std::holds_alternative<TillConversation::Waiting>(*event));
  EXPECT_EQ(server.next_deadline(), Duration(1s + limits::pending_connection));
  server.grant(granted(question, nullptr), 2s);
  from.receive(server.take_output());
  event = from.poll_event();
  EXPECT_TRUE(event && std::holds_alternative<TillConversation::Paired>(*event));
}

TEST_F(ConversationTest, NobodyKeepsItForLong) {
  const auto broken = [](Conversation& conversation, Instant now) {
    conversation.advance(now - 1us);
    const bool early = conversation.over();
    conversation.advance(now);
    auto event = conversation.poll_event();
    return !early && conversation.over() && event &&
           std::holds_alternative<Conversation::Broken>(*event);
  };
  Conversation silent{0s};
  EXPECT_TRUE(broken(silent, limits::ask_within));
  auto from = till({});
  const auto question = asked(from);
  Conversation second{0s};
  second.receive(till({}).take_output(), 0s);
  ASSERT_TRUE(second.poll_event());
  second.hold("wait", 0s);
  EXPECT_TRUE(broken(second, limits::pending_connection));
  server.grant(granted(question, nullptr), 1s);
  EXPECT_TRUE(broken(server, 1s + limits::store_within));
}

TEST_F(ConversationTest, WhatIsAgainstTheProtocolEndsIt) {
  const auto breaks = [](Conversation& conversation, const Bytes& bytes) {
    conversation.receive(bytes, 0s);
    auto event = conversation.poll_event();
    while (event && !std::holds_alternative<Conversation::Broken>(*event)) {
      event = conversation.poll_event();
    }
    return conversation.over() && event.has_value() && !conversation.take_output().empty();
  };
  Conversation early{0s};
  EXPECT_TRUE(breaks(early, encode(pairing::Stored{})));
  Bytes twice = till({}).take_output();
  twice.insert(twice.end(), twice.begin(), twice.end());
  Conversation second{0s};
  EXPECT_TRUE(breaks(second, twice));
  Conversation noise{0s};
  EXPECT_TRUE(breaks(noise, Bytes(100, 0x55)));
  // A request that somebody else signed.
  Ask ask;
  ask.name = "kasse-07";
  ask.request = key.request("kasse-07");
  ask.request.back() ^= 1U;
  Conversation forged{0s};
  EXPECT_TRUE(breaks(forged, encode(ask)));
}

}  // namespace
}  // namespace tillbridge::authority
