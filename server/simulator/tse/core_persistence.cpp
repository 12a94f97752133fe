// The state as a text, and the store's head and index read back from it.

#include <algorithm>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "channel/bytes/limits.hpp"
#include "server/simulator/tse/core_state.hpp"
#include "tse/evidence/tar.hpp"

namespace tillbridge::simulator::tse {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::uint64_t format = 1;
constexpr std::array life_cycle_names = {"not initialized", "active", "deactivated", "disabled"};
constexpr std::array user_keys = {"admin", "time admin"};

// PINs are whatever a host sent; JSON holds UTF-8 only. So what is not printable becomes %xx.
std::string escape(std::string_view text) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string escaped;
  for (const char c : text) {
    if (c > 0x20 && c < 0x7f && c != '%') {
      escaped += c;
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      escaped += {'%', digits[byte >> 4U], digits[byte & 0xfU]};
    }
  }
  return escaped;
}

std::optional<std::string> unescape(std::string_view escaped) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
  };
  std::string text;
  for (std::size_t i = 0; i < escaped.size(); ++i) {
    if (escaped[i] != '%') {
      text += escaped[i];
      continue;
    }
    if (escaped.size() - i < 3 || digit(escaped[i + 1]) < 0 || digit(escaped[i + 2]) < 0)
      return std::nullopt;
    text += static_cast<char>(digit(escaped[i + 1]) * 16 + digit(escaped[i + 2]));
    i += 2;
  }
  return text;
}

/// Reads one object's values; the first one that is missing or of another type is remembered.
class Fields {
 public:
  Fields(const Json& object, std::string& wrong) : object_(object), wrong_(wrong) {}

  std::uint64_t number(const char* key, std::uint64_t most = UINT64_MAX) {
    const Json* value = find(key, [](const Json& found) { return found.is_number_unsigned(); });
    if (value == nullptr) return 0;
    const auto number = value->get<std::uint64_t>();
    if (number > most) note(key);
    return std::min(number, most);
  }
  bool flag(const char* key) {
    const Json* value = find(key, [](const Json& found) { return found.is_boolean(); });
    return value != nullptr && value->get<bool>();
  }
  std::string text(const char* key) {
    const Json* value = find(key, [](const Json& found) { return found.is_string(); });
    return value == nullptr ? std::string() : value->get<std::string>();
  }
  std::string secret(const char* key) {
    auto secret = unescape(text(key));
    if (!secret || secret->size() > limits::tse_pin_bytes) note(key);
    return secret.value_or("");
  }
  const Json& object(const char* key) {
    static const Json empty = Json::object();
    const Json* value = find(key, [](const Json& found) { return found.is_object(); });
    return value == nullptr ? empty : *value;
  }
  const Json& array(const char* key) {
    static const Json empty = Json::array();
    const Json* value = find(key, [](const Json& found) { return found.is_array(); });
    return value == nullptr ? empty : *value;
  }
  void note(const char* key) {
    if (wrong_.empty()) wrong_ = key;
  }

 private:
  template <typename Fits>
  const Json* find(const char* key, Fits fits) {
    const auto found = object_.is_object() ? object_.find(key) : object_.end();
    if (found != object_.end() && fits(*found)) return &*found;
    note(key);
    return nullptr;
  }

  const Json& object_;
  std::string& wrong_;
};

void read_kept(Kept& kept, Fields& fields, std::string& wrong) {
  const std::string life_cycle = fields.text("life_cycle");
  const auto* const name =
      std::find(life_cycle_names.begin(), life_cycle_names.end(), std::string_view(life_cycle));
  if (name == life_cycle_names.end()) {
    fields.note("life_cycle");
  } else {
    kept.life_cycle = static_cast<LifeCycle>(name - life_cycle_names.begin());
  }
  kept.signature_counter = fields.number("signature_counter");
  kept.transaction_counter = fields.number("transaction_counter");
  kept.last_time_s = fields.number("last_time");
  kept.exported_counter = fields.number("exported_counter", kept.signature_counter);
  kept.front_end_flags = static_cast<std::uint32_t>(fields.number("front_end_flags", UINT32_MAX));

  Fields users(fields.object("users"), wrong);
  for (std::size_t user = 0; user < user_count; ++user) {
    Fields account(users.object(user_keys[user]), wrong);
    Account& to = kept.accounts[user];
    to.pin = account.secret("pin");
    to.pin_set = account.flag("pin_set");
    to.pin_tries = static_cast<std::uint8_t>(account.number("pin_tries", UINT8_MAX));
    to.puk = account.secret("puk");
    to.puk_set = account.flag("puk_set");
    to.puk_tries = static_cast<std::uint8_t>(account.number("puk_tries", UINT8_MAX));
  }
  for (const Json& client : fields.array("clients")) {
    if (!client.is_string() || !is_client_id(client.get_ref<const std::string&>()))
      fields.note("clients");
    else
      kept.clients.push_back(client.get<std::string>());
  }
  for (const Json& open : fields.array("open_transactions")) {
    Fields transaction(open, wrong);
    OpenTransaction to{transaction.number("number", kept.transaction_counter),
                       transaction.text("client"), transaction.number("start_time")};
    if (!is_client_id(to.client)) transaction.note("client");
    const std::uint64_t before =
        kept.open_transactions.empty() ? 0 : kept.open_transactions.back().number;
    if (to.number <= before) transaction.note("open_transactions");
    kept.open_transactions.push_back(std::move(to));
  }
}

}  // namespace

