// The transport over one channel: sequence numbers, the window of unanswered requests, acks, extended-ack text, dumps.
// Knows netlink's own protocol only (include/uapi/linux/netlink.h, net/netlink/af_netlink.c), no family but for the
// question whether a message type changes the kernel.
//
// Acks. netlink_rcv_skb() handles the messages of a datagram in order, goes on after an error, and answers a message
// without NLM_F_ACK only when it failed. So only the last message of a send asks for an ack: when that comes, every
// earlier message of the send without an error has succeeded. Exceptions, and why they do no harm:
//   - A handler that returns -EINTR is not answered at all. None of those we use does so for a write (dumps do); if it
//     happened, the next full look would find the rule missing.
//   - nfnetlink_rcv() refuses a caller without CAP_NET_ADMIN by one EPERM for the first message and reads no further:
//     see Window::refuses_whole_batch().
//   - An answer the kernel cannot queue raises ENOBUFS, which recvmsg() reports before any later answer.
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <string>

#include "base/limits.hpp"
#include "netlink/channel.hpp"
#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

// Below the send buffer of an unprivileged socket (net.core.wmem_default, 208 KiB), which bounds one datagram.
constexpr size_t kSendBytesMax = 128UL << 10U;
static_assert(limits::kMessagesPerSend <= limits::kWindowMessages);
static_assert(limits::kMessageBytesMax <= kSendBytesMax);

struct Request {
  size_t offset = 0;
  size_t size = 0;  // aligned: where the next one starts
};

struct Batch {
  size_t first = 0;
  size_t count = 0;
};

// What an NLMSG_ERROR or an NLMSG_DONE says: a positive errno, 0 for success.
struct Verdict {
  int error = 0;
  std::string text;
};

// A generic netlink type is a family's number, which says nothing: there, what goes through transact() is a write.
bool is_write(int protocol, uint16_t type) {
  if (protocol == NETLINK_ROUTE) return type >= RTM_BASE && (type & 3U) != 2;  // NEW, DEL, GET, SET in fours
  if (protocol == NETLINK_NETFILTER) {
    return NFNL_SUBSYS_ID(type) == NFNL_SUBSYS_CTNETLINK &&
           (NFNL_MSG_TYPE(type) == IPCTNL_MSG_CT_NEW || NFNL_MSG_TYPE(type) == IPCTNL_MSG_CT_DELETE);
  }
  return false;
}

// The extended-ack attributes; a kernel that garbles them still leaves us with its errno.
std::string ext_ack_text(BytesView attributes) {
  std::string text;
  std::optional<uint32_t> offset;
  (void)for_each_attr(attributes, [&](const Attr& attr) -> Result<void> {
    if (attr.type == NLMSGERR_ATTR_MSG) text = attr.string();
    if (attr.type == NLMSGERR_ATTR_OFFS) offset = attr.u32();
    return {};
  });
  if (text.empty() && offset) text = "attribute at byte " + std::to_string(*offset) + " of the request";
  return text;
}

//   nlmsghdr | int error | nlmsghdr of the request | its payload, unless NLM_F_CAPPED | TLVs, if NLM_F_ACK_TLVS
//   NLMSG_DONE of a dump:  nlmsghdr | int error | TLVs, if NLM_F_ACK_TLVS
Result<Verdict> read_verdict(const nlmsghdr& header, BytesView message) {
  int32_t error = 0;
  auto rest = read_fixed_header(message, error);
  if (!rest) {
    if (header.nlmsg_type == NLMSG_DONE) return Verdict{};  // old kernels end a dump with a bare header
    return Unexpected(rest.error());
  }
  if (error > 0 || error == INT32_MIN) return fail(Errc::protocol, "netlink answer with a positive errno");
  Verdict verdict{-error, {}};
  if (header.nlmsg_type == NLMSG_ERROR) {
    nlmsghdr request{};
    if (rest->size() < sizeof request) return fail(Errc::protocol, "netlink error without its request's header");
    std::memcpy(&request, rest->data(), sizeof request);
    const size_t echoed = (header.nlmsg_flags & NLM_F_CAPPED) != 0 ? sizeof request : NLMSG_ALIGN(request.nlmsg_len);
    *rest = rest->subspan(std::min(echoed, rest->size()));
  }
  if ((header.nlmsg_flags & NLM_F_ACK_TLVS) != 0) verdict.text = ext_ack_text(*rest);
  return verdict;
}

