// Lint of jumps: where they lead, how deep, and what a packet carries on its way.
#include <algorithm>
#include <functional>

#include "tc/pipeline/lint_parts.hpp"

namespace sepal::tc {
namespace {

bool all_in_software(const ChainRules& chain) {
  return std::none_of(chain.begin(), chain.end(), [](const CompiledRule* rule) { return in_hardware(*rule); });
}

// The groups that are software by design: a NIC finds nothing there and hands the packet up.
bool is_software_group(uint32_t chain) {
  const Group group = parse_chain(chain).group;
  return group == Group::punted || group == Group::services || group == Group::fresh;
}

// Routes of a tunnel that leaves by another device than the NIC, with those that would overtake them.
bool holds_kept_out_tunnel(const ChainRules& chain) {
  return std::any_of(chain.begin(), chain.end(), [](const CompiledRule* rule) {
    return !in_hardware(*rule) && find_action<TunnelSet>(*rule) != nullptr;
  });
}

// I2, L21: targets.
void check_targets(Lint& lint, const LintBlock& block) {
  for (const auto& [number, rules] : block.chains) {
    for (const CompiledRule* rule : rules) {
      const uint32_t target = goto_target(*rule);
      if (target == 0) continue;
      auto chain = block.chains.find(target);
      if (chain == block.chains.end()) {
        lint.find("I2", *rule,
                  "goto " + to_string(parse_chain(target)) + ", which is not there: the packet would drop uncounted");
      } else if (in_hardware(*rule) && all_in_software(chain->second) && !is_software_group(target) &&
                 !holds_kept_out_tunnel(chain->second)) {
        lint.find("L21", *rule,
                  "goto " + to_string(parse_chain(target)) + ", which has nothing in hardware, from a rule that is");
      }
    }
  }
}

// L6: no cycle, and no more jumps than tcf_classify follows.
class Depths {
 public:
  Depths(Lint& lint, const LintBlock& block) : lint_(lint), block_(block) {}

  void check() {
    for (const auto& [number, rules] : block_.chains) depth(number);
  }

 private:
  unsigned depth(uint32_t number) {
    if (auto known = done_.find(number); known != done_.end()) return known->second;
    auto chain = block_.chains.find(number);
    if (chain == block_.chains.end()) return 0;
    open_.insert(number);
    unsigned deepest = 0;
    for (const CompiledRule* rule : chain->second) {
      const uint32_t target = goto_target(*rule);
      if (target == 0) continue;
      if (open_.contains(target)) {
        lint_.find("L6", *rule,
                   "goto " + to_string(parse_chain(target)) + " closes a cycle: hardware has no guard against it");
        continue;
      }
      const unsigned below = depth(target) + 1;
      if (below > limits::kGotoDepthMax && deepest <= limits::kGotoDepthMax) {
        lint_.find("L6", *rule, "more than 16 jumps from here: software gives up");
      }
      deepest = std::max(deepest, below);
    }
    open_.erase(number);
    done_[number] = deepest;
    return deepest;
  }

  Lint& lint_;
  const LintBlock& block_;
  std::map<uint32_t, unsigned> done_;
  std::set<uint32_t> open_;
};

// L4: in a tunnel's block the NIC finds a packet again by the number of its outer keys, so every rule in hardware on a
// packet's way repeats those that led it here.
void check_tunnel_keys(Lint& lint, const LintBlock& block) {
  std::set<std::pair<uint32_t, Match>> seen;
  std::function<void(uint32_t, const Match&)> follow = [&](uint32_t number, const Match& keys) {
    auto chain = block.chains.find(number);
    if (chain == block.chains.end() || !seen.emplace(number, keys).second) return;
    for (const CompiledRule* rule : chain->second) {
      if (!in_hardware(*rule)) continue;
      if (tunnel_keys(rule->rule.spec.match) != keys) {
        lint.find("L4", *rule, "its enc_* keys are not those of the rule that leads here: " + to_text(keys));
      }
      if (goto_target(*rule) != 0) follow(goto_target(*rule), keys);
    }
  };
  auto first = block.chains.find(0);
  if (first == block.chains.end()) return;
  for (const CompiledRule* rule : first->second) {
    if (!in_hardware(*rule)) continue;
    const Match keys = tunnel_keys(rule->rule.spec.match);
    const KeyMatch* port = keys.find(Key::enc_dst_port);
    if (port == nullptr || port->mask_u32() != 0xffff) {
      lint.find("L4", *rule, "\"UDP tunnel decap filter must include enc_dst_port condition\"");
    }
    if (goto_target(*rule) != 0) follow(goto_target(*rule), keys);
  }
}

}  // namespace

void lint_ways(Lint& lint) {
  for (const LintBlock& block : lint.blocks) {
    check_targets(lint, block);
    Depths(lint, block).check();
    if (block.kind == BlockKind::vxlan) check_tunnel_keys(lint, block);
  }
}

}  // namespace sepal::tc
