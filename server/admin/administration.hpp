// Every verb of an administrator, once, for every interface: who may, what it changes in the store
// and in the rules, what the audit says of it, and who is told.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "channel/bytes/result.hpp"
#include "channel/transport/loop.hpp"
#include "server/admin/events.hpp"
#include "server/admin/hooks.hpp"
#include "server/admin/reply.hpp"
#include "server/admin/request.hpp"
#include "server/admin/state.hpp"
#include "server/audit/audit_log.hpp"
#include "server/audit/reading.hpp"
#include "server/store/store.hpp"
#include "server/usb/usb_server.hpp"

namespace tillbridge::admin {

/// What a change of any kind has: who asks, and why.
struct Change {
  Actor actor;
  std::string reason;  ///< may be empty
  /// Key of a setting of the store that is used up by the change: it goes in the same transaction.
  /// Of users only; may be empty.
  std::string uses_up{};
};

struct NewMapping {
  std::string stick;  ///< a stick's id, or its bare serial if only one known stick has it
  std::string till;
  std::string user, terminal_server;
  bool also = false;  ///< beside the admin's other mappings of that stick, not in their place
  std::optional<std::uint32_t> position;  ///< among them, from 1; at the end without it
  std::optional<std::string> reset;       ///< "soften", "pass", "refuse"
  std::optional<bool> pipeline;
};

struct MappingPatch {
  std::optional<std::string> till, user, terminal_server, reset;
  std::optional<std::uint32_t> position;
  std::optional<bool> pipeline;
};

struct NewTill {
  std::string name, label, stick;  ///< label and stick may be empty
  std::string address{};           ///< HOST[:PORT] that the till is told; empty: as configured
};

struct TillPatch {
  std::optional<std::string> label, note;
};

struct UserPatch {
  std::optional<Role> role;
  std::optional<std::string> password;
};

/// One loop's thread. Every verb is idempotent: what is so already is a success that writes
/// nothing. A change is in the store, in the audit and in the running sessions' rules when a verb
/// returns success; after a Problem nothing of it is anywhere. A viewer gets a 403 from every verb
/// that changes something, and the audit has an entry of the attempt.
class Administration {
 public:
  struct Parts {
    transport::Loop& loop;
    store::Store& store;
    audit::AuditLog& audit;
    server::UsbServer& usb;
    Enrolment* enrolment = nullptr;  ///< may be absent
    Accounts* accounts = nullptr;    ///< may be absent
    std::string server_name;         ///< shown; the machine's name
  };
  explicit Administration(Parts parts);
  ~Administration();
  Administration(const Administration&) = delete;
  Administration& operator=(const Administration&) = delete;
  Administration(Administration&&) = delete;
  Administration& operator=(Administration&&) = delete;

  /// Before UsbServer::start(): reads the store, closes what an earlier run left open, and becomes
  /// the server's observer and the maker of its rules.
  [[nodiscard]] Status start();
  /// The last entries; afterwards nothing is written any more. After UsbServer::stop().
  void stop();

  // Sticks. `stick` is an id, or a bare serial that only one known stick has.
  [[nodiscard]] Outcome<Done> label_stick(const Change& change, const std::string& stick,
                                          const std::string& label);
  /// Given to nobody for so long; nothing: until somebody unblocks it. Ends a running lease.
  [[nodiscard]] Outcome<Done> block(const Change& change, const std::string& stick,
                                    std::optional<std::int64_t> minutes);
  /// Also gives back what was taken from a session with end_lease().
  [[nodiscard]] Outcome<Done> unblock(const Change& change, const std::string& stick);
  /// Its descriptors as they are now are right.
  [[nodiscard]] Outcome<Done> accept(const Change& change, const std::string& stick);
  /// Where it is, in words: no stick of these kinds has a light that software may switch, and the
  /// port's power is never touched.
  [[nodiscard]] Outcome<std::string> identify(const Change& change, const std::string& stick);
  /// Removes an absent one that nothing is mapped to.
  [[nodiscard]] Outcome<Done> forget_stick(const Change& change, const std::string& stick);

  // Mappings. Ids as in MappingView; those of the file are refused.
  [[nodiscard]] Outcome<std::string> map(const Change& change, const NewMapping& mapping);
  [[nodiscard]] Outcome<Done> change_mapping(const Change& change, const std::string& id,
                                             const MappingPatch& patch);
  [[nodiscard]] Outcome<Done> unmap(const Change& change, const std::string& id);

