// One netlink socket as a stream of datagrams: send, receive with a deadline. Nothing is understood here; sequence
// numbers, acks and dumps are socket.cpp's. Below the transport only so that tests can put a misbehaving kernel in
// place of the real one (tests/support/fake_channel.hpp).
#pragma once

#include <chrono>
#include <memory>
#include <vector>

#include "base/result.hpp"
#include "netlink/transport.hpp"

namespace sepal::netlink {

using Clock = std::chrono::steady_clock;

struct Datagram {
  BytesView bytes;      // valid until the next receive()
  size_t size = 0;      // as sent; more than bytes.size() when the buffer was too small and the rest is lost
  uint32_t sender = 0;  // netlink port id: 0 is the kernel, everything else is somebody's process
};

class Channel {
 public:
  virtual ~Channel() = default;
  // One datagram, whole or not at all. rtnetlink and ctnetlink process it before this returns, so every answer is
  // queued by then.
  virtual Result<void> send(BytesView datagram) = 0;
  // The next datagram. Errc::transient with ETIMEDOUT: none came until `until`. Errc::resync with ENOBUFS: the kernel
  // had to drop answers or events; what is still queued can be read.
  virtual Result<Datagram> receive(Clock::time_point until) = 0;
  // Starts afresh with a new socket: the only sure way out of a dump whose end was lost (the kernel answers EBUSY to
  // the next one on the old socket) and of answers that come too late.
  virtual Result<void> renew() = 0;
  // Borrowed, to wait on; changes with renew(). -1 when there is nothing to wait on.
  [[nodiscard]] virtual int fd() const = 0;
};

// A bound socket of `protocol` with extended acks, capped acks and strict checking of dump requests, subscribed to
// `groups` (RTNLGRP_*).
Result<std::unique_ptr<Channel>> open_channel(int protocol, const std::vector<unsigned>& groups = {});

// The transport's protocol over any channel. open_transport() is this over open_channel().
std::unique_ptr<Transport> make_transport(std::unique_ptr<Channel> channel, const SocketOptions& options);
// Writes over several transports at once. open_parallel_transport() is this over several open_transport().
std::unique_ptr<Transport> make_parallel_transport(std::vector<std::unique_ptr<Transport>> members);

}  // namespace sepal::netlink
