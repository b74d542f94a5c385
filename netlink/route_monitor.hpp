// Tells that routes changed, by the prefixes they lead to; what a lookup gives now is asked of routes.hpp. A host that
// speaks BGP may change hundreds of thousands: work per call and what is remembered are bounded, and what does not fit
// is "everything".
#pragma once

#include <memory>
#include <set>

#include "base/net_types.hpp"
#include "netlink/channel.hpp"

namespace sepal::netlink {

struct RouteChanges {
  std::set<IpPrefix> prefixes;  // routes to these are new, others or gone
  bool everything = false;      // events were lost or too many, or a rule or a nexthop object changed
  [[nodiscard]] bool empty() const { return prefixes.empty() && !everything; }
  // Whether the way to `address` may be another one now.
  [[nodiscard]] bool concern(const IpAddr& address) const;
};

class RouteMonitor {
 public:
  static constexpr size_t kPrefixesMax = 64;
  static constexpr size_t kDatagramsMax = 256;  // per drain(); what is left keeps the descriptor readable

  static Result<RouteMonitor> open();
  explicit RouteMonitor(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}  // any channel, for tests

  // Borrowed: readable when drain() has something to tell. Whoever hands it to Asio must release it before this dies.
  [[nodiscard]] int fd() const { return channel_->fd(); }
  // What is queued now, up to the bound; never waits. Errc::internal when the socket itself fails.
  Result<RouteChanges> drain();

 private:
  std::unique_ptr<Channel> channel_;
};

}  // namespace sepal::netlink
