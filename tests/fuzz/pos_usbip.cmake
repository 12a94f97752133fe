tillbridge_fuzz(pos_fat_volume
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/pos_fat_volume_fuzz.cpp" USES tillbridge::pos)
