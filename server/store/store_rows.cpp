// The rows of the store: each method one statement.

#include <algorithm>

#include "server/store/limits.hpp"
#include "server/store/store.hpp"
#include "server/store/store_impl.hpp"

namespace tillbridge::store {

namespace {

constexpr const char* stick_in_use =
    "The stick cannot be forgotten while it is mapped. Unmap it first.";
constexpr const char* till_in_use =
    "The till cannot be removed while sticks are mapped to it. Unmap them first.";
constexpr const char* mapping_misfit =
    "There is no such mapping, or the stick or the till that it names is not known.";
constexpr const char* lease_misfit = "There is no such lease.";
constexpr const char* token_misfit = "A token needs a till that is known.";
constexpr const char* session_misfit = "A login needs a user that is known.";

}  // namespace

// --- sticks

Result<std::vector<Stick>> Store::sticks() const {
  return Impl::read<Stick>(impl_->statements->sticks.all);
}
Result<std::optional<Stick>> Store::stick(const std::string& id) const {
  return Impl::read_one<Stick>(impl_->statements->sticks.one, id);
}
Status Store::put_stick(const Stick& stick) {
  return impl_->put(impl_->statements->sticks.put, stick);
}
Status Store::remove_stick(const std::string& id) {
  return impl_->change(impl_->statements->sticks.remove, stick_in_use, id);
}

// --- tills

Result<std::vector<Till>> Store::tills() const {
  return Impl::read<Till>(impl_->statements->tills.all);
}
Result<std::optional<Till>> Store::till(const std::string& name) const {
  return Impl::read_one<Till>(impl_->statements->tills.one, name);
}
Status Store::put_till(const Till& till) {
  return impl_->put(impl_->statements->tills.put, till);
}
Status Store::remove_till(const std::string& name) {
  return impl_->change(impl_->statements->tills.remove, till_in_use, name);
}

// --- certificates

Result<std::vector<Certificate>> Store::certificates() const {
  return Impl::read<Certificate>(impl_->statements->certificates.all);
}
Result<std::vector<Certificate>> Store::certificates_of(const std::string& till) const {
  return Impl::read<Certificate>(impl_->statements->certificates_of, till);
}
Result<std::optional<Certificate>> Store::certificate(const std::string& fingerprint) const {
  return Impl::read_one<Certificate>(impl_->statements->certificates.one, fingerprint);
}
Status Store::put_certificate(const Certificate& certificate) {
  return impl_->put(impl_->statements->certificates.put, certificate);
}
Status Store::remove_certificates_ended_before(Time time) {
  return impl_->change(impl_->statements->remove_certificates, nullptr, time);
}

// --- mappings

Result<std::vector<Mapping>> Store::mappings() const {
  return Impl::read<Mapping>(impl_->statements->mappings);
}
Result<std::vector<Mapping>> Store::mappings_of_stick(const std::string& stick) const {
  return Impl::read<Mapping>(impl_->statements->mappings_of_stick, stick);
}
Result<std::vector<Mapping>> Store::mappings_of_till(const std::string& till) const {
  return Impl::read<Mapping>(impl_->statements->mappings_of_till, till);
}
Result<std::optional<Mapping>> Store::mapping(std::int64_t id) const {
  return Impl::read_one<Mapping>(impl_->statements->mapping.one, id);
}
Result<std::int64_t> Store::add_mapping(const Mapping& mapping) {
  return impl_->add(impl_->statements->mapping.add, mapping, mapping_misfit);
}
Status Store::change_mapping(const Mapping& mapping) {
  return impl_->replace(impl_->statements->mapping.change, mapping, mapping_misfit);
}
Status Store::remove_mapping(std::int64_t id) {
  return impl_->change(impl_->statements->remove_mapping, nullptr, id);
}

// --- leases

Result<std::vector<Lease>> Store::leases(const LeaseQuery& query) const {
  const auto limit = static_cast<std::int64_t>(std::min(query.limit, limits::rows_per_answer));
  return Impl::read<Lease>(impl_->statements->leases, query.stick, query.till, query.from, query.to,
                           query.before_id, limit);
}
Result<std::vector<Lease>> Store::open_leases() const {
  return Impl::read<Lease>(impl_->statements->open_leases);
}
Result<std::optional<Lease>> Store::lease(std::int64_t id) const {
  return Impl::read_one<Lease>(impl_->statements->lease.one, id);
}
Result<std::int64_t> Store::add_lease(const Lease& lease) {
  return impl_->add(impl_->statements->lease.add, lease, lease_misfit);
}
Status Store::change_lease(const Lease& lease) {
  return impl_->replace(impl_->statements->lease.change, lease, lease_misfit);
}
Status Store::remove_leases_ended_before(Time time) {
  return impl_->change(impl_->statements->remove_leases, nullptr, time);
}

// --- tokens

Result<std::vector<Token>> Store::tokens() const {
  return Impl::read<Token>(impl_->statements->tokens.all);
}
Result<std::optional<Token>> Store::token(const Digest& hash) const {
  return Impl::read_one<Token>(impl_->statements->tokens.one, hash);
}
Status Store::put_token(const Token& token) {
  return impl_->put(impl_->statements->tokens.put, token, token_misfit);
}
Status Store::remove_token(const Digest& hash) {
  return impl_->change(impl_->statements->tokens.remove, nullptr, hash);
}
Status Store::remove_tokens_of(const std::string& till) {
  return impl_->change(impl_->statements->remove_tokens_of, nullptr, till);
}
Status Store::remove_tokens_expired_before(Time time) {
  return impl_->change(impl_->statements->remove_tokens, nullptr, time);
}

// --- pending tills

Result<std::vector<Pending>> Store::pending() const {
  return Impl::read<Pending>(impl_->statements->pending.all);
}
Result<std::optional<Pending>> Store::pending(const std::string& key_fingerprint) const {
  return Impl::read_one<Pending>(impl_->statements->pending.one, key_fingerprint);
}
Status Store::put_pending(const Pending& pending) {
  return impl_->put(impl_->statements->pending.put, pending);
}
Status Store::remove_pending(const std::string& key_fingerprint) {
  return impl_->change(impl_->statements->pending.remove, nullptr, key_fingerprint);
}
Status Store::remove_pending_last_seen_before(Time time) {
  return impl_->change(impl_->statements->remove_pending, nullptr, time);
}

// --- users

Result<std::vector<User>> Store::users() const {
  return Impl::read<User>(impl_->statements->users.all);
}
Result<std::optional<User>> Store::user(const std::string& name) const {
  return Impl::read_one<User>(impl_->statements->users.one, name);
}
Status Store::put_user(const User& user) {
  return impl_->put(impl_->statements->users.put, user);
}
Status Store::remove_user(const std::string& name) {
  return impl_->change(impl_->statements->users.remove, nullptr, name);
}

// --- web sessions

Result<std::vector<WebSession>> Store::web_sessions() const {
  return Impl::read<WebSession>(impl_->statements->web_sessions.all);
}
Result<std::optional<WebSession>> Store::web_session(const Digest& hash) const {
  return Impl::read_one<WebSession>(impl_->statements->web_sessions.one, hash);
}
Status Store::put_web_session(const WebSession& session) {
  return impl_->put(impl_->statements->web_sessions.put, session, session_misfit);
}
Status Store::remove_web_session(const Digest& hash) {
  return impl_->change(impl_->statements->web_sessions.remove, nullptr, hash);
}
Status Store::remove_web_sessions_of(const std::string& user) {
  return impl_->change(impl_->statements->remove_web_sessions_of, nullptr, user);
}
Status Store::remove_web_sessions_expired_before(Time time) {
  return impl_->change(impl_->statements->remove_web_sessions, nullptr, time);
}

// --- settings

namespace {
struct Setting {
  std::string value;
};
auto members(Setting& row) {
  return std::tie(row.value);
}
}  // namespace

Result<std::optional<std::string>> Store::setting(const std::string& key) const {
  auto row = Impl::read_one<Setting>(impl_->statements->setting, key);
  if (!row) return row.error();
  if (!*row) return std::optional<std::string>();
  return std::optional<std::string>(std::move((*row)->value));
}
Status Store::put_setting(const std::string& key, const std::string& value) {
  return impl_->change(impl_->statements->put_setting, nullptr, key, value);
}
Status Store::remove_setting(const std::string& key) {
  return impl_->change(impl_->statements->remove_setting, nullptr, key);
}

}  // namespace tillbridge::store
