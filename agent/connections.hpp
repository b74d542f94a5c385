// Ends conntrack entries of tenants and addresses that are no longer served here, one by one: a deletion by zone would
// wipe all zones on some kernels (net/netfilter/nf_conntrack_netlink.c before 6.2). And how an entry's flow began.
#pragma once

#include "agent/kernel.hpp"
#include "agent/state.hpp"
#include "netlink/conntrack.hpp"

namespace sepal::agent {

// An entry as its flow began. Where conntrack saw an answer first (ct_mark's kMarkAnswered: the question had gone past
// it), whoever answered stands as the source: both directions change places, counters and all.
netlink::Connection as_begun(netlink::Connection connection);

// What was served before and is not any more. `before` minus `after`, tenant by tenant.
struct Departed {
  std::vector<Zone> zones;                          // whole tenants
  std::map<Zone, std::vector<IpPrefix>> addresses;  // of tenants that stay
  Untracked untracked;                              // the same, for what conntrack does not know
  [[nodiscard]] bool empty() const { return zones.empty() && addresses.empty() && untracked.empty(); }
};
Departed departed(const SavedState& before, const SavedState& after);

// How many entries of conntrack were deleted. Flows that were let go past it are forgotten, too.
Result<size_t> end_connections(Kernel& kernel, const Departed& gone);

}  // namespace sepal::agent
