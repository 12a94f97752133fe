// Real TLS connections on the loopback: the good one, and each way in which one is refused.
#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel/transport/stream.hpp"
#include "tests/unit/transport/certificates.hpp"
#include "tests/unit/transport/stream_fixture.hpp"

namespace tillbridge::transport {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class TlsTest : public test::StreamTest {
 protected:
  static TlsContext load(const TlsFiles& files, TlsContext::Side side,
                         const std::string& alpn = "test/1") {
    auto context = TlsContext::load(files, side, alpn);
    EXPECT_TRUE(context.ok()) << context.error().message;
    return *context;
  }
  [[nodiscard]] TlsContext server_context() const {
    return load(server_files_, TlsContext::Side::server);
  }
  [[nodiscard]] TlsContext till_context() const {
    return load(till_files_, TlsContext::Side::client);
  }

  /// Writes while the queue is below the mark, as an owner should.
  struct Source {
    const Bytes& bytes;
    End& end;
    std::size_t written = 0;
    std::size_t largest_queue = 0;
    void pump() {
      while (written < bytes.size() &&
             end.stream->queued_bytes() < Stream::write_queue_high_water) {
        const ByteView next =
            ByteView(bytes).subspan(written, std::min(piece, bytes.size() - written));
        end.stream->write(Bytes(next.begin(), next.end()));
        written += next.size();
        largest_queue = std::max(largest_queue, end.stream->queued_bytes());
      }
    }
  };
  static constexpr std::size_t piece = std::size_t{256} << 10U;

  /// The client met its refusal, whether in the handshake or, as TLS 1.3 has it, behind it.
  Error client_error() {
    if (connect_error_) return *connect_error_;
    run_until([&] { return client_.closed; });
    EXPECT_TRUE(client_.error.has_value());
    return client_.error.value_or(Error{});
  }
  Error server_refusal() {
    run_until([&] { return !refused_.empty(); });
    EXPECT_EQ(server_.stream, nullptr);
    EXPECT_THAT(refused_address_, StartsWith("127.0.0.1:"));
    return refused_.front();
  }

  /// A client that this project does not contain: `prepare` sets it up, then it shakes hands in a
  /// thread of its own.
  template <typename Prepare>
  std::thread foreign_client(Prepare prepare) {
    return std::thread([port = acceptor_->port(), prepare] {
      SSL_CTX* context = SSL_CTX_new(TLS_client_method());
      prepare(context);
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(port);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        SSL* ssl = SSL_new(context);
        SSL_set_fd(ssl, fd);
        if (SSL_connect(ssl) == 1) {
          std::array<char, 16> buffer{};
          SSL_read(ssl, buffer.data(),
                   static_cast<int>(buffer.size()));  // until the server refuses
        }
        SSL_free(ssl);
      }
      ::close(fd);
      SSL_CTX_free(context);
    });
  }
  static void offer_alpn(SSL_CTX* context) {
    constexpr std::array<unsigned char, 7> alpn{6, 't', 'e', 's', 't', '/', '1'};
    SSL_CTX_set_alpn_protos(context, alpn.data(), alpn.size());
  }

  test::TemporaryDirectory directory_;
  test::Authority authority_{directory_.path(), "authority"};
  test::Authority stranger_{directory_.path(), "stranger"};
  TlsFiles server_files_ =
      authority_.issue({"server", "DNS:localhost,DNS:tse.example,IP:127.0.0.1"});
  TlsFiles till_files_ = authority_.issue({"kasse-03", "", "clientAuth"});
};

TEST_F(TlsTest, BothEndsKnowEachOther) {
  listen(server_context());
  connect(till_context());
  ASSERT_NE(client_.stream, nullptr) << connect_error_->message;
  run_until([&] { return server_.stream != nullptr; });
  EXPECT_EQ(server_.stream->peer().name, "kasse-03");
  EXPECT_EQ(client_.stream->peer().name, "server");
  EXPECT_EQ(server_.stream->peer().fingerprint.size(), 64U);
  EXPECT_NE(server_.stream->peer().fingerprint, client_.stream->peer().fingerprint);

  client_.stream->write(test::bytes_of("ping"));
  run_until([&] { return !server_.received.empty(); });
  server_.stream->write(test::bytes_of("pong"));
  server_.stream->close();
  run_until([&] { return client_.closed && server_.closed; });
  EXPECT_EQ(server_.received, test::bytes_of("ping"));
  EXPECT_EQ(client_.received, test::bytes_of("pong"));
  EXPECT_FALSE(client_.error.has_value()) << client_.error->message;
  EXPECT_FALSE(server_.error.has_value()) << server_.error->message;
}

