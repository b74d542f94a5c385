// Lint of rules beside each other: who shadows whom in one chain, and what a chain must hold.
#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "tc/pipeline/lint_parts.hpp"

namespace sepal::tc {
namespace {

struct Mask {
  Key key;
  std::array<uint8_t, 16> bits;
  auto operator<=>(const Mask&) const = default;
};
using Shape = std::vector<Mask>;

Shape shape_of(const Match& match) {
  Shape shape;
  for (const KeyMatch& key : match.keys()) shape.push_back({key.key, key.mask});
  return shape;
}

// The bits two shapes both look at.
Shape common(const Shape& a, const Shape& b) {
  Shape shape;
  for (const Mask& mine : a) {
    auto theirs = std::find_if(b.begin(), b.end(), [&](const Mask& m) { return m.key == mine.key; });
    if (theirs == b.end()) continue;
    Mask both = mine;
    for (size_t i = 0; i < both.bits.size(); ++i) both.bits[i] &= theirs->bits[i];
    shape.push_back(both);
  }
  return shape;
}

// A match's value under a shape whose keys it has, as bytes to look up.
std::string value_under(const Shape& shape, const Match& match) {
  std::string value;
  for (const Mask& mask : shape) {
    const KeyMatch* key = match.find(mask.key);
    for (size_t i = 0; i < key_width(mask.key); ++i) value.push_back(static_cast<char>(key->value[i] & mask.bits[i]));
  }
  return value;
}

bool protocols_meet(const RuleId& a, const RuleId& b) {
  return a.protocol == b.protocol || a.protocol == kEthAll || b.protocol == kEthAll;
}

// Whether it matters to no packet, and to no count of drops, which of two it meets; also where hardware holds only one.
bool same_effect(const CompiledRule& a, const CompiledRule& b) {
  return a.rule.spec.actions == b.rule.spec.actions && a.origin.drop == b.origin.drop;
}

// I5: rules of one priority are asked mask by mask, in no order that the configuration decides. So those that differ
// must not meet. Rules of one mask meet only if they are equal; for two masks the values under their common bits tell.
void check_ties(Lint& lint, ChainRules::const_iterator begin, ChainRules::const_iterator end) {
  std::map<Shape, std::vector<const CompiledRule*>> by_shape;
  for (auto rule = begin; rule != end; ++rule) {
    if ((*rule)->rule.id.protocol != (*begin)->rule.id.protocol) {
      lint.find("I5", **rule, "two protocols at one priority: the kernel refuses the second");
    }
    by_shape[shape_of((*rule)->rule.spec.match)].push_back(*rule);
  }
  for (auto a = by_shape.begin(); a != by_shape.end(); ++a) {
    std::unordered_map<std::string, const CompiledRule*> seen;
    for (const CompiledRule* rule : a->second) {
      if (!seen.emplace(value_under(a->first, rule->rule.spec.match), rule).second) {
        lint.find("I5", *rule, "the same match twice at one priority: the kernel refuses the second");
      }
    }
    for (auto b = std::next(a); b != by_shape.end(); ++b) {
      const Shape both = common(a->first, b->first);
      std::unordered_map<std::string, std::vector<const CompiledRule*>> values;
      for (const CompiledRule* rule : a->second) values[value_under(both, rule->rule.spec.match)].push_back(rule);
      for (const CompiledRule* rule : b->second) {
        auto met = values.find(value_under(both, rule->rule.spec.match));
        if (met == values.end()) continue;
        for (const CompiledRule* other : met->second) {
          if (same_effect(*rule, *other)) continue;
          lint.find("I5", *rule,
                    "meets another rule of its priority that does something else: " + to_text(other->rule));
          break;
        }
      }
    }
  }
}

// L15: one priority is one table, and a table has room for fifteen masks before each costs a table's end.
void check_masks(Lint& lint, ChainRules::const_iterator begin, ChainRules::const_iterator end) {
  constexpr size_t kMasksMax = 15;
  std::set<Shape> shapes;
  const CompiledRule* last = nullptr;
  for (auto rule = begin; rule != end; ++rule) {
    if (!in_hardware(**rule)) continue;
    shapes.insert(shape_of((*rule)->rule.spec.match));
    last = *rule;
  }
  if (shapes.size() <= kMasksMax) return;
  lint.find("L15", *last,
            std::to_string(shapes.size()) +
                " masks at one priority in hardware; slices of NAT that begin and end at "
                "powers of two need fewer",
            true);
}

// A named exception to L1, trap 1 of the pipeline: in software a NEW packet of a translated connection is led
// through `ct commit nat` before the rule that lets committed ones on; hardware's own table translates it.
bool is_translating_twin(const CompiledRule& software, const CompiledRule& hardware) {
  static const Match kTranslated = Match().ct_state(kCtTrk | kCtNew).set(Key::ct_mark, 2, 2);
  const auto* ct = find_action<Ct>(software);
  const KeyMatch* mark = hardware.rule.spec.match.find(Key::ct_mark);
  return software.rule.spec.match == kTranslated && ct != nullptr && ct->commit && ct->nat && !ct->nat_first &&
         mark != nullptr && mark->value_u32() == 1 && mark->mask_u32() == 1 &&
         goto_target(software) == goto_target(hardware) && goto_target(software) != 0;
}

bool leads_to_software(const LintBlock& block, const CompiledRule& rule) {
  auto target = block.chains.find(goto_target(rule));
  return target != block.chains.end() && target->first != 0 &&
         std::none_of(target->second.begin(), target->second.end(),
                      [](const CompiledRule* r) { return in_hardware(*r); });
}

// Two more: in hardware a packet is as big as the wire lets it be; and which first datagrams are let go past conntrack
// is software's business: to hardware all are unknown connections, which it hands up.
bool may_be_overtaken(const CompiledRule& software) {
  return is_size_check(software.rule.spec) || asks_untracked(software.rule.spec);
}

// The last: a shortcut leads where hardware's rule for the same packets does.
bool is_shortcut_of(const CompiledRule& software, const CompiledRule& hardware) {
  const std::vector<Action>& mine = software.rule.spec.actions;
  const std::vector<Action>& theirs = hardware.rule.spec.actions;
  return is_shortcut(software.rule.spec) && std::equal(mine.begin() + 1, mine.end(), theirs.begin(), theirs.end());
}

// L1: what hardware does not hold must not be taken by a worse rule that it does hold.
void check_overtaking(Lint& lint, const LintBlock& block, const ChainRules& chain) {
  for (const CompiledRule* software : chain) {
    if (in_hardware(*software) || may_be_overtaken(*software)) continue;
    const RuleSpec& mine = software->rule.spec;
    auto is_twin = [&](const CompiledRule* twin) {
      return in_hardware(*twin) && twin->rule.id.prio <= software->rule.id.prio &&
             twin->rule.spec.match.covers(mine.match) && protocols_meet(twin->rule.id, software->rule.id) &&
             leads_to_software(block, *twin);
    };
    for (const CompiledRule* hardware : chain) {
      if (!in_hardware(*hardware) || hardware->rule.id.prio < software->rule.id.prio) continue;
      if (!protocols_meet(hardware->rule.id, software->rule.id)) continue;
      if (!mine.match.overlaps(hardware->rule.spec.match) || same_effect(*software, *hardware)) continue;
      if (is_shortcut_of(*software, *hardware)) {
        if (hardware->rule.spec.match.covers(mine.match)) break;  // no worse rule gets any of its packets
        continue;
      }
      if (is_translating_twin(*software, *hardware) || std::any_of(chain.begin(), chain.end(), is_twin)) continue;
      lint.find("L1", *software, "in hardware this rule overtakes it: " + to_text(hardware->rule));
      break;
    }
  }
}

// L7: the table of priority 1 exists whether it is used or not. A chain that holds nothing but its end is left out.
void check_first_priority(Lint& lint, const LintBlock& block, uint32_t number, const ChainRules& chain) {
  if (number == 0 && block.kind == BlockKind::uplink) return;  // shares its table with the tunnel's
  size_t count = 0;
  const CompiledRule* first = nullptr;
  for (const CompiledRule* rule : chain) {
    if (!in_hardware(*rule)) continue;
    if (first == nullptr) first = rule;
    ++count;
  }
  if (count > 1 && first->rule.id.prio != 1)
    lint.find("L7", *first, "the best rule of a chain must stand at priority 1");
}

// I4: a chain ends in a rule that takes everything and decides.
void check_end(Lint& lint, const LintBlock& block, uint32_t number, const ChainRules& chain) {
  if (number == 0 && block.kind == BlockKind::uplink) return;  // what is not ours is the host's
  const CompiledRule& last = *chain.back();
  const Match& match = last.rule.spec.match;
  // Behind the first chain of a tunnel, its keys are those of the rule that led here (L4).
  const bool everything = match.empty() || (number != 0 && tunnel_keys(match) == match);
  bool decides = false;
  for (const Action& action : last.rule.spec.actions) {
    Control control = Control::pipe;
    if (const auto* gact = std::get_if<Gact>(&action.kind)) control = gact->verdict.control;
    if (const auto* bpf = std::get_if<Bpf>(&action.kind)) control = bpf->verdict.control;
    decides = decides || control == Control::drop || control == Control::pass;
  }
  if (!everything || !decides || last.rule.id.protocol != kEthAll) {
    lint.find("I4", last, "the chain does not end in a drop or pass of everything");
  }
}

struct Punts {
  Key key;
  const char* what;
  std::map<Shape, std::unordered_map<std::string, uint16_t>> best;  // match without the key → best priority