void mark_request(uint8_t* at, uint32_t seq, unsigned set, unsigned clear) {
  nlmsghdr header{};
  std::memcpy(&header, at, sizeof header);
  header.nlmsg_flags = static_cast<uint16_t>((header.nlmsg_flags | set) & ~clear);
  header.nlmsg_seq = seq;
  std::memcpy(at, &header, sizeof header);
}

class SocketTransport : public Transport {
 public:
  SocketTransport(std::unique_ptr<Channel> channel, const SocketOptions& options)
      : channel_(std::move(channel)), options_(options) {}

  Result<void> transact(Bytes& requests, const std::function<void(size_t, const Answer&)>& answered) override;
  Result<void> dump(Bytes request, const MessageSink& sink) override;
  Result<void> get(Bytes request, const MessageSink& sink) override;
  Result<std::string> remark(Bytes request) override;
  [[nodiscard]] uint64_t writes() const override { return writes_; }

 private:
  // Calls `visit` (whose error means that the kernel's word cannot be relied on) for the messages of the kernel's next
  // datagram that answer `count` requests from sequence number `base` on; the index within them comes along. Late
  // answers to something older are thrown away.
  using Visit = std::function<Result<void>(size_t index, const nlmsghdr&, BytesView)>;
  Result<void> receive(uint32_t base, size_t count, const Visit& visit);
  Result<uint32_t> ask(Bytes request, unsigned set, unsigned clear);
  Result<void> begin();
  Result<void> send(BytesView datagram);
  Unexpected broken(Error error);

  std::unique_ptr<Channel> channel_;
  SocketOptions options_;
  uint32_t next_seq_ = 1;
  uint64_t writes_ = 0;
  bool broken_ = false;  // an answer was lost: the next call begins with a new socket
};

// Some answers are unknown from here on.
Unexpected SocketTransport::broken(Error error) {
  broken_ = true;
  error.code = Errc::resync;
  return Unexpected(std::move(error));
}

Result<void> SocketTransport::begin() {
  if (!broken_) return {};
  auto renewed = channel_->renew();
  if (renewed) broken_ = false;
  return renewed;
}

Result<void> SocketTransport::send(BytesView datagram) {
  auto sent = channel_->send(datagram);
  if (!sent) return broken(sent.error());
  return for_each_message(datagram, [this](const nlmsghdr& header, BytesView) -> Result<void> {
    if (is_write(options_.protocol, header.nlmsg_type)) ++writes_;
    return {};
  });
}

Result<void> SocketTransport::receive(uint32_t base, size_t count, const Visit& visit) {
  const auto until = Clock::now() + options_.deadline;
  for (;;) {
    auto datagram = channel_->receive(until);
    if (!datagram) {
      Error error = datagram.error();
      if (error.sys_errno == ETIMEDOUT) error.doing = "the kernel did not answer in time";
      return broken(std::move(error));
    }
    if (datagram->sender != 0) continue;  // any process may write to our port; only the kernel is believed
    if (datagram->size > datagram->bytes.size()) {
      return broken({Errc::resync, 0, "netlink datagram of " + std::to_string(datagram->size) + " bytes was cut", {}});
    }
    bool ours = false;
    auto seen = for_each_message(datagram->bytes, [&](const nlmsghdr& header, BytesView message) -> Result<void> {
      const uint32_t index = header.nlmsg_seq - base;  // wraps as the sequence does
      if (index >= count) return {};
      ours = true;
      return visit(index, header, message);
    });
    if (!seen) return broken(seen.error());
    if (ours) return {};
  }
}

// A single request that gets a reply: checked, marked, sent. Returns its sequence number.
Result<uint32_t> SocketTransport::ask(Bytes request, unsigned set, unsigned clear) {
  if (auto header = read_nlmsghdr(request); !header) return fail(Errc::internal, header.error().doing);
  if (auto begun = begin(); !begun) return Unexpected(begun.error());
  const uint32_t seq = next_seq_++;
  mark_request(request.data(), seq, set, clear);
  if (auto sent = send(request); !sent) return Unexpected(sent.error());
  return seq;
}

