find_package(nlohmann_json REQUIRED)
tillbridge_fuzz(admin_request SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/admin_request_fuzz.cpp" USES tillbridge::admin nlohmann_json::nlohmann_json)