TEST_F(TlsTest, TheServerNameIsADnsNameOrAnAddressOfTheCertificate) {
  listen(server_context());
  for (const char* name : {"localhost", "tse.example", "127.0.0.1"}) {
    client_ = {};
    connect_error_.reset();
    connect(till_context(), name);
    EXPECT_NE(client_.stream, nullptr) << name << ": " << connect_error_->message;
  }
  for (const char* name :
       {"server", "other.example", "192.0.2.1"}) {  // "server" is only its common name
    client_ = {};
    connect_error_.reset();
    connect(till_context(), name);
    ASSERT_TRUE(connect_error_.has_value()) << name;
    EXPECT_EQ(connect_error_->code, ErrorCode::refused);
    EXPECT_THAT(
        connect_error_->message,
        AllOf(HasSubstr("is for localhost, tse.example, 127.0.0.1, not for " + std::string(name)),
              HasSubstr("127.0.0.1:" + std::to_string(acceptor_->port()))));
  }
  connect_error_.reset();
  connect(till_context(), "");
  ASSERT_TRUE(connect_error_.has_value()) << "an empty name must not switch the check off";
}

TEST_F(TlsTest, AServerOfAnotherAuthorityIsRefused) {
  listen(server_context());
  TlsFiles files = till_files_;
  files.authorities = stranger_.file();
  connect(load(files, TlsContext::Side::client));
  ASSERT_TRUE(connect_error_.has_value());
  EXPECT_EQ(connect_error_->code, ErrorCode::refused);
  EXPECT_THAT(connect_error_->message,
              AllOf(HasSubstr("not from the configured authority file"),
                    HasSubstr(stranger_.file().string()), HasSubstr("\"server\"")));
  EXPECT_THAT(server_refusal().message, HasSubstr("does not accept this server's certificate"));
}

TEST_F(TlsTest, ATillOfAnotherAuthorityIsRefusedAndBothEndsSayWhatToDo) {
  TlsFiles files = stranger_.issue({"kasse-99", "", "clientAuth"});
  files.authorities = authority_.file();
  listen(server_context());
  connect(load(files, TlsContext::Side::client));
  const Error refusal = server_refusal();
  EXPECT_EQ(refusal.code, ErrorCode::refused);
  EXPECT_THAT(refusal.message,
              AllOf(HasSubstr("\"kasse-99\""), HasSubstr("not from the configured authority file " +
                                                         authority_.file().string())));
  const Error error = client_error();
  EXPECT_EQ(error.code, ErrorCode::refused);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("does not know this till's certificate (subject \"kasse-99\""),
                    HasSubstr("fingerprint"), HasSubstr("add it")));
}

TEST_F(TlsTest, ARefusalIsHeardAlsoByATillThatKeepsWriting) {
  TlsFiles files = stranger_.issue({"kasse-99", "", "clientAuth"});
  files.authorities = authority_.file();
  listen(server_context());
  connect(load(files, TlsContext::Side::client));
  ASSERT_NE(client_.stream, nullptr);
  for (int i = 0; i < 16; ++i) client_.stream->write(Bytes(std::size_t{64} << 10U));
  EXPECT_THAT(client_error().message, HasSubstr("does not know this till's certificate"));
}

TEST_F(TlsTest, AnExpiredTillIsRefusedWithTheDate) {
  listen(server_context());
  connect(load(authority_.issue({"kasse-old", "", "clientAuth", -3600, -60}),
               TlsContext::Side::client));
  EXPECT_THAT(server_refusal().message,
              AllOf(HasSubstr("\"kasse-old\""), HasSubstr("has expired on 20")));
  EXPECT_THAT(client_error().message, AllOf(HasSubstr("expired"), HasSubstr("\"kasse-old\"")));
}

