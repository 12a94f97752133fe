tillbridge_fuzz(tse_log_message
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/tse_log_message_fuzz.cpp" USES tillbridge::tse_evidence)
tillbridge_fuzz(tse_archive
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/tse_archive_fuzz.cpp" USES tillbridge::tse_evidence)
tillbridge_fuzz(tse_receipt
  SOURCES "${CMAKE_CURRENT_SOURCE_DIR}/tse_receipt_fuzz.cpp" USES tillbridge::tse_evidence)
