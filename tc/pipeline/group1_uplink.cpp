// Group 1, from the uplink itself: chain 0 of the uplink, entry to lane 1.
// Arrives: everything the wire brings to this host. Matched: tenant VLANs and our public addresses (tagged or not), and
// only frames to our own MAC; ARP and neighbour solicitations go to group 6. Left on the packet: the tag popped, the
// connection of the tenant's zone; for shared public addresses the slice of the destination port decides the tenant.
// A miss passes to the host (its own ARP, SSH, routing protocols and the underlay); only what is ours and wrong drops:
// tags nobody owns, and ports of our public addresses outside every slice.
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

// Tagged frames all have protocol 802.1Q, whatever they carry; untagged ones need a priority for each protocol.
constexpr uint16_t kPrioTaggedService = 20;
constexpr uint16_t kPrioArp = 21;
constexpr uint16_t kPrioTaggedPunt = 22;
constexpr uint16_t kPrioTagged = 23;
constexpr uint16_t kPrioTaggedOutside = 24;
constexpr uint16_t kPrioHostVlan = 25;
constexpr uint16_t kPrioUnknownVlan = 26;
constexpr uint16_t kPrioUnknownQinq = 27;
constexpr uint16_t kPrioNd = 28;
constexpr uint16_t kPrioPunt[] = {29, 32};     // by family, untagged
constexpr uint16_t kPrioPublic[] = {30, 33};   // by family, untagged
constexpr uint16_t kPrioOutside[] = {31, 34};  // by family, untagged

// Builds matches for one VLAN of the uplink or for untagged frames, and knows their protocols and priorities.
class Side {
 public:
  explicit Side(std::optional<Vid> vlan) : vlan_(vlan) {}

  [[nodiscard]] uint16_t protocol(uint16_t eth) const { return vlan_ ? kEthVlan : eth; }
  // eth_type (behind the tag) plus `more`'s keys apart from its eth_type.
  [[nodiscard]] Match match(uint16_t eth, const Match& more = {}) const {
    Match match;
    for (const KeyMatch& key : more.keys()) match.set_bytes(key.key, key.value.data(), key.mask.data());
    match.eth_type(protocol(eth));
    if (vlan_) match.set(Key::vlan_id, vlan_->value()).set(Key::vlan_eth_type, eth);
    return match;
  }
  [[nodiscard]] std::vector<Action> pop_then(std::vector<Action> actions) const {
    if (vlan_) actions.insert(actions.begin(), vlan_pop());
    return actions;
  }
  [[nodiscard]] uint16_t prio(uint16_t tagged, const uint16_t (&untagged)[2], Family family) const {
    return vlan_ ? tagged : untagged[static_cast<size_t>(family)];
  }

 private:
  std::optional<Vid> vlan_;
};

// ARP and neighbour solicitations of one side go to group 6 of `vni`, still tagged: the answer keeps the tag.
void add_questions(Block& block, const Side& side, Vni vni, const Tag& tag) {
  const uint32_t services = block.chain(Group::services, vni);
  const bool tagged = side.protocol(kEthArp) == kEthVlan;
  block.add(0, tagged ? kPrioTaggedService : kPrioArp, side.protocol(kEthArp), side.match(kEthArp),
            {goto_chain(services)}, tag);
  block.add(0, tagged ? kPrioTaggedService : kPrioNd, side.protocol(kEthIpv6),
            side.match(kEthIpv6, ip_protocol(Family::ipv6, kProtoIcmpv6).set(Key::icmp_type, kNdSolicitation)),
            {goto_chain(services)}, tag);
}

void add_tenant_vlan(Block& block, const TenantPlan& tenant, const config::TenantVlan& vlan) {
  const Side side(vlan.id);
  const Tag tag{Group::decap, tenant.vni, vlan.where};
  add_questions(block, side, tenant.vni, tag);
  for (Family family : kFamilies) {
    for (const Match& punted : {fragments(family), expiring_ttl(family)}) {
      block.add(0, kPrioTaggedPunt, kEthVlan,
                side.match(eth_of(family), punted).mac(Key::dst_mac, block.facts().uplink_mac),
                side.pop_then({goto_chain(block.chain(Group::punted, tenant.vni))}), tag);
    }
    block.add(0, kPrioTagged, kEthVlan, side.match(eth_of(family)).mac(Key::dst_mac, block.facts().uplink_mac),
              side.pop_then(block.enter(tenant)), tag);
  }
}

