// A kernel at the level of datagrams, for tests of the transport: answers each request as net/netlink/af_netlink.c
// would, and misbehaves on request. Never blocks: an empty queue is an expired deadline.
#pragma once

#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "netlink/channel.hpp"

namespace sepal::test {

class FakeChannel : public netlink::Channel {
 public:
  struct Refusal {
    int error = 0;
    std::string ext_ack;  // none when empty
    bool capped = true;   // NETLINK_CAP_ACK: the request's payload does not come back
  };

  // What the kernel makes of the requests, by index over the channel's life, counting from 0.
  std::map<size_t, Refusal> refuse;
  std::map<size_t, bool> swallow;  // processed, but its answer is never queued
  // Called for requests that are to be answered in a way of their own (dumps, gets); queues with push().
  std::function<void(const nlmsghdr&, netlink::BytesView)> reply;

  // Queues a datagram, from the kernel unless a sender is given.
  void push(netlink::Bytes datagram, uint32_t sender = 0) { queue_.push_back({std::move(datagram), 0, sender, 0}); }
  void push_overrun() { queue_.push_back({{}, 0, 0, ENOBUFS}); }
  void push_failure(int error) { queue_.push_back({{}, 0, 0, error}); }
  // Only the first `kept` bytes of it fitted the reader's buffer.
  void push_cut(netlink::Bytes datagram, size_t kept) { queue_.push_back({std::move(datagram), kept, 0, 0}); }
  void fail_next_send(int error) { send_error_ = error; }

  // What the transport did.
  std::vector<netlink::Bytes> requests;  // each message as it was sent
  std::vector<size_t> messages_per_send;
  size_t unanswered_max = 0;  // messages sent without any receive in between
  unsigned renewals = 0;

  Result<void> send(netlink::BytesView datagram) override;
  Result<netlink::Datagram> receive(netlink::Clock::time_point until) override;
  Result<void> renew() override;
  [[nodiscard]] int fd() const override { return -1; }

 private:
  struct Queued {
    netlink::Bytes bytes;
    size_t kept = 0;
    uint32_t sender = 0;
    int error = 0;
  };
  std::deque<Queued> queue_;
  netlink::Bytes current_;
  size_t unanswered_ = 0;
  int send_error_ = 0;
};

// Messages as a kernel builds them.
netlink::Bytes ack_message(const nlmsghdr& request);
netlink::Bytes error_message(netlink::BytesView request, const FakeChannel::Refusal& refusal);
netlink::Bytes done_message(uint32_t seq, int error = 0, std::string_view ext_ack = {});
// A message of `type` with `payload` behind its nlmsghdr.
netlink::Bytes plain_message(uint16_t type, uint16_t flags, uint32_t seq, netlink::BytesView payload);

}  // namespace sepal::test
