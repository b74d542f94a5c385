// See traffic.hpp.
#include "traffic.hpp"

#include <algorithm>

namespace sepal::tc::model {
namespace {

using config::Port;
using config::Tenant;

IpAddr within(Dice& dice, const IpPrefix& prefix) {
  IpAddr address = prefix.address;
  const IpAddr mask = prefix.mask();
  for (size_t i = 0; i < address.size(); ++i) {
    address.bytes[i] = static_cast<uint8_t>(address.bytes[i] | (dice.below(256) & ~mask.bytes[i]));
  }
  return address;
}

void set_family(Packet& packet, Family family) { packet.eth_type = family == Family::ipv4 ? kEthIpv4 : kEthIpv6; }

}  // namespace

Traffic::Traffic(const World& world, uint64_t seed)
    : world_(world), dice_(seed ^ 0x5eedULL), service_dice_(seed ^ 0xd4c9ULL), forger_(seed ^ 0xf04edULL) {}

IpAddr Traffic::any_address(const Tenant& tenant, Family family) {
  std::vector<IpPrefix> places;
  auto add = [&](const IpPrefix& place) {
    if (place.family() == family) places.push_back(place);
  };
  for (const Tenant& t : world_.config.tenants) {
    if (t.vni != tenant.vni && !dice_.chance(15)) continue;
    for (const config::Subnet& s : t.subnets) add(s.prefix);
    for (const Port& p : t.ports) {
      for (const IpAddr& a : p.addresses) {
        add(IpPrefix::host(a));
        add(IpPrefix::host(a));
      }
      for (const IpPrefix& prefix : p.prefixes) add(prefix);
    }
    for (const config::Route& r : t.routes) {
      add(r.to);
      add(r.to);
    }
    for (const config::Nat& n : t.nat) {
      if (dice_.chance(20)) add(IpPrefix::host(n.address));
    }
  }
  for (const char* far : {"8.8.8.8/32", "8.8.8.200/32", "224.0.0.251/32", "2600::8/128", "2600:1::9/128", "ff02::1/128",
                          "192.0.2.1/32"}) {
    add(prefix(far));
  }
  return within(dice_, dice_.of(places));
}

void Traffic::fill(Packet& packet, Family family) {
  static const std::vector<uint16_t> kPorts = {53, 80, 443, 1024, 1500, 2047, 2048, 40000};
  set_family(packet, family);
  packet.src_port = dice_.chance(50) ? dice_.of(kPorts) : static_cast<uint16_t>(dice_.between(1, 65535));
  packet.dst_port = dice_.of(kPorts);
  packet.ttl = dice_.chance(8) ? static_cast<uint8_t>(dice_.below(3)) : 64;
  packet.fragment = dice_.chance(8);
  const uint32_t kind = dice_.below(100);
  if (kind < 40) {
    packet.protocol = kProtoTcp;
    packet.tcp_flags = dice_.chance(80) ? kTcpSyn : static_cast<uint16_t>(dice_.below(0x20));
  } else if (kind < 75) {
    packet.protocol = kProtoUdp;
  } else if (kind < 93) {
    packet.protocol = family == Family::ipv4 ? kProtoIcmp : kProtoIcmpv6;
    packet.icmp_type = family == Family::ipv4 ? 8 : 128;
    static const std::vector<uint8_t> kTypes = {0, 3, 11, 129, 130, 133, 134, 136, 143};
    if (dice_.chance(15))
      packet.icmp_type = dice_.chance(70) ? dice_.of(kTypes) : static_cast<uint8_t>(dice_.below(140));
    if (packet.icmp_type == 135 && family == Family::ipv6) packet.icmp_type = 136;
    packet.icmp_id = packet.src_port;
    packet.src_port = packet.dst_port = 0;
  } else {
    packet.protocol = 47;
    packet.src_port = packet.dst_port = 0;
  }
}

void Traffic::question(Packet& packet) {
  packet.asked = dice_.chance(25) ? ip("169.254.1.1") : any_address(dice_.of(world_.config.tenants), Family::ipv4);
  if (dice_.chance(50)) {
    packet.eth_type = kEthArp;
    return;
  }
  packet.eth_type = kEthIpv6;
  packet.protocol = kProtoIcmpv6;
  packet.icmp_type = 135;
  packet.ttl = dice_.chance(90) ? 255 : 1;
  packet.src = ip("fe80::2");
  packet.dst = dice_.chance(60) ? ip("ff02::1:ff00:1") : any_address(dice_.of(world_.config.tenants), Family::ipv6);
  packet.asked = dice_.chance(25) ? ip("fe80::1") : any_address(dice_.of(world_.config.tenants), Family::ipv6);
}

IpAddr Traffic::a_gateway(const Tenant& tenant, Family family) {
  for (const config::Subnet& subnet : tenant.subnets)
    if (subnet.gateway && subnet.gateway->family == family && dice_.chance(50)) return *subnet.gateway;
  return ip(family == Family::ipv4 ? "169.254.1.1" : "fe80::1");
}

// DHCP as clients ask it, as others may, and as only servers say it.
void Traffic::service(Packet& packet) {
  const bool four = packet.src.is_v4();
  set_family(packet, packet.src.family);
  packet.protocol = kProtoUdp;
  packet.icmp_type = 0;
  packet.fragment = service_dice_.chance(5);
  packet.ttl = service_dice_.chance(20) ? 1 : 64;
  packet.src_port = four ? 68 : 546;
  packet.dst_port = four ? 67 : 547;
  if (service_dice_.chance(30)) std::swap(packet.src_port, packet.dst_port);
  if (service_dice_.chance(10)) packet.src_port = packet.dst_port;
  if (service_dice_.chance(60) || packet.dst.family != packet.src.family)
    packet.dst = four ? ip("255.255.255.255") : ip("ff02::1:2");
  if (service_dice_.chance(40)) packet.src = four ? ip("0.0.0.0") : ip("fe80::2");
}

// Of ARP and neighbour discovery: a guest that says it is somebody else, or nobody yet.
void Traffic::forge(Packet& packet) {
  static const std::vector<const char*> kSenders[] = {
      {"0.0.0.0", "169.254.1.1", "169.254.7.7", "10.0.0.1", "10.0.0.2", "10.0.0.254", "10.9.9.9"},
      {"::", "fe80::1", "fe80::77", "fd00:1::1", "fd00:1::2", "fd00:9::9"}};
  auto anybody = [&] {
    const Family family = packet.eth_type == kEthArp ? Family::ipv4 : Family::ipv6;
    return ip(forger_.of(kSenders[static_cast<size_t>(family)]));
  };
  if (packet.is_advertisement()) packet.asked = forger_.chance(50) ? packet.src : anybody();
  if (forger_.chance(40)) packet.src = anybody();
  if (forger_.chance(10)) packet.src_mac.bytes[4] = 9;
  if (packet.eth_type == kEthArp) packet.arp_operation = forger_.chance(15) ? kArpReply : kArpRequest;
}

Arrival Traffic::from_guest() {
  struct Guest {
    const Tenant* tenant;
    const Port* port;
    IfIndex device;
  };
  std::vector<Guest> guests;
  for (const Tenant& t : world_.config.tenants) {
    for (const Port& p : t.ports) {
      auto found = world_.facts.ports.find({t.name, p.name});
      if (found != world_.facts.ports.end()) guests.push_back({&t, &p, found->second});
    }
  }
  if (guests.empty()) return from_wire();
  const Guest& guest = dice_.of(guests);
  Packet packet;
  packet.src_mac = guest.port->mac;
  packet.dst_mac = world_.config.host.gateway_mac;
  std::vector<IpPrefix> sources;
  for (const IpAddr& address : guest.port->addresses) sources.push_back(IpPrefix::host(address));
  for (const IpPrefix& more : guest.port->prefixes) sources.push_back(more);
  packet.src = within(dice_, dice_.of(sources));
  if (dice_.chance(10)) {
    question(packet);
  } else {
    const Family family = packet.src.family;
    fill(packet, family);
    packet.dst = any_address(*guest.tenant, family);
    if (packet.is_icmp() && !packet.quoted && dice_.chance(20)) packet.dst = a_gateway(*guest.tenant, family);
    if (dice_.chance(5)) packet.src_mac.bytes[4] = 9;
    if (dice_.chance(5)) packet.src = any_address(*guest.tenant, family);
    if (dice_.chance(2)) packet.eth_type = 0x88cc;
  }
  if (packet.is_icmp() && packet.eth_type == kEthIpv6 && packet.icmp_type == 128 && forger_.chance(3))
    packet.icmp_type = forger_.chance(50) ? 133 : 136;
  if (packet.is_question() || packet.is_advertisement()) forge(packet);
  if (service_dice_.chance(8)) service(packet);
  if (dice_.chance(3))
    packet.tags.push_back({dice_.chance(70) ? kEthVlan : kEthQinq, Vid(static_cast<uint16_t>(100 + dice_.below(3)))});
  if (!packet.tags.empty() && dice_.chance(40)) packet.tags.push_back({kEthVlan, Vid(5)});
  return {guest.device, packet};
}

Arrival Traffic::from_overlay() {
  const Tenant& tenant = dice_.of(world_.config.tenants);
  Packet packet;
  const config::Host& host = world_.config.host;
  IpAddr remote = host.underlay.address;
  remote.bytes[remote.size() - 1] = 2;
  packet.received_in = Tunnel{dice_.chance(85) ? tenant.vni.value() : dice_.between(1, 500), remote,
                              host.underlay.address, host.vxlan.port};
  if (dice_.chance(3)) packet.received_in->dst = remote;
  packet.src_mac = host.gateway_mac;
  packet.dst_mac = mac("02:73:65:70:61:6d");
  const Family family = dice_.chance(60) ? Family::ipv4 : Family::ipv6;
  fill(packet, family);
  packet.src = any_address(tenant, family);
  packet.dst = any_address(tenant, family);
  if (dice_.chance(3)) packet.eth_type = kEthArp;
  if (dice_.chance(3)) packet.tags.push_back({kEthVlan, Vid(5)});
  return {world_.facts.vxlan, packet};
}

Arrival Traffic::from_wire() {
  const Tenant& tenant = dice_.of(world_.config.tenants);
  const config::Host& host = world_.config.host;
  Packet packet;
  packet.src_mac = mac("02:00:00:00:99:77");
  packet.dst_mac = dice_.chance(90) ? world_.facts.uplink_mac : mac("02:00:00:00:00:99");
  const Family family = dice_.chance(60) ? Family::ipv4 : Family::ipv6;
  if (dice_.chance(15)) {
    question(packet);
  } else {
    fill(packet, family);
    packet.src = any_address(tenant, family);
    packet.dst = any_address(tenant, family);
    if (dice_.chance(50)) {
      for (const config::Nat& nat : tenant.nat) {
        if (nat.address.family == family) packet.dst = nat.address;
      }
    }
  }
  std::vector<uint16_t> vids = {2, 7, 30, 30, 55};
  for (const Tenant& t : world_.config.tenants) {
    for (const config::TenantVlan& vlan : t.vlans) vids.insert(vids.end(), 3, vlan.id.value());
  }
  const bool public_tagged = host.public_net && host.public_net->vlan;
  if (dice_.chance(public_tagged ? 85 : 50)) packet.tags.push_back({kEthVlan, Vid(dice_.of(vids))});
  if (dice_.chance(3)) packet.tags.insert(packet.tags.begin(), {kEthQinq, Vid(30)});
  if (dice_.chance(3)) packet.tags.push_back({kEthVlan, Vid(5)});
  return {world_.facts.uplink, packet};
}

Arrival Traffic::next() {
  if (!replies_.empty() && dice_.chance(60)) {
    Arrival arrival = replies_.front();
    replies_.pop_front();
    return arrival;
  }
  const uint32_t from = dice_.below(100);
  if (from < 60) return from_guest();
  return from < 80 ? from_overlay() : from_wire();
}

void Traffic::seen(const Arrival& arrival, const Outcome& outcome) {
  if (outcome.kind != Outcome::Kind::sent || outcome.packet.answer || replies_.size() > 40) return;
  const Packet& sent = outcome.packet;
  // The same once more: a retransmission, or the next packet of a one-way flow.
  if (dice_.chance(35)) replies_.push_back(arrival);
  if (sent.quoted) return;
  Packet back;
  back.eth_type = sent.eth_type;
  back.protocol = sent.protocol;
  back.src = sent.dst;
  back.dst = sent.src;
  const Tuple inverse = invert(sent.tuple());
  if (sent.is_icmp()) {
    back.icmp_type = static_cast<uint8_t>(inverse.dst_port);
    back.icmp_id = inverse.src_port;
  } else {
    back.src_port = inverse.src_port;
    back.dst_port = inverse.dst_port;
  }
  if (back.protocol == kProtoTcp) {
    const bool syn = sent.tcp_flags == kTcpSyn;
    back.tcp_flags = syn ? kTcpSyn | kTcpAck : kTcpAck;
    if (dice_.chance(10)) back.tcp_flags = dice_.chance(50) ? kTcpFin | kTcpAck : kTcpRst;
  }
  back.fragment = dice_.chance(8);
  if (dice_.chance(15)) {  // an error about it instead, by the receiver or by a router on its way
    back.quoted = sent.tuple();
    back.protocol = back.eth_type == kEthIpv4 ? kProtoIcmp : kProtoIcmpv6;
    back.icmp_type = back.eth_type == kEthIpv4 ? 3 : 1;
    back.icmp_id = back.src_port = back.dst_port = back.tcp_flags = 0;
    back.fragment = false;
  }
  Arrival reply{outcome.device, back};
  Packet& p = reply.packet;
  if (outcome.device == world_.facts.vxlan) {
    // The far end speaks into the sender's own network.
    Vni vni;
    for (const Tenant& t : world_.config.tenants) {
      for (const Port& port : t.ports) {
        auto found = world_.facts.ports.find({t.name, port.name});
        if (found != world_.facts.ports.end() && found->second == arrival.device) vni = t.vni;
      }
    }
    p.received_in = Tunnel{vni.value(), sent.leaves_in->dst, sent.leaves_in->src, sent.leaves_in->dst_port};
    p.src_mac = world_.config.host.gateway_mac;
    if (p.quoted && dice_.chance(50)) p.src = p.eth_type == kEthIpv4 ? ip("10.0.0.99") : ip("fd00:1::99");
  } else if (outcome.device == world_.facts.uplink) {
    p.tags = sent.tags;
    p.src_mac = sent.dst_mac;
    p.dst_mac = world_.facts.uplink_mac;
    if (p.quoted && dice_.chance(50)) p.src = p.eth_type == kEthIpv4 ? ip("198.51.100.77") : ip("2001:db8:77::1");
  } else {
    p.src_mac = sent.dst_mac;
    p.dst_mac = world_.config.host.gateway_mac;
  }
  replies_.push_back(reply);
}

}  // namespace sepal::tc::model
