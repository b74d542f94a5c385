// Frames as values, and flower's view of them (net/sched/cls_flower.c, net/core/flow_dissector.c).
#include "tc/model/packet.hpp"

#include <algorithm>

namespace sepal::tc::model {
namespace {

uint16_t inverse_echo(uint16_t type) {
  switch (type) {
    case 8: return 0;
    case 0: return 8;
    case 128: return 129;
    case 129: return 128;
    default: return type;
  }
}

using Bytes = std::array<uint8_t, 16>;

Bytes number(uint32_t value, size_t width) {
  Bytes bytes{};
  for (size_t i = 0; i < width; ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * (width - 1 - i)));
  return bytes;
}

Bytes address(const IpAddr& ip, Family family) { return ip.family == family ? ip.bytes : Bytes{}; }

Bytes mac(const MacAddr& from) {
  Bytes bytes{};
  std::copy(from.bytes.begin(), from.bytes.end(), bytes.begin());
  return bytes;
}

// What the dissector puts into a key; zero where the packet has no such header.
Bytes key_bytes(Key key, const Packet& p, uint16_t ct_state, uint32_t ct_mark) {
  const bool ip = p.is_ip();
  const bool whole = ip && !p.fragment;  // ports of fragments, first ones too, are not dissected
  const bool ports = whole && (p.protocol == kProtoTcp || p.protocol == kProtoUdp || p.protocol == 132);
  const bool icmp = whole && p.is_icmp();
  const Tunnel tunnel = p.received_in.value_or(Tunnel{});
  const bool in_tunnel = p.received_in.has_value();
  switch (key) {
    case Key::vlan_id: return number(p.tags.empty() ? 0 : p.tags[0].id.value(), 2);
    case Key::vlan_prio: return {};
    case Key::vlan_eth_type:
      if (p.tags.empty()) return {};
      return number(p.tags.size() > 1 ? p.tags[1].protocol : p.eth_type, 2);
    case Key::dst_mac: return mac(p.dst_mac);
    case Key::src_mac: return mac(p.src_mac);
    case Key::eth_type: return number(p.eth_type, 2);
    case Key::ip_proto: return number(ip ? p.protocol : 0, 1);
    case Key::ip_tos: return {};
    case Key::ip_ttl: return number(ip ? p.ttl : 0, 1);
    case Key::dst_ip4: return ip ? address(p.dst, Family::ipv4) : Bytes{};
    case Key::src_ip4: return ip ? address(p.src, Family::ipv4) : Bytes{};
    case Key::dst_ip6: return ip ? address(p.dst, Family::ipv6) : Bytes{};
    case Key::src_ip6: return ip ? address(p.src, Family::ipv6) : Bytes{};
    case Key::dst_port: return number(ports ? p.dst_port : 0, 2);
    case Key::src_port: return number(ports ? p.src_port : 0, 2);
    case Key::tcp_flags: return number(whole && p.protocol == kProtoTcp ? p.tcp_flags : 0, 2);
    case Key::icmp_type: return number(icmp ? p.icmp_type : 0, 1);
    case Key::icmp_code: return number(icmp ? p.icmp_code : 0, 1);
    case Key::ip_flags: return number(ip && p.fragment ? kIpFlagFrag : 0, 4);
    case Key::enc_key_id: return number(tunnel.key, 4);
    case Key::enc_dst_ip4: return in_tunnel ? address(tunnel.dst, Family::ipv4) : Bytes{};
    case Key::enc_src_ip4: return in_tunnel ? address(tunnel.src, Family::ipv4) : Bytes{};
    case Key::enc_dst_ip6: return in_tunnel ? address(tunnel.dst, Family::ipv6) : Bytes{};
    case Key::enc_src_ip6: return in_tunnel ? address(tunnel.src, Family::ipv6) : Bytes{};
    case Key::enc_dst_port: return number(tunnel.dst_port, 2);
    case Key::ct_state: return number(ct_state, 2);
    case Key::ct_zone: return number(p.tracking ? p.tracking->zone.value() : 0, 2);
    case Key::ct_mark: return number(ct_mark, 4);
    case Key::hash: return number(p.hash, 4);
    case Key::arp_op:
    case Key::arp_tip:
    case Key::arp_sip: return {};
  }
  return {};
}

bool is_vlan(uint32_t eth_type) { return eth_type == kEthVlan || eth_type == kEthQinq; }

}  // namespace

