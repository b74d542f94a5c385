// Sorts the rules into blocks and chains, runs the parts, and what they share.
#include "tc/pipeline/lint.hpp"

#include <algorithm>
#include <tuple>

#include "tc/pipeline/lint_parts.hpp"

namespace sepal::tc {
namespace {

BlockKind kind_of(IfIndex device, const LintContext& context) {
  for (const auto& [known, kind] : context.blocks) {
    if (known == device) return kind;
  }
  return BlockKind::port;
}

}  // namespace

uint32_t goto_target(const CompiledRule& rule) {
  const auto* gact = find_action<Gact>(rule);
  return gact != nullptr && gact->verdict.control == Control::goto_chain ? gact->verdict.chain : 0;
}

bool is_tunnel_key(Key key) { return key >= Key::enc_key_id && key <= Key::enc_dst_port; }

Match tunnel_keys(const Match& match) {
  Match only;
  for (const KeyMatch& key : match.keys()) {
    if (is_tunnel_key(key.key)) only.set_bytes(key.key, key.value.data(), key.mask.data());
  }
  return only;
}

Match without(const Match& match, Key key) {
  Match copy = match;
  static constexpr std::array<uint8_t, 16> kZero{};
  copy.set_bytes(key, kZero.data(), kZero.data());
  return copy;
}

LintContext lint_context(const config::Config& config, const Facts& facts, const std::map<Vni, Zone>& zones) {
  LintContext context;
  context.blocks = {{facts.uplink, BlockKind::uplink}, {facts.vxlan, BlockKind::vxlan}};
  context.zones = zones;
  std::map<std::string, Vni> by_name;
  for (const config::Tenant& tenant : config.tenants) by_name[tenant.name] = tenant.vni;
  for (const config::Tenant& tenant : config.tenants) {
    for (const config::Port& port : tenant.ports) {
      auto device = facts.ports.find({tenant.name, port.name});
      if (device != facts.ports.end()) context.owners[device->second] = tenant.vni;
    }
    for (const config::TenantVlan& vlan : tenant.vlans) context.vlans[vlan.id] = tenant.vni;
    for (const std::string& peer : tenant.peers) context.peers.emplace(tenant.vni, by_name[peer]);
  }
  return context;
}

std::vector<LintFinding> lint(const std::vector<CompiledRule>& rules, const LintContext& context) {
  std::map<IfIndex, LintBlock> blocks;
  for (const CompiledRule& rule : rules) {
    LintBlock& block = blocks[rule.rule.id.device];
    block.device = rule.rule.id.device;
    block.chains[rule.rule.id.chain].push_back(&rule);
  }
  Lint lint{context, {}, {}};
  for (auto& [device, block] : blocks) {
    block.kind = kind_of(device, context);
    for (auto& [number, chain] : block.chains) {
      std::stable_sort(chain.begin(), chain.end(), [](const CompiledRule* a, const CompiledRule* b) {
        return std::tie(a->rule.id.prio, a->rule.id.handle) < std::tie(b->rule.id.prio, b->rule.id.handle);
      });
    }
    lint.blocks.push_back(std::move(block));
  }
  lint_rules(lint);
  lint_chains(lint);
  lint_ways(lint);
  if (!context.zones.empty()) lint_isolation(lint);
  return std::move(lint.findings);
}

std::string to_string(const LintFinding& finding) {
  return finding.rule + (finding.informative ? " (note)" : "") + " dev " + std::to_string(finding.id.device.value()) +
         " chain " + (finding.id.chain == 0 ? "0" : to_string(parse_chain(finding.id.chain))) + " prio " +
         std::to_string(finding.id.prio) + ": " + finding.what;
}

}  // namespace sepal::tc
