// Tells of connections that began and that ended, as conntrack tells it. Every event costs the packet that caused it,
// so nobody is subscribed but while listen(true) holds. Governed by net/netfilter/nf_conntrack_netlink.c.
#pragma once

#include <functional>
#include <memory>

#include "netlink/channel.hpp"
#include "netlink/conntrack.hpp"

namespace sepal::netlink {

struct ConnectionEvent {
  enum class Kind : uint8_t { began, ended } kind = Kind::began;
  Connection connection;
};

class ConnectionMonitor {
 public:
  static constexpr size_t kDatagramsMax = 512;  // per drain(); what is left keeps the descriptor readable

  static Result<ConnectionMonitor> open();
  explicit ConnectionMonitor(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}  // any, for tests

  // Of all network zones of this namespace: whoever wants some of them chooses.
  Result<void> listen(bool on);

  // Borrowed: readable when drain() has something to tell.
  [[nodiscard]] int fd() const { return channel_->fd(); }
  // What is queued now, up to the bound; never waits. Returns how many events the kernel dropped since the last call,
  // for want of room; at least one for each time it said so. Errc::internal when the socket itself fails.
  Result<uint64_t> drain(const std::function<void(const ConnectionEvent&)>& sink);

 private:
  [[nodiscard]] uint32_t dropped_so_far() const;

  std::unique_ptr<Channel> channel_;
  uint32_t dropped_ = 0;  // as the kernel counts
};

}  // namespace sepal::netlink
