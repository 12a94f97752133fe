#include "plugin/worker.hpp"

#include <csignal>
#include <exception>
#include <utility>

#include <pthread.h>

#include "channel/bytes/limits.hpp"

namespace tillbridge::plugin {
namespace {

/// What a queued message costs besides its own bytes, so that a flood of empty ones meets the limit
/// as well.
constexpr std::size_t message_overhead_bytes = 256;

/// Signals are the business of the program that FreeRDP runs in: our thread takes none.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

Worker::Worker(std::shared_ptr<Log> log)
    : log_(std::move(log)), loop_(std::make_unique<transport::Loop>()) {}

Result<std::shared_ptr<Worker>> Worker::start(const Configuration& configuration,
                                              SessionFacts facts, std::shared_ptr<Log> log) {
  auto worker = std::make_shared<Worker>(std::move(log));
  auto uplink = make_uplink(*worker->loop_, configuration, std::move(facts), *worker->log_);
  if (!uplink) return uplink.error();
  worker->session_ = std::make_unique<Session>(*worker->loop_, std::move(uplink).value(),
                                               static_cast<Channels&>(*worker), *worker->log_);
  const SignalsBlocked blocked;
  // The thread keeps its worker: one that does not end in time is left behind rather than pulled
  // from under it.
  worker->thread_ = std::thread([worker] { worker->run(); });
  return worker;
}

void Worker::opened(ChannelId id, std::shared_ptr<RdpChannel> channel) {
  post([this, id, channel = std::move(channel)] {
    channels_.emplace(id, channel);
    session_->channel_opened(id);
  });
}

bool Worker::received(ChannelId id, ByteView message) {
  const std::size_t cost = message.size() + message_overhead_bytes;
  if (failed_) return false;
  if (queued_bytes_ + cost > limits::plugin_queued_bytes) {
    log_->write(Level::error,
                "the terminal server sends faster than this till can take; closing its channel");
    return false;
  }
  queued_bytes_ += cost;
  post([this, id, cost, copy = Bytes(message.begin(), message.end())] {
    queued_bytes_ -= cost;
    if (channels_.count(id) != 0) session_->receive(id, copy);
  });
  return true;
}

void Worker::closed(ChannelId id) {
  post([this, id] { ended(id); });
}

/// Comes a second time for a channel that our own thread closed.
void Worker::ended(ChannelId id) {
  const bool was_open = channels_.erase(id) != 0;
  const bool was_closing = closing_.erase(id) != 0;
  if (was_open || was_closing) session_->channel_closed(id);
}

void Worker::stop() {
  {
    const std::lock_guard guard(mutex_);
    stop_wanted_ = true;
  }
  changed_.notify_all();
  post([this] { session_->stop([this] { loop_->stop(); }); });
  std::unique_lock lock(mutex_);
  const bool finished = changed_.wait_for(lock, stop_limit, [this] { return finished_; });
  lock.unlock();
  if (finished) {
    thread_.join();
  } else {
    log_->write(Level::warning,
                "the connection to the USB server does not end in time; leaving it behind");
    thread_.detach();
  }
}

void Worker::post(std::function<void()> task) {
  const std::lock_guard guard(mutex_);
  if (loop_) loop_->post(std::move(task));
}

void Worker::run() {
  pthread_setname_np(pthread_self(), "tillbridge");
  try {
    session_->start();
    loop_->run();
  } catch (const std::exception& problem) {
    give_up(problem.what());
  } catch (...) {
    give_up("an exception of unknown kind");
  }
  session_.reset();
  closing_.clear();
  channels_.clear();
  // Closing the loop may wait for the resolver of the system; that is why stop() waits for
  // `finished_`.
  std::unique_ptr<transport::Loop> loop;
  {
    const std::lock_guard guard(mutex_);
    loop = std::move(loop_);
  }
  loop.reset();
  {
    const std::lock_guard guard(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
}

void Worker::give_up(const char* what) {
  failed_ = true;
  log_->write(Level::error,
              "internal error: " + std::string(what) +
                  "; the sticks of this till are out of use until the RDP session is opened anew");
  for (const auto& [id, channel] : channels_) channel->want_close();
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, close_patience, [this] { return stop_wanted_; });
  lock.unlock();
  for (const auto& [id, channel] : channels_) channel->close();
  for (const auto& [id, closing] : closing_) closing.channel->close();
  lock.lock();
  changed_.wait(lock, [this] { return stop_wanted_; });
}

void Worker::send(ChannelId id, Bytes message) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return;
  // `closed` needs nothing done: the news of it is in the queue.
  if (found->second->write(message) != RdpChannel::Written::failed) return;
  log_->write(Level::warning,
              "FreeRDP did not take a message for the terminal server; closing the channel");
  close(id);
}

void Worker::close(ChannelId id) {
  const auto found = channels_.find(id);
  if (found == channels_.end()) return;
  const std::shared_ptr<RdpChannel> channel = std::move(found->second);
  channels_.erase(found);
  channel->want_close();
  auto timer = std::make_unique<transport::Timer>(*loop_);
  timer->arm(loop_->now() + close_patience, [this, id, channel] {
    channel->close();
    ended(id);
  });
  closing_.emplace(id, Closing{channel, std::move(timer)});
}

}  // namespace tillbridge::plugin