TEST_F(TlsTest, AServerOutsideItsDatesIsRefused) {
  listen(load(authority_.issue({"old", "DNS:localhost", "serverAuth", -3600, -60}),
              TlsContext::Side::server));
  connect(till_context());
  ASSERT_TRUE(connect_error_.has_value());
  EXPECT_THAT(connect_error_->message, HasSubstr("has expired on 20"));
  listen(load(authority_.issue({"new", "DNS:localhost", "serverAuth", 600, 3600}),
              TlsContext::Side::server));
  connect_error_.reset();
  connect(till_context());
  ASSERT_TRUE(connect_error_.has_value());
  EXPECT_THAT(connect_error_->message,
              AllOf(HasSubstr("not valid before 20"), HasSubstr("clocks")));
}

TEST_F(TlsTest, ACertificateOfTheOtherKindIsRefused) {
  listen(load(authority_.issue({"not-a-server", "DNS:localhost", "clientAuth"}),
              TlsContext::Side::server));
  connect(till_context());
  ASSERT_TRUE(connect_error_.has_value());
  EXPECT_THAT(connect_error_->message, HasSubstr("is not a server's"));

  refused_.clear();
  listen(server_context());
  connect(load(authority_.issue({"not-a-till", "", "serverAuth"}), TlsContext::Side::client));
  EXPECT_THAT(server_refusal().message, HasSubstr("is not a till's"));
}

TEST_F(TlsTest, AClientWithoutACertificateIsRefused) {
  listen(server_context());
  std::thread client = foreign_client([](SSL_CTX* context) { offer_alpn(context); });
  EXPECT_THAT(server_refusal().message, HasSubstr("showed no certificate"));
  client.join();
}

TEST_F(TlsTest, Tls12IsRefused) {
  listen(server_context());
  std::thread client = foreign_client([](SSL_CTX* context) {
    offer_alpn(context);
    SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
  });
  EXPECT_THAT(server_refusal().message, HasSubstr("the link needs TLS 1.3"));
  client.join();
}

TEST_F(TlsTest, AnotherProtocolIsRefused) {
  listen(server_context());
  connect(load(till_files_, TlsContext::Side::client, "other/1"));
  EXPECT_THAT(server_refusal().message, HasSubstr("does not offer the protocol test/1"));
  EXPECT_THAT(client_error().message, HasSubstr("does not speak other/1"));
}

TEST_F(TlsTest, NoProtocolAtAllIsRefused) {
  listen(server_context());
  std::thread client = foreign_client([](SSL_CTX*) {});
  EXPECT_THAT(server_refusal().message, HasSubstr("does not offer the protocol test/1"));
  client.join();
}

TEST_F(TlsTest, WhoDoesNotSpeakTlsIsRefused) {
  listen(server_context());
  connect(std::nullopt);
  ASSERT_NE(client_.stream, nullptr);
  client_.stream->write(test::bytes_of("GET / HTTP/1.0\r\n\r\n"));
  EXPECT_THAT(server_refusal().message, HasSubstr("does not speak TLS"));
  run_until([&] { return client_.closed; });

  refused_.clear();
  client_ = {};
  connect(std::nullopt);
  client_.stream.reset();
  EXPECT_THAT(server_refusal().message,
              HasSubstr("closed the connection during the TLS handshake"));
}

TEST_F(TlsTest, AServerThatDoesNotSpeakTlsIsNamed) {
  std::unique_ptr<Stream> accepted;
  auto plain = Acceptor::listen(loop_, "127.0.0.1", 0, std::nullopt,
                                {[&](std::unique_ptr<Stream> stream) {
                                   accepted = std::move(stream);
                                   accepted->write(test::bytes_of("220 mail.example ESMTP\r\n"));
                                 },
                                 {}});
  ASSERT_TRUE(plain.ok());
  acceptor_ = std::move(*plain);
  connect(till_context());
  ASSERT_TRUE(connect_error_.has_value());
  EXPECT_THAT(connect_error_->message, HasSubstr("does not speak TLS"));
}

TEST_F(TlsTest, AStrangerWhoSaysNothingIsDropped) {
  listen(server_context(), {std::chrono::milliseconds(50), 2});
  connect(std::nullopt);
  EXPECT_THAT(server_refusal().message, HasSubstr("did not finish the TLS handshake"));
  run_until([&] { return client_.closed; });
}

