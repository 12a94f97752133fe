#include "server/operations/alert.hpp"

#include <utility>

#include "server/admin/documents.hpp"

namespace tillbridge::operations {

namespace {

using Entry = std::pair<const char*, std::string>;

std::vector<Entry> entries(const Alert& alert) {
  return {{"event", alert.raised ? "raised" : "cleared"},
          {"server", alert.server},
          {"kind", alert.alarm.kind},
          {"id", alert.alarm.id},
          {"stick", alert.alarm.stick},
          {"till", alert.alarm.till},
          {"text", alert.alarm.text},
          {"remedy", alert.raised ? alert.alarm.remedy : ""},
          {"since", admin::rfc3339(alert.alarm.since)},
          {"time", admin::rfc3339(alert.when)}};
}

}  // namespace

std::string json(const Alert& alert) {
  admin::Json object = admin::Json::object();
  for (auto& [key, value] : entries(alert)) object[key] = value;
  object["lost"] = alert.lost;
  return admin::dump(object);
}

std::vector<std::string> environment(const Alert& alert) {
  std::vector<std::string> all;
  for (const auto& [key, value] : entries(alert)) {
    std::string text = "TILLBRIDGE_";
    for (const char* letter = key; *letter != '\0'; ++letter) {
      text += static_cast<char>(*letter - 'a' + 'A');
    }
    text += '=';
    for (const char character : value) {
      if (character != '\0') text += character;
    }
    all.push_back(std::move(text));
  }
  all.push_back("TILLBRIDGE_LOST=" + std::to_string(alert.lost));
  return all;
}

}  // namespace tillbridge::operations
