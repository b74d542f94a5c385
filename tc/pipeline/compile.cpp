// model + facts → one sorted RuleSet. Decides which group stands in which block; what a group does is in its own file.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <tuple>

#include "base/log.hpp"
#include "bpf/policy_layout.h"
#include "tc/pipeline/lint.hpp"
#include "tc/pipeline/plan.hpp"
#include "tc/rule/hashes.hpp"

namespace sepal::tc {
namespace {

void compile_port(const Plan& plan, const TenantPlan& tenant, const LocalPort& port, RuleSet& out) {
  const bool in_hardware =
      tenant.in_hardware() &&
      std::all_of(tenant.peers.begin(), tenant.peers.end(), [](const TenantPlan* peer) { return peer->in_hardware(); });
  Block block(port.device, tenant.vni, plan, out, !in_hardware);
  group0_ingress(block, tenant, port);
  group2_nat(block, tenant, &port);
  group3_encap(block, tenant, Routes::all);
  group4_egress(block, tenant);
  group5_punted(block, tenant, &port);
  group6_port(block, tenant, port);
  group7_usual(block, tenant, Routes::all, &port);
  group7_fresh(block, tenant, Routes::all, &port);
  // What a route into a peer's network needs of the peer in this block.
  for (const TenantPlan* peer : tenant.peers) {
    group2_nat(block, *peer, nullptr);
    group3_encap(block, *peer, Routes::local_only);
    group4_egress(block, *peer);
    group7_fresh(block, *peer, Routes::local_only);
  }
}

void compile_overlay(const Plan& plan, RuleSet& out) {
  std::vector<const TenantPlan*> here;
  for (const TenantPlan& tenant : plan.tenants) {
    if (plan.wants(tenant) && !tenant.ports.empty()) here.push_back(&tenant);
  }
  Block block(BlockKind::vxlan, plan.facts->vxlan, plan, out);
  group1_decap(block, here);
  for (const TenantPlan* tenant : here) {
    group2_nat(block, *tenant, nullptr);
    group3_encap(block, *tenant, Routes::local_only);
    group4_egress(block, *tenant);
    group5_punted(block, *tenant, nullptr);
    group7_usual(block, *tenant, Routes::local_only);
    group7_fresh(block, *tenant, Routes::local_only);
  }
}

void compile_uplink(const Plan& plan, RuleSet& out) {
  std::vector<const TenantPlan*> here;
  bool any_public = false;
  for (const TenantPlan& tenant : plan.tenants) {
    if (!tenant.tenant->vlans.empty() || !tenant.tenant->nat.empty()) here.push_back(&tenant);
    any_public = any_public || !tenant.tenant->nat.empty();
  }
  Block block(BlockKind::uplink, plan.facts->uplink, plan, out);
  group1_uplink(block, here);
  for (const TenantPlan* tenant : here) {
    if (!plan.wants(*tenant)) continue;
    group2_nat(block, *tenant, nullptr);
    group3_encap(block, *tenant, Routes::local_only);
    group4_egress(block, *tenant);
    group7_fresh(block, *tenant, Routes::local_only);
    const bool has_vlans = !tenant->tenant->vlans.empty();
    if (has_vlans || block.punts(*tenant)) group5_punted(block, *tenant, nullptr);
    if (has_vlans) group6_uplink(block, tenant);
  }
  if (!any_public) return;
  group5_public(block);
  if (plan.wants_common() && plan.config->host.public_net->answer_arp) group6_uplink(block, nullptr);
}

// What rules are sorted by, apart from them: rules are large, and most keys differ before the matches are asked.
struct SortKey {
  uint64_t device_chain;
  uint64_t prio_handle;
  uint32_t rule;
};

// Sorts, gives every rule its handle (a collision takes the next free one, in match order) and its cookie. The number
// of those displaced in shared chains.
size_t finish_rules(std::vector<CompiledRule>& rules) {
  std::vector<SortKey> keys;
  keys.reserve(rules.size());
  for (CompiledRule& rule : rules) {
    RuleId& id = rule.rule.id;
    const RuleHashes hashes = rule_hashes(rule.rule.spec, id.protocol);
    id.handle = hashes.handle;
    rule.cookie.content = hashes.content;
    keys.push_back({uint64_t{id.device.value()} << 32U | id.chain, uint64_t{id.prio} << 32U | id.handle,
                    static_cast<uint32_t>(&rule - rules.data())});
  }
  std::sort(keys.begin(), keys.end(), [&rules](const SortKey& a, const SortKey& b) {
    if (a.device_chain != b.device_chain) return a.device_chain < b.device_chain;
    if (a.prio_handle != b.prio_handle) return a.prio_handle < b.prio_handle;
    return rules[a.rule].rule.spec.match < rules[b.rule].rule.spec.match;
  });
  std::vector<CompiledRule> sorted;
  sorted.reserve(rules.size());
  for (const SortKey& key : keys) sorted.push_back(std::move(rules[key.rule]));
  rules = std::move(sorted);
  auto place = [](const CompiledRule& r) { return std::tie(r.rule.id.device, r.rule.id.chain, r.rule.id.prio); };
  size_t displaced = 0;
  for (size_t i = 1; i < rules.size(); ++i) {
    RuleId& id = rules[i].rule.id;
    const RuleId& before = rules[i - 1].rule.id;
    if (place(rules[i]) != place(rules[i - 1]) || id.handle > before.handle) continue;
    id.handle = before.handle + 1;
    if (in_shared_chain(rules[i])) ++displaced;
  }
  return displaced;
}

uint32_t goto_target(const Rule& rule) {
  for (const Action& action : rule.spec.actions) {
    const auto* gact = std::get_if<Gact>(&action.kind);
    if (gact != nullptr && gact->verdict.control == Control::goto_chain) return gact->verdict.chain;
  }
  return 0;  // chain 0 is nobody's target
}

// depth of a rule = 0 without a goto, else one more than the deepest rule of the target chain, and the steps that it
// waits besides, which is what its depth is before.
// Rules are sorted by device and chain; within a device the goto graph is small and acyclic (an invariant; a cycle
// would end here at the bound, and lint names it).
void set_depths(std::vector<CompiledRule>& rules) {
  struct Chain {
    std::set<std::pair<uint32_t, unsigned>> targets;  // with the steps that who leads there waits
    uint8_t depth = 0;                                // of its deepest rule
  };
  std::vector<uint32_t> targets;
  std::vector<unsigned> steps;
  for (auto begin = rules.begin(); begin != rules.end();) {
    auto end = std::find_if(begin, rules.end(),
                            [&](const CompiledRule& r) { return r.rule.id.device != begin->rule.id.device; });
    std::map<uint32_t, Chain> chains;
    targets.clear();
    steps.clear();
    for (auto rule = begin; rule != end; ++rule) {
      targets.push_back(goto_target(rule->rule));
      steps.push_back(rule->depth);
      const bool again = rule != begin && rule->rule.id.chain == std::prev(rule)->rule.id.chain &&
                         targets.back() == targets[targets.size() - 2];
      if (targets.back() == 0 || (again && steps.back() == steps[steps.size() - 2])) continue;
      chains[rule->rule.id.chain].targets.emplace(targets.back(), steps.back());
    }
    const auto depth_to = [&chains](uint32_t target, unsigned behind) {
      const auto found = chains.find(target);
      return static_cast<uint8_t>((found == chains.end() ? 0 : found->second.depth) + 1 + behind);
    };
    bool changed = true;
    for (unsigned round = 0; changed && round <= limits::kGotoDepthMax; ++round) {
      changed = false;
      for (auto& [number, chain] : chains) {
        for (const auto& [target, behind] : chain.targets) {
          const uint8_t depth = depth_to(target, behind);
          if (depth <= chain.depth) continue;
          chain.depth = depth;
          changed = true;
        }
      }
    }
    for (auto rule = begin; rule != end; ++rule) {
      const auto index = static_cast<size_t>(rule - begin);
      rule->depth = targets[index] == 0 ? uint8_t{0} : depth_to(targets[index], steps[index]);
    }
    begin = end;
  }
}

// What begins by looking at a packet's size.
const Police* police_by_size(const RuleSpec& rule) {
  if (rule.actions.empty()) return nullptr;
  const auto* police = std::get_if<Police>(&rule.actions.front().kind);
  return police != nullptr && police->mtu != 0 ? police : nullptr;
}

bool is_within(const IpPrefix& prefix, const std::vector<IpPrefix>& wider) {
  return std::any_of(wider.begin(), wider.end(), [&](const IpPrefix& around) { return around.contains(prefix); });
}

// Who answers for which address where: guests' gateways and on-link neighbours, and our addresses on the wire. And what
// is whose: the rest of all addresses is nobody's for a guest to claim.
void add_neighbours(const Plan& plan, RuleSet& out) {
  using Answer = NeighbourEntry::Answer;
  const config::Host& host = plan.config->host;
  const MacAddr uplink_mac = plan.facts->uplink_mac;
  std::map<std::tuple<IfIndex, Vid, IpPrefix>, NeighbourEntry> entries;
  Vni part;
  auto put = [&](IfIndex device, Vid vlan, const IpPrefix& target, Answer answer, const MacAddr& mac,
                 bool own = false) {
    entries[{device, vlan, target}] = {device, vlan, target, answer, mac, part, own};
  };
  for (const TenantPlan& tenant : plan.tenants) {
    if (!plan.wants(tenant)) continue;
    part = tenant.vni;
    for (const LocalPort& port : tenant.ports) {
      const MacAddr own_mac = port.port->mac;
      // First: a port may have such a prefix.
      for (Family family : kFamilies) put(port.device, Vid(), IpPrefix::make({family, {}}, 0), Answer::guard, own_mac);
      for (const config::Subnet& subnet : tenant.tenant->subnets) {
        put(port.device, Vid(), subnet.prefix, Answer::neighbour, host.gateway_mac,
            is_within(subnet.prefix, port.sources));
      }
      for (const IpAddr& gateway : gateways_of(*tenant.tenant))
        put(port.device, Vid(), IpPrefix::host(gateway), Answer::gateway, host.gateway_mac);
      for (const IpPrefix& own : port.sources) put(port.device, Vid(), own, Answer::silent, own_mac);
      for (const config::TenantVlan& vlan : tenant.tenant->vlans) {
        if (port.unknown()) break;
        for (const IpPrefix& own : port.sources) {
          put(plan.facts->uplink, vlan.id, own, Answer::neighbour, uplink_mac);
        }
      }
    }
  }
  part = Vni();
  const bool answers_outside = plan.wants_common() && host.public_net && host.public_net->answer_arp;
  for (const TenantPlan& tenant : plan.tenants) {
    if (!answers_outside) break;
    // Several tenants may share an address.
    for (const config::Nat& nat : tenant.tenant->nat) {
      put(plan.facts->uplink, host.public_net->vlan.value_or(Vid()), IpPrefix::host(nat.address), Answer::neighbour,
          uplink_mac);
    }
  }
  for (auto& [key, entry] : entries) out.neighbours.push_back(entry);
  std::sort(out.neighbours.begin(), out.neighbours.end());
}

void add_slices(const Plan& plan, RuleSet& out) {
  for (const TenantPlan& tenant : plan.tenants) {
    if (!plan.wants(tenant)) continue;
    for (const config::Nat& nat : tenant.tenant->nat) {
      if (!nat.ports) continue;
      for (const MaskedPort& block : split_range(*nat.ports)) {
        uint8_t bits = 0;
        for (uint16_t mask = block.mask; (mask & 0x8000U) != 0; mask = static_cast<uint16_t>(mask << 1U)) ++bits;
        out.slices.push_back({nat.address, block.value, bits, slice_number(nat), tenant.vni});
      }
    }
  }
  std::sort(out.slices.begin(), out.slices.end());
}

#ifndef NDEBUG
// A rule set that breaks the NIC's contract or an invariant is a fault of ours, never of the configuration.
void assert_clean(const config::Config& config, const Facts& facts, const RuleSet& rules) {
  bool clean = true;
  for (const LintFinding& finding : lint(rules.rules, lint_context(config, facts, rules.zones))) {
    if (finding.informative) continue;
    log::error("lint", to_string(finding));
    clean = false;
  }
  if (!clean) std::abort();
}

// Depths of everybody's rules may differ: what they lead into may not have been asked for.
void assert_part_of_whole(const RuleSet& whole, const RuleSet& made, const Parts& parts) {
  if (whole.displaced > 0) return;
  auto asked = [&parts](Vni part) { return part == Vni() ? parts.common : parts.tenants.contains(part); };
  size_t at = 0;
  bool same = true;
  for (const CompiledRule& rule : whole.rules) {
    if (!asked(rule.part)) continue;
    const CompiledRule* other = at < made.rules.size() ? &made.rules[at++] : nullptr;
    same = same && other != nullptr && other->rule == rule.rule && other->cookie == rule.cookie &&
           other->part == rule.part && (rule.part == Vni() || other->depth == rule.depth);
  }
  if (same && at == made.rules.size()) return;
  log::error("parts", "parts compiled apart differ from the whole");
  std::abort();
}
#endif

}  // namespace

namespace {

RuleSet compile_wanted(const config::Config& config, const Facts& facts, const Parts* parts) {
  RuleSet out;
  Plan plan;
  plan.parts = parts;
  make_plan(config, facts, plan, out);
  for (const TenantPlan& tenant : plan.tenants) {
    if (!plan.wants(tenant)) continue;
    for (const LocalPort& port : tenant.ports) compile_port(plan, tenant, port, out);
  }
  compile_overlay(plan, out);
  compile_uplink(plan, out);
  out.displaced = finish_rules(out.rules);
  set_depths(out.rules);
  add_neighbours(plan, out);
  add_slices(plan, out);
  std::sort(out.waiting.begin(), out.waiting.end());
  std::sort(out.notes.begin(), out.notes.end());
  return out;
}

}  // namespace

RuleSet compile(const config::Config& config, const Facts& facts) {
  RuleSet out = compile_wanted(config, facts, nullptr);
#ifndef NDEBUG
  assert_clean(config, facts, out);
#endif
  return out;
}

RuleSet compile_parts(const config::Config& config, const Facts& facts, const Parts& parts) {
  RuleSet out = compile_wanted(config, facts, &parts);
#ifndef NDEBUG
  if (out.displaced == 0) assert_part_of_whole(compile(config, facts), out, parts);
#endif
  return out;
}

bool is_size_check(const RuleSpec& rule) {
  const Police* police = police_by_size(rule);
  return police != nullptr && police->conform.control == Control::next_rule;
}

bool is_shortcut(const RuleSpec& rule) {
  const Police* police = police_by_size(rule);
  return police != nullptr && police->exceed.control == Control::next_rule && !asks_untracked(rule);
}

bool asks_untracked(const RuleSpec& rule) {
  return std::any_of(rule.actions.begin(), rule.actions.end(), [](const Action& action) {
    const auto* mark = std::get_if<SkbeditMark>(&action.kind);
    return mark != nullptr && (mark->mark & (SEPAL_MARK_LET_GO | SEPAL_MARK_ANSWERS)) != 0;
  });
}

bool in_shared_chain(const CompiledRule& rule) {
  return rule.origin.block != BlockKind::port && parse_chain(rule.rule.id.chain).vni == Vni();
}

std::map<Vni, Zone> allocate_zones(const config::Config& config, const Facts& facts) {
  std::map<Vni, Zone> zones;
  std::set<Zone> used;
  // A zone of a tenant that is going stays taken until its rules are gone: its connections still stand in it.
  for (const auto& [vni, zone] : facts.zones) used.insert(zone);
  std::set<Zone> given{Zone()};  // 0 is the host's own
  for (const config::Tenant& tenant : config.tenants) {
    auto known = facts.zones.find(tenant.vni);
    if (known != facts.zones.end() && known->second.value() <= limits::kTenantZoneMax &&
        given.insert(known->second).second)
      zones[tenant.vni] = known->second;
  }
  uint16_t next = 1;
  for (const config::Tenant& tenant : config.tenants) {
    if (zones.contains(tenant.vni)) continue;
    while (used.contains(Zone(next))) ++next;
    zones[tenant.vni] = Zone(next++);
  }
  return zones;
}

std::vector<MaskedPort> split_range(PortRange range) {
  std::vector<MaskedPort> blocks;
  uint32_t at = range.first;
  const uint32_t end = uint32_t{range.last} + 1;
  while (at < end) {
    uint32_t size = at == 0 ? 0x10000U : at & (~at + 1);  // the largest block that may begin here …
    while (at + size > end) size >>= 1U;                  // … and still fits
    blocks.push_back({static_cast<uint16_t>(at), static_cast<uint16_t>(0x10000U - size)});
    at += size;
  }
  return blocks;
}

}  // namespace sepal::tc
