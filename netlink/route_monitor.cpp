// Events of the route, rule and nexthop groups, reduced to destinations. A route's own content is never believed:
// several routes may lead to a destination, and only a lookup knows which one counts. Governed by rtnetlink(7).
#include "netlink/route_monitor.hpp"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

// nullopt: of a family or shape that no lookup of ours meets.
std::optional<IpPrefix> destination_of(BytesView message) {
  rtmsg header{};
  auto attributes = read_fixed_header(message, header);
  if (!attributes || (header.rtm_family != AF_INET && header.rtm_family != AF_INET6)) return std::nullopt;
  IpAddr address;
  address.family = header.rtm_family == AF_INET ? Family::ipv4 : Family::ipv6;
  if (header.rtm_dst_len > address.bits()) return std::nullopt;
  auto table = AttrTable::parse(*attributes, RTA_DST);
  if (!table) return std::nullopt;
  const Attr* destination = table->find(RTA_DST);  // none: the default route
  if (destination != nullptr) {
    if (destination->payload.size() != address.size()) return std::nullopt;
    std::copy(destination->payload.begin(), destination->payload.end(), address.bytes.begin());
  }
  return IpPrefix::make(address, header.rtm_dst_len);
}

void note(RouteChanges& changes, uint16_t type, BytesView message) {
  if (changes.everything) return;
  if (type != RTM_NEWROUTE && type != RTM_DELROUTE) {
    changes.everything = true;  // a rule or a nexthop object: which routes it serves is the kernel's to know
    return;
  }
  const auto destination = destination_of(message);
  if (destination) changes.prefixes.insert(*destination);
  changes.everything = changes.prefixes.size() > RouteMonitor::kPrefixesMax;
}

}  // namespace

bool RouteChanges::concern(const IpAddr& address) const {
  return everything ||
         std::any_of(prefixes.begin(), prefixes.end(), [&](const IpPrefix& p) { return p.contains(address); });
}

Result<RouteMonitor> RouteMonitor::open() {
  auto channel = open_channel(
      NETLINK_ROUTE, {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP});
  if (!channel) return Unexpected(while_doing(channel.error(), "watch routes"));
  return RouteMonitor(std::move(*channel));
}

Result<RouteChanges> RouteMonitor::drain() {
  RouteChanges changes;
  for (size_t taken = 0; taken < kDatagramsMax; ++taken) {
    auto datagram = channel_->receive(Clock::time_point{});  // long past: what is there, no waiting
    if (!datagram) {
      const int error = datagram.error().sys_errno;
      if (error == ETIMEDOUT) return changes;
      if (error != ENOBUFS) return Unexpected(while_doing(datagram.error(), "watch routes"));
      changes.everything = true;
      continue;
    }
    if (datagram->sender != 0) continue;
    auto read =
        for_each_message(datagram->bytes, [&changes](const nlmsghdr& header, BytesView message) -> Result<void> {
          note(changes, header.nlmsg_type, message);
          return {};
        });
    if (!read || datagram->size > datagram->bytes.size()) changes.everything = true;
  }
  return changes;
}

}  // namespace sepal::netlink
