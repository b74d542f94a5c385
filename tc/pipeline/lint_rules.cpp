// Lint of single rules: what the NIC's driver or cls_flower refuses of a rule whatever stands beside it.
#include <algorithm>

#include "tc/pipeline/lint_parts.hpp"

namespace sepal::tc {
namespace {

bool has(const Match& match, Key key) { return match.find(key) != nullptr; }

bool is_vlan(uint32_t protocol) { return protocol == kEthVlan || protocol == kEthQinq; }

// Needs an eth_type beside it to mean the same everywhere.
bool is_above_ethernet(Key key) {
  switch (key) {
    case Key::dst_mac:
    case Key::src_mac:
    case Key::eth_type: return false;
    default: return !is_tunnel_key(key);
  }
}

void check_state(Lint& lint, const CompiledRule& rule) {
  const KeyMatch* key = rule.rule.spec.match.find(Key::ct_state);
  if (key == nullptr) return;
  const uint32_t set = key->value_u32();
  auto all = [set](uint32_t bits) { return (set & bits) == bits; };
  if (set != 0 && !all(kCtTrk)) lint.find("L10", rule, "ct_state without +trk: cls_flower refuses it");
  if (all(kCtNew | kCtEst)) lint.find("L10", rule, "ct_state +new+est: cls_flower refuses it");
  if (all(kCtNew | kCtRpl)) lint.find("L10", rule, "ct_state +new+rpl: cls_flower refuses it");
  if (all(kCtInv) && (set & ~uint32_t{kCtInv | kCtTrk}) != 0) {
    lint.find("L10", rule, "ct_state +inv beside other states: cls_flower refuses it");
  }
  if (!in_hardware(rule)) return;
  if (all(kCtRel)) lint.find("L10", rule, "ct_state +rel: the NIC never marks related packets and refuses the match");
  if (all(kCtInv)) lint.find("L10", rule, "ct_state +inv: the NIC never marks invalid packets and refuses the match");
}

// L10: keys the driver refuses, and keys that need another beside them.
void check_keys(Lint& lint, const CompiledRule& rule) {
  const Match& match = rule.rule.spec.match;
  check_state(lint, rule);
  if (!in_hardware(rule)) return;
  for (Key key : {Key::arp_op, Key::arp_tip, Key::arp_sip, Key::hash}) {
    if (has(match, key)) lint.find("L10", rule, "the NIC does not match " + std::string(key_name(key)));
  }
  const KeyMatch* flags = match.find(Key::ip_flags);
  if (flags != nullptr && (flags->mask_u32() & ~kIpFlagFrag) != 0) {
    lint.find("L10", rule, "of ip_flags the NIC matches `frag` only");
  }
  const KeyMatch* protocol = match.find(Key::ip_proto);
  const uint32_t l4 = protocol == nullptr ? 0 : protocol->value_u32();
  if ((has(match, Key::dst_port) || has(match, Key::src_port)) && l4 != kProtoTcp && l4 != kProtoUdp) {
    lint.find("L10", rule, "ports without ip_proto tcp or udp");
  }
  if (has(match, Key::tcp_flags) && l4 != kProtoTcp) lint.find("L10", rule, "tcp_flags without ip_proto tcp");
  if ((has(match, Key::icmp_type) || has(match, Key::icmp_code)) && l4 != kProtoIcmp && l4 != kProtoIcmpv6) {
    lint.find("L10", rule, "type or code without ip_proto icmp or icmpv6");
  }
}

// L17, L18: a key means the same to the filter, to the dissector and to the NIC.
void check_layers(Lint& lint, const LintBlock& block, const CompiledRule& rule) {
  const Match& match = rule.rule.spec.match;
  const RuleId& id = rule.rule.id;
  const bool tunnel = !tunnel_keys(match).empty();
  if (tunnel && block.kind != BlockKind::vxlan) {
    lint.find("L17", rule, "enc_* keys on a device that is no tunnel: the NIC ignores them silently");
  }
  if (!in_hardware(rule)) return;
  const KeyMatch* eth_type = match.find(Key::eth_type);
  const auto above = std::find_if(match.keys().begin(), match.keys().end(),
                                  [](const KeyMatch& key) { return is_above_ethernet(key.key); });
  if (eth_type == nullptr && above != match.keys().end()) {
    lint.find("L18", rule, std::string(key_name(above->key)) + " without eth_type");
  }
  if (id.protocol != kEthAll && (eth_type == nullptr || eth_type->value_u32() != id.protocol)) {
    lint.find("L18", rule, "the filter's protocol does not reach the NIC: eth_type must say the same");
  }
  const bool names_vlan = has(match, Key::vlan_id) || has(match, Key::vlan_eth_type) ||
                          (eth_type != nullptr && is_vlan(eth_type->value_u32()));
  // In the first chain tagged frames arrive. With protocol all and any key but the tunnel's, software takes them and
  // the NIC does not.
  if (id.chain == 0 && id.protocol == kEthAll && !names_vlan && tunnel_keys(match) != match) {
    lint.find("L18", rule,
              "says nothing of VLAN tags: software matches tagged frames, too, the NIC only untagged ones");
  }
}

// L12: rewriting.
void check_rewrites(Lint& lint, const CompiledRule& rule) {
  const std::vector<Action>& actions = rule.rule.spec.actions;
  size_t entries = 0;
  bool stale = false;
  bool any_pedit = false;
  for (const Action& action : actions) {
    if (const auto* pedit = std::get_if<Pedit>(&action.kind)) {
      any_pedit = true;
      entries += pedit->keys.size();
      for (const PeditKey& key : pedit->keys) {
        const bool ip4 = key.header == PeditKey::Header::ip4;
        const bool ip6 = key.header == PeditKey::Header::ip6;
        stale = stale || ip4;
        if ((ip4 && key.offset >= 12) || (ip6 && key.offset >= 8)) {
          lint.find("L12", rule, "pedit of an IP address: the NIC loses the connection's context at the next miss");
        }
      }
      continue;
    }
    ++entries;
    if (const auto* csum = std::get_if<Csum>(&action.kind)) {
      if (!any_pedit && in_hardware(rule)) lint.find("L12", rule, "csum without a pedit before it: the NIC refuses it");
      if ((csum->flags & kCsumIpv4Header) != 0) stale = false;
    } else if (const auto* gact = std::get_if<Gact>(&action.kind); any_pedit && gact != nullptr) {
      if (gact->verdict.control == Control::drop) lint.find("L12", rule, "drop after a pedit: the NIC refuses it");
    }
  }
  if (stale) lint.find("L12", rule, "pedit of the IPv4 header without `csum iph` after it");
  if (in_hardware(rule) && entries > limits::kActionsMax) {
    lint.find("L12", rule, std::to_string(entries) + " actions and pedit keys: the driver's table holds 32");
  }
}

bool is_shared(const Action& action) { return action.shared || action.index != 0; }

// L3: the driver keeps the statistics of a rule with ct or police by the addresses of all its actions.
void check_sharing(Lint& lint, const CompiledRule& rule) {
  const std::vector<Action>& actions = rule.rule.spec.actions;
  if (std::none_of(actions.begin(), actions.end(), is_shared)) return;
  if (is_shared(actions.back()))
    lint.find("L3", rule, "its last action is shared: cookie and counters are a rule's own");
  if (find_action<Ct>(rule) != nullptr)
    lint.find("L3", rule, "a shared action in a rule with ct: the NIC's statistics refuse the second user");
  if (find_action<Police>(rule) != nullptr)
    lint.find("L3", rule, "a shared action in a rule with police: the NIC's statistics refuse the second user");
}

// L2, L8, L9, L14, L19: actions and their order.
void check_actions(Lint& lint, const CompiledRule& rule) {
  const std::vector<Action>& actions = rule.rule.spec.actions;
  const bool hardware = in_hardware(rule);
  for (size_t i = 0; i < actions.size(); ++i) {
    const Action& action = actions[i];
    const bool last = i + 1 == actions.size();
    if (const auto* ct = std::get_if<Ct>(&action.kind)) {
      if (last) lint.find("L9", rule, "ct is the last action");
      if (!ct->commit && !ct->clear && !ct->nat)
        lint.find("L9", rule, "a ct lookup without nat: translated connections miss");
      if (hardware && ct->commit) lint.find("L9", rule, "ct commit in hardware: the NIC looks up and commits nothing");
      if (hardware && ct->zone.value() > limits::kOffloadZoneMax) {
        lint.find("L16", rule,
                  "conntrack zone " + std::to_string(ct->zone.value()) + " in hardware: the NIC restores 254");
      }
    } else if (const auto* police = std::get_if<Police>(&action.kind)) {
      const bool by_size = police->mtu != 0;
      if (by_size && hardware) lint.find("L8", rule, "police by size in hardware: few NICs can");
      if (!by_size && (police->exceed.control != Control::drop || police->conform.control != Control::pipe)) {
        lint.find("L8", rule, "police must be conform-exceed drop/pipe");
      }
      if (!by_size && (police->rate_bytes_per_second == 0) == (police->rate_packets_per_second == 0)) {
        lint.find("L8", rule, "police takes one rate, of bytes or of packets");
      }
      if (last) lint.find("L8", rule, "police is the last action");
    } else if (const auto* mirred = std::get_if<Mirred>(&action.kind)) {
      if (hardware && mirred->device == rule.rule.id.device) {
        lint.find("L19", rule, "a redirect to the device the packet came from: the NIC cannot");
      }
    } else if (std::holds_alternative<TunnelSet>(action.kind)) {
      if (last || !std::holds_alternative<Mirred>(actions[i + 1].kind)) {
        lint.find("L19", rule,
                  "tunnel_key set must stand directly before its redirect: else the NIC loses it silently");
      }
    } else if (std::holds_alternative<TunnelUnset>(action.kind)) {
      if (goto_target(rule) != 0)
        lint.find("L2", rule, "tunnel_key unset beside goto: \"Decap with goto isn't supported\"");
    } else if (std::holds_alternative<Bpf>(action.kind) || std::holds_alternative<SkbeditMark>(action.kind)) {
      if (hardware) lint.find("L14", rule, "act_bpf and skbedit mark do not offload: the rule must be skip_hw");
    }
  }
}

// The last action decides: what follows a rule that does not is tc's default, which is to pass.
void check_end(Lint& lint, const CompiledRule& rule) {
  const std::vector<Action>& actions = rule.rule.spec.actions;
  bool ends = false;
  if (!actions.empty()) {
    const ActionKind& last = actions.back().kind;
    if (const auto* gact = std::get_if<Gact>(&last)) ends = gact->verdict.control != Control::pipe;
    if (const auto* mirred = std::get_if<Mirred>(&last)) ends = !mirred->mirror;
  }
  if (!ends) lint.find("I4", rule, "its last action is no verdict");
}

// L16: what all rules together take of the NIC's tables of numbers.
void check_pools(Lint& lint) {
  constexpr size_t kTunnelsMax = 4095;
  constexpr size_t kObjectsMax = 60000;
  std::set<uint32_t> chains;
  std::set<Match> tunnels;
  size_t lookups = 0;
  const CompiledRule* last = nullptr;
  for (const LintBlock& block : lint.blocks) {
    for (const auto& [number, rules] : block.chains) {
      for (const CompiledRule* rule : rules) {
        if (!in_hardware(*rule)) continue;
        last = rule;
        chains.insert(number);
        if (find_action<Ct>(*rule) != nullptr) ++lookups;
        if (number == 0 && goto_target(*rule) != 0 && block.kind == BlockKind::vxlan) {
          tunnels.insert(tunnel_keys(rule->rule.spec.match));
        }
      }
    }
  }
  if (tunnels.size() > kTunnelsMax) {
    lint.find("L16", *last,
              std::to_string(tunnels.size()) + " tunnels: the NIC numbers 4095, the others stay in software", true);
  }
  if (chains.size() + lookups > kObjectsMax) {
    lint.find("L16", *last,
              std::to_string(chains.size()) + " chains and " + std::to_string(lookups) +
                  " ct actions: together the NIC numbers 65535",
              true);
  }
}

}  // namespace

void lint_rules(Lint& lint) {
  for (const LintBlock& block : lint.blocks) {
    for (const auto& [number, rules] : block.chains) {
      for (const CompiledRule* rule : rules) {
        check_keys(lint, *rule);
        check_layers(lint, block, *rule);
        check_rewrites(lint, *rule);
        check_sharing(lint, *rule);
        check_actions(lint, *rule);
        check_end(lint, *rule);
      }
    }
  }
  check_pools(lint);
}

}  // namespace sepal::tc
