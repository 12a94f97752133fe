// The event loop of a process or of the plugin's I/O thread. Asio stays inside the .cpp files of
// this folder.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>

#include "channel/bytes/instant.hpp"

namespace tillbridge::transport {

/// One loop, run by one thread. Everything of this folder is created, used and destroyed on that
/// thread (or before run() / after it returned); only post() and stop() may be called from any
/// thread.
class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void run();   ///< until stop(); rethrows what a callback throws
  void stop();  ///< ends run() once the running callback returned; before run(), makes the next
                ///< run() return at once
  void post(std::function<void()> task);
  [[nodiscard]] Instant now() const;  ///< the monotonic clock
  /// Chance, as the system gives it: for names and waits. Like now(), so that a simulation decides.
  [[nodiscard]] std::uint32_t random();

  struct Impl;
  [[nodiscard]] Impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// A task of the loop's own thread: done as soon as the running callback has returned, once however
/// often it was asked for, and not any more when this is destroyed. To ask allocates nothing,
/// unlike Loop::post().
class Soon {
 public:
  Soon(Loop& loop, std::function<void()> task);
  ~Soon();
  Soon(const Soon&) = delete;
  Soon& operator=(const Soon&) = delete;
  void ask();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Calls back once at or after a point in time. Destroying or re-arming it cancels what was armed;
/// the callback may do either.
class Timer {
 public:
  explicit Timer(Loop& loop);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void arm(Instant when, std::function<void()> expired);
  void cancel();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Calls back while a file descriptor is ready: for libraries that bring their own descriptors
/// (libusb, eventfd). The descriptor stays the caller's, but is made non-blocking; it must stay
/// open until the watch is destroyed. One watch per descriptor.
class FdWatch {
 public:
  /// `events`: POLLIN and/or POLLOUT. `ready` gets the one that is ready (an error or hang-up
  /// counts as each of those watched), again and again while it lasts. It may destroy the watch.
  FdWatch(Loop& loop, int fd, short events, std::function<void(short)> ready);
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// Calls back for each of the given signals, on the loop. It may destroy the watch.
class SignalWatch {
 public:
  SignalWatch(Loop& loop, std::initializer_list<int> signals, std::function<void(int)> received);
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace tillbridge::transport