  void add(const CompiledRule& rule) {
    const Match rest = without(rule.rule.spec.match, key);
    const Shape shape = shape_of(rest);
    auto [at, inserted] = best[shape].emplace(value_under(shape, rest), rule.rule.id.prio);
    if (!inserted) at->second = std::min(at->second, rule.rule.id.prio);
  }
  [[nodiscard]] bool precede(const CompiledRule& rule) const {
    return std::any_of(best.begin(), best.end(), [&](const auto& entry) {
      const Shape& shape = entry.first;
      if (common(shape, shape_of(rule.rule.spec.match)) != shape) return false;
      auto found = entry.second.find(value_under(shape, rule.rule.spec.match));
      return found != entry.second.end() && found->second < rule.rule.id.prio;
    });
  }
};

// L13: fragments leave before conntrack, expiring TTLs before anything decrements them; both in the first chain.
void check_punts(Lint& lint, const LintBlock& block, const ChainRules& first) {
  Punts fragments{Key::ip_flags, "fragments", {}};
  Punts expiring{Key::ip_ttl, "expiring TTLs", {}};
  for (const CompiledRule* rule : first) {
    if (!in_hardware(*rule) || !leads_to_software(block, *rule)) continue;
    const KeyMatch* flags = rule->rule.spec.match.find(Key::ip_flags);
    if (flags != nullptr && flags->value_u32() == kIpFlagFrag) fragments.add(*rule);
    const KeyMatch* ttl = rule->rule.spec.match.find(Key::ip_ttl);
    if (ttl != nullptr && ttl->value_u32() == 0 && ttl->mask_u32() == 0xfe) expiring.add(*rule);
  }
  for (const CompiledRule* rule : first) {
    if (!in_hardware(*rule) || find_action<Ct>(*rule) == nullptr) continue;
    for (const Punts* punts : {&fragments, &expiring}) {
      if (!punts->precede(*rule)) lint.find("L13", *rule, std::string("no rule before it punts ") + punts->what);
    }
  }
}

// L5: the uplink's and the tunnel's rules share the NIC's tables.
void check_shared_tables(Lint& lint) {
  std::map<BlockKind, std::map<uint32_t, const CompiledRule*>> chains;
  uint16_t worst_tunnel = 0;
  for (const LintBlock& block : lint.blocks) {
    if (block.kind == BlockKind::port) continue;
    for (const auto& [number, rules] : block.chains) {
      for (const CompiledRule* rule : rules) {
        if (!in_hardware(*rule)) continue;
        if (number != 0) chains[block.kind].emplace(number, rule);
        if (number == 0 && block.kind == BlockKind::vxlan) worst_tunnel = std::max(worst_tunnel, rule->rule.id.prio);
        if (goto_target(*rule) != 0) chains[block.kind].emplace(goto_target(*rule), rule);
      }
    }
  }
  for (const auto& [number, rule] : chains[BlockKind::uplink]) {
    if (!chains[BlockKind::vxlan].contains(number)) continue;
    lint.find(
        "L5", *rule,
        "chain " + std::to_string(number) + " is used by the tunnel's rules, too: the NIC keeps both in one table");
  }
  for (const LintBlock& block : lint.blocks) {
    auto first = block.chains.find(0);
    if (block.kind != BlockKind::uplink || first == block.chains.end()) continue;
    for (const CompiledRule* rule : first->second) {
      if (!in_hardware(*rule) || rule->rule.id.prio > worst_tunnel) continue;
      lint.find("L5", *rule, "stands before the tunnel's rules in the NIC's first table");
      break;
    }
  }
}

}  // namespace

void lint_chains(Lint& lint) {
  for (const LintBlock& block : lint.blocks) {
    for (const auto& [number, chain] : block.chains) {
      for (auto begin = chain.begin(); begin != chain.end();) {
        auto end = std::find_if(begin, chain.end(),
                                [&](const CompiledRule* r) { return r->rule.id.prio != (*begin)->rule.id.prio; });
        check_ties(lint, begin, end);
        check_masks(lint, begin, end);
        begin = end;
      }
      check_overtaking(lint, block, chain);
      check_first_priority(lint, block, number, chain);
      check_end(lint, block, number, chain);
    }
    auto first = block.chains.find(0);
    if (first != block.chains.end()) check_punts(lint, block, first->second);
  }
  check_shared_tables(lint);
}

}  // namespace sepal::tc
