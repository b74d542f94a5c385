// Which connections have lost their owner, and their end; how an entry's flow began.
#include "agent/connections.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "tc/pipeline/plan.hpp"

namespace sepal::agent {
namespace {

bool touches(const netlink::Connection& connection, const std::vector<IpPrefix>& prefixes) {
  const std::array ends{connection.original.source, connection.original.destination, connection.reply.source,
                        connection.reply.destination};
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const IpPrefix& prefix) {
    return std::any_of(ends.begin(), ends.end(), [&](const IpAddr& end) { return prefix.contains(end); });
  });
}

}  // namespace

netlink::Connection as_begun(netlink::Connection connection) {
  if ((connection.mark & tc::kMarkAnswered) != 0) {
    std::swap(connection.original, connection.reply);
    std::swap(connection.original_counters, connection.reply_counters);
  }
  return connection;
}

Departed departed(const SavedState& before, const SavedState& after) {
  Departed gone;
  std::set<Zone> in_use;
  for (const auto& [vni, tenant] : after.tenants) in_use.insert(tenant.zone);
  for (const auto& [vni, old] : before.tenants) {
    const auto now = after.tenants.find(vni);
    if (now == after.tenants.end() || now->second.zone != old.zone) {
      gone.untracked.emplace(vni, std::vector<IpPrefix>());
      if (!in_use.contains(old.zone)) gone.zones.push_back(old.zone);
      continue;
    }
    std::vector<IpPrefix> missing;
    for (const auto& [prefix, port] : old.served) {
      const auto served = now->second.served.find(prefix);
      // A port that moved is another guest for those it spoke to. (A file of an earlier version names no ports.)
      if (served == now->second.served.end() || (!port.empty() && served->second != port)) missing.push_back(prefix);
    }
    if (missing.empty()) continue;
    gone.untracked.emplace(vni, missing);
    gone.addresses.emplace(old.zone, std::move(missing));
  }
  return gone;
}

Result<size_t> end_connections(Kernel& kernel, const Departed& gone) {
  if (gone.empty()) return size_t{0};
  auto deleted = netlink::delete_connections(kernel.netfilter, [&](const netlink::Connection& connection) {
    if (std::find(gone.zones.begin(), gone.zones.end(), connection.zone) != gone.zones.end()) return true;
    const auto addresses = gone.addresses.find(connection.zone);
    return addresses != gone.addresses.end() && touches(connection, addresses->second);
  });
  if (!deleted) return Unexpected(while_doing(deleted.error(), "end connections"));
  if (!gone.untracked.empty())
    if (auto forgotten = kernel.slow_path.forget_untracked(gone.untracked); !forgotten)
      return Unexpected(while_doing(forgotten.error(), "forget flows that were let go past conntrack"));
  return deleted;
}

}  // namespace sepal::agent
