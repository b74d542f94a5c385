// Group 1, from the overlay: chain 0 of the vxlan device.
// Arrives: decapsulated frames with their outer header as metadata. Matched: VNI, our own VTEP address and UDP port;
// fragments and expiring TTLs leave for group 5 first. Left on the packet: the connection of the tenant's zone; the
// tunnel metadata stays until group 4. A miss is a VNI nobody has here (or a frame that is neither IPv4 nor IPv6, a
// tagged one included): counted and dropped.
//
// Every key a NIC needs to find its tunnel again stands in every rule of this block that may be in hardware, byte for
// byte; priorities here are better than the uplink's, because a NIC keeps both blocks in one table.
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

constexpr uint16_t kPrioPunt[] = {1, 3};    // by family
constexpr uint16_t kPrioTenant[] = {2, 4};  // by family
constexpr uint16_t kPrioOurs = 10;          // addressed to our VTEP, but no tenant's

void add_keys(Match& match, const Match& more) {
  for (const KeyMatch& key : more.keys()) match.set_bytes(key.key, key.value.data(), key.mask.data());
}

}  // namespace

void group1_decap(Block& block, const std::vector<const TenantPlan*>& tenants) {
  for (const TenantPlan* tenant : tenants) {
    const Tag tag{Group::decap, tenant->vni, tenant->tenant->where};
    for (Family family : kFamilies) {
      const auto index = static_cast<size_t>(family);
      for (const Match& punted : {fragments(family), expiring_ttl(family)}) {
        Match match = block.inner(tenant->vni);
        add_keys(match, punted);
        block.add(0, kPrioPunt[index], eth_of(family), match, {goto_chain(block.chain(Group::punted, tenant->vni))},
                  tag);
      }
      block.add(0, kPrioTenant[index], eth_of(family), block.inner(tenant->vni).eth_type(eth_of(family)),
                block.enter(*tenant), tag);
    }
  }
  if (!block.plan().wants_common()) return;
  // A NIC decides on tunnels only by what it decapsulates, so the rule it may hold names the outer header; what is not
  // even ours by its outer address reaches the vxlan device in software and ends in the last rule.
  Tag unknown{Group::decap, Vni(), {}, DropReason::unknown_vni};
  Match ours = block.inner(Vni());
  block.add(0, kPrioOurs, kEthAll, ours, {drop()}, unknown);
  unknown.skip_hw = true;
  block.add(0, kPrioLast, kEthAll, Match(), {drop()}, unknown);
}

}  // namespace sepal::tc