  // Tills.
  [[nodiscard]] Outcome<Enrolment::Ticket> add_till(const Change& change, const NewTill& till);
  [[nodiscard]] Outcome<Enrolment::Ticket> new_token(const Change& change, const std::string& till,
                                                     const std::string& address = {});
  [[nodiscard]] Outcome<Done> change_till(const Change& change, const std::string& till,
                                          const TillPatch& patch);
  /// All its certificates; its session is cut at once.
  [[nodiscard]] Outcome<Done> revoke_till(const Change& change, const std::string& till);
  /// Revokes, and forgets all but the revocation. Its mappings go too.
  [[nodiscard]] Outcome<Done> remove_till(const Change& change, const std::string& till);
  /// Pending tills; `till` and `stick` empty: as it calls itself, and none.
  [[nodiscard]] Outcome<Done> approve(const Change& change, const std::string& pending,
                                      const std::string& till, const std::string& stick);
  [[nodiscard]] Outcome<Done> ignore(const Change& change, const std::string& pending);

  // Leases and the server.
  /// Ends it; the session does not get the stick again until unblock(), or, with minutes, until
  /// they are over: then nobody gets it before.
  [[nodiscard]] Outcome<Done> end_lease(const Change& change, const std::string& lease,
                                        std::int64_t block_minutes);
  [[nodiscard]] Outcome<Done> drain(const Change& change, bool on);

  // Users of the page.
  [[nodiscard]] Outcome<Done> add_user(const Change& change, const std::string& name, Role role,
                                       const std::string& password);
  [[nodiscard]] Outcome<Done> change_user(const Change& change, const std::string& name,
                                          const UserPatch& patch);
  [[nodiscard]] Outcome<Done> remove_user(const Change& change, const std::string& name);

  // For rooms that carry out something themselves.
  /// The same check as for every verb, with the same entry in the audit if it is refused. `action`:
  /// "capture".
  [[nodiscard]] Outcome<Done> check(const Actor& actor, const std::string& action,
                                    const std::string& stick = {}, const std::string& till = {});
  /// The id of the stick that `name` means.
  [[nodiscard]] Outcome<std::string> find_stick(const std::string& name) const;
  /// Notes down what somebody else did; written soon.
  void record(audit::Entry entry);
  /// Writes what is noted down, and signs.
  [[nodiscard]] Status flush_audit();
  /// For whoever checks the audit log (audit::verify), in any thread, also after this is gone: what
  /// was found raises the alarm audit_damaged, or ends it. The loop must be there still.
  [[nodiscard]] std::function<void(const Result<audit::Report>&)> audit_check_heard();
  /// For the viewers and the journal's readers.
  enum class Level : std::uint8_t { info, warning, error };
  void tell(Level level, const std::string& kind, const std::string& text,
            const std::string& stick = {}, const std::string& till = {},
            const std::string& who = {});
  /// A till has its certificate, new or renewed: its row is put, the till is enrolled, and the
  /// stick, if any, is mapped to it. `entry` goes into the audit with that.
  [[nodiscard]] Status enrolled(const store::Certificate& certificate, const std::string& stick,
                                const audit::Entry& entry);
  /// Something in the store changed that others see (pending tills, users).
  void changed();

  [[nodiscard]] State state() const;
  [[nodiscard]] std::string state_document() const;  ///< JSON, GET /api/v1/state
  /// "1209:0001:5A2F..." as JSON of the state document; nothing: there is none.
  [[nodiscard]] std::optional<std::string> stick_document(const std::string& id) const;
  [[nodiscard]] std::optional<std::string> till_document(const std::string& name) const;
  [[nodiscard]] std::optional<std::string> mapping_document(const std::string& id) const;

  [[nodiscard]] EventHub& events();
  [[nodiscard]] store::Store& store();
  [[nodiscard]] audit::AuditLog& audit();
  [[nodiscard]] server::UsbServer& usb();
  /// What start() registers with the server; for who wants to stand beside it (server::Observers).
  [[nodiscard]] server::Observer& observer();
  /// Hears of every alarm that is raised or cleared; never from within a verb.
  void on_alarm(std::function<void(const Alarm&, bool raised)> heard);
  /// Counts since the program's start, for metrics.
  struct Counts {
    std::uint64_t leases = 0, reconnects = 0, refused_connections = 0, changes = 0;
  };
  [[nodiscard]] Counts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tillbridge::admin