Result<std::vector<Request>> split(BytesView requests) {
  std::vector<Request> found;
  size_t offset = 0;
  auto seen = for_each_message(requests, [&](const nlmsghdr& header, BytesView) -> Result<void> {
    if (header.nlmsg_len > limits::kMessageBytesMax) return fail(Errc::internal, "netlink request is too long");
    found.push_back({offset, NLMSG_ALIGN(header.nlmsg_len)});
    offset += found.back().size;
    return {};
  });
  if (!seen) return Unexpected(Error{Errc::internal, 0, seen.error().doing, {}});
  if (offset != requests.size()) return fail(Errc::internal, "last netlink request is not padded");
  return found;
}

// As many requests from `first` on as one send takes.
Batch next_batch(const std::vector<Request>& requests, size_t first) {
  Batch batch{first, 0};
  size_t bytes = 0;
  while (first + batch.count < requests.size() && batch.count < limits::kMessagesPerSend) {
    bytes += requests[first + batch.count].size;
    if (bytes > kSendBytesMax) break;
    ++batch.count;
  }
  return batch;
}

// The batches that are sent and not yet acknowledged, and what was refused in them. Hands answers out in order.
class Window {
 public:
  using Answered = std::function<void(size_t, const Answer&)>;
  Window(int protocol, const Answered& answered) : protocol_(protocol), answered_(answered) {}

  [[nodiscard]] bool empty() const { return batches_.empty(); }
  [[nodiscard]] bool has_room_for(const Batch& next) const {
    return empty() || next.first + next.count - batches_.front().first <= limits::kWindowMessages;
  }
  void add(const Batch& batch) { batches_.push_back(batch); }

  // The kernel's word on request `index`. An error means that some other answer must have been lost.
  Result<void> take(size_t index, const Verdict& verdict) {
    if (empty() || index < batches_.front().first) {
      return fail(Errc::resync, "the kernel answered request " + std::to_string(index) + " once more");
    }
    const Batch batch = batches_.front();
    const size_t last = batch.first + batch.count - 1;
    if (index > last) {
      return fail(Errc::resync, "the kernel passed over its answer to request " + std::to_string(last));
    }
    if (verdict.error != 0) refused_.insert_or_assign(index, fail_errno(verdict.error, "", verdict.text).value());
    if (refuses_whole_batch(index, verdict)) {
      for (size_t i = batch.first; i <= last; ++i) refused_.insert_or_assign(i, refused_.at(index));
    } else if (index != last) {
      return {};
    }
    batches_.pop_front();
    for (size_t i = batch.first; i <= last; ++i) {
      const auto found = refused_.find(i);
      answered_(i, found == refused_.end() ? Answer{} : Answer{Unexpected(found->second)});
    }
    refused_.clear();
    return {};
  }

 private:
  // nfnetlink_rcv(): without CAP_NET_ADMIN one EPERM for the first message stands for the datagram.
  [[nodiscard]] bool refuses_whole_batch(size_t index, const Verdict& verdict) const {
    return protocol_ == NETLINK_NETFILTER && verdict.error == EPERM && index == batches_.front().first;
  }

  int protocol_;
  const Answered& answered_;
  std::deque<Batch> batches_;
  std::map<size_t, Error> refused_;  // of the first batch, by index
};

Result<void> SocketTransport::transact(Bytes& requests, const std::function<void(size_t, const Answer&)>& answered) {
  auto found = split(requests);
  if (!found) return Unexpected(found.error());
  const std::vector<Request>& all = *found;
  if (auto begun = begin(); !begun) return begun;
  const uint32_t base = next_seq_;
  next_seq_ += static_cast<uint32_t>(all.size());

  Window window(options_.protocol, answered);
  size_t sent = 0;
  while (sent < all.size() || !window.empty()) {
    for (Batch batch = next_batch(all, sent); batch.count != 0 && window.has_room_for(batch);
         batch = next_batch(all, sent)) {
      for (size_t i = batch.first; i < batch.first + batch.count; ++i) {
        const bool last = i + 1 == batch.first + batch.count;
        mark_request(requests.data() + all[i].offset, base + static_cast<uint32_t>(i),
                     NLM_F_REQUEST | (last ? NLM_F_ACK : 0), last ? 0 : NLM_F_ACK);
      }
      const size_t from = all[batch.first].offset;
      const Request& last = all[batch.first + batch.count - 1];
      if (auto done = send(BytesView(requests).subspan(from, last.offset + last.size - from)); !done) return done;
      window.add(batch);
      sent += batch.count;
      if (options_.protocol == NETLINK_GENERIC) writes_ += batch.count;
    }
    auto received = receive(base, all.size(), [&](size_t index, const nlmsghdr& header, BytesView message) {
      if (header.nlmsg_type != NLMSG_ERROR) return Result<void>{};  // an echo nobody asked to see
      auto verdict = read_verdict(header, message);
      return verdict ? window.take(index, *verdict) : Unexpected(verdict.error());
    });
    if (!received) return received;
  }
  return {};
}

