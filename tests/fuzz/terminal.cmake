# The guard alone: the fuzz program needs no FreeRDP.
tillbridge_fuzz(terminal_dvc_guard
  SOURCES "${CMAKE_CURRENT_LIST_DIR}/terminal_dvc_guard_fuzz.cpp"
          "${CMAKE_CURRENT_LIST_DIR}/../../server/terminal/rdp/dvc_guard.cpp"
  USES tillbridge::bytes)
