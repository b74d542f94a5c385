// The inside of lint(): the rules sorted into blocks and chains, and the parts that look at them. Internal to
// tc/pipeline.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tc/pipeline/lint.hpp"

namespace sepal::tc {

using ChainRules = std::vector<const CompiledRule*>;  // sorted by prio and handle

struct LintBlock {
  IfIndex device;
  BlockKind kind = BlockKind::port;
  std::map<uint32_t, ChainRules> chains;
};

struct Lint {
  const LintContext& context;
  std::vector<LintBlock> blocks;  // sorted by device
  std::vector<LintFinding> findings;

  void find(const char* number, const CompiledRule& rule, std::string what, bool informative = false) {
    findings.push_back({number, rule.rule.id, std::move(what), informative});
  }
};

// The parts, each in its own file.
void lint_rules(Lint& lint);      // what one rule alone shows: L2 L3 L8 L9 L10 L12 L14 L16 L17 L18 L19
void lint_chains(Lint& lint);     // what stands beside it: L1 L5 L7 L13 L15 I4 I5
void lint_ways(Lint& lint);       // where its jumps lead: L4 L6 L21 I2
void lint_isolation(Lint& lint);  // whose packets end where: I3

inline bool in_hardware(const CompiledRule& rule) { return !rule.rule.spec.skip_hw; }
// The chain a rule jumps to; 0, nobody's target, when it does not.
uint32_t goto_target(const CompiledRule& rule);
template <typename Kind>
const Kind* find_action(const CompiledRule& rule) {
  for (const Action& action : rule.rule.spec.actions) {
    if (const auto* kind = std::get_if<Kind>(&action.kind)) return kind;
  }
  return nullptr;
}
// The keys that name the tunnel.
bool is_tunnel_key(Key key);
Match tunnel_keys(const Match& match);
Match without(const Match& match, Key key);

}  // namespace sepal::tc
