// Group 2, NAT and connection state: one chain for each VNI in every block.
// Arrives: packets that have been through `ct zone Z nat`; known connections are already translated. Matched: the
// state. Left on the packet: nothing new. A miss (no state at all) is counted and dropped.
//
// Software looks a packet up once for each mask, which costs by how far its first key is from its last; and the state
// stands far behind all others. So what is established meets the state alone first, in a rule of software's own. The
// kernel asks the masks of one priority in the order in which they came: the rules of hardware beside it come later.
//
// The hardware may hold the two rules that lead known connections on; everything else misses there and comes up to
// software. act_ct does not translate on lookup a packet in state NEW, nor an error in the connection's original
// direction (the guest's own "port unreachable"): both are led through `ct commit nat` again, which applies the mapping
// that the connection has. The first of these rules stands in software before a worse one in hardware on purpose:
// hardware never needs it, its connection table translates.
//
// Where datagrams are let go past conntrack (group 0), it cannot place an error about one, and takes what answers one
// for new. A program that remembers them leads the error on, and the answer is committed as what it is: before a limit
// of new connections and before the verdict of security groups, for it begins nothing.
#include "bpf/policy_layout.h"
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

// Of the three states each says what it is and what it is not: one mask, so that software looks once.
Match only(uint16_t state) {
  return Match().ct_state(kCtTrk | state, static_cast<uint16_t>((kCtRel | kCtInv | kCtNew) & ~state));
}

}  // namespace

void group2_nat(Block& block, const TenantPlan& tenant, const LocalPort* from) {
  const uint32_t chain = block.chain(Group::nat, tenant.vni);
  const uint32_t encap = block.chain(Group::encap, tenant.vni);
  const Tag hardware{Group::nat, tenant.vni, tenant.tenant->where};
  Tag software = hardware;
  software.skip_hw = true;

  block.add(chain, 1, kEthAll, Match().ct_state(kCtTrk | kCtEst), {goto_chain(encap)}, software);
  Tag asked_last = hardware;
  asked_last.waits = kWaitsHardware;
  for (Family family : kFamilies) {
    block.add(chain, 1, kEthAll, block.inner(tenant.vni).eth_type(eth_of(family)).ct_state(kCtTrk | kCtEst),
              {goto_chain(encap)}, asked_last);
  }
  if (block.kind() == BlockKind::port && tenant.translates()) {
    const std::vector<Action> translate{ct_commit_snat(tenant.zone, {}, {}, 0, 0), goto_chain(encap)};
    block.add(chain, 2, kEthAll, Match().ct_state(kCtTrk | kCtNew).set(Key::ct_mark, kMarkTranslated, kMarkTranslated),
              translate, software);
    block.add(chain, 4, kEthAll,
              Match().ct_state(kCtTrk | kCtRel, kCtRpl).set(Key::ct_mark, kMarkTranslated, kMarkTranslated), translate,
              software);
  }
  for (Family family : kFamilies) {
    block.add(chain, 3, kEthAll,
              block.inner(tenant.vni)
                  .eth_type(eth_of(family))
                  .ct_state(kCtTrk | kCtNew)
                  .set(Key::ct_mark, kMarkCommitted, kMarkCommitted),
              {goto_chain(encap)}, hardware);
  }
  const bool of_peer = block.kind() == BlockKind::port && from == nullptr;
  if (!tenant.untracked.empty() && !of_peer) {
    constexpr uint32_t kMark = kMarkCommitted | kMarkAnswered;
    for (Family family : kFamilies) {
      block.add(chain, 4, kEthAll, only(kCtInv).eth_type(eth_of(family)).set(Key::ip_proto, icmp_of(family)),
                about_untracked(block, tenant, {goto_chain(encap)}), software);
      block.add(chain, 4, kEthAll, only(kCtNew).eth_type(eth_of(family)).set(Key::ip_proto, kProtoUdp),
                about_untracked(block, tenant, {ct_commit(tenant.zone, kMark, kMark), goto_chain(encap)}), software);
    }
  }
  block.add(chain, 5, kEthAll, only(kCtRel), {goto_chain(encap)}, software);
  Tag invalid = software;
  invalid.drop = DropReason::invalid;
  block.add(chain, 5, kEthAll, only(kCtInv), {drop()}, invalid);
  // All that a guest begins, allowed or not: what a flood costs is the way from here on.
  std::vector<Action> begin;
  if (from != nullptr && from->limits.new_connections_per_second) {
    const uint32_t rate = *from->limits.new_connections_per_second;
    begin.push_back(police_packets(rate, rate));
  }
  begin.push_back(goto_chain(block.chain(Group::fresh, tenant.vni)));
  block.add(chain, 5, kEthAll, only(kCtNew), begin, software);
  Tag last = software;
  last.drop = DropReason::untracked;
  block.add(chain, kPrioLast, kEthAll, Match(), {drop()}, last);
}

}  // namespace sepal::tc