std::string state_text(const Kept& kept, const CoreOptions& options, const std::string& key_pem,
                       std::uint64_t head_bytes) {
  Json users = Json::object();
  for (std::size_t user = 0; user < user_count; ++user) {
    const Account& account = kept.accounts[user];
    users[user_keys[user]] = {
        {"pin", escape(account.pin)},     {"pin_set", account.pin_set},
        {"pin_tries", account.pin_tries}, {"puk", escape(account.puk)},
        {"puk_set", account.puk_set},     {"puk_tries", account.puk_tries},
    };
  }
  Json open = Json::array();
  for (const OpenTransaction& transaction : kept.open_transactions)
    open.push_back({{"number", transaction.number},
                    {"client", transaction.client},
                    {"start_time", transaction.start_time_s}});
  const Json state = {
      {"format", format},
      {"life_cycle", life_cycle_names.at(static_cast<std::size_t>(kept.life_cycle))},
      {"signature_counter", kept.signature_counter},
      {"transaction_counter", kept.transaction_counter},
      {"last_time", kept.last_time_s},
      {"exported_counter", kept.exported_counter},
      {"front_end_flags", kept.front_end_flags},
      {"clients", kept.clients},
      {"open_transactions", std::move(open)},
      {"users", std::move(users)},
      {"curve", evidence::name_of(options.curve)},
      {"algorithm", evidence::algorithm_name(options.hash)},
      {"head_bytes", head_bytes},
      {"key", key_pem},
  };
  return state.dump(1);
}

Result<StoredState> parse_state(const std::string& text, const CoreOptions& options) {
  const auto wrong_state = [](const std::string& what) {
    return fail(ErrorCode::config, "The state of the simulated TSE cannot be used: " + what);
  };
  const Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return wrong_state("it is no JSON text.");
  std::string wrong;
  Fields fields(json, wrong);
  if (fields.number("format") != format) return wrong_state(R"("format" is not 1.)");

  const std::string curve = fields.text("curve"), algorithm = fields.text("algorithm");
  if (wrong.empty() && (curve != evidence::name_of(options.curve) ||
                        algorithm != evidence::algorithm_name(options.hash)))
    return wrong_state("it was made with " + curve + " and " + algorithm +
                       ", which the configuration changes. A TSE keeps its key: set them back, or "
                       "name another folder for a new TSE.");
  Kept kept;
  read_kept(kept, fields, wrong);
  const std::uint64_t head_bytes = fields.number("head_bytes", limits::tse_head_bytes);
  const std::string key_pem = fields.text("key");
  if (!wrong.empty()) return wrong_state("\"" + wrong + "\" is missing or wrong.");

  auto key = evidence::SigningKey::from_pem(key_pem);
  if (!key) return wrong_state("its key cannot be read, " + key.error().message);
  if (key->public_key().curve() != options.curve) return wrong_state("its key has another curve.");
  return StoredState{std::move(*key), head_bytes, std::move(kept)};
}

// --- head

