// Group 7, new connections: software only, one chain for each VNI in every block.
// Arrives: packets in state NEW that no connection has been committed for. Matched: TCP that does not begin with SYN
// drops (else a connection that was deleted would come back by itself); then the destination, longest prefix first:
// what has no route drops before any state exists, and so does multicast (nothing here forwards it, and a default route
// must not carry it out). In a tenant with security groups a program judges what would begin, before anything is
// committed, and in one with a bound of connections another; they drop by themselves, and their actions count it. A
// guest that answers as a DHCP server, and is not said to be one, drops before all that: who did not ask it (a client
// that did has begun the connection) would take its word for the network's. Left on the packet: a committed connection,
// marked so, with its translation where the route leads to the public side and the source stands in `nat`. A miss drops
// and is counted.
//
// Only what differs stands here: the tenant's own subnets are one entry each, whoever of their addresses is where; an
// absent address within them costs a connection entry and drops in group 3.
//
// Software looks a packet up once for each mask. What most connections begin with, a SYN to the tenant's own subnets,
// would meet ten of groups 2 and 7; so it is committed in group 2's chain already.
#include "bpf/policy_layout.h"
#include "policy/network.hpp"
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

constexpr uint16_t kPrioUsual = 1;  // in group 2's chain, where what is established stands, too
constexpr uint16_t kPrioNoSyn = 2;
constexpr uint16_t kPrioRogue = 2;
constexpr uint16_t kPrioUnpublished = 3;
constexpr uint16_t kPrioPrefix = 4;  // two for each length: with the source, and without
constexpr uint16_t kTcpSyn = 0x02;

// What may stand before a commit, and drops by itself: the verdict of security groups, and the bound of how many
// connections the tenant may have, which counts what was allowed. skb->mark would leak into the route lookup of the
// tunnel: the rule that sets it clears it.
std::vector<Action> admitted(const Block& block, const TenantPlan& tenant, bool from_peer,
                             const std::vector<Action>& then) {
  // Where an answer might be let go past conntrack (group 0), as if it began a flow, the program notes what does.
  const uint32_t mark = from_peer ? SEPAL_MARK_FROM_PEER : tenant.untracked.empty() ? 0U : SEPAL_MARK_NOTES;
  const BpfPrograms& programs = block.facts().programs;
  std::vector<Action> actions;
  auto ask = [&actions](const BpfProgram& program) {
    actions.push_back(bpf(program.name, program.tag, Control::drop));
  };
  const bool judged = policy::is_judged(*tenant.tenant);
  if (!judged && !tenant.bounded) return then;
  actions.push_back(set_mark(tenant.vni.value() | mark));
  if (judged) ask(programs.judge_policy);
  if (tenant.bounded) ask(programs.hold_room);
  actions.push_back(set_mark(0));
  actions.insert(actions.end(), then.begin(), then.end());
  return actions;
}

// What has a way begins here. Also while nobody judges: when the tenant gets groups, its connections are judged by what
// they are marked with.
std::vector<Action> begun(const Block& block, const TenantPlan& tenant, bool from_peer) {
  const uint32_t mark = kMarkCommitted | (from_peer ? kMarkFromPeer : 0U);
  return admitted(block, tenant, from_peer,
                  {ct_commit(tenant.zone, mark, mark), goto_chain(block.chain(Group::encap, tenant.vni))});
}

}  // namespace

void group7_usual(Block& block, const TenantPlan& tenant, Routes routes, const LocalPort* port) {
  // Whoever counts what a guest begins counts all of it, in group 2.
  if (port != nullptr && port->limits.new_connections_per_second) return;
  const uint32_t chain = block.chain(Group::nat, tenant.vni);
  constexpr uint32_t kBegun = kMarkCommitted | kMarkTranslated;
  for (const DestinationClass& destination : tenant.block_usual[static_cast<size_t>(routes)]) {
    Tag tag{Group::nat, tenant.vni, destination.where};
    tag.skip_hw = true;
    tag.waits = kWaitsSyn;
    block.add(chain, kPrioUsual, kEthAll,
              ip_protocol(destination.to.family(), kProtoTcp)
                  .ct_state(kCtTrk | kCtNew, kCtEst | kCtRel | kCtInv)
                  .set(Key::ct_mark, 0, kBegun)
                  .set(Key::tcp_flags, kTcpSyn, kTcpSyn)
                  .ip(Key::dst_ip4, destination.to),
              begun(block, tenant, false), tag);
  }
}

