tillbridge_fuzz(link_endpoint SOURCES link_endpoint_fuzz.cpp USES tillbridge::link)
tillbridge_fuzz(link_control_message SOURCES link_control_message_fuzz.cpp USES tillbridge::link)
