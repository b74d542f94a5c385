// Group 6, guest services: software only, ends here.
// Arrives: ARP and neighbour solicitations of guests (behind their token buckets) and of the wire; of guests also echo
// requests to the gateway, DHCP, router solicitations and what else they say of neighbours. Matched: the first three
// kinds of question; a program answers in place, for neighbours from a map, and the redirect beside it sends the answer
// back where the question came from. What it does not answer falls to the action's default: dropped on a guest's port
// and on a tenant VLAN, passed to the host on the public side, which has addresses of its own there. The program for
// neighbours also looks at whom a guest says it is, in its neighbour advertisements too, which nobody answers, and
// drops by itself what is forged. A guest's router advertisements are counted by a reason of their own. Behind these,
// on ports that have services, another program copies questions to the agent, which answers past all rules; the
// question itself ends here, and what the agent could not be told is dropped by the action. A miss drops, or passes,
// alike. Where nobody configured a guest's MAC address, the agent hears what it says of neighbours, too.
#include "bpf/shared.h"
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

constexpr uint16_t kPrioAnswer = 1;
constexpr uint16_t kPrioOverheard = 2;
constexpr uint16_t kPrioHearing = 3;

// ARP and neighbour solicitations of a guest, which a program answers in place: `answer`. Where nobody configured the
// guest's MAC address the agent hears them too, but for those that come from the address it knows.
void add_neighbour_questions(Block& block, const std::vector<Action>& answer, const LocalPort* port, const Tag& tag) {
  const uint32_t chain = block.chain(Group::services, tag.vni);
  const bool open = port != nullptr && port->port->mac_is_open;
  const BpfProgram& hears = block.facts().programs.hear_question;
  std::vector<Action> overheard{set_mark(SEPAL_QUESTION_OVERHEARD), bpf(hears.name, hears.tag, Control::pipe),
                                set_mark(0)};
  overheard.insert(overheard.end(), answer.begin(), answer.end());
  for (const Match& question :
       {Match().eth_type(kEthArp), ip_protocol(Family::ipv6, kProtoIcmpv6).set(Key::icmp_type, kNdSolicitation)}) {
    if (!open) {
      block.add(chain, kPrioAnswer, kEthAll, question, answer, tag);
      continue;
    }
    if (!port->unknown())
      block.add(chain, kPrioAnswer, kEthAll, Match(question).mac(Key::src_mac, port->port->mac), answer, tag);
    block.add(chain, kPrioOverheard, kEthAll, question, overheard, tag);
  }
}

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
    block.add(chain, kPrioAnswer, kEthAll, Match(), answer, tag);
    return;
  }
  add_neighbour_questions(block, answer, port, tag);
  const BpfProgram& speaker = block.facts().programs.speak_icmp;
  for (Family family : kFamilies) {
    block.add(chain, kPrioAnswer, kEthAll, ip_protocol(family, icmp_of(family)).set(Key::icmp_type, echo_of(family)),
              {bpf(speaker.name, speaker.tag, unanswered), redirect(block.device())}, tag);
  }
  if (port != nullptr) {
    block.add(chain, kPrioAnswer, kEthAll,
              ip_protocol(Family::ipv6, kProtoIcmpv6).set(Key::icmp_type, kNdAdvertisement), answer, tag);
    Tag rogue = tag;
    rogue.drop = DropReason::rogue_service;
    block.add(chain, kPrioAnswer, kEthAll,
              ip_protocol(Family::ipv6, kProtoIcmpv6).set(Key::icmp_type, kRouterAdvertisement), {drop()}, rogue);
  }
  if (port != nullptr && port->services.any()) {
    const BpfProgram& hears = block.facts().programs.hear_question;
    block.add(chain, kPrioHearing, kEthAll, Match(), {bpf(hears.name, hears.tag, Control::drop), taken()}, tag);
  }
  Tag last = tag;
  last.drop = DropReason::not_answered;
  block.add(chain, kPrioLast, kEthAll, Match(), {drop()}, last);
}

}  // namespace

void group6_port(Block& block, const TenantPlan& tenant, const LocalPort& port) {
  add_services(block, tenant.vni, port.port->where, Control::drop, &port);
}

void group6_uplink(Block& block, const TenantPlan* tenant) {
  if (tenant != nullptr) {
    add_services(block, tenant->vni, tenant->tenant->where, Control::drop);
  } else {
    add_services(block, Vni(), block.plan().config->host.public_net->where, Control::pass);
  }
}

}  // namespace sepal::tc
