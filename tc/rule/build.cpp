// Short words for actions; linux/tc_act/*.h govern what the numbers mean.
#include "tc/rule/build.hpp"

#include <utility>

namespace sepal::tc {
namespace {

uint32_t word(const MacAddr& mac, size_t at) {
  return static_cast<uint32_t>(mac.bytes[at]) << 24U | static_cast<uint32_t>(mac.bytes[at + 1]) << 16U |
         static_cast<uint32_t>(mac.bytes[at + 2]) << 8U | mac.bytes[at + 3];
}

Action by_size(uint32_t frame_bytes, Control larger, Control others) {
  Police police;
  police.mtu = frame_bytes;
  police.exceed = {larger, 0};
  police.conform = {others, 0};
  return {police};
}

}  // namespace

Action drop() { return {Gact{{Control::drop, 0}}}; }
Action pass() { return {Gact{{Control::pass, 0}}}; }
Action taken() { return {Gact{{Control::stolen, 0}}}; }
Action goto_chain(uint32_t chain) { return {Gact{{Control::goto_chain, chain}}}; }
Action redirect(IfIndex device) { return {Mirred{device, false, false}}; }
Action vlan_pop() { return {VlanAction{VlanAction::Kind::pop, {}, 0, 0}}; }
Action vlan_push(Vid id) { return {VlanAction{VlanAction::Kind::push, id, kEthVlan, 0}}; }

Action tunnel_set(const IpAddr& source, const IpAddr& destination, Vni key, uint16_t dst_port, uint8_t ttl) {
  TunnelSet set;
  set.source = source;
  set.destination = destination;
  set.key_id = key.value();
  set.dst_port = dst_port;
  set.ttl = ttl;
  return {set};
}

Action tunnel_unset() { return {TunnelUnset{}}; }
Action csum(uint32_t flags) { return {Csum{flags}}; }

Action ct_lookup(Zone zone) {
  Ct ct;
  ct.zone = zone;
  ct.nat = true;
  return {ct};
}

Action ct_commit(Zone zone, uint32_t mark, uint32_t mark_mask) {
  Ct ct;
  ct.zone = zone;
  ct.commit = true;
  ct.mark = mark;
  ct.mark_mask = mark_mask;
  return {ct};
}

Action ct_commit_snat(Zone zone, std::optional<IpAddr> address, std::optional<PortRange> ports, uint32_t mark,
                      uint32_t mark_mask) {
  Action action = ct_commit(zone, mark, mark_mask);
  Ct& ct = std::get<Ct>(action.kind);
  ct.nat = true;
  ct.direction = Ct::Direction::src;
  ct.nat_first = address;
  ct.nat_last = address;
  ct.nat_ports = ports;
  return action;
}

Action police_packets(uint64_t per_second, uint64_t burst) {
  Police police;
  police.rate_packets_per_second = per_second;
  police.burst_packets = burst;
  return {police};
}

Action police_size(uint32_t frame_bytes) { return by_size(frame_bytes, Control::pipe, Control::next_rule); }
Action police_fits(uint32_t frame_bytes) { return by_size(frame_bytes, Control::next_rule, Control::pipe); }

Action set_mark(uint32_t mark) { return {SkbeditMark{mark}}; }
Action bpf(const std::string& name, const std::array<uint8_t, 8>& tag, Control unspec) {
  return {Bpf{name, tag, {unspec, 0}}};
}

Action rewrite_macs_and_ttl(const MacAddr& source, const MacAddr& destination, Family family) {
  using Header = PeditKey::Header;
  using Command = PeditKey::Command;
  Pedit pedit;
  pedit.keys.reserve(4);
  // Ethernet: destination in bytes 0-5, source in 6-11, so the middle word holds two bytes of each.
  const auto middle = static_cast<uint32_t>(destination.bytes[4]) << 24U |
                      static_cast<uint32_t>(destination.bytes[5]) << 16U |
                      static_cast<uint32_t>(source.bytes[0]) << 8U | source.bytes[1];
  pedit.keys.push_back({Header::eth, Command::set, 0, word(destination, 0), 0xffffffff});
  pedit.keys.push_back({Header::eth, Command::set, 4, middle, 0xffffffff});
  pedit.keys.push_back({Header::eth, Command::set, 8, word(source, 2), 0xffffffff});
  // TTL is the first byte of word 8 of IPv4, hop limit the last byte of word 4 of IPv6; adding 255 takes one away.
  if (family == Family::ipv4) {
    pedit.keys.push_back({Header::ip4, Command::add, 8, 0xff000000, 0xff000000});
  } else {
    pedit.keys.push_back({Header::ip6, Command::add, 4, 0x000000ff, 0x000000ff});
  }
  return {pedit};
}

}  // namespace sepal::tc
