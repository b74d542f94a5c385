// Group 6, guest services: software only, ends here.
// Arrives: ARP and neighbour solicitations of guests (behind their token buckets) and of the wire; of guests also echo
// requests to the gateway, DHCP, router solicitations and what else they say of neighbours. Matched: the first three
// kinds of question; a program answers in place, for neighbours from a map, and the redirect beside it sends the answer
// back where the question came from. What it does not answer falls to the action's default: dropped on a guest's port
// and on a tenant VLAN, passed to the host on the public side, which has addresses of its own there. A guest's router
// advertisements are counted by a reason of their own. Behind these, on ports that have services, another program
// copies questions to the agent, which answers past all rules; the question itself ends here, and what the agent could
// not be told is dropped by the action. A miss drops, or passes, alike.
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

void add_services(Block& block, Vni vni, const config::Location& where, Control unanswered,
                  const LocalPort* port = nullptr) {
  const uint32_t chain = block.chain(Group::services, vni);
  const BpfProgram& program = block.facts().programs.answer_neighbour;
  Tag tag{Group::services, vni, where};
  tag.skip_hw = true;
  const std::vector<Action> answer{bpf(program.name, program.tag, unanswered), redirect(block.device())};
  // On the uplink the question may still wear its tag, and then its eth_type is the tag's. The chain that leads here
  // has looked already, so the last protocol that can be neither ARP nor IPv6 is a tagged one.
  if (block.kind() == BlockKind::uplink) {
    block.add(chain, 1, kEthAll, Match(), answer, tag);
    return;
  }
  block.add(chain, 1, kEthAll, Match().eth_type(kEthArp), answer, tag);
  block.add(chain, 1, kEthAll, ip_protocol(Family::ipv6, kProtoIcmpv6).set(Key::icmp_type, kNdSolicitation), answer,
            tag);
  const BpfProgram& speaker = block.facts().programs.speak_icmp;
  for (Family family : kFamilies) {
    block.add(chain, 1, kEthAll, ip_protocol(family, icmp_of(family)).set(Key::icmp_type, echo_of(family)),
              {bpf(speaker.name, speaker.tag, unanswered), redirect(block.device())}, tag);
  }
  if (port != nullptr) {
    Tag rogue = tag;
    rogue.drop = DropReason::rogue_service;
    rogue.where = port->port->where;
    block.add(chain, 1, kEthAll, ip_protocol(Family::ipv6, kProtoIcmpv6).set(Key::icmp_type, kRouterAdvertisement),
              {drop()}, rogue);
  }
  if (port != nullptr && port->services.any()) {
    Tag hearing = tag;
    hearing.where = port->port->where;
    const BpfProgram& hears = block.facts().programs.hear_question;
    block.add(chain, 2, kEthAll, Match(), {bpf(hears.name, hears.tag, Control::drop), taken()}, hearing);
  }
  Tag last = tag;
  last.drop = DropReason::not_answered;
  block.add(chain, kPrioLast, kEthAll, Match(), {drop()}, last);
}

}  // namespace

void group6_port(Block& block, const TenantPlan& tenant, const LocalPort& port) {
  add_services(block, tenant.vni, tenant.tenant->where, Control::drop, &port);
}

void group6_uplink(Block& block, const TenantPlan* tenant) {
  if (tenant != nullptr) {
    add_services(block, tenant->vni, tenant->tenant->where, Control::drop);
  } else {
    add_services(block, Vni(), block.plan().config->host.public_net->where, Control::pass);
  }
}

}  // namespace sepal::tc
