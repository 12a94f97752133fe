#include "server/simulator/serial_echo.hpp"

#include "channel/bytes/limits.hpp"

namespace tillbridge::simulator {

std::size_t SerialEcho::input_room() const {
  return limits::simulated_serial_buffer_bytes - output_bytes();
}

}  // namespace tillbridge::simulator
