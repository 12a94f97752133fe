tillbridge_fuzz(tse_cryptovision_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/tse_cryptovision_fuzz.cpp" USES tillbridge::tse_cryptovision)
