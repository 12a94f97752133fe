#include "server/admin/api.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "server/admin/api_body.hpp"
#include "server/admin/documents.hpp"
#include "server/audit/reading.hpp"

namespace tillbridge::admin {

namespace {

Reply json_reply(const Json& json) {
  Reply reply;
  reply.body = dump(json);
  return reply;
}

Reply unknown_path() {
  return reply_to(
      {404, "unknown", "there is no such address", "GET /api/v1/openapi.json lists all of them"});
}

Reply other_method(const std::string& allowed) {
  return reply_to({405, "method", "this address takes " + allowed, "use " + allowed});
}

Reply done_reply(const Outcome<Done>& outcome) {
  if (!outcome) return reply_to(outcome.problem());
  return json_reply({{"changed", outcome->changed}});
}

/// One request while it is routed.
class Call {
 public:
  Call(Administration& administration, const Request& request, std::vector<std::string> path)
      : admin_(administration), request_(request), path_(std::move(path)), body_(request.body) {}

  Reply run();

 private:
  using Handler = Reply (Call::*)();

  Reply sticks();
  Reply stick_verb();
  Reply mappings();
  Reply tills();
  Reply pending();
  Reply leases();
  Reply drain();
  Reply users();
  Reply audit();
  Reply audit_list();
  Reply audit_verify();
  Reply audit_export();

  [[nodiscard]] const std::string& method() const { return request_.method; }
  [[nodiscard]] bool is(const char* name) const { return request_.method == name; }
  [[nodiscard]] std::string at(std::size_t index) const {
    return index < path_.size() ? path_[index] : std::string();
  }
  /// Who and why; the last field that every changing request asks for.
  Change change() { return {request_.actor, body_.text("reason", limits::reason_bytes)}; }
  /// Runs `work` unless the body is wrong. A viewer hears first that he may not: what is wrong with
  /// a request that he may not make is none of his business.
  template <typename Work>
  Reply carry_out(const Work& work) {
    const Change made = change();
    if (made.actor.role == Role::admin) {
      if (const auto& problem = body_.problem()) return reply_to(*problem);
    }
    return work(made);
  }
  [[nodiscard]] std::string parameter(const std::string& name) const {
    const auto found = request_.query.find(name);
    return found == request_.query.end() ? std::string() : found->second;
  }
  template <typename Time>
  [[nodiscard]] std::optional<Problem> time_parameter(const char* name, bool end_of_day,
                                                      std::optional<Time>& time) const;
  Reply document_reply(const char* name, const std::optional<std::string>& document,
                       bool changed) const;