void group7_fresh(Block& block, const TenantPlan& tenant, Routes routes, const LocalPort* port) {
  const uint32_t chain = block.chain(Group::fresh, tenant.vni);
  const uint32_t encap = block.chain(Group::encap, tenant.vni);
  // In a port's block the chains with local routes only are those of peers: what comes here is another tenant's.
  const bool from_peer = block.kind() == BlockKind::port && routes == Routes::local_only;
  Tag tag{Group::fresh, tenant.vni, tenant.tenant->where};
  tag.skip_hw = true;
  auto dropped = [&tag](DropReason reason) {
    Tag copy = tag;
    copy.drop = reason;
    return copy;
  };

  for (Family family : kFamilies) {
    block.add(chain, prefix_prio(multicast_network(family), kPrioPrefix, 2), kEthAll, multicast(family), {drop()},
              dropped(DropReason::multicast));
    block.add(chain, kPrioNoSyn, kEthAll, ip_protocol(family, kProtoTcp).set(Key::tcp_flags, 0, kTcpSyn), {drop()},
              dropped(DropReason::no_syn));
  }
  for (Family family : kFamilies) {
    if (port == nullptr || port->port->dhcp_server || !port->has(family)) continue;
    const auto index = static_cast<size_t>(family);
    Tag rogue = dropped(DropReason::rogue_service);
    rogue.where = port->port->where;
    block.add(chain, kPrioRogue, kEthAll,
              ip_protocol(family, kProtoUdp)
                  .set(Key::src_port, kDhcpServerPort[index])
                  .set(Key::dst_port, kDhcpClientPort[index]),
              {drop()}, rogue);
  }
  // From outside nobody begins anything with a public address that translates, whatever prefix a port may claim.
  if (block.lane() == Lane::uplink) {
    std::set<IpAddr> addresses;
    for (const config::Nat& nat : tenant.tenant->nat) addresses.insert(nat.address);
    for (const IpAddr& address : addresses) {
      block.add(chain, kPrioUnpublished, kEthAll,
                Match().eth_type(eth_of(address.family)).ip(Key::dst_ip4, IpPrefix::host(address)), {drop()},
                dropped(DropReason::unpublished));
    }
  }
  for (const DestinationClass& destination : tenant.block_classes[static_cast<size_t>(routes)]) {
    const Family family = destination.to.family();
    if (multicast_network(family).contains(destination.to)) continue;  // whatever a route says
    tag.where = destination.where;
    const uint16_t prio = prefix_prio(destination.to, kPrioPrefix, 2);
    const Match match = Match().eth_type(eth_of(family)).ip(Key::dst_ip4, destination.to);
    switch (destination.kind) {
      case DestinationClass::Kind::plain:
        block.add(chain, prio, kEthAll, match, begun(block, tenant, from_peer), tag);
        break;
      case DestinationClass::Kind::open:
        for (const config::Nat& nat : tenant.tenant->nat) {
          if (nat.from.family() != family) continue;
          constexpr uint32_t kMark = kMarkCommitted | kMarkTranslated;
          Tag by_nat = tag;
          by_nat.where = nat.where;
          const Match from = Match(match).ip(Key::src_ip4, nat.from);
          const std::vector<Action> translate =
              admitted(block, tenant, from_peer,
                       {ct_commit_snat(tenant.zone, nat.address, nat.ports, kMark, kMark), goto_chain(encap)});
          if (!nat.ports) {
            block.add(chain, prio, kEthAll, from, translate, by_nat);
            continue;
          }
          // A slice is a share of ports: what has none could not find its way back.
          for (uint8_t protocol : {kProtoTcp, kProtoUdp, icmp_of(family)}) {
            block.add(chain, prio, kEthAll, Match(from).set(Key::ip_proto, protocol), translate, by_nat);
          }
        }
        block.add(chain, static_cast<uint16_t>(prio + 1), kEthAll, match, {drop()}, dropped(DropReason::no_nat));
        break;
      case DestinationClass::Kind::drop:
        block.add(chain, prio, kEthAll, match, {drop()}, dropped(destination.reason));
        break;
    }
  }
  tag.where = tenant.tenant->where;
  block.add(chain, kPrioLast, kEthAll, Match(), {drop()},
            dropped(block.lane() == Lane::uplink ? DropReason::unpublished : DropReason::no_route));
}

}  // namespace sepal::tc
