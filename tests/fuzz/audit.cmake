if(TARGET tillbridge::audit)
  tillbridge_fuzz(audit_line SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/audit_line_fuzz.cpp" USES tillbridge::audit)
endif()
