#include "tests/unit/tc/codec/rule_generator.hpp"

#include <algorithm>

#include "tc/codec/act_police.hpp"

namespace sepal::tc {

uint64_t RuleGenerator::bits(unsigned count) { return random_() >> (64 - count); }

IpAddr RuleGenerator::address(Family family) {
  IpAddr out{family, {}};
  for (size_t i = 0; i < out.size(); ++i) out.bytes[i] = static_cast<uint8_t>(bits(8));
  return out;
}

Verdict RuleGenerator::verdict() {
  switch (below(6)) {
    case 0: return {Control::drop, 0};
    case 1: return {Control::pass, 0};
    case 2: return {Control::goto_chain, static_cast<uint32_t>(bits(28))};
    case 3: return {Control::reclassify, 0};
    case 4: return {Control::other, 8};  // TC_ACT_TRAP
    default: return {};
  }
}

void RuleGenerator::maybe(Match& match, Key key) {
  if (coin()) return;
  std::array<uint8_t, 16> value{};
  std::array<uint8_t, 16> mask{};
  const bool exact = coin();
  for (size_t i = 0; i < key_width(key); ++i) {
    value[i] = static_cast<uint8_t>(bits(8));
    mask[i] = exact ? 0xff : static_cast<uint8_t>(bits(8));
  }
  match.set_bytes(key, value.data(), mask.data());
}

void RuleGenerator::maybe_prefix(Match& match, Key ipv4_key, Family family) {
  if (coin()) match.ip(ipv4_key, IpPrefix::make(address(family), 1 + below(IpAddr::bits(family))));
}

Match RuleGenerator::match(uint16_t& protocol) {
  Match out;
  static constexpr uint16_t kTypes[] = {kEthIpv4, kEthIpv6, kEthArp};
  protocol = kEthAll;
  uint16_t eth = 0;
  if (below(4) != 0) {
    eth = kTypes[below(3)];
    if (below(4) == 0) {
      protocol = coin() ? kEthVlan : kEthQinq;
      out.eth_type(protocol);
      if (coin()) out.set(Key::vlan_id, below(4095));
      if (coin()) out.set(Key::vlan_prio, below(8));
      if (coin()) {
        out.set(Key::vlan_eth_type, eth);
      } else {
        eth = 0;
      }
    } else {
      out.eth_type(eth);
      if (coin()) protocol = eth;
    }
  }
  maybe(out, Key::dst_mac);
  maybe(out, Key::src_mac);
  if (eth == kEthIpv4 || eth == kEthIpv6) {
    const Family family = eth == kEthIpv4 ? Family::ipv4 : Family::ipv6;
    maybe(out, Key::ip_tos);
    maybe(out, Key::ip_ttl);
    maybe_prefix(out, Key::dst_ip4, family);
    maybe_prefix(out, Key::src_ip4, family);
    const uint8_t protocols[] = {kProtoTcp, kProtoUdp, kProtoSctp, 47,
                                 family == Family::ipv4 ? kProtoIcmp : kProtoIcmpv6};
    const uint8_t proto = protocols[below(5)];
    if (coin()) {
      out.set(Key::ip_proto, proto);
      if (proto == kProtoTcp || proto == kProtoUdp || proto == kProtoSctp) {
        maybe(out, Key::dst_port);
        maybe(out, Key::src_port);
      }
      if (proto == kProtoTcp) maybe(out, Key::tcp_flags);
      if (proto == kProtoIcmp || proto == kProtoIcmpv6) {
        maybe(out, Key::icmp_type);
        maybe(out, Key::icmp_code);
      }
    }
  }
  if (eth == kEthArp) {
    maybe(out, Key::arp_op);
    maybe(out, Key::arp_tip);
    maybe(out, Key::arp_sip);
  }
  if (coin()) out.set(Key::ip_flags, static_cast<uint32_t>(bits(2)), 1 + below(3));
  if (coin()) {
    const Family family = coin() ? Family::ipv4 : Family::ipv6;
    out.set(Key::enc_key_id, static_cast<uint32_t>(bits(32)));
    maybe_prefix(out, Key::enc_dst_ip4, family);
    maybe_prefix(out, Key::enc_src_ip4, family);
    maybe(out, Key::enc_dst_port);
  }
  static constexpr uint16_t kStates[][2] = {
      {kCtTrk | kCtEst, kCtRpl}, {kCtTrk | kCtNew, 0}, {kCtTrk | kCtInv, 0},
      {kCtTrk | kCtRel, kCtEst}, {0, kCtTrk},          {kCtTrk | kCtEst | kCtRpl, kCtNew}};
  if (coin()) {
    const auto& state = kStates[below(6)];
    out.ct_state(state[0], state[1]);
  }
  maybe(out, Key::ct_zone);
  maybe(out, Key::ct_mark);
  maybe(out, Key::hash);
  return out;
}

Pedit RuleGenerator::pedit() {
  static constexpr PeditKey::Header kHeaders[] = {PeditKey::Header::network, PeditKey::Header::eth,
                                                  PeditKey::Header::ip4,     PeditKey::Header::ip6,
                                                  PeditKey::Header::tcp,     PeditKey::Header::udp};
  Pedit out;
  for (uint32_t count = 1 + below(5); count > 0; --count) {
    PeditKey key;
    key.header = kHeaders[below(6)];
    key.command = coin() ? PeditKey::Command::set : PeditKey::Command::add;
    key.offset = 4 * below(10);
    key.mask = static_cast<uint32_t>(bits(32));
    key.value = static_cast<uint32_t>(bits(32)) & key.mask;
    out.keys.push_back(key);
  }
  return out;
}

Ct RuleGenerator::ct() {
  Ct out;
  if (!options_.kernel_accepts || coin()) out.verdict = verdict();
  if (below(8) == 0) {
    out.clear = true;
    return out;
  }
  out.zone = Zone(static_cast<uint16_t>(bits(16)));
  out.commit = coin();
  out.force = out.commit && coin();
  out.nat = coin();
  if (coin()) {
    out.mark_mask = 1 + static_cast<uint32_t>(bits(31));
    out.mark = static_cast<uint32_t>(bits(32));
  }
  if (out.nat && coin()) {
    out.direction = coin() ? Ct::Direction::src : Ct::Direction::dst;
    if (coin()) {
      out.nat_first = out.nat_last = address(coin() ? Family::ipv4 : Family::ipv6);
      if (coin()) out.nat_last = std::max(*out.nat_first, address(out.nat_first->family));
    }
    if (coin()) {
      const auto first = static_cast<uint16_t>(1 + below(30000));
      out.nat_ports = PortRange{first, static_cast<uint16_t>(coin() ? first : first + below(30000))};
    }
  }
  return out;
}

Police RuleGenerator::police() {
  Police out;
  if (coin()) {
    out.rate_packets_per_second = 1 + below(2'000'000);
    out.burst_packets = 1 + below(100'000);
  } else {
    out.rate_bytes_per_second = 1000 + (coin() ? below(15'000'000) : bits(36));
    out.burst_bytes = 1500 + below(10'000'000);
  }
  if (below(4) == 0) out = {0, 0, 0, 0, {}, {}, 68 + below(65'000)};
  out.exceed = verdict();
  do {
    out.conform = verdict();
  } while (out.conform.control == Control::goto_chain);
  return police_as_kept(out);
}

ActionKind RuleGenerator::kind() {
  switch (below(options_.programs.empty() ? 11 : 12)) {
    case 0: return Gact{verdict()};
    case 1:
    case 2: return Mirred{options_.devices[below(static_cast<uint32_t>(options_.devices.size()))], coin(), coin()};
    case 3: {
      VlanAction out;
      out.kind = static_cast<VlanAction::Kind>(below(3));
      if (out.kind == VlanAction::Kind::pop) return out;
      out.id = Vid(static_cast<uint16_t>(below(4095)));
      out.protocol = coin() ? kEthVlan : kEthQinq;
      out.priority = static_cast<uint8_t>(below(8));
      return out;
    }
    case 4: {
      TunnelSet out;
      const Family family = coin() ? Family::ipv4 : Family::ipv6;
      out.source = address(family);
      out.destination = address(family);
      out.key_id = static_cast<uint32_t>(bits(32));
      out.dst_port = static_cast<uint16_t>(bits(16));
      out.tos = static_cast<uint8_t>(coin() ? bits(8) : 0);
      out.ttl = static_cast<uint8_t>(coin() ? bits(8) : 0);
      out.checksum = coin();
      return out;
    }
    case 5: return TunnelUnset{};
    case 6: return pedit();
    case 7: return Csum{1 + static_cast<uint32_t>(bits(6))};
    case 8: return ct();
    case 9: return police();
    case 10: return SkbeditMark{static_cast<uint32_t>(bits(32)), coin() ? 0xffffffff : static_cast<uint32_t>(bits(32))};
    default: {
      Bpf out = options_.programs[below(static_cast<uint32_t>(options_.programs.size()))];
      out.verdict = verdict();
      return out;
    }
  }
}

Action RuleGenerator::action(bool may_be_shared) {
  Action out;
  out.kind = kind();
  if (may_be_shared && below(4) == 0) out.index = next_index_++;
  const bool own_verdict = std::holds_alternative<Gact>(out.kind) || std::holds_alternative<Ct>(out.kind) ||
                           std::holds_alternative<Police>(out.kind) || std::holds_alternative<Bpf>(out.kind);
  if (!own_verdict && below(8) == 0) out.unusual_verdict = Verdict{Control::pass, 0};
  return out;
}

Rule RuleGenerator::rule() {
  Rule out;
  out.id.device = options_.devices.front();
  out.id.chain = static_cast<uint32_t>(bits(28));
  out.id.handle = next_handle_++;
  out.id.prio = static_cast<uint16_t>(1 + below(0xffff));
  out.spec.match = match(out.id.protocol);
  out.spec.skip_hw = coin();
  const uint32_t count = 1 + below(6);
  for (uint32_t i = 1; i <= count; ++i) out.spec.actions.push_back(action(i != count));
  return out;
}

Cookie RuleGenerator::cookie() {
  Cookie out;
  out.instance = static_cast<uint16_t>(bits(16));
  out.zone = Zone(static_cast<uint16_t>(bits(16)));
  out.content = bits(64);
  return out;
}

}  // namespace sepal::tc
