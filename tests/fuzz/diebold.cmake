tillbridge_fuzz(tse_diebold SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/tse_diebold_fuzz.cpp" USES tillbridge::tse_diebold)
tillbridge_fuzz(simulator_diebold SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/simulator_diebold_fuzz.cpp" USES tillbridge::simulator)
