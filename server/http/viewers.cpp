#include "server/http/viewers.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "server/http/limits.hpp"
#include "server/http/secrets.hpp"

namespace tillbridge::http {

namespace {

constexpr auto sweep_every = std::chrono::seconds(2);

/// The viewer's thread has this: when it leaves, the viewer is over.
class Seat final : public admin::Download {
 public:
  explicit Seat(std::shared_ptr<Outflow> flow) : flow_(std::move(flow)) {}
  ~Seat() override { flow_->cut(); }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;
  [[nodiscard]] std::optional<std::string> next(std::chrono::milliseconds patience) override {
    return flow_->next(patience);
  }

 private:
  std::shared_ptr<Outflow> flow_;
};

}  // namespace

Viewers::Viewers(transport::Loop& loop, admin::EventHub& events, Logins& logins)
    : loop_(loop),
      events_(events),
      logins_(logins),
      run_(random_token().substr(0, 8)),
      sweeping_(loop) {}

std::string Viewers::text(const admin::Event& event) const {
  return "id: " + run_ + "." + std::to_string(event.id) + "\nevent: " + event.type +
         "\ndata: " + event.data + "\n\n";
}

admin::Reply Viewers::begin(const std::string& last, const std::string& address,
                            const std::optional<store::Digest>& session) {
  sweep();
  const auto same = std::count_if(viewers_.begin(), viewers_.end(),
                                  [&](const Viewer& viewer) { return viewer.address == address; });
  if (viewers_.size() >= limits::streams ||
      static_cast<std::size_t>(same) >= limits::streams_per_address) {
    return admin::reply_to({429, "too_many_viewers", "too many viewers look at this server",
                            "close pages that nobody looks at"});
  }
  auto flow = std::make_shared<Outflow>(limits::stream_queue_bytes, ":\n\n");
  // A browser that lost the connection comes again after this many milliseconds.
  flow->push("retry: 2000\n\n");
  if (!last.empty()) {
    const std::size_t dot = last.find('.');
    std::optional<std::vector<admin::Event>> missed;
    if (dot != std::string::npos && last.substr(0, dot) == run_ && last.size() - dot < 19 &&
        last.find_first_not_of("0123456789", dot + 1) == std::string::npos &&
        last.size() > dot + 1) {
      missed = events_.since(std::stoull(last.substr(dot + 1)));
    }
    if (missed) {
      for (const admin::Event& event : *missed) flow->push(text(event));
    } else {
      flow->push("event: reload\ndata: {}\n\n");
    }
  }
  Viewer& viewer = viewers_.emplace_back();
  viewer.flow = flow;
  viewer.address = address;
  viewer.session = session;
  viewer.subscription =
      events_.subscribe([this, flow](const admin::Event& event) { (void)flow->push(text(event)); });
  if (viewers_.size() == 1) {
    sweeping_.arm(loop_.now() + sweep_every, [this] { sweep(); });
  }
  admin::Reply reply;
  reply.content_type = "text/event-stream";
  reply.download = std::make_shared<Seat>(std::move(flow));
  return reply;
}

void Viewers::sweep() {
  for (Viewer& viewer : viewers_) {
    if (viewer.session && !logins_.still(*viewer.session)) viewer.flow->cut();
  }
  viewers_.remove_if([](const Viewer& viewer) { return viewer.flow->over(); });
  if (viewers_.empty()) {
    sweeping_.cancel();
  } else {
    sweeping_.arm(loop_.now() + sweep_every, [this] { sweep(); });
  }
}

void Viewers::cut_all() {
  for (Viewer& viewer : viewers_) viewer.flow->cut();
  viewers_.clear();
  sweeping_.cancel();
}

}  // namespace tillbridge::http
