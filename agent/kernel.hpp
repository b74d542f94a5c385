// The running kernel as the agent holds it: one rtnetlink connection for links, qdiscs and filters, one for conntrack,
// and the eBPF objects. All borrowed; who owns them is the main program or a test.
#pragma once

#include <functional>

#include "agent/slow_path.hpp"
#include "netlink/transport.hpp"

namespace sepal::agent {

struct Kernel {
  netlink::Transport& route;
  netlink::Transport& netfilter;
  SlowPath& slow_path;
};

// Called between bounded pieces of a long pass: keeps the watchdog and clients served. False: stop at the next safe
// point (every rule is in place or not at all; the next pass completes the work).
using Progress = std::function<bool()>;

}  // namespace sepal::agent
