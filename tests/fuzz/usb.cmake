tillbridge_fuzz(usb_descriptors SOURCES "${CMAKE_CURRENT_LIST_DIR}/usb_descriptors_fuzz.cpp" USES tillbridge::usb)
