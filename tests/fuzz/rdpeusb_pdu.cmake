tillbridge_fuzz(rdpeusb_pdu SOURCES rdpeusb_pdu_fuzz.cpp USES tillbridge::rdpeusb)
