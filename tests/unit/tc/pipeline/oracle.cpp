// See oracle.hpp.
#include "oracle.hpp"

#include <algorithm>

#include "plain_model.hpp"
#include "policy/network.hpp"

namespace sepal::tc::model {
namespace {

using config::Port;
using config::Route;
using config::Tenant;

bool owns(const Port& port, const IpAddr& address) {
  return std::find(port.addresses.begin(), port.addresses.end(), address) != port.addresses.end() ||
         std::any_of(port.prefixes.begin(), port.prefixes.end(),
                     [&](const IpPrefix& p) { return p.contains(address); });
}

// What may not go through conntrack or routing as it is: a TTL that expires, and what goes to a group in pieces or with
// such a TTL.
std::optional<DropReason> ends_here(const Packet& packet) {
  if ((packet.ttl <= 1 || packet.fragment) && packet.dst.is_multicast()) return DropReason::multicast;
  return packet.ttl <= 1 ? std::optional(DropReason::ttl_expired) : std::nullopt;
}

bool is_gateway(const Tenant& tenant, const IpAddr& address) {
  return address == ip("169.254.1.1") || address == ip("fe80::1") ||
         std::any_of(tenant.subnets.begin(), tenant.subnets.end(),
                     [&](const config::Subnet& subnet) { return subnet.gateway == address; });
}

// What it may say in ARP and neighbour discovery that it has.
bool may_claim(const Tenant& tenant, const Port& port, const IpAddr& address) {
  if (is_gateway(tenant, address)) return false;
  return owns(port, address) || (!address.is_v4() && address.is_link_local());
}

bool is_echo_request(const Packet& packet) {
  return packet.is_icmp() && packet.icmp_type == (packet.src.is_v4() ? 8 : 128);
}

bool has(const Port& port, Family family) {
  auto in = [family](const auto& list, auto of) {
    return std::any_of(list.begin(), list.end(), [&](const auto& entry) { return of(entry) == family; });
  };
  return in(port.addresses, [](const IpAddr& a) { return a.family; });
}

bool may_send(const Port& port, Family family) {
  return has(port, family) || std::any_of(port.prefixes.begin(), port.prefixes.end(),
                                          [family](const IpPrefix& p) { return p.family() == family; });
}

// From a client to a server, or the other way.
bool is_dhcp(const Packet& packet, bool to_server) {
  if (packet.protocol != kProtoUdp || packet.fragment || !packet.is_ip()) return false;
  const bool four = packet.eth_type == kEthIpv4;
  const uint16_t client = four ? 68 : 546;
  const uint16_t server = four ? 67 : 547;
  return packet.src_port == (to_server ? client : server) && packet.dst_port == (to_server ? server : client);
}

Packet routed(Packet packet, const MacAddr& source, const MacAddr& destination) {
  packet.src_mac = source;
  packet.dst_mac = destination;
  packet.ttl = static_cast<uint8_t>(packet.ttl - 1);
  packet.received_in.reset();
  packet.tags.clear();
  return packet;
}

}  // namespace

Expected Oracle::drop(std::string why, std::set<DropReason> reasons) {
  Expected expected;
  expected.why = std::move(why);
  expected.reasons = std::move(reasons);
  return expected;
}

Expected Oracle::heard() {
  Expected expected;
  expected.kind = Expected::Kind::heard;
  return expected;
}

std::optional<IfIndex> Oracle::device_of(const Tenant& tenant, const Port& port) const {
  auto found = world_.facts.ports.find({tenant.name, port.name});
  if (found == world_.facts.ports.end()) return std::nullopt;
  return found->second;
}

const Tenant* Oracle::tenant_of(Vni vni) const {
  for (const Tenant& tenant : world_.config.tenants) {
    if (tenant.vni == vni) return &tenant;
  }
  return nullptr;
}

bool Oracle::has_ports_here(const Tenant& tenant) const {
  return std::any_of(tenant.ports.begin(), tenant.ports.end(),
                     [&](const Port& port) { return device_of(tenant, port).has_value(); });
}

std::optional<MacAddr> Oracle::public_gateway(Family family) const {
  return family == Family::ipv4 ? world_.facts.public_gateway4 : world_.facts.public_gateway6;
}

Oracle::Leg Oracle::route(const Tenant& tenant, const IpAddr& to) const {
  Leg best;
  int length = -1;
  for (const Port& port : tenant.ports) {
    for (const IpAddr& address : port.addresses) {
      if (address == to) best = {&port, nullptr}, length = static_cast<int>(to.bits());
    }
    for (const IpPrefix& prefix : port.prefixes) {
      if (prefix.contains(to) && prefix.length > length) best = {&port, nullptr}, length = prefix.length;
    }
  }
  for (const Route& route : tenant.routes) {
    if (route.to.contains(to) && route.to.length > length) best = {nullptr, &route}, length = route.to.length;
  }
  for (const config::Subnet& subnet : tenant.subnets) {  // its own link: not there is nowhere
    if (subnet.prefix.contains(to) && subnet.prefix.length > length) return {};
  }
  if (best.route != nullptr && !best.route->vni) {
    if (const auto* via = std::get_if<config::ViaPort>(&best.route->via)) {
      for (const Port& port : tenant.ports) {
        if (port.name == via->port) return {&port, nullptr};
      }
    }
  }
  return best;
}

Oracle::Known Oracle::find(Vni vni, const Packet& packet) {
  for (Flow& flow : flows_[vni]) {
    if (packet.quoted) {
      const Tuple about = invert(*packet.quoted);
      if (about == flow.original && packet.dst == flow.original.dst) return {&flow, false};
      if (about == flow.wire_reply && packet.dst == flow.wire_reply.dst) return {&flow, true};
      continue;
    }
    if (flow.original == packet.tuple()) return {&flow, false};
    if (flow.wire_reply == packet.tuple()) return {&flow, true};
  }
  return {};
}

std::optional<DropReason> Oracle::obstacle(const Tenant& tenant, From from, const Leg& leg) const {
  auto waits_unless = [](bool here) { return here ? std::nullopt : std::optional(DropReason::waiting); };
  if (leg.port != nullptr) return waits_unless(device_of(tenant, *leg.port).has_value());
  if (leg.route == nullptr || from != From::port) return DropReason::no_route;
  if (std::holds_alternative<config::ViaBlackhole>(leg.route->via)) return DropReason::blackhole;
  if (std::holds_alternative<config::ViaPublic>(leg.route->via)) {
    return waits_unless(public_gateway(leg.route->to.family()).has_value());
  }
  if (leg.route->vni) {
    if (const auto* via = std::get_if<config::ViaPort>(&leg.route->via)) {
      const Tenant* peer = tenant_of(*leg.route->vni);
      return waits_unless(std::any_of(peer->ports.begin(), peer->ports.end(), [&](const Port& port) {
        return port.name == via->port && device_of(*peer, port).has_value();
      }));
    }
  }
  return std::nullopt;
}

Expected Oracle::enter(const Tenant& tenant, Packet packet, From from, IfIndex device) {
  packet.fragment = false;
  const Known known = find(tenant.vni, packet);
  const config::Nat* nat = nullptr;
  bool translated = false;
  if (known.flow != nullptr) {
    const Flow& flow = *known.flow;
    if (!packet.quoted && known.reply) known.flow->replied = true;
    translated = flow.translated;
    if (translated) {
      Packet& p = packet;
      const Tuple inside = known.reply ? invert(flow.original) : invert(flow.wire_reply);
      if (p.quoted) {
        p.quoted = known.reply ? flow.original : flow.wire_reply;
        (known.reply ? p.dst : p.src) = known.reply ? flow.original.src : flow.wire_reply.dst;
      } else {
        p.src = inside.src;
        p.dst = inside.dst;
        if (p.is_icmp()) {
          p.icmp_id = inside.src_port;
        } else if (p.protocol == kProtoTcp || p.protocol == kProtoUdp) {
          p.src_port = inside.src_port;
          p.dst_port = inside.dst_port;
        }
      }
    }
  } else {
    const Leg leg = route(tenant, packet.dst);
    const std::optional<DropReason> blocked = obstacle(tenant, from, leg);
    // What begins no connection is invalid, but for TCP in mid-stream. A first packet to a neighbour that is not there
    // may have left a connection behind, though, and then what follows it ends where it did.
    auto begins_nothing = [&](const char* why) {
      std::set<DropReason> reasons{DropReason::invalid};
      if (packet.protocol == kProtoTcp) reasons.insert(DropReason::no_syn);
      if (packet.dst.is_multicast()) reasons.insert(DropReason::multicast);
      if (blocked) reasons.insert(*blocked);
      return drop(why, std::move(reasons));
    };
    if (packet.quoted) return begins_nothing("an error about nothing known");
    if (packet.is_icmp() && packet.icmp_type != (packet.eth_type == kEthIpv4 ? 8 : 128)) {
      return begins_nothing("an ICMP answer to nothing");
    }
    if (packet.protocol == kProtoTcp && (packet.tcp_flags & (kTcpSyn | kTcpAck | kTcpRst | kTcpFin)) != kTcpSyn) {
      return begins_nothing("TCP that does not begin with SYN");
    }
    if (from == From::port && is_dhcp(packet, false)) {
      for (const Port& port : tenant.ports) {
        if (device_of(tenant, port) == device && !port.dhcp_server && may_send(port, packet.src.family))
          return drop("a DHCP server nobody knows", {DropReason::rogue_service});
      }
    }
    if (packet.dst.is_multicast()) return drop("multicast", {DropReason::multicast});
    if (from == From::outside) return drop("new from outside", {DropReason::unpublished});
    // A VLAN comes in where the outside does: there nothing begins with an address that translates.
    const bool translates = std::any_of(tenant.nat.begin(), tenant.nat.end(),
                                        [&](const config::Nat& entry) { return entry.address == packet.dst; });
    if (device == world_.facts.uplink && translates) return drop("new to the NAT", {DropReason::unpublished});
    const bool from_peer = from == From::wire && device != world_.facts.vxlan && device != world_.facts.uplink;
    const bool allowed = may_begin(tenant, packet, from_peer);
    if (blocked) {
      std::set<DropReason> reasons{*blocked};
      // What drops only in routing is judged before.
      if (!allowed) reasons.insert(DropReason::denied);
      // A VLAN's chain of new connections ends for the public side, too.
      if (device == world_.facts.uplink && blocked == DropReason::no_route) reasons.insert(DropReason::unpublished);
      return drop("no way to " + packet.dst.to_string(), std::move(reasons));
    }
    Flow flow{packet.tuple(), invert(packet.tuple()), false, false};
    if (leg.route != nullptr && std::holds_alternative<config::ViaPublic>(leg.route->via)) {
      for (const config::Nat& entry : tenant.nat) {
        if (entry.from.contains(packet.src)) nat = &entry;
      }
      if (nat == nullptr) return drop("outside without a nat entry", {DropReason::no_nat});
      const bool has_ports = packet.is_icmp() || packet.protocol == kProtoTcp || packet.protocol == kProtoUdp;
      if (!has_ports && nat->ports) return drop("no ports to take from a slice", {DropReason::no_nat});
      if (!allowed) return drop("security groups", {DropReason::denied});
      translated = true;
      const Packet& out = outcome_->packet;
      packet.src = nat->address;
      if (packet.is_icmp()) {
        packet.icmp_id = out.icmp_id;
      } else {
        packet.src_port = out.src_port;
      }
      flow.translated = true;
      flow.wire_reply = invert(packet.tuple());
      for (const Flow& other : flows_[tenant.vni]) {
        if (!has_ports && other.wire_reply == flow.wire_reply) {
          return drop("the only tuple is taken", {DropReason::none});
        }
      }
    }
    if (!allowed) return drop("security groups", {DropReason::denied});
    flows_[tenant.vni].push_back(flow);
  }
  Expected expected = forward(tenant, packet, from, device, route(tenant, packet.dst), translated);
  if (nat != nullptr) expected.nat = nat;
  return expected;
}

bool Oracle::may_begin(const Tenant& tenant, const Packet& packet, bool from_peer) const {
  if (tenant.security_groups.empty()) return true;
  policy::Flow flow{packet.src, packet.dst, packet.protocol, 0, from_peer};
  if (packet.protocol == kProtoTcp || packet.protocol == kProtoUdp) {
    flow.detail = packet.dst_port;
  } else if (packet.is_icmp()) {
    flow.detail = static_cast<uint16_t>(packet.icmp_type << 8U | packet.icmp_code);
  }
  return policy::model::judge(policy::network_of(tenant), flow).allowed();
}

Expected Oracle::forward(const Tenant& tenant, Packet packet, From from, IfIndex device, const Leg& leg,
                         bool translated) {
  if (auto blocked = obstacle(tenant, from, leg)) return drop("no way to " + packet.dst.to_string(), {*blocked});
  const config::Host& host = world_.config.host;
  const Facts& facts = world_.facts;
  Expected expected;
  if (leg.port != nullptr) {
    expected.kind = Expected::Kind::deliver;
    expected.device = *device_of(tenant, *leg.port);
    if (expected.device == device) return drop("back to where it came from", {DropReason::hairpin});
    expected.packet = routed(packet, host.gateway_mac, leg.port->mac);
    return expected;
  }
  const Route& route = *leg.route;
  if (const auto* via = std::get_if<config::ViaVtep>(&route.via)) {
    expected.kind = Expected::Kind::overlay;
    expected.device = facts.vxlan;
    MacAddr inner = host.gateway_mac;
    inner.bytes[5] ^= 1U;
    expected.packet = routed(packet, host.gateway_mac, inner);
    expected.packet.leaves_in =
        Tunnel{route.vni.value_or(tenant.vni).value(), host.underlay.address, via->address, host.vxlan.port};
    return expected;
  }
  if (route.vni) return enter(*tenant_of(*route.vni), packet, From::wire, device);
  expected.kind = Expected::Kind::wire;
  expected.device = facts.uplink;
  if (const auto* via = std::get_if<config::ViaVlan>(&route.via)) {
    for (const config::TenantVlan& vlan : tenant.vlans) {
      if (vlan.id == via->vlan) expected.packet = routed(packet, facts.uplink_mac, vlan.gateway_mac);
    }
    expected.packet.tags = {{kEthVlan, via->vlan}};
    return expected;
  }
  if (!translated) return drop("untranslated to the public side", {DropReason::no_nat});
  expected.packet = routed(packet, facts.uplink_mac, *public_gateway(route.to.family()));
  if (host.public_net->vlan) expected.packet.tags = {{kEthVlan, *host.public_net->vlan}};
  return expected;
}

Expected Oracle::from_port(const Tenant& tenant, const Port& port, IfIndex device, const Packet& packet) {
  if (!packet.tags.empty()) return drop("tagged", {DropReason::spoofed});
  const config::Host& host = world_.config.host;
  if (packet.is_question() || packet.is_advertisement()) {
    const bool honest = packet.src_mac == port.mac &&
                        (packet.src.is_unspecified() || may_claim(tenant, port, packet.src)) &&
                        (packet.is_question() || may_claim(tenant, port, packet.asked));
    if (!honest) return drop("is not who it says it is", {DropReason::spoofed});
    if (packet.is_advertisement() || packet.arp_operation != kArpRequest)
      return drop("nobody asked it", {DropReason::none});
    if (owns(port, packet.asked)) {
      // Its own, unless something longer than its prefix says otherwise.
      bool subnet_gateway = false;
      for (const config::Subnet& subnet : tenant.subnets) subnet_gateway |= subnet.gateway == packet.asked;
      if (!subnet_gateway) {
        unsigned own = 0;
        for (const IpPrefix& p : port.prefixes)
          own = p.contains(packet.asked) ? std::max<unsigned>(own, p.length) : own;
        if (std::find(port.addresses.begin(), port.addresses.end(), packet.asked) != port.addresses.end()) own = 128;
        const bool on_link = std::any_of(tenant.subnets.begin(), tenant.subnets.end(), [&](const config::Subnet& s) {
          return s.prefix.contains(packet.asked) && s.prefix.length > own;
        });
        const bool fixed = packet.asked == ip("169.254.1.1") || packet.asked == ip("fe80::1");
        if (!on_link && !fixed) return drop("asks for itself", {DropReason::none});
      }
    }
    bool known = packet.asked == ip("169.254.1.1") || packet.asked == ip("fe80::1");
    for (const config::Subnet& subnet : tenant.subnets) known |= subnet.prefix.contains(packet.asked);
    if (!known) return drop("asks for nobody on its link", {DropReason::none});
    Expected expected;
    expected.kind = Expected::Kind::answer;
    expected.device = device;
    expected.answer = host.gateway_mac;
    return expected;
  }
  if (!packet.is_ip()) return drop("neither IP nor ARP", {DropReason::spoofed});
  const config::PortServices services = config::port_services(host, tenant, port);
  const bool six = has(port, Family::ipv6);
  const bool any = services.dhcp || (services.router_advertisements && six);
  if (packet.eth_type == kEthIpv6 && packet.is_icmp() && !packet.fragment) {
    if (packet.icmp_type == 134) return drop("a router nobody knows", {DropReason::rogue_service});
    if (packet.icmp_type == 133 && any) return heard();
    if (packet.icmp_type == 133) return drop("nothing to answer", {DropReason::not_answered});
  }
  if (is_gateway(tenant, packet.dst) && is_echo_request(packet) && !packet.fragment) {
    const bool one_host = packet.src.is_v4()
                              ? packet.src.bytes[0] != 0 && packet.src.bytes[0] != 127 && packet.src.bytes[0] < 224
                              : !packet.src.is_multicast() && !packet.src.is_unspecified();
    if (!one_host || packet.dst_mac.is_multicast() || packet.src_mac.is_multicast())
      return drop("not from one host", {DropReason::none});
    Expected expected;
    expected.kind = Expected::Kind::answer;
    expected.device = device;
    expected.answer = packet.dst_mac;
    return expected;
  }
  if (services.dhcp && is_dhcp(packet, true) && (port.mac_is_open || packet.src_mac == port.mac)) {
    if (packet.eth_type == kEthIpv4 ? has(port, Family::ipv4) : six && packet.dst == ip("ff02::1:2")) return heard();
  }
  if (auto reason = ends_here(packet)) return drop("ends here", {*reason});
  if (packet.src_mac != port.mac || !owns(port, packet.src)) {
    return drop("spoofed", {packet.fragment ? DropReason::bad_fragment : DropReason::spoofed});
  }
  return enter(tenant, packet, From::port, device);
}

Expected Oracle::from_overlay(const Packet& packet) {
  const config::Host& host = world_.config.host;
  if (!packet.received_in || packet.received_in->dst != host.underlay.address ||
      packet.received_in->dst_port != host.vxlan.port) {
    return drop("not our tunnel", {DropReason::unknown_vni});
  }
  const Tenant* tenant = tenant_of(Vni(packet.received_in->key));
  if (tenant == nullptr || !has_ports_here(*tenant)) return drop("unknown VNI", {DropReason::unknown_vni});
  if (!packet.tags.empty() || !packet.is_ip()) return drop("tagged or not IP", {DropReason::unknown_vni});
  if (auto reason = ends_here(packet)) return drop("ends here", {*reason});
  return enter(*tenant, packet, From::wire, world_.facts.vxlan);
}

Expected Oracle::from_outside(const Packet& packet) {
  Expected host;
  host.kind = Expected::Kind::host;
  bool ours = false;
  const config::Public& outside = *world_.config.host.public_net;
  for (const Tenant& tenant : world_.config.tenants) {
    for (const config::Nat& nat : tenant.nat) ours |= packet.is_ip() && nat.address == packet.dst;
  }
  const bool any = std::any_of(world_.config.tenants.begin(), world_.config.tenants.end(),
                               [](const Tenant& t) { return !t.nat.empty(); });
  if (packet.is_question() && outside.answer_arp && any) {
    for (const Tenant& tenant : world_.config.tenants) {
      for (const config::Nat& nat : tenant.nat) {
        if (nat.address != packet.asked) continue;
        Expected expected;
        expected.kind = Expected::Kind::answer;
        expected.device = world_.facts.uplink;
        expected.answer = world_.facts.uplink_mac;
        return expected;
      }
    }
    return host;
  }
  if (!ours) return host;
  if (packet.dst_mac != world_.facts.uplink_mac) return drop("not to our MAC", {DropReason::outside_slice});
  if (packet.ttl <= 1) return drop("TTL", {DropReason::ttl_expired});
  for (const Tenant& tenant : world_.config.tenants) {
    for (const config::Nat& nat : tenant.nat) {
      if (nat.address != packet.dst) continue;
      if (nat.ports) {
        uint16_t port = packet.dst_port;
        if (packet.is_icmp()) {
          port = packet.quoted ? packet.quoted->src_port : packet.icmp_id;
        } else if (packet.protocol != kProtoTcp && packet.protocol != kProtoUdp) {
          continue;
        }
        if (port < nat.ports->first || port > nat.ports->last) continue;
      }
      Packet inner = packet;
      inner.tags.clear();
      return enter(tenant, inner, From::outside, world_.facts.uplink);
    }
  }
  std::set<DropReason> reasons{DropReason::outside_slice};
  if (packet.is_icmp()) reasons.insert(DropReason::none);  // the program that looks for its slice
  return drop("outside every slice", std::move(reasons));
}

Expected Oracle::from_uplink(const Packet& packet) {
  const config::Host& host = world_.config.host;
  Expected to_host;
  to_host.kind = Expected::Kind::host;
  if (packet.tags.empty()) {
    return host.public_net && !host.public_net->vlan ? from_outside(packet) : to_host;
  }
  if (packet.tags[0].protocol == kEthQinq) return drop("QinQ", {DropReason::unknown_vlan});
  const Vid vid = packet.tags[0].id;
  const bool single = packet.tags.size() == 1;
  if (host.public_net && host.public_net->vlan == vid) return single ? from_outside(packet) : to_host;
  for (const Tenant& tenant : world_.config.tenants) {
    for (const config::TenantVlan& vlan : tenant.vlans) {
      if (vlan.id != vid) continue;
      if (!single) return drop("double tag", {DropReason::unknown_vlan});
      if (packet.is_question()) {
        for (const Port& port : tenant.ports) {
          if (!device_of(tenant, port) || !owns(port, packet.asked)) continue;
          Expected expected;
          expected.kind = Expected::Kind::answer;
          expected.device = world_.facts.uplink;
          expected.answer = world_.facts.uplink_mac;
          return expected;
        }
        return drop("asks for nobody here", {DropReason::none});
      }
      if (!packet.is_ip() || packet.dst_mac != world_.facts.uplink_mac) {
        return drop("not to our MAC", {DropReason::unknown_vlan});
      }
      if (auto reason = ends_here(packet)) return drop("ends here", {*reason});
      Packet inner = packet;
      inner.tags.clear();
      return enter(tenant, inner, From::wire, world_.facts.uplink);
    }
  }
  if (host.underlay.vlan == vid || world_.facts.host_vlans.contains(vid)) return to_host;
  return drop("unknown VLAN", {DropReason::unknown_vlan});
}

Expected Oracle::judge(IfIndex device, const Packet& packet, const Outcome& outcome) {
  outcome_ = &outcome;
  if (device == world_.facts.vxlan) return from_overlay(packet);
  if (device == world_.facts.uplink) return from_uplink(packet);
  for (const Tenant& tenant : world_.config.tenants) {
    for (const Port& port : tenant.ports) {
      if (device_of(tenant, port) == device) return from_port(tenant, port, device, packet);
    }
  }
  return drop("no such device", {});
}

std::string Oracle::difference(const Expected& e, const Outcome& o) {
  using Kind = Expected::Kind;
  const bool sent = o.kind == Outcome::Kind::sent;
  auto wrong = [&](const std::string& what) { return "expected " + what + (e.why.empty() ? "" : " (" + e.why + ")"); };
  if (e.kind == Kind::drop) {
    if (o.kind != Outcome::Kind::dropped) return wrong("a drop");
    return e.reasons.contains(o.reason()) ? "" : wrong("another reason to drop it");
  }
  if (e.kind == Kind::heard) return o.kind == Outcome::Kind::heard ? "" : wrong("that the agent hears it");
  if (e.kind == Kind::host) return o.kind == Outcome::Kind::host ? "" : wrong("the host");
  if (!sent || o.device != e.device)
    return wrong("device " + std::to_string(e.device.value()) + " " + to_string(e.packet));
  if (e.kind == Kind::answer) return o.packet.answer == e.answer ? "" : wrong("answer " + e.answer.to_string());
  if (o.packet.answer) return wrong("no answer in place");
  if (e.nat != nullptr && e.nat->ports) {
    const uint16_t port = o.packet.is_icmp() ? o.packet.icmp_id : o.packet.src_port;
    if (port < e.nat->ports->first || port > e.nat->ports->last) return wrong("a port in its slice");
  }
  const Packet& x = e.packet;
  const Packet& y = o.packet;
  const bool same = x.dst_mac == y.dst_mac && x.src_mac == y.src_mac && x.tags == y.tags && x.src == y.src &&
                    x.dst == y.dst && x.ttl == y.ttl && x.tuple() == y.tuple() && x.quoted == y.quoted &&
                    x.leaves_in == y.leaves_in;
  return same ? "" : wrong(to_string(x));
}

}  // namespace sepal::tc::model
