// Looks through the whole audit log at the start and once a day, and tells the administration: a
// log that somebody changed is to be found out while the one who did it is still remembered.
#pragma once

#include <atomic>
#include <chrono>

#include "channel/transport/loop.hpp"
#include "server/admin/administration.hpp"
#include "server/usb/worker.hpp"

namespace tillbridge::operations {

/// On the loop's thread; the checking is done in another one, in pieces.
class AuditInspection {
 public:
  AuditInspection(transport::Loop& loop, admin::Administration& administration);
  /// What is being looked at is given up.
  ~AuditInspection();
  AuditInspection(const AuditInspection&) = delete;
  AuditInspection& operator=(const AuditInspection&) = delete;
  AuditInspection(AuditInspection&&) = delete;
  AuditInspection& operator=(AuditInspection&&) = delete;

  /// Now, and then again and again.
  void start(Duration every = std::chrono::hours(24));

 private:
  transport::Loop& loop_;
  admin::Administration& admin_;
  transport::Timer timer_;
  std::atomic<bool> ended_ = false;
  server::Worker worker_;  // last: it ends first
};

}  // namespace tillbridge::operations