  Administration& admin_;
  const Request& request_;
  std::vector<std::string> path_;
  Body body_;
};

Reply Call::run() {
  static const std::map<std::string, Handler> handlers = {
      {"sticks", &Call::sticks},   {"mappings", &Call::mappings}, {"tills", &Call::tills},
      {"pending", &Call::pending}, {"leases", &Call::leases},     {"drain", &Call::drain},
      {"users", &Call::users},     {"audit", &Call::audit}};
  if (path_[0] == "state" && path_.size() == 1) {
    if (!is("GET")) return other_method("GET");
    Reply reply;
    reply.body = admin_.state_document();
    return reply;
  }
  const auto found = handlers.find(path_[0]);
  if (found == handlers.end() || path_.size() > 3) return unknown_path();
  return (this->*found->second)();
}

Reply Call::document_reply(const char* name, const std::optional<std::string>& document,
                           bool changed) const {
  Json reply = {{"changed", changed}};
  reply[name] = document ? Json::parse(*document, nullptr, false) : Json();
  return json_reply(reply);
}

// --- sticks

Reply Call::sticks() {
  if (path_.size() == 3) return is("POST") ? stick_verb() : other_method("POST");
  if (path_.size() != 2) return unknown_path();
  if (is("GET")) {
    const auto id = admin_.find_stick(at(1));
    if (!id) return reply_to(id.problem());
    const auto document = admin_.stick_document(*id);
    return document ? json_reply(Json::parse(*document, nullptr, false)) : unknown_path();
  }
  if (is("PATCH")) {
    const auto label = body_.maybe_text("label", limits::label_bytes);
    if (!label) body_.complain("'label' is missing", "add it: {\"label\": \"TSE 7\"}");
    return carry_out([&](const Change& made) {
      return done_reply(admin_.label_stick(made, at(1), label.value_or("")));
    });
  }
  if (is("DELETE")) {
    return carry_out(
        [&](const Change& made) { return done_reply(admin_.forget_stick(made, at(1))); });
  }
  return other_method("GET, PATCH or DELETE");
}

Reply Call::stick_verb() {
  const std::string verb = at(2);
  const std::string stick = at(1);
  if (verb == "block") {
    const auto minutes = body_.maybe_number("minutes", 1, limits::block_minutes);
    return carry_out(
        [&](const Change& made) { return done_reply(admin_.block(made, stick, minutes)); });
  }
  if (verb == "unblock") {
    return carry_out([&](const Change& made) { return done_reply(admin_.unblock(made, stick)); });
  }
  if (verb == "accept") {
    return carry_out([&](const Change& made) { return done_reply(admin_.accept(made, stick)); });
  }
  if (verb == "identify") {
    return carry_out([&](const Change& made) {
      const auto outcome = admin_.identify(made, stick);
      return outcome ? json_reply({{"text", *outcome}}) : reply_to(outcome.problem());
    });
  }
  return unknown_path();
}

// --- mappings

Reply Call::mappings() {
  const auto position = [&]() -> std::optional<std::uint32_t> {
    const auto number = body_.maybe_number("position", 1, limits::mappings_per_stick);
    return number ? std::optional<std::uint32_t>(static_cast<std::uint32_t>(*number))
                  : std::nullopt;
  };
  if (path_.size() == 1) {
    if (!is("POST")) return other_method("POST");
    NewMapping wanted;
    wanted.stick = body_.required_text("stick", limits::parameter_bytes);
    wanted.till = body_.required_text("till", limits::name_bytes);
    wanted.user = body_.text("user", limits::name_bytes);
    wanted.terminal_server = body_.text("terminal_server", limits::name_bytes);
    wanted.also = body_.maybe_flag("also").value_or(false);
    wanted.position = position();
    wanted.reset = body_.maybe_text("reset", limits::name_bytes);
    wanted.pipeline = body_.maybe_flag("pipeline");
    return carry_out([&](const Change& made) {
      const auto id = admin_.map(made, wanted);
      if (!id) return reply_to(id.problem());
      return document_reply("mapping", admin_.mapping_document(*id), true);
    });
  }
  if (path_.size() != 2) return unknown_path();
  if (is("PATCH")) {
    MappingPatch patch;
    patch.till = body_.maybe_text("till", limits::name_bytes);
    patch.user = body_.maybe_text("user", limits::name_bytes);
    patch.terminal_server = body_.maybe_text("terminal_server", limits::name_bytes);
    patch.reset = body_.maybe_text("reset", limits::name_bytes);
    patch.position = position();
    patch.pipeline = body_.maybe_flag("pipeline");
    return carry_out([&](const Change& made) {
      const auto outcome = admin_.change_mapping(made, at(1), patch);
      if (!outcome) return reply_to(outcome.problem());
      return document_reply("mapping", admin_.mapping_document(at(1)), outcome->changed);
    });
  }
  if (is("DELETE")) {
    return carry_out([&](const Change& made) { return done_reply(admin_.unmap(made, at(1))); });
  }
  return other_method("PATCH or DELETE");
}

// --- tills

Reply Call::tills() {
  const auto ticket_reply = [](const std::string& till,
                               const Outcome<Enrolment::Ticket>& outcome) -> Reply {
    if (!outcome) return reply_to(outcome.problem());
    const Enrolment::Ticket& ticket = *outcome;
    return json_reply({{"till", till},
                       {"line", ticket.line},
                       {"qr_svg", ticket.qr_svg},
                       {"qr_text", ticket.qr_text},
                       {"expires", rfc3339(ticket.expires)}});
  };
  if (path_.size() == 1) {
    if (!is("POST")) return other_method("POST");
    NewTill wanted;
    wanted.name = body_.required_text("name", limits::name_bytes);
    wanted.label = body_.text("label", limits::label_bytes);
    wanted.stick = body_.text("stick", limits::parameter_bytes);
    wanted.address = body_.text("address", limits::parameter_bytes);
    return carry_out([&](const Change& made) {
      return ticket_reply(wanted.name, admin_.add_till(made, wanted));
    });
  }
  if (path_.size() == 3) {
    if (!is("POST")) return other_method("POST");
    if (at(2) == "token") {
      const std::string address = body_.text("address", limits::parameter_bytes);
      return carry_out([&](const Change& made) {
        return ticket_reply(at(1), admin_.new_token(made, at(1), address));
      });
    }
    if (at(2) == "revoke") {
      return carry_out(
          [&](const Change& made) { return done_reply(admin_.revoke_till(made, at(1))); });
    }
    return unknown_path();
  }
  if (is("GET")) {
    const auto document = admin_.till_document(at(1));
    if (document) return json_reply(Json::parse(*document, nullptr, false));
    return reply_to({404, "not_found", "there is no till '" + at(1) + "'",
                     "look at the list of tills (tillbridge till list)"});
  }
  if (is("PATCH")) {
    TillPatch patch;
    patch.label = body_.maybe_text("label", limits::label_bytes);
    patch.note = body_.maybe_text("note", limits::reason_bytes);
    return carry_out(
        [&](const Change& made) { return done_reply(admin_.change_till(made, at(1), patch)); });
  }
  if (is("DELETE")) {
    return carry_out(
        [&](const Change& made) { return done_reply(admin_.remove_till(made, at(1))); });
  }
  return other_method("GET, PATCH or DELETE");
}

Reply Call::pending() {
  if (path_.size() != 3 || (at(2) != "approve" && at(2) != "ignore")) return unknown_path();
  if (!is("POST")) return other_method("POST");
  if (at(2) == "ignore") {
    return carry_out([&](const Change& made) { return done_reply(admin_.ignore(made, at(1))); });
  }
  const std::string name = body_.text("name", limits::name_bytes);
  const std::string stick = body_.text("stick", limits::parameter_bytes);
  return carry_out(
      [&](const Change& made) { return done_reply(admin_.approve(made, at(1), name, stick)); });
}

Reply Call::leases() {
  if (path_.size() != 3 || at(2) != "end") return unknown_path();
  if (!is("POST")) return other_method("POST");
  const auto minutes = body_.maybe_number("block_minutes", 0, limits::block_minutes);
  return carry_out([&](const Change& made) {
    return done_reply(admin_.end_lease(made, at(1), minutes.value_or(0)));
  });
}

Reply Call::drain() {
  if (path_.size() != 1) return unknown_path();
  if (!is("POST")) return other_method("POST");
  const auto on = body_.maybe_flag("on");
  if (!on) body_.complain("'on' is missing", "add it: {\"on\": true} or {\"on\": false}");
  return carry_out(
      [&](const Change& made) { return done_reply(admin_.drain(made, on.value_or(false))); });
}

// --- users

Reply Call::users() {
  const auto role_of = [&](const std::optional<std::string>& word) -> std::optional<Role> {
    if (!word) return std::nullopt;
    if (*word == "admin") return Role::admin;
    if (*word != "viewer")
      body_.complain("'role' is neither admin nor viewer", "write one of the two");
    return Role::viewer;
  };
  if (path_.size() == 1 && is("GET")) {
    if (auto allowed = admin_.check(request_.actor, "list the users"); !allowed) {
      return reply_to(allowed.problem());
    }
    const auto rows = admin_.store().users();
    if (!rows)
      return reply_to({503, "not_read", rows.error().message, "look at the server's journal"});
    Json users = Json::array();
    for (const store::User& row : *rows) {
      users.push_back({{"name", row.name},
                       {"role", row.role == Role::admin ? "admin" : "viewer"},
                       {"created", rfc3339(row.created)},
                       {"last_login", time_or_null(row.last_login)}});
    }
    return json_reply({{"users", std::move(users)}});
  }
  if (path_.size() == 1 && is("POST")) {
    const std::string name = body_.required_text("name", limits::name_bytes);
    const auto role = role_of(body_.maybe_text("role", limits::name_bytes));
    const std::string password = body_.required_text("password", limits::password_bytes);
    return carry_out([&](const Change& made) {
      return done_reply(admin_.add_user(made, name, role.value_or(Role::viewer), password));
    });
  }
  if (path_.size() == 2 && is("PATCH")) {
    UserPatch patch;
    patch.role = role_of(body_.maybe_text("role", limits::name_bytes));
    patch.password = body_.maybe_text("password", limits::password_bytes);
    return carry_out(
        [&](const Change& made) { return done_reply(admin_.change_user(made, at(1), patch)); });
  }
  if (path_.size() == 2 && is("DELETE")) {
    return carry_out(
        [&](const Change& made) { return done_reply(admin_.remove_user(made, at(1))); });
  }
  if (path_.size() > 2) return unknown_path();
  return other_method(path_.size() == 1 ? "GET or POST" : "PATCH or DELETE");
}

// --- audit

template <typename Time>
std::optional<Problem> Call::time_parameter(const char* name, bool end_of_day,
                                            std::optional<Time>& time) const {
  const std::string text = parameter(name);
  if (text.empty()) return std::nullopt;
  time = time_of(text, end_of_day);
  if (time) return std::nullopt;
  return Problem{422, "invalid", std::string("'") + name + "' is no time",
                 "write it as 2026-11-23 or 2026-11-23T04:05:06Z"};
}

Reply Call::audit() {
  if (!is("GET")) return other_method("GET");
  if (path_.size() == 1) return audit_list();
  if (path_.size() == 2 && at(1) == "verify") return audit_verify();
  if (path_.size() == 2 && at(1) == "export") return audit_export();
  return unknown_path();
}

Reply Call::audit_list() {
  audit::Query query;
  query.stick = parameter("stick");
  if (!query.stick.empty()) {
    if (const auto id = admin_.find_stick(query.stick); id.ok()) query.stick = *id;
  }
  query.till = parameter("till");
  if (auto problem = time_parameter("from", false, query.from)) return reply_to(*problem);
  if (auto problem = time_parameter("to", true, query.to)) return reply_to(*problem);
  const auto number = [&](const char* name, std::uint64_t most,
                          std::uint64_t fallback) -> std::optional<std::uint64_t> {
    const std::string text = parameter(name);
    if (text.empty()) return fallback;
    if (text.size() > 18 || text.find_first_not_of("0123456789") != std::string::npos) {
      return std::nullopt;
    }
    return std::min<std::uint64_t>(std::stoull(text), most);
  };
  const auto limit = number("limit", audit::limits::entries_per_answer, query.limit);
  const auto before = number("before", UINT64_MAX, 0);
  if (!limit || !before || *limit == 0) {
    return reply_to({422, "invalid", "'limit' and 'before' must be whole numbers above 0",
                     "correct them or leave them out"});
  }
  query.limit = static_cast<std::size_t>(*limit);
  if (*before > 0) query.before = *before;
  (void)admin_.flush_audit();
  Reply reply;
  reply.elsewhere = [query, folder = admin_.audit().folder()] {
    const auto lines = audit::read(folder, query);
    if (!lines) {
      return reply_to({503, "not_read", lines.error().message, "look at the server's journal"});
    }
    Json entries = Json::array();
    for (const audit::Line& line : *lines) entries.push_back(document(line));
    return json_reply({{"entries", std::move(entries)}});
  };
  return reply;
}

Reply Call::audit_verify() {
  (void)admin_.flush_audit();
  Reply reply;
  reply.elsewhere = [folder = admin_.audit().folder(), key = admin_.audit().public_key(),
                     heard = admin_.audit_check_heard()] {
    const auto report = audit::verify(folder, key);
    heard(report);
    if (!report) {
      return reply_to({503, "not_read", report.error().message, "look at the server's journal"});
    }
    return json_reply(document(*report));
  };
  return reply;
}

Reply export_reply(const audit::Snapshot& snapshot, const audit::Selection& selection,
                   audit::Time now) {
  Reply reply;
  reply.content_type = "application/jsonl";
  reply.file_name = "tillbridge-audit.jsonl";
  bool full = false;
  const auto status = snapshot.write_export(selection, now, [&](std::string_view piece) -> Status {
    full = reply.body.size() + piece.size() > limits::export_bytes;
    if (full) return fail(ErrorCode::limit, "the export is too large");
    reply.body += piece;
    return {};
  });
  if (full) {
    return reply_to(
        {413, "too_large",
         "the export would be larger than " + std::to_string(limits::export_bytes >> 20U) + " MiB",
         "choose one stick or a shorter period"});
  }
  if (!status) {
    return reply_to({503, "not_read", status.error().message, "look at the server's journal"});
  }
  return reply;
}

Reply Call::audit_export() {
  audit::Selection selection;
  const std::string stick = parameter("stick");
  if (!stick.empty()) {
    const auto id = admin_.find_stick(stick);
    // One that was forgotten still has its past.
    selection.stick = id.ok() ? *id : stick;
  }
  std::optional<audit::Time> from;
  std::optional<audit::Time> to;
  if (auto problem = time_parameter("from", false, from)) return reply_to(*problem);
  if (auto problem = time_parameter("to", true, to)) return reply_to(*problem);
  const auto now = std::chrono::system_clock::now();
  selection.from = from.value_or(audit::Time{});
  selection.to = to.value_or(now);
  audit::Entry entry;
  entry.kind = audit::Kind::audit_exported;
  entry.who = request_.actor.who();
  entry.stick = selection.stick;
  entry.reason = parameter("reason").substr(0, limits::reason_bytes);
  entry.details = {{audit::Field::since, audit::time_text(selection.from)},
                   {audit::Field::until, audit::time_text(selection.to)}};
  admin_.record(std::move(entry));
  (void)admin_.flush_audit();
  // Years of a large shop take seconds, and no receipt waits for the auditor.
  Reply reply;
  reply.elsewhere = [selection, now, snapshot = admin_.audit().snapshot()] {
    return export_reply(snapshot, selection, now);
  };
  return reply;
}

}  // namespace

Reply reply_to(const Problem& problem) {
  Reply reply;
  reply.status = problem.status;
  reply.body =
      dump({{"error",
             {{"code", problem.code}, {"message", problem.message}, {"remedy", problem.remedy}}}});
  return reply;
}

void Api::add(const std::string& path, std::function<Reply(const Request&)> handler) {
  added_[path] = std::move(handler);
}

Reply Api::handle(const Request& request) {
  if (const auto found = added_.find(request.path); found != added_.end()) {
    return found->second(request);
  }
  auto path = segments_of(request.path);
  if (!path) return unknown_path();
  return Call(administration_, request, std::move(*path)).run();
}

}  // namespace tillbridge::admin
