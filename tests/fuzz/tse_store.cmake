tillbridge_fuzz(tse_store_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/tse_store_fuzz.cpp" USES tillbridge::simulator)
