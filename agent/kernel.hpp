// The running kernel as the agent holds it: one rtnetlink connection for links, qdiscs and filters, one for conntrack,
// the eBPF objects, and what ethtool tells. All borrowed; who owns them is the main program or a test.
#pragma once

#include <functional>

#include "agent/slow_path.hpp"
#include "netlink/features.hpp"
#include "netlink/transport.hpp"

namespace sepal::agent {

struct Kernel {
  netlink::Transport& route;
  netlink::Transport& netfilter;
  SlowPath& slow_path;
  // Whether a device hands rules to its hardware; a device that nothing is known of does not. Empty: every one does.
  std::function<netlink::TcOffload(IfIndex)> offload = {};
  [[nodiscard]] netlink::TcOffload offload_of(IfIndex device) const {
    return offload ? offload(device) : netlink::TcOffload{true, true};
  }
};

}  // namespace sepal::agent
