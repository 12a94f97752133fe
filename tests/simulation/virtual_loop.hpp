// What World and the virtual loop share.
#pragma once

#include <functional>

#include "channel/bytes/queue.hpp"
#include "tests/simulation/world.hpp"

namespace tillbridge::transport {

struct Loop::Impl {
  explicit Impl(simulation::World& its_world) : world(its_world) { world.add(*this); }
  ~Impl() { world.remove(*this); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  Impl(Impl&&) = delete;
  Impl& operator=(Impl&&) = delete;

  simulation::World& world;
  Queue<std::function<void()>> ready;  ///< what was posted
  bool stopped = false;
};

}  // namespace tillbridge::transport
