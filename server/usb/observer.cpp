#include "server/usb/observer.hpp"

namespace tillbridge::server {

std::string_view text(LeaseEnd end) {
  switch (end) {
    case LeaseEnd::given_back:
      return "given_back";
    case LeaseEnd::till_left:
      return "till_left";
    case LeaseEnd::lost:
      return "lost";
    case LeaseEnd::taken_over:
      return "taken_over";
    case LeaseEnd::unplugged:
      return "unplugged";
    case LeaseEnd::released:
      return "released";
    case LeaseEnd::blocked:
      return "blocked";
    case LeaseEnd::mapping_changed:
      return "mapping_changed";
    case LeaseEnd::refused:
      return "refused";
    case LeaseEnd::revoked:
      return "revoked";
    case LeaseEnd::expired:
      return "expired";
    case LeaseEnd::failed:
      return "failed";
    case LeaseEnd::server_restarts:
      return "server_restarts";
    case LeaseEnd::server_stopped:
      break;
  }
  return "server_stopped";
}

std::string_view text(TillEnd end) {
  switch (end) {
    case TillEnd::goodbye:
      return "goodbye";
    case TillEnd::lost:
      return "lost";
    case TillEnd::taken_over:
      return "taken_over";
    case TillEnd::revoked:
      return "revoked";
    case TillEnd::expired:
      return "expired";
    case TillEnd::turned_out:
      return "turned_out";
    case TillEnd::server_restarts:
      return "server_restarts";
    case TillEnd::server_stopped:
      break;
  }
  return "server_stopped";
}

}  // namespace tillbridge::server
