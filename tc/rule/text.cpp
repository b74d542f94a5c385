// Rules as one line of text, in the order and the words of `tc filter show` (iproute2's f_flower.c and m_*.c), so that
// what a line says can be typed behind `tc filter add` with little change. Devices are numbers: "dev 7".
#include <algorithm>
#include <bit>
#include <cstdio>
#include <string_view>

#include "tc/rule/rule.hpp"

namespace sepal::tc {
namespace {

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

// Names that a foreign filter was given may hold any bytes: what would break the line, or speak to the terminal, is
// shown as "\x0a".
std::string printable(std::string_view name) {
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      text += c;
      continue;
    }
    char escaped[5];
    std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
    text += escaped;
  }
  return text;
}

std::string protocol_name(uint16_t protocol) {
  switch (protocol) {
    case kEthAll: return "all";
    case kEthIpv4: return "ip";
    case kEthIpv6: return "ipv6";
    case kEthArp: return "arp";
    case kEthVlan: return "802.1Q";
    case kEthQinq: return "802.1ad";
    default: return hex(protocol);
  }
}

std::string ip_proto_name(uint32_t protocol) {
  switch (protocol) {
    case kProtoIcmp: return "icmp";
    case kProtoTcp: return "tcp";
    case kProtoUdp: return "udp";
    case kProtoIcmpv6: return "icmpv6";
    case kProtoSctp: return "sctp";
    default: return std::to_string(protocol);
  }
}

// --- keys -------------------------------------------------------------------------------------------------------

bool full_mask(const KeyMatch& key) {
  Match exact;
  static constexpr std::array<uint8_t, 16> kOnes = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  if (key_width(key.key) > 4) return std::equal(key.mask.begin(), key.mask.begin() + key_width(key.key), kOnes.begin());
  exact.set(key.key, 0);
  return exact.keys().front().mask == key.mask;
}

std::string decimal(const KeyMatch& key) {
  std::string text = std::to_string(key.value_u32());
  if (!full_mask(key)) text += "/" + hex(key.mask_u32());
  return text;
}

std::string hexadecimal(const KeyMatch& key) {
  std::string text = hex(key.value_u32());
  if (!full_mask(key)) text += "/" + hex(key.mask_u32());
  return text;
}

std::string mac(const KeyMatch& key) {
  MacAddr value;
  MacAddr mask;
  std::copy_n(key.value.begin(), 6, value.bytes.begin());
  std::copy_n(key.mask.begin(), 6, mask.bytes.begin());
  return full_mask(key) ? value.to_string() : value.to_string() + "/" + mask.to_string();
}

std::string address(const KeyMatch& key, Family family) {
  const IpAddr value{family, key.value};
  const IpAddr mask{family, key.mask};
  unsigned ones = 0;
  while (ones < value.bits() && (key.mask[ones / 8] >> (7 - ones % 8) & 1U) != 0) ++ones;
  const IpPrefix prefix{value, static_cast<uint8_t>(ones)};
  if (prefix.mask() != mask) return value.to_string() + "/" + mask.to_string();
  return ones == value.bits() ? value.to_string() : value.to_string() + "/" + std::to_string(ones);
}

struct Bit {
  uint32_t bit;
  std::string_view name;
};

// "+trk+est-rpl", in the order of iproute2's flower_ct_states.
std::string ct_state(const KeyMatch& key) {
  static constexpr Bit kStates[] = {{kCtTrk, "trk"}, {kCtNew, "new"}, {kCtEst, "est"},
                                    {kCtRel, "rel"}, {kCtInv, "inv"}, {kCtRpl, "rpl"}};
  uint32_t mask = key.mask_u32();
  std::string text;
  for (const auto& [bit, name] : kStates) {
    if ((mask & bit) == 0) continue;
    text += (key.value_u32() & bit) != 0 ? '+' : '-';
    text += name;
    mask &= ~bit;
  }
  if (mask != 0) text += (text.empty() ? "" : ",") + hex(key.value_u32() & mask) + "/" + hex(mask);
  return text;
}

std::string ip_flags(const KeyMatch& key) {
  static constexpr Bit kFlags[] = {{kIpFlagFrag, "frag"}, {kIpFlagFirstFrag, "firstfrag"}};
  uint32_t mask = key.mask_u32();
  std::string text;
  for (const auto& [bit, name] : kFlags) {
    if ((mask & bit) == 0) continue;
    if (!text.empty()) text += '/';
    text += (key.value_u32() & bit) != 0 ? "" : "no";
    text += name;
    mask &= ~bit;
  }
  if (mask != 0) text += (text.empty() ? "" : "/") + hex(key.value_u32() & mask) + "/" + hex(mask);
  return text;
}

