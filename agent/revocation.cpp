// See revocation.hpp.
#include "agent/revocation.hpp"

#include <netinet/in.h>

#include <set>

#include "agent/connections.hpp"
#include "policy/judge.hpp"
#include "tc/pipeline/plan.hpp"

namespace sepal::agent {
namespace {

// As the program saw it: the source as the guest wrote it, the destination as a translation left it.
policy::Flow flow_of(const netlink::Connection& connection) {
  policy::Flow flow;
  flow.source = connection.original.source;
  flow.destination = connection.reply.source;
  flow.protocol = connection.original.protocol;
  flow.from_peer = (connection.mark & tc::kMarkFromPeer) != 0;
  const bool v4 = flow.source.is_v4();
  if (flow.protocol == IPPROTO_TCP || flow.protocol == IPPROTO_UDP) {
    flow.detail = connection.reply.source_port;
  } else if (flow.protocol == (v4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6})) {
    flow.detail = static_cast<uint16_t>(connection.original.icmp_type << 8U | connection.original.icmp_code);
  }
  return flow;
}

}  // namespace

Result<size_t> end_forbidden(Kernel& kernel, const std::vector<policy::TenantPolicy>& policies,
                             const SavedState& before, SavedState& after) {
  std::map<Zone, policy::Judge> judges;
  std::map<Vni, uint64_t> judged;
  for (const policy::TenantPolicy& policy : policies) {
    const auto now = after.tenants.find(policy.vni);
    if (now == after.tenants.end()) continue;
    judged[policy.vni] = policy.tables.space;
    const auto then = before.tenants.find(policy.vni);
    if (then != before.tenants.end() && then->second.judged == policy.tables.space) continue;
    judges.emplace(now->second.zone, policy::Judge(policy.tables));
  }
  size_t deleted = 0;
  std::set<Zone> changed;  // where something was forbidden
  if (!judges.empty()) {
    auto done = netlink::delete_connections(kernel.netfilter, [&](const netlink::Connection& connection) {
      const auto judge = judges.find(connection.zone);
      const bool forbidden = judge != judges.end() && (connection.mark & tc::kMarkCommitted) != 0 &&
                             !judge->second.judge(flow_of(as_begun(connection))).allowed;
      if (forbidden) changed.insert(connection.zone);
      return forbidden;
    });
    if (!done) return Unexpected(while_doing(done.error(), "end connections that security groups forbid now"));
    deleted = *done;
  }
  // What is noted of a flow that ended must not make it an answer when it comes back.
  Untracked gone;
  for (const auto& [vni, space] : judged)
    if (changed.contains(after.tenants[vni].zone)) gone.emplace(vni, std::vector<IpPrefix>());
  if (!gone.empty())
    if (auto forgotten = kernel.slow_path.forget_untracked(gone); !forgotten)
      return Unexpected(while_doing(forgotten.error(), "forget flows that were let go past conntrack"));
  for (const auto& [vni, space] : judged) after.tenants[vni].judged = space;
  return deleted;
}

}  // namespace sepal::agent
