#include "tests/simulation/outcome.hpp"

namespace tillbridge::simulation {

void Outcome::add(const Outcome& other) {
  sticks += other.sticks;
  tills += other.tills;
  receipts += other.receipts;
  verified += other.verified;
  failed += other.failed;
  unknown += other.unknown;
  cuts += other.cuts;
  holes += other.holes;
  till_deaths += other.till_deaths;
  server_deaths += other.server_deaths;
  restarts += other.restarts;
  pulls += other.pulls;
  connections += other.connections;
  resumed += other.resumed;
  continued += other.continued;
  handed_over += other.handed_over;
  arrivals += other.arrivals;
  departures += other.departures;
  transfers += other.transfers;
  lost += other.lost;
  command_ends += other.command_ends;
  signatures += other.signatures;
  virtual_ms += other.virtual_ms;
}

}  // namespace tillbridge::simulation