std::string arp_op(const KeyMatch& key) {
  if (!full_mask(key)) return decimal(key);
  switch (key.value_u32()) {
    case 1: return "request";
    case 2: return "reply";
    default: return decimal(key);
  }
}

std::string eth_type(const KeyMatch& key) {
  if (!full_mask(key)) return hexadecimal(key);
  const auto type = static_cast<uint16_t>(key.value_u32());
  return type == kEthIpv4 ? "ipv4" : protocol_name(type);
}

std::string value_text(const KeyMatch& key) {
  switch (key.key) {
    case Key::dst_mac:
    case Key::src_mac: return mac(key);
    case Key::eth_type: return eth_type(key);
    case Key::vlan_eth_type:
      return full_mask(key) ? protocol_name(static_cast<uint16_t>(key.value_u32())) : hexadecimal(key);
    case Key::ip_proto: return full_mask(key) ? ip_proto_name(key.value_u32()) : decimal(key);
    case Key::dst_ip4:
    case Key::src_ip4:
    case Key::arp_tip:
    case Key::arp_sip:
    case Key::enc_dst_ip4:
    case Key::enc_src_ip4: return address(key, Family::ipv4);
    case Key::dst_ip6:
    case Key::src_ip6:
    case Key::enc_dst_ip6:
    case Key::enc_src_ip6: return address(key, Family::ipv6);
    case Key::ip_tos:
    case Key::tcp_flags:
    case Key::ct_mark:
    case Key::hash: return hexadecimal(key);
    case Key::ip_flags: return ip_flags(key);
    case Key::ct_state: return ct_state(key);
    case Key::arp_op: return arp_op(key);
    case Key::vlan_id:
    case Key::vlan_prio:
    case Key::ip_ttl:
    case Key::dst_port:
    case Key::src_port:
    case Key::icmp_type:
    case Key::icmp_code:
    case Key::enc_key_id:
    case Key::enc_dst_port:
    case Key::ct_zone: return decimal(key);
  }
  return "?";
}

// --- actions ----------------------------------------------------------------------------------------------------

std::string verdict_text(const Verdict& verdict) {
  switch (verdict.control) {
    case Control::pipe: return "pipe";
    case Control::pass: return "pass";
    case Control::drop: return "drop";
    case Control::goto_chain: return "goto chain " + hex(verdict.chain);
    case Control::reclassify: return "reclassify";
    case Control::stolen: return "stolen";
    case Control::redirect: return "redirect";
    case Control::next_rule: return "continue";
    case Control::other: return "control " + std::to_string(static_cast<int32_t>(verdict.chain));
  }
  return "?";
}

// How many bits of a header a run of pedit keys writes, and where: enough to name the field.
std::string_view header_name(PeditKey::Header header) {
  switch (header) {
    case PeditKey::Header::network: return "network";
    case PeditKey::Header::eth: return "eth";
    case PeditKey::Header::ip4: return "ip";
    case PeditKey::Header::ip6: return "ip6";
    case PeditKey::Header::tcp: return "tcp";
    case PeditKey::Header::udp: return "udp";
  }
  return "?";
}

// Bytes that a pedit action sets to constants in the Ethernet header: 12 of addresses.
struct EthBytes {
  std::array<uint8_t, 12> value{};
  std::array<bool, 12> written{};

  // False when the key writes something else than whole bytes of the two addresses.
  bool add(const PeditKey& key) {
    if (key.header != PeditKey::Header::eth || key.command != PeditKey::Command::set || key.offset > 8) return false;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned mask = key.mask >> (24 - 8 * i) & 0xffU;
      if (mask == 0) continue;
      if (mask != 0xff || written[key.offset + i]) return false;
      written[key.offset + i] = true;
      value[key.offset + i] = static_cast<uint8_t>(key.value >> (24 - 8 * i));
    }
    return true;
  }
  // All six bytes of the address at `at`, or none: `complete` false in between.
  [[nodiscard]] bool any(size_t at) const {
    return std::any_of(written.begin() + static_cast<ptrdiff_t>(at), written.begin() + static_cast<ptrdiff_t>(at) + 6,
                       [](bool w) { return w; });
  }
  [[nodiscard]] bool all(size_t at) const {
    return std::all_of(written.begin() + static_cast<ptrdiff_t>(at), written.begin() + static_cast<ptrdiff_t>(at) + 6,
                       [](bool w) { return w; });
  }
  [[nodiscard]] std::string mac(size_t at) const {
    MacAddr out;
    std::copy_n(value.begin() + static_cast<ptrdiff_t>(at), 6, out.bytes.begin());
    return out.to_string();
  }
};

