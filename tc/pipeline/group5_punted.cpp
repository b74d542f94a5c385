// Group 5, punted before conntrack: software only.
// Arrives: fragments and packets whose TTL ends here. Matched: for fragments the port's anti-spoofing once more, then
// `ct` reassembles them and they go on whole through group 2 (act_mirred cuts them again on the way out). Expired TTLs
// are counted and dropped, and their senders told by a program, within a token bucket: a guest back through its port,
// one behind the tunnel back through it (nobody behind the uplink: there the router before us is asked). Those to a
// group drop by a reason of their own: guests report their groups with TTL 1 unasked (IGMP, MLD), and an operator who
// looks for a loop must not find these. Of a tenant whose zone a NIC cannot restore, or one of whose rules it refused,
// everything from a wire comes here and is tracked. A miss is what anti-spoofing or reassembly left over: counted and
// dropped.
//
// On the public side (lane 1, VNI slot 0) the tenant is not known yet: fragments carry no ports, ICMP never does.
// Fragments are reassembled in a zone of their own and then chosen by slice (group 1 of slot 0); for ICMP a program
// reads the echo id, or the port quoted in an error, and leaves the slice's number as the packet's hash, which group 7
// of slot 0 matches.
#include "bpf/shared.h"
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

constexpr uint16_t kPrioMulticast = 1;
constexpr uint16_t kPrioTtl = 2;
constexpr uint16_t kPrioFragment = 3;
constexpr uint16_t kPrioEverything = 4;

constexpr uint16_t kPrioPublicTtl = 1;
constexpr uint16_t kPrioPublicFragment = 2;

void add_expired(Block& block, uint32_t chain, uint16_t prio, const Tag& punted) {
  Tag tag = punted;
  tag.drop = DropReason::ttl_expired;
  for (Family family : kFamilies) block.add(chain, prio, kEthAll, expiring_ttl(family), {drop()}, tag);
}

// The same, and the sender is told: the packet becomes the error and goes back where it came from. csum, because a
// guest on veth or a tap leaves checksums to be filled in at a place that means something else now.
void add_told(Block& block, uint32_t chain, uint16_t prio, uint32_t per_second, const Tag& punted) {
  const BpfProgram& program = block.facts().programs.speak_icmp;
  Tag tag = punted;
  tag.drop = DropReason::ttl_expired;
  for (Family family : kFamilies) {
    block.add(chain, prio, kEthAll, expiring_ttl(family),
              {police_packets(per_second, per_second), set_mark(SEPAL_ICMP_EXPIRED),
               bpf(program.name, program.tag, Control::drop), set_mark(0), csum(kCsumIcmp), redirect(block.device())},
              tag);
  }
}

// How a tenant's share of the public addresses leads to it, for what chain 0 could not tell.
void add_slices(Block& block, const TenantPlan& tenant, uint32_t by_port, uint32_t by_slice) {
  const std::vector<Action> track{ct_lookup(tenant.zone), goto_chain(block.chain(Group::nat, tenant.vni))};
  for (const config::Nat& nat : tenant.tenant->nat) {
    Tag to_tenant{Group::punted, tenant.vni, nat.where};
    to_tenant.skip_hw = true;
    for (const Match& match : public_slice_matches(nat)) {
      block.add(by_port, nat.ports ? 4 : 2, kEthAll, match, track, to_tenant);
    }
    if (!nat.ports) continue;
    block.add(by_slice, 1, kEthAll, Match().eth_type(eth_of(nat.address.family)).set(Key::hash, slice_number(nat)),
              track, to_tenant);
  }
}

}  // namespace

void group5_punted(Block& block, const TenantPlan& tenant, const LocalPort* from) {
  const uint32_t chain = block.chain(Group::punted, tenant.vni);
  const std::vector<Action> track{ct_lookup(tenant.zone), goto_chain(block.chain(Group::nat, tenant.vni))};
  Tag tag{Group::punted, tenant.vni, from != nullptr ? from->port->where : tenant.tenant->where};
  tag.skip_hw = true;

  Tag to_group = tag;
  to_group.drop = DropReason::multicast;
  for (Family family : kFamilies) block.add(chain, kPrioMulticast, kEthAll, multicast(family), {drop()}, to_group);
  if (block.kind() == BlockKind::uplink) {
    add_expired(block, chain, kPrioTtl, tag);
  } else {
    add_told(block, chain, kPrioTtl, from != nullptr ? *from->limits.arp_nd_per_second : tenant.questions_per_second,
             tag);
  }
  if (from != nullptr) {
    for (const IpPrefix& source : from->sources) {
      if (from->unknown()) break;
      block.add(chain, kPrioFragment, kEthAll,
                fragments(source.family()).mac(Key::src_mac, from->port->mac).ip(Key::src_ip4, source), track, tag);
    }
  } else {
    for (Family family : kFamilies) {
      block.add(chain, kPrioFragment, kEthAll, fragments(family), track, tag);
      if (block.punts(tenant)) {
        block.add(chain, kPrioEverything, kEthAll, Match().eth_type(eth_of(family)), track, tag);
      }
    }
  }
  tag.drop = DropReason::bad_fragment;
  block.add(chain, kPrioLast, kEthAll, Match(), {drop()}, tag);
}

void group5_public(Block& block) {
  const uint32_t by_port = block.chain(Group::decap, Vni());
  const uint32_t by_slice = block.chain(Group::fresh, Vni());
  for (const TenantPlan& tenant : block.plan().tenants)
    if (block.plan().wants(tenant)) add_slices(block, tenant, by_port, by_slice);
  if (!block.plan().wants_common()) return;

  const uint32_t punted = block.chain(Group::punted, Vni());
  const config::Location where = block.plan().config->host.public_net->where;
  Tag tag{Group::punted, Vni(), where};
  tag.skip_hw = true;

  // No group stands here: only our own public addresses come this way.
  add_expired(block, punted, kPrioPublicTtl, tag);
  Tag outside = tag;
  outside.drop = DropReason::outside_slice;
  // Fragments come first: once whole, the rest of this group is done in by_port's chain, where an address that is one
  // tenant's alone (2) stands before ICMP (3), which has no port, and the slices (4).
  for (Family family : kFamilies) {
    block.add(punted, kPrioPublicFragment, kEthAll, fragments(family),
              {ct_lookup(Zone(limits::kZoneReassembly)), goto_chain(by_port)}, tag);
    for (uint32_t chain : {punted, by_port}) {
      block.add(chain, 3, kEthAll, ip_protocol(family, icmp_of(family)),
                {bpf(block.facts().programs.choose_slice.name, block.facts().programs.choose_slice.tag, Control::drop),
                 goto_chain(by_slice)},
                tag);
    }
  }
  Tag last = tag;
  last.drop = DropReason::bad_fragment;
  block.add(punted, kPrioLast, kEthAll, Match(), {drop()}, last);

  block.add(by_port, kPrioLast, kEthAll, Match(), {drop()}, outside);
  block.add(by_slice, kPrioLast, kEthAll, Match(), {drop()}, outside);
}

}  // namespace sepal::tc
