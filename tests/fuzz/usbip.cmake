tillbridge_fuzz(usbip_exporter SOURCES "${CMAKE_CURRENT_LIST_DIR}/usbip_exporter_fuzz.cpp" USES tillbridge::usbip)
tillbridge_fuzz(usbip_importer SOURCES "${CMAKE_CURRENT_LIST_DIR}/usbip_importer_fuzz.cpp" USES tillbridge::usbip)
