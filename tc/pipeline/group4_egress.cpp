// Group 4, egress: the last table, one chain for each VNI in every block.
// Arrives: packets routed to a local port. Matched: the destination MAC, unique within a VNI after group 3 rewrote it.
// Nothing is left for later: the packet is counted and handed to the port's representor. A miss is a port that is not
// there: counted and dropped. In the overlay's block the tunnel's metadata ends here, beside the redirect.
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {

void group4_egress(Block& block, const TenantPlan& tenant) {
  const uint32_t chain = block.chain(Group::egress, tenant.vni);
  for (const LocalPort& port : tenant.ports) {
    // Group 3 lets nothing back to where it came from, and sends nothing to who is not known.
    if (port.device == block.device() || port.unknown()) continue;
    std::vector<Action> actions;
    if (block.kind() == BlockKind::vxlan) actions.push_back(tunnel_unset());
    actions.push_back(redirect(port.device));
    block.add(chain, 1, kEthAll, block.inner(tenant.vni).mac(Key::dst_mac, port.port->mac), std::move(actions),
              {Group::egress, tenant.vni, port.port->where});
  }
  block.add(chain, kPrioLast, kEthAll, block.inner(tenant.vni), {drop()},
            {Group::egress, tenant.vni, tenant.tenant->where, DropReason::unknown_mac});
}

}  // namespace sepal::tc
