// How a packet of this host's own would leave: one route lookup, answered by the kernel as it would answer a tunnel.
// The tables behind it are never read: a lookup is what counts, and rules, nexthop objects and redirects are in it.
#pragma once

#include <optional>
#include <string>

#include "base/net_types.hpp"
#include "netlink/transport.hpp"

namespace sepal::netlink {

struct RouteQuestion {
  IpAddr destination;
  IpAddr source;  // of the same family
};

struct RouteAnswer {
  IfIndex device;        // 0: there is no way
  IpAddr next_hop;       // the gateway, perhaps of the other family, or the destination itself when it is on the link
  uint32_t mtu = 0;      // of the route, when it has one of its own
  std::string obstacle;  // why there is no way: "no route", …
  bool operator==(const RouteAnswer&) const = default;
};

//   ip route get DESTINATION from SOURCE ipproto udp uid 0
// That there is no way is an answer, not an Error.
Result<RouteAnswer> find_route(Transport& route, const RouteQuestion& question);

}  // namespace sepal::netlink
