// All in which FreeRDP 2 and FreeRDP 3 differ for us. The files of this folder are compiled once
// for each generation that is installed; no other file asks which one it is.
//
// What differs beyond what a compiler sees (channels/drdynvc/client/drdynvc_main.c, which is the
// same file from 2.3.0 to 2.11.7):
//  - In 2 Close() of a channel only writes a line of FreeRDP's log. What closes there is a message
//    of no bytes: see close_channel().
//  - In 2 OnClose is always called with FreeRDP's table of channels locked, in 3 only at the end of
//    a connection.
//  - In 2 the second one who listens for a name is never asked; in 3 it replaces the first, and
//    frees it under its owner.
//  - In 2 the tables of callbacks have no `pInterface`. Ours are derived from FreeRDP's, in both.
#pragma once

#include <string>

#include <freerdp/dvc.h>
#include <freerdp/freerdp.h>
#include <freerdp/settings.h>
#include <freerdp/version.h>

namespace tillbridge::plugin {

inline constexpr int freerdp_generation = FREERDP_VERSION_MAJOR;
static_assert(freerdp_generation == 2 || freerdp_generation == 3,
              "compare FreeRDP's drdynvc_main.c with what this folder relies on");

/// Whether Write() of no bytes is the only way to close a channel. FreeRDP 2 logs an error then
/// ("VirtualChannelWriteEx failed with CHANNEL_RC_BAD_INIT_HANDLE"), and closes.
inline constexpr bool closed_by_empty_write = freerdp_generation == 2;

/// Comes back when OnClose has returned. Takes the lock of FreeRDP's table of channels.
inline void close_channel(IWTSVirtualChannel& channel) {
  if constexpr (closed_by_empty_write) {
    (void)channel.Write(&channel, 0, nullptr, nullptr);
  } else {
    (void)channel.Close(&channel);
  }
}

/// 2 has an untyped pointer there, and asks for one that is not const.
inline rdpSettings* settings_of(IDRDYNVC_ENTRY_POINTS& entry_points) {
  return static_cast<rdpSettings*>(entry_points.GetRdpSettings(&entry_points));
}

/// Empty if the FreeRDP that has loaded us is of the generation that we were built for; otherwise
/// what is wrong. Its structures must not be touched then: settings have other places.
inline std::string wrong_generation() {
  int major = 0, minor = 0, revision = 0;
  freerdp_get_version(&major, &minor, &revision);
  if (major == freerdp_generation) return {};
  return "this libtillbridge-client.so is for FreeRDP " + std::to_string(freerdp_generation) +
         ", and here runs FreeRDP " + freerdp_get_version_string() +
         "; install the one for FreeRDP " + std::to_string(major) + " in its add-in folder";
}

}  // namespace tillbridge::plugin
