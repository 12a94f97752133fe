tillbridge_fuzz(simulator_cryptovision_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/simulator_cryptovision_fuzz.cpp" USES tillbridge::simulator)
