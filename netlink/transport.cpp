// What can be said with the transport's first three verbs alone, over a socket as over a fake.
#include "netlink/transport.hpp"

namespace sepal::netlink {

namespace {

constexpr int kDumpAttempts = 5;

// Has arrived when it starts.
class Arrived : public Flight {
 public:
  Arrived(Transport& transport, Bytes requests) {
    outcome_ = transport.transact(requests, [this](size_t, const Answer& answer) { answers_.push_back(answer); });
  }
  Result<void> finish(const Answered& answered) override {
    for (size_t i = 0; i < answers_.size(); ++i) answered(i, answers_[i]);
    return outcome_;
  }

 private:
  std::vector<Answer> answers_;
  Result<void> outcome_;
};

}  // namespace

std::unique_ptr<Flight> Transport::start(Bytes requests) {
  return std::make_unique<Arrived>(*this, std::move(requests));
}

Result<void> transact_one(Transport& transport, Bytes request) {
  Result<void> outcome = fail(Errc::internal, "not one netlink request");
  auto done = transport.transact(request, [&outcome](size_t, const Answer& answer) { outcome = answer; });
  return done ? outcome : done;
}

Result<std::string> Transport::remark(Bytes request) {
  if (auto done = transact_one(*this, std::move(request)); !done) return Unexpected(done.error());
  return std::string();
}

Result<void> dump_whole(Transport& transport, const Bytes& request, const std::function<void()>& restart,
                        const MessageSink& sink) {
  for (int attempt = 1;; ++attempt) {
    restart();
    auto done = transport.dump(request, sink);
    if (done || done.error().code != Errc::resync || attempt == kDumpAttempts) return done;
  }
}

}  // namespace sepal::netlink
