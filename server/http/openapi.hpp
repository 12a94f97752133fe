// The API's description (OpenAPI 3.1), as it is in openapi.json beside this.
#pragma once

#include <string_view>

namespace tillbridge::http {

[[nodiscard]] std::string_view openapi_document();

}  // namespace tillbridge::http
