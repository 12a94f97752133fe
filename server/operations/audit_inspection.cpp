#include "server/operations/audit_inspection.hpp"

#include <thread>

#include "server/audit/reading.hpp"

namespace tillbridge::operations {

namespace {

/// Years of a shop are seconds of a processor, and tills come first: it works in pieces of some
/// milliseconds, and rests as long in between. (A lower priority is what the unit's system call
/// filter forbids.)
constexpr unsigned lines_at_once = 256;
constexpr std::chrono::milliseconds rest{10};

}  // namespace

AuditInspection::AuditInspection(transport::Loop& loop, admin::Administration& administration)
    : loop_(loop), admin_(administration), timer_(loop) {}

AuditInspection::~AuditInspection() {
  ended_ = true;
}

void AuditInspection::start(Duration every) {
  timer_.arm(loop_.now() + every, [this, every] { start(every); });
  worker_.run([this, folder = admin_.audit().folder(), key = admin_.audit().public_key(),
               heard = admin_.audit_check_heard()] {
    unsigned lines = 0;
    const auto report = audit::verify(folder, key, {}, [this, &lines] {
      if (++lines % lines_at_once == 0) std::this_thread::sleep_for(rest);
      return ended_.load();
    });
    if (!ended_) heard(report);
  });
}

}  // namespace tillbridge::operations
