// See capabilities.hpp. The limits are the driver's: lib/fs_chains.c (mlx5_chains_get_chain_range, …_prio_range),
// en/tc_ct.c (mlx5_tc_ct_init_check_esw_support).
#include "tc/pipeline/capabilities.hpp"

#include <algorithm>

#include "tc/pipeline/software.hpp"

namespace sepal::tc {
namespace {

// Without ignore_flow_level.
constexpr uint32_t kChainMax = 3;
constexpr uint16_t kPrioMax = 16;

struct KindWord {
  std::string_view operator()(const Gact& gact) const {
    switch (gact.verdict.control) {
      case Control::drop: return "drop";
      case Control::pass: return "pass";
      case Control::goto_chain: return "goto";
      default: return "count";
    }
  }
  std::string_view operator()(const Mirred& mirred) const { return mirred.mirror ? "mirror" : "redirect"; }
  std::string_view operator()(const VlanAction& vlan) const {
    return vlan.kind == VlanAction::Kind::pop ? "vlan-pop" : "vlan-push";
  }
  std::string_view operator()(const TunnelSet& /*a*/) const { return "tunnel-set"; }
  std::string_view operator()(const TunnelUnset& /*a*/) const { return "tunnel-unset"; }
  std::string_view operator()(const Pedit& /*a*/) const { return "rewrite"; }
  std::string_view operator()(const Csum& /*a*/) const { return "csum"; }
  std::string_view operator()(const Ct& ct) const { return ct.commit ? "ct-commit" : "ct"; }
  std::string_view operator()(const Police& /*a*/) const { return "police"; }
  std::string_view operator()(const SkbeditMark& /*a*/) const { return "mark"; }
  std::string_view operator()(const Bpf& /*a*/) const { return "bpf"; }
  std::string_view operator()(const UnknownAction& /*a*/) const { return "?"; }
};

uint32_t highest_chain(const Rule& rule) {
  uint32_t highest = rule.id.chain;
  for (const Action& action : rule.spec.actions) {
    const auto* gact = std::get_if<Gact>(&action.kind);
    if (gact != nullptr && gact->verdict.control == Control::goto_chain)
      highest = std::max(highest, gact->verdict.chain);
  }
  return highest;
}

}  // namespace

bool tracks_connections(const Rule& rule) {
  const bool looks_up = std::any_of(rule.spec.actions.begin(), rule.spec.actions.end(),
                                    [](const Action& action) { return std::holds_alternative<Ct>(action.kind); });
  return looks_up || rule.spec.match.find(Key::ct_state) != nullptr || rule.spec.match.find(Key::ct_mark) != nullptr;
}

HardwareVerdict judge(const Rule& rule, const NicProfile& nic, const KernelKind& kernel) {
  if (const std::string_view reason = software_reason(rule); !reason.empty()) return {false, reason};
  if (!kernel.any_tc) return {false, "this kernel's driver takes no tc rules"};
  if (!kernel.tracking && tracks_connections(rule)) return {false, "this kernel's driver tracks no connections"};
  if (nic.ignore_flow_level) return {};
  if (tracks_connections(rule)) return {false, "connections need ignore_flow_level"};
  if (highest_chain(rule) > kChainMax) return {false, "chains above 3 need ignore_flow_level"};
  if (rule.id.prio > kPrioMax) return {false, "priorities above 16 need ignore_flow_level"};
  return {};
}

Shape shape_of(const Rule& rule, BlockKind block) {
  const Group first = block == BlockKind::port ? Group::ingress : Group::decap;
  Shape shape{block, rule.id.chain == 0 ? first : parse_chain(rule.id.chain).group, {}, {}};
  for (const KeyMatch& key : rule.spec.match.keys()) {
    if (!shape.match.empty()) shape.match += ' ';
    Match state;
    if (key.key == Key::ct_state) state.set(key.key, key.value_u32(), key.mask_u32());
    shape.match += state.empty() ? std::string(key_name(key.key)) : to_text(state);
  }
  if (shape.match.empty()) shape.match = "any";
  for (const Action& action : rule.spec.actions) {
    if (!shape.actions.empty()) shape.actions += ' ';
    shape.actions += std::visit(KindWord{}, action.kind);
  }
  return shape;
}

std::string_view to_string(BlockKind block) {
  switch (block) {
    case BlockKind::port: return "port";
    case BlockKind::vxlan: return "tunnel";
    case BlockKind::uplink: return "uplink";
  }
  return "";
}

std::string to_string(const Shape& shape) {
  return std::string(to_string(shape.block)) + " g" + std::to_string(static_cast<unsigned>(shape.group)) + ": " +
         shape.match + " → " + shape.actions;
}

}  // namespace sepal::tc