Result<void> SocketTransport::dump(Bytes request, const MessageSink& sink) {
  auto seq = ask(std::move(request), NLM_F_REQUEST | NLM_F_DUMP, NLM_F_ACK);
  if (!seq) return Unexpected(seq.error());

  bool done = false;
  bool interrupted = false;
  Result<void> outcome;  // the first thing that went wrong; the rest is drained, so that the socket stays usable
  auto note = [&outcome](Result<void> next) {
    if (outcome && !next) outcome = std::move(next);
  };
  while (!done) {
    auto received = receive(*seq, 1, [&](size_t, const nlmsghdr& header, BytesView message) -> Result<void> {
      if (done) return {};
      if ((header.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
      if (header.nlmsg_type != NLMSG_DONE && header.nlmsg_type != NLMSG_ERROR) {
        if (outcome && !interrupted) note(sink(message));
        return {};
      }
      done = true;
      auto verdict = read_verdict(header, message);
      if (!verdict) return Unexpected(verdict.error());
      if (verdict->error != 0) note(fail_errno(verdict->error, "dump", verdict->text));
      return {};
    });
    if (!received) return received;
  }
  if (outcome && interrupted) return fail(Errc::resync, "the kernel's tables changed while they were read");
  return outcome;
}

Result<void> SocketTransport::get(Bytes request, const MessageSink& sink) {
  auto seq = ask(std::move(request), NLM_F_REQUEST | NLM_F_ACK, 0);
  if (!seq) return Unexpected(seq.error());

  bool done = false;
  Result<void> outcome;
  while (!done) {
    auto received = receive(*seq, 1, [&](size_t, const nlmsghdr& header, BytesView message) -> Result<void> {
      if (done) return {};
      if (header.nlmsg_type != NLMSG_ERROR) {
        if (outcome && header.nlmsg_type != NLMSG_DONE) outcome = sink(message);
        return {};
      }
      done = true;
      auto verdict = read_verdict(header, message);
      if (!verdict) return Unexpected(verdict.error());
      if (verdict->error != 0) outcome = fail_errno(verdict->error, "", verdict->text);
      return {};
    });
    if (!received) return received;
  }
  return outcome;
}

Result<std::string> SocketTransport::remark(Bytes request) {
  auto seq = ask(std::move(request), NLM_F_REQUEST | NLM_F_ACK, 0);
  if (!seq) return Unexpected(seq.error());

  std::optional<Result<std::string>> outcome;
  while (!outcome) {
    auto received = receive(*seq, 1, [&](size_t, const nlmsghdr& header, BytesView message) -> Result<void> {
      if (header.nlmsg_type != NLMSG_ERROR) return {};  // an echo nobody asked to see
      auto verdict = read_verdict(header, message);
      if (!verdict) return Unexpected(verdict.error());
      if (verdict->error != 0)
        outcome = fail_errno(verdict->error, "", verdict->text);
      else
        outcome = std::move(verdict->text);
      return {};
    });
    if (!received) return Unexpected(received.error());
  }
  return std::move(*outcome);
}

}  // namespace

std::unique_ptr<Transport> make_transport(std::unique_ptr<Channel> channel, const SocketOptions& options) {
  return std::make_unique<SocketTransport>(std::move(channel), options);
}

Result<std::unique_ptr<Transport>> open_transport(const SocketOptions& options) {
  auto channel = open_channel(options.protocol);
  if (!channel) return Unexpected(channel.error());
  return make_transport(std::move(*channel), options);
}

}  // namespace sepal::netlink
