// Tells that devices, addresses or neighbours changed; what they are now is asked of links.hpp. Events mark things
// dirty, they carry no state. Never subscribes to RTNLGRP_TC: any listener there slows every filter write.
#pragma once

#include <memory>
#include <set>

#include "base/net_types.hpp"
#include "netlink/channel.hpp"

namespace sepal::netlink {

struct LinkChanges {
  std::set<IfIndex> devices;  // something about them is new, or they are gone
  std::set<IfIndex> gone;     // of these: left this network namespace, though they may be back under their number
  bool overrun = false;       // events were lost: everything may have changed
  [[nodiscard]] bool empty() const { return devices.empty() && !overrun; }
  void merge(const LinkChanges& more);
};

class LinkMonitor {
 public:
  struct Options {
    bool neighbours = false;  // also neighbour table changes (the public gateway's MAC)
  };
  static Result<LinkMonitor> open(const Options& options);
  explicit LinkMonitor(std::unique_ptr<Channel> channel) : channel_(std::move(channel)) {}  // any channel, for tests

  // Borrowed: readable when drain() has something to tell. Whoever hands it to Asio must release it before this dies.
  [[nodiscard]] int fd() const { return channel_->fd(); }
  // Everything that is queued now; never waits. Errc::internal when the socket itself fails.
  Result<LinkChanges> drain();
  // Everything since the last take(), drained by then or not. The kernel queues an event before the change's own
  // system call returns, so what happened before this call is in it.
  Result<LinkChanges> take();

 private:
  std::unique_ptr<Channel> channel_;
  LinkChanges untaken_;
};

}  // namespace sepal::netlink