bool is_echo(const Tuple& t) {
  return (t.protocol == kProtoIcmp && (t.dst_port == 8 || t.dst_port == 0)) ||
         (t.protocol == kProtoIcmpv6 && (t.dst_port == 128 || t.dst_port == 129));
}

Tuple invert(const Tuple& t) {
  if (t.protocol == kProtoIcmp || t.protocol == kProtoIcmpv6) {
    return {t.dst, t.src, t.protocol, t.src_port, inverse_echo(t.dst_port)};
  }
  return {t.dst, t.src, t.protocol, t.dst_port, t.src_port};
}

Tuple Packet::tuple() const {
  if (is_icmp()) return {src, dst, protocol, icmp_id, icmp_type};
  if (protocol == kProtoTcp || protocol == kProtoUdp) return {src, dst, protocol, src_port, dst_port};
  return {src, dst, protocol, 0, 0};
}

bool matches(const Match& match, uint16_t protocol, const Packet& packet, uint16_t ct_state, uint32_t ct_mark,
             View view) {
  if (protocol != kEthAll && protocol != packet.outer_protocol()) return false;
  bool names_vlan = false;
  for (const KeyMatch& key : match.keys()) {
    if (key.key == Key::eth_type && is_vlan(key.value_u32())) {
      // A VLAN's protocol as eth_type is the outer tag's (fl_set_key: is_vlan_key).
      if (packet.tags.empty() || packet.tags[0].protocol != key.value_u32()) return false;
      names_vlan = true;
      continue;
    }
    if (key.key == Key::vlan_id || key.key == Key::vlan_eth_type) {
      names_vlan = true;
      if (packet.tags.empty()) return false;
    }
    const Bytes bytes = key_bytes(key.key, packet, ct_state, ct_mark);
    for (size_t i = 0; i < key_width(key.key); ++i) {
      if (((bytes[i] ^ key.value[i]) & key.mask[i]) != 0) return false;
    }
  }
  return view == View::software || names_vlan || match.empty() || packet.tags.empty();
}

std::string to_string(const Packet& p) {
  std::string text = p.src_mac.to_string() + " > " + p.dst_mac.to_string();
  for (const VlanTag& tag : p.tags)
    text += " vlan " + std::to_string(tag.id.value()) + (tag.protocol == kEthQinq ? "(ad)" : "");
  if (p.received_in)
    text += " from vni " + std::to_string(p.received_in->key) + " to " + p.received_in->dst.to_string();
  if (p.leaves_in) text += " into vni " + std::to_string(p.leaves_in->key) + " to " + p.leaves_in->dst.to_string();
  if (p.eth_type == kEthArp)
    return text + (p.arp_operation == kArpRequest ? " arp who-has " : " arp to ") + p.asked.to_string() + " of " +
           p.src.to_string();
  if (!p.is_ip()) return text + " eth_type " + std::to_string(p.eth_type);
  text += " " + p.src.to_string() + " > " + p.dst.to_string() + " proto " + std::to_string(p.protocol) + " ttl " +
          std::to_string(p.ttl);
  if (p.fragment) text += " fragment";
  if (p.is_icmp()) {
    text += " type " + std::to_string(p.icmp_type) + " id " + std::to_string(p.icmp_id);
    if (p.icmp_type == 135) text += " who-has " + p.asked.to_string();
    if (p.is_advertisement()) text += " says it has " + p.asked.to_string();
    if (p.quoted) {
      text += " about " + p.quoted->src.to_string() + ":" + std::to_string(p.quoted->src_port) + " > " +
              p.quoted->dst.to_string() + ":" + std::to_string(p.quoted->dst_port);
    }
  } else {
    text += " ports " + std::to_string(p.src_port) + " > " + std::to_string(p.dst_port);
    if (p.protocol == kProtoTcp) text += " flags " + std::to_string(p.tcp_flags);
  }
  return text;
}

}  // namespace sepal::tc::model
