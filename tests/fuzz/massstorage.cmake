tillbridge_fuzz(massstorage_blocks_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/massstorage_blocks_fuzz.cpp" USES tillbridge::massstorage)
tillbridge_fuzz(massstorage_host_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/massstorage_host_fuzz.cpp" USES tillbridge::massstorage)
tillbridge_fuzz(massstorage_pipeline_fuzz
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/massstorage_pipeline_fuzz.cpp"
  USES tillbridge::massstorage tillbridge::simulator)
