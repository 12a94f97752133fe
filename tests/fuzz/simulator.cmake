tillbridge_fuzz(simulator_stick_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/simulator_stick_fuzz.cpp" USES tillbridge::simulator)
tillbridge_fuzz(simulator_serial_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/simulator_serial_fuzz.cpp" USES tillbridge::simulator)
