// Events of rtnetlink groups, reduced to "these devices changed". Nothing is decoded beyond the interface index that
// opens every one of these messages. Governed by rtnetlink(7).
#include "netlink/link_monitor.hpp"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>

#include <utility>

#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

std::optional<IfIndex> changed_device(uint16_t type, BytesView message) {
  auto index = [&message](auto header, auto member) -> std::optional<IfIndex> {
    if (!read_fixed_header(message, header)) return std::nullopt;
    return IfIndex(static_cast<uint32_t>(header.*member));
  };
  switch (type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: return index(ifinfomsg{}, &ifinfomsg::ifi_index);
    case RTM_NEWADDR:
    case RTM_DELADDR: return index(ifaddrmsg{}, &ifaddrmsg::ifa_index);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH: return index(ndmsg{}, &ndmsg::ndm_ifindex);
    default: return std::nullopt;
  }
}

}  // namespace

void LinkChanges::merge(const LinkChanges& more) {
  devices.insert(more.devices.begin(), more.devices.end());
  gone.insert(more.gone.begin(), more.gone.end());
  overrun = overrun || more.overrun;
}

Result<LinkMonitor> LinkMonitor::open(const Options& options) {
  std::vector<unsigned> groups = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
  if (options.neighbours) groups.push_back(RTNLGRP_NEIGH);
  auto channel = open_channel(NETLINK_ROUTE, groups);
  if (!channel) return Unexpected(while_doing(channel.error(), "watch devices"));
  return LinkMonitor(std::move(*channel));
}

Result<LinkChanges> LinkMonitor::take() {
  auto drained = drain();
  if (!drained) return drained;
  return std::exchange(untaken_, {});
}

Result<LinkChanges> LinkMonitor::drain() {
  LinkChanges changes;
  for (;;) {
    auto datagram = channel_->receive(Clock::time_point{});  // long past: what is there, no waiting
    if (!datagram) {
      const int error = datagram.error().sys_errno;
      if (error == ETIMEDOUT) {
        untaken_.merge(changes);
        return changes;
      }
      if (error != ENOBUFS) {
        untaken_.overrun = true;
        return Unexpected(while_doing(datagram.error(), "watch devices"));
      }
      changes.overrun = true;
      continue;
    }
    if (datagram->sender != 0) continue;
    auto read =
        for_each_message(datagram->bytes, [&changes](const nlmsghdr& header, BytesView message) -> Result<void> {
          const auto device = changed_device(header.nlmsg_type, message);
          if (!device) return {};
          changes.devices.insert(*device);
          if (header.nlmsg_type == RTM_DELLINK) changes.gone.insert(*device);
          return {};
        });
    if (!read || datagram->size > datagram->bytes.size()) changes.overrun = true;
  }
}

}  // namespace sepal::netlink
