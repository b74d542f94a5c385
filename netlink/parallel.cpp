// Writes over several sockets at once. Each socket has a thread that sends what it is given, one span of requests after
// another, and sees only bytes. A transact() is cut into one contiguous span per socket (neighbours share device and
// chain, hence locks); a flight is one span. Adding a flower filter to a clsact block takes no RTNL when TCA_KIND is
// named (net/sched/cls_api.c, tc_new_tfilter), so the threads really run side by side.
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "base/limits.hpp"
#include "netlink/channel.hpp"
#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

// Below this another thread costs more than it brings.
constexpr size_t kSpanMessagesMin = 2 * limits::kMessagesPerSend;

struct Span {
  Bytes requests;
  size_t first = 0;                 // index of its first request in the whole call
  size_t known = 0;                 // answers received: a prefix, for a transport answers in order
  std::map<size_t, Error> refused;  // by index in the whole call
  Result<void> outcome;
  std::promise<void> done;

  void run(Transport& transport) {
    outcome = transport.transact(requests, [this](size_t i, const Answer& answer) {
      if (!answer) refused.emplace(first + i, answer.error());
      known = i + 1;
    });
  }
  void tell(const Answered& answered) const {
    for (size_t i = first; i < first + known; ++i) {
      const auto found = refused.find(i);
      answered(i, found == refused.end() ? Answer{} : Answer{Unexpected(found->second)});
    }
  }
};

// A socket and its thread, which lives from the first span on. Everything but the spans' bytes and answers stays with
// the caller's thread.
class Writer {
 public:
  explicit Writer(std::unique_ptr<Transport> transport) : transport_(std::move(transport)) {}
  ~Writer() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // `span` is borrowed until its promise is kept.
  void add(Span& span) {
    {
      const std::lock_guard lock(mutex_);
      queued_.push_back(&span);
      waiting_bytes_ += span.requests.size();
      if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    }
    changed_.notify_all();
  }
  [[nodiscard]] size_t waiting_bytes() {
    const std::lock_guard lock(mutex_);
    return waiting_bytes_;
  }
  // The socket itself, when its thread has nothing to do: nobody but the caller could give it anything.
  Transport& idle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_bytes_ == 0; });
    return *transport_;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ending_ || !queued_.empty(); });
      if (queued_.empty()) return;
      Span& span = *queued_.front();
      queued_.pop_front();
      const size_t bytes = span.requests.size();
      lock.unlock();
      span.run(*transport_);
      lock.lock();
      waiting_bytes_ -= bytes;
      span.done.set_value();  // the span is its owner's again
      changed_.notify_all();
    }
  }

  std::unique_ptr<Transport> transport_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Span*> queued_;
  size_t waiting_bytes_ = 0;  // of what is queued and of what is being sent
  bool ending_ = false;
  std::thread thread_;
};

class SpanFlight : public Flight {
 public:
  SpanFlight(Writer& writer, Bytes requests) {
    span_.requests = std::move(requests);
    done_ = span_.done.get_future();
    writer.add(span_);
  }
  ~SpanFlight() override {
    if (done_.valid()) done_.wait();
  }
  Result<void> finish(const Answered& answered) override {
    done_.get();
    span_.tell(answered);
    return std::move(span_.outcome);
  }

 private:
  Span span_;
  std::future<void> done_;
};

class ParallelTransport : public Transport {
 public:
  explicit ParallelTransport(std::vector<std::unique_ptr<Transport>> members) {
    for (auto& member : members) writers_.push_back(std::make_unique<Writer>(std::move(member)));
  }

  Result<void> transact(Bytes& requests, const Answered& answered) override {
    auto spans = cut(requests);
    if (!spans) return Unexpected(spans.error());
    if (spans->size() <= 1) return front().transact(requests, answered);

    std::vector<std::future<void>> done;
    for (size_t i = 0; i < spans->size(); ++i) {
      done.push_back((*spans)[i].done.get_future());
      writers_[i]->add((*spans)[i]);
    }
    for (auto& each : done) each.wait();

    Result<void> outcome;
    for (Span& span : *spans) {
      span.tell(answered);
      if (outcome && !span.outcome) outcome = std::move(span.outcome);
    }
    return outcome;
  }

  std::unique_ptr<Flight> start(Bytes requests) override {
    if (requests.empty() || writers_.size() == 1) return Transport::start(std::move(requests));
    const auto least = std::min_element(writers_.begin(), writers_.end(), [](const auto& a, const auto& b) {
      return a->waiting_bytes() < b->waiting_bytes();
    });
    return std::make_unique<SpanFlight>(**least, std::move(requests));
  }

  Result<void> dump(Bytes request, const MessageSink& sink) override { return front().dump(std::move(request), sink); }
  Result<void> get(Bytes request, const MessageSink& sink) override { return front().get(std::move(request), sink); }
  Result<std::string> remark(Bytes request) override { return front().remark(std::move(request)); }
  [[nodiscard]] uint64_t writes() const override {
    uint64_t sum = 0;
    for (const auto& writer : writers_) sum += writer->idle().writes();
    return sum;
  }

 private:
  [[nodiscard]] Transport& front() const { return writers_.front()->idle(); }

  // Equal numbers of messages per span, in order. One span at most means: not worth cutting (nothing is copied then).
  [[nodiscard]] Result<std::deque<Span>> cut(BytesView requests) const {
    std::vector<size_t> offsets;
    size_t offset = 0;
    auto seen = for_each_message(requests, [&](const nlmsghdr& header, BytesView) -> Result<void> {
      offsets.push_back(offset);
      offset += NLMSG_ALIGN(header.nlmsg_len);
      return {};
    });
    if (!seen) return Unexpected(Error{Errc::internal, 0, seen.error().doing, {}});
    if (offset != requests.size()) return fail(Errc::internal, "last netlink request is not padded");

    std::deque<Span> spans;
    const size_t count = std::clamp<size_t>(offsets.size() / kSpanMessagesMin, 1, writers_.size());
    if (count == 1) return spans;
    offsets.push_back(requests.size());
    const size_t messages = offsets.size() - 1;
    for (size_t i = 0; i < count; ++i) {
      Span& span = spans.emplace_back();
      span.first = messages * i / count;
      const auto part =
          requests.subspan(offsets[span.first], offsets[messages * (i + 1) / count] - offsets[span.first]);
      span.requests.assign(part.begin(), part.end());
    }
    return spans;
  }

  std::vector<std::unique_ptr<Writer>> writers_;
};

}  // namespace

std::unique_ptr<Transport> make_parallel_transport(std::vector<std::unique_ptr<Transport>> members) {
  return std::make_unique<ParallelTransport>(std::move(members));
}

Result<std::unique_ptr<Transport>> open_parallel_transport(const SocketOptions& options, unsigned sockets) {
  std::vector<std::unique_ptr<Transport>> members;
  for (unsigned i = 0; i < std::max(sockets, 1U); ++i) {
    auto member = open_transport(options);
    if (!member) return Unexpected(member.error());
    members.push_back(std::move(*member));
  }
  return make_parallel_transport(std::move(members));
}

}  // namespace sepal::netlink
