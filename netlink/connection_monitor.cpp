#include "netlink/connection_monitor.hpp"

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "netlink/message.hpp"

namespace sepal::netlink {
namespace {

constexpr uint16_t kBegan = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW;
constexpr uint16_t kEnded = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;

}  // namespace

Result<ConnectionMonitor> ConnectionMonitor::open() {
  auto channel = open_channel(NETLINK_NETFILTER);
  if (!channel) return Unexpected(while_doing(channel.error(), "watch connections"));
  return ConnectionMonitor(std::move(*channel));
}

Result<void> ConnectionMonitor::listen(bool on) {
  for (const int group : {NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_DESTROY})
    if (::setsockopt(fd(), SOL_NETLINK, on ? NETLINK_ADD_MEMBERSHIP : NETLINK_DROP_MEMBERSHIP, &group, sizeof group) !=
        0)
      return fail_errno(errno, "watch connections");
  return {};
}

// How many events the kernel dropped since the socket was opened, as its memory info has it: the number wraps.
uint32_t ConnectionMonitor::dropped_so_far() const {
  std::array<uint32_t, SK_MEMINFO_VARS> info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd(), SOL_SOCKET, SO_MEMINFO, info.data(), &size) != 0) return dropped_;
  return info[SK_MEMINFO_DROPS];
}

Result<uint64_t> ConnectionMonitor::drain(const std::function<void(const ConnectionEvent&)>& sink) {
  uint64_t overruns = 0;
  for (size_t taken = 0; taken < kDatagramsMax; ++taken) {
    auto datagram = channel_->receive(Clock::time_point{});  // long past: what is there, no waiting
    if (!datagram) {
      const int error = datagram.error().sys_errno;
      if (error == ETIMEDOUT) break;
      if (error != ENOBUFS) return Unexpected(while_doing(datagram.error(), "watch connections"));
      ++overruns;
      continue;
    }
    if (datagram->sender != 0) continue;
    (void)for_each_message(datagram->bytes, [&](const nlmsghdr& header, BytesView message) -> Result<void> {
      if (header.nlmsg_type != kBegan && header.nlmsg_type != kEnded) return {};
      auto connection = decode_connection(message);
      if (connection)
        sink({header.nlmsg_type == kBegan ? ConnectionEvent::Kind::began : ConnectionEvent::Kind::ended,
              std::move(*connection)});
      return {};
    });
  }
  // Asked each time: the kernel says ENOBUFS once, and then drops on without a word until the queue has been empty
  // (netlink_overrun() in net/netlink/af_netlink.c).
  const uint32_t now = dropped_so_far();
  const uint32_t more = now - dropped_;
  dropped_ = now;
  return std::max<uint64_t>(more, overruns);
}

}  // namespace sepal::netlink