// What is common to all tenants of one public address: punts before, and the drop behind, the slices.
void add_public_address(Block& block, const Side& side, const IpAddr& address, const Tag& tag) {
  const Family family = address.family;
  const uint16_t eth = eth_of(family);
  const uint32_t punted = block.chain(Group::punted, Vni());
  for (Match match : {fragments(family), expiring_ttl(family)}) {
    match.ip(Key::dst_ip4, IpPrefix::host(address)).mac(Key::dst_mac, block.facts().uplink_mac);
    block.add(0, side.prio(kPrioTaggedPunt, kPrioPunt, family), side.protocol(eth), side.match(eth, match),
              side.pop_then({goto_chain(punted)}), tag);
  }
  if (block.plan().shared_public.contains(address)) {
    Match icmp = ip_protocol(family, icmp_of(family));
    icmp.ip(Key::dst_ip4, IpPrefix::host(address)).mac(Key::dst_mac, block.facts().uplink_mac);
    block.add(0, side.prio(kPrioTagged, kPrioPublic, family), side.protocol(eth), side.match(eth, icmp),
              side.pop_then({goto_chain(punted)}), tag);
  }
  Tag outside = tag;
  outside.drop = DropReason::outside_slice;
  block.add(0, side.prio(kPrioTaggedOutside, kPrioOutside, family), side.protocol(eth),
            side.match(eth, Match().ip(Key::dst_ip4, IpPrefix::host(address))), {drop()}, outside);
}

void add_nat(Block& block, const Side& side, const TenantPlan& tenant, const config::Nat& nat) {
  const Family family = nat.address.family;
  const Tag tag{Group::decap, tenant.vni, nat.where};
  for (Match match : public_slice_matches(nat)) {
    match.mac(Key::dst_mac, block.facts().uplink_mac);
    block.add(0, side.prio(kPrioTagged, kPrioPublic, family), side.protocol(eth_of(family)),
              side.match(eth_of(family), match), side.pop_then(block.enter(tenant)), tag);
  }
}

void add_tenant(Block& block, const TenantPlan& tenant) {
  for (const config::TenantVlan& vlan : tenant.tenant->vlans) add_tenant_vlan(block, tenant, vlan);
  const auto& public_net = block.plan().config->host.public_net;
  if (!public_net) return;
  for (const config::Nat& nat : tenant.tenant->nat) add_nat(block, Side(public_net->vlan), tenant, nat);
}

void add_common(Block& block, const std::vector<const TenantPlan*>& tenants) {
  const config::Host& host = block.plan().config->host;
  std::set<IpAddr> public_addresses;
  std::set<Vid> passing = block.facts().host_vlans;
  for (const TenantPlan* tenant : tenants) {
    if (!host.public_net) continue;
    for (const config::Nat& nat : tenant->tenant->nat) {
      if (!public_addresses.insert(nat.address).second) continue;
      add_public_address(block, Side(host.public_net->vlan), nat.address, {Group::decap, Vni(), nat.where});
    }
  }
  if (!public_addresses.empty() && host.public_net->answer_arp) {
    add_questions(block, Side(host.public_net->vlan), Vni(), {Group::decap, Vni(), host.public_net->where});
  }
  // The host's own VLANs, the underlay's and the public one (its other addresses are none of our business) pass.
  if (host.underlay.vlan) passing.insert(*host.underlay.vlan);
  if (host.public_net && host.public_net->vlan) passing.insert(*host.public_net->vlan);
  const Tag tag{Group::decap, Vni(), host.where};
  for (Vid vlan : passing) {
    block.add(0, kPrioHostVlan, kEthVlan, Match().eth_type(kEthVlan).set(Key::vlan_id, vlan.value()), {pass()}, tag);
  }
  Tag unknown = tag;
  unknown.drop = DropReason::unknown_vlan;
  block.add(0, kPrioUnknownVlan, kEthVlan, Match().eth_type(kEthVlan), {drop()}, unknown);
  block.add(0, kPrioUnknownQinq, kEthQinq, Match().eth_type(kEthQinq), {drop()}, unknown);
}

}  // namespace

void group1_uplink(Block& block, const std::vector<const TenantPlan*>& tenants) {
  for (const TenantPlan* tenant : tenants)
    if (block.plan().wants(*tenant)) add_tenant(block, *tenant);
  if (block.plan().wants_common()) add_common(block, tenants);
}

}  // namespace sepal::tc
