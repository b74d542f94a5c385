// The datagrams of a kernel: acks, errors with their extended-ack attributes, ends of dumps. Laid out by hand with
// memcpy, not through MessageBuilder: the fake must not share a fault with what it tests.
#include "tests/support/fake_channel.hpp"

#include <linux/netlink.h>

#include <cerrno>
#include <cstring>

namespace sepal::test {
namespace {

using netlink::Bytes;
using netlink::BytesView;

void append(Bytes& to, const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  to.insert(to.end(), bytes, bytes + size);
}

void append_ext_ack(Bytes& to, std::string_view text) {
  const nlattr header{static_cast<uint16_t>(NLA_HDRLEN + text.size() + 1), NLMSGERR_ATTR_MSG};
  append(to, &header, sizeof header);
  append(to, text.data(), text.size());
  to.push_back(0);
  to.resize(NLMSG_ALIGN(to.size()));
}

nlmsghdr header_of(BytesView message) {
  nlmsghdr header{};
  std::memcpy(&header, message.data(), sizeof header);
  return header;
}

}  // namespace

Bytes plain_message(uint16_t type, uint16_t flags, uint32_t seq, BytesView payload) {
  const nlmsghdr header{static_cast<uint32_t>(NLMSG_HDRLEN + payload.size()), type, flags, seq, 4242};
  Bytes message;
  append(message, &header, sizeof header);
  append(message, payload.data(), payload.size());
  return message;
}

Bytes ack_message(const nlmsghdr& request) {
  Bytes payload;
  const int32_t error = 0;
  append(payload, &error, sizeof error);
  append(payload, &request, sizeof request);
  return plain_message(NLMSG_ERROR, NLM_F_CAPPED, request.nlmsg_seq, payload);
}

Bytes error_message(BytesView request, const FakeChannel::Refusal& refusal) {
  const nlmsghdr header = header_of(request);
  Bytes payload;
  const int32_t error = -refusal.error;
  append(payload, &error, sizeof error);
  append(payload, request.data(), refusal.capped ? sizeof header : request.size());
  payload.resize(NLMSG_ALIGN(payload.size()));
  auto flags = static_cast<uint16_t>(refusal.capped ? NLM_F_CAPPED : 0);
  if (!refusal.ext_ack.empty()) {
    flags |= NLM_F_ACK_TLVS;
    append_ext_ack(payload, refusal.ext_ack);
  }
  return plain_message(NLMSG_ERROR, flags, header.nlmsg_seq, payload);
}

Bytes done_message(uint32_t seq, int error, std::string_view ext_ack) {
  Bytes payload;
  const int32_t negative = -error;
  append(payload, &negative, sizeof negative);
  uint16_t flags = NLM_F_MULTI;
  if (!ext_ack.empty()) {
    flags |= NLM_F_ACK_TLVS;
    append_ext_ack(payload, ext_ack);
  }
  return plain_message(NLMSG_DONE, flags, seq, payload);
}

Result<void> FakeChannel::send(BytesView datagram) {
  if (send_error_ != 0) return fail_errno(std::exchange(send_error_, 0), "send");
  size_t count = 0;
  while (datagram.size() >= sizeof(nlmsghdr)) {
    const nlmsghdr header = header_of(datagram);
    const BytesView message = datagram.first(header.nlmsg_len);
    const size_t index = requests.size();
    requests.emplace_back(message.begin(), message.end());
    ++count;
    const bool wants_ack = (header.nlmsg_flags & NLM_F_ACK) != 0;
    if (const auto refusal = refuse.find(index); refusal != refuse.end()) {
      push(error_message(message, refusal->second));
    } else if (reply) {
      reply(header, message);
    } else if (wants_ack && !swallow.contains(index)) {
      push(ack_message(header));
    }
    datagram = datagram.subspan(std::min<size_t>(NLMSG_ALIGN(header.nlmsg_len), datagram.size()));
  }
  messages_per_send.push_back(count);
  unanswered_ += count;
  unanswered_max = std::max(unanswered_max, unanswered_);
  return {};
}

Result<netlink::Datagram> FakeChannel::receive(netlink::Clock::time_point /*until*/) {
  unanswered_ = 0;
  if (queue_.empty()) return Unexpected(Error{Errc::transient, ETIMEDOUT, "wait", {}});
  const Queued next = std::move(queue_.front());
  queue_.pop_front();
  if (next.error == ENOBUFS) return Unexpected(Error{Errc::resync, ENOBUFS, "overrun", {}});
  if (next.error != 0) return fail_errno(next.error, "receive");
  current_ = next.bytes;
  const size_t kept = next.kept == 0 ? current_.size() : next.kept;
  return netlink::Datagram{BytesView(current_).first(kept), current_.size(), next.sender};
}

Result<void> FakeChannel::renew() {
  ++renewals;
  queue_.clear();
  return {};
}

}  // namespace sepal::test
