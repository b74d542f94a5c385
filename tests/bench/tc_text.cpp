// Rules in iproute2's grammar (tc/f_flower.c, tc/m_*.c of iproute2 6.1).
#include "tc_text.hpp"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

namespace sepal::bench {
namespace {

using tc::Control;
using tc::Key;

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string control_text(const tc::Verdict& verdict) {
  switch (verdict.control) {
    case Control::pipe: return "pipe";
    case Control::pass: return "ok";
    case Control::drop: return "drop";
    case Control::goto_chain: return "goto chain " + std::to_string(verdict.chain);
    case Control::next_rule: return "continue";
    case Control::stolen: return "drop";  // tc has no word for it; the kernel's work is the same
    default: throw std::runtime_error("a verdict that tc cannot say");
  }
}

std::string mac_at(const tc::Pedit& pedit, bool source) {
  uint8_t bytes[12] = {};
  for (const tc::PeditKey& key : pedit.keys) {
    if (key.header != tc::PeditKey::Header::eth) continue;
    for (unsigned i = 0; i < 4; ++i) bytes[key.offset + i] = static_cast<uint8_t>(key.value >> (24 - 8 * i));
  }
  MacAddr mac;
  std::copy_n(bytes + (source ? 6 : 0), 6, mac.bytes.begin());
  return mac.to_string();
}

struct ActionText {
  const TcWords& words;

