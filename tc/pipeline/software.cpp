// See software.hpp; the NIC's side of each reason is in docs/reference/pipeline.md, "Lint".
#include "tc/pipeline/software.hpp"

#include <algorithm>

#include "tc/pipeline/pipeline.hpp"

namespace sepal::tc {
namespace {

bool runs_program(const Rule& rule) {
  return std::any_of(rule.spec.actions.begin(), rule.spec.actions.end(),
                     [](const Action& action) { return std::holds_alternative<Bpf>(action.kind); });
}

bool commits(const Rule& rule) {
  return std::any_of(rule.spec.actions.begin(), rule.spec.actions.end(), [](const Action& action) {
    const auto* ct = std::get_if<Ct>(&action.kind);
    return ct != nullptr && ct->commit;
  });
}

// Group 2's rule for what is established, as software alone has it: without the keys that a NIC needs beside the state.
bool looks_at_state_alone(const Rule& rule) {
  return rule.spec.match == Match().ct_state(kCtTrk | kCtEst) && rule.id.chain != 0;
}

bool wants_state(const Rule& rule, uint32_t bits) {
  const KeyMatch* state = rule.spec.match.find(Key::ct_state);
  return state != nullptr && (state->value_u32() & bits) != 0;
}

}  // namespace

std::string_view software_reason(const Rule& rule) {
  if (!rule.spec.skip_hw) return {};
  if (is_shortcut(rule.spec) || looks_at_state_alone(rule))
    return "a shortcut of software's: hardware takes the longer way to the same end";
  if (runs_program(rule)) return "runs an eBPF program";
  if (commits(rule)) return "commits a connection, which only the kernel does";
  if (wants_state(rule, kCtRel | kCtInv)) return "a NIC never marks a packet related or invalid";
  if (wants_state(rule, kCtNew)) return "new connections are decided in software";
  if (rule.id.chain == 0 && rule.spec.match.empty()) return "a drop here would overtake rules that are in software";
  switch (parse_chain(rule.id.chain).group) {
    // Not chain 0: that is where what the public side had to punt goes on.
    case Group::decap: return "fragments and ICMP to public addresses are the kernel's";
    case Group::punted: return "fragments and expiring TTLs are the kernel's";
    case Group::services: return "guest services are the kernel's";
    case Group::fresh: return "new connections are decided in software";
    case Group::nat:
      if (rule.spec.match.find(Key::ct_state) == nullptr)
        return "a drop here would overtake rules that are in software";
      [[fallthrough]];
    default:
      return "its whole block is in software: the NIC refused a rule of it (`sepalctl status` names it), or the "
             "tenant's conntrack zone, or a peer's, is beyond the 254 that a NIC restores";
  }
}

std::string software_reason(const Rule& rule, const KeptOutVteps& kept_out) {
  const bool routes = rule.id.chain != 0 && parse_chain(rule.id.chain).group == Group::encap;
  if (!rule.spec.skip_hw || !routes || kept_out.empty()) return std::string(software_reason(rule));
  for (const Action& action : rule.spec.actions) {
    const auto* tunnel = std::get_if<TunnelSet>(&action.kind);
    const auto found = tunnel == nullptr ? kept_out.end() : kept_out.find(tunnel->destination);
    if (found != kept_out.end()) return found->first.to_string() + " " + found->second;
  }
  return "in hardware it would overtake a route whose tunnel does not leave by the NIC";
}

}  // namespace sepal::tc
