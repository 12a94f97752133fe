// The journal's lines about clients that are turned away: a few a minute, the rest counted.
#pragma once

#include <string>

namespace tillbridge::http {

/// Any thread. `who`: an address; `why`: in words, never what the client sent. Gives whether it was
/// written, so that the audit can keep the same measure.
bool note_refusal(const std::string& who, const std::string& why);

}  // namespace tillbridge::http
