// The small state file: what the kernel cannot tell a later run. Losing it costs no forwarding: which tenants and
// addresses were served last (so that connections of a port that left are ended even when its device is gone, and a
// zone is not given away while connections still stand in it), the MAC addresses that guests showed, the public
// gateways' MACs last learnt (so that a neighbour entry that times out moves no route), and what a NIC looked up for
// its tunnels (so that a change of next hop while nobody watched is noticed).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/next_hops.hpp"
#include "base/net_types.hpp"
#include "base/result.hpp"

namespace sepal::agent {

struct SavedTenant {
  Zone zone;
  std::map<IpPrefix, std::string> served;  // addresses and prefixes of its local ports → where the port sits
  std::map<std::string, MacAddr> macs;     // where a port sits → what its guest showed, where nobody configured it
  uint64_t judged = 0;                     // the policy its connections were last judged by; 0: none
  bool operator==(const SavedTenant&) const = default;
};

struct SavedState {
  std::map<Vni, SavedTenant> tenants;
  std::map<IpAddr, MacAddr> gateways;
  SavedWays ways;
  bool operator==(const SavedState&) const = default;
};

// A missing or damaged file is an empty state: it is an aid, never a condition.
SavedState load_state(const std::string& path);
Result<void> save_state(const std::string& path, const SavedState& state);

// Writes a new file beside `path` and renames it over the old one.
Result<void> replace_file(const std::string& path, std::string_view text);

}  // namespace sepal::agent
