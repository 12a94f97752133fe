tillbridge_fuzz(tse_swissbit_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/tse_swissbit_fuzz.cpp" USES tillbridge::tse_swissbit)
tillbridge_fuzz(simulator_swissbit_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/simulator_swissbit_fuzz.cpp" USES tillbridge::simulator)