TEST_F(TlsTest, TooManyStrangersAreNotLetInUntilSomeLeave) {
  listen(server_context(), {std::chrono::minutes(10), 2});
  std::array<End, 3> strangers;
  for (End& stranger : strangers) {
    client_ = {};
    connect(std::nullopt);
    stranger.stream = std::move(client_.stream);
  }
  EXPECT_EQ(server_refusal().code, ErrorCode::limit);
  EXPECT_THAT(refused_.front().message, HasSubstr("2 connections"));
  for (End& stranger : strangers) stranger.stream.reset();
  run_until([&] { return refused_.size() == 3; });
  // The places are free one turn of the loop later, when the peers' ends are read.
  for (int attempt = 0; attempt < 100 && server_.stream == nullptr; ++attempt) {
    client_ = {};
    connect_error_.reset();
    const std::size_t refused_before = refused_.size();
    connect(till_context());
    run_until([&] { return server_.stream != nullptr || refused_.size() > refused_before; });
  }
  EXPECT_NE(server_.stream, nullptr);
}

TEST_F(TlsTest, AConnectionCutWithoutAGoodbyeIsAnError) {
  listen(server_context());
  connect(till_context());
  run_until([&] { return server_.stream != nullptr; });
  // Queued bytes that are thrown away must not look like an orderly end to the peer.
  server_.stream->write(Bytes(std::size_t{1} << 20U));
  server_.stream.reset();
  run_until([&] { return client_.closed; });
  ASSERT_TRUE(client_.error.has_value());
  EXPECT_THAT(client_.error->message, HasSubstr("was lost"));
}

TEST_F(TlsTest, AnIdleStreamThatIsDestroyedSaysGoodbye) {
  listen(server_context());
  connect(till_context());
  run_until([&] { return server_.stream != nullptr; });
  client_.stream.reset();
  run_until([&] { return server_.closed; });
  EXPECT_FALSE(server_.error.has_value()) << server_.error->message;
}

TEST_F(TlsTest, TwentyMegabytesBothWaysWithASlowReaderAndABoundedQueue) {
  constexpr std::size_t total = std::size_t{20} << 20U;
  const Bytes up = test::pattern(total, 3);
  const Bytes down = test::pattern(total, 4);
  listen(server_context());
  connect(till_context());
  run_until([&] { return server_.stream != nullptr; });
  ASSERT_NE(client_.stream, nullptr);

  Source client_source{up, client_};
  Source server_source{down, server_};
  client_source.pump();
  server_source.pump();
  std::size_t pauses = 0;
  std::size_t seen = 0;
  std::size_t client_drained = 0;
  std::size_t server_drained = 0;
  run_until([&] {
    if (client_.drained != client_drained) {
      client_drained = client_.drained;
      client_source.pump();
    }
    if (server_.drained != server_drained) {
      server_drained = server_.drained;
      server_source.pump();
    }
    if (server_.received.size() != seen) {  // the slow reader: a rest after each bite
      seen = server_.received.size();
      ++pauses;
      server_.stream->pause_reading();
      loop_.post([&] { loop_.post([&] { server_.stream->resume_reading(); }); });
    }
    return server_.received.size() == total && client_.received.size() == total;
  });
  EXPECT_EQ(server_.received, up);
  EXPECT_EQ(client_.received, down);
  EXPECT_GT(pauses, 20U);
  EXPECT_GT(client_.drained, 0U);
  EXPECT_LT(client_source.largest_queue, Stream::write_queue_high_water + 2 * piece);
  EXPECT_LT(server_source.largest_queue, Stream::write_queue_high_water + 2 * piece);
}

// --- a second protocol on the same port, for strangers

