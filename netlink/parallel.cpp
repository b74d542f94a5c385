// Writes over several sockets at once: a call's requests are cut into one contiguous span per socket (neighbours share
// device and chain, hence locks), and each span is sent by a thread of its own that sees only bytes. Adding a flower
// filter to a clsact block takes no RTNL when TCA_KIND is named (net/sched/cls_api.c, tc_new_tfilter), so the threads
// really run side by side.
#include <algorithm>
#include <map>
#include <thread>

#include "base/limits.hpp"
#include "netlink/channel.hpp"
#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

// Below this a thread costs more than it brings.
constexpr size_t kSpanMessagesMin = 2 * limits::kMessagesPerSend;

struct Span {
  Bytes requests;
  size_t first = 0;                 // index of its first request in the whole call
  size_t known = 0;                 // answers received: a prefix, for a transport answers in order
  std::map<size_t, Error> refused;  // by index in the whole call
  Result<void> outcome;
};

void run(Transport& transport, Span& span) {
  span.outcome = transport.transact(span.requests, [&span](size_t i, const Answer& answer) {
    if (!answer) span.refused.emplace(span.first + i, answer.error());
    span.known = i + 1;
  });
}

class ParallelTransport : public Transport {
 public:
  explicit ParallelTransport(std::vector<std::unique_ptr<Transport>> members) : members_(std::move(members)) {}

  Result<void> transact(Bytes& requests, const std::function<void(size_t, const Answer&)>& answered) override {
    auto spans = cut(requests);
    if (!spans) return Unexpected(spans.error());
    if (spans->size() <= 1) return members_.front()->transact(requests, answered);

    std::vector<std::thread> threads;
    for (size_t i = 1; i < spans->size(); ++i) {
      threads.emplace_back([&transport = *members_[i], &span = (*spans)[i]] { run(transport, span); });
    }
    run(*members_.front(), spans->front());
    for (std::thread& thread : threads) thread.join();

    Result<void> outcome;
    for (Span& span : *spans) {
      for (size_t i = span.first; i < span.first + span.known; ++i) {
        const auto found = span.refused.find(i);
        answered(i, found == span.refused.end() ? Answer{} : Answer{Unexpected(found->second)});
      }
      if (outcome && !span.outcome) outcome = std::move(span.outcome);
    }
    return outcome;
  }

  Result<void> dump(Bytes request, const MessageSink& sink) override {
    return members_.front()->dump(std::move(request), sink);
  }
  Result<void> get(Bytes request, const MessageSink& sink) override {
    return members_.front()->get(std::move(request), sink);
  }
  Result<std::string> remark(Bytes request) override { return members_.front()->remark(std::move(request)); }
  [[nodiscard]] uint64_t writes() const override {
    uint64_t sum = 0;
    for (const auto& member : members_) sum += member->writes();
    return sum;
  }

 private:
  // Equal numbers of messages per span, in order. One span at most means: not worth cutting (nothing is copied then).
  [[nodiscard]] Result<std::vector<Span>> cut(BytesView requests) const {
    std::vector<size_t> offsets;
    size_t offset = 0;
    auto seen = for_each_message(requests, [&](const nlmsghdr& header, BytesView) -> Result<void> {
      offsets.push_back(offset);
      offset += NLMSG_ALIGN(header.nlmsg_len);
      return {};
    });
    if (!seen) return Unexpected(Error{Errc::internal, 0, seen.error().doing, {}});
    if (offset != requests.size()) return fail(Errc::internal, "last netlink request is not padded");

    std::vector<Span> spans;
    const size_t count = std::clamp<size_t>(offsets.size() / kSpanMessagesMin, 1, members_.size());
    if (count == 1) return spans;
    offsets.push_back(requests.size());
    const size_t messages = offsets.size() - 1;
    for (size_t i = 0; i < count; ++i) {
      const size_t first = messages * i / count;
      const BytesView part = requests.subspan(offsets[first], offsets[messages * (i + 1) / count] - offsets[first]);
      spans.push_back({Bytes(part.begin(), part.end()), first, 0, {}, {}});
    }
    return spans;
  }

  std::vector<std::unique_ptr<Transport>> members_;
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
