tillbridge_fuzz(pairing_message SOURCES "${CMAKE_CURRENT_LIST_DIR}/pairing_message_fuzz.cpp" USES tillbridge::authority)