Result<Bytes> make_head(const CoreOptions& options, const std::vector<Bytes>& chain,
                        const evidence::SerialNumber& serial) {
  const auto modified =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, options.certificate_begin));
  Bytes head;
  const auto add = [&head, modified](std::string name, Bytes content) {
    const Bytes entry = evidence::tar_entry({std::move(name), std::move(content), modified});
    head.insert(head.end(), entry.begin(), entry.end());
  };
  const std::string info = "\"description:\",\"" + options.description + "\",\"manufacturer:\",\"" +
                           options.manufacturer + "\",\"version:\",\"" + options.version + "\"\n";
  if (std::count(info.begin(), info.end(), '"') != 12 ||
      std::count(info.begin(), info.end(), '\n') != 1)
    return fail(ErrorCode::config,
                "Description, manufacturer and version of a simulated TSE cannot hold quotation "
                "marks or line ends.");
  if (info.size() > evidence::tar_block_bytes)
    return fail(ErrorCode::config,
                "Description, manufacturer and version of a simulated TSE are too long: info.csv "
                "has to fit 512 bytes.");
  add("info.csv", Bytes(info.begin(), info.end()));
  if (!options.chain_in_one_pem) {
    for (const Bytes& certificate : chain) {
      auto key = evidence::PublicKey::from_certificate(certificate);
      if (!key) return key.error();
      add(evidence::hex_of(key->serial()) + "_X509.cer", certificate);
    }
    return head;
  }
  // Swissbit's clients read the certificates at fixed blocks: 2 is the TAR header, 3 to 9 the PEM.
  constexpr std::size_t pem_bytes = 7 * evidence::tar_block_bytes;
  std::string pem;
  for (const Bytes& certificate : chain) pem += evidence::certificate_pem(certificate);
  if (pem.size() > pem_bytes)
    return fail(ErrorCode::config, "The certificates of a simulated TSE with " +
                                       std::string(evidence::name_of(options.curve)) +
                                       " do not fit the 7 blocks that its clients read.");
  pem.resize(pem_bytes, '\n');
  add(evidence::hex_of(serial) + "_X509.pem", Bytes(pem.begin(), pem.end()));
  return head;
}

Result<std::vector<Bytes>> chain_of_head(ByteView head) {
  std::vector<evidence::TarView> entries;
  if (auto status = evidence::view_tar(head, entries); !status) return status.error();
  std::vector<Bytes> chain;
  for (std::size_t i = 1; i < entries.size(); ++i) {
    auto certificates = evidence::certificates_in(entries[i].content);
    if (!certificates) return certificates.error();
    chain.insert(chain.end(), certificates->begin(), certificates->end());
  }
  if (chain.empty()) return fail(ErrorCode::config, "it holds no certificate");
  return chain;
}

// --- index

StoredLog index_entry(const evidence::LogMessage& message, std::uint64_t offset,
                      std::size_t tar_bytes) {
  StoredLog entry;
  entry.counter = message.counter;
  if (const auto* transaction = std::get_if<evidence::TransactionLog>(&message.content)) {
    entry.transaction = transaction->number;
    entry.client = transaction->client;
  }
  entry.time_s = message.time_s;
  entry.offset = offset;
  entry.tar_bytes = static_cast<std::uint32_t>(tar_bytes);
  return entry;
}

namespace {

/// ustar: 12 bytes at 124, octal digits and an end. Only how far to read: view_tar() then checks
/// the header. Nothing when there is no such number.
std::optional<std::uint64_t> content_bytes(ByteView header) {
  std::uint64_t size = 0;
  for (const std::uint8_t digit : header.subspan(124, 11)) {
    if (digit < '0' || digit > '7') return std::nullopt;
    size = size * 8 + (digit - '0');
  }
  return size;
}

}  // namespace

Result<std::vector<StoredLog>> read_index(Store& store, std::uint64_t head_bytes,
                                          const evidence::SerialNumber& serial) {
  std::vector<StoredLog> logs;
  Bytes entry;
  const std::uint64_t end = store.log_bytes();
  for (std::uint64_t offset = head_bytes; offset < end;) {
    const auto damaged = [offset](const std::string& what) {
      return fail(ErrorCode::config, "The log store of the simulated TSE is damaged at byte " +
                                         std::to_string(offset) + ": " + what);
    };
    entry.resize(evidence::tar_block_bytes);
    if (end - offset < entry.size()) return damaged("half a TAR header.");
    if (auto status = store.read_log(offset, entry); !status) return status.error();
    const auto size = content_bytes(entry);
    if (!size || *size > limits::tse_log_bytes) return damaged("no TAR header of a log.");
    constexpr std::uint64_t block = evidence::tar_block_bytes;
    entry.resize(block + (*size + block - 1) / block * block);
    if (end - offset < entry.size()) return damaged("half a log.");
    if (auto status = store.read_log(offset, entry); !status) return status.error();

    std::vector<evidence::TarView> views;
    if (auto status = evidence::view_tar(entry, views); !status || views.size() != 1)
      return damaged(status ? "no TAR header of a log." : status.error().message);
    const auto log = evidence::parse_log(views[0].content);
    if (!log) return damaged(log.error().message);
    if (log->message.serial != serial) return damaged("a log of another TSE.");
    if (!logs.empty() && log->message.counter != logs.back().counter + 1)
      return damaged("signature counter " + std::to_string(log->message.counter) + " follows " +
                     std::to_string(logs.back().counter) + ".");
    logs.push_back(index_entry(log->message, offset, entry.size()));
    offset += entry.size();
  }
  return logs;
}

}  // namespace tillbridge::simulator::tse
