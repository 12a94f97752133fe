#include "server/usb/mapping.hpp"

#include "server/usb/log.hpp"

namespace tillbridge::server {

namespace {

// Windows compares names of users and computers without case. ASCII and the letters of Latin-1
// (C3 80 to C3 9E in UTF-8, but for the multiplication sign) are what shops are named with.
std::string folded(std::string_view text) {
  std::string result(text);
  for (std::size_t index = 0; index < result.size(); ++index) {
    const auto byte = static_cast<unsigned char>(result[index]);
    const bool ascii = byte >= 'A' && byte <= 'Z';
    const bool latin = index > 0 && static_cast<unsigned char>(result[index - 1]) == 0xC3 &&
                       byte >= 0x80 && byte <= 0x9E && byte != 0x97;
    if (ascii || latin) result[index] = static_cast<char>(byte + 0x20);
  }
  return result;
}

void append(std::string& text, std::string_view separator, const std::string& more) {
  if (more.empty()) return;
  if (!text.empty()) text += separator;
  text += log::printable(more);
}

}  // namespace

std::string SessionFacts::text() const {
  std::string who;
  append(who, "", domain);
  append(who, "\\", user);
  std::string text = who.empty() ? "" : "user " + who;
  if (!terminal_server.empty()) {
    text += (text.empty() ? "on " : " on ") + log::printable(terminal_server);
  }
  if (!client_name.empty()) {
    text += (text.empty() ? "from " : " from ") + log::printable(client_name);
  }
  return text;
}

std::string_view text(ResetPolicy policy) {
  switch (policy) {
    case ResetPolicy::soften:
      return "soften";
    case ResetPolicy::pass:
      return "pass";
    case ResetPolicy::refuse:
      break;
  }
  return "refuse";
}

bool Mapping::names(const TillIdentity& till_identity) const {
  if (till_identity.kind == TillIdentity::Kind::certificate) {
    return till == till_identity.name && till.rfind(usbip_prefix, 0) != 0;
  }
  if (till.rfind(usbip_prefix, 0) != 0) return false;
  const std::string_view address = std::string_view(till).substr(usbip_prefix.size());
  return address == "*" || address == till_identity.name;
}

bool Mapping::allows(const TillIdentity& till_identity) const {
  return names(till_identity) && (fingerprint.empty() || fingerprint == till_identity.fingerprint);
}

bool Mapping::suits(const SessionFacts& facts) const {
  if (!terminal_server.empty() && folded(terminal_server) != folded(facts.terminal_server)) {
    return false;
  }
  if (user.empty()) return true;
  const bool with_domain = user.find('\\') != std::string::npos;
  return folded(user) == folded(with_domain ? facts.domain + "\\" + facts.user : facts.user);
}

std::string Mapping::conditions_text() const {
  std::string text;
  if (!user.empty()) text = "for user " + log::printable(user);
  if (!terminal_server.empty()) {
    text += (text.empty() ? "on " : " on ") + log::printable(terminal_server);
  }
  return text;
}

}  // namespace tillbridge::server