// " munge ip ttl add 255" for the fields with a name; " munge eth offset 8 set 0x…/0x…" for the rest.
std::string munge(const PeditKey& key) {
  struct Field {
    PeditKey::Header header;
    uint32_t offset;
    uint32_t mask;
    std::string_view name;
    bool is_address;
  };
  static constexpr Field kFields[] = {
      {PeditKey::Header::ip4, 8, 0xff000000, "ip ttl", false},
      {PeditKey::Header::ip4, 12, 0xffffffff, "ip src", true},
      {PeditKey::Header::ip4, 16, 0xffffffff, "ip dst", true},
      {PeditKey::Header::ip4, 0, 0x00ff0000, "ip tos", false},
      {PeditKey::Header::ip6, 4, 0x000000ff, "ip6 hoplimit", false},
      {PeditKey::Header::tcp, 0, 0xffff0000, "tcp sport", false},
      {PeditKey::Header::tcp, 0, 0x0000ffff, "tcp dport", false},
      {PeditKey::Header::udp, 0, 0xffff0000, "udp sport", false},
      {PeditKey::Header::udp, 0, 0x0000ffff, "udp dport", false},
  };
  const std::string command = key.command == PeditKey::Command::add ? " add " : " set ";
  for (const Field& field : kFields) {
    if (field.header != key.header || field.offset != key.offset || field.mask != key.mask) continue;
    const std::string what =
        field.is_address ? IpAddr::v4(static_cast<uint8_t>(key.value >> 24U), static_cast<uint8_t>(key.value >> 16U),
                                      static_cast<uint8_t>(key.value >> 8U), static_cast<uint8_t>(key.value))
                               .to_string()
                         : std::to_string((key.value & key.mask) >> std::countr_zero(field.mask));
    return " munge " + std::string(field.name) + command + what;
  }
  return " munge " + std::string(header_name(key.header)) + " offset " + std::to_string(key.offset) + command +
         hex(key.value) + "/" + hex(key.mask);
}

std::string pedit_text(const Pedit& pedit) {
  EthBytes eth;
  std::string rest;
  bool named = true;
  for (const PeditKey& key : pedit.keys) {
    if (key.header == PeditKey::Header::eth) {
      named = named && eth.add(key);
    } else {
      rest += munge(key);
    }
  }
  named = named && eth.any(0) == eth.all(0) && eth.any(6) == eth.all(6);
  std::string text = "pedit ex";
  if (!named) {
    for (const PeditKey& key : pedit.keys) text += munge(key);
    return text;
  }
  if (eth.any(0)) text += " munge eth dst set " + eth.mac(0);
  if (eth.any(6)) text += " munge eth src set " + eth.mac(6);
  return text + rest;
}

std::string csum_text(const Csum& csum) {
  static constexpr Bit kParts[] = {{kCsumIpv4Header, "ip4h"}, {kCsumIcmp, "icmp"}, {4, "igmp"}, {kCsumTcp, "tcp"},
                                   {kCsumUdp, "udp"},         {32, "udplite"},     {64, "sctp"}};
  uint32_t flags = csum.flags;
  std::string text = "csum";
  for (const auto& [bit, name] : kParts) {
    if ((flags & bit) == 0) continue;
    text += ' ';
    text += name;
    flags &= ~bit;
  }
  if (flags != 0) text += " " + hex(flags);
  return text;
}

std::string ct_text(const Ct& ct) {
  std::string text = "ct";
  if (ct.clear) text += " clear";
  if (ct.commit) text += " commit";
  if (ct.force) text += " force";
  if (!ct.clear) text += " zone " + std::to_string(ct.zone.value());
  if (ct.mark_mask != 0) text += " mark " + hex(ct.mark) + (ct.mark_mask == 0xffffffff ? "" : "/" + hex(ct.mark_mask));
  if (ct.nat) text += " nat";
  if (ct.direction == Ct::Direction::src) text += " src";
  if (ct.direction == Ct::Direction::dst) text += " dst";
  if (ct.nat_first) {
    text += " addr " + ct.nat_first->to_string();
    if (ct.nat_last && *ct.nat_last != *ct.nat_first) text += "-" + ct.nat_last->to_string();
  }
  if (ct.nat_ports) text += " port " + ct.nat_ports->to_string();
  if (ct.verdict != Verdict{}) text += " " + verdict_text(ct.verdict);
  return text;
}

