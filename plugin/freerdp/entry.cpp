// DVCPluginEntry: where FreeRDP comes in, once for each RDP connection.
//
//   xfreerdp3 /v:HOST ... /dvc:tillbridge[,server:HOST[:PORT]][,config:FILE]     (xfreerdp: FreeRDP
//   2)
//
// Whatever is wrong with our configuration or with the USB server, the RDP session itself must open
// and work: this returns success always, and says in the log what is missing (FreeRdpLog).

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "channel/bytes/limits.hpp"
#include "plugin/configuration.hpp"
#include "plugin/freerdp/freerdp_log.hpp"
#include "plugin/freerdp/generation.hpp"
#include "plugin/freerdp/instance.hpp"
#include "plugin/worker.hpp"

namespace tillbridge::plugin {
namespace {

constexpr const char* plugin_name = "tillbridge";
/// Ends every line that says why the plugin does nothing in this connection.
constexpr const char* inert = " (no stick will appear in this RDP session)";
constexpr const char* own_usb_redirection = "urbdrc";

/// As the link wants names: no control characters, and no longer than the limit, without cutting a
/// character in two. Of a setting that is not set nothing is left.
std::string name(const char* setting) {
  std::string value = setting == nullptr ? "" : setting;
  std::erase_if(value, [](char c) { return static_cast<unsigned char>(c) < 0x20U || c == '\x7f'; });
  if (value.size() > limits::name_bytes) {
    std::size_t end = limits::name_bytes;
    while (end > 0 && (static_cast<unsigned char>(value[end]) & 0xC0U) == 0x80U) --end;
    value.resize(end);
  }
  return value;
}

SessionFacts facts_of(const rdpSettings* settings) {
  return {.client_name = name(freerdp_settings_get_string(settings, FreeRDP_ClientHostname)),
          .user = name(freerdp_settings_get_string(settings, FreeRDP_Username)),
          .domain = name(freerdp_settings_get_string(settings, FreeRDP_Domain)),
          .terminal_server = name(freerdp_settings_get_string(settings, FreeRDP_ServerHostname))};
}

std::vector<std::string> arguments_of(const ADDIN_ARGV* data) {
  if (data == nullptr || data->argc < 1) return {};
  const std::span words(data->argv, static_cast<std::size_t>(data->argc));
  return {words.begin() + 1, words.end()};  // the first one is our own name
}

/// Everything in one place that keeps us from working in this connection.
Result<std::shared_ptr<Worker>> begin(IDRDYNVC_ENTRY_POINTS* freerdp,
                                      const std::shared_ptr<FreeRdpLog>& log) {
  if (const std::string problem = wrong_generation(); !problem.empty()) {
    return fail(ErrorCode::config, problem);
  }
  const auto arguments = parse_arguments(arguments_of(freerdp->GetPluginData(freerdp)));
  if (!arguments) return arguments.error();
  const auto configuration = load_configuration(*arguments);
  if (!configuration) return configuration.error();
  log->configure(configuration->log);
  log->write(Level::info, std::string("tillbridge " TILLBRIDGE_VERSION " in FreeRDP ") +
                              freerdp_get_version_string() +
                              " (built with " FREERDP_VERSION_FULL ")");

  // FreeRDP has one listener for a name: a second one gets nothing, or takes all from the first.
  rdpSettings* settings = settings_of(*freerdp);
  if (freerdp->GetPlugin(freerdp, own_usb_redirection) != nullptr ||
      freerdp_dynamic_channel_collection_find(settings, own_usb_redirection) != nullptr) {
    return fail(ErrorCode::config,
                "FreeRDP's own USB redirection (option /usb) is on and has the channel URBDRC; "
                "remove /usb to get the "
                "sticks of the USB server");
  }
  if (freerdp->GetPlugin(freerdp, plugin_name) != nullptr) {
    return fail(ErrorCode::config, "/dvc:tillbridge is given twice; the first one counts");
  }
  return Worker::start(*configuration, facts_of(settings), log);
}

void enter(IDRDYNVC_ENTRY_POINTS* freerdp) {
  const auto log = std::make_shared<FreeRdpLog>();
  auto worker = begin(freerdp, log);
  if (!worker) {
    log->write(Level::error, worker.error().message + inert);
    return;
  }
  auto instance = std::make_unique<Instance>(*worker, log);
  if (freerdp->RegisterPlugin(freerdp, plugin_name, instance->plugin()) != CHANNEL_RC_OK) {
    log->write(Level::error, std::string("FreeRDP did not register the plugin") + inert);
    return;
  }
  (void)instance.release();  // FreeRDP's now, until it calls Terminated
}

}  // namespace
}  // namespace tillbridge::plugin

// NOLINTBEGIN(readability-identifier-naming): the name is FreeRDP's
extern "C" __attribute__((visibility("default"))) UINT VCAPITYPE
DVCPluginEntry(IDRDYNVC_ENTRY_POINTS* entry_points);

UINT VCAPITYPE DVCPluginEntry(IDRDYNVC_ENTRY_POINTS* entry_points) {
  // NOLINTEND(readability-identifier-naming)
  try {
    tillbridge::plugin::enter(entry_points);
  } catch (const std::exception& problem) {
    try {
      tillbridge::plugin::FreeRdpLog().write(
          tillbridge::plugin::Level::error,
          "cannot start: " + std::string(problem.what()) + tillbridge::plugin::inert);
    } catch (...) {
      return CHANNEL_RC_OK;
    }
  } catch (...) {
    return CHANNEL_RC_OK;
  }
  return CHANNEL_RC_OK;
}