class StrangersTest : public TlsTest {
 protected:
  StrangersTest() {
    TlsFiles files = strangers_files_;
    // What a client that does not know the authority is shown: the chain with it.
    std::ofstream(files.certificate, std::ios::app) << std::ifstream(strangers_.file()).rdbuf();
    auto context = TlsContext::load_for_strangers(files, "strangers/1");
    EXPECT_TRUE(context.ok()) << context.error().message;
    TlsContext both = server_context();
    both.also_serve(*context);
    listen(both);
    // Of the authority, as `openssl x509 -fingerprint` computes it.
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
        BIO_new_file(strangers_.file().c_str(), "r"), BIO_free);
    const std::unique_ptr<X509, decltype(&X509_free)> authority(
        PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), X509_free);
    digest_.resize(EVP_MAX_MD_SIZE);
    unsigned int size = 0;
    EXPECT_EQ(X509_digest(authority.get(), EVP_sha256(), digest_.data(), &size), 1);
    digest_.resize(size);
  }
  void connect_trusting(const Bytes& authority, const std::string& alpn = "strangers/1") {
    auto context = TlsContext::trusting(authority, alpn);
    ASSERT_TRUE(context.ok());
    connect(*context, "pairing.example");
  }

  test::TemporaryDirectory elsewhere_;
  test::Authority strangers_{elsewhere_.path(), "strangers"};
  TlsFiles strangers_files_ =
      strangers_.issue({"pairing", "DNS:pairing.example,DNS:localhost", "serverAuth"});
  Bytes digest_;
};

TEST_F(StrangersTest, TheClientChoosesByItsProtocolWhichOneServesIt) {
  connect_trusting({digest_.begin(), digest_.begin() + 20});
  ASSERT_TRUE(client_.stream) << connect_error_->message;
  run_until([&] { return server_.stream != nullptr; });
  EXPECT_EQ(server_.stream->peer().protocol, "strangers/1");
  EXPECT_EQ(server_.stream->peer().name, "");
  EXPECT_EQ(client_.stream->peer().name, "pairing");
  EXPECT_EQ(client_.stream->peer().authority.size(), 64U);
  EXPECT_EQ(client_.stream->peer().binding.size(), 32U);
  EXPECT_EQ(client_.stream->peer().binding, server_.stream->peer().binding);
  const Bytes first = client_.stream->peer().binding;
  client_.stream->write({1, 2, 3});
  run_until([&] { return server_.received.size() == 3; });

  server_ = {};
  client_ = {};
  connect(till_context());
  run_until([&] { return server_.stream != nullptr; });
  EXPECT_EQ(server_.stream->peer().protocol, "test/1");
  EXPECT_EQ(client_.stream->peer().name, "server");
  EXPECT_NE(client_.stream->peer().binding, first) << "of this connection only";
}

TEST_F(StrangersTest, WithoutACertificateThereIsNothingButTheirProtocol) {
  auto context = TlsContext::trusting({}, "test/1");
  ASSERT_TRUE(context.ok());
  // The link's own certificate does not bring its authority along, so this client cannot take it;
  // one that would take anything is refused by the server.
  connect(*context);
  run_until([&] { return connect_error_ || !refused_.empty() || client_.closed; });
  EXPECT_EQ(server_.stream, nullptr);
}

TEST_F(StrangersTest, AnotherAuthorityThanTheWantedOneIsRefused) {
  Bytes other = digest_;
  other[3] ^= 1U;
  connect_trusting(other);
  ASSERT_TRUE(connect_error_);
  EXPECT_THAT(connect_error_->message, HasSubstr("another server"));
}

TEST_F(StrangersTest, AFingerprintOfTheServersOwnCertificateIsNoAuthority) {
  auto context = TlsContext::trusting({}, "strangers/1");
  connect(*context, "pairing.example");
  ASSERT_TRUE(client_.stream);
  const std::string own = client_.stream->peer().fingerprint;
  Bytes digest;
  for (std::size_t i = 0; i < own.size(); i += 2) {
    digest.push_back(static_cast<std::uint8_t>(std::stoul(own.substr(i, 2), nullptr, 16)));
  }
  client_ = {};
  connect_trusting(digest);
  EXPECT_TRUE(connect_error_);
}

TEST_F(StrangersTest, ANewCertificateIsForTheNextConnections) {
  connect(till_context());
  ASSERT_TRUE(client_.stream);
  const std::string before = client_.stream->peer().fingerprint;
  const TlsFiles fresh = authority_.issue({"fresh", "DNS:localhost", "serverAuth"});
  acceptor_->use(load(fresh, TlsContext::Side::server));
  client_.stream->write({1});
  run_until([&] { return server_.received.size() == 1; });
  client_ = {};
  connect(till_context());
  ASSERT_TRUE(client_.stream);
  EXPECT_NE(client_.stream->peer().fingerprint, before);
}

}  // namespace
}  // namespace tillbridge::transport