std::string police_text(const Police& police) {
  std::string text = "police";
  if (police.rate_bytes_per_second != 0) {
    text += " rate " + std::to_string(police.rate_bytes_per_second) + "bps burst " +
            std::to_string(police.burst_bytes) + "b";
  }
  if (police.rate_packets_per_second != 0) {
    text += " pkts_rate " + std::to_string(police.rate_packets_per_second) + " pkts_burst " +
            std::to_string(police.burst_packets);
  }
  if (police.mtu != 0) text += " mtu " + std::to_string(police.mtu);
  return text + " conform-exceed " + verdict_text(police.exceed) + "/" + verdict_text(police.conform);
}

struct KindText {
  std::string operator()(const Gact& a) const { return verdict_text(a.verdict); }
  std::string operator()(const Mirred& a) const {
    return std::string("mirred ") + (a.ingress ? "ingress " : "egress ") + (a.mirror ? "mirror" : "redirect") +
           " dev " + std::to_string(a.device.value());
  }
  std::string operator()(const VlanAction& a) const {
    if (a.kind == VlanAction::Kind::pop) return "vlan pop";
    std::string text = a.kind == VlanAction::Kind::push ? "vlan push" : "vlan modify";
    text += " id " + std::to_string(a.id.value()) + " protocol " + protocol_name(a.protocol);
    if (a.priority != 0 || a.kind == VlanAction::Kind::modify) text += " priority " + std::to_string(a.priority);
    return text;
  }
  std::string operator()(const TunnelSet& a) const {
    std::string text = "tunnel_key set src_ip " + a.source.to_string() + " dst_ip " + a.destination.to_string() +
                       " id " + std::to_string(a.key_id);
    if (a.dst_port != 0) text += " dst_port " + std::to_string(a.dst_port);
    if (a.tos != 0) text += " tos " + hex(a.tos);
    if (a.ttl != 0) text += " ttl " + std::to_string(a.ttl);
    return text + (a.checksum ? " csum" : " nocsum");
  }
  std::string operator()(const TunnelUnset&) const { return "tunnel_key unset"; }
  std::string operator()(const Pedit& a) const { return pedit_text(a); }
  std::string operator()(const Csum& a) const { return csum_text(a); }
  std::string operator()(const Ct& a) const { return ct_text(a); }
  std::string operator()(const Police& a) const { return police_text(a); }
  std::string operator()(const SkbeditMark& a) const {
    return "skbedit mark " + hex(a.mark) + (a.mask == 0xffffffff ? "" : "/" + hex(a.mask));
  }
  std::string operator()(const Bpf& a) const {
    std::string text = "bpf name " + printable(a.name) + " tag ";
    for (const uint8_t byte : a.tag) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", byte);
      text += digits;
    }
    return text + " " + verdict_text(a.verdict);
  }
  std::string operator()(const UnknownAction& a) const { return printable(a.kind) + " (not shown)"; }
};

}  // namespace

std::string to_text(const Match& match) {
  std::string text;
  for (const KeyMatch& key : match.keys()) {
    if (!text.empty()) text += ' ';
    text += key_name(key.key);
    text += ' ';
    text += value_text(key);
  }
  return text;
}

std::string to_text(const Action& action) {
  std::string text = "action " + std::visit(KindText{}, action.kind);
  if (action.unusual_verdict) text += " " + verdict_text(*action.unusual_verdict);
  if (action.index != 0) text += " index " + std::to_string(action.index);
  return text;
}

std::string to_text(const RuleSpec& spec) {
  std::string text = to_text(spec.match);
  if (spec.skip_hw) text += text.empty() ? "skip_hw" : " skip_hw";
  for (const Action& action : spec.actions) text += (text.empty() ? "" : " ") + to_text(action);
  return text;
}

std::string to_text(const Rule& rule) {
  std::string text = "dev " + std::to_string(rule.id.device.value()) + " chain " + hex(rule.id.chain) + " prio " +
                     std::to_string(rule.id.prio) + " protocol " + protocol_name(rule.id.protocol) + " handle " +
                     hex(rule.id.handle);
  const std::string spec = to_text(rule.spec);
  return spec.empty() ? text : text + " " + spec;
}

}  // namespace sepal::tc
