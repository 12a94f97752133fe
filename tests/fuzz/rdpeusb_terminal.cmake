tillbridge_fuzz(rdpeusb_terminal SOURCES rdpeusb_terminal_fuzz.cpp USES tillbridge::rdpeusb)
