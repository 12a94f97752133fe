tillbridge_fuzz(rdpeusb_till SOURCES "${CMAKE_CURRENT_LIST_DIR}/rdpeusb_till_fuzz.cpp" USES tillbridge::rdpeusb)