  std::string operator()(const tc::Gact& a) const { return "gact " + control_text(a.verdict); }
  std::string operator()(const tc::Mirred& a) const {
    return std::string("mirred egress ") + (a.mirror ? "mirror" : "redirect") + " dev " + words.devices.at(a.device);
  }
  std::string operator()(const tc::VlanAction& a) const {
    if (a.kind == tc::VlanAction::Kind::pop) return "vlan pop";
    return "vlan push id " + std::to_string(a.id.value()) + " protocol 802.1Q";
  }
  std::string operator()(const tc::TunnelSet& a) const {
    return "tunnel_key set src_ip " + a.source.to_string() + " dst_ip " + a.destination.to_string() + " id " +
           std::to_string(a.key_id) + " dst_port " + std::to_string(a.dst_port) + " nocsum";
  }
  std::string operator()(const tc::TunnelUnset&) const { return "tunnel_key unset"; }
  std::string operator()(const tc::Pedit& a) const {
    const bool v4 = a.keys.back().header == tc::PeditKey::Header::ip4;
    return "pedit ex munge eth dst set " + mac_at(a, false) + " munge eth src set " + mac_at(a, true) +
           (v4 ? " munge ip ttl add 255" : " munge ip6 hoplimit add 255") + " pipe";
  }
  std::string operator()(const tc::Csum& a) const {
    if (a.flags == tc::kCsumIcmp) return "csum icmp";
    if (a.flags != tc::kCsumIpv4Header) throw std::runtime_error("csum of something else");
    return "csum ip4h";
  }
  std::string operator()(const tc::Ct& a) const {
    std::string text = "ct";
    if (a.commit) text += " commit";
    text += " zone " + std::to_string(a.zone.value());
    if (a.mark_mask != 0) text += " mark " + hex(a.mark) + "/" + hex(a.mark_mask);
    if (a.nat) text += " nat";
    if (a.direction == tc::Ct::Direction::src) text += " src";
    if (a.nat_first) text += " addr " + a.nat_first->to_string();
    if (a.nat_ports) text += " port " + std::to_string(a.nat_ports->first) + "-" + std::to_string(a.nat_ports->last);
    return text + " pipe";
  }
  std::string operator()(const tc::Police& a) const {
    if (a.rate_bytes_per_second != 0) throw std::runtime_error("a police by bytes: nothing in the pipeline has one");
    const std::string bound = a.mtu != 0 ? "mtu " + std::to_string(a.mtu)
                                         : "pkts_rate " + std::to_string(a.rate_packets_per_second) + " pkts_burst " +
                                               std::to_string(a.burst_packets);
    return "police " + bound + " conform-exceed " + control_text(a.exceed) + "/" + control_text(a.conform);
  }
  std::string operator()(const tc::SkbeditMark& a) const { return "skbedit mark " + std::to_string(a.mark); }
  std::string operator()(const tc::Bpf& a) const {
    std::string path = words.program_path;
    path.replace(path.find("%s"), 2, a.name);
    return "bpf object-pinned " + path + " " + control_text(a.verdict);
  }
  std::string operator()(const tc::UnknownAction&) const { throw std::runtime_error("an action that tc cannot say"); }
};

std::string mask_text(const tc::KeyMatch& key) {
  const size_t width = tc::key_width(key.key);
  const uint32_t all = width >= 4 ? 0xffffffffU : (1U << (8 * width)) - 1;
  return key.mask_u32() == all ? "" : "/" + hex(key.mask_u32());
}

std::string key_text(const tc::KeyMatch& key) {
  const std::string name(tc::key_name(key.key));
  switch (key.key) {
    case Key::ct_state:
    case Key::ip_flags: {
      tc::Match alone;
      alone.set_bytes(key.key, key.value.data(), key.mask.data());
      return tc::to_text(alone);
    }
    case Key::ip_ttl:
    case Key::ct_mark:
    case Key::tcp_flags: return name + " " + hex(key.value_u32()) + mask_text(key);
    case Key::icmp_type: return "type " + std::to_string(key.value_u32());
    case Key::hash: throw std::runtime_error("tc knows no hash key");
    default: {
      tc::Match alone;
      alone.set_bytes(key.key, key.value.data(), key.mask.data());
      return tc::to_text(alone);
    }
  }
}

// tc wants keys that depend on others behind them.
std::string match_text(const tc::Match& match) {
  std::string text;
  for (const tc::KeyMatch& key : match.keys()) {
    if (key.key != Key::eth_type) text += " " + key_text(key);
  }
  return text;
}

}  // namespace

std::string tc_batch(const std::vector<const tc::CompiledRule*>& rules, const TcWords& words) {
  std::string out;
  for (const tc::CompiledRule* compiled : rules) {
    const tc::Rule& rule = compiled->rule;
    uint32_t protocol = rule.id.protocol;
    if (const tc::KeyMatch* eth = rule.spec.match.find(Key::eth_type); eth != nullptr && protocol == tc::kEthAll) {
      protocol = eth->value_u32();
    }
    const bool v4 = protocol == tc::kEthIpv4;
    const bool v6 = protocol == tc::kEthIpv6;
    const unsigned prio = 3U * rule.id.prio + (v4 ? 1U : v6 ? 2U : 0U);
    const std::string name = protocol == tc::kEthAll    ? "all"
                             : v4                       ? "ip"
                             : v6                       ? "ipv6"
                             : protocol == tc::kEthArp  ? "arp"
                             : protocol == tc::kEthVlan ? "802.1Q"
                                                        : "802.1ad";
    out += "filter add dev " + words.devices.at(rule.id.device) + " ingress chain " + std::to_string(rule.id.chain) +
           " protocol " + name + " prio " + std::to_string(prio) + " handle " + hex(rule.id.handle) + " flower" +
           match_text(rule.spec.match);
    if (rule.spec.skip_hw) out += " skip_hw";
    for (size_t i = 0; i < rule.spec.actions.size(); ++i) {
      const tc::Action& action = rule.spec.actions[i];
      out += " action " + std::visit(ActionText{words}, action.kind);
      if (words.cookies && i + 1 == rule.spec.actions.size()) {
        out += " cookie ";
        for (uint8_t byte : compiled->cookie.bytes()) {
          char digits[3];
          std::snprintf(digits, sizeof digits, "%02x", byte);
          out += digits;
        }
      }
      if (words.cookies) out += " no_percpu";  // tc wants it behind the cookie
    }
    out += '\n';
  }
  return out;
}

}  // namespace sepal::bench
