tillbridge_fuzz(pos_stick
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/pos_stick_fuzz.cpp" USES tillbridge::pos)
