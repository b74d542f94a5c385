// Group 0, shared ingress: chain 0 of every guest's representor.
// Arrives: whatever the guest sends. Matched: questions for the guest services (ARP, ND, echo requests to the gateway,
// and DHCP where it is answered) behind a token bucket for each kind, packets that must not reach conntrack or routing
// as they are (fragments, expiring TTL), in software packets larger than the tenant's MTU that may not be fragmented,
// whose sender is told, and the guest's own MAC with one of its own addresses. Left on the packet: the
// connection of the tenant's zone, already translated when it has a translation. A miss is a spoofed, tagged or foreign
// frame: counted and dropped.
#include "bpf/shared.h"
#include "config/guests.hpp"
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

// One priority for one protocol: tagged frames then match nothing but the last rule, in software as in hardware.
constexpr uint16_t kPrioArp = 1;
constexpr uint16_t kPrioNd = 2;
// By family; before the TTLs: the gateway is pinged with any, and DHCPv6 clients may send with a hop limit of 1.
constexpr uint16_t kPrioQuestion[] = {3, kPrioNd};
constexpr uint16_t kPrioPunt[] = {4, 5};  // by family
constexpr uint16_t kPrioSize = 6;
constexpr uint16_t kPrioSource[] = {7, 8};  // by family
constexpr uint16_t kPrioUnknown = kPrioLast - 1;
constexpr uint32_t kEthernetHeader = 14;

// Router and neighbour solicitations, neighbour advertisements: what an honest guest sends. Router advertisements (134)
// share the solicitations' rule, to be counted where the others are answered.
struct NdTypes {
  uint8_t type;
  uint8_t mask;
};
constexpr NdTypes kNdTypes[] = {{133, 0xff}, {134, 0xfe}, {136, 0xff}};

// From any source, for a client may have no address yet; from a client's port only, so that a relay's are its own.
Match dhcp_question(Family family, const config::Port& port) {
  static const IpPrefix kServers = *IpPrefix::parse("ff02::1:2/128");
  const auto index = static_cast<size_t>(family);
  Match match = ip_protocol(family, kProtoUdp)
                    .set(Key::src_port, kDhcpClientPort[index])
                    .set(Key::dst_port, kDhcpServerPort[index]);
  if (!port.mac_is_open) match.mac(Key::src_mac, port.mac);  // else a guest with another one asks, too
  return family == Family::ipv4 ? match : match.ip(Key::dst_ip4, kServers);
}

// A NIC knows no such check: in hardware a packet is as big as the wire lets it be. So this is software's alone, and
// takes nothing that hardware would not take: what is small enough, or may be fragmented, goes on to the next rule.
void add_size_check(Block& block, uint16_t mtu, uint32_t per_second, const Tag& of_port) {
  const BpfProgram& program = block.facts().programs.speak_icmp;
  Tag tag = of_port;
  tag.drop = DropReason::too_big;
  tag.skip_hw = true;
  block.add(0, kPrioSize, kEthAll, Match(),
            {police_size(mtu + kEthernetHeader), set_mark(SEPAL_ICMP_TOO_BIG | mtu),
             bpf(program.name, program.tag, Control::next_rule), set_mark(0), police_packets(per_second, per_second),
             csum(kCsumIcmp), redirect(block.device())},
            tag);
}

}  // namespace

void group0_ingress(Block& block, const TenantPlan& tenant, const LocalPort& port) {
  const uint32_t rate = *port.limits.arp_nd_per_second;
  const Tag tag{Group::ingress, tenant.vni, port.port->where};
  const uint32_t services = block.chain(Group::services, tenant.vni);

  block.add(0, kPrioArp, kEthArp, Match().eth_type(kEthArp), {police_packets(rate, rate), goto_chain(services)}, tag);
  for (const auto& [type, mask] : kNdTypes) {
    block.add(0, kPrioNd, kEthIpv6, ip_protocol(Family::ipv6, kProtoIcmpv6).set(Key::icmp_type, type & mask, mask),
              {police_packets(rate, rate), goto_chain(services)}, tag);
  }
  for (const IpAddr& gateway : gateways_of(*tenant.tenant)) {
    const Family family = gateway.family;
    block.add(0, kPrioQuestion[static_cast<size_t>(family)], eth_of(family),
              ip_protocol(family, icmp_of(family))
                  .set(Key::icmp_type, echo_of(family))
                  .ip(Key::dst_ip4, IpPrefix::host(gateway)),
              {police_packets(rate, rate), goto_chain(services)}, tag);
  }
  for (Family family : kFamilies) {
    if (!(family == Family::ipv4 ? port.services.dhcp4 : port.services.dhcp6)) continue;
    const uint32_t dhcp_rate = *port.limits.dhcp_per_second;
    block.add(0, kPrioQuestion[static_cast<size_t>(family)], eth_of(family), dhcp_question(family, *port.port),
              {police_packets(dhcp_rate, dhcp_rate), goto_chain(services)}, tag);
  }
  for (Family family : kFamilies) {
    const auto index = static_cast<size_t>(family);
    const uint32_t punted = block.chain(Group::punted, tenant.vni);
    block.add(0, kPrioPunt[index], eth_of(family), fragments(family), {goto_chain(punted)}, tag);
    block.add(0, kPrioPunt[index], eth_of(family), expiring_ttl(family), {goto_chain(punted)}, tag);
  }
  add_size_check(block, config::guest_mtu(block.plan().config->host, *tenant.tenant), rate, tag);
  // Apart from the last rule, whose counter tells who is known and lies.
  Tag waits = tag;
  waits.drop = DropReason::waiting;
  if (port.unknown()) block.add(0, kPrioUnknown, kEthAll, Match(), {drop()}, waits);
  for (const IpPrefix& source : port.sources) {
    if (port.unknown()) break;
    const Family family = source.family();
    block.add(0, kPrioSource[static_cast<size_t>(family)], eth_of(family),
              Match().mac(Key::src_mac, port.port->mac).eth_type(eth_of(family)).ip(Key::src_ip4, source),
              block.enter(tenant), tag);
  }
  Tag last = tag;
  last.drop = DropReason::spoofed;
  block.add(0, kPrioLast, kEthAll, Match(), {drop()}, last);
}

}  // namespace sepal::tc
