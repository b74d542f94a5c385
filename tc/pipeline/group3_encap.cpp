// Group 3, routing: re-tag, encapsulate, or the local port; one chain for each VNI in every block.
// Arrives: packets of connections that may go on, and datagrams that were let go past conntrack (group 0). Matched: the
// destination, longest prefix first. Left on the packet: new MACs and a TTL one less (once per hypervisor: a packet on
// its way into a peer's network gets both in the peer's group 3). A miss has no route: counted and dropped.
//
// Only translated connections leave for the public side: the tenant's own addresses mean nothing there, and a reply to
// somebody the tenant has no longer route to must not follow the default route out.
//
// In the overlay's and the uplink's blocks only local ports are destinations: what came over the wire does not go back
// to it (split horizon). tunnel_key stands beside the redirect that uses it, in one rule.
//
// A tunnel that does not leave by the NIC is not the NIC's: it would send the packet out of its own wire all the same.
// Such a route stays in software, and with it every wider one, which hardware would take in its place (L1).
#include <algorithm>

#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

std::vector<Action> rewritten(const MacAddr& source, const MacAddr& destination, Family family,
                              std::vector<Action> then) {
  std::vector<Action> actions;
  actions.reserve(then.size() + 2);
  actions.push_back(rewrite_macs_and_ttl(source, destination, family));
  if (family == Family::ipv4) actions.push_back(csum(kCsumIpv4Header));  // IPv6 has no header checksum
  for (Action& action : then) actions.push_back(std::move(action));
  return actions;
}

// Generation 0 leaves the TTL to the route, as ever. The others say it themselves: what most routes say, and a little
// less for each generation that had to follow, which no packet misses on its way through a data centre.
uint8_t tunnel_ttl(const TunnelWay* way) {
  constexpr unsigned kUsualTtl = 64;
  return way == nullptr || way->generation == 0 ? uint8_t{0} : static_cast<uint8_t>(kUsualTtl + 1 - way->generation);
}

// The routes of a block that a NIC cannot carry out, and which others may not be in hardware because of them.
class KeptOut {
 public:
  KeptOut(const Facts& facts, const std::vector<Target>& targets) {
    for (const Target& target : targets) {
      const TunnelWay* way = target.kind == Target::Kind::vtep ? tunnel_way(facts, target.vtep) : nullptr;
      if (way != nullptr && !way->keep_out.empty()) prefixes_.push_back(target.to);
    }
    std::sort(prefixes_.begin(), prefixes_.end());
  }
  [[nodiscard]] bool any() const { return !prefixes_.empty(); }
  // Whether the route to `prefix` is one of them, or would overtake one.
  [[nodiscard]] bool covered_by(const IpPrefix& prefix) const {
    const auto first = std::lower_bound(prefixes_.begin(), prefixes_.end(), prefix);
    return first != prefixes_.end() && prefix.contains(*first);
  }

 private:
  std::vector<IpPrefix> prefixes_;  // sorted: what a prefix contains stands right behind it
};

std::vector<Action> actions_of(const Block& block, const TenantPlan& tenant, const Target& target) {
  const config::Host& host = block.plan().config->host;
  const Family family = target.to.family();
  switch (target.kind) {
    case Target::Kind::local:
      return rewritten(host.gateway_mac, tenant.ports[target.port].port->mac, family,
                       {goto_chain(block.chain(Group::egress, tenant.vni))});
    case Target::Kind::vtep:
      return rewritten(host.gateway_mac, block.plan().overlay_mac, family,
                       {tunnel_set(host.underlay.address, target.vtep, target.key, host.vxlan.port,
                                   tunnel_ttl(tunnel_way(block.facts(), target.vtep))),
                        redirect(block.facts().vxlan)});
    case Target::Kind::vlan:
    case Target::Kind::open: {
      std::vector<Action> out;
      if (target.vlan != Vid()) out.push_back(vlan_push(target.vlan));
      out.push_back(redirect(block.facts().uplink));
      return rewritten(block.facts().uplink_mac, target.mac, family, std::move(out));
    }
    case Target::Kind::peer:
      return {ct_lookup(target.peer->zone), goto_chain(block.chain(Group::nat, target.peer->vni))};
    case Target::Kind::blackhole:
    case Target::Kind::waiting:
    case Target::Kind::absent: break;
  }
  return {drop()};
}

DropReason drop_of(const Target& target) {
  switch (target.kind) {
    case Target::Kind::waiting: return DropReason::waiting;
    case Target::Kind::blackhole: return DropReason::blackhole;
    case Target::Kind::absent: return DropReason::no_route;
    default: return DropReason::none;
  }
}

}  // namespace

void group3_encap(Block& block, const TenantPlan& tenant, Routes routes) {
  const uint32_t chain = block.chain(Group::encap, tenant.vni);
  const std::vector<Target>& targets = tenant.block_targets[static_cast<size_t>(routes)];
  const KeptOut kept_out(block.facts(), targets);
  for (const Target& target : targets) {
    Tag tag{Group::encap, tenant.vni, target.where, drop_of(target), kept_out.covered_by(target.to)};
    std::vector<Action> actions = actions_of(block, tenant, target);
    if (target.kind == Target::Kind::local && tenant.ports[target.port].device == block.device()) {
      // A NIC cannot send a packet back into the VF it came from, and no honest guest asks for it.
      actions = {drop()};
      tag.drop = DropReason::hairpin;
    }
    const uint16_t prio = prefix_prio(target.to, 1);
    Match match = block.inner(tenant.vni).eth_type(eth_of(target.to.family())).ip(Key::dst_ip4, target.to);
    if (target.kind == Target::Kind::open) {
      Tag untranslated = tag;
      untranslated.drop = DropReason::no_nat;
      block.add(chain, prio, kEthAll, Match(match).set(Key::ct_mark, 0, kMarkTranslated), {drop()}, untranslated);
      match.set(Key::ct_mark, kMarkTranslated, kMarkTranslated);
    }
    block.add(chain, prio, kEthAll, std::move(match), std::move(actions), tag);
  }
  block.add(chain, kPrioLast, kEthAll, block.inner(tenant.vni), {drop()},
            {Group::encap, tenant.vni, tenant.tenant->where, DropReason::no_route, kept_out.any()});
}

}  // namespace sepal::tc
