// Group 0, shared ingress: chain 0 of every guest's representor.
// Arrives: whatever the guest sends. Matched: questions for the guest services (ARP, ND, echo requests to the gateway,
// and DHCP where it is answered) behind a token bucket for each kind, packets that must not reach conntrack or routing
// as they are (fragments, expiring TTL), in software packets larger than the tenant's MTU that may not be fragmented,
// whose sender is told, and the guest's own MAC with one of its own addresses. Left on the packet: the
// connection of the tenant's zone, already translated when it has a translation; none on what is let go (below). A miss
// is a spoofed, tagged or foreign frame: counted and dropped.
//
// Software looks a packet up once for each mask, so what most packets are stands early there: TCP or UDP of the guest's
// own, whole, not too big, with a TTL that is far from its end, by one mask. It does what the rule that hardware has
// for them does. And of a UDP flow that stays in the tenant's networks the first datagram need not be tracked: where
// security groups let it begin, a program remembers it and it goes straight to routing. Most of what UDP asks is
// answered once, and neither question nor answer then costs a connection. What makes a datagram usual the program looks
// at itself, for a mask costs by how far its first key is from its last, and the TTL stands far behind the addresses.
#include "bpf/policy_layout.h"
#include "config/guests.hpp"
#include "tc/pipeline/plan.hpp"

namespace sepal::tc {
namespace {

// One priority for one protocol: tagged frames then match nothing but the last rule, in software as in hardware. A
// priority that rules of an earlier version may hold keeps their protocol, for the kernel takes no second one beside
// them: 3, 4 and 7 are IPv4's, 2, 5 and 8 IPv6's, and 6, which was everybody's, stays free.
// Those with two are by family. Questions stand before the TTLs: the gateway is pinged with any, and DHCPv6 clients may
// send with a hop limit of 1.
constexpr uint16_t kPrioArp = 1;
constexpr uint16_t kPrioUntracked[] = {3, 2};
constexpr uint16_t kPrioDhcp[] = {4, 5};
constexpr uint16_t kPrioUsual[] = {7, 8};
constexpr uint16_t kPrioEcho[] = {9, 10};
constexpr uint16_t kPrioNd = 10;
constexpr uint16_t kPrioPunt[] = {11, 12};
constexpr uint16_t kPrioSize = 13;
constexpr uint16_t kPrioSource[] = {14, 15};
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

// TTLs by their first two bits: 64 to 127, where most systems begin and what has come through some routers still is,
// and 128 to 191, where others begin. All else takes the long way, to the same end.
constexpr uint32_t kUsualTtl[] = {0x40, 0x80};
constexpr uint32_t kTtlMask = 0xc0;
static_assert(SEPAL_USUAL_TTL_MIN == kUsualTtl[0] && SEPAL_USUAL_TTL_MAX == (kUsualTtl[1] | (~kTtlMask & 0xff)));

Match sent_by(const IpPrefix& source, const MacAddr& mac, uint8_t protocol) {
  return Match()
      .mac(Key::src_mac, mac)
      .eth_type(eth_of(source.family()))
      .set(Key::ip_proto, protocol)
      .ip(Key::src_ip4, source);
}

// In software only; where the guest may begin any number of connections, for nobody counts the first datagrams. They
// come last of all: by then the rules that know the answers stand in every block.
void add_untracked(Block& block, const TenantPlan& tenant, const LocalPort& port, uint32_t frame_bytes, Tag tag) {
  if (port.limits.new_connections_per_second) return;
  tag.waits = limits::kGotoDepthMax;
  const BpfProgram& judge = block.facts().programs.judge_policy;
  const std::vector<Action> let_go{police_fits(frame_bytes), set_mark(tenant.vni.value() | SEPAL_MARK_LET_GO),
                                   bpf(judge.name, judge.tag, Control::next_rule), set_mark(0),
                                   goto_chain(block.chain(Group::encap, tenant.vni))};
  for (const IpPrefix& source : port.sources) {
    const auto family = static_cast<size_t>(source.family());
    for (const IpPrefix& network : tenant.untracked) {
      if (network.family() != source.family()) continue;
      block.add(0, kPrioUntracked[family], eth_of(source.family()),
                sent_by(source, port.port->mac, kProtoUdp).ip(Key::dst_ip4, network), let_go, tag);
    }
  }
}

void add_usual(Block& block, const TenantPlan& tenant, const LocalPort& port, const Tag& of_port) {
  const uint32_t frame_bytes = config::guest_mtu(block.plan().config->host, *tenant.tenant) + kEthernetHeader;
  Tag tag = of_port;
  tag.skip_hw = true;
  add_untracked(block, tenant, port, frame_bytes, tag);
  std::vector<Action> enter{police_fits(frame_bytes)};
  for (Action& action : block.enter(tenant)) enter.push_back(std::move(action));
  for (const IpPrefix& source : port.sources) {
    const auto family = static_cast<size_t>(source.family());
    for (const uint8_t protocol : {kProtoTcp, kProtoUdp}) {
      for (const uint32_t ttl : kUsualTtl) {
        block.add(0, kPrioUsual[family], eth_of(source.family()),
                  sent_by(source, port.port->mac, protocol)
                      .set(Key::ip_ttl, ttl, kTtlMask)
                      .set(Key::ip_flags, 0, kIpFlagFrag),
                  enter, tag);
      }
    }
  }
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
    block.add(0, kPrioEcho[static_cast<size_t>(family)], eth_of(family),
              ip_protocol(family, icmp_of(family))
                  .set(Key::icmp_type, echo_of(family))
                  .ip(Key::dst_ip4, IpPrefix::host(gateway)),
              {police_packets(rate, rate), goto_chain(services)}, tag);
  }
  for (Family family : kFamilies) {
    if (!(family == Family::ipv4 ? port.services.dhcp4 : port.services.dhcp6)) continue;
    const uint32_t dhcp_rate = *port.limits.dhcp_per_second;
    block.add(0, kPrioDhcp[static_cast<size_t>(family)], eth_of(family), dhcp_question(family, *port.port),
              {police_packets(dhcp_rate, dhcp_rate), goto_chain(services)}, tag);
  }
  if (!port.unknown()) add_usual(block, tenant, port, tag);
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
